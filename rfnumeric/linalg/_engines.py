"""The direct engines of `pinv` and the fallback from one to the next, each over leading axes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from rfnumeric.backend import device_of, to_numpy
from rfnumeric.kernels import gram_pinv, inverse_ratio, matmul
from rfnumeric.linalg._common import (
    adjoint,
    frobenius,
    real_dtype,
    scale,
    spectral_bounds,
    times_power_of_two,
    unscale,
)
from rfnumeric.linalg.penrose import RATIO_LIMIT
from rfnumeric.typing import Array, Namespace


class Outcome(NamedTuple):
    """What an engine found: X, which members it vouches for (shape (...)), their rank, and its iterations.

    To vouch for a member is to prove that it meets the criterion of `penrose`. Of Cholesky also which members are
    accurate, whether or not a singular value may lie near the cutoff.
    """

    X: Array
    good: Array | None
    rank: Array | None
    iterations: int
    accurate: Array | None = None


def cholesky(xp: Namespace, A: Array, rtol: float | Array, atol: float | Array) -> Outcome:
    """Invert through the Gram matrix; good where X is measured to be and no singular value can be near the cutoff."""
    X, _, kappa = gram_pinv(A)
    # κ is infinite where squares left their range, and then no norm can be trusted.
    accurate = (inverse_ratio(A, X) <= RATIO_LIMIT) & xp.isfinite(kappa)
    # σ_min ≥ 1/‖X‖_F and σ₁ ≤ ‖A‖_F: κ_F·rtol < 1 proves that every singular value is kept.
    near = kappa * rtol
    if not isinstance(atol, float | int) or atol > 0:
        near = near + xp.astype(frobenius(xp, X), kappa.dtype) * atol
    return Outcome(X, accurate & (near < 1), None, 1, accurate)


def look_closer(xp: Namespace, A: Array, found: Outcome, rtol: float | Array, atol: float | Array) -> Outcome:
    """Vouch also for Cholesky's members that a closer bound of κ(A) keeps from the cutoff: two Gram matrices' norms.

    Where ‖A‖_F‖X‖_F is up to min(m, n)·κ, the product of the bounds is up to √min(m, n)·κ: large matrices in single
    precision would else go to the SVD at κ = 30.
    """
    norm_A, norm_X = spectral_bounds(xp, A)[1], spectral_bounds(xp, found.X)[1]
    near = norm_A * norm_X * rtol + norm_X * atol
    return found._replace(good=found.good | (found.accurate & (near < 1)))


def qr(xp: Namespace, A: Array, rtol: float | Array, atol: float | Array) -> Outcome:
    """Invert through A = QR of the tall one of A and Aᵀ: A⁺ = R⁻¹Qᴴ."""
    if A.shape[-2] < A.shape[-1]:
        found = qr(xp, xp.matrix_transpose(A), rtol, atol)
        return found._replace(X=xp.matrix_transpose(found.X))
    Q, R = xp.linalg.qr(A, mode="reduced")
    singular = xp.any(xp.linalg.diagonal(R) == 0, axis=-1)
    identity = xp.eye(R.shape[-1], dtype=A.dtype, device=device_of(A))
    # LU leaves a triangular matrix as it is, so that this is back substitution, in a form that every library has.
    X = xp.linalg.solve(xp.where(singular[..., None, None], identity, R), adjoint(xp, Q))
    # Substitution bounds RX − Qᴴ but not XA − I, which can be κ times larger: it is measured.
    near = frobenius(xp, A) * frobenius(xp, X) * rtol + frobenius(xp, X) * atol
    return Outcome(X, ~singular & (near < 1) & (inverse_ratio(A, X) <= RATIO_LIMIT), None, 0)


def svd(xp: Namespace, A: Array, rtol: float | Array, atol: float | Array, hermitian: bool) -> Outcome:
    """Invert the singular values above atol + rtol·σ₁."""
    if hermitian:
        values, U = xp.linalg.eigh(A)
        magnitude, V = xp.abs(values), U
        largest = xp.max(magnitude, axis=-1, keepdims=True)
    else:
        U, values, Vh = xp.linalg.svd(A, full_matrices=False)
        magnitude, V = values, adjoint(xp, Vh)
        largest = values[..., :1]
    cutoff = atol + rtol * largest[..., 0]
    keep = (magnitude > cutoff[..., None]) & (magnitude > 0)
    inverse = xp.where(keep, 1 / xp.where(keep, values, xp.ones_like(values)), xp.zeros_like(values))
    X = matmul(V * xp.astype(inverse, A.dtype)[..., None, :], adjoint(xp, U))
    rank = xp.sum(xp.astype(keep, xp.int64), axis=-1)
    return Outcome(X, rank == rank, rank, 0)


def member(value: float | Array, lead: tuple[int, ...], xp: Namespace) -> float | Array:
    """Return a cutoff flat over the leading axes; a number stays one."""
    return xp.reshape(xp.broadcast_to(value, lead), (-1,)) if hasattr(value, "shape") else value


def fall_back(
    xp: Namespace, A: Array, first: Outcome, rtol: float | Array, atol: Array, hermitian: bool
) -> tuple[Array, tuple[str, ...], Array]:
    """Replace the members that Cholesky must not give by QR's or the SVD's; return X, each member's engine and rank."""
    m, n = A.shape[-2:]
    lead = tuple(A.shape[:-2])
    flat, rtol, atol = xp.reshape(A, (-1, m, n)), member(rtol, lead, xp), member(atol, lead, xp)
    count = flat.shape[0]
    X = [xp.reshape(first.X, (-1, n, m))[i, ...] for i in range(count)]
    methods, rank = ["cholesky"] * count, [min(m, n)] * count
    left = [i for i, ok in enumerate(to_numpy(first.good).reshape(-1)) if not ok]
    for name in ("cholesky", "qr", "svd"):
        if not left:
            break
        members, exponent = scale(xp, xp.stack([flat[i, ...] for i in left]))
        cutoffs: tuple[Any, Any] = rtol, atol
        relative, absolute = (xp.stack([c[i] for i in left]) if hasattr(c, "shape") else c for c in cutoffs)
        absolute = times_power_of_two(xp, absolute + xp.zeros_like(exponent), -exponent)
        if name == "cholesky":
            # Only a change of scale can help where it failed already.
            if float(to_numpy(xp.max(xp.abs(exponent)))) < (300 if A.dtype in (xp.float64, xp.complex128) else 30):
                continue
            found = cholesky(xp, members, relative, absolute)
        elif name == "qr":
            # In single precision Cholesky, done in double, reaches as far as QR does.
            if A.dtype in (xp.float32, xp.complex64):
                continue
            found = qr(xp, members, relative, absolute)
        else:
            found = svd(xp, members, relative, absolute, hermitian)
        value = unscale(xp, found.X, exponent)
        good, ranks = to_numpy(found.good), None if found.rank is None else to_numpy(found.rank)
        for j, i in enumerate(left):
            if good[j]:
                X[i], methods[i] = value[j, ...], name
                rank[i] = min(m, n) if ranks is None else int(ranks[j])
        left = [i for j, i in enumerate(left) if not good[j]]
    ranks_array = xp.reshape(xp.asarray(rank, dtype=xp.int64, device=device_of(A)), lead)
    return xp.reshape(xp.stack(X), (*lead, n, m)), tuple(methods), ranks_array


def kappa_frobenius(xp: Namespace, A: Array, X: Array) -> Array:
    """Return ‖A‖_F‖X‖_F without overflow of the squares, shape (...)."""
    if not math.prod(A.shape[-2:]):
        return xp.zeros(A.shape[:-2], dtype=real_dtype(xp, A), device=device_of(A))
    (A, exponent), (X, other) = scale(xp, A), scale(xp, X)
    return frobenius(xp, A) * frobenius(xp, X) * 2.0 ** (exponent + other)
