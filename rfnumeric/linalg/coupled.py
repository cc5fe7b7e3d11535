"""The coupled rule of the sleep phase, in which two matrices become each other's inverse (v1 A.3, v2 A.4)."""

from __future__ import annotations

import math
from typing import Any

from rfnumeric.backend import array_namespace, device_of, eps, quiet, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import coupled_steps, matmul
from rfnumeric.linalg._common import check_finite, frobenius, identity, ratio, scale, times_power_of_two
from rfnumeric.linalg.iteration_result import IterationResult, measured_factor, summarize
from rfnumeric.typing import Array

FORMS = ("corrected", "printed")


class CoupledRule:
    """U ← U + η(U − UVU), V ← V + η(V − VUV), both at once, a pair or a stack of pairs; one step at a time.

    P = UV obeys P ← P(I + η(I − P))², the explicit Euler scheme, up to O(η²), of the matrix logistic equation
    Ṗ = 2(P − P²), whose solution is `logistic_flow`: it tends to I unless P₀ has a real eigenvalue ≤ 0. Near P = I the
    error shrinks by the factor 1 − 2η a step.

    Parameters
    ----------
    U : array, shape (..., a, b)
    V : array, shape (..., b, a)
    rate : float
        η > 0, dimensionless; the papers' η = 1 − λ with λ = 0.9 is the default. η = 1/2 converges quadratically.
    form : {"corrected", "printed"}
        ``"printed"`` is the rule as both versions print it, U ← λU + (1 − λ)(U − UVU) = U − ηUVU, whose only fixed
        points have UVU = 0: U and V decay to zero as 1/√(2ηt).
    decay : float
        γ ≥ 0 of the damped form U ← U + η(U − UVU − γU), whose limit is UV = (1 − γ)I.
    one_sided : bool
        Whether only U learns: the damped Ben-Israel–Cohen iteration for V⁺, whose factor near the limit is 1 − η.

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is not finite or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> rule = CoupledRule(np.asarray([[0.5]]), np.asarray([[1.0]]))
    >>> result = rule.run()
    >>> result.status, round(result.theory, 3), round(result.measured, 3)
    ('converged', 0.8, 0.8)
    """

    @gate(U=2, V=2)
    def __init__(
        self,
        U: Array,
        V: Array,
        rate: float = 0.1,
        *,
        form: str = "corrected",
        decay: float = 0.0,
        one_sided: bool = False,
    ) -> None:
        self.xp = xp = array_namespace(U, V)
        if tuple(V.shape) != (*U.shape[:-2], U.shape[-1], U.shape[-2]):
            raise ValueError(
                f"V must have shape {(*U.shape[:-2], U.shape[-1], U.shape[-2])} to be an inverse of U "
                f"{tuple(U.shape)}; got {tuple(V.shape)}. Did you pass its transpose?"
            )
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}; got {form!r}.")
        if not 0 < rate < math.inf or not 0 <= decay < 1:
            raise ValueError(f"rate must be positive and 0 ≤ decay < 1; got rate={rate!r}, decay={decay!r}.")
        check_finite(xp, U, "U")
        check_finite(xp, V, "V")
        self.U, self.V = U, V
        self.rate, self.form, self.decay, self.one_sided = rate, form, decay, one_sided
        self.iterations = 0

    def step(self, steps: int = 1) -> None:
        """Take `steps` simultaneous steps."""
        rate_U, rate_V = self.rate, 0.0 if self.one_sided else self.rate
        printed = self.form == "printed"
        with quiet():
            # The smaller of UV and VU: zero eigenvalues of the larger one are unstable, and rounding would feed them.
            if self.U.shape[-2] <= self.U.shape[-1]:
                self.U, self.V = coupled_steps(self.U, self.V, rate_U, rate_V, self.decay, printed, steps)
            else:
                self.V, self.U = coupled_steps(self.V, self.U, rate_V, rate_U, self.decay, printed, steps)
        self.iterations += steps

    def change(self) -> Array:
        """Return the larger of ‖U − UVU − γU‖/‖U‖ and, if V learns, the same for V, shape (...): 0 at a fixed point."""
        xp, U, V = self.xp, self.U, self.V
        own = 0.0 if self.form == "printed" else 1.0 - self.decay
        with quiet():
            if U.shape[-2] <= U.shape[-1]:
                P = matmul(U, V)
                PU, VP = matmul(P, U), matmul(V, P)
            else:
                P = matmul(V, U)
                PU, VP = matmul(U, P), matmul(P, V)
            change = self._relative(own * U - PU, U)
            return change if self.one_sided else xp.maximum(change, self._relative(own * V - VP, V))

    def _relative(self, change: Array, M: Array) -> Array:
        """Return ‖change‖/‖M‖, of any scale."""
        xp = self.xp
        M, exponent = scale(xp, M)
        return ratio(xp, frobenius(xp, times_power_of_two(xp, change, -exponent[..., None, None])), frobenius(xp, M))

    def run(self, *, rtol: float | None = None, max_iterations: int = 2000, check_every: int = 10) -> IterationResult:
        """Step until every pair stands still or is no longer finite.

        Parameters
        ----------
        rtol : float, optional
            Where `change` counts as still. Default: 10·max(a, b)·eps.
        max_iterations : int
        check_every : int
            Steps between two looks at the device.

        Returns
        -------
        IterationResult
            `value` is the pair (U, V); residual, status and conditions are those of U as an inverse of V; `history` has
            one number every `check_every` steps; `theory` and `measured` are factors a step.
        """
        tolerance = 10 * max(self.U.shape[-2:]) * eps(self.U) if rtol is None else rtol
        history: list[float] = []
        last: Any = None
        start = self.iterations
        while self.iterations - start < max_iterations:
            self.step(min(check_every, max_iterations - self.iterations + start))
            last = to_numpy(self.change()).reshape(-1)
            finite = last[last < math.inf]
            history.append(float(finite.max()) if finite.size else math.nan)
            if not (finite > tolerance).any():
                break
        theory = math.nan
        if self.form == "corrected" and not self.decay:
            theory = abs(1 - self.rate if self.one_sided else 1 - 2 * self.rate)
        measured = measured_factor(history, tolerance) ** (1 / check_every)
        with quiet():
            moving = None if last is None else last.copy()
            if moving is not None:
                moving[moving <= tolerance] = 0
            found = summarize(self.V, self.U, history, theory, measured, moving)
        return IterationResult(
            (self.U, self.V),
            self.iterations - start,
            found.residual,
            found.status,
            found.statuses,
            found.conditions,
            history,
            theory,
            measured,
        )


