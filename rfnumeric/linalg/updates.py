"""Pseudoinverses that follow a small change of the matrix: rank-one (Meyer), rank-k (Woodbury), columns (Greville).

v1/v2 §6 suggest Sherman–Morrison for the outer-product updates of learning; the pseudoinverse needs all of Meyer's
cases.
"""

from __future__ import annotations

from typing import NamedTuple

from rfnumeric.backend import array_namespace, eps, quiet, to_numpy
from rfnumeric.kernels import matmul, meyer_update
from rfnumeric.linalg._common import adjoint, check_finite, frobenius, identity
from rfnumeric.linalg.penrose import RATIO_LIMIT, penrose_residuals
from rfnumeric.linalg.pinv import pinv
from rfnumeric.typing import Array, Namespace

MARGIN = 16.0
"""Zero tests allow for the rounding of A⁺, of the products here, and of a c or d that was itself a product."""


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
        Size below which w, m (relative to c, d) and β (relative to 1 + ‖d‖‖v‖) count as zero. Default:
        16·max(m, n)·eps·max(1, ‖A‖_F‖A⁺‖_F).

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
    rows, columns = A.shape[-2:]
    for name, X, size in (("c", c, rows), ("d", d, columns)):
        if X.shape[-1] != size:
            raise ValueError(f"{name} must have shape (..., {size}) to fit A {tuple(A.shape)}; got {tuple(X.shape)}.")
    if tuple(A_pinv.shape[-2:]) != (columns, rows):
        raise ValueError(
            f"A_pinv must have shape (..., {columns}, {rows}); got {tuple(A_pinv.shape)}. Is it transposed?"
        )
    if rtol is None:
        # A floor, so that a zero A (κ = 0) still has a threshold.
        kappa = frobenius(xp, A) * frobenius(xp, A_pinv)
        tolerance = MARGIN * max(rows, columns) * eps(A) * xp.maximum(kappa, xp.ones_like(kappa))
    else:
        tolerance = rtol + 0 * frobenius(xp, A)
    with quiet():
        return RankOneUpdate(*meyer_update(A, A_pinv, c, d, tolerance))


def _outside(A: Array, X: Array, residual: Array) -> Array:
    """Project once more onto the complement of range(A)."""
    return residual - matmul(A, matmul(X, residual))


def _norm(xp: Namespace, column: Array) -> Array:
    return xp.sqrt(xp.sum(xp.abs(column) ** 2, axis=(-2, -1), keepdims=True))


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
    rows, columns = A.shape[-2:]
    if rows > columns:
        X, Z = rank_k_update(adjoint(xp, A), Z, D, C)
        return adjoint(xp, X), Z
    k = C.shape[-1]
    if C.shape[-2] != rows or tuple(D.shape[-2:]) != (columns, k) or tuple(Z.shape[-2:]) != (rows, rows):
        raise ValueError(
            f"for A {tuple(A.shape)}, C must have shape (..., m, k), D (..., n, k), Z (..., l, l) with l = min(m, n); "
            f"got {tuple(C.shape)}, {tuple(D.shape)} and {tuple(Z.shape)}."
        )
    U = xp.concat((C, matmul(A, D)), axis=-1)
    Dh = adjoint(xp, D)
    DD = matmul(Dh, D)
    eye = identity(xp, k, A) + xp.zeros_like(DD)
    S_inverse = xp.concat((xp.concat((xp.zeros_like(DD), eye), axis=-1), xp.concat((eye, -DD), axis=-1)), axis=-2)
    ZU = matmul(Z, U)
    Z = Z - matmul(ZU, xp.linalg.solve(S_inverse + matmul(adjoint(xp, U), ZU), adjoint(xp, ZU)))
    new = A + matmul(C, Dh)
    return matmul(adjoint(xp, new), Z), Z


