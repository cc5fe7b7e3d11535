"""Backprop against autograd and central differences; feedback alignment and pseudo-backprop against autograd with
their own matrices on the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rfnumeric.backend import Streams, eps, get_backend, to_numpy
from rfnumeric.nn import ACTIVATIONS, get_loss
from rfnumeric.rules import Backprop, FeedbackAlignment, PseudoBackprop, RFTwoPhase
from rfnumeric.testing.strategies import known_network, networks

pytest.importorskip("torch")
from rules_helpers import host, relative_error, steps, torch_gradients

SETTINGS = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMPY64 = get_backend("numpy", dtype="float64")


def run(rule, known, loss):
    """Return trace, feedback and deltas of one step."""
    network = known.network
    trace = network.forward(known.x)
    e = get_loss(loss).evaluate(trace.h[-1], known.labels)[0]
    feedback = rule.init(network, Streams(1, network.backend))
    return trace, feedback, rule.deltas(network, trace, e, feedback)


def compare(known, trace, delta, loss, tolerance, M=None):
    """Hold ΔW and Δb of every layer against autograd's."""
    W, b = steps(known.network, trace, delta)
    wanted_W, wanted_b = torch_gradients(known.network, known.x, to_numpy(known.labels), loss, M)
    for l in W:
        assert relative_error(W[l], wanted_W[l]) <= tolerance, f"W[{l}]"
        if wanted_b:
            assert relative_error(b[l], wanted_b[l]) <= tolerance, f"b[{l}]"


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
@pytest.mark.parametrize("output", ACTIVATIONS)
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_backprop_is_the_gradient(hidden, output, loss, bias, backend64):
    options = {"hidden": hidden, "output": output, "negative_slope": 0.2, "bias": bias}
    known = known_network([6, 5, 7, 4, 3], 4, 2, backend64, **options)
    trace, _, delta = run(Backprop(), known, loss)
    compare(known, trace, delta, loss, 1e-12)


@SETTINGS
@given(data=st.data(), loss=st.sampled_from(["cross-entropy", "mse"]))
def test_backprop_any_shape(data, loss, backend):
    known = data.draw(networks(backend))
    trace, _, delta = run(Backprop(), known, loss)
    # Across a kink of the leaky ReLU, rounding of a would choose another slope than the oracle's float64 does.
    assume(min(float(np.abs(to_numpy(a)).min()) for a in trace.a[1:]) > 1e3 * eps(backend.dtype))
    e = host(get_loss(loss).evaluate(trace.h[-1], known.labels)[0])
    assume(np.abs(e).max() > 1e-3)  # else e = softmax − onehot is rounding
    # Each layer's rounding, n·eps relative to |W||h|, against gradients that cancellation may make smaller.
    W, _ = steps(known.network, trace, delta)
    wanted, _ = torch_gradients(known.network, known.x, to_numpy(known.labels), loss)
    size = np.abs(e).max()
    for l in range(known.network.L, 0, -1):
        h = 1 + np.abs(host(trace.h[l - 1])).max()
        layers, n = known.network.L, max(known.network.sizes)
        assert np.abs(W[l] - wanted[l]).max() <= 20 * layers * n * eps(backend.dtype) * size * h * (
            1 + reach(known, trace)
        )
        size *= np.abs(host(known.network.W[l])).sum(axis=0).max()


