"""Small shared pieces of the inverses: adjoints, norms over the last two axes, cutoffs, argument checks."""

from __future__ import annotations

import math
from typing import Any

from rfnumeric.backend import device_of, eps, to_numpy
from rfnumeric.kernels import matmul
from rfnumeric.typing import Array, DType, Namespace


def adjoint(xp: Namespace, A: Array) -> Array:
    """Return Aᴴ, shape (..., n, m); a view for real A."""
    At = xp.matrix_transpose(A)
    return xp.conj(At) if is_complex(xp, A) else At


def is_complex(xp: Namespace, A: Array) -> bool:
    """Tell whether the dtype of `A` is complex."""
    return bool(xp.isdtype(A.dtype, "complex floating"))


def real_dtype(xp: Namespace, A: Array) -> DType:
    """Return the real dtype of the precision of `A`."""
    return xp.float32 if A.dtype in (xp.float32, xp.complex64) else xp.float64


def identity(xp: Namespace, k: int, like: Array) -> Array:
    """Return the k×k identity of the dtype and on the device of `like`."""
    return xp.eye(k, dtype=like.dtype, device=device_of(like))


def frobenius(xp: Namespace, A: Array) -> Array:
    """Return the Frobenius norm over the last two axes, shape (...), real."""
    magnitude = xp.abs(A)
    return xp.sqrt(xp.sum(magnitude * magnitude, axis=(-2, -1), dtype=magnitude.dtype))


def norm_one(xp: Namespace, A: Array) -> Array:
    """Return the operator 1-norm (largest column sum) over the last two axes, shape (...); 0 for an empty matrix."""
    columns = xp.sum(xp.abs(A), axis=-2, dtype=real_dtype(xp, A))
    if not A.shape[-1]:
        return xp.sum(columns, axis=-1)
    return xp.max(columns, axis=-1)


def ratio(xp: Namespace, numerator: Array, denominator: Array) -> Array:
    """Divide; 0/0 is 0, and x/0 is inf."""
    zero = denominator == 0
    quotient = numerator / xp.where(zero, xp.ones_like(denominator), denominator)
    infinite = xp.where(numerator == 0, xp.zeros_like(quotient), xp.full_like(quotient, math.inf))
    # A NaN in the numerator stays one.
    return xp.where(zero & ~xp.isnan(numerator), infinite, quotient)


def spectral_norm(xp: Namespace, M: Array) -> Array:
    """Return the 2-norm over the last two axes, shape (...), of finite matrices of any scale; NaN for others."""
    M, exponent = scale(xp, M)
    finite = xp.all(xp.isfinite(M), axis=(-2, -1))
    largest = xp.linalg.svdvals(xp.where(finite[..., None, None], M, xp.zeros_like(M)))[..., 0]
    return xp.where(finite, times_power_of_two(xp, largest, exponent), xp.full_like(largest, math.nan))


def spectral_bounds(xp: Namespace, M: Array) -> tuple[Array, Array]:
    """Return a lower and an upper bound of the 2-norm, shape (...), from the smaller Gram matrix G of M.

    ‖G‖_F² = Σσ⁴ lies between σ₁⁴ and σ₁²Σσ²: hence ‖G‖_F/‖M‖_F ≤ ‖M‖₂ ≤ ‖G‖_F^½.
    """
    M, exponent = scale(xp, M)
    Mh = adjoint(xp, M)
    G = frobenius(xp, matmul(M, Mh) if M.shape[-2] <= M.shape[-1] else matmul(Mh, M))
    low, high = ratio(xp, G, frobenius(xp, M)), xp.sqrt(G)
    return times_power_of_two(xp, low, exponent), times_power_of_two(xp, high, exponent)


def scale(xp: Namespace, A: Array) -> tuple[Array, Array]:
    """Return A·2^(−e), whose largest entry lies in [1, 2), and e; exact but for entries that underflow.

    A matrix without entries, or whose largest is 0, infinite or NaN, has e = 0.
    """
    if not math.prod(A.shape[-2:]):
        return A, xp.sum(xp.abs(A), axis=(-2, -1))
    largest = xp.max(xp.abs(A), axis=(-2, -1))
    usable = (largest > 0) & xp.isfinite(largest)
    exponent = xp.floor(xp.log2(xp.where(usable, largest, xp.ones_like(largest))))
    return times_power_of_two(xp, A, -exponent[..., None, None]), exponent


def unscale(xp: Namespace, X: Array, exponent: Array) -> Array:
    """Return the inverse of A from that of A·2^(−e)."""
    return times_power_of_two(xp, X, -exponent[..., None, None])


def times_power_of_two(xp: Namespace, A: Array, exponent: Array) -> Array:
    """Multiply by 2^exponent in two factors, so that a subnormal A can be scaled up."""
    half = xp.floor(exponent / 2)
    return A * xp.astype(2.0**half, A.dtype) * xp.astype(2.0 ** (exponent - half), A.dtype)


def default_rtol(A: Array) -> float:
    """Return max(m, n)·eps(dtype), the one default cutoff of this package, relative to the largest singular value."""
    return max(A.shape[-2:]) * eps(A)


def check_matrix(xp: Namespace, A: Array, name: str = "A") -> None:
    """Raise unless `A` is a floating array with at least two axes.

    Raises
    ------
    ValueError
        If it has fewer axes.
    TypeError
        If its dtype is neither real nor complex floating.
    """
    if A.ndim < 2:
        raise ValueError(
            f"{name} must have shape (..., m, n); got {tuple(A.shape)}. Make a vector a matrix with {name}[None, :]."
        )
    if not xp.isdtype(A.dtype, ("real floating", "complex floating")):
        raise TypeError(f"{name} must have a real or complex floating dtype; got {A.dtype}. Convert it first.")


def all_finite(xp: Namespace, A: Array) -> bool:
    """Tell whether every entry is finite; waits for the device."""
    return bool(to_numpy(xp.all(xp.isfinite(A))))


def check_finite(xp: Namespace, A: Array, name: str = "A") -> None:
    """Raise if `A` has an entry that is not finite.

    Raises
    ------
    ValueError
        Names the argument and how many entries are infinite or NaN.
    """
    if not all_finite(xp, A):
        bad = int(to_numpy(xp.sum(xp.astype(~xp.isfinite(A), xp.int64))))
        raise ValueError(
            f"{name} must be finite; {bad} of its {math.prod(A.shape)} entries are infinite or NaN. "
            f"Look for the step that made them, e.g. a learning rate that is too large."
        )


def any_true(xp: Namespace, mask: Any) -> bool:
    """Tell whether an entry is true; waits for the device."""
    return bool(to_numpy(xp.any(mask)))


def all_true(mask: Any) -> bool:
    """Tell whether every entry is true; waits for the device."""
    return bool(to_numpy(mask).all())