def append_column(A: Array, A_pinv: Array, a: Array, *, rtol: float | None = None) -> Array:
    """Return [A a]⁺ from A⁺ (Greville): d = A⁺a, e = a − Ad, bᴴ = e⁺ if e ≠ 0 else dᴴA⁺/(1 + dᴴd), [A⁺ − dbᴴ; bᴴ].

    Parameters
    ----------
    A : array, shape (..., m, n)
    A_pinv : array, shape (..., n, m)
    a : array, shape (..., m)
    rtol : float, optional
        Size of e relative to a that counts as zero. Default: 16·max(m, n)·eps·max(1, ‖A‖_F‖A⁺‖_F).

    Returns
    -------
    array, shape (..., n + 1, m)
        A row is appended by the same on the adjoints.

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
    a = a[..., :, None]
    d = matmul(A_pinv, a)
    e = _outside(A, A_pinv, a - matmul(A, d))
    if rtol is None:
        kappa = (frobenius(xp, A) * frobenius(xp, A_pinv))[..., None, None]
        tolerance = MARGIN * max(A.shape[-2:]) * eps(A) * xp.maximum(kappa, xp.ones_like(kappa))
    else:
        tolerance = rtol + 0 * _norm(xp, a)
    dependent = _norm(xp, e) <= tolerance * _norm(xp, a)
    ee = xp.astype(_norm(xp, e) ** 2, A.dtype)
    apart = adjoint(xp, e) / xp.where(ee == 0, xp.ones_like(ee), ee)
    within = matmul(adjoint(xp, d), A_pinv) / (1 + xp.astype(_norm(xp, d) ** 2, A.dtype))
    bh = xp.where(dependent, within, apart)
    return xp.concat((A_pinv - matmul(d, bh), bh), axis=-2)


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
        Distance of bᴴa from 1 that counts as zero. Default: 16·max(m, n)·eps·max(1, ‖A‖_F‖A⁺‖_F).

    Returns
    -------
    array, shape (..., n − 1, m)

    Raises
    ------
    ValueError
        If there is no such column.

    Examples
    --------
    >>> import numpy as np
    >>> print(delete_column(np.asarray([[1.0, 1.0]]), np.asarray([[0.5], [0.5]]), 0))
    [[1.]]
    """
    xp = array_namespace(A, A_pinv)
    n = A.shape[-1]
    if not -n <= index < n:
        raise ValueError(f"index must lie in {-n}…{n - 1}; got {index}.")
    index %= n
    a, bh = A[..., :, index : index + 1], A_pinv[..., index : index + 1, :]
    Y = xp.concat((A_pinv[..., :index, :], A_pinv[..., index + 1 :, :]), axis=-2)
    if rtol is None:
        kappa = (frobenius(xp, A) * frobenius(xp, A_pinv))[..., None, None]
        tolerance = MARGIN * max(A.shape[-2:]) * eps(A) * xp.maximum(kappa, xp.ones_like(kappa))
    else:
        tolerance = rtol + 0 * _norm(xp, bh)
    gap = 1 - matmul(bh, a)
    independent = xp.abs(gap) <= tolerance
    b = adjoint(xp, bh)
    squared = xp.astype(_norm(xp, b) ** 2, A.dtype)
    squared = xp.where(squared == 0, xp.ones_like(squared), squared)
    apart = Y - matmul(matmul(Y, b), bh) / squared
    within = Y + matmul(matmul(Y, a), bh) / xp.where(independent, xp.ones_like(gap), gap)
    return xp.where(independent, apart, within)


class PinvTracker:
    """A⁺ through a long chain of updates, which measures its own drift and refreshes itself when a check fails.

    Parameters
    ----------
    A : array, shape (..., m, n)
    check_every : int
        Updates between two checks of the Penrose conditions (four products each).
    limit : float
        Test ratio above which A⁺ is recomputed; see `penrose_residuals`.

    Attributes
    ----------
    A, X : array
        The matrix and its pseudoinverse.
    updates, refreshes : int
        How many there were.
    drift : list of float
        Test ratio at each check, the largest of the members.

    Examples
    --------
    >>> import numpy as np
    >>> tracker = PinvTracker(np.eye(2))
    >>> X = tracker.rank_one(np.asarray([1.0, 0.0]), np.asarray([1.0, 0.0]))
    >>> print(X)
    [[0.5 0. ]
     [0.  1. ]]
    >>> tracker.updates, tracker.refreshes
    (1, 0)
    """

    def __init__(self, A: Array, *, check_every: int = 20, limit: float = RATIO_LIMIT) -> None:
        self.xp = array_namespace(A)
        self.A, self.X = A, pinv(A)
        self.check_every, self.limit = check_every, limit
        self.updates = self.refreshes = 0
        self.drift: list[float] = []

    def rank_one(self, c: Array, d: Array) -> Array:
        """Add cdᴴ, c (..., m) and d (..., n), and return A⁺."""
        xp = self.xp
        X = rank_one_update(self.A, self.X, c, d).value
        return self._moved(self.A + matmul(c[..., :, None], adjoint(xp, d[..., :, None])), X)

    def append_column(self, a: Array) -> Array:
        """Append the column a (..., m) and return A⁺."""
        X = append_column(self.A, self.X, a)
        return self._moved(self.xp.concat((self.A, a[..., :, None]), axis=-1), X)

    def delete_column(self, index: int) -> Array:
        """Delete a column and return A⁺."""
        X = delete_column(self.A, self.X, index)
        index %= self.A.shape[-1]
        return self._moved(self.xp.concat((self.A[..., :index], self.A[..., index + 1 :]), axis=-1), X)

    def check(self) -> float:
        """Measure the test ratio, append it to `drift`, and recompute A⁺ if it is above the limit (or NaN).

        Raises
        ------
        ValueError
            If A itself is no longer finite.
        """
        check_finite(self.xp, self.A)
        ratio = to_numpy(penrose_residuals(self.A, self.X).test_ratio)
        worst = float(ratio.max()) if ratio.size else 0.0
        self.drift.append(worst)
        if not worst <= self.limit:
            self.X = pinv(self.A)
            self.refreshes += 1
        return worst

    def _moved(self, A: Array, X: Array) -> Array:
        self.A, self.X = A, X
        self.updates += 1
        if self.updates % self.check_every == 0:
            self.check()
        return self.X
