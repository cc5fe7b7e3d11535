"""The four Penrose conditions, each as a residual: they tell which generalized inverse a matrix is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from rfnumeric.backend import array_namespace, device_of, eps, quiet, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import matmul, penrose_norms
from rfnumeric.linalg._common import (
    adjoint,
    check_matrix,
    default_rtol,
    frobenius,
    is_complex,
    ratio,
    real_dtype,
    scale,
    spectral_bounds,
    spectral_norm,
    times_power_of_two,
)
from rfnumeric.typing import Array, Namespace

RATIO_LIMIT = 20.0
"""A test ratio above this counts as failure. The SVD's own inverse stays below it; LAPACK's tests say 30."""


EQUATIONS = {1: "AXA = A", 2: "XAX = X", 3: "(AX)ᴴ = AX", 4: "(XA)ᴴ = XA"}


class PenroseResiduals(NamedTuple):
    """Residuals of the Penrose conditions in the Frobenius norm, each of the leading shape of A; dimensionless.

    Attributes
    ----------
    axa : array, shape (...)
        ‖AXA − A‖ / ‖A‖, condition 1.
    xax : array, shape (...)
        ‖XAX − X‖ / ‖X‖, condition 2.
    ax : array, shape (...)
        ‖(AX)ᴴ − AX‖ / ‖AX‖, condition 3.
    xa : array, shape (...)
        ‖(XA)ᴴ − XA‖ / ‖XA‖, condition 4.
    ratios : array, shape (4, ...)
        The same residuals in the 2-norm, in units of rounding: divided by max(m, n)·eps·κ times ‖A‖₂, ‖X‖₂, 1 and 1,
        κ = ‖A‖₂‖X‖₂. All four are at most 20 if and only if X passes as A⁺; of order one or less for a good inverse of
        any condition. See Notes of `penrose_residuals`.
    """

    axa: Array
    xax: Array
    ax: Array
    xa: Array
    ratios: Array

    @property
    def test_ratio(self) -> Array:
        """The largest of the four ratios, shape (...); NaN if one is NaN."""
        xp = array_namespace(self.ratios)
        return xp.max(self.ratios, axis=0)


@gate(A=2, X=2)
def penrose_residuals(A: Array, X: Array) -> PenroseResiduals:
    """Return how far X is from satisfying each of the four Penrose conditions for A.

    (1) AXA = A, (2) XAX = X, (3) (AX)ᴴ = AX, (4) (XA)ᴴ = XA; X is the Moore–Penrose inverse if and only if all hold.

    Parameters
    ----------
    A : array, shape (..., m, n)
        Real or complex.
    X : array, shape (..., n, m)
        The candidate.

    Returns
    -------
    PenroseResiduals
        Relative residuals and LAPACK-style test ratios, over leading axes.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    TypeError
        If A and X come from different libraries.

    Notes
    -----
    ``ratios`` is the one criterion of this package; docs/linalg/penrose.md says what it proves. Norms of products bound
    the 2-norms from both sides, and where these bounds show that every ratio is at most 20 and that A has full rank
    (‖I − AX‖ ≤ 1/4 for m ≤ n), the bounds are returned. Otherwise the singular value decomposition of A decides: then A
    is judged with its singular values up to the default cutoff max(m, n)·eps·σ₁ set to zero, κ is at most twice that of
    the rest, and the first or second ratio also holds ‖X − A⁺‖₂/(2·max(m, n)·eps·κ·‖A⁺‖₂), so that an X that leaves out
    a singular value, or inverts one that counts as zero, fails at any size.

    Costs six matrix products of the size of AX. The m×m product is not formed where m is much larger than n (nor the
    n×n one where n is): with [A Xᴴ] = QS, ‖AX − (AX)ᴴ‖ = ‖S₁S₂ᴴ − S₂S₁ᴴ‖ needs memory in proportion to A only.

    References
    ----------
    .. [1] R. Penrose, "A generalized inverse for matrices", Proc. Cambridge Philos. Soc. 51 (1955) 406-413,
       :doi:`10.1017/S0305004100030401`.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.asarray([[1.0, 0.0], [0.0, 0.0]])
    >>> [float(r) for r in penrose_residuals(A, A)[:4]]
    [0.0, 0.0, 0.0, 0.0]
    >>> [float(r) for r in penrose_residuals(A, 2 * A)[:4]]
    [1.0, 1.0, 0.0, 0.0]
    """
    xp = array_namespace(A, X)
    check_matrix(xp, A)
    m, n = A.shape[-2:]
    if tuple(X.shape[-2:]) != (n, m):
        raise ValueError(
            f"X must have shape (..., {n}, {m}) to be an inverse of A {tuple(A.shape)}; got {tuple(X.shape)}. "
            "Did you pass its transpose?"
        )
    return judge(A, X)[0]


def judge(
    A: Array, X: Array, rtol: float | Array | None = None, atol: float | Array = 0.0
) -> tuple[PenroseResiduals, Array]:
    """Return the residuals of X, judged at the cutoff atol + rtol·σ₁, and the rank of A there, shape (...).

    The criterion of this package: X passes where all four `PenroseResiduals.ratios` are at most `RATIO_LIMIT`.
    """
    xp = array_namespace(A, X)
    rtol = default_rtol(A) if rtol is None else rtol
    m, n = A.shape[-2:]
    with quiet():
        A, X, exponent = _balance(xp, A, X)
        found = penrose_norms(A, X)
        norms = (found[0, ...], found[1, ...], found[2, ...], found[3, ...])
        norm_AX, norm_XA = found[4, ...], found[5, ...]
        scales = (frobenius(xp, A), frobenius(xp, X), norm_AX, norm_XA)
        one, two, three, four = (ratio(xp, r, scale) for r, scale in zip(norms, scales, strict=True))
        if not m or not n:
            return PenroseResiduals(one, two, three, four, xp.stack([one, two, three, four])), xp.zeros_like(
                norm_AX, dtype=xp.int64
            )
        atol = times_power_of_two(xp, atol + xp.zeros_like(exponent), -exponent)
        (low_A, high_A), (low_X, high_X) = spectral_bounds(xp, A), spectral_bounds(xp, X)
        unit = max(m, n) * eps(A) * low_A * low_X
        ratios = xp.stack([
            ratio(xp, r, u) for r, u in zip(norms, (unit * low_A, unit * low_X, unit, unit), strict=True)
        ])
        # ‖I − P‖_F² of the smaller product P: below 1 only if A has full rank.
        smaller = norm_AX if m <= n else norm_XA
        left = min(m, n) - 2 * _trace(xp, A, X) + smaller * smaller
        certain = (
            xp.all(ratios <= RATIO_LIMIT, axis=0)
            & (left <= 1 / 16)
            & (max(m, n) * eps(A) * high_A * high_X <= 1 / (2 * RATIO_LIMIT))
            & (high_X * (atol + rtol * high_A) < 1)
        )
        rank = xp.full(norm_AX.shape, min(m, n), dtype=xp.int64, device=device_of(A))
        undecided = [i for i, sure in enumerate(to_numpy(certain).reshape(-1)) if not sure]
        if undecided:
            ratios, rank = _look_at_singular_values(xp, A, X, rtol, atol, ratios, rank, undecided)
        return PenroseResiduals(one, two, three, four, ratios), rank


def _balance(xp: Namespace, A: Array, X: Array) -> tuple[Array, Array, Array]:
    """Return A·2^(−e), X·2^e and e, with A's largest entry in [1, 2): no residual changes, no square of A overflows."""
    if not A.shape[-2] or not A.shape[-1]:
        return A, X, xp.zeros(A.shape[:-2], dtype=real_dtype(xp, A), device=device_of(A))
    A, exponent = scale(xp, A)
    return A, times_power_of_two(xp, X, exponent[..., None, None]), exponent


