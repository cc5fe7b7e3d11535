"""A⁺ of a slowly changing matrix, warm-started and yet exact: Newton's iteration on the inverse of the Gram matrix."""

from __future__ import annotations

from rfnumeric.backend import array_namespace, eps, quiet
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import matmul
from rfnumeric.linalg._common import (
    adjoint,
    check_finite,
    check_matrix,
    frobenius,
    identity,
    scale,
    times_power_of_two,
    unscale,
)
from rfnumeric.linalg.iteration_result import IterationResult, measured_order, summarize
from rfnumeric.linalg.iterations import Hyperpower, safe_start
from rfnumeric.typing import Array


class GramNewton:
    """A⁺ of a matrix that changes slowly: Newton's iteration Z ← Z(2I − GZ) for Z = G⁻¹, G = AAᴴ or AᴴA, and A⁺ = AᴴZ.

    Warm-starting Ben-Israel–Cohen itself from yesterday's A⁺ ends at a {1, 2, 3}-inverse for a wide A, since the
    iterates keep the range of the start. The smaller Gram matrix is invertible and its inverse has no such freedom,
    and the multiplication by today's Aᴴ supplies today's range, so that this warm start is exact.

    Parameters
    ----------
    A : array, shape (..., m, n)
        Of full rank; κ(A)² must stay well below 1/eps.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.asarray([[3.0, 4.0]])
    >>> inverse = GramNewton(A)
    >>> result = inverse.update(A + 0.01)
    >>> result.status, result.iterations <= 6
    ('converged', True)
    """

    @gate(A=2)
    def __init__(self, A: Array) -> None:
        self.xp = array_namespace(A)
        self.Z: Array = None
        self._exponent: Array = None
        self.result = self.update(A)

    @gate(like="Z", A=2)
    def update(self, A: Array, *, max_iterations: int | None = None) -> IterationResult:
        """Move to a new A from the inverse of the last one.

        Parameters
        ----------
        A : array
            Of the shape of the last one.
        max_iterations : int, optional
            Default: enough for a condition number of 1/sqrt(eps) from a cold start.

        Returns
        -------
        IterationResult
            `value` is A⁺. A step too large for the warm start (‖I − GZ‖ ≥ 1) restarts from αG by itself.
        """
        xp = self.xp
        check_matrix(xp, A)
        check_finite(xp, A)
        with quiet():
            scaled, exponent = scale(xp, A)
            Ah = adjoint(xp, scaled)
            wide = A.shape[-2] <= A.shape[-1]
            G = matmul(scaled, Ah) if wide else matmul(Ah, scaled)
            cold = safe_start(xp, G)
            start = cold
            if self.Z is not None:
                # Z is the inverse of the last Gram matrix at the last scale.
                Z = times_power_of_two(xp, self.Z, 2 * (exponent - self._exponent)[..., None, None])
                R = identity(xp, G.shape[-1], A) - matmul(G, Z)
                start = xp.where((frobenius(xp, R) < 1)[..., None, None], Z, cold)
            inner = Hyperpower(G, start, 2)
            history, _ = inner.iterate(max_iterations=max_iterations)
            found = inner.X
            self.Z, self._exponent = xp.where(xp.isfinite(found), found, cold), exponent
            value = unscale(xp, matmul(Ah, found) if wide else matmul(found, Ah), exponent)
        measured = measured_order(history, max(1, *G.shape[-2:]) * eps(A))
        self.result = summarize(A, value, history, 2.0, measured, None)
        return self.result
