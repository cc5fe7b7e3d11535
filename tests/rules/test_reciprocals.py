"""Reciprocal feedback against dense Jacobians: 𝓑_l by Kronecker products, and what one step does to h_L."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfnumeric.backend import Streams, eps, get_backend
from rfnumeric.linalg import satisfied_conditions
from rfnumeric.nn import get_loss
from rfnumeric.rules import RFParallel, RFTwoPhase
from rfnumeric.testing.strategies import known_network, networks

pytest.importorskip("torch")
from rules_helpers import dense_jacobian, dense_reciprocals, host, relative_error

SETTINGS = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMPY64 = get_backend("numpy", dtype="float64")
CONTRACTING = [9, 7, 5, 3]


def deltas(rule, known):
    network = known.network
    trace = network.forward(known.x)
    e = get_loss("cross-entropy").evaluate(trace.h[-1], known.labels)[0]
    return trace, e, rule.deltas(network, trace, e, rule.init(network, Streams(1, network.backend)))


def compare_with_dense(known, rule):
    """Each sample's δ_l ⊗ [h 1] must be 𝓑_l e."""
    network = known.network
    trace, e, delta = deltas(rule, known)
    worst = max(np.linalg.cond(host(W)) for W in network.W[1:])
    options = (rule.own_layer, rule.normalize, getattr(rule, "weight_damping", 0.0), rule.derivative_damping)
    # W⁺ through a Gram matrix errs by c·eps·n·κ² at most, once a layer; c = 10.
    tolerance = 10 * network.L * max(network.sizes) * eps(network.backend.dtype) * worst**2
    for i in range(known.x.shape[-2]):
        for l, B_cal in dense_reciprocals(network, trace, i, *options).items():
            h = host(trace.h[l - 1])[i]
            h = np.append(h, 1.0) if network.has_bias else h
            step = np.outer(host(delta[l])[i], h)
            wanted = B_cal @ host(e)[i]
            assert relative_error(step.T.ravel(), wanted) <= max(tolerance, 1e-12), (i, l)


@pytest.mark.parametrize(
    ("own_layer", "normalize", "weight_damping", "derivative_damping", "bias"),
    list(itertools.product(["reciprocal", "derivative", "none"], [True, False], [0.0, 0.3], [0.0, 0.2], [False, True])),
)
def test_two_phase_is_its_equation(own_layer, normalize, weight_damping, derivative_damping, bias, backend64):
    rule = RFTwoPhase(
        own_layer=own_layer,
        normalize=normalize,
        weight_damping=weight_damping,
        derivative_damping=derivative_damping,
    )
    for hidden in ("tanh", "leaky-relu"):
        options = {"hidden": hidden, "output": "leaky-softplus", "negative_slope": 0.2, "bias": bias}
        compare_with_dense(known_network([6, 5, 4, 3], 3, 1, backend64, **options), rule)


@pytest.mark.parametrize("own_layer", ["reciprocal", "derivative", "none"])
def test_parallel_starts_as_the_same_equation(own_layer, backend64):
    known = known_network([6, 5, 4, 3], 3, 1, backend64, hidden="tanh", bias=True)
    compare_with_dense(known, RFParallel(own_layer=own_layer, derivative_damping=0.1))


@SETTINGS
@given(data=st.data())
def test_any_shape(data, backend64):
    # Orthogonal weights, so that no draw is ill-conditioned; rectangular ones of both kinds included.
    known = data.draw(
        networks(
            backend64,
            max_width=12,
            inits=("orthogonal",),
            slopes=(0.2, 1.0),
            activations=("leaky-relu", "leaky-softplus", "identity"),
        )
    )
    compare_with_dense(known, RFTwoPhase())


def test_slope_zero_gives_zero_not_infinity(backend):
    known = known_network([6, 5, 4, 3], 3, 1, backend, hidden="leaky-relu", negative_slope=0.0)
    for delta in deltas(RFTwoPhase(), known)[2][1:]:
        assert np.isfinite(host(delta)).all()


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_square_networks_get_the_pseudoinverse_of_the_dense_jacobian(bias):
    known = known_network([4] * 4, 2, 3, NUMPY64, hidden="tanh", output="tanh", bias=bias)
    trace, e, delta = deltas(RFTwoPhase(), known)
    for i in range(2):
        for l in range(1, 4):
            J = dense_jacobian(known.network, known.x[i], l)
            h = np.append(trace.h[l - 1][i], 1.0) if bias else trace.h[l - 1][i]
            step = np.outer(delta[l][i], h).T.ravel()
            # Rounding grows with the condition of the Jacobian and of the weights that made it.
            worst = max(np.linalg.cond(J), *(np.linalg.cond(W) for W in known.network.W[1:]))
            assert relative_error(step, np.linalg.pinv(J) @ e[i]) <= 100 * 16 * eps(NUMPY64.dtype) * worst**2