def _trace(xp: Namespace, A: Array, X: Array) -> Array:
    """Return the real part of the trace of AX, shape (...), without the product."""
    terms = A * xp.matrix_transpose(X)
    return xp.sum(xp.real(terms) if is_complex(xp, A) else terms, axis=(-2, -1), dtype=real_dtype(xp, A))


def _look_at_singular_values(
    xp: Namespace,
    A: Array,
    X: Array,
    rtol: float | Array,
    atol: Array,
    ratios: Array,
    rank: Array,
    members: list[int],
) -> tuple[Array, Array]:
    """Return `ratios` and `rank` with the given members', in C order of the leading axes, replaced by exact ones."""
    lead = tuple(rank.shape)

    def pick(M: Array, core: tuple[int, ...]) -> Array:
        flat = xp.reshape(xp.broadcast_to(M, lead + core), (-1, *core))
        return xp.stack([flat[i, ...] for i in members])

    rtol = pick(rtol, ()) if hasattr(rtol, "shape") else rtol
    exact, exact_rank = _exact_ratios(
        xp, pick(A, tuple(A.shape[-2:])), pick(X, tuple(X.shape[-2:])), rtol, pick(atol, ())
    )
    host, host_rank = to_numpy(ratios).reshape(4, -1).copy(), to_numpy(rank).reshape(-1).copy()
    host[:, members], host_rank[members] = to_numpy(exact), to_numpy(exact_rank)
    device = device_of(A)
    return (
        xp.asarray(host.reshape(4, *lead), dtype=ratios.dtype, device=device),
        xp.asarray(host_rank.reshape(lead), dtype=xp.int64, device=device),
    )


