"""The damped (Tikhonov) inverse, and the condition number that says whether damping is needed."""

from __future__ import annotations

import math

from rfnumeric.backend import array_namespace, quiet, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import gram_inverse, matmul
from rfnumeric.linalg._common import adjoint, all_finite, check_matrix, scale, times_power_of_two, unscale
from rfnumeric.typing import Array, Namespace


@gate(A=2)
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
        # λ fixes one scale for all members; without it each has its own.
        exponent = scale(xp, A)[1] if not damping else _common_exponent(xp, A, damping)
        Ah = times_power_of_two(xp, Ah, -exponent[..., None, None])
        Z = gram_inverse(adjoint(xp, Ah), damping and math.ldexp(damping, -2 * int(to_numpy(exponent))))
        return unscale(xp, matmul(Ah, Z) if A.shape[-2] <= A.shape[-1] else matmul(Z, Ah), exponent)


def _common_exponent(xp: Namespace, A: Array, damping: float) -> Array:
    """Return the exponent, shape (), of the larger of the largest entry of all members and √λ."""
    size = xp.abs(A)
    size = xp.max(xp.where(xp.isfinite(size), size, xp.zeros_like(size)))
    size = xp.maximum(size, xp.full_like(size, math.sqrt(damping)))
    return xp.floor(xp.log2(xp.where(size > 0, size, xp.ones_like(size))))


@gate(A=2)
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
    with quiet():
        finite = xp.all(xp.isfinite(A), axis=(-2, -1))
        S = xp.linalg.svdvals(scale(xp, A if all_finite(xp, A) else xp.where(xp.isfinite(A), A, xp.zeros_like(A)))[0])
        if not S.shape[-1]:
            return xp.sum(S, axis=-1)
        largest, smallest = S[..., 0], S[..., -1]
        zero = smallest == 0
        kappa = xp.where(
            zero, xp.full_like(largest, math.inf), largest / xp.where(zero, xp.ones_like(largest), smallest)
        )
        return xp.where(finite, kappa, xp.full_like(kappa, math.nan))
