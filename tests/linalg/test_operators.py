"""Operators that are never formed: Kronecker products and factored pseudoinverses, against their dense matrices."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_cases import KINDS, from_spectrum, matrices, random_matrix, test_ratio

from rfnumeric.backend import to_numpy
from rfnumeric.linalg import KroneckerOperator, PinvOperator, pinv, weight_reciprocal_operator

SIZES = st.integers(1, 5)


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), m=SIZES, n=SIZES, p=SIZES, q=SIZES)
def test_kronecker_against_dense(dtype: str, data: st.DataObject, m: int, n: int, p: int, q: int) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    A, B = (random_matrix(rng, s, KINDS[dtype]).astype(dtype) for s in ((m, n), (p, q)))
    K, D = KroneckerOperator(A, B), np.kron(A, B)
    x, y = (random_matrix(rng, (s,), KINDS[dtype]).astype(dtype) for s in (n * q, m * p))
    X, Y = (random_matrix(rng, (s, 3), KINDS[dtype]).astype(dtype) for s in (n * q, m * p))
    # n·q products of three numbers each: 4·n·q·eps·‖A‖‖B‖‖x‖.
    size = np.linalg.norm(A) * np.linalg.norm(B) * max(np.linalg.norm(X), np.linalg.norm(Y), np.linalg.norm(x), 1)
    bound = 4 * (m + n + p + q) * np.finfo(dtype).eps * max(size, np.linalg.norm(y) * size)
    assert K.shape == D.shape
    for found, expected in (
        (K @ x, D @ x),
        (K @ X, D @ X),
        (K.matvec(x[:, None]), (D @ x)[:, None]),
        (K.rmatvec(y), D.conj().T @ y),
        (K.rmatmat(Y), D.conj().T @ Y),
        (K.T @ y, D.T @ y),
        (K.H @ y, D.conj().T @ y),
        (K.to_dense(), D),
    ):
        assert found.dtype == A.dtype
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=bound)
    # ⟨y, Kx⟩ = ⟨Kᴴy, x⟩
    assert abs(np.vdot(y, K @ x) - np.vdot(K.rmatvec(y), x)) <= 10 * bound * np.linalg.norm(y)
    for order in ("fro", "nuc", 2, 1, np.inf):
        assert float(K.norm(order)) == pytest.approx(np.linalg.norm(D, order), rel=2500 * float(np.finfo(dtype).eps))
    if D.shape[0] == D.shape[1]:
        np.testing.assert_allclose(K.trace(), np.trace(D), atol=bound)


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_pseudoinverse_of_a_product(dtype: str, data: st.DataObject) -> None:
    A, ka, _ = data.draw(matrices(dtype, largest=4, full_rank=True, kappa=30))
    B, kb, _ = data.draw(matrices(dtype, largest=4, full_rank=True, kappa=30))
    K = KroneckerOperator(A, B)
    X = K.pinv().to_dense()
    assert test_ratio(K.to_dense(), X) < 30
    expected = pinv(K.to_dense())
    # Each factor's inverse has an error of κ·eps, the dense one of κ_A κ_B·eps.
    assert np.linalg.norm(X - expected) <= 10 * 16 * np.finfo(dtype).eps * ka * kb * np.linalg.norm(expected)


def test_trace_of_oblong_factors() -> None:
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, 3)), rng.standard_normal((6, 4))
    assert float(KroneckerOperator(A, B).trace()) == pytest.approx(np.trace(np.kron(A, B)))
    with pytest.raises(ValueError, match="square"):
        KroneckerOperator(A, A).trace()


def test_kronecker_on_every_backend_and_stack(backend) -> None:
    rng = np.random.default_rng(1)
    A, B, x = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 3, 2)), rng.standard_normal((4, 6))
    K = KroneckerOperator(backend.asarray(A), backend.asarray(B))
    dense = np.stack([np.kron(a, b) for a, b in zip(A, B, strict=True)])
    bound = 100 * np.finfo(backend.dtype_name).eps * np.abs(dense).sum()
    np.testing.assert_allclose(to_numpy(K.matvec(backend.asarray(x))), (dense @ x[..., None])[..., 0], atol=bound)
    X = rng.standard_normal((4, 6, 2))
    np.testing.assert_allclose(to_numpy(K.matmat(backend.asarray(X))), dense @ X, atol=bound)
    np.testing.assert_allclose(to_numpy(K.to_dense()), dense, atol=bound)
    np.testing.assert_allclose(to_numpy(K.trace()), np.trace(dense, axis1=-2, axis2=-1), atol=bound)
    product = K @ K.pinv()
    assert product.shape == (6, 6)
    np.testing.assert_allclose(to_numpy(product.to_dense()), dense @ np.linalg.pinv(dense), atol=100 * bound)


def test_linear_operator_interface() -> None:
    rng = np.random.default_rng(2)
    K = KroneckerOperator(rng.standard_normal((5, 3)), rng.standard_normal((4, 2)))
    L = K.as_linear_operator()
    assert isinstance(L, scipy.sparse.linalg.LinearOperator)
    b = rng.standard_normal(20)
    solution = scipy.sparse.linalg.lsqr(L, b, atol=1e-14, btol=1e-14)[0]
    np.testing.assert_allclose(solution, K.pinv() @ b, atol=1e-9)
    assert scipy.sparse.linalg.aslinearoperator(K).shape == (20, 6)
    P = PinvOperator(rng.standard_normal((5, 8))).as_linear_operator()
    y, z = rng.standard_normal(5), rng.standard_normal(8)
    assert np.dot(z, P @ y) == pytest.approx(np.dot(P.H @ z, y))
    with pytest.raises(ValueError, match="leading axes"):
        PinvOperator(np.ones((2, 3, 3)) + np.eye(3)).as_linear_operator()
    # One leading axis, of either factor, is one too many.
    for A, B in ((np.ones((2, 3, 3)), np.ones((2, 2))), (np.ones((2, 2)), np.ones((1, 3, 3)))):
        with pytest.raises(ValueError, match="leading axes"):
            KroneckerOperator(A, B).as_linear_operator()


def test_weight_reciprocal_is_the_pseudoinverse_of_the_jacobian(backend64) -> None:
    # J_W = hᵀ ⊗ (J D): 𝓑 is its exact pseudoinverse when S is that of J D.
    rng = np.random.default_rng(3)
    h, JD = rng.standard_normal((2, 4)), rng.standard_normal((2, 2, 3))
    S = np.linalg.pinv(JD)
    operator = weight_reciprocal_operator(backend64.asarray(h), backend64.asarray(S))
    for k in range(2):
        J = np.kron(h[k][None, :], JD[k])
        np.testing.assert_allclose(to_numpy(operator.to_dense())[k], np.linalg.pinv(J), atol=1e-13)
    e = rng.standard_normal((2, 2))
    step = to_numpy(operator.matvec(backend64.asarray(e))).reshape(2, 4, 3)
    for k in range(2):
        np.testing.assert_allclose(step[k].T, np.outer(S[k] @ e[k], h[k]) / (h[k] @ h[k]), atol=1e-13)
    zero = weight_reciprocal_operator(backend64.zeros((4,)), backend64.asarray(S[0]))
    assert not to_numpy(zero.to_dense()).any()


def test_reciprocal_of_a_cifar_layer_needs_no_more_memory_than_the_layer() -> None:
    rng = np.random.default_rng(4)
    h, S = rng.standard_normal(3072).astype(np.float32), rng.standard_normal((1000, 10)).astype(np.float32)
    e = rng.standard_normal(10).astype(np.float32)
    weight_reciprocal_operator(h, S) @ e
    layer = 3072 * 1000 * 4  # the dense operator would take ten times that, 120 MB
    tracemalloc.start()
    step = weight_reciprocal_operator(h, S) @ e
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert step.nbytes == layer
    assert peak < 1.2 * layer
    # Back again: J_W 𝓑 e = e.
    JD = np.linalg.pinv(S)
    np.testing.assert_allclose(KroneckerOperator(h[None, :], JD) @ step, e, rtol=1e-4)


def test_kronecker_errors() -> None:
    K = KroneckerOperator(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 6\)"):
        K @ np.ones(5)
    with pytest.raises(ValueError, match="factors must fit"):
        K @ K
    with pytest.raises(ValueError, match="ord must be"):
        K.norm(3)
    with pytest.raises(ValueError, match="broadcast"):
        KroneckerOperator(np.ones((2, 3, 3)), np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="broadcast"):
        KroneckerOperator(np.ones((2, 3, 3)), np.ones((2, 2))).matvec(np.ones((3, 6)))
    with pytest.raises(ValueError, match="broadcast"):
        KroneckerOperator(np.ones((2, 3, 3)), np.ones((2, 2))).matmat(np.ones((3, 6, 1)))
    with pytest.raises(ValueError, match="broadcast"):
        weight_reciprocal_operator(np.ones((2, 3)), np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="broadcast"):
        PinvOperator(np.ones((2, 3, 3))).matmat(np.ones((4, 3, 1)))
    with pytest.raises(ValueError, match=r"\(\.\.\., m, n\)"):
        KroneckerOperator(np.ones(3), np.ones((2, 2)))


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("method", ["auto", "svd"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_pinv_operator_applies_the_pseudoinverse(method: str, dtype: str, data: st.DataObject) -> None:
    A, kappa, _ = data.draw(matrices(dtype, kappa=1e3 if dtype in ("float32", "complex64") else 1e7))
    operator = PinvOperator(A, method=method)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    b, c = (random_matrix(rng, (s,), KINDS[dtype]).astype(dtype) for s in A.shape)
    B = random_matrix(rng, (A.shape[0], 3), KINDS[dtype]).astype(dtype)
    X = pinv(A, method="svd")
    # Least squares problems lose κ, and κ² with a large residual: c·max(m, n)·eps·κ·(1 + κ·eps^½)·‖A⁺‖‖b‖.
    eps = np.finfo(dtype).eps
    bound = 20 * max(A.shape) * eps * kappa * np.linalg.norm(X) * (1 + kappa * np.sqrt(eps))
    assert operator.shape == (A.shape[1], A.shape[0])
    assert np.linalg.norm(operator @ b - X @ b) <= bound * np.linalg.norm(b)
    assert np.linalg.norm(operator @ B - X @ B) <= bound * np.linalg.norm(B)
    assert np.linalg.norm(operator.rmatvec(c) - X.conj().T @ c) <= bound * np.linalg.norm(c)
    assert np.linalg.norm(operator.to_dense() - X) <= bound * np.sqrt(A.shape[0])


def test_pinv_operator_on_every_backend(backend) -> None:
    rng = np.random.default_rng(5)
    for shape in ((2, 4, 6), (2, 6, 4), (3, 3)):
        A = rng.standard_normal(shape)
        operator = PinvOperator(backend.asarray(A))
        B = rng.standard_normal((*shape[:-1], 2))
        kappa = float(np.linalg.cond(A).max())
        bound = 50 * 6 * np.finfo(backend.dtype_name).eps * kappa**2 * np.abs(np.linalg.pinv(A)).max()
        np.testing.assert_allclose(to_numpy(operator.matmat(backend.asarray(B))), np.linalg.pinv(A) @ B, atol=bound)


def test_pinv_operator_chooses_and_refuses() -> None:
    rng = np.random.default_rng(6)
    good = rng.standard_normal((10, 30))
    assert PinvOperator(good).method == "cholesky"
    assert PinvOperator(good * 1e300).method == "cholesky"
    assert PinvOperator(good * 1e-300).method == "cholesky"
    np.testing.assert_allclose(PinvOperator(good * 2.0**900).to_dense() * 2.0**900, pinv(good), rtol=1e-10)
    deficient = np.outer(good[0], good[1])
    assert PinvOperator(deficient).method == "svd"
    bad = from_spectrum(rng, 6, 6, np.geomspace(1, 1e-10, 6))
    assert PinvOperator(bad).method == "svd"
    with pytest.raises(ValueError, match="not safe"):
        PinvOperator(deficient, method="cholesky")
    with pytest.raises(ValueError, match="finite"):
        PinvOperator(good * np.nan)
    with pytest.raises(ValueError, match="method must be"):
        PinvOperator(good, method="lu")
    with pytest.raises(ValueError, match="X must have shape"):
        PinvOperator(good) @ np.ones((3, 2))
    empty = PinvOperator(np.ones((0, 3)))
    assert (empty @ np.ones(0)).shape == (3,)
    assert empty.rmatvec(np.ones(3)).shape == (0,)