@pytest.mark.parametrize(
    ("sizes", "conditions"),
    [([9, 7, 5, 3], {1, 2, 3}), ([3, 5, 7, 9], {1, 2, 4}), ([4, 4, 4, 4], {1, 2, 3, 4}), ([6, 2, 7, 5], set())],
    ids=["contracting", "expanding", "square", "bottleneck"],
)
def test_which_penrose_conditions_hold(sizes, conditions):
    # For J_{h_1} D_1 and its reciprocal D_1⁺ B_1: 𝓑_1 without the factor of the input.
    known = known_network(sizes, 1, 0, NUMPY64, hidden="tanh", output="tanh")
    trace = known.network.forward(known.x)
    B_cal = dense_reciprocals(known.network, trace, 0, "reciprocal", True)[1]
    x = known.x[0]
    B = np.kron(x[None, :], np.eye(sizes[1])) @ B_cal
    J = dense_jacobian(known.network, x, 1) @ np.kron(x[:, None], np.eye(sizes[1])) / (x @ x)
    worst = np.linalg.cond(J)
    assert satisfied_conditions(J, B, rtol=1e4 * eps(NUMPY64.dtype) * worst) == conditions


def response(known, l, delta, lr, e):
    """Return ‖Δh_L + λe‖ after one step of layer l alone."""
    network = known.network.copy()
    h = network.forward(known.x)
    step = [0 * h.a[k] for k in range(1, network.L + 1)]
    h.delta = [None, *step]
    h.delta[l] = delta[l]
    before = h.h[-1].copy()
    network.update(h, lr)
    return np.linalg.norm(network.predict(known.x) - before + lr * e)


def orders(known, delta, e, finest=14):
    """Fit the power of λ in ‖Δh_L + λe‖ for each layer's step alone, over the six λ down to 2^−finest."""
    lrs = 2.0 ** -np.arange(finest - 5, finest + 1)
    found = {}
    for l in range(1, known.network.L + 1):
        remainders = [response(known, l, delta, lr, e) for lr in lrs]
        found[l] = np.polyfit(np.log(lrs), np.log(remainders), 1)[0]
    return found


def contracting(bias, hidden="tanh", sizes=CONTRACTING, output="tanh"):
    return known_network(sizes, 1, 7, NUMPY64, hidden=hidden, output=output, negative_slope=0.3, bias=bias)


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("hidden", ["tanh", "leaky-softplus"])
def test_each_layer_alone_moves_the_output_by_minus_lr_e(hidden, bias):
    known = contracting(bias, hidden, output=hidden)
    _, e, delta = deltas(RFTwoPhase(), known)
    for l, order in orders(known, delta, e).items():
        # The cubic term, one λ smaller, bends the fit by about its ratio to the quadratic one: λ ≤ 2⁻⁹ here.
        assert order == pytest.approx(2, abs=0.1), l


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("hidden", ["leaky-relu", "identity"])
def test_piecewise_linear_layers_leave_no_remainder(hidden, bias):
    known = contracting(bias, hidden, output=hidden)
    _, e, delta = deltas(RFTwoPhase(), known)
    worst = np.prod([np.linalg.cond(W) for W in known.network.W[1:]])
    for l in (1, 2, 3):
        # A step below the nearest kink; h_L itself is rounded to eps·n·|h_L|, and 𝓑 to eps·n·κ of the product.
        assert response(known, l, delta, 1e-5, e) <= 100 * 9 * eps(NUMPY64.dtype) * worst