def reach(known, trace):
    """How much a relative rounding of one activation can move later ones: the product of the layers' ∞-norms."""
    product, worst = 1.0, 1.0
    for l in range(1, known.network.L + 1):
        product *= max(1.0, float(np.abs(host(known.network.W[l])).sum(axis=1).max()))
        worst = max(worst, product * (1 + float(np.abs(host(trace.h[l - 1])).max())))
    return worst


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
@pytest.mark.parametrize("hidden", ["tanh", "leaky-relu", "leaky-softplus"])
def test_backprop_against_central_differences(hidden, loss):
    known = known_network([5, 4, 6, 3], 3, 0, NUMPY64, hidden=hidden, output=hidden, negative_slope=0.3, bias=True)
    network = known.network
    trace, _, delta = run(Backprop(), known, loss)
    W, b = steps(network, trace, delta)

    def value():
        return float(get_loss(loss).evaluate(network.predict(known.x), known.labels)[1]) / 3

    step, rng = np.finfo(float).eps ** (1 / 3), np.random.default_rng(0)
    for parameters, gradients in ((network.W, W), (network.b, b)):
        for l in range(1, network.L + 1):
            for flat in rng.choice(parameters[l].size, min(4, parameters[l].size), replace=False):
                index = np.unravel_index(flat, parameters[l].shape)
                before, values = parameters[l][index], []
                for sign in (1, -1):
                    parameters[l][index] = before + sign * step
                    values.append(value())
                parameters[l][index] = before
                # Truncation and rounding are of order step² times the third derivative and the loss; both ≤ 100 here.
                assert abs((values[0] - values[1]) / (2 * step) - gradients[l][index]) <= 100 * step**2


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_feedback_alignment_against_autograd(hidden, bias, loss, backend64):
    known = known_network([6, 5, 7, 3], 4, 2, backend64, hidden=hidden, output="tanh", negative_slope=0.2, bias=bias)
    trace, feedback, delta = run(FeedbackAlignment(), known, loss)
    compare(known, trace, delta, loss, 1e-12, feedback["B"])
    assert (
        relative_error(*(steps(known.network, trace, d)[0][1] for d in (delta, run(Backprop(), known, loss)[2]))) > 0.1
    )


def test_feedback_matrices_have_the_scale_of_transposes_and_stay():
    known = known_network([10, 30, 20, 10], 4, [0, 1], NUMPY64)
    rule = FeedbackAlignment()
    B = rule.init(known.network, Streams([0, 1], NUMPY64))["B"]
    assert B[:2] == [None, None]
    for l in (2, 3):
        assert B[l].shape == (2, *known.network.W[l].shape[1:][::-1])
        variance, count = 2 / known.network.sizes[l - 1], B[l].size
        assert abs((B[l] ** 2).mean() - variance) <= 6 * variance * np.sqrt(2 / count)  # six standard errors
    after = rule.sleep(known.network, {"B": list(B)}, Streams(0, NUMPY64), 20)["B"]
    assert all(x is y for x, y in zip(B, after, strict=True))


@pytest.mark.parametrize("hidden", ["identity", "leaky-relu", "tanh"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_pseudo_backprop_against_autograd_with_pinv(hidden, bias, backend64):
    known = known_network([6, 5, 7, 4, 3], 4, 2, backend64, hidden=hidden, output="tanh", negative_slope=0.2, bias=bias)
    trace, _, delta = run(PseudoBackprop(), known, "cross-entropy")
    M = [None, None, *(np.linalg.pinv(host(W)) for W in known.network.W[2:])]
    worst = max(np.linalg.cond(host(W)) for W in known.network.W[2:])
    # The engine's W⁺ is off by c·eps·n·κ² at most (a Gram matrix); three of them multiply.
    compare(known, trace, delta, "cross-entropy", 3 * 10 * 7 * eps(backend64.dtype) * worst**2, M)


@pytest.mark.parametrize(
    "rule", [PseudoBackprop(), RFTwoPhase(own_layer="derivative", normalize=False)], ids=lambda r: r.name
)
@pytest.mark.parametrize("hidden", ["identity", "leaky-relu", "tanh", "leaky-softplus"])
def test_orthogonal_square_weights_make_reciprocals_transposes(rule, hidden, backend64):
    known = known_network([6] * 5, 4, 0, backend64, hidden=hidden, output=hidden, negative_slope=0.2, init="orthogonal")
    wanted = run(Backprop(), known, "cross-entropy")[2]
    delta = run(rule, known, "cross-entropy")[2]
    layers = range(1, 5) if isinstance(rule, PseudoBackprop) or hidden == "identity" else [4]
    for l in layers:  # reciprocal feedback has D⁺ on the way; with D = I, or in the last layer, it too is backprop
        # W⁺ = Wᵀ up to c·eps·n a layer, four layers: c = 10.
        assert relative_error(host(delta[l]), host(wanted[l])) <= 4 * 10 * 6 * eps(backend64.dtype)
