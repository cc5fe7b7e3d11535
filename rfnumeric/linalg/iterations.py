"""Iterations that reach a generalized inverse by matrix products alone, as functions and as objects that step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rfnumeric.backend import array_namespace, eps, quiet, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import matmul
from rfnumeric.linalg._common import (
    adjoint,
    check_finite,
    check_matrix,
    frobenius,
    norm_one,
    ratio,
    scale,
    times_power_of_two,
    unscale,
)
from rfnumeric.linalg._turned import Turned
from rfnumeric.linalg.iteration_result import IterationResult, measured_order, summarize
from rfnumeric.linalg.penrose import RATIO_LIMIT, penrose_residuals
from rfnumeric.typing import Array, Namespace

CHECK_EVERY = 3
"""Steps between two looks at the device: a loop that waits for it at each step would leave a GPU idle."""


def safe_start(xp: Namespace, A: Array) -> Array:
    """Return X₀ = αAᴴ with α = 1/(‖A‖₁‖A‖_∞) ≤ 1/σ₁², so that ‖I − AX₀‖ ≤ 1 and the range is right."""
    Ah = adjoint(xp, A)
    one, infinity = norm_one(xp, A), norm_one(xp, Ah)
    # Two divisions, since the product of the norms may overflow where αAᴴ does not.
    for norm in (one, infinity):
        Ah = Ah / xp.astype(xp.where(norm > 0, norm, xp.ones_like(norm)), A.dtype)[..., None, None]
    return Ah


def frobenius_start(xp: Namespace, A: Array) -> Array:
    """Return X₀ = Aᴴ/‖A‖_F²; α is the larger of the two safe ones where A has few large singular values."""
    norm = frobenius(xp, A)
    norm = xp.astype(xp.where(norm > 0, norm, xp.ones_like(norm)), A.dtype)[..., None, None]
    return adjoint(xp, A) / norm / norm


def spectral_start(xp: Namespace, A: Array) -> Array:
    """Return X₀ = 2Aᴴ/(σ₁² + σ_r²), the best multiple of Aᴴ; needs the singular values."""
    S = xp.linalg.svdvals(A)
    floor = max(A.shape[-2:]) * eps(A) * S[..., :1]
    smallest = xp.min(xp.where(S > floor, S, S[..., :1] + xp.zeros_like(S)), axis=-1)
    total = S[..., 0] * S[..., 0] + smallest * smallest
    total = xp.where(total > 0, total, xp.ones_like(total))
    return adjoint(xp, A) * xp.astype(2 / total, A.dtype)[..., None, None]


STARTS: dict[str, Callable[[Namespace, Array], Array]] = {
    "norms": safe_start,
    "frobenius": frobenius_start,
    "spectral": spectral_start,
}
"""X₀ choices by name."""


class Hyperpower:
    """Hyperpower iteration of order p, step by step: X ← X(I + R + … + R^(p−1)), R = I − AX.

    Order 2 is the iteration of Ben-Israel and Cohen, X ← X(2I − AX) = X + (X − XAX) (v1/v2 §3), also called
    Newton–Schulz.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X0 : array, shape (..., n, m), or str
        The start, or the name of one in `STARTS`: ``"norms"`` (default, αAᴴ with α = 1/(‖A‖₁‖A‖_∞)), ``"frobenius"``
        (α = 1/‖A‖_F²), ``"spectral"`` (α = 2/(σ₁² + σ_r²)).
    order : int
        p ≥ 2; a step costs p products.

    Raises
    ------
    ValueError
        If A or X0 is not finite, the shapes do not fit, or the order is below 2.

    Examples
    --------
    >>> import numpy as np
    >>> iteration = Hyperpower(np.asarray([[4.0]]), np.asarray([[0.2]]), order=3)
    >>> for _ in range(3):
    ...     change = iteration.step()
    >>> print(iteration.X)
    [[0.25]]
    """

    @gate(A=2, X0=2)
    def __init__(self, A: Array, X0: Array | str = "norms", order: int = 2) -> None:
        self.xp = xp = array_namespace(A, None if isinstance(X0, str) else X0)
        check_matrix(xp, A)
        check_finite(xp, A)
        if order < 2:
            raise ValueError(f"order must be at least 2; got {order}. Order 2 is Newton–Schulz.")
        if isinstance(X0, str):
            if X0 not in STARTS:
                raise ValueError(f"X0 must be an array or one of {', '.join(STARTS)}; got {X0!r}.")
            with quiet():
                scaled, exponent = scale(xp, A)
                X = STARTS[X0](xp, scaled)
        else:
            check_finite(xp, X0, "X0")
            with quiet():
                scaled, exponent = scale(xp, A)
                X = times_power_of_two(xp, X0, exponent[..., None, None])
        if tuple(X.shape[-2:]) != (A.shape[-1], A.shape[-2]):
            raise ValueError(
                f"X0 must have shape (..., {A.shape[-1]}, {A.shape[-2]}) to be an inverse of A {tuple(A.shape)}; got "
                f"{tuple(X.shape)}. Did you pass its transpose?"
            )
        self.A, self.order = A, order
        # By an exact power of two, so that no norm over- or underflows at any scale of A; X is scaled the other way.
        self.scaled_A, self._exponent = scaled, exponent
        self.scaled_X = X
        self.iterations = 0

    @property
    def X(self) -> Array:
        """The current iterate, shape (..., n, m)."""
        with quiet():
            return unscale(self.xp, self.scaled_X, self._exponent)

    def step(self) -> Array:
        """Take one step; return ‖XAX − X‖/‖X‖ of the old X, the relative change of a step of order 2, shape (...)."""
        xp, A, X = self.xp, self.scaled_A, self.scaled_X
        with quiet():
            # Horner's scheme on the smaller product: XR = X − X(AX) = X − (XA)X.
            wide = A.shape[-2] <= A.shape[-1]
            P = matmul(A, X) if wide else matmul(X, A)
            change = X - (matmul(X, P) if wide else matmul(P, X))
            relative = ratio(xp, frobenius(xp, change), frobenius(xp, X))
            term, total = change, X + change
            for _ in range(self.order - 2):
                term = term - (matmul(term, P) if wide else matmul(P, term))
                total = total + term
        self.scaled_X = total
        self.iterations += 1
        return relative

    def run(self, *, rtol: float | None = None, max_iterations: int | None = None) -> IterationResult:
        """Step until every member has converged, stopped elsewhere or diverged.

        Parameters
        ----------
        rtol : float, optional
            Look at the Penrose conditions once ‖XAX − X‖ ≤ rtol·‖X‖. Default: max(m, n)·eps.
        max_iterations : int, optional
            Default: enough for a condition number of 1/eps.

        Returns
        -------
        IterationResult
        """
        history, moving = self.iterate(rtol=rtol, max_iterations=max_iterations)
        tolerance = _tolerance(self.A, rtol)
        return summarize(self.A, self.X, history, float(self.order), measured_order(history, tolerance), moving)

    def iterate(self, *, rtol: float | None = None, max_iterations: int | None = None) -> tuple[list[float], Any]:
        """Step as `run` does, but do not judge the end; return the history and the last change of who still moves."""
        xp = self.xp
        tolerance = _tolerance(self.A, rtol)
        limit = default_iterations(self.A) if max_iterations is None else max_iterations
        history: list[float] = []
        last: Array = None
        turned = Turned(self)
        while len(history) < limit:
            steps = [self.step() for _ in range(min(CHECK_EVERY, limit - len(history)))]
            changes = to_numpy(xp.stack(steps)).reshape(len(steps), -1)
            history += [_largest_finite(row) for row in changes]
            last = changes[-1]
            moving = (last > tolerance) & (last < math.inf) & ~turned.look(last)
            if not moving.any() and self._settled(last < math.inf, turned.done):
                break
        with quiet():
            self.scaled_X = turned.result(self.scaled_X)
        if last is not None:
            last = last.copy()
            last[(last <= tolerance) | turned.done] = 0
        return history, last

    def _settled(self, finite: Any, done: Any) -> bool:
        """Tell whether no member that is finite will come closer."""
        ratios = to_numpy(penrose_residuals(self.scaled_A, self.scaled_X).ratios).reshape(4, -1)[:, finite & ~done]
        # Small singular values show last, in A − AXA; the other inverses satisfy 1 and 2 and never the rest.
        worst, first_two = ratios.max(axis=0, initial=0.0), ratios[:2].max(axis=0, initial=0.0)
        return bool(((worst <= 1) | ((first_two <= 1) & (worst > RATIO_LIMIT))).all())


def _tolerance(A: Array, rtol: float | None) -> float:
    return max(1, *A.shape[-2:]) * eps(A) if rtol is None else rtol


@gate(A=2, X0=2)
def hyperpower(
    A: Array,
    X0: Array | str = "norms",
    *,
    order: int = 3,
    rtol: float | None = None,
    max_iterations: int | None = None,
) -> IterationResult:
    """Run the hyperpower iteration of order p: X ← X(I + R + … + R^(p−1)), R = I − AX; see `Hyperpower`.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X0 : array, shape (..., n, m), or str
        See `Hyperpower`.
    order : int
        p ≥ 2.
    rtol, max_iterations
        See `Hyperpower.run`.

    Returns
    -------
    IterationResult

    Raises
    ------
    ValueError
        If A or X0 is not finite or the shapes do not fit.

    Notes
    -----
    ‖R‖ becomes ‖R‖^p in a step of p products, so that order 3 is the cheapest per digit (3^(1/3) > 2^(1/2) = 4^(1/4)).

    Examples
    --------
    >>> import numpy as np
    >>> result = hyperpower(np.asarray([[2.0, 0.0], [0.0, 4.0]]), order=4)
    >>> result.status, result.theory
    ('converged', 4.0)
    """
    return Hyperpower(A, X0, order).run(rtol=rtol, max_iterations=max_iterations)


@gate(A=2, X0=2)
def ben_israel_cohen(
    A: Array, X0: Array | str | None = None, *, rtol: float | None = None, max_iterations: int | None = None
) -> IterationResult:
    """Iterate X ← X + (X − XAX) (Ben-Israel and Cohen; Newton–Schulz) over leading axes.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X0 : array, shape (..., n, m), or str, optional
        Start. Default: αAᴴ with α = 1/(‖A‖₁‖A‖_∞). Iterates keep the range and the null space of the start, so
        from another start the limit is a {2}-inverse of A and in general not A⁺: the result then says ``"stagnated"``
        and which conditions hold.
    rtol, max_iterations
        See `Hyperpower.run`.

    Returns
    -------
    IterationResult

    Raises
    ------
    ValueError
        If A or X0 is not finite or the shapes do not fit.

    Notes
    -----
    Quadratic convergence from X₀ = αAᴴ with 0 < α < 2/σ₁²; about 2 log₂ κ(A) steps of two products each. Of a
    rank-deficient A the iterates pass by A⁺ and leave it, since rounding errors in the null space double with each step
    [2]_: where the change of a step turns from falling to rising, one more step and X ← XAX, which removes those
    errors, are judged, and kept if they are A⁺.

    References
    ----------
    .. [1] A. Ben-Israel, D. Cohen, "On iterative computation of generalized inverses and associated projections",
       SIAM J. Numer. Anal. 3 (1966) 410-419, :doi:`10.1137/0703035`.
    .. [2] T. Söderström, G. W. Stewart, "On the numerical properties of an iterative method for computing the
       Moore-Penrose generalized inverse", SIAM J. Numer. Anal. 11 (1974) 61-74, :doi:`10.1137/0711008`.

    Examples
    --------
    >>> import numpy as np
    >>> result = ben_israel_cohen(np.asarray([[2.0, 0.0], [0.0, 4.0]]))
    >>> result.status
    'converged'
    >>> print(result.value)
    [[0.5  0.  ]
     [0.   0.25]]

    A start whose range is not that of Aᴴ:

    >>> result = ben_israel_cohen(np.asarray([[1.0, 1.0]]), np.asarray([[0.5], [0.0]]))
    >>> result.status, sorted(result.conditions)
    ('stagnated', [1, 2, 3])
    """
    return Hyperpower(A, "norms" if X0 is None else X0, 2).run(rtol=rtol, max_iterations=max_iterations)


def default_iterations(A: Array) -> int:
    """Return the steps in which the component of σ = σ₁·eps, doubled by each, grows from ασ² to 1, and ten more."""
    return math.ceil(2 * -math.log2(eps(A)) + math.log2(max(A.shape[-2:]) + 1)) + 10


def _largest_finite(row: Any) -> float:
    finite = row[row < math.inf]
    return float(finite.max()) if finite.size else math.nan if row.size else 0.0
