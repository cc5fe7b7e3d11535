"""A⁺ through a long chain of updates: measured, refreshed where a measurement fails, and counted."""

from __future__ import annotations

import math
from typing import Any

from rfnumeric.backend import array_namespace, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import matmul
from rfnumeric.linalg._common import adjoint, check_finite
from rfnumeric.linalg.penrose import RATIO_LIMIT, penrose_residuals
from rfnumeric.linalg.pinv import pinv
from rfnumeric.linalg.updates import append_column, delete_column, rank_one_update
from rfnumeric.typing import Array

JUMP = 8.0
"""An update that changes the largest entry of A⁺ by more than this factor loses digits, and is checked at once."""


class PinvTracker:
    """A⁺ through a long chain of updates, which measures its own drift and refreshes itself when a check fails.

    Parameters
    ----------
    A : array, shape (..., m, n)
    check_every : int
        Updates between two checks of the Penrose conditions (four products each). An update after which A⁺ is more than
        8 times larger or smaller than at the last check is checked at once: there digits are lost.
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

    @gate(A=2)
    def __init__(self, A: Array, *, check_every: int = 20, limit: float = RATIO_LIMIT) -> None:
        self.xp = array_namespace(A)
        self.A, self.X = A, pinv(A)
        self.check_every, self.limit = check_every, limit
        self.updates = self.refreshes = 0
        self.drift: list[float] = []
        self._unchecked, self._size = 0, self._largest()

    @gate(like="A", c=1, d=1)
    def rank_one(self, c: Array, d: Array) -> Array:
        """Add cdᴴ, c (..., m) and d (..., n), and return A⁺."""
        xp = self.xp
        X = rank_one_update(self.A, self.X, c, d).value
        return self._moved(self.A + matmul(c[..., :, None], adjoint(xp, d[..., :, None])), X)

    @gate(like="A", a=1)
    def append_column(self, a: Array) -> Array:
        """Append the column a (..., m) and return A⁺."""
        X = append_column(self.A, self.X, a)
        return self._moved(self.xp.concat((self.A, a[..., :, None]), axis=-1), X)

    @gate()
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
        self._unchecked, self._size = 0, self._largest()
        return worst

    def _moved(self, A: Array, X: Array) -> Array:
        self.A, self.X = A, X
        self.updates += 1
        self._unchecked += 1
        size = self._largest()
        # Also false for NaN.
        steady = (size <= JUMP * self._size) & (self._size <= JUMP * size)
        if self._unchecked >= self.check_every or not steady.all():
            self.check()
        return self.X

    def _largest(self) -> Any:
        """Return the largest magnitude in A⁺ of each member, on the host."""
        if not math.prod(self.X.shape[-2:]):
            return to_numpy(self.xp.sum(self.xp.abs(self.X), axis=(-2, -1)))
        return to_numpy(self.xp.max(self.xp.abs(self.X), axis=(-2, -1)))
