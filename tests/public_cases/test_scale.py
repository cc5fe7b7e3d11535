"""Scale: an inverse of very small or very large numbers has the digits that it has at scale one.

Squares of such numbers leave the range of the dtype long before the numbers do.
"""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.backend import to_numpy
from rfnumeric.calculus import ReciprocalOperator, weight_reciprocal
from rfnumeric.linalg import (
    KroneckerOperator,
    PinvOperator,
    RecursiveLeastSquares,
    append_column,
    delete_column,
    rank_k_update,
    rank_one_update,
    ridge_solution,
    weight_reciprocal_operator,
)
from rfnumeric.nn import Identity, Network

# Small integers: every entry is exact at every power of two.
A = np.asarray([[4.0, 1.0, 2.0], [1.0, 3.0, 0.0], [2.0, 0.0, 5.0]])
C, D = np.asarray([1.0, -1.0, 2.0]), np.asarray([0.5, 2.0, 1.0])
SCALES = [("float32", 1e20), ("float32", 1e-20), ("float32", 1e-25), ("float64", 1e155), ("float64", 1e-160)]


@pytest.fixture(params=SCALES, ids=lambda p: f"{p[0]}-{p[1]:g}")
def scaled(request: pytest.FixtureRequest):
    """The dtype and a scale at which its squares are lost."""
    dtype, s = request.param
    return np.dtype(dtype), s


def close(found, expected: np.ndarray, dtype: np.dtype, s: float) -> None:
    """Compare s·found with the inverse at scale one: κ is about 10, and some ten operations round."""
    product = to_numpy(found).astype(np.longdouble) * np.longdouble(s)
    assert np.abs(product - expected).max() <= 200 * np.finfo(dtype).eps * np.abs(expected).max()


def test_rank_one_update(scaled) -> None:
    dtype, s = scaled
    X = np.linalg.inv(A)
    expected = np.linalg.inv(A + np.outer(C, D))
    # The size of cdᵀ may stand in c, in d, or in both.
    for of_c in (s, 1.0, np.sqrt(s)):
        operands = (s * A, X / s, of_c * C, s / of_c * D)
        close(rank_one_update(*(a.astype(dtype) for a in operands)).value, expected, dtype, s)


def test_delete_and_append(scaled) -> None:
    dtype, s = scaled
    X = np.linalg.inv(A)
    for j in range(3):
        rest = np.delete(A, j, axis=1)
        close(delete_column((s * A).astype(dtype), (X / s).astype(dtype), j), np.linalg.pinv(rest), dtype, s)
        operands = (s * rest, np.linalg.pinv(rest) / s, s * A[:, j])
        expected = np.linalg.inv(np.concatenate((rest, A[:, j : j + 1]), axis=1))
        close(append_column(*(a.astype(dtype) for a in operands)), expected, dtype, s)


def test_a_tiny_column_beside_others(scaled) -> None:
    # Its row of the inverse is large by as much; the others do not change.
    dtype, s = scaled
    rest, a = A[:, :2], A[:, 2]
    found = append_column(rest.astype(dtype), np.linalg.pinv(rest).astype(dtype), (s * a).astype(dtype))
    expected = np.linalg.inv(A)
    close(found[:2], expected[:2], dtype, 1.0)
    close(found[2], expected[2], dtype, s)


@pytest.mark.parametrize(
    ("dtype", "s"), [("float32", 1e15), ("float32", 1e-15), ("float64", 1e150), ("float64", 1e-150)]
)
def test_rank_k_update(dtype: str, s: float) -> None:
    # Its Gram inverse has the square of the scale, which must itself be representable.
    U, V = np.stack((C, D), axis=1), np.stack((D, C[::-1]), axis=1)
    operands = (s * A, np.linalg.inv(A @ A.T) / s / s, s * U, V)
    X, Z = rank_k_update(*(a.astype(dtype) for a in operands))
    B = A + U @ V.T
    kappa = np.linalg.cond(A) * np.linalg.cond(B)
    for found, expected, size in ((X, np.linalg.inv(B), s), (Z, np.linalg.inv(B @ B.T), s * s)):
        product = found.astype(np.longdouble) * np.longdouble(size)
        assert np.abs(product - expected).max() <= 50 * np.finfo(dtype).eps * kappa**2 * np.abs(expected).max()


@pytest.mark.parametrize(("dtype", "s"), [("float32", 1e-25), ("float32", 1e30), ("float64", 1e-200)])
def test_the_reciprocal_of_a_faint_activity(dtype: str, s: float) -> None:
    h, S = (s * np.asarray([3.0, 0.0, 4.0])).astype(dtype), np.asarray([[2.0, 1.0]]).astype(dtype)
    step = weight_reciprocal_operator(h, S) @ np.asarray([1.0, -1.0]).astype(dtype)
    close(step, np.asarray([0.12, 0.0, 0.16]), np.dtype(dtype), s)


def test_factors_of_opposite_size() -> None:
    # 1e30·x is infinite before 1e-30 comes; together they are one.
    x = np.full(4, 1e20, np.float32)
    one, two = np.full((2, 2), 1e30, np.float32), np.full((2, 2), 1e-30, np.float32)
    np.testing.assert_allclose(KroneckerOperator(one, two) @ x, np.full(4, 4e20), rtol=1e-6)
    np.testing.assert_allclose(KroneckerOperator(two, one) @ x, np.full(4, 4e20), rtol=1e-6)
    assert float(KroneckerOperator(one, two).norm()) == pytest.approx(4.0, rel=1e-6)


def test_least_squares_of_large_and_small_features() -> None:
    rng = np.random.default_rng(2)
    H, Y = rng.standard_normal((30, 4)).astype(np.float32), rng.standard_normal((30, 2)).astype(np.float32)
    expected = ridge_solution(H.astype(float), Y.astype(float), 0.5)
    for s in (2.0**60, 2.0**-60):  # squares of s leave float32
        rls = RecursiveLeastSquares(np.zeros((2, 4), np.float32), 0.5 * s * s)
        for h, y in zip(H * np.float32(s), Y, strict=True):
            rls.step(h, y)
        for found in (rls.M, ridge_solution(H * np.float32(s), Y, 0.5 * s * s)):
            close(found, expected, np.dtype(np.float32), s)


def test_a_right_hand_side_has_its_own_scale() -> None:
    operator = PinvOperator((1e-10 * A).astype(np.float32))
    B = np.stack((C * 1e-35, D * 1e20), axis=1)
    found = operator @ B.astype(np.float32)
    expected = np.linalg.inv(A) @ B / 1e-10
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("s", [1e-25, 1e25])
def test_a_network_of_faint_activities(s: float) -> None:
    W = A[:2, :2].astype(np.float32)
    network = Network([None, np.eye(2, dtype=np.float32), W], [None] * 3, Identity(), Identity())
    trace = network.forward((s * np.asarray([[3.0, 4.0]])).astype(np.float32))
    expected = np.kron([[0.12], [0.16]], np.linalg.inv(A[:2, :2]))
    close(weight_reciprocal(network, trace, 1)[0], expected, np.dtype(np.float32), s)
    operator = ReciprocalOperator(network, trace, 1)
    x, y = np.asarray([1.0, -2.0], np.float32), np.asarray([1.0, 2.0, -1.0, 0.5], np.float32)
    close(operator.matvec(x), expected @ x, np.dtype(np.float32), s)
    close(operator.rmatvec(y), expected.T @ y, np.dtype(np.float32), s)
    silent = network.forward(np.zeros((1, 2), np.float32))
    assert not weight_reciprocal(network, silent, 1).any()
