"""Where W⁺ comes from: refresh schedule, engines, recirculation, the parallel rule; W_1⁺ is never computed."""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric import rules
from rfnumeric.backend import Streams, eps, get_backend, to_numpy
from rfnumeric.nn import Network, get_activation, get_loss
from rfnumeric.rules import PseudoBackprop, RFParallel, RFTwoPhase, inverses
from rfnumeric.rules.inverses import EXACT_ENGINES, autoencoder_step, recirculate, weight_pinvs
from rfnumeric.testing import assert_penrose
from rfnumeric.testing.strategies import known_matrix, known_network

NUMPY64 = get_backend("numpy", dtype="float64")


def host(a):
    return to_numpy(a).astype(np.float64)


@pytest.mark.parametrize("cls", [RFTwoPhase, PseudoBackprop])
@pytest.mark.parametrize("every", [1, 3])
def test_refresh_schedule(cls, every):
    known = known_network([5, 4, 3], 4, 0, NUMPY64)
    network, rule = known.network, cls(refresh_every=every)
    feedback = rule.init(network, Streams(0, NUMPY64))
    refreshed = network.copy()
    for step in range(8):
        feedback = rule.sleep(network, feedback, Streams(0, NUMPY64), step)
        if step % every == 0 and step > 0:
            refreshed = network.copy()
        np.testing.assert_array_equal(feedback["W_pinv"][2], weight_pinvs(refreshed, "auto", 0.0)[2])
        network.W[2] = network.W[2] * 1.1  # so that a stale inverse differs from a fresh one


@pytest.mark.parametrize("engine", EXACT_ENGINES)
def test_engines_give_the_same_deltas(engine, backend):
    known = known_network([8, 6, 7, 4], 5, [0, 1], backend, hidden="tanh", bias=True)
    network = known.network
    trace = network.forward(known.x)
    e = get_loss("mse").evaluate(trace.h[-1], known.labels)[0]
    worst = max(np.linalg.cond(host(W)).max() for W in network.W[2:])
    for cls in (RFTwoPhase, PseudoBackprop):
        one, two = (
            rule.deltas(network, trace, e, rule.init(network, Streams(0, backend)))
            for rule in (cls(pinv=engine), cls(pinv="svd"))
        )
        for l in (1, 2, 3):
            # c·eps·n·κ² a layer for the Gram engines (c = 10), over two layers.
            limit = 2 * 10 * 8 * eps(backend.dtype) * worst**2 * np.abs(host(two[l])).max()
            assert np.abs(host(one[l]) - host(two[l])).max() <= limit


@pytest.mark.parametrize("engine", EXACT_ENGINES)
def test_engines_give_the_moore_penrose_inverse(engine, backend64):
    known = known_network([8, 6, 7, 4], 5, [0, 1], backend64)
    for W, X in zip(known.network.W[2:], weight_pinvs(known.network, engine, 0.0)[2:], strict=True):
        assert_penrose(W, X)


@pytest.mark.parametrize("engine", EXACT_ENGINES)
def test_a_rank_deficient_weight_goes_to_the_svd(engine):
    known = known_matrix((4, 6), [1.0, 0.5])
    network = Network([None, np.eye(6), known.A], [None] * 3, get_activation("tanh"), get_activation("tanh"))
    X = weight_pinvs(network, engine, 0.0)[2]
    assert_penrose(known.A, X)
    np.testing.assert_allclose(X, known.pinv, rtol=0, atol=100 * eps(known.A) * 4)


@pytest.mark.parametrize("damping", [0.1, 3.0])
@pytest.mark.parametrize("shape", [(4, 6), (6, 4)])
def test_damped_inverse(shape, damping, backend64):
    A = host(known_matrix((2, *shape), [30.0, 4.0, 2.0, 1.0], 0).A)
    network = Network(
        [None, backend64.asarray(np.zeros((2, shape[1], 3))), backend64.asarray(A)],
        [None] * 3,
        get_activation("tanh"),
        get_activation("tanh"),
    )
    X = host(weight_pinvs(network, "auto", damping)[2])
    lam = damping * np.mean([900.0, 16.0, 4.0, 1.0])  # relative to the mean squared singular value
    for k in range(2):
        wanted = A[k].T @ np.linalg.inv(A[k] @ A[k].T + lam * np.eye(shape[0]))
        np.testing.assert_allclose(X[k], wanted, rtol=0, atol=1000 * eps(backend64.dtype))


