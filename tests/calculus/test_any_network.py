"""Jacobians, reciprocals and Gauss–Newton of networks with several sources, residuals and shared weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from fixture_graphs import BATCH, GRAPHS

from rfnumeric.backend import get_backend, to_numpy
from rfnumeric.calculus import (
    JacobianOperator,
    ReciprocalOperator,
    activation_jacobians,
    activation_reciprocals,
    finite_difference_jacobian,
    gauss_newton_step,
    jacobian,
    pull_back,
    push_forward,
    reciprocal_properties,
    weight_reciprocal,
)
from rfnumeric.nn import AvgPool2d, Conv2d, Dense, Strided2d
from rfnumeric.rules import get_rule

HOST = get_backend("numpy", dtype="float64")
EPS = np.finfo(float).eps
ROUNDING = 1e4 * EPS
"""c·eps·(entries of a path)·(norms of a path) for networks of at most six layers of width at most eight."""


def quantities(network):
    """All (l, wrt) that a Jacobian exists for."""
    both = [(l, wrt) for l in range(network.L + 1) for wrt in ("h", "a", "W", "b")]
    trained = [l for l in range(1, network.L + 1) if network.users[network.owner[l]]]
    return [(l, wrt) for l, wrt in both if wrt == "h" or (l and (wrt == "a" or l in trained))]


@pytest.mark.parametrize("graph", GRAPHS)
def test_jacobians_are_finite_differences(graph, backend64):
    network, x, _ = GRAPHS[graph](backend64)
    trace = network.forward(x)
    for l, wrt in quantities(network):
        J, differences = (
            to_numpy(v) for v in (jacobian(network, trace, l, wrt), finite_difference_jacobian(network, x, l, wrt))
        )
        # Central differences of step eps^(1/3) leave eps^(2/3) times third derivatives; c = 100.
        np.testing.assert_allclose(J, differences, rtol=0, atol=100 * EPS ** (2 / 3) * (1 + np.abs(J).max()))
    for l, J in enumerate(activation_jacobians(network, trace)):
        np.testing.assert_array_equal(to_numpy(J), to_numpy(jacobian(network, trace, l, "h")))


def torch_map(torch, layer, W, b, h):
    """M(W)h + b of one sample."""
    f = torch.nn.functional
    if isinstance(layer, Dense):
        return W @ h + b
    image, w = h.reshape(1, *layer.in_shape), layer.window
    if isinstance(layer, Conv2d):
        return f.conv2d(image, W, b, stride=(w.sh, w.sw), padding=layer.padding).flatten()
    if isinstance(layer, AvgPool2d):
        return f.avg_pool2d(image, (w.kh, w.kw), (w.sh, w.sw)).flatten()
    if isinstance(layer, Strided2d):
        return image[..., :: w.sh, :: w.sw].flatten()
    patches = f.unfold(image, (w.kh, w.kw), stride=(w.sh, w.sw))[0]
    return (
        torch.einsum("pck,kp->cp", W.reshape(w.positions, W.shape[-4], -1), patches) + b.reshape(-1, w.positions)
    ).flatten()


def torch_output(torch, network, x, moved):
    """h_L of one sample, with the quantities in `moved`, {(l, wrt): tensor}, put in place of the network's own."""
    sigma = {
        "Tanh": lambda s, a: torch.tanh(a),
        "Identity": lambda s, a: a,
        "LeakySoftplus": lambda s, a: s.negative_slope * a + (1 - s.negative_slope) * torch.nn.functional.softplus(a),
    }
    h = [moved.get((0, "h"), torch.tensor(x))]
    for l in range(1, network.L + 1):
        layer, k = network.layers[l], network.owner[l]
        parts = [
            torch.zeros(s.stop - s.start, dtype=torch.float64) if s.layer is None else h[s.layer][s.start : s.stop]
            for s in layer.read(l)
        ]
        W, b = (
            moved.get((k, name), None if values[k] is None else torch.tensor(values[k]))
            for name, values in (("W", network.W), ("b", network.b))
        )
        a = torch_map(torch, layer.map, W, b, torch.cat(parts)) + sum(h[s] for s in layer.skips)
        a = moved.get((l, "a"), a)
        h.append(moved.get((l, "h"), sigma[type(layer.activation).__name__](layer.activation, a)))
    return h[-1]