def _exact_ratios(xp: Namespace, A: Array, X: Array, rtol: float | Array, atol: Array) -> tuple[Array, Array]:
    """Return the ratios in exact 2-norms, shape (4, members), and the rank, for a stack of matrices.

    A = USVᴴ is judged with its singular values up to the cutoff set to zero. From ½·max(m, n)·eps·σ₁ below the cutoff
    to 2·max(m, n)·eps·σ₁ above it, rounding decides on which side a singular value is, and X may treat it either way;
    but X must have a norm below 1/cutoff.
    """
    rounding = max(A.shape[-2:]) * eps(A)
    finite_A, finite_X = (xp.all(xp.isfinite(M), axis=(-2, -1)) for M in (A, X))
    finite = finite_A & finite_X
    A = xp.where(finite_A[..., None, None], A, xp.zeros_like(A))
    X = xp.where(finite_X[..., None, None], X, xp.zeros_like(X))
    A, X = _reduce(xp, A, X)
    U, S, Vh = xp.linalg.svd(A, full_matrices=False)
    V, Uh = adjoint(xp, Vh), adjoint(xp, U)
    largest = S[..., 0]
    cutoff = xp.astype(atol + rtol * largest, S.dtype)
    norm_X = spectral_norm(xp, X)
    diagonal = xp.linalg.diagonal(matmul(matmul(Vh, X), U))
    inverted = S * (xp.real(diagonal) if is_complex(xp, A) else diagonal) > 0.5
    allowed = inverted & (norm_X * cutoff < 1 + 4 * rounding)[..., None]
    above = S - cutoff[..., None]
    margin = rounding * largest[..., None]
    keep = (S > 0) & ((above > 2 * margin) | (allowed & (above > -margin / 2)))
    ones = xp.ones_like(S)
    inverse = xp.where(keep, 1 / xp.where(keep, S, ones), 0 * ones)
    exact = matmul(V * xp.astype(inverse, A.dtype)[..., None, :], Uh)
    dropped = xp.where(keep, 0 * S, S)
    A = A - matmul(U * xp.astype(dropped, A.dtype)[..., None, :], Vh)
    norm_exact = xp.max(inverse, axis=-1)
    norm_A = xp.max(xp.where(keep, S, 0 * S), axis=-1)
    kappa = xp.minimum(norm_A * norm_X, 2 * norm_A * norm_exact)
    P, Q = matmul(A, X), matmul(X, A)
    parts = (matmul(P, A) - A, matmul(X, P) - X, P - adjoint(xp, P), Q - adjoint(xp, Q))
    unit = rounding * kappa
    units = (unit * norm_A, unit * norm_X, unit, unit)
    one, two, three, four = (ratio(xp, spectral_norm(xp, R), u) for R, u in zip(parts, units, strict=True))
    distance = ratio(xp, spectral_norm(xp, X - exact), 2 * rounding * norm_A * norm_exact * norm_exact)
    # What X leaves out although it is above the cutoff violates condition 1, whatever the unit of rounding.
    missed = xp.max(xp.where(keep & ~inverted, S, 0 * S), axis=-1)
    outside = RATIO_LIMIT * ratio(xp, missed, xp.where(missed > 0, cutoff + 2 * margin[..., 0], 0 * missed))
    one = xp.maximum(one, xp.where(missed > 0, xp.maximum(outside, xp.full_like(outside, 1.01 * RATIO_LIMIT)), 0 * one))
    passed = xp.all(xp.stack([one, two, three, four]) <= RATIO_LIMIT, axis=0)
    two = xp.where(passed, xp.maximum(two, distance), two)
    ratios = xp.stack([one, two, three, four])
    ratios = xp.where(finite & ~xp.isnan(ratios), ratios, xp.full_like(ratios, math.nan))
    return ratios, xp.sum(xp.astype((above > 0) & (S > 0), xp.int64), axis=-1)


