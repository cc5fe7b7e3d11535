"""The four Penrose conditions, each as a residual: they tell which generalized inverse a matrix is."""

from __future__ import annotations

from typing import NamedTuple

from rfnumeric.backend import array_namespace, eps, quiet, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import penrose_norms
from rfnumeric.linalg._common import check_matrix, frobenius, ratio
from rfnumeric.typing import Array, Namespace

RATIO_LIMIT = 20.0
"""A test ratio above this counts as failure. LAPACK's tests say 30; the difference is for the check's own rounding."""


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
        The same norms as LAPACK's tests scale them: divided by what rounding each entry of X once would give,
        max(m, n)·eps·‖A‖‖X‖ times ‖A‖, ‖X‖, 1 and 1. Of order one or less for a good inverse of any condition.
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
    Costs four matrix products of the size of AX. The m×m product is not formed where m is much larger than n (nor the
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
    with quiet():
        A, X = _balance(xp, A, X)
        norm_A, norm_X = frobenius(xp, A), frobenius(xp, X)
        found = penrose_norms(A, X)
        axa, xax, ax, xa, norm_AX, norm_XA = (found[k, ...] for k in range(6))
        unit = max(m, n) * eps(A) * norm_A * norm_X
        norms = (axa, xax, ax, xa)
        scales = (norm_A, norm_X, norm_AX, norm_XA)
        one, two, three, four = (ratio(xp, r, scale) for r, scale in zip(norms, scales, strict=True))
        units = (unit * norm_A, unit * norm_X, unit, unit)
        ratios = xp.stack([ratio(xp, r, u) for r, u in zip(norms, units, strict=True)])
        return PenroseResiduals(one, two, three, four, ratios)


def _balance(xp: Namespace, A: Array, X: Array) -> tuple[Array, Array]:
    """Scale A by 1/s and X by s, s a power of two near the largest entry: no residual changes, no square overflows."""
    if not A.shape[-2] or not A.shape[-1]:
        return A, X
    largest = xp.max(xp.abs(A), axis=(-2, -1))
    usable = xp.isfinite(largest) & (largest > 0)
    exponent = xp.floor(xp.log2(xp.where(usable, largest, xp.ones_like(largest))))
    # Half the exponent twice: 2^1074, for a subnormal A, would overflow.
    half = xp.floor(exponent / 2)
    one, two = (xp.astype(2.0**part, A.dtype)[..., None, None] for part in (half, exponent - half))
    return A / one / two, X * one * two


@gate(A=2, X=2)
def satisfied_conditions(A: Array, X: Array, rtol: float | None = None) -> set[int]:
    """Return which Penrose conditions X satisfies for A, e.g. ``{1, 2, 3}``.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X : array, shape (..., n, m)
    rtol : float, optional
        Largest relative residual that counts as zero, dimensionless. Default: the test ratio must stay below 20, i.e.
        20·max(m, n)·eps·‖A‖‖X‖ times the norm that the condition compares with.

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
