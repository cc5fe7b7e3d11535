"""Least squares by conjugate gradients, for matrices that are known by their products alone."""

from __future__ import annotations

import math
from collections.abc import Callable

from rfnumeric.backend import array_namespace, eps, quiet
from rfnumeric.typing import Array

CGLS_LIMIT = 1000
"""Most iterations of `cgls` by default, however large the matrix."""

CHECK_EVERY = 8
"""Iterations between two questions whether all rows have converged: each waits for the device."""


def cgls(
    push: Callable[[Array], Array],
    pull: Callable[[Array], Array],
    v: Array,
    damping: float | Array = 0.0,
    *,
    smaller_side: int,
    limit: int | None = None,
) -> Array:
    """Return M⁺v of each row by conjugate gradients on MᵀMx = Mᵀv from x = 0 (CGLS), or (MᵀM + λI)⁻¹Mᵀv.

    Every iterate lies in the range of Mᵀ, so that the limit is the least-squares solution of smallest norm, whatever
    the rank and whichever side of M is the longer. Each row has steps of its own, and rests when it has converged:
    when ‖Mᵀr − λx‖ ≤ eps·(‖Mᵀv‖ + ‖M‖‖r‖) with r = v − Mx, which is what rounding leaves of it. The relative error of
    x is then of order eps·κ². In exact arithmetic as many iterations are enough as M has distinct singular values; in
    floating point about κ·log(1/eps).

    Parameters
    ----------
    push, pull : callable
        From rows x, shape (..., rows, n), to Mx, shape (..., rows, m), and the transpose's. M must be scaled to
        singular values of mean square 1.
    v : array, shape (..., rows, m)
    damping : float or array that broadcasts with (..., rows, 1)
        λ ≥ 0, in units of the mean squared singular value.
    smaller_side : int
        min(m, n).
    limit : int, optional
        Most iterations. Default: 4·min(m, n) + 20, at most `CGLS_LIMIT`. What has not converged then is returned as it
        is: regularized, in that directions of small singular values are still missing.

    Returns
    -------
    array, shape (..., rows, n)
        NaN in a row that is not finite.

    References
    ----------
    M. R. Hestenes and E. Stiefel, Journal of Research of the NBS 49 (1952) 409, doi:10.6028/jres.049.044.
    Å. Björck, T. Elfving and Z. Strakoš, SIAM J. Matrix Anal. Appl. 19 (1998) 720, doi:10.1137/S089547989631202X.

    Examples
    --------
    >>> import numpy as np
    >>> M = np.asarray([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> print(cgls(lambda x: x @ M.T, lambda y: y @ M, np.asarray([[2.0, 3.0]]), smaller_side=2))
    [[1. 3. 1.]]
    """
    xp = array_namespace(v)
    limit = min(4 * smaller_side + 20, CGLS_LIMIT) if limit is None else limit
    unit = eps(v)
    with quiet():
        # Rows of size 1: their squares neither overflow nor vanish.
        size = xp.max(xp.abs(v), axis=-1, keepdims=True) if v.shape[-1] else xp.sum(v, axis=-1, keepdims=True)
        size = xp.where(size == 0, xp.ones_like(size), size)
        r = v / size
        s = pull(r)
        x, p = xp.zeros_like(s), s
        start = gamma = _square(xp, s)
        active = gamma > 0
        for iteration in range(limit):
            if iteration % CHECK_EVERY == 0 and not bool(xp.any(active)):
                break
            q = push(p)
            alpha = _quotient(xp, gamma, _square(xp, q) + damping * _square(xp, p), active)
            x, r = x + alpha * p, r - alpha * q
            s = pull(r) - damping * x
            before, gamma = gamma, _square(xp, s)
            # ‖M‖ ≤ ‖M‖_F, the root of min(m, n) in these units.
            left = unit * (xp.sqrt(start) + math.sqrt(smaller_side) * xp.sqrt(_square(xp, r)))
            active = active & (xp.sqrt(gamma) > left)
            p = s + _quotient(xp, gamma, before, active) * p
        x = x * size
        # A comparison with NaN is false, so that such a row has rested from the start.
        finite = xp.all(xp.isfinite(v), axis=-1, keepdims=True) & xp.isfinite(start)
        return xp.where(finite, x, xp.full_like(x, math.nan))


def _square(xp: object, x: Array) -> Array:
    return xp.sum(x * x, axis=-1, keepdims=True, dtype=x.dtype)  # type: ignore[attr-defined]


def _quotient(xp: object, a: Array, b: Array, active: Array) -> Array:
    """Return a/b where it is asked for, else 0."""
    use = active & (b > 0)
    return xp.where(use, a / xp.where(use, b, xp.ones_like(b)), xp.zeros_like(a))  # type: ignore[attr-defined]
