"""The direct engines of `pinv` and the fallback from one to the next, each over leading axes."""

from __future__ import annotations

import math
from typing import NamedTuple

from rfnumeric.backend import device_of, eps, to_numpy
from rfnumeric.kernels import gram_pinv, matmul
from rfnumeric.kernels.reference_linalg import DEFECT
from rfnumeric.linalg._common import adjoint, frobenius, real_dtype, scale, times_power_of_two, unscale
from rfnumeric.typing import Array, Namespace


class Outcome(NamedTuple):
    """What an engine found: X, which members it vouches for (shape (...)), their rank, and its iterations.

    Of Cholesky also which members are accurate, whether or not a singular value may lie near the cutoff.
    """

    X: Array
    good: Array
    rank: Array | None
    iterations: int
    accurate: Array | None = None


def cholesky(xp: Namespace, A: Array, rtol: float, atol: float | Array) -> Outcome:
    """Invert through the Gram matrix; good where the defect is small and no singular value can be near the cutoff."""
    X, defect, kappa = gram_pinv(A)
    # σ_min ≥ 1/‖X‖_F and σ₁ ≤ ‖A‖_F: κ_F·rtol < 1 proves that every singular value is kept.
    accurate = defect <= DEFECT * max(A.shape[-2:]) * eps(A) * kappa
    good = accurate & (kappa * rtol < 1)
    if not isinstance(atol, float | int) or atol > 0:
        norm_X = xp.astype(frobenius(xp, X), kappa.dtype)
        good = good & (norm_X * atol + kappa * rtol < 1)
    return Outcome(X, good, None, 1, accurate)


def look_closer(xp: Namespace, A: Array, found: Outcome, rtol: float, atol: float) -> Outcome:
    """Vouch also for Cholesky's members that a closer bound of κ(A) keeps from the cutoff: two Gram matrices' norms.

    ‖A‖₂² ≤ ‖AAᴴ‖_F and 1/σ_min² ≤ ‖XᴴX‖_F. Where ‖A‖_F‖X‖_F is up to min(m, n)·κ, the root of their product is up to
    √min(m, n)·κ: large matrices in single precision would else go to the SVD at κ = 30.
    """

    def norm(M: Array) -> tuple[Array, Array]:
        M, exponent = scale(xp, M)
        wide = M.shape[-2] <= M.shape[-1]
        return xp.sqrt(frobenius(xp, matmul(M, adjoint(xp, M)) if wide else matmul(adjoint(xp, M), M))), exponent

    (norm_A, exponent), (norm_X, other) = norm(A), norm(found.X)
    near = times_power_of_two(xp, norm_A * norm_X * rtol, exponent + other)
    if atol > 0:
        near = near + times_power_of_two(xp, norm_X * atol, other)
    return found._replace(good=found.good | (found.accurate & (near < 1)))


def qr(xp: Namespace, A: Array, rtol: float, atol: float | Array) -> Outcome:
    """Invert through A = QR of the tall one of A and Aᵀ: A⁺ = R⁻¹Qᴴ."""
    if A.shape[-2] < A.shape[-1]:
        found = qr(xp, xp.matrix_transpose(A), rtol, atol)
        return found._replace(X=xp.matrix_transpose(found.X))
    scaled, exponent = scale(xp, A)
    Q, R = xp.linalg.qr(scaled, mode="reduced")
    singular = xp.any(xp.linalg.diagonal(R) == 0, axis=-1)
    identity = xp.eye(R.shape[-1], dtype=A.dtype, device=device_of(A))
    # LU leaves a triangular matrix as it is, so that this is back substitution, in a form that every library has.
    X = xp.linalg.solve(xp.where(singular[..., None, None], identity, R), adjoint(xp, Q))
    # Substitution bounds RX − Qᴴ but not XA − I, which can be κ times larger: look.
    kappa = frobenius(xp, scaled) * frobenius(xp, X)
    left = frobenius(xp, identity - matmul(X, scaled))
    X = unscale(xp, X, exponent)
    good = ~singular & (kappa * rtol + frobenius(xp, X) * atol < 1) & (left <= max(A.shape[-2:]) * eps(A) * kappa)
    return Outcome(X, good, None, 0)


