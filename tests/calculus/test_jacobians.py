"""Jacobians and reciprocals against autograd, finite differences, dense matrices and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from scipy.sparse.linalg import aslinearoperator

from rfnumeric.backend import Streams, get_backend, to_numpy
from rfnumeric.calculus import (
    JacobianOperator,
    ReciprocalOperator,
    activation_jacobians,
    activation_reciprocals,
    finite_difference_jacobian,
    gauss_newton_step,
    jacobian,
    reciprocal_properties,
    weight_reciprocal,
)
from rfnumeric.nn import init_network

SIZES = (5, 4, 3, 2)
WRT = ("h", "a", "W", "b")


def draw(backend, sizes=SIZES, hidden="leaky-softplus", bias=True, batch=3, seed=1, output="identity"):
    streams = Streams(seed, backend)
    network = init_network(sizes, streams, hidden=hidden, output=output, negative_slope=0.3, bias=bias)
    for l in range(1, len(sizes)):
        if bias:
            network.b[l] = streams.child("b", l).normal((sizes[l],))
    x = streams.child("x").normal((batch, sizes[0]))
    return network, x, streams


@pytest.mark.parametrize("wrt", WRT)
@pytest.mark.parametrize("hidden", ["leaky-softplus", "tanh", "identity"])
def test_dense_jacobian_is_the_finite_difference(backend, wrt, hidden):
    network, x, _ = draw(backend, hidden=hidden)
    trace = network.forward(x)
    for l in range(0 if wrt == "h" else 1, network.L + 1):
        J = to_numpy(jacobian(network, trace, l, wrt))
        approximate = to_numpy(finite_difference_jacobian(network, x, l, wrt))
        scale = np.abs(J).max() * max(1.0, np.abs(to_numpy(x)).max() ** 2) + 1
        # Central differences of step eps^(1/3) leave eps^(2/3) times third derivatives and rounding of order one.
        assert np.abs(J - approximate).max() <= 30 * np.finfo(J.dtype).eps ** (2 / 3) * scale


@pytest.mark.parametrize("hidden", ["leaky-relu", "leaky-softplus", "tanh"])
@pytest.mark.parametrize("bias", [False, True])
def test_dense_jacobian_is_autograds(hidden, bias):
    torch = pytest.importorskip("torch")
    network, x, _ = draw(get_backend("numpy", dtype="float64"), hidden=hidden, bias=bias)
    trace = network.forward(x)
    slope = 0.3
    sigma = {
        "leaky-relu": lambda a: torch.nn.functional.leaky_relu(a, slope),
        "leaky-softplus": lambda a: slope * a + (1 - slope) * torch.nn.functional.softplus(a),
        "tanh": torch.tanh,
    }[hidden]
    W = [None, *(torch.tensor(w) for w in network.W[1:])]
    b = [
        None,
        *(
            torch.zeros(w.shape[0], dtype=torch.float64) if not bias else torch.tensor(v)
            for w, v in zip(network.W[1:], network.b[1:], strict=True)
        ),
    ]

    def tail(l, h):
        for k in range(l + 1, network.L + 1):
            a = W[k] @ h + b[k]
            h = a if k == network.L else sigma(a)
        return h

    def own(l, a):
        return a if l == network.L else sigma(a)

    jac = torch.autograd.functional.jacobian
    for s in range(x.shape[0]):
        h = [torch.tensor(v[s]) for v in trace.h]
        for l in range(1, network.L + 1):
            a = W[l] @ h[l - 1] + b[l]
            expected = {
                "h": jac(lambda v, l=l: tail(l, v), h[l]),
                "a": jac(lambda v, l=l: tail(l, own(l, v)), a),
                "b": jac(lambda v, l=l, h=h: tail(l, own(l, W[l] @ h[l - 1] + v)), b[l]),
                # vec stacks columns: (n_L, n_l, n_{l−1}) with the column index slow.
                "W": jac(lambda V, l=l, h=h: tail(l, own(l, V @ h[l - 1] + b[l])), W[l]).permute(0, 2, 1).flatten(1),
            }
            for wrt, reference in expected.items():
                J = jacobian(network, trace, l, wrt)[s]
                # A product of at most L factors: c·eps·Σn·Π‖W‖ with c = 10.
                bound = 10 * np.finfo(float).eps * sum(SIZES) * np.prod([np.linalg.norm(w) for w in network.W[1:]])
                assert np.abs(J - reference.numpy()).max() <= bound * (1 + np.abs(x).max())


@pytest.mark.parametrize("wrt", WRT)
def test_operators_are_their_dense_matrices(backend, wrt):
    network, x, streams = draw(backend)
    trace = network.forward(x)
    for l in range(1, network.L + 1):
        op = JacobianOperator(network, trace, l, wrt)
        dense = to_numpy(jacobian(network, trace, l, wrt))
        if wrt in ("h", "a"):
            dense = scipy.linalg.block_diag(*dense)
        else:
            dense = dense.reshape(op.shape)
        tolerance = 30 * np.finfo(dense.dtype).eps * sum(SIZES) * (1 + np.linalg.norm(dense))
        assert np.abs(to_numpy(op.to_dense()) - dense).max() <= tolerance
        v = streams.child("v", l).normal((op.shape[1],))
        w = streams.child("w", l).normal((op.shape[0],))
        left, right = to_numpy(w) @ to_numpy(op.matvec(v)), to_numpy(op.rmatvec(w)) @ to_numpy(v)
        norms = np.linalg.norm(to_numpy(v)) * np.linalg.norm(to_numpy(w))
        assert abs(left - right) <= tolerance * norms


def test_scipy_accepts_the_operators():
    network, x, streams = draw(get_backend("numpy", dtype="float64"), bias=False, batch=1)
    trace = network.forward(x)
    J = aslinearoperator(JacobianOperator(network, trace, 2))
    B = aslinearoperator(ReciprocalOperator(network, trace, 2))
    assert J.shape == B.shape[::-1]
    v = streams.normal((2, 4))
    dense = weight_reciprocal(network, trace, 2)[0]
    np.testing.assert_allclose(B @ v, dense @ v, rtol=1e-12)
    np.testing.assert_allclose(B.T @ dense, dense.T @ dense, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(J.T @ v, jacobian(network, trace, 2)[0].T @ v, rtol=1e-12, atol=1e-14)


def test_recursion_of_reciprocals_is_scipys(backend64):
    network, x, _ = draw(backend64, bias=False)
    trace = network.forward(x)
    B = activation_reciprocals(network, trace)
    W = [None if w is None else to_numpy(w) for w in network.W]
    for s in range(x.shape[0]):
        expected = np.eye(SIZES[-1])
        for l in range(network.L - 1, 0, -1):
            D = np.diag(to_numpy(trace.d_sigma[l + 1])[s])
            expected = scipy.linalg.pinv(W[l + 1]) @ np.linalg.inv(D) @ expected
            np.testing.assert_allclose(to_numpy(B[l])[s], expected, rtol=1e-10, atol=1e-12)


CONDITIONS = {
    "contracting": ((7, 6, 5, 3), {1, 2, 3}, True, False),
    "expanding": ((3, 4, 5, 6), {1, 2, 4}, False, True),
    "square": ((4, 4, 4, 4), {1, 2, 3, 4}, True, True),
    "narrow in the middle": ((6, 6, 4, 2, 4, 6), {1, 2}, False, False),
    "wide in the middle": ((4, 3, 6, 3), set(), False, False),
}


@pytest.mark.parametrize("shape", CONDITIONS)
def test_which_conditions_hold_is_what_the_shape_says(backend64, shape):
    sizes, conditions, right, left = CONDITIONS[shape]
    network, x, _ = draw(backend64, sizes=sizes, bias=False, hidden="leaky-relu", output="leaky-relu", batch=8)
    first = reciprocal_properties(network, x)[0]
    assert first.conditions == conditions
    assert (first.right_error < 1e-10, first.left_error < 1e-10) == (right, left)


def test_properties_at_the_last_layer_are_gauss_newtons(backend64):
    network, x, streams = draw(backend64, bias=False, hidden="leaky-relu", batch=1)
    last = reciprocal_properties(network, x, streams.child("e").normal((1, 2)))[-1]
    assert last.weight_conditions == {1, 2, 3, 4}
    assert last.angle_to_gauss_newton < 1e-5
    # J_{h_L} = B_L = I
    assert last.distance < 1e-14
    assert last.condition_J < 1 + 1e-14


@pytest.mark.parametrize("block_diagonal", [False, True])
@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_gauss_newton_is_the_dense_solution(backend64, block_diagonal, damping):
    network, x, streams = draw(backend64, bias=False, batch=3)
    trace = network.forward(x)
    e = streams.child("e").normal((3, 2))
    steps = gauss_newton_step(network, trace, e, damping=damping, block_diagonal=block_diagonal)
    J = [to_numpy(jacobian(network, trace, l)).reshape(6, -1) for l in range(1, 4)]
    v = to_numpy(e).reshape(-1)

    def solve(A):
        if damping == 0:
            return np.linalg.lstsq(A, v, rcond=None)[0]
        return A.T @ np.linalg.solve(A @ A.T + damping * np.eye(6), v)

    solutions = [solve(A) for A in J] if block_diagonal else None
    if solutions is None:
        solutions = np.split(solve(np.hstack(J)), np.cumsum([A.shape[1] for A in J])[:-1])
    for l, expected in enumerate(solutions, 1):
        got = to_numpy(steps[l]).T.reshape(-1)
        # The Gram matrix squares J's condition number.
        tolerance = 100 * np.finfo(float).eps * np.linalg.cond(np.hstack(J)) ** 4
        assert np.linalg.norm(got - expected) <= tolerance * (1 + np.linalg.norm(expected))


def test_population_broadcasts(backend64):
    pair = init_network(SIZES, Streams([3, 4], backend64), hidden="tanh")
    x = Streams(0, backend64).normal((2, SIZES[0]))
    trace = pair.forward(backend64.xp.stack([x, x]))
    both = to_numpy(jacobian(pair, trace, 2))
    for k, seed in enumerate((3, 4)):
        one = init_network(SIZES, Streams(seed, backend64), hidden="tanh")
        np.testing.assert_allclose(both[k], to_numpy(jacobian(one, one.forward(x), 2)), rtol=1e-12, atol=1e-14)
    assert len(activation_jacobians(pair, trace)) == 4


def test_arguments_are_checked():
    network, x, _ = draw(get_backend("numpy"))
    trace = network.forward(x)
    with pytest.raises(ValueError, match=r"wrt must be one of"):
        jacobian(network, trace, 1, "x")
    with pytest.raises(ValueError, match=r"l must lie in 1 … 3"):
        jacobian(network, trace, 4)
    with pytest.raises(ValueError, match=r"one sample; got 3"):
        ReciprocalOperator(network, trace, 1)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 20\)"):
        JacobianOperator(network, trace, 1).matvec(np.zeros(3))
    with pytest.raises(ValueError, match=r"damping must be"):
        gauss_newton_step(network, trace, trace.h[-1], damping=-1.0)
    pair = init_network(SIZES, Streams([0, 1], get_backend("numpy")))
    with pytest.raises(ValueError, match=r"got a population of \(2,\)"):
        JacobianOperator(pair, trace, 1)
