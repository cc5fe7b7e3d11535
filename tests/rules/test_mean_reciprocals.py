"""The mean reciprocal: dense expectations, least squares, limits, running moments, and what noise teaches."""

from __future__ import annotations

import numpy as np
import pytest
from rules_helpers import host, relative_error, steps, torch_gradients

from rfnumeric.backend import Streams, eps, get_backend
from rfnumeric.nn import get_loss
from rfnumeric.rules import MeanReciprocal, MeanReciprocalLearned
from rfnumeric.rules.mean_reciprocal import mean_reciprocal, unbiased
from rfnumeric.rules.mean_reciprocal_learned import learn_reciprocal
from rfnumeric.testing.strategies import known_network

NUMPY64 = get_backend("numpy", dtype="float64")
SHAPES = [(4, 7), (7, 4), (5, 5), (1, 3), (3, 1)]


def draw(m, n, samples, seed=0):
    """A matrix, and the diagonals of D of some samples."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, n)), rng.choice([0.1, 1.0], size=(samples, m)) * rng.uniform(0.5, 1, (samples, m))


def dense(W, d, damping):
    """The same by explicit products and means over the samples, and the matrix that was inverted."""
    A = np.mean([W.T @ np.diag(row) for row in d], axis=0)
    G = np.mean([np.diag(row) @ W @ W.T @ np.diag(row) for row in d], axis=0)
    inner = G + damping * np.linalg.eigvalsh(G).mean() * np.eye(len(G))
    return A @ np.linalg.inv(inner), inner


@pytest.mark.parametrize("damping", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_closed_form(m, n, damping, backend):
    drawn = [draw(m, n, 9, seed) for seed in range(3)]  # a population of three
    W, first, second = (
        backend.asarray(np.stack(v)) for v in zip(*((W, d.mean(0), d.T @ d / len(d)) for W, d in drawn), strict=True)
    )
    got = host(mean_reciprocal(W, first, second, damping))
    for k, (W_k, d) in enumerate(drawn):
        wanted, inner = dense(W_k, d, damping)
        # c·eps·m·κ of the solved system (c = 10), W and the moments rounded to the backend's dtype included.
        assert relative_error(got[k], wanted) <= 10 * (m + n) * eps(backend.dtype) * np.linalg.cond(inner)


@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_without_damping_it_is_the_least_squares_reciprocal(m, n):
    W, d = draw(m, n, 30)
    # R [D_1 W, D_2 W, …] ≈ [I, I, …]
    stacked = np.hstack([np.diag(row) @ W for row in d])
    wanted = np.linalg.lstsq(stacked.T, np.hstack([np.eye(n)] * len(d)).T, rcond=None)[0].T
    got = mean_reciprocal(W, d.mean(0), d.T @ d / len(d), 1e-12)
    # Damping changes R by λ·κ at most, relative; rounding by eps·κ.
    kappa = np.linalg.cond(stacked) ** 2
    assert relative_error(got, wanted) <= (1e-12 + 10 * (m + n) * eps(W)) * kappa * m


def test_as_damping_grows_it_tends_to_the_mean_gated_transpose():
    W, d = draw(4, 6, 20)
    second, transpose = d.T @ d / len(d), W.T * d.mean(0)
    mean_eigenvalue = np.trace((W @ W.T) * second) / 4
    for damping in (1e3, 1e6):
        got = mean_reciprocal(W, d.mean(0), second, damping) * damping * mean_eigenvalue
        assert relative_error(got, transpose) <= 4 / damping  # the largest of four eigenvalues is at most four means


def test_with_d_the_identity_it_is_the_damped_inverse():
    W = np.random.default_rng(1).normal(size=(4, 6))
    got = mean_reciprocal(W, np.ones(4), np.ones((4, 4)), 1e-13)
    assert relative_error(got, np.linalg.pinv(W)) <= (1e-13 + 100 * eps(W)) * np.linalg.cond(W) ** 2 * 4


def test_a_member_without_a_reciprocal_leaves_the_others_alone():
    W = np.random.default_rng(0).normal(size=(3, 4, 5))
    one, second = np.ones((3, 4)), np.ones((3, 4, 4))
    good = mean_reciprocal(W, one, second, 0.1)
    W[1], W[2] = np.nan, 0
    got = mean_reciprocal(W, one, second, 0.1)
    np.testing.assert_array_equal(got[0], good[0])
    assert np.isnan(got[1]).all()
    assert not got[2].any()


@pytest.mark.parametrize("cls", [MeanReciprocal, MeanReciprocalLearned])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_all_derivatives_against_autograd(cls, bias, backend64):
    known = known_network([6, 5, 7, 4], 5, 0, backend64, hidden="leaky-relu", bias=bias)
    rng = np.random.default_rng(0)
    R = [None, None, *(rng.normal(size=W.shape[::-1]) for W in map(host, known.network.W[2:]))]
    trace = known.network.forward(known.x)
    e = get_loss("mse").evaluate(trace.h[-1], known.labels)[0]
    feedback = {"R": [None if M is None else backend64.asarray(M) for M in R]}
    W, b = steps(known.network, trace, cls().deltas(known.network, trace, e, feedback))
    wanted_W, wanted_b = torch_gradients(known.network, known.x, host(known.labels).astype(int), "mse", R)
    for l in (1, 2, 3):
        assert relative_error(W[l], wanted_W[l]) <= 100 * 7 * 3 * eps(backend64.dtype)
        if bias:
            assert relative_error(b[l], wanted_b[l]) <= 100 * 7 * 3 * eps(backend64.dtype)


@pytest.mark.parametrize("cls", [MeanReciprocal, MeanReciprocalLearned])
def test_own_derivatives_are_a_chain_of_reciprocals(cls, backend64):
    known = known_network([6, 5, 7, 4], 5, 0, backend64, hidden="leaky-relu")
    rng = np.random.default_rng(0)
    R = [None, None, *(rng.normal(size=W.shape[::-1]) for W in map(host, known.network.W[2:]))]
    trace = known.network.forward(known.x)
    e = get_loss("mse").evaluate(trace.h[-1], known.labels)[0]
    feedback = {"R": [None if M is None else backend64.asarray(M) for M in R]}
    got = cls(derivatives="own").deltas(known.network, trace, e, feedback)
    for i in range(5):
        chain = {3: np.eye(4), 2: R[3], 1: R[2] @ R[3]}
        for l, B in chain.items():
            wanted = np.diag(host(trace.d_sigma[l])[i]) @ B @ host(e)[i]
            assert relative_error(host(got[l])[i], wanted) <= 100 * 7 * 3 * eps(backend64.dtype)


@pytest.mark.parametrize("population", [0, [0, 1]], ids=["", "population"])
def test_moments_are_means_over_the_steps_and_then_decay(population, backend64):
    known = known_network([5, 4, 3], 6, population, backend64, hidden="leaky-relu", output="leaky-relu")
    rule, network = MeanReciprocal(moment_decay=0.75), known.network
    feedback, seen, decayed = rule.init(network, known.streams), [], None
    for step in range(7):
        trace = network.forward(known.streams.child("x", step).normal((6, 5)))
        feedback = rule.learn_feedback(network, trace, feedback, known.streams, step)
        d = host(trace.d_sigma[2])
        seen.append((d.mean(-2), np.swapaxes(d, -1, -2) @ d / 6))
        if step < 4:  # 1/(1 − 0.75) steps count alike
            decayed = [np.mean(v, axis=0) for v in zip(*seen, strict=True)]
        else:
            decayed = [0.75 * old + 0.25 * new for old, new in zip(decayed, seen[-1], strict=True)]
        for name, wanted in zip(("d_mean", "d_second"), decayed, strict=True):
            assert np.abs(host(feedback[name][2]) - wanted).max() <= 100 * eps(backend64.dtype)


@pytest.mark.parametrize("every", [1, 3])
def test_refresh_schedule(every):
    known = known_network([5, 4, 3], 4, 0, NUMPY64, hidden="leaky-relu")
    rule, network = MeanReciprocal(refresh_every=every), known.network
    feedback = rule.init(network, known.streams)
    current = mean_reciprocal(network.W[2], np.ones(3), np.ones((3, 3)), 0.1)
    for step in range(8):
        feedback = rule.sleep(network, feedback, known.streams, step)
        if step == 1 or (step and step % every == 0):
            current = mean_reciprocal(network.W[2], feedback["d_mean"][2], feedback["d_second"][2], 0.1)
        np.testing.assert_array_equal(feedback["R"][2], current)
        trace = network.forward(known.streams.child("x", step).normal((4, 5)))
        feedback = rule.learn_feedback(network, trace, feedback, known.streams, step)
        network.W[2] = network.W[2] * 1.1


@pytest.mark.parametrize("start", ["zero", "random"])
@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_learning_ends_at_its_fixed_point(m, n, start, backend64):
    """R* = E[ξΔᵀ](E[ΔΔᵀ] + γ(E‖Δ‖²/m)I)⁻¹ for any pairs (ξ, Δ), reached at the rate that the spectrum gives."""
    rng = np.random.default_rng(0)
    xi, response = rng.normal(size=(11, n)), rng.normal(size=(11, m))
    gamma, lr = 0.5, 0.8
    second = response.T @ response / 11
    inner = second + gamma * np.trace(second) / m * np.eye(m)
    fixed = xi.T @ response / 11 @ np.linalg.inv(inner)
    R = backend64.asarray(np.zeros((n, m)) if start == "zero" else rng.normal(size=(n, m)))
    first = np.linalg.norm(host(R) - fixed)
    on_device = backend64.asarray(response), backend64.asarray(xi)
    for _ in range(60):
        R = learn_reciprocal(R, *on_device, lr, gamma)
    slowest = 1 - lr * np.linalg.eigvalsh(inner)[0] / np.trace(second)
    assert np.linalg.norm(host(R) - fixed) <= slowest**60 * first + 1e3 * (m + n) * eps(backend64.dtype)
    again = learn_reciprocal(backend64.asarray(fixed), *on_device, lr, gamma)
    assert np.abs(host(again) - fixed).max() <= 100 * (m + n) * eps(backend64.dtype) * np.abs(fixed).max()


def test_a_layer_that_does_not_answer_teaches_only_the_decay():
    R = np.ones((3, 2))
    got = learn_reciprocal(R.copy(), np.zeros((4, 2)), np.ones((4, 3)), 0.5, 0.1)
    np.testing.assert_allclose(got, (1 - 0.5 * 0.1 / 2) * R, rtol=4 * eps(R))


def test_small_noise_teaches_the_closed_form_without_seeing_weights():
    samples = 10_000
    known = known_network([6, 5, 4], samples, 0, NUMPY64, hidden="leaky-softplus", output="leaky-softplus", bias=True)
    network, rule = known.network, MeanReciprocalLearned(reciprocal_lr=1.0, noise=1e-3, damping=0.2)
    trace = network.forward(known.x)
    d = trace.d_sigma[2]
    wanted = mean_reciprocal(network.W[2], d.mean(0), d.T @ d / samples, 0.2)
    feedback = rule.init(network, known.streams)
    assert not feedback["R"][2].any()
    for _ in range(100):  # the same noise each time, and (1 − 0.2/4)¹⁰⁰ < 0.6 %
        feedback = rule.learn_feedback(network, trace, feedback, Streams(1, NUMPY64), 0)
    # Sampled second moments of 5 + 4 numbers: c·(n + m)/√samples with c = 1, 9 %; curvature enters as noise².
    assert relative_error(feedback["R"][2], wanted) <= 9 / samples**0.5


def test_sleep_every():
    known = known_network([5, 4, 3], 4, 0, NUMPY64, hidden="tanh")
    rule, trace = MeanReciprocalLearned(sleep_every=3), known.network.forward(known.x)
    feedback = rule.init(known.network, known.streams)
    changed = []
    for step in range(7):
        before = feedback["R"][2].copy()
        feedback = rule.learn_feedback(known.network, trace, feedback, known.streams.child(step), step)
        changed.append(not np.array_equal(before, feedback["R"][2]))
    assert changed == [True, False, False, True, False, False, True]


@pytest.mark.parametrize("damping", [0.1, 10.0])
@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_unbiased_reciprocals_undo_the_layer_on_average(m, n, damping, backend):
    W, d = draw(m, n, 9)
    network = known_network([3, n, m], 2, 0, backend).network
    network.W[2] = backend.asarray(W)
    rule, moments = MeanReciprocal(damping=damping, unbiased=True), (d.mean(0), d.T @ d / 9)
    feedback = {name: [None, None, backend.asarray(v)] for name, v in zip(("d_mean", "d_second"), moments, strict=True)}
    R = host(rule.sleep(network, feedback, Streams(0, backend), 1)["R"][2])
    undone = np.mean([np.trace(R @ np.diag(row) @ W) for row in d])
    direction, inner = dense(W, d, damping)
    bound = 10 * (m + n) * eps(backend.dtype) * np.linalg.cond(inner)
    assert abs(undone - min(m, n)) <= bound * np.linalg.norm(R) * np.linalg.norm(W)
    assert relative_error(R / np.linalg.norm(R), direction / np.linalg.norm(direction)) <= 2 * bound


def test_a_matrix_of_zeros_has_no_size_to_be_undone():
    assert not unbiased(np.zeros((3, 2)), np.zeros((2, 3)), np.ones(2)).any()


@pytest.mark.parametrize("derivatives", ["all", "own"])
@pytest.mark.parametrize("cls", [MeanReciprocal, MeanReciprocalLearned])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_normalized_by_the_mean_square_of_the_input(cls, derivatives, bias, backend64):
    known = known_network([6, 5, 7, 4], 5, [0, 1], backend64, hidden="leaky-relu", bias=bias)
    rule = cls(derivatives=derivatives)
    feedback = MeanReciprocal().init(known.network, known.streams)
    trace = known.network.forward(known.x)
    e = get_loss("mse").evaluate(trace.h[-1], known.labels)[0]
    plain = rule.deltas(known.network, trace, e, feedback)
    got = cls(derivatives=derivatives, normalize=True).deltas(known.network, trace, e, feedback)
    for l in (1, 2, 3):
        for k in range(2):
            square = np.mean([np.dot(row, row) for row in host(trace.h[l - 1])[k]]) + bias
            assert relative_error(host(got[l])[k], host(plain[l])[k] / square) <= 30 * eps(backend64.dtype)


def test_a_layer_without_input_rests():
    network = known_network([3, 4, 2], 5, 0, NUMPY64).network
    rule = MeanReciprocal(normalize=True)
    trace = network.forward(np.zeros((5, 3)))
    delta = rule.deltas(network, trace, np.ones((5, 2)), rule.init(network, Streams(0, NUMPY64)))
    assert not delta[1].any()
    assert not delta[2].any()