def test_infinite_weights_give_nan_inverses_for_their_member_alone(backend64):
    known = known_network([5, 4, 3], 2, [0, 1], backend64)
    W = host(known.network.W[2])
    W[1, 0, 0] = np.inf
    known.network.W[2] = backend64.asarray(W)
    X = host(weight_pinvs(known.network, "auto", 0.0)[2])
    assert np.isnan(X[1]).all()
    np.testing.assert_allclose(X[0], np.linalg.pinv(W[0]), rtol=0, atol=1e4 * eps(backend64.dtype))


def test_expected_recirculation_is_a_ben_israel_cohen_step():
    # ΔX = η mean Gyyᵀ with G = X − XWX; for normal y entry (i, j) has variance η²(‖G_i‖² + G_ij²)/N.
    rng, lr, count = np.random.default_rng(0), 0.4, 200_000
    W, X = rng.normal(size=(3, 5)), rng.normal(size=(5, 3)) / 5
    stepped = recirculate(W, X.copy(), rng.standard_normal((count, 3)), lr)
    G = X - X @ W @ X
    error = lr * np.sqrt(((G**2).sum(axis=1, keepdims=True) + G**2) / count)
    assert (np.abs(stepped - (X + lr * G)) <= 6 * error).all()
    assert np.abs(lr * G).max() > 50 * error.max()  # the step itself is far outside the error bars


def test_recirculation_stays_at_the_pseudoinverse(backend64):
    W = known_matrix((2, 4, 6), [2.0, 1.5, 1.0, 0.5], 0, backend64)
    X = backend64.asarray(W.pinv)
    for i in range(10):
        X = recirculate(W.A, X, Streams([0, 1], backend64).child(i).normal((20, 4)), 0.1)
    # G = X − XWX vanishes: only rounding is added, ten times eps·n·‖y‖².
    np.testing.assert_allclose(to_numpy(X), W.pinv, rtol=0, atol=10 * 10 * 6 * eps(backend64.dtype) * 20)


def test_recirculation_tracks_moving_weights():
    rule = RFTwoPhase(pinv="recirculation", refresh_every=1, sleep_lr=0.5)
    network = known_network([5, 6, 4], 2, 0, NUMPY64, init="orthogonal").network
    feedback = rule.init(network, Streams(0, NUMPY64))
    stale = feedback["W_pinv"][2].copy()
    drift = np.random.default_rng(1).normal(size=(4, 6)) * 0.002
    for step in range(1, 101):
        network.W[2] = network.W[2] + drift
        feedback = rule.sleep(network, feedback, Streams(0, NUMPY64).child("sleep", step), step)
    I, W, X = np.eye(4), network.W[2], feedback["W_pinv"][2]
    tracked, left = np.linalg.norm(I - W @ X), np.linalg.norm(I - W @ stale)
    # P = I − WX gains ‖drift·X‖ a step and loses the share η: it settles near ‖drift·X‖/η; twice that for noise.
    assert tracked <= 2 * np.linalg.norm(drift @ X) / 0.5
    assert left > 10 * tracked


def test_recirculation_sleeps_on_schedule_and_on_the_seeds_noise():
    rule = RFTwoPhase(pinv="recirculation", refresh_every=5)
    network = known_network([5, 6, 4], 2, 0, NUMPY64).network
    network_after = network.copy()
    network_after.W[2] = network.W[2] * 1.05

    def sleep(step, seed):
        feedback = rule.init(network, Streams(0, NUMPY64))
        return rule.sleep(network_after, feedback, Streams(seed, NUMPY64).child("sleep", step), step)["W_pinv"][2]

    start = rule.init(network, Streams(0, NUMPY64))["W_pinv"][2]
    for step in (0, 1, 4, 6):
        np.testing.assert_array_equal(sleep(step, 0), start)
    assert np.abs(sleep(5, 0) - start).max() > 1e-4
    np.testing.assert_array_equal(sleep(5, 0), sleep(5, 0))
    assert np.abs(sleep(5, 0) - sleep(5, 1)).max() > 1e-6


