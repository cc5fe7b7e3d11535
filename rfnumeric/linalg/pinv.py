"""The Moore–Penrose inverse by several engines, and the cheapest of them that is safe."""

from __future__ import annotations

import math

from rfnumeric.backend import array_namespace, eps, quiet
from rfnumeric.errors import ConvergenceError
from rfnumeric.kernels import gram_inverse, matmul
from rfnumeric.linalg._common import (
    adjoint,
    all_finite,
    any_true,
    check_finite,
    check_matrix,
    default_rtol,
    frobenius,
    identity,
    norm_one,
)
from rfnumeric.linalg.iterations import ben_israel_cohen
from rfnumeric.typing import Array, Namespace

METHODS = ("auto", "svd", "cholesky", "ben-israel-cohen", "newton-schulz")


def pinv(A: Array, *, method: str = "auto", rtol: float | None = None, atol: float = 0.0) -> Array:
    """Return the Moore–Penrose inverse A⁺ over leading axes.

    Parameters
    ----------
    A : array, shape (..., m, n)
        Real or complex, float32/64 or complex64/128; not written to.
    method : {"auto", "svd", "cholesky", "ben-israel-cohen" or "newton-schulz"}
        ``"cholesky"`` inverts the smaller Gram matrix and adds one Ben-Israel–Cohen step; ``"auto"`` does that where
        the condition number allows it and falls back to ``"svd"``, member by member, where it does not.
    rtol : float, optional
        Singular values below atol + rtol·σ₁ count as zero. Default: max(m, n)·eps(dtype), on every backend.
    atol : float
        Absolute part of that cutoff, in units of A.

    Returns
    -------
    array, shape (..., n, m)

    Raises
    ------
    ValueError
        If an entry is not finite or the method is unknown.
    ConvergenceError
        If the method was named and cannot invert A; ``method="auto"`` and ``"svd"`` can.

    Examples
    --------
    >>> import numpy as np
    >>> print(pinv(np.asarray([[3.0, 4.0]])))
    [[0.12]
     [0.16]]
    """
    xp = array_namespace(A)
    check_matrix(xp, A)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    if not math.prod(A.shape):
        return xp.matrix_transpose(A) * 1
    cutoff = default_rtol(A) if rtol is None else rtol
    if method == "svd":
        check_finite(xp, A)
        return _svd(xp, A, cutoff, atol)
    if method in ("ben-israel-cohen", "newton-schulz"):
        result = ben_israel_cohen(A)
        if result.status != "converged":
            raise ConvergenceError(f"method {method!r} ended as {result.status!r}; use method='svd' or 'auto'.")
        return result.value
    X, bad = _cholesky(xp, A, cutoff, atol)
    if not any_true(xp, bad):
        return X
    check_finite(xp, A)
    if method == "cholesky":
        raise ConvergenceError(
            "method 'cholesky' needs a matrix of full rank whose condition number is well below 1/sqrt(eps); "
            "got one that is not. Use method='auto', which falls back to the SVD."
        )
    return xp.where(bad[..., None, None], _svd(xp, A, cutoff, atol), X)


def _svd(xp: Namespace, A: Array, rtol: float, atol: float) -> Array:
    U, S, Vh = xp.linalg.svd(A, full_matrices=False)
    keep = (S > atol + rtol * S[..., :1]) & (S > 0)
    inverse = xp.where(keep, 1 / xp.where(keep, S, xp.ones_like(S)), xp.zeros_like(S))
    return matmul(adjoint(xp, Vh) * xp.astype(inverse, A.dtype)[..., None, :], adjoint(xp, U))


def _cholesky(xp: Namespace, A: Array, rtol: float, atol: float) -> tuple[Array, Array]:
    """Return X and the mask of members for which it must not be used, shape (...)."""
    wide = A.shape[-2] <= A.shape[-1]
    Ah = adjoint(xp, A)
    with quiet():
        Z = gram_inverse(A, 0.0)
        X = matmul(Ah, Z) if wide else matmul(Z, Ah)
        P = matmul(A, X) if wide else matmul(X, A)
        R = identity(xp, P.shape[-1], A) - P
        X = X + (matmul(X, R) if wide else matmul(R, X))
        # ‖R²‖ is what the step leaves; below sqrt(eps) that is at rounding level, and κ² = ‖Z‖‖A‖² is far from 1/eps.
        size = frobenius(xp, R)
        smallest, largest = 1 / xp.sqrt(norm_one(xp, Z)), xp.sqrt(norm_one(xp, A) * norm_one(xp, Ah))
        good = (size * size <= eps(A) * max(A.shape[-2:])) & (smallest > atol + rtol * largest)
    return X, ~good


def damped_pinv(A: Array, damping: float) -> Array:
    """Return the damped (Tikhonov) inverse Aᴴ(AAᴴ + λI)⁻¹ = (AᴴA + λI)⁻¹Aᴴ over leading axes.

    Parameters
    ----------
    A : array, shape (..., m, n)
    damping : float
        λ ≥ 0, in units of ‖A‖². As λ → 0 the result tends to A⁺; its error on σ is the factor σ²/(σ² + λ).

    Returns
    -------
    array, shape (..., n, m)
        All NaN for a member that is not finite, or whose damped Gram matrix is not numerically positive definite.

    Raises
    ------
    ValueError
        If the damping is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> print(damped_pinv(np.asarray([[2.0]]), 1.0))
    [[0.4]]
    """
    xp = array_namespace(A)
    check_matrix(xp, A)
    if not 0 <= damping < math.inf:
        raise ValueError(f"damping must be a finite number ≥ 0; got {damping!r}.")
    Ah = adjoint(xp, A)
    if not math.prod(A.shape):
        return Ah
    with quiet():
        Z = gram_inverse(A, damping)
        return matmul(Ah, Z) if A.shape[-2] <= A.shape[-1] else matmul(Z, Ah)


def condition_number(A: Array) -> Array:
    """Return the 2-norm condition number σ₁/σ_min over leading axes.

    Parameters
    ----------
    A : array, shape (..., m, n)

    Returns
    -------
    array, shape (...)
        Real; inf for a rank-deficient matrix, NaN for one that is not finite, 0 for an empty one.

    Examples
    --------
    >>> import numpy as np
    >>> float(condition_number(np.diag(np.asarray([1.0, 0.25]))))
    4.0
    """
    xp = array_namespace(A)
    check_matrix(xp, A)
    finite = xp.all(xp.isfinite(A), axis=(-2, -1))
    S = xp.linalg.svdvals(A if all_finite(xp, A) else xp.where(xp.isfinite(A), A, xp.zeros_like(A)))
    if not S.shape[-1]:
        return xp.sum(S, axis=-1)
    largest, smallest = S[..., 0], S[..., -1]
    zero = smallest == 0
    kappa = xp.where(zero, xp.full_like(largest, math.inf), largest / xp.where(zero, xp.ones_like(largest), smallest))
    return xp.where(finite, kappa, xp.full_like(kappa, math.nan))
