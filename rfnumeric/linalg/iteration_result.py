"""What an iteration found, judged by the Penrose conditions, and how quickly its history says that it came."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from rfnumeric.backend import array_namespace, to_numpy
from rfnumeric.linalg.penrose import RATIO_LIMIT, penrose_residuals
from rfnumeric.typing import Array

STATUSES = ("converged", "max_iterations", "stagnated", "diverged")
"""From best to worst; the status of a stack is the worst of its members'."""


@dataclass(frozen=True)
class IterationResult:
    """What an iteration found, whether it is what was asked for, and how quickly it came.

    Attributes
    ----------
    value : array
        The last iterate.
    iterations : int
        Steps taken.
    residual : array, shape (...)
        Largest of the four Penrose test ratios of `value`, dimensionless; rounding error alone gives order one or less.
    status : str
        ``"converged"``: the test ratio is at most 20, `value` is A⁺ to rounding (see `penrose_residuals`).
        ``"stagnated"``: it stopped moving, but elsewhere, for example at another generalized inverse; see `conditions`.
        ``"max_iterations"``: it still moves. ``"diverged"``: it, or the square of its norm, is no longer finite. Of a
        stack, the worst of its members'.
    statuses : tuple of str
        The status of each member, in C order of the leading axes.
    conditions : set of int
        Penrose conditions that every member of `value` satisfies.
    history : list of float
        Relative change a step would make, ‖XAX − X‖/‖X‖; the largest over the members that are still finite.
    theory : float
        Order of convergence p that theory gives (2: quadratic); for a linearly converging rule the factor by which the
        error shrinks in a step, below 1.
    measured : float
        The same, measured from the history; NaN where the history is too short to tell.
    """

    value: Any
    iterations: int
    residual: Array
    status: str
    statuses: tuple[str, ...]
    conditions: set[int]
    history: list[float] = field(default_factory=list)
    theory: float = math.nan
    measured: float = math.nan


def measured_order(history: list[float], floor: float) -> float:
    """Estimate the order p from the last changes e that are small but above rounding: log e' ≈ p·log e + constant."""
    usable = [e for e in history if 100 * floor < e < 0.5]
    if len(usable) < 3:
        return math.nan
    e0, e1, e2 = (math.log(e) for e in usable[-3:])
    return (e2 - e1) / (e1 - e0) if e1 != e0 else math.nan


def measured_factor(history: list[float], floor: float) -> float:
    """Estimate the factor by which a linearly converging error shrinks in a step, from the last such steps."""
    usable = [e for e in history if 100 * floor < e < 0.1]
    if len(usable) < 6:
        return math.nan
    tail = usable[len(usable) // 2 :]
    return (tail[-1] / tail[0]) ** (1 / (len(tail) - 1))


def summarize(A: Array, X: Array, history: list[float], theory: float, measured: float, moving: Any) -> IterationResult:
    """Judge X by the Penrose conditions; `moving` has the last relative change of those still moving, in C order."""
    xp = array_namespace(A, X)
    residuals = penrose_residuals(A, X)
    ratios = to_numpy(residuals.ratios).reshape(4, -1)
    finite = to_numpy(xp.all(xp.isfinite(X), axis=(-2, -1))).reshape(-1)
    statuses = []
    for k in range(ratios.shape[1]):
        if (ratios[:, k] <= RATIO_LIMIT).all():
            statuses.append("converged")
        elif not finite[k] or (moving is not None and not moving[k] < math.inf):
            statuses.append("diverged")
        else:
            statuses.append("max_iterations" if moving is not None and moving[k] > 0 else "stagnated")
    status = max(statuses, key=STATUSES.index, default="converged")
    conditions = {c for c in range(1, 5) if (ratios[c - 1] <= RATIO_LIMIT).all()}
    return IterationResult(
        X, len(history), residuals.test_ratio, status, tuple(statuses), conditions, history, theory, measured
    )