def svd(xp: Namespace, A: Array, rtol: float, atol: float | Array, hermitian: bool) -> Outcome:
    """Invert the singular values above atol + rtol·σ₁."""
    scaled, exponent = scale(xp, A)
    if hermitian:
        values, U = xp.linalg.eigh(scaled)
        magnitude, V = xp.abs(values), U
        largest = xp.max(magnitude, axis=-1, keepdims=True)
    else:
        U, values, Vh = xp.linalg.svd(scaled, full_matrices=False)
        magnitude, V = values, adjoint(xp, Vh)
        largest = values[..., :1]
    floor = times_power_of_two(xp, atol + xp.zeros_like(exponent), -exponent)
    keep = (magnitude > floor[..., None] + rtol * largest) & (magnitude > 0)
    inverse = xp.where(keep, 1 / xp.where(keep, values, xp.ones_like(values)), xp.zeros_like(values))
    X = matmul(V * xp.astype(inverse, A.dtype)[..., None, :], adjoint(xp, U))
    rank = xp.sum(xp.astype(keep, xp.int64), axis=-1)
    return Outcome(unscale(xp, X, exponent), rank == rank, rank, 0)


def fall_back(
    xp: Namespace, A: Array, first: Outcome, rtol: float, atol: float, hermitian: bool
) -> tuple[Array, tuple[str, ...], Array]:
    """Replace the members that Cholesky must not give by QR's or the SVD's; return X, each member's engine and rank."""
    m, n = A.shape[-2:]
    flat = xp.reshape(A, (-1, m, n))
    count = flat.shape[0]
    X = [xp.reshape(first.X, (-1, n, m))[i, ...] for i in range(count)]
    methods, rank = ["cholesky"] * count, [min(m, n)] * count
    left = [i for i, ok in enumerate(to_numpy(first.good).reshape(-1)) if not ok]
    for name in ("cholesky", "qr", "svd"):
        if not left:
            break
        members, exponent = scale(xp, xp.stack([flat[i, ...] for i in left]))
        floor = times_power_of_two(xp, atol + xp.zeros_like(exponent), -exponent)
        if name == "cholesky":
            # Only a change of scale can help where it failed already.
            if float(to_numpy(xp.max(xp.abs(exponent)))) < (300 if A.dtype in (xp.float64, xp.complex128) else 30):
                continue
            found = cholesky(xp, members, rtol, floor)
        elif name == "qr":
            # In single precision Cholesky, done in double, reaches as far as QR does.
            if A.dtype in (xp.float32, xp.complex64):
                continue
            found = qr(xp, members, rtol, floor)
        else:
            found = svd(xp, members, rtol, floor, hermitian)
        value = unscale(xp, found.X, exponent)
        good, ranks = to_numpy(found.good), None if found.rank is None else to_numpy(found.rank)
        for j, i in enumerate(left):
            if good[j]:
                X[i], methods[i] = value[j, ...], name
                rank[i] = min(m, n) if ranks is None else int(ranks[j])
        left = [i for j, i in enumerate(left) if not good[j]]
    shape = A.shape[:-2]
    ranks_array = xp.reshape(xp.asarray(rank, dtype=xp.int64, device=device_of(A)), shape)
    return xp.reshape(xp.stack(X), (*shape, n, m)), tuple(methods), ranks_array


def kappa_frobenius(xp: Namespace, A: Array, X: Array) -> Array:
    """Return ‖A‖_F‖X‖_F without overflow of the squares, shape (...)."""
    if not math.prod(A.shape[-2:]):
        return xp.zeros(A.shape[:-2], dtype=real_dtype(xp, A), device=device_of(A))
    (A, exponent), (X, other) = scale(xp, A), scale(xp, X)
    return frobenius(xp, A) * frobenius(xp, X) * 2.0 ** (exponent + other)
