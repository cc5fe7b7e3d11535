"""A good status means A⁺: what a wrong matrix, of whatever size, must not be called, and what must not be refused."""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.errors import ConvergenceError
from rfnumeric.linalg import (
    GramNewton,
    ben_israel_cohen,
    hyperpower,
    penrose_residuals,
    pinv,
    satisfied_conditions,
)
from rfnumeric.testing import assert_penrose
from rfnumeric.testing._families import FAMILIES
from rfnumeric.testing._oracle import exact_pinv

ENGINES = ("auto", "svd", "qr", "cholesky", "newton-schulz", "hyperpower")
DTYPES = ("float32", "float64", "complex64", "complex128")


def path_laplacian(nodes: int) -> np.ndarray:
    A = 2 * np.eye(nodes) - np.eye(nodes, k=1) - np.eye(nodes, k=-1)
    A[0, 0] = A[-1, -1] = 1
    return A


def error(A: np.ndarray, X: np.ndarray) -> float:
    """‖X − A⁺‖₂ in units of max(m, n)·eps·κ·‖A⁺‖₂, by a singular value decomposition in higher precision."""
    unit = max(A.shape) * float(np.finfo(A.dtype).eps)
    exact, S = exact_pinv(A[None], unit)
    exact, S = exact[0], S[0]
    norm = 1 / S[S > unit * S[0]].min()
    difference = (X.astype(exact.dtype) - exact) / norm
    kind = np.complex128 if np.iscomplexobj(difference) else np.float64
    return float(np.linalg.norm(difference.astype(kind), 2) / (unit * S[0] * norm))