def _reduce(xp: Namespace, A: Array, X: Array) -> tuple[Array, Array]:
    """Return smaller A and X with the same norms of every product: [A Xᴴ] = QS of a tall A, A = QS₁ and X = S₂ᴴQᴴ."""
    m, n = A.shape[-2:]
    if n > 4 * m:
        A, X = _reduce(xp, adjoint(xp, A), adjoint(xp, X))
        return adjoint(xp, A), adjoint(xp, X)
    if m <= 4 * n:
        return A, X
    S = xp.linalg.qr(xp.concat((A, adjoint(xp, X)), axis=-1), mode="reduced")[1]
    return S[..., :n], adjoint(xp, S[..., n:])


@gate(A=2, X=2)
def satisfied_conditions(A: Array, X: Array, rtol: float | None = None) -> set[int]:
    """Return which Penrose conditions X satisfies for A, e.g. ``{1, 2, 3}``.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X : array, shape (..., n, m)
    rtol : float, optional
        Largest relative residual that counts as zero, dimensionless. Default: the criterion of `penrose_residuals`, a
        test ratio of at most 20.

    Returns
    -------
    set of int
        The conditions that hold for every member of the leading axes.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    A right inverse of a wide matrix satisfies the first three; only one of them, A⁺, also the fourth.

    >>> import numpy as np
    >>> A = np.asarray([[1.0, 1.0]])
    >>> sorted(satisfied_conditions(A, np.asarray([[1.0], [0.0]])))
    [1, 2, 3]
    >>> sorted(satisfied_conditions(A, np.asarray([[0.5], [0.5]])))
    [1, 2, 3, 4]
    """
    residuals = penrose_residuals(A, X)
    if rtol is None:
        values, limit = list(to_numpy(residuals.ratios)), RATIO_LIMIT
    else:
        values, limit = [to_numpy(r) for r in residuals[:4]], rtol
    return {k for k, value in enumerate(values, 1) if (value <= limit).all()}


def complaint(residuals: PenroseResiduals, conditions: Iterable[int] = (1, 2, 3, 4), limit: float = RATIO_LIMIT) -> str:
    """Say which conditions fail, by how much and for which member of a stack; "" if none does."""
    said = []
    for k in conditions:
        ratios, relative = to_numpy(residuals.ratios[k - 1, ...]), to_numpy(residuals[k - 1]).reshape(-1)
        flat = [math.inf if math.isnan(r) else float(r) for r in ratios.reshape(-1)]
        bad = sum(r > limit for r in flat)
        if not bad:
            continue
        worst = flat.index(max(flat))
        where = f" in member {_index(worst, ratios.shape)} of shape {ratios.shape}" if ratios.shape else ""
        where += f" and in {bad - 1} more" if bad > 1 else ""
        said.append(
            f"condition {k}, {EQUATIONS[k]}, has relative residual {relative[worst]:.3g}{where} "
            f"({flat[worst]:.3g} times rounding; allowed: {limit:g})"
        )
    return "; ".join(said)


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index: tuple[int, ...] = ()
    for size in reversed(shape):
        flat, k = divmod(flat, size)
        index = (k, *index)
    return index
