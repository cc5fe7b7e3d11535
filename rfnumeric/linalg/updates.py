"""Pseudoinverses that follow a small change of the matrix: rank-one (Meyer), rank-k (Woodbury), columns (Greville).

v1/v2 §6 suggest Sherman–Morrison for the outer-product updates of learning; the pseudoinverse needs all of Meyer's
cases. Every function works on arguments scaled by powers of two, so that the scale of A, of c and d, or of a column
changes nothing but the exponents of the result.
"""

from __future__ import annotations

from typing import NamedTuple

from rfnumeric.backend import array_namespace, device_of, eps, quiet
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import matmul, meyer_update
from rfnumeric.linalg._common import (
    adjoint,
    check_matrix,
    frobenius,
    identity,
    real_dtype,
    scale,
    times_power_of_two,
    unscale,
)
from rfnumeric.linalg._shapes import check_leading, check_shape
from rfnumeric.typing import Array, Namespace

MARGIN = 16.0
"""Zero tests allow for this many roundings, of A⁺, of the products here, and of a c or d that was itself a product."""


class RankOneUpdate(NamedTuple):
    """The inverse of A + cdᴴ and which of Meyer's cases gave it.

    Attributes
    ----------
    value : array, shape (..., n, m)
        (A + cdᴴ)⁺.
    case : int64 array, shape (...)
        1…6 as Meyer numbers them (see `rank_one_update`); the rank changes by +1 in case 1, by −1 in case 6.
    """

    value: Array
    case: Array


@gate(A=2, A_pinv=2, c=1, d=1)
def rank_one_update(A: Array, A_pinv: Array, c: Array, d: Array, *, rtol: float | None = None) -> RankOneUpdate:
    """Return (A + cdᴴ)⁺ from A⁺ in O(mn), by Meyer's theorem.

    With v = A⁺c, n = A⁺ᴴd, β = 1 + dᴴv, w = (I − AA⁺)c, m = (I − A⁺A)d:

    ==== ====================== ==============================================================================
    case holds if               (A + cdᴴ)⁺ − A⁺
    ==== ====================== ==============================================================================
    1    w ≠ 0, m ≠ 0           −vw⁺ − m⁺ᴴnᴴ + βm⁺ᴴw⁺
    2, 3 w = 0 (m ≠ 0 or β ≠ 0) (β m rᴴ − ‖v‖² m nᴴ − ‖m‖² v rᴴ − β̄ v nᴴ)/(‖v‖²‖m‖² + |β|²), r = A⁺ᴴv
    4, 5 m = 0 (w ≠ 0 or β ≠ 0) (β p wᴴ − ‖n‖² v wᴴ − ‖w‖² p nᴴ − β̄ v nᴴ)/(‖n‖²‖w‖² + |β|²), p = A⁺n
    6    w = 0, m = 0, β = 0    −vv⁺A⁺ − A⁺nn⁺ + (v⁺A⁺n⁺ᴴ)vnᴴ
    ==== ====================== ==============================================================================

    All letters are columns; x⁺ = xᴴ/‖x‖². Cases 2 and 3 are Meyer's two formulas (β = 0, β ≠ 0) brought to one
    without a division by β, as are 4 and 5, so that only the decisions w = 0, m = 0 and, for both, β = 0 are left. They
    are made relative to rounding, and w and m are projected twice, since what is left of c after one projection is
    mostly rounding where it is small.

    Parameters
    ----------
    A : array, shape (..., m, n)
    A_pinv : array, shape (..., n, m)
    c : array, shape (..., m)
    d : array, shape (..., n)
    rtol : float, optional
        Size below which w, m (relative to c, d) and β (relative to 1 + ‖d‖‖v‖) count as zero. Default: what rounding
        leaves of a zero, 16·eps times ‖c‖ + ‖A‖_F‖v‖, ‖d‖ + ‖A‖_F‖n‖ and 1 + ‖d‖‖v‖ + ‖A‖_F‖v‖‖n‖ + ‖A⁺‖_F‖c‖‖d‖.
        That tells the cases apart while κ(A) is well below 1/(16·eps).

    Returns
    -------
    RankOneUpdate

    Raises
    ------
    ValueError
        If shapes do not fit.

    References
    ----------
    .. [1] C. D. Meyer, "Generalized inversion of modified matrices", SIAM J. Appl. Math. 24 (1973) 315-323,
       :doi:`10.1137/0124033`.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.diag(np.asarray([1.0, 0.0]))
    >>> update = rank_one_update(A, A, np.asarray([0.0, 2.0]), np.asarray([0.0, 1.0]))
    >>> int(update.case), update.value.tolist()
    (1, [[1.0, 0.0], [0.0, 0.5]])
    """
    xp = array_namespace(A, A_pinv, c, d)
    check_matrix(xp, A)
    rows, columns = A.shape[-2:]
    check_shape(A_pinv, "A_pinv", (columns, rows), "the inverse of A", A, " Is it transposed?")
    check_shape(c, "c", (rows,), "to fit A", A)
    check_shape(d, "d", (columns,), "to fit A", A)
    check_leading({"A": A.shape[:-2], "A_pinv": A_pinv.shape[:-2], "c": c.shape[:-1], "d": d.shape[:-1]})
    rounding = MARGIN * eps(A)
    tolerance = xp.full((), rounding if rtol is None else rtol, dtype=real_dtype(xp, A), device=device_of(A))
    with quiet():
        return RankOneUpdate(*meyer_update(A, A_pinv, c, d, tolerance, rounding if rtol is None else 0.0))


