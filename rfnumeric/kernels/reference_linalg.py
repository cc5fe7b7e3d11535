"""The truth of the kernels of `rfnumeric.linalg`, in plain array-API code that any backend runs.

Shapes: ``...`` stands for leading axes, each an independent matrix.
"""

from __future__ import annotations

import math

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.typing import Array, Namespace

DEFECT = 0.01
"""Largest defect of `gram_pinv` that leaves a good inverse, in units of max(m, n)·eps·‖A‖_F‖A⁺‖_F.

Measured up to κ = 10⁸: the Penrose test ratio passes 1 at about ten times this.
"""


def gram_pinv(A: Array) -> tuple[Array, Array, Array]:
    """Invert through the Cholesky factor of the smaller Gram matrix, finished by one Ben-Israel–Cohen step.

    For m ≤ n: AAᴴ = LLᴴ, P = L⁻¹A has orthonormal rows but for E = I − PPᴴ of size κ²·eps, and A⁺ = P⁺L⁻¹, where
    P⁺ = Pᴴ(I + E) up to E², which is one Ben-Israel–Cohen step from Pᴴ. The step on the well-conditioned P also
    restores condition 4, which a step X(2I − AX) on X = Aᴴ(AAᴴ)⁻¹ cannot. Single precision is computed in double, at
    least where the defect in single would not do.

    Parameters
    ----------
    A : array, shape (..., m, n), m, n ≥ 1
        Not written to.

    Returns
    -------
    X : array, shape (..., n, m)
        A⁺, of the dtype of A; NaN for a member whose Gram matrix is not numerically positive definite.
    defect : array, shape (...), float64
        ‖E‖_F², a bound of what the step leaves; NaN where X is. See `DEFECT`.
    kappa : array, shape (...), float64
        ‖A‖_F‖X‖_F, an upper bound of κ(A) and at most min(m, n) times it; inf where X is NaN or where the squares
        left the range in which G is exact up to rounding: then scale A.
    """
    xp = array_namespace(A)
    if A.shape[-2] > A.shape[-1]:
        # (Aᵀ)⁺ = (A⁺)ᵀ, also for complex A.
        X, defect, kappa = gram_pinv(xp.matrix_transpose(A))
        return xp.matrix_transpose(X), defect, kappa
    is_complex = xp.isdtype(A.dtype, "complex floating")
    D = xp.astype(A, xp.complex128 if is_complex else xp.float64)
    G = xp.matmul(D, _adjoint(xp, D))
    finite = xp.all(xp.isfinite(G), axis=(-2, -1))[..., None]
    I = xp.eye(A.shape[-2], dtype=D.dtype, device=device_of(A))
    # eigh, not cholesky: array libraries disagree on what an indefinite matrix does (raise, NaN or garbage). Any
    # inverse square root of G serves as L⁻¹; this one is Λ^(−½)Vᴴ.
    values, V = xp.linalg.eigh(xp.where(finite[..., None], G, I))
    bad = ~finite | ~(values[..., :1] > 0)
    root = xp.sqrt(xp.where(bad, xp.full_like(values, math.nan), values))
    L_inverse = _adjoint(xp, V) / xp.astype(root, D.dtype)[..., :, None]
    P = xp.matmul(L_inverse, D)
    Ph = _adjoint(xp, P)
    E = I - xp.matmul(P, Ph)
    X = xp.matmul(Ph, xp.matmul(I + E, L_inverse))
    defect = xp.sum(xp.abs(E) ** 2, axis=(-2, -1))
    trace = xp.sum(values, axis=-1)
    norm_X = xp.sqrt(xp.sum(xp.abs(X) ** 2, axis=(-2, -1)))
    safe = ~bad[..., 0] & (trace > 1e-250) & (trace < 1e250) & xp.isfinite(norm_X)
    kappa = xp.where(safe, xp.sqrt(xp.abs(trace)) * norm_X, xp.full_like(trace, math.inf))
    return xp.astype(X, A.dtype), defect, kappa


def _adjoint(xp: Namespace, A: Array) -> Array:
    At = xp.matrix_transpose(A)
    return xp.conj(At) if xp.isdtype(A.dtype, "complex floating") else At


def coupled_steps(
    U: Array, V: Array, rate_U: float, rate_V: float, decay: float, as_printed: bool, steps: int
) -> tuple[Array, Array]:
    """Take simultaneous steps U ← U + η(U − UVU − γU), V ← V + η(V − VUV − γV) for every pair.

    Parameters
    ----------
    U : array, shape (..., a, b)
    V : array, shape (..., b, a)
        Of the leading shape of U.
    rate_U, rate_V : float
        η of each; with rate_V = 0 and γ = 0 this is the damped Ben-Israel–Cohen iteration for V⁺.
    decay : float
        γ.
    as_printed : bool
        Whether to leave out the term ηU, as v1 A.3 and v2 A.4 do: U ← U − η UVU.
    steps : int

    Returns
    -------
    U, V
        New arrays.
    """
    xp = array_namespace(U, V)
    own = 0.0 if as_printed else 1.0 - decay
    U, V = U * 1, V * 1
    for _ in range(steps):
        P = xp.matmul(U, V)
        # A rate of 0 leaves its matrix alone even where the other one overflows.
        new_U = U + rate_U * (own * U - xp.matmul(P, U)) if rate_U else U
        V = V + rate_V * (own * V - xp.matmul(V, P)) if rate_V else V
        U = new_U
    return U, V


def kronecker_apply(A: Array, B: Array, X: Array) -> Array:
    """Apply A ⊗ B to vectors held as matrices: A X Bᵀ, in the cheaper of the two orders.

    Parameters
    ----------
    A : array, shape (..., m, n)
    B : array, shape (..., p, q)
    X : array, shape (..., n, q)
        Its rows, one after the other, are the vector.

    Returns
    -------
    array, shape (..., m, p)
    """
    xp = array_namespace(A, B, X)
    (m, n), (p, q) = A.shape[-2:], B.shape[-2:]
    Bt = xp.matrix_transpose(B)
    if m * q * (n + p) <= n * p * (q + m):
        return xp.matmul(xp.matmul(A, X), Bt)
    return xp.matmul(A, xp.matmul(X, Bt))
