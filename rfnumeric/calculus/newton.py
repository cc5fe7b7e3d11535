"""The Hildebrandt–Graves iteration (v1/v2 §4, Theorem 1) and a certificate that tells which hypothesis holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from rfnumeric.backend import Backend, Streams, array_namespace, device_of, eps, quiet, to_float
from rfnumeric.linalg import pinv
from rfnumeric.typing import Array, Namespace

Function = Callable[[Array], Array]

RECIPROCAL = "TAy = y on R(T)"
CONTRACTION = "M‖T‖ < 1"
RADIUS = "‖T‖‖F(y₀)‖ < r(1 − M‖T‖)"
NULL_SPACE = "N(T) ⊂ N(Aᵀ)"


@dataclass(frozen=True)
class NewtonResult:
    """What the iteration found.

    Attributes
    ----------
    value : array, shape (k,)
        The last iterate.
    iterations : int
        Steps taken.
    residual : float
        ‖TF(y)‖, in units of y.
    status : str
        ``"converged"``, ``"diverged"`` or ``"max_iterations"``.
    steps : list of float
        ‖y_{k+1} − y_k‖, in units of y, one a step.
    errors : list of float
        ‖F(y_k)‖, from y_0 on.
    """

    value: Array
    iterations: int
    residual: float
    status: str
    steps: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Largest observed ratio of successive steps above rounding level; NaN for fewer than two."""
        floor = max(self.steps, default=0.0) * 1e3 * eps(self.value)
        pairs = zip(self.steps[1:], self.steps[:-1], strict=True)
        return max((b / a for a, b in ((y, x) for x, y in pairs) if a > floor and b > floor), default=math.nan)


def hildebrandt_graves(
    F: Function,
    T: Array,
    y0: Array,
    *,
    damping: float = 1.0,
    rtol: float | None = None,
    max_iterations: int = 200,
) -> NewtonResult:
    """Iterate y ← y − T F(y) (Theorem 1 of v1/v2 §4; Hildebrandt and Graves 1927, Ben-Israel 1966).

    Parameters
    ----------
    F : callable
        y, shape (k,), to F(x, y), shape (m,), for one fixed x.
    T : array, shape (k, m)
        A reciprocal of the Jacobian at y0, held fixed.
    y0 : array, shape (k,)
    damping : float
        λ in y ← y − λTF(y), dimensionless; 1 is the theorem's. With λ < 1 the rate p becomes 1 − λ(1 − p).
    rtol : float, optional
        Stop when ‖TF‖ ≤ rtol·(‖y‖ + ‖TF(y₀)‖). Default: 4·eps·√k.
    max_iterations : int

    Returns
    -------
    NewtonResult
        Also where it did not converge; see its `status`.

    Raises
    ------
    ValueError
        If T does not fit y0.

    Notes
    -----
    Under the hypotheses that `certificate` checks the limit satisfies TF(y*) = 0 and ‖y_{k+1} − y_k‖ < p^k r(1 − p),
    p = M‖T‖.

    References
    ----------
    .. [1] T. H. Hildebrandt, L. M. Graves, Trans. Amer. Math. Soc. 29 (1927) 127-153, :doi:`10.2307/1989282`.
    .. [2] A. Ben-Israel, J. Math. Anal. Appl. 15 (1966) 243-252, :doi:`10.1016/0022-247X(66)90115-6`.

    Examples
    --------
    The square root of 2 with the slope at 1.5 held:

    >>> import numpy as np
    >>> result = hildebrandt_graves(lambda y: y * y - 2, np.asarray([[1 / 3.0]]), np.asarray([1.5]))
    >>> result.status, abs(float(result.value[0]) - 2**0.5) < 1e-14
    ('converged', True)
    """
    xp = array_namespace(T, y0)
    if T.ndim != 2 or tuple(y0.shape) != (T.shape[0],):
        raise ValueError(f"T must have shape (k, m) with y0 of shape (k,); got {tuple(T.shape)}, {tuple(y0.shape)}.")
    tolerance = 4 * eps(y0) * math.sqrt(y0.shape[0]) if rtol is None else rtol
    steps: list[float] = []
    errors: list[float] = []
    y, status, start = y0, "max_iterations", math.nan
    with quiet():
        while True:
            value = F(y)
            errors.append(_norm(xp, value))
            step = _apply(xp, T, value)
            residual = _norm(xp, step)
            start = residual if math.isnan(start) else start
            if not math.isfinite(residual) or residual > max(start, 1.0) / eps(y0):
                status = "diverged"
                break
            if residual <= tolerance * (_norm(xp, y) + start):
                status = "converged"
                break
            if len(steps) == max_iterations:
                break
            y = y - damping * step
            steps.append(damping * residual)
    return NewtonResult(y, len(steps), residual, status, steps, errors)


