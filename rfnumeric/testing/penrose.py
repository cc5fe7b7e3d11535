"""`assert_penrose`: the four Penrose conditions as an assertion that says which one fails, and by how much."""

from __future__ import annotations

from collections.abc import Iterable

from rfnumeric.backend import to_numpy
from rfnumeric.linalg import penrose_residuals
from rfnumeric.typing import Array

EQUATIONS = {1: "AXA = A", 2: "XAX = X", 3: "(AX)ᴴ = AX", 4: "(XA)ᴴ = XA"}


def assert_penrose(A: Array, X: Array, conditions: Iterable[int] = (1, 2, 3, 4), c: float = 30.0) -> None:
    """Raise unless X satisfies the named Penrose conditions for A to rounding.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X : array, shape (..., n, m)
        The candidate.
    conditions : iterable of {1, 2, 3, 4}
        1: AXA = A, 2: XAX = X, 3: (AX)ᴴ = AX, 4: (XA)ᴴ = XA. All four make X the Moore-Penrose inverse.
    c : float
        Largest residual, in units of max(m, n)·eps·‖A‖‖X‖ times the norm of the condition's right side, so that the
        matrix's conditioning is accounted for; dimensionless. 30 is the threshold of LAPACK's test programs.

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
    residuals = penrose_residuals(A, X)
    failed = []
    for k in wanted:
        ratio, relative = to_numpy(residuals.ratios[k - 1, ...]), to_numpy(residuals[k - 1])
        if not (ratio <= c).all():  # false for NaN
            failed.append(
                f"condition {k}, {EQUATIONS[k]}, has relative residual {relative.max():.3g} "
                f"({ratio.max():.3g} times rounding; allowed: {c:g})"
            )
    if failed:
        names = ", ".join(map(str, wanted))
        raise AssertionError(
            f"X {tuple(X.shape)} is no {{{names}}}-inverse of A {tuple(A.shape)}: {'; '.join(failed)}."
        )