def iterate(W, Y, X, count):
    """Run the autoencoder rule on a full batch at the step 1/λ_max until it stands still."""
    A = Y @ W.T
    lr = 1 / np.linalg.eigvalsh(A.T @ A / len(Y)).max()
    for _ in range(count):
        X = autoencoder_step(X, A, Y, lr)
    return X


def test_parallel_rule_ends_at_the_data_weighted_inverse():
    rng = np.random.default_rng(3)
    W = known_matrix((3, 5), [1.5, 1.2, 1.0]).A
    Y = rng.normal(size=(40, 5)) * [2.0, 1.5, 1.0, 0.8, 1.2]
    G = Y.T @ Y / 40
    wanted = G @ W.T @ np.linalg.inv(W @ G @ W.T)
    values = np.linalg.eigvalsh(W @ G @ W.T)
    # Each step shrinks the error by 1 − λ_min/λ_max: enough of them for 1e-16, then rounding remains.
    count = int(np.ceil(-np.log(1e-16) * values[-1] / values[0]))
    X = iterate(W, Y, rng.normal(size=(5, 3)), count)
    np.testing.assert_allclose(X, wanted, rtol=0, atol=100 * eps(W) * 5 * values[-1] / values[0])
    assert np.abs(wanted - np.linalg.pinv(W)).max() > 0.05  # which is not W⁺


def test_parallel_rule_on_white_noise_ends_at_the_pseudoinverse():
    rng = np.random.default_rng(4)
    W = known_matrix((3, 5), [1.5, 1.2, 1.0]).A
    Y = np.linalg.qr(rng.normal(size=(40, 5)))[0] * np.sqrt(40)  # second moment exactly I
    X = iterate(W, Y, rng.normal(size=(5, 3)), 200)
    np.testing.assert_allclose(X, np.linalg.pinv(W), rtol=0, atol=100 * eps(W) * 5 * 1.5**2)
    assert_penrose(W, X, c=100)


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("start", ["pinv", "random"])
def test_parallel_learns_from_the_traces_own_activity(start, bias, backend64):
    known = known_network([6, 5, 4, 3], 4, [0, 1], backend64, hidden="tanh", bias=bias)
    rule = RFParallel(feedback_lr=0.01, start=start)
    network = known.network
    trace = network.forward(known.x)
    feedback = rule.init(network, Streams([5, 6], backend64))
    assert feedback["W_pinv"][:2] == [None, None]
    before = [None if X is None else host(X).copy() for X in feedback["W_pinv"]]
    after = rule.learn_feedback(network, trace, feedback, Streams(0, backend64), 0)["W_pinv"]
    for l in (2, 3):
        y, W, X = host(trace.h[l - 1]), host(network.W[l]), before[l]
        for k in range(2):
            # v2 §3.1: ΔW⁺ = −η mean (W⁺Wy − y)(Wy)ᵀ, without the bias.
            change = sum(np.outer(X[k] @ W[k] @ v - v, W[k] @ v) for v in y[k]) / 4
            bound = 1000 * eps(backend64.dtype) * (1 + np.abs(X).max())
            np.testing.assert_allclose(host(after[l])[k], X[k] - 0.01 * change, rtol=0, atol=bound)


@pytest.mark.parametrize("name", rules.RULES)
def test_the_pseudoinverse_of_the_first_layer_is_never_computed(name, monkeypatch):
    seen = []
    for function in ("pinv", "damped_pinv"):
        real = getattr(inverses, function)
        monkeypatch.setattr(inverses, function, lambda W, *a, real=real, **k: seen.append(W.shape) or real(W, *a, **k))
    options = {"refresh_every": 1} if name in ("rf-two-phase", "pseudo-backprop") else {}
    rule = rules.get_rule(name, **options)
    known = known_network([11, 5, 4, 3], 2, 0, NUMPY64)
    feedback = rule.init(known.network, Streams(0, NUMPY64))
    feedback = rule.sleep(known.network, feedback, Streams(0, NUMPY64), 1)
    assert (5, 11) not in seen
    assert all(values[1] is None for values in feedback.values())
    if "rf" in name or "pseudo" in name:
        assert (4, 5) in seen