@dataclass(frozen=True)
class Certificate:
    """Which hypotheses of Theorem 1 hold for (F, A, T, y₀, r), and what they then promise.

    Attributes
    ----------
    M : float
        Largest ‖A(y₁ − y₂) − F(y₁) + F(y₂)‖/‖y₁ − y₂‖ that was found: a *lower* bound of the true M, so that a
        hypothesis that fails here fails, and one that holds here holds as far as was looked.
    norm_T : float
        ‖T‖₂.
    reciprocal_error : float
        ‖TAT − T‖/‖T‖, which is 0 if and only if TAy = y on R(T).
    start : float
        ‖T‖‖F(y₀)‖, in units of y.
    r : float
        Radius of the ball, in units of y.
    hypotheses : dict
        Name → whether it holds.
    null_space : bool
        Whether N(T) ⊂ N(Aᵀ), which makes the limit stationary for gradient descent wherever A is the Jacobian.
    """

    M: float
    norm_T: float
    reciprocal_error: float
    start: float
    r: float
    hypotheses: dict[str, bool]
    null_space: bool

    @property
    def p(self) -> float:
        """The rate M‖T‖, dimensionless."""
        return self.M * self.norm_T

    @property
    def holds(self) -> bool:
        """Whether every hypothesis holds."""
        return all(self.hypotheses.values())

    @property
    def failed(self) -> list[str]:
        """Names of the hypotheses that fail."""
        return [name for name, holds in self.hypotheses.items() if not holds]

    def bound(self, k: int) -> float:
        """Return the promised bound p^k r(1 − p) of ‖y_{k+1} − y_k‖."""
        return self.p**k * self.r * (1 - self.p)


def certificate(
    F: Function, A: Array, T: Array, y0: Array, r: float, *, samples: int = 64, seed: int = 0
) -> Certificate:
    """Decide each hypothesis of Theorem 1 (v1/v2 §4; proof in v1 A.1, v2 A.2).

    Parameters
    ----------
    F : callable
        y, shape (k,), to F(x, y), shape (m,).
    A : array, shape (m, k)
        Usually the Jacobian of F at y0.
    T : array, shape (k, m)
    y0 : array, shape (k,)
    r : float
        Radius of the ball around y0, in units of y.
    samples : int
        Pairs of points drawn to estimate M; half of them far apart, half close together, where the quotient is the
        norm of A − F′. All lie in y0 + R(T), as the theorem has it.
    seed : int

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        If r is not positive or the shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.asarray([[3.0]])
    >>> check = certificate(lambda y: y * y - 2, A, 1 / A, np.asarray([1.5]), 0.2)
    >>> check.holds, check.p < 0.14
    (True, True)
    """
    xp = array_namespace(A, T, y0)
    if not r > 0:
        raise ValueError(f"r must be positive; got {r}.")
    if A.ndim != 2 or tuple(T.shape) != A.shape[::-1] or tuple(y0.shape) != (A.shape[1],):
        raise ValueError(
            f"A (m, k), T (k, m) and y0 (k,) must fit; got {tuple(A.shape)}, {tuple(T.shape)}, {tuple(y0.shape)}."
        )
    norm_T = to_float(xp.linalg.svdvals(T)[0])

    def rows(y: Array) -> Array:
        return xp.stack([F(y[i, :]) for i in range(samples)])

    M = to_float(lipschitz(rows, A, T, y0, r, samples=samples, seed=seed))
    reciprocal_error = _frobenius(xp, xp.matmul(xp.matmul(T, A), T) - T) / _frobenius(xp, T)
    start = norm_T * _norm(xp, F(y0))
    p = M * norm_T
    # T's null space lies in Aᵀ's if Aᵀ vanishes on it: AᵀT⁺T = Aᵀ.
    At = xp.matrix_transpose(A)
    on_range = xp.matmul(At, xp.matmul(pinv(T, method="svd"), T))
    null_error = _frobenius(xp, on_range - At) / _frobenius(xp, A)
    rounding = 30 * max(A.shape) * eps(A) * norm_T * to_float(xp.linalg.svdvals(A)[0])
    hypotheses = {
        RECIPROCAL: reciprocal_error <= rounding,
        CONTRACTION: p < 1,
        RADIUS: start < r * (1 - p),
    }
    return Certificate(M, norm_T, reciprocal_error, start, r, hypotheses, null_error <= rounding)