def _outside(A: Array, X: Array, residual: Array) -> Array:
    """Project once more onto the complement of range(A)."""
    return residual - matmul(A, matmul(X, residual))


def _norm(xp: Namespace, column: Array) -> Array:
    return frobenius(xp, column)[..., None, None]


def _column_exponents(xp: Namespace, C: Array) -> Array:
    """Return the exponents of the columns of C, shape (..., k)."""
    return scale(xp, xp.matrix_transpose(C)[..., :, None])[1]


@gate(A=2, Z=2, C=2, D=2)
def rank_k_update(A: Array, Z: Array, C: Array, D: Array) -> tuple[Array, Array]:
    """Return (A + CDᴴ)⁺ and the new inverse Gram matrix by Woodbury's formula; A keeps full rank throughout.

    For m ≤ n, G = AAᴴ becomes G + U S Uᴴ with U = [C, AD] and S = [[DᴴD, I], [I, 0]], hence
    Z − ZU (S⁻¹ + UᴴZU)⁻¹ UᴴZ with S⁻¹ = [[0, I], [I, −DᴴD]], and A⁺ = AᴴZ. A tall A goes by its transpose.

    Parameters
    ----------
    A : array, shape (..., m, n)
    Z : array, shape (..., l, l), l = min(m, n)
        (AAᴴ)⁻¹ if m ≤ n, else (AᴴA)⁻¹; `rfnumeric.kernels.gram_inverse` makes the first one.
    C : array, shape (..., m, k)
    D : array, shape (..., n, k)

    Returns
    -------
    X : array, shape (..., n, m)
        (A + CDᴴ)⁺.
    Z : array, shape (..., l, l)
        For the next update. Rounding errors grow with κ(A)² in each; see `PinvTracker`.

    Raises
    ------
    ValueError
        If shapes do not fit.

    References
    ----------
    .. [1] M. A. Woodbury, "Inverting modified matrices", Memorandum Report 42, Statistical Research Group, Princeton
    (1950).

    Examples
    --------
    >>> import numpy as np
    >>> X, Z = rank_k_update(np.eye(2), np.eye(2), np.asarray([[1.0], [0.0]]), np.asarray([[1.0], [0.0]]))
    >>> print(X)
    [[0.5 0. ]
     [0.  1. ]]
    """
    xp = array_namespace(A, Z, C, D)
    check_matrix(xp, A)
    rows, columns = A.shape[-2:]
    smaller, k = min(rows, columns), C.shape[-1] if C.ndim else 0
    for name, X, shape in (("C", C, (rows, k)), ("D", D, (columns, k)), ("Z", Z, (smaller, smaller))):
        check_shape(X, name, shape, "to fit C and A" if name == "D" else "to fit A", A)
    check_leading({name: X.shape[:-2] for name, X in (("A", A), ("Z", Z), ("C", C), ("D", D))})
    if not k or not smaller:
        zero = matmul(C, adjoint(xp, D))
        return matmul(adjoint(xp, A + zero), Z) if rows <= columns else matmul(Z, adjoint(xp, A + zero)), Z
    if rows > columns:
        X, Z = rank_k_update(adjoint(xp, A), Z, D, C)
        return adjoint(xp, X), Z
    A, exponent = scale(xp, A)
    Z = times_power_of_two(xp, Z, 2 * exponent[..., None, None])
    # Each pair of columns shares its size, relative to A.
    left, right = _column_exponents(xp, C), _column_exponents(xp, D)
    half = xp.floor((left + right - exponent[..., None]) / 2)
    C = times_power_of_two(xp, C, (half - left)[..., None, :])
    D = times_power_of_two(xp, D, (left - exponent[..., None] - half)[..., None, :])
    X, Z = _woodbury(xp, A, Z, C, D)
    return unscale(xp, X, exponent), times_power_of_two(xp, Z, -2 * exponent[..., None, None])


