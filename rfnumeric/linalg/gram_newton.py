"""A⁺ of a slowly changing matrix, warm-started and yet exact: Newton's iteration on the inverse of the Gram matrix."""

from __future__ import annotations

from rfnumeric.backend import array_namespace, quiet
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import matmul
from rfnumeric.linalg._common import adjoint, check_finite, frobenius, identity
from rfnumeric.linalg.iteration_result import IterationResult, summarize
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
        check_finite(xp, A)
        Ah = adjoint(xp, A)
        with quiet():
            wide = A.shape[-2] <= A.shape[-1]
            G = matmul(A, Ah) if wide else matmul(Ah, A)
            cold = safe_start(xp, G)
            Z = cold
            if self.Z is not None:
                R = identity(xp, G.shape[-1], A) - matmul(G, self.Z)
                Z = xp.where((frobenius(xp, R) < 1)[..., None, None], self.Z, cold)
            inner = Hyperpower(G, Z, 2)
            found = inner.run(max_iterations=max_iterations)
            self.Z = xp.where(xp.isfinite(inner.X), inner.X, cold)
            value = matmul(Ah, inner.X) if wide else matmul(inner.X, Ah)
        self.result = summarize(A, value, found.history, 2.0, found.measured, None)
        return self.result
