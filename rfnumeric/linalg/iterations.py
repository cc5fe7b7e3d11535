"""Iterations that converge to a generalized inverse by matrix products alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rfnumeric.backend import array_namespace, eps, quiet, to_numpy
from rfnumeric.kernels import matmul
from rfnumeric.linalg._common import adjoint, check_finite, check_matrix, frobenius, norm_one, ratio
from rfnumeric.linalg.penrose import RATIO_LIMIT, penrose_residuals
from rfnumeric.typing import Array, Namespace


@dataclass(frozen=True)
class IterationResult:
    """What an iteration found, and whether it is what was asked for.

    Attributes
    ----------
    value : array
        The last iterate.
    iterations : int
        Steps taken.
    residual : array, shape (...)
        Largest of the four Penrose test ratios of `value`, dimensionless; rounding error alone gives order one.
    status : str
        ``"converged"`` (every member's test ratio is below 30), ``"stagnated"`` (it stopped moving,
        elsewhere), ``"diverged"`` or ``"max_iterations"``; the worst of the members.
    history : list of float
        Largest relative change ‖XAX − X‖/‖X‖ over the members, one number a step.
    """

    value: Array
    iterations: int
    residual: Array
    status: str
    history: list[float] = field(default_factory=list)


def safe_start(xp: Namespace, A: Array) -> Array:
    """Return X₀ = αAᴴ with α = 1/(‖A‖₁‖A‖_∞) ≤ 1/σ₁², so that ‖I − AX₀‖ ≤ 1 and the range is right."""
    Ah = adjoint(xp, A)
    one, infinity = norm_one(xp, A), norm_one(xp, Ah)
    # Two divisions, since the product of the norms may overflow where α Aᴴ does not.
    scale = [xp.astype(xp.where(v > 0, v, xp.ones_like(v)), A.dtype)[..., None, None] for v in (one, infinity)]
    return Ah / scale[0] / scale[1]


def default_iterations(A: Array) -> int:
    """Return the steps after which the singular value σ₁·eps has grown from ασ² to 1, twofold a step, and some to spare."""
    return math.ceil(2 * -math.log2(eps(A)) + math.log2(max(A.shape[-2:]) + 1)) + 10


def ben_israel_cohen(
    A: Array, X0: Array | None = None, *, rtol: float | None = None, max_iterations: int | None = None
) -> IterationResult:
    """Iterate X ← X + (X − XAX) (Ben-Israel and Cohen; Newton–Schulz) over leading axes.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X0 : array, shape (..., n, m), optional
        Start. Default: αAᴴ with α = 1/(‖A‖₁‖A‖_∞). Iterates keep the range and the null space of the start, so
        from another start the limit is a {2}-inverse of A and in general not A⁺.
    rtol : float, optional
        Stop when ‖XAX − X‖ ≤ rtol·‖X‖. Default: max(m, n)·eps.
    max_iterations : int, optional
        Default: enough for a condition number of 1/eps.

    Returns
    -------
    IterationResult

    Raises
    ------
    ValueError
        If A or X0 is not finite or the shapes do not fit.

    Notes
    -----
    Quadratic convergence from X₀ = αAᴴ with 0 < α < 2/σ₁²; about 2 log₂ κ(A) steps of two products each (MATH: the
    iteration is v1/v2's reference [Ben-Israel 1966]).

    References
    ----------
    .. [1] A. Ben-Israel, D. Cohen, "On iterative computation of generalized inverses and associated projections",
       SIAM J. Numer. Anal. 3 (1966) 410-419, :doi:`10.1137/0703035`.

    Examples
    --------
    >>> import numpy as np
    >>> result = ben_israel_cohen(np.asarray([[2.0, 0.0], [0.0, 4.0]]))
    >>> result.status
    'converged'
    >>> print(result.value)
    [[0.5  0.  ]
     [0.   0.25]]
    """
    xp = array_namespace(A, X0)
    check_matrix(xp, A)
    check_finite(xp, A)
    X = safe_start(xp, A) if X0 is None else X0
    if tuple(X.shape[-2:]) != (A.shape[-1], A.shape[-2]):
        raise ValueError(f"X0 must have shape (..., {A.shape[-1]}, {A.shape[-2]}); got {tuple(X.shape)}.")
    check_finite(xp, X, "X0")
    tolerance = max(A.shape[-2:]) * eps(A) if rtol is None else rtol
    limit = default_iterations(A) if max_iterations is None else max_iterations
    wide = A.shape[-2] <= A.shape[-1]
    norm_A = frobenius(xp, A)
    history: list[float] = []
    status = "max_iterations"
    with quiet():
        while len(history) < limit:
            # The smaller of the two products: XAX is X(AX) or (XA)X.
            P = matmul(A, X) if wide else matmul(X, A)
            change = X - (matmul(X, P) if wide else matmul(P, X))
            relative = ratio(xp, frobenius(xp, change), frobenius(xp, X))
            history.append(float(to_numpy(xp.max(relative)) if math.prod(relative.shape) else 0.0))
            if not math.isfinite(history[-1]):
                status = "diverged"
                break
            X = X + change
            if history[-1] <= tolerance:
                # Singular values whose component is still tiny do not show in the change; they do in A − AXA.
                missing = matmul(P, A) - A if wide else matmul(A, P) - A
                if bool(to_numpy(xp.all(frobenius(xp, missing) <= math.sqrt(tolerance) * norm_A))):
                    break
        residual = penrose_residuals(A, X).test_ratio
    if bool(to_numpy(xp.all(residual <= RATIO_LIMIT))):
        status = "converged"
    elif status != "diverged" and history and history[-1] <= tolerance:
        status = "stagnated"
    return IterationResult(X, len(history), residual, status, history)