def _woodbury(xp: Namespace, A: Array, Z: Array, C: Array, D: Array) -> tuple[Array, Array]:
    """Return `rank_k_update` of a wide A, of entries about 1."""
    U = xp.concat(xp.broadcast_arrays(C, matmul(A, D)), axis=-1)
    Dh = adjoint(xp, D)
    DD = matmul(Dh, D)
    eye = identity(xp, D.shape[-1], A) + xp.zeros_like(DD)
    S_inverse = xp.concat((xp.concat((xp.zeros_like(DD), eye), axis=-1), xp.concat((eye, -DD), axis=-1)), axis=-2)
    ZU = matmul(Z, U)
    Z = Z - matmul(ZU, xp.linalg.solve(S_inverse + matmul(adjoint(xp, U), ZU), adjoint(xp, ZU)))
    new = A + matmul(C, Dh)
    return matmul(adjoint(xp, new), Z), Z


@gate(A=2, A_pinv=2, a=1)
def append_column(A: Array, A_pinv: Array, a: Array, *, rtol: float | None = None) -> Array:
    """Return [A a]⁺ from A⁺ (Greville): d = A⁺a, e = a − Ad, bᴴ = e⁺ if e ≠ 0 else dᴴA⁺/(1 + dᴴd), [A⁺ − dbᴴ; bᴴ].

    Parameters
    ----------
    A : array, shape (..., m, n)
    A_pinv : array, shape (..., n, m)
    a : array, shape (..., m)
    rtol : float, optional
        Size of e relative to a that counts as zero. Default: what rounding leaves of it, 16·eps·(‖a‖ + ‖A‖_F‖d‖)/‖a‖.

    Returns
    -------
    array, shape (..., n + 1, m)
        A row is appended by the same on the adjoints.

    Raises
    ------
    ValueError
        If shapes do not fit.

    References
    ----------
    .. [1] T. N. E. Greville, "Some applications of the pseudoinverse of a matrix", SIAM Rev. 2 (1960) 15-22,
       :doi:`10.1137/1002004`.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.asarray([[1.0], [0.0]])
    >>> print(append_column(A, A.T, np.asarray([0.0, 4.0])))
    [[1.   0.  ]
     [0.   0.25]]
    """
    xp = array_namespace(A, A_pinv, a)
    check_matrix(xp, A)
    rows, columns = A.shape[-2:]
    check_shape(A_pinv, "A_pinv", (columns, rows), "the inverse of A", A, " Is it transposed?")
    check_shape(a, "a", (rows,), "to fit A", A)
    lead = check_leading({"A": A.shape[:-2], "A_pinv": A_pinv.shape[:-2], "a": a.shape[:-1]})
    with quiet():
        return _append(xp, A, xp.broadcast_to(A_pinv, (*lead, columns, rows)), a[..., :, None], rtol)


