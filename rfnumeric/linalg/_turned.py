"""Where an iteration for A⁺ of a rank-deficient A has to stop: it passes by A⁺ and leaves it."""

from __future__ import annotations

import math
from typing import Any

from rfnumeric.backend import device_of, eps, quiet, to_numpy
from rfnumeric.kernels import matmul
from rfnumeric.linalg.penrose import RATIO_LIMIT, penrose_residuals
from rfnumeric.typing import Array, Namespace


class Turned:
    """Which members turned at A⁺ and left it again, as those of a rank-deficient A do, and what they had there.

    Rounding puts parts of size eps outside the range of Aᴴ, which each step of order p multiplies by p. The change of a
    step therefore falls until it is their size, and then rises. There one step of order 2 and X ← XAX, which removes
    them since A does not see them, give A⁺; whether they do is judged, since a small singular value looks alike.
    """

    def __init__(self, iteration: Any) -> None:
        self.iteration = iteration
        xp = iteration.xp
        lead = xp.zeros(iteration.A.shape[:-2], dtype=xp.int64, device=device_of(iteration.A))
        self.least = to_numpy(lead).reshape(-1) + math.inf
        self.done, self.tried = self.least < 0, self.least < 0
        self.best, self.value = iteration.scaled_X, iteration.scaled_X

    def look(self, last: Any) -> Any:
        """Take in the last relative change of each member, in C order; return which members are done."""
        it = self.iteration
        better = last < self.least
        grown = max(it.A.shape[-2:]) ** 2 * 64 * eps(it.A) * float(it.order) ** min(it.iterations, 200)
        turn = ~better & (last > 4 * self.least) & (self.least <= min(0.01, grown)) & ~self.tried
        if turn.any():
            self.tried = self.tried | turn
            with quiet():
                candidate = self._finish(self.best)
                good = to_numpy(penrose_residuals(it.scaled_A, candidate).test_ratio).reshape(-1) <= RATIO_LIMIT
                self.value = self._choose(good & turn, candidate, self.value)
            self.done = self.done | (good & turn)
        self.best = self._choose(better, it.scaled_X, self.best)
        self.least[better] = last[better]
        return self.done

    def result(self, X: Array) -> Array:
        """Return X with what the members that are done had."""
        return self._choose(self.done, self.value, X)

    def _finish(self, X: Array) -> Array:
        xp, A = self.iteration.xp, self.iteration.scaled_A
        X = X + (X - _sandwich(xp, X, A))
        return _sandwich(xp, X, A)

    def _choose(self, mask: Any, this: Array, other: Array) -> Array:
        if not mask.any():
            return other
        xp, A = self.iteration.xp, self.iteration.A
        chosen = xp.asarray(mask.reshape(A.shape[:-2]), dtype=xp.bool, device=device_of(A))
        return xp.where(chosen[..., None, None], this, other)


def _sandwich(xp: Namespace, X: Array, A: Array) -> Array:
    """Return XAX by the smaller product."""
    return matmul(X, matmul(A, X)) if A.shape[-2] <= A.shape[-1] else matmul(matmul(X, A), X)