@pytest.mark.parametrize("graph", GRAPHS)
def test_jacobians_are_autograds(graph):
    torch = pytest.importorskip("torch")
    network, x, _ = GRAPHS[graph](HOST)
    trace = network.forward(x)
    for l, wrt in quantities(network):
        J = jacobian(network, trace, l, wrt)
        k = network.owner[l] if wrt in ("W", "b") else l
        for s in range(BATCH):
            at = {"h": trace.h, "a": trace.a}[wrt][l][s] if wrt in ("h", "a") else getattr(network, wrt)[k]
            expected = torch.autograd.functional.jacobian(
                lambda v, s=s, key=(k, wrt): torch_output(torch, network, x[s], {key: v}), torch.tensor(at)
            ).numpy()
            expected = expected.transpose(0, *range(expected.ndim - 1, 0, -1)).reshape(len(expected), -1)
            np.testing.assert_allclose(J[s], expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("graph", GRAPHS)
def test_operators_are_their_dense_matrices(graph, backend64):
    network, x, streams = GRAPHS[graph](backend64)
    trace, one = network.forward(x), network.forward(x[:1, ...])
    operators = [
        (JacobianOperator(network, trace, l, wrt), to_numpy(jacobian(network, trace, l, wrt)), wrt)
        for l, wrt in quantities(network)
    ]
    for l in range(1, network.L + 1):
        B = activation_reciprocals(network, one)[l]
        operators.append((ReciprocalOperator(network, one, l, "h"), to_numpy(B), "W"))
        if network.owner[l] in network.trained:
            operators.append((
                ReciprocalOperator(network, one, l, "W"),
                to_numpy(weight_reciprocal(network, one, l)),
                "W",
            ))
    for i, (operator, dense, wrt) in enumerate(operators):
        dense = scipy.linalg.block_diag(*dense) if wrt in ("h", "a") else dense.reshape(operator.shape)
        atol = ROUNDING * (1 + np.abs(dense).max())
        np.testing.assert_allclose(to_numpy(operator.to_dense()), dense, rtol=0, atol=atol)
        w = streams.child("w", i).normal((operator.shape[0],))
        np.testing.assert_allclose(to_numpy(operator.rmatvec(w)), dense.T @ to_numpy(w), rtol=0, atol=10 * atol)
        W = backend64.xp.stack([w, 2 * w], axis=-1)
        columns = dense.T @ to_numpy(W)
        np.testing.assert_allclose(to_numpy(operator.rmatmat(W)), columns, rtol=0, atol=20 * atol)


@pytest.mark.parametrize("graph", GRAPHS)
def test_sweeps_of_the_batch_are_the_jacobians(graph, backend64):
    network, x, streams = GRAPHS[graph](backend64)
    trace = network.forward(x)
    v = streams.child("v").normal((BATCH, network.sizes[-1]))
    for l in range(network.L + 1):
        J = to_numpy(jacobian(network, trace, l, "h"))
        d = streams.child("d", l).normal((BATCH, network.sizes[l]))
        pushed, pulled = push_forward(network, trace, l, d), pull_back(network, trace, l, v)
        for got, expected in ((pushed, J @ to_numpy(d)[..., None]), (pulled, J.mT @ to_numpy(v)[..., None])):
            np.testing.assert_allclose(to_numpy(got), expected[..., 0], rtol=0, atol=ROUNDING * (1 + np.abs(J).max()))


def input_matrix(layer, h):
    """N(h), whose columns are M(E)h for the units E of vec W."""
    units = np.eye(math.prod(layer.weight_shape))
    return np.stack([layer.push(u.reshape(layer.weight_shape[::-1]).T, h)[0] for u in units], axis=1)


def reciprocals_by_hand(network, trace, s):
    """B_l and 𝓑_k of one sample, with every connection written as a matrix."""
    M = [None, *(network.layers[l].map.matrix(network.weights(l), trace.h[0]) for l in range(1, network.L + 1))]
    n, L = network.sizes, network.L
    B = [np.zeros((m, n[-1])) for m in n]
    B[L] = np.eye(n[-1])
    weights = {k: 0.0 for k in network.trained}
    for l in range(L, 0, -1):
        layer = network.layers[l]
        passed = B[l] / trace.d_sigma[l][s][:, None]
        sent, start = scipy.linalg.pinv(M[l]) @ passed, 0
        read = []
        for source in layer.read(l):
            stop = start + ((n[source.layer] if source.stop is None else source.stop) - source.start)
            if source.layer is not None:
                B[source.layer][source.start : source.start + stop - start] += sent[start:stop]
                read.append(trace.h[source.layer][s][source.start : source.start + stop - start])
            else:
                read.append(np.zeros(stop - start))
            start = stop
        for k in layer.skips:
            B[k] += passed
        if layer.map.weight_shape:
            N = input_matrix(layer.map, np.concatenate(read)[None, :])
            weights[network.owner[l]] = weights[network.owner[l]] + scipy.linalg.pinv(N) @ passed
    return B, weights


@pytest.mark.parametrize("graph", GRAPHS)
def test_reciprocals_are_those_by_hand(graph):
    network, x, _ = GRAPHS[graph](HOST)
    trace = network.forward(x)
    B = activation_reciprocals(network, trace)
    for s in range(BATCH):
        expected, weights = reciprocals_by_hand(network, trace, s)
        for l in range(1, network.L + 1):
            scale = np.linalg.norm(expected[l])
            np.testing.assert_allclose(B[l][s], expected[l], rtol=0, atol=ROUNDING * scale)
            if network.owner[l] not in network.trained:
                continue
            cal = weight_reciprocal(network, trace, l)[s]
            own = weights[network.owner[l]]
            np.testing.assert_allclose(cal, own, rtol=0, atol=ROUNDING * np.linalg.norm(own))
        J = jacobian(network, trace, network.L)[s]
        last = weight_reciprocal(network, trace, network.L)[s]
        np.testing.assert_allclose(last, scipy.linalg.pinv(J), rtol=0, atol=ROUNDING * np.linalg.norm(last))


def parameter_jacobians(network, trace, kinds=("W",)):
    """The whole batch's dense J_k of each owner's parameters, by autograd-tested `jacobian`."""
    rows = BATCH * network.sizes[-1]
    return {
        k: np.hstack([to_numpy(jacobian(network, trace, k, wrt)).reshape(rows, -1) for wrt in kinds])
        for k in network.trained
    }


@pytest.mark.parametrize("block_diagonal", [False, True])
@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("graph", GRAPHS)
def test_gauss_newton_is_the_dense_solution(graph, damping, block_diagonal, backend64):
    network, x, streams = GRAPHS[graph](backend64, bias=False)
    trace = network.forward(x)
    e = streams.child("e").normal((BATCH, network.sizes[-1]))
    J = parameter_jacobians(network, trace)
    v = to_numpy(e).ravel()

    def solve(A):
        if damping == 0:
            return scipy.linalg.pinv(A) @ v
        return A.T @ np.linalg.solve(A @ A.T + damping * np.eye(len(A)), v)

    joint = dict(
        zip(J, np.split(solve(np.hstack(list(J.values()))), np.cumsum([A.shape[1] for A in J.values()])), strict=False)
    )
    steps = gauss_newton_step(network, trace, e, damping=damping, block_diagonal=block_diagonal)
    for k, A in J.items():
        expected = solve(A) if block_diagonal else joint[k]
        # The Gram matrix squares κ(J); undamped, its inverse is off by eps·κ².
        kappa = np.linalg.cond(A if block_diagonal else np.hstack(list(J.values())))
        tolerance = 100 * EPS * (kappa**4 if damping == 0 else kappa**2) * (1 + np.linalg.norm(expected))
        assert np.linalg.norm(to_numpy(steps[k]).T.ravel() - expected) <= tolerance
    assert [k for k, step in enumerate(steps) if step is not None] == list(network.trained)


@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("graph", GRAPHS)
def test_batch_reciprocal_is_the_dense_solution(graph, damping, backend64):
    network, x, streams = GRAPHS[graph](backend64)
    trace = network.forward(x)
    e = streams.child("e").normal((BATCH, network.sizes[-1]))
    trace.delta = get_rule("batch-reciprocal", damping=damping).deltas(network, trace, e, {})
    for k, A in parameter_jacobians(network, trace, ("W", "b")).items():
        G = A @ A.T
        absolute = damping * np.trace(G) / len(G)
        z = np.linalg.solve(G + absolute * np.eye(len(G)), to_numpy(e).ravel())
        got = np.concatenate([to_numpy(v).T.ravel() for v in network.direction(trace, k)])
        tolerance = 100 * EPS * np.linalg.cond(G + absolute * np.eye(len(G))) * (1 + np.linalg.norm(A.T @ z))
        assert np.linalg.norm(got - A.T @ z) <= tolerance


@pytest.mark.parametrize("graph", GRAPHS)
def test_properties_are_reported_for_every_layer(graph):
    network, x, _ = GRAPHS[graph](HOST, bias=False)
    found = reciprocal_properties(network, x[:1, ...])
    assert [p.layer for p in found] == list(range(1, network.L + 1))
    assert found[-1].weight_conditions == {1, 2, 3, 4}
    assert found[-1].angle_to_gauss_newton < 1e-5
    if graph == "recurrent":  # the sum of three reciprocals is none of the sum of three Jacobians
        assert not found[0].weight_conditions & {1, 2}


def test_a_population_has_the_reciprocals_of_its_members():
    pair, x, _ = GRAPHS["recurrent"](HOST, seed=[3, 4])
    members = [GRAPHS["recurrent"](HOST, seed=seed)[0] for seed in (3, 4)]
    for calculate in (lambda n, t: jacobian(n, t, 2), lambda n, t: weight_reciprocal(n, t, 2)):
        both = calculate(pair, pair.forward(x))
        for k, one in enumerate(members):
            np.testing.assert_allclose(both[k], calculate(one, one.forward(x[k])), rtol=1e-11, atol=1e-13)


def test_a_silent_input_has_the_reciprocal_zero():
    network, x, _ = GRAPHS["chain"](HOST, bias=False)
    assert not weight_reciprocal(network, network.forward(0 * x), 1).any()