def lipschitz(
    F: Function, A: Array, T: Array, y0: Array, r: float | Array, *, samples: int = 8, seed: int = 0
) -> Array:
    """Return M of Theorem 1 (v1/v2 §4), as far as it was found, for many problems side by side.

    Parameters
    ----------
    F : callable
        Points, shape (..., samples, k), to F(x, y) at each of them, shape (..., samples, m).
    A : array, shape (..., m, k)
    T : array, shape (..., k, m)
    y0 : array, shape (..., k)
    r : float or array, shape (...)
        Radius of the ball around y0, in units of y.
    samples : int
        Pairs of points drawn in it, as for `certificate`; the same for every problem.
    seed : int

    Returns
    -------
    array, shape (...)
        The largest ‖A(y₁ − y₂) − F(y₁) + F(y₂)‖/‖y₁ − y₂‖ over the pairs, a lower bound of the true M; 0 where T = 0.

    Examples
    --------
    F(y) = y + y² with A = 1: the quotient is |y₁ + y₂|, less than 0.2 on |y| < 0.1.

    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> 0.1 < float(lipschitz(lambda y: y + y * y, one, one, np.zeros(1), 0.1, samples=64)) < 0.2
    True
    """
    xp = array_namespace(A, T, y0)
    streams = Streams(seed, Backend.of(y0)).child("certificate")
    draws = streams.normal((samples, 2, T.shape[-1]))
    radii = streams.child("radii").uniform((samples, 2), 0.0, 1.0)
    d1, d2 = (_units(xp, xp.matmul(draws[:, j, :], xp.matrix_transpose(T))) for j in (0, 1))
    centre = y0[..., None, :]
    ball = (r * xp.ones_like(y0[..., 0]))[..., None, None]
    reach1, reach2 = (0.99 * ball * radii[:, j, None] ** 0.25 for j in (0, 1))
    y1 = centre + reach1 * d1
    # A close pair measures ‖(A − F′)d‖; the distance keeps the difference above rounding.
    close = y1 + eps(y0) ** (1 / 3) * ball * d2
    odd = xp.arange(samples, dtype=xp.int64, device=device_of(y0)) % 2 == 1
    y2 = xp.where(odd[:, None], close, centre + reach2 * d2)
    difference = y1 - y2
    gap = xp.matmul(difference, xp.matrix_transpose(A)) - F(y1) + F(y2)
    lengths, norms = (xp.linalg.vector_norm(v, axis=-1) for v in (gap, difference))
    apart = norms > 0
    quotients = xp.where(apart, lengths / xp.where(apart, norms, xp.ones_like(norms)), xp.zeros_like(norms))
    return xp.max(quotients, axis=-1)


def _apply(xp: object, A: Array, v: Array) -> Array:
    return xp.matmul(A, v[:, None])[:, 0]  # type: ignore[attr-defined]


def _units(xp: Namespace, v: Array) -> Array:
    """Scale every row to length 1; a row of zeros stays one."""
    norms = xp.linalg.vector_norm(v, axis=-1, keepdims=True)
    return v / xp.where(norms > 0, norms, xp.ones_like(norms))


def _norm(xp: object, v: Array) -> float:
    return to_float(xp.linalg.vector_norm(v))  # type: ignore[attr-defined]


def _frobenius(xp: object, A: Array) -> float:
    return to_float(xp.sqrt(xp.sum(A * A)))  # type: ignore[attr-defined]