WRONG = {
    "no own-layer D⁺": RFTwoPhase(own_layer="none"),
    "own-layer D": RFTwoPhase(own_layer="derivative"),
    "no 1/‖h‖²": RFTwoPhase(normalize=False),
    "D⁺ damped": RFTwoPhase(derivative_damping=0.1),
    "W⁺ damped": RFTwoPhase(weight_damping=0.1),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_without_the_corrections_the_remainder_is_of_first_order(name, bias):
    known = contracting(bias)
    _, e, delta = deltas(WRONG[name], known)
    # λ so small that the terms of second order do not bend a fit of the first.
    found = orders(known, delta, e, finest=22)
    first = 1 if "W⁺" not in name else 2  # the last layer uses no W⁺
    # Damped D⁺ and W⁺ too give up exactness: that is what damping costs.
    assert all(order == pytest.approx(1, abs=0.1) for l, order in found.items() if l <= 4 - first), found


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_an_index_slip_breaks_it(bias):
    # v2's Algorithm boxes print B_l = W_l⁺ D_l⁺ B_{l+1}: in a square network, where the shapes hide it.
    known = contracting(bias, sizes=[4] * 4)
    network, rule = known.network, RFTwoPhase()
    trace, e, delta = deltas(rule, known)
    assert all(order == pytest.approx(2, abs=0.1) for order in orders(known, delta, e).values())
    slipped = {"W_pinv": [None, None, *(np.linalg.pinv(network.W[l - 1]) for l in (2, 3))]}
    wrong = rule.deltas(network, trace, e, slipped)
    found = orders(known, wrong, e, finest=22) | {3: orders(known, wrong, e)[3]}
    assert found[3] == pytest.approx(2, abs=0.1)  # B_L = I has no W⁺ to slip
    assert found[1] == pytest.approx(1, abs=0.1)
    assert found[2] == pytest.approx(1, abs=0.1)


def test_bias_without_the_one_in_the_norm_breaks_it():
    # [W b] has the input [h 1]: 1/‖h‖² instead of 1/(‖h‖² + 1) overshoots.
    known = contracting(True)
    trace, e, delta = deltas(RFTwoPhase(), known)
    wrong = [None]
    for l in (1, 2, 3):
        squared = float((trace.h[l - 1] ** 2).sum())
        wrong.append(delta[l] * (squared + 1) / squared)
    assert all(order == pytest.approx(1, abs=0.1) for order in orders(known, wrong, e, finest=22).values())


@pytest.mark.parametrize("own_layer", ["reciprocal"])
def test_batches_average_each_samples_reciprocal(own_layer, backend64):
    known = known_network(CONTRACTING, 5, 0, backend64, hidden="tanh")
    together = deltas(RFTwoPhase(own_layer=own_layer), known)[2]
    for i in range(5):
        one = type(known)(known.network, known.x[i : i + 1, ...], known.labels[i : i + 1, ...], known.streams)
        alone = deltas(RFTwoPhase(own_layer=own_layer), one)[2]
        for l in (1, 2, 3):
            bound = 100 * eps(backend64.dtype) * 9 * np.abs(host(alone[l])).max()
            assert np.abs(host(together[l])[i] - host(alone[l])[0]).max() <= bound


@pytest.mark.parametrize("population", [0, [0, 1]], ids=["", "population"])
def test_data_weighted_inverses_are_least_squares_over_the_activity(population, backend64):
    known = known_network([6, 5, 3], 40, population, backend64, hidden="leaky-relu")
    rule, network = RFTwoPhase(pinv="data-weighted", refresh_every=1), known.network
    feedback = rule.init(network, known.streams)
    seen = []
    for step in range(3):
        trace = network.forward(known.streams.child("x", step).normal((40, 6)))
        feedback = rule.learn_feedback(network, trace, feedback, known.streams, step)
        seen.append(host(trace.h[1]).reshape(-1, 40, 5))
    got = host(rule.sleep(network, feedback, known.streams, 3)["W_pinv"][2]).reshape(-1, 5, 3)
    for k, W in enumerate(host(network.W[2]).reshape(-1, 3, 5)):
        h = np.concatenate([batch[k] for batch in seen])  # equal weights: fewer than 100 steps
        wanted = np.linalg.lstsq(h @ W.T, h, rcond=None)[0].T  # R of least E‖RWh − h‖²
        kappa = np.linalg.cond(h @ W.T) ** 2
        # The least damping, m·eps relative to the mean eigenvalue, and rounding, both times κ of the normal equations.
        assert relative_error(got[k], wanted) <= 10 * 3 * eps(backend64.dtype) * 5 * kappa


def test_data_weighted_inverses_of_silent_layers_are_zero():
    known = known_network([6, 5, 3], 4, 0, NUMPY64)
    rule = RFTwoPhase(pinv="data-weighted", refresh_every=1)
    feedback = rule.init(known.network, known.streams)
    assert not rule.sleep(known.network, feedback, known.streams, 1)["W_pinv"][2].any()