def check(A: np.ndarray, method: str) -> bool:
    """Demand that a good status be right and that both paths agree; return whether the status is good."""
    X, info = pinv(A, method=method, return_info=True)
    good = info.status == "converged"
    if good:
        assert error(A, X) <= 100
        np.testing.assert_array_equal(pinv(A, method=method), X)
    else:
        assert method not in ("auto", "svd")
        with pytest.raises(ConvergenceError, match=r"condition [1-4], .*times rounding; allowed: 20"):
            pinv(A, method=method)
    assert good == (satisfied_conditions(A, X) == {1, 2, 3, 4})
    return good


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ENGINES)
def test_laplacians(method: str, dtype: str) -> None:
    for nodes in (3, 5, 8, 12):
        A = path_laplacian(nodes).astype(dtype)
        good = check(A, method)
        assert int(pinv(A, method=method, return_info=True)[1].rank) == nodes - 1
        assert good or method in ("qr", "cholesky")
    rng = np.random.default_rng(0)
    for A in FAMILIES["laplacian"](rng, 12, 7, 7).astype(dtype):
        check(A, method)


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("A", [np.diag([1, 1e-17]), np.asarray([[1.0, 2], [1, 2]]), np.ones((3, 4)), np.diag([2.0, 0])])
def test_rank_means_one_thing(A: np.ndarray, method: str) -> None:
    check(A, method)
    assert int(pinv(A, method=method, return_info=True)[1].rank) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_families(name: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    A = FAMILIES[name](rng, 4, 5, 4).astype(dtype)
    for method in ENGINES:
        X, info = pinv(A, method=method, return_info=True)
        good = info.residuals.test_ratio <= 20
        assert good.all() or method not in ("auto", "svd")
        for k in np.flatnonzero(good):
            S = np.linalg.svd(A[k].astype(np.complex128), compute_uv=False)
            cutoff = 5 * float(np.finfo(dtype).eps) * S[0]
            # Where rounding decides the rank, either is right.
            if S[0] > 0 and not ((S > 0.4 * cutoff) & (S < 3.1 * cutoff)).any():
                assert error(A[k], X[k]) <= 100


@pytest.mark.parametrize("size", [1.0, 1e5, 1e13, 3e14, 1e15, 2e15, 1e17, 1e30, 1e200])
def test_no_size_makes_a_wrong_matrix_pass(size: float) -> None:
    A = np.diag([1.0, 0.0])
    assert satisfied_conditions(A, np.diag([1.0, size])) == {1, 3, 4}
    with pytest.raises(AssertionError, match="condition 2, XAX = X"):
        assert_penrose(A, np.diag([1.0, size]))


def test_what_is_left_out_is_seen() -> None:
    # The largest ratio of its residuals is 3: σ = 2e-8 is below the rounding of an X of norm 1e7.
    A = np.diag([1.0, 1e-7, 2e-8])
    assert 1 not in satisfied_conditions(A, np.diag([1.0, 1e7, 0.0]))
    assert satisfied_conditions(A, np.diag([1.0, 1e7, 5e7])) == {1, 2, 3, 4}
    # And what is inverted below the cutoff.
    assert satisfied_conditions(np.diag([1.0, 1e-17]), np.diag([1.0, 1e17])) != {1, 2, 3, 4}


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_random_wrong_matrices_of_any_size(dtype: str) -> None:
    # Directions and sizes at random, with and without the part that A sees.
    rng = np.random.default_rng(2)
    for draw in range(100):
        m, n, r = (int(x) for x in rng.integers(1, 5, 3))
        A = rng.standard_normal((m, r)) @ rng.standard_normal((r, n)) * 10.0 ** -rng.uniform(0, 6, (m, 1))
        A = A.astype(dtype)
        exact = pinv(A, method="svd")
        N = rng.standard_normal((n, m)) * np.linalg.norm(exact)
        if draw % 2:
            N = N - exact @ A @ N @ A @ exact
        for size in 10.0 ** rng.uniform(-12, 30, 10):
            X = exact + size * N
            if penrose_residuals(A, X).test_ratio <= 20:
                assert error(A, X) <= 100


@pytest.mark.parametrize("draws", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_qr_refuses_no_well_conditioned_matrix(draws: int) -> None:
    rng = np.random.default_rng(3)
    for _ in range(draws):
        U, V = (np.linalg.qr(rng.standard_normal((4, 4)))[0] for _ in range(2))
        pinv((U * np.geomspace(1, 1e-4, 4)) @ V, method="qr")


def test_an_inverse_beyond_the_range_of_the_dtype_is_infinite_and_not_called_good() -> None:
    X, info = pinv(np.asarray([[3e-310]]), return_info=True)
    assert np.isinf(X).all()
    assert info.status == "diverged"


@pytest.mark.parametrize("method", ENGINES)
def test_unusual_scales(method: str) -> None:
    rng = np.random.default_rng(4)
    for A in (
        np.diag([1e-160, 2e-160]),
        np.asarray([[2e-162]]),
        np.asarray([[6e-309, 0], [0, 1e-308]]),  # subnormal, with an inverse that is representable
        *(rng.standard_normal((3, 4)) * 10.0**s for s in (-165, -145, -130, -120, 150, 300)),
        rng.standard_normal((35, 50)) * 1e-156,
    ):
        exact = np.linalg.pinv(A / np.abs(A).max()) if np.abs(A).max() > 1e-300 else None
        X, info = pinv(A, method=method, return_info=True)
        if exact is not None:
            assert info.status == "converged"
            np.testing.assert_allclose(X * np.abs(A).max(), exact, atol=1e-12 * np.abs(exact).max())
        check(A, method)
    spike = rng.standard_normal((40, 50))
    spike[3, 4] = 1e80
    X, info = pinv(spike, method=method, return_info=True)
    if info.status == "converged":
        assert int(info.rank) == 1
        assert X[4, 3] == pytest.approx(1e-80, rel=1e-12)
    else:
        assert method in ("qr", "cholesky")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_very_different_size(dtype: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        A = rng.standard_normal((6, 7)) * 10.0 ** -rng.uniform(0, 8, (6, 1)) * 10.0 ** -rng.uniform(0, 8, 7)
        assert check(A.astype(dtype), "auto")


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-40, 2.0**900])
def test_iterations_do_not_know_the_scale(scale: float) -> None:
    A = np.random.default_rng(6).standard_normal((2, 4, 6))
    for function in (lambda A: GramNewton(A).result, ben_israel_cohen, hyperpower):
        result, wanted = function(A * scale), function(A)
        assert result.statuses == wanted.statuses == ("converged", "converged")
        assert result.iterations == wanted.iterations
        np.testing.assert_array_equal(result.value, wanted.value / scale)


def test_one_member_does_not_stop_the_others() -> None:
    A = np.stack([np.eye(2), np.full((2, 2), 5e-324), path_laplacian(2)])
    result = hyperpower(A)
    assert result.statuses[0] == result.statuses[2] == "converged"
    np.testing.assert_allclose(result.value[2], pinv(A[2]), atol=1e-14)
    with pytest.raises(ConvergenceError, match=r"in member \(1,\) of shape \(2,\).*rank 1 of 2"):
        pinv(np.stack([np.eye(2), np.ones((2, 2))]), method="qr")


def test_cutoffs_by_member() -> None:
    A = np.stack([np.diag([1.0, 0.05])] * 2)
    for method in ("auto", "svd"):
        for cutoff in ({"rtol": np.asarray([0.1, 0.01])}, {"atol": np.asarray([0.1, 0.01]), "rtol": 0.0}):
            X, info = pinv(A, method=method, return_info=True, **cutoff)
            assert info.rank.tolist() == [1, 2]
            assert info.status == "converged"
            np.testing.assert_allclose(X, [np.diag([1.0, 0.0]), np.diag([1.0, 20.0])], atol=1e-14)
    with pytest.raises(ValueError, match="leading shape"):
        pinv(A, rtol=np.asarray([0.1, 0.1, 0.1]))
