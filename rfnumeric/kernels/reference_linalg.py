"""The truth of the kernels of `rfnumeric.linalg`, in plain array-API code that any backend runs.

Shapes: ``...`` stands for leading axes, each an independent matrix.
"""

from __future__ import annotations

import math

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.typing import Array, DType, Namespace


def gram_pinv(A: Array) -> tuple[Array, Array, Array]:
    """Invert through the Cholesky factor of the smaller Gram matrix: A⁺ = Aᴴ(AAᴴ)⁻¹ or (AᴴA)⁻¹Aᴴ, and check the result.

    Single precision is accumulated in double, so that the squared condition number does no harm. In double precision one
    Ben-Israel–Cohen step, X ← X + X(I − AX), repairs what the squaring lost.

    Parameters
    ----------
    A : array, shape (..., m, n), m, n ≥ 1
        Not written to.

    Returns
    -------
    X : array, shape (..., n, m)
        A⁺, or NaN for a member whose Gram matrix is not numerically positive definite.
    defect : array, shape (...)
        ‖I − AX‖_F (or ‖I − XA‖_F, the smaller product) of the X returned: measured in single precision; in double the
        square of the value before the step, since the step squares it. Real, of the precision of A.
    kappa : array, shape (...), float64
        ‖A‖_F‖A⁺‖_F = (tr G · tr G⁻¹)^½, an upper bound of κ(A) and at most min(m, n) times it. inf where X is NaN or
        where a trace left the range in which G is exact up to rounding: then scale A.
    """
    xp = array_namespace(A)
    if A.shape[-2] > A.shape[-1]:
        # (Aᵀ)⁺ = (A⁺)ᵀ, also for complex A.
        X, defect, kappa = gram_pinv(xp.matrix_transpose(A))
        return xp.matrix_transpose(X), defect, kappa
    k = A.shape[-2]
    double = A.dtype in (xp.float64, xp.complex128)
    wide = A if double else xp.astype(A, xp.complex128 if A.dtype == xp.complex64 else xp.float64)
    Ah = _adjoint(xp, wide)
    G = xp.matmul(wide, Ah)
    Z, trace_Z = _positive_inverse(xp, G)
    trace_G = xp.sum(_real(xp, xp.linalg.diagonal(G)), axis=-1)
    X = xp.matmul(Ah, Z)
    if not double:
        X = xp.astype(X, A.dtype)
    R = xp.eye(k, dtype=A.dtype, device=device_of(A)) - xp.matmul(A, X)
    size = xp.sqrt(xp.sum(xp.abs(R) ** 2, axis=(-2, -1)))
    kappa = frobenius_condition(xp, trace_G, trace_Z)
    if not double:
        return X, size, kappa
    return X + xp.matmul(X, R), size * size, kappa


def frobenius_condition(xp: Namespace, trace_G: Array, trace_Z: Array) -> Array:
    """Return (tr G · tr Z)^½, or inf where one of them is not safely inside the range of double precision."""
    kappa = xp.sqrt(trace_G) * xp.sqrt(trace_Z)
    safe = (trace_G > 1e-250) & (trace_G < 1e250) & (trace_Z > 1e-250) & (trace_Z < 1e250)
    return xp.where(safe, kappa, xp.full_like(kappa, math.inf))


def _positive_inverse(xp: Namespace, G: Array) -> tuple[Array, Array]:
    """Return G⁻¹ and its trace, NaN where G is not numerically positive definite."""
    finite = xp.all(xp.isfinite(G), axis=(-2, -1))
    identity = xp.eye(G.shape[-1], dtype=G.dtype, device=device_of(G))
    # eigh, not cholesky: array libraries disagree on what an indefinite matrix does (raise, NaN or garbage).
    values, vectors = xp.linalg.eigh(xp.where(finite[..., None, None], G, identity))
    bad = ~(values > 0) | ~finite[..., None] | ~xp.isfinite(1 / xp.where(values == 0, xp.ones_like(values), values))
    inverse = 1 / xp.where(bad, xp.full_like(values, math.nan), values)
    Z = xp.matmul(vectors * xp.astype(inverse, G.dtype)[..., None, :], _adjoint(xp, vectors))
    return Z, xp.sum(inverse, axis=-1)


def _adjoint(xp: Namespace, A: Array) -> Array:
    At = xp.matrix_transpose(A)
    return xp.conj(At) if xp.isdtype(A.dtype, "complex floating") else At


def _real(xp: Namespace, a: Array) -> Array:
    return xp.real(a) if xp.isdtype(a.dtype, "complex floating") else a


def real_dtype(xp: Namespace, A: Array) -> DType:
    """Return the real dtype of the precision of `A`."""
    return xp.float32 if A.dtype in (xp.float32, xp.complex64) else xp.float64
