"""The batch reciprocal: the stacked Jacobian by autograd, exactness to first order, and who lacks it."""

from __future__ import annotations

import numpy as np
import pytest
from rules_helpers import dense_jacobian, host, relative_error

from rfnumeric.backend import eps, get_backend
from rfnumeric.calculus.gauss_newton import gauss_newton_step
from rfnumeric.nn import get_loss
from rfnumeric.rules import BatchReciprocal, RFTwoPhase
from rfnumeric.testing.strategies import known_network

NUMPY64 = get_backend("numpy", dtype="float64")
SIZES = [8, 7, 6, 2]
BATCH = 3


def deltas(rule, known):
    network = known.network
    trace = network.forward(known.x)
    e = get_loss("mse").evaluate(trace.h[-1], known.labels)[0]
    return trace, e, rule.deltas(network, trace, e, rule.init(network, known.streams))


def stacked_jacobian(network, x, l):
    """∂(all samples' h_L)/∂vec([W_l b_l]), (batch·n_L, n_l · n_in), by autograd."""
    return np.vstack([dense_jacobian(network, row, l) for row in host(x)])


def direction(network, trace, delta, l):
    """mean_batch δ_l [h_{l−1} 1]ᵀ as a column-major vector."""
    h = host(trace.h[l - 1])
    h = np.hstack([h, np.ones((len(h), 1))]) if network.has_bias else h
    return (host(delta[l]).T @ h / len(h)).T.ravel()


@pytest.mark.parametrize("damping", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("hidden", ["tanh", "leaky-relu"])
def test_against_the_stacked_jacobian(hidden, bias, damping, backend64):
    known = known_network(SIZES, BATCH, 1, backend64, hidden=hidden, output="tanh", negative_slope=0.3, bias=bias)
    trace, e, delta = deltas(BatchReciprocal(damping=damping), known)
    for l in (1, 2, 3):
        J = stacked_jacobian(known.network, known.x, l)
        G = J @ J.T
        inner = G + damping * np.trace(G) / len(G) * np.eye(len(G))
        wanted = (J.T @ np.linalg.inv(inner) if damping else np.linalg.pinv(J)) @ host(e).ravel()
        # c·eps·n·κ of the solved system, c = 100.
        limit = 100 * len(G) * eps(backend64.dtype) * np.linalg.cond(inner)
        assert relative_error(direction(known.network, trace, delta, l), wanted) <= limit


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_is_the_block_diagonal_gauss_newton_step(damping, backend64):
    known = known_network(SIZES, BATCH, 0, backend64, hidden="tanh")
    trace, e, _ = deltas(BatchReciprocal(), known)
    for l in (1, 2, 3):
        J = stacked_jacobian(known.network, known.x, l)
        absolute = damping * float(np.sum(J * J)) / len(J)  # the step takes λ in units of ‖J‖²
        wanted = gauss_newton_step(known.network, trace, e, damping=absolute, block_diagonal=True)[l]
        got = direction(known.network, trace, deltas(BatchReciprocal(damping=damping), known)[2], l)
        limit = 100 * len(J) * eps(backend64.dtype) * np.linalg.cond(J @ J.T)
        assert relative_error(got, host(wanted).T.ravel()) <= limit


def orders(known, delta, e):
    """Fit the power of λ in ‖Δh_L + λe‖ over the batch, for each layer's step alone."""
    found, lrs = {}, 2.0 ** -np.arange(9, 15)
    for l in (1, 2, 3):
        remainders = []
        for lr in lrs:
            network = known.network.copy()
            trace = network.forward(known.x)
            before = trace.h[-1].copy()
            trace.delta = [None, *(delta[k] if k == l else 0 * delta[k] for k in (1, 2, 3))]
            network.update(trace, float(lr))
            remainders.append(np.linalg.norm(network.predict(known.x) - before + lr * e))
        found[l] = np.polyfit(np.log(lrs), np.log(remainders), 1)[0]
    return found


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_each_layer_alone_moves_every_sample_by_minus_lr_e(bias):
    known = known_network(SIZES, BATCH, 7, NUMPY64, hidden="tanh", output="tanh", bias=bias)
    _, e, delta = deltas(BatchReciprocal(damping=0.0), known)
    assert all(order == pytest.approx(2, abs=0.15) for order in orders(known, delta, e).values())
    # The average of the samples' own reciprocals, as the papers have it, leaves a remainder of first order; so does
    # damping.
    for rule in (RFTwoPhase(), BatchReciprocal(damping=0.1)):
        found = orders(known, deltas(rule, known)[2], e)
        assert all(order == pytest.approx(1, abs=0.15) for order in found.values()), found


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_for_one_sample_it_is_reciprocal_feedback(bias, backend64):
    # Contracting layers: the chain of pseudoinverses is a right inverse of J; the last layer's is the pseudoinverse.
    known = known_network(SIZES, 1, 3, backend64, hidden="identity", output="tanh", bias=bias)
    ours, theirs = (deltas(rule, known)[2] for rule in (BatchReciprocal(damping=0.0), RFTwoPhase()))
    assert relative_error(host(ours[3]), host(theirs[3])) <= 1000 * 8 * eps(backend64.dtype)


def test_a_member_that_is_not_finite_leaves_the_others_alone():
    known = known_network(SIZES, BATCH, [0, 1], NUMPY64, hidden="tanh")
    for damping in (0.0, 0.1):
        good = deltas(BatchReciprocal(damping=damping), known)[2]
        broken = known_network(SIZES, BATCH, [0, 1], NUMPY64, hidden="tanh")
        broken.network.W[3][1] = np.nan
        got = deltas(BatchReciprocal(damping=damping), broken)[2]
        for l in (1, 2, 3):
            np.testing.assert_allclose(got[l][0], good[l][0], rtol=1e3 * eps(NUMPY64.dtype))
            assert np.isnan(got[l][1]).all()
