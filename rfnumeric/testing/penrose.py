"""`assert_penrose`: the four Penrose conditions as an assertion that says which one fails, and by how much."""

from __future__ import annotations

from collections.abc import Iterable

from rfnumeric.linalg import penrose_residuals
from rfnumeric.linalg.penrose import EQUATIONS, RATIO_LIMIT, complaint
from rfnumeric.typing import Array


def assert_penrose(A: Array, X: Array, conditions: Iterable[int] = (1, 2, 3, 4), c: float = RATIO_LIMIT) -> None:
    """Raise unless X satisfies the named Penrose conditions for A to rounding.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X : array, shape (..., n, m)
        The candidate.
    conditions : iterable of {1, 2, 3, 4}
        1: AXA = A, 2: XAX = X, 3: (AX)ᴴ = AX, 4: (XA)ᴴ = XA. All four make X the Moore-Penrose inverse.
    c : float
        Largest test ratio, dimensionless: residuals in units of rounding, see `penrose_residuals`. The default, 20, is
        the criterion by which `pinv` and the iterations judge their own results.

    Raises
    ------
    AssertionError
        Names every condition that fails, its equation, its relative residual and its ratio to the unit above.
    ValueError
        If a condition is none of the four, or the shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.asarray([[1.0, 1.0]])
    >>> assert_penrose(A, np.linalg.pinv(A))
    >>> right_inverse = np.asarray([[1.0], [0.0]])
    >>> assert_penrose(A, right_inverse, conditions=(1, 2, 3))
    >>> assert_penrose(A, right_inverse)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: X (2, 1) is no {1, 2, 3, 4}-inverse of A (1, 2): condition 4, (XA)ᴴ = XA, has relative ...
    """
    wanted = sorted(set(conditions))
    if not wanted or not set(wanted) <= set(EQUATIONS):
        raise ValueError(f"conditions must name some of 1, 2, 3, 4; got {wanted}.")
    failed = complaint(penrose_residuals(A, X), wanted, c)
    if failed:
        names = ", ".join(map(str, wanted))
        raise AssertionError(f"X {tuple(X.shape)} is no {{{names}}}-inverse of A {tuple(A.shape)}: {failed}.")