@gate(U=2, V=2)
def coupled_rule(
    U: Array,
    V: Array,
    rate: float = 0.1,
    *,
    form: str = "corrected",
    decay: float = 0.0,
    one_sided: bool = False,
    max_iterations: int = 2000,
) -> IterationResult:
    """Run the coupled U/V rule; see `CoupledRule`.

    Parameters
    ----------
    U : array, shape (..., a, b)
    V : array, shape (..., b, a)
    rate : float
        η.
    form, decay, one_sided
        See `CoupledRule`.
    max_iterations : int

    Returns
    -------
    IterationResult
        `value` is the pair (U, V).

    Raises
    ------
    ValueError
        See `CoupledRule`.

    Examples
    --------
    A start with UV < 0 runs away, as the logistic equation from a negative value does:

    >>> import numpy as np
    >>> coupled_rule(np.asarray([[-0.1]]), np.asarray([[1.0]])).status
    'diverged'
    """
    return CoupledRule(U, V, rate, form=form, decay=decay, one_sided=one_sided).run(max_iterations=max_iterations)


@gate(P=2)
def logistic_flow(P: Array, t: float) -> Array:
    """Return P(t) of Ṗ = 2(P − P²), P(0) = P: the coupled rule for small η after t/η steps.

    Each eigenvalue follows the logistic equation, hence P(t) = e^(2t) P (I + (e^(2t) − 1)P)⁻¹, which is written with
    e^(−2t) so that nothing overflows. It tends to I as t → ∞ if P has no real eigenvalue ≤ 0; a negative one, p,
    makes it infinite at t = ½ log(1 − 1/p).

    Parameters
    ----------
    P : array, shape (..., a, a)
    t : float
        Time ≥ 0, in units of steps times η.

    Returns
    -------
    array, shape (..., a, a)

    Examples
    --------
    >>> import numpy as np
    >>> print(logistic_flow(np.asarray([[0.5]]), 100.0))
    [[1.]]
    """
    xp = array_namespace(P)
    shrink = math.exp(-2 * t)
    eye = identity(xp, P.shape[-1], P) + xp.zeros(P.shape, dtype=P.dtype, device=device_of(P))
    # P commutes with the inverse, so it may stand on either side.
    return xp.linalg.solve(shrink * eye + (1 - shrink) * P, P)