def _append(xp: Namespace, A: Array, A_pinv: Array, a: Array, rtol: float | None) -> Array:
    (A, exponent), (a, own) = scale(xp, A), scale(xp, a)
    exponent = exponent[..., None, None]
    X = times_power_of_two(xp, A_pinv, exponent)
    d = matmul(X, a)
    e = _outside(A, X, a - matmul(A, d))
    norm_a, norm_d, norm_e = _norm(xp, a), _norm(xp, d), _norm(xp, e)
    rounding = MARGIN * eps(A) * (norm_a + _norm(xp, A) * norm_d)
    dependent = norm_e <= (rounding if rtol is None else rtol * norm_a)
    # The size of a beside A; what grows with it and what shrinks are divided by the larger one.
    size = own[..., None, None] - exponent
    above = xp.where(size > 0, size, xp.zeros_like(size))
    one, tau = 2.0**-above, 2.0 ** (size - above)
    apart = adjoint(xp, e) / _nonzero(xp, norm_e * norm_e, A)
    within = matmul(adjoint(xp, d), X) / _nonzero(xp, one * one + tau * tau * norm_d * norm_d, A)
    bh = xp.where(dependent, xp.astype(tau * tau, A.dtype) * within, apart)
    last = xp.where(dependent, within, apart)
    own_size = xp.where(dependent, size - 2 * above, -size)
    rest = times_power_of_two(xp, X - matmul(d, bh), -exponent)
    return xp.concat((rest, times_power_of_two(xp, last, own_size - exponent)), axis=-2)


def _nonzero(xp: Namespace, x: Array, like: Array) -> Array:
    """Return x in the dtype of `like`, with 1 for 0."""
    return xp.astype(xp.where(x == 0, xp.ones_like(x), x), like.dtype)


@gate(A=2, A_pinv=2)
def delete_column(A: Array, A_pinv: Array, index: int, *, rtol: float | None = None) -> Array:
    """Return the pseudoinverse of A without one column, from A⁺ (Greville's formula backwards).

    With bᴴ row `index` of A⁺, a that column of A and Y the other rows: if bᴴa = 1 the column was independent of the
    others and the inverse is Y − Yee⁺ with e = b/‖b‖², else Y + Ya bᴴ/(1 − bᴴa).

    Parameters
    ----------
    A : array, shape (..., m, n)
    A_pinv : array, shape (..., n, m)
    index : int
        −n ≤ index < n.
    rtol : float, optional
        Distance of bᴴa from 1 that counts as zero. Default: 16·eps·max(1, ‖A‖_F‖A⁺‖_F).

    Returns
    -------
    array, shape (..., n − 1, m)

    Raises
    ------
    ValueError
        If there is no such column, or shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> print(delete_column(np.asarray([[1.0, 1.0]]), np.asarray([[0.5], [0.5]]), 0))
    [[1.]]
    """
    xp = array_namespace(A, A_pinv)
    check_matrix(xp, A)
    m, n = A.shape[-2:]
    check_shape(A_pinv, "A_pinv", (n, m), "the inverse of A", A, " Is it transposed?")
    check_leading({"A": A.shape[:-2], "A_pinv": A_pinv.shape[:-2]})
    if not -n <= index < n:
        raise ValueError(f"index must lie in {-n}…{n - 1}; got {index}." if n else f"A {tuple(A.shape)} has no column.")
    with quiet():
        return _delete(xp, A, A_pinv, index % n, rtol)


def _delete(xp: Namespace, A: Array, A_pinv: Array, index: int, rtol: float | None) -> Array:
    A, exponent = scale(xp, A)
    X = times_power_of_two(xp, A_pinv, exponent[..., None, None])
    Y = xp.concat((X[..., :index, :], X[..., index + 1 :, :]), axis=-2)
    if rtol is None:
        balanced, other = scale(xp, X)
        kappa = times_power_of_two(xp, _norm(xp, A) * _norm(xp, balanced), other[..., None, None])
        tolerance = MARGIN * eps(A) * xp.maximum(kappa, xp.ones_like(kappa))
    else:
        tolerance = rtol + xp.zeros_like(_norm(xp, X))
    (a, size), (bh, other) = scale(xp, A[..., :, index : index + 1]), scale(xp, X[..., index : index + 1, :])
    both = (size + other)[..., None, None]
    gap = 1 - times_power_of_two(xp, matmul(bh, a), both)
    independent = xp.abs(gap) <= tolerance
    b, norm_b = adjoint(xp, bh), _norm(xp, bh)
    apart = Y - matmul(matmul(Y, b), bh) / _nonzero(xp, norm_b * norm_b, A)
    within = Y + times_power_of_two(xp, matmul(matmul(Y, a), bh), both) / xp.where(independent, xp.ones_like(gap), gap)
    return unscale(xp, xp.where(independent, apart, within), exponent)
