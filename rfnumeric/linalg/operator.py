"""A⁺ as an operator: factored once, applied to many right-hand sides, never formed."""

from __future__ import annotations

import math

from rfnumeric.backend import array_namespace, eps, quiet, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import gram_inverse, matmul
from rfnumeric.linalg._common import (
    adjoint,
    check_finite,
    check_matrix,
    default_rtol,
    frobenius,
    identity,
    scale,
    times_power_of_two,
)
from rfnumeric.linalg._shapes import check_leading
from rfnumeric.linalg.matrix_free import MatrixFree
from rfnumeric.typing import Array, DType, Namespace

REFINABLE = 0.1
"""Largest ‖I − GZ‖_F with which one step of refinement still leaves the square of it below a percent."""


class PinvOperator(MatrixFree):
    """The pseudoinverse A⁺ of one matrix or of a stack, applied without being formed.

    A well-conditioned A of full rank is kept with the inverse Z of its smaller Gram matrix and applied as AᴴZb with one
    step of iterative refinement, x + AᴴZ(b − Ax), which is a Ben-Israel–Cohen step on the vector; any other A is kept
    as its singular value decomposition.

    Parameters
    ----------
    A : array, shape (..., m, n)
    method : {"auto", "cholesky", "svd"}
    rtol : float, optional
        Singular values up to rtol·σ₁ count as zero. Default: max(m, n)·eps.

    Attributes
    ----------
    method : str
        ``"cholesky"`` or ``"svd"``: what is kept.
    shape : tuple of int
        (n, m), that of A⁺ without leading axes.

    Raises
    ------
    ValueError
        If A is not finite, or if ``"cholesky"`` is asked for and not safe.

    Examples
    --------
    >>> import numpy as np
    >>> operator = PinvOperator(np.asarray([[3.0, 4.0]]))
    >>> operator.shape, operator.method
    ((2, 1), 'cholesky')
    >>> print(operator @ np.asarray([1.0]))
    [0.12 0.16]
    """

    @gate(A=2)
    def __init__(self, A: Array, *, method: str = "auto", rtol: float | None = None) -> None:
        self._xp = xp = array_namespace(A)
        check_matrix(xp, A)
        check_finite(xp, A)
        if method not in ("auto", "cholesky", "svd"):
            raise ValueError(f"method must be 'auto', 'cholesky' or 'svd'; got {method!r}.")
        self.A = A
        self.shape = (A.shape[-1], A.shape[-2])
        self.rtol = default_rtol(A) if rtol is None else rtol
        self.method = "svd"
        # Factors of A·2^(−e), applied to columns of size 1: no square and no product can overflow.
        self._scaled, self._exponent = scale(xp, A) if math.prod(A.shape) else (A, A)
        self._Ah = adjoint(xp, self._scaled)
        if method != "svd" and math.prod(A.shape) and self._keep_gram_inverse():
            self.method = "cholesky"
        elif method == "cholesky":
            raise ValueError(
                "method 'cholesky' is not safe for this A: it is ill-conditioned or not of full rank; use 'auto'."
            )
        elif math.prod(A.shape):
            self._keep_svd()

    def _keep_gram_inverse(self) -> bool:
        xp, A, Ah = self._xp, self._scaled, self._Ah
        wide = A.shape[-2] <= A.shape[-1]
        with quiet():
            G = matmul(A, Ah) if wide else matmul(Ah, A)
            Z = gram_inverse(A, 0.0)
            defect = frobenius(xp, identity(xp, G.shape[-1], A) - matmul(G, Z))
            kappa = xp.sqrt(frobenius(xp, G) * frobenius(xp, Z))
            # The forward error of the semi-normal equations, κ²·eps, must be small before refinement can repair it.
            limit = max(A.shape[-2:]) * eps(A) * kappa * kappa
            safe = (defect < REFINABLE) & (limit < REFINABLE) & (kappa * self.rtol < 1)
        self._Z = Z
        return bool(to_numpy(xp.all(safe)))

    def _keep_svd(self) -> None:
        xp = self._xp
        U, S, Vh = xp.linalg.svd(self._scaled, full_matrices=False)
        keep = (S > self.rtol * S[..., :1]) & (S > 0)
        inverse = xp.where(keep, 1 / xp.where(keep, S, xp.ones_like(S)), xp.zeros_like(S))
        # Diagonal factors go with V, so that applying A⁺ is two products.
        self._VS = adjoint(xp, Vh) * xp.astype(inverse, self.A.dtype)[..., None, :]
        self._Uh = adjoint(xp, U)

    @property
    def dtype(self) -> DType:
        """Dtype of A."""
        return self.A.dtype

    @property
    def _like(self) -> Array:
        return self.A

    @property
    def _lead(self) -> tuple[int, ...]:
        return tuple(self.A.shape[:-2])

    def _columns(self, X: Array, adjoint: bool) -> Array:
        """Return A⁺B, (..., m, k) → (..., n, k): least squares, least norm; or (A⁺)ᴴC, (..., n, k) → (..., m, k)."""
        xp = self._xp
        check_leading({"A": self.A.shape[:-2], "Y" if adjoint else "X": X.shape[:-2]})
        if not math.prod(self.A.shape):
            return matmul(self.A if adjoint else xp.matrix_transpose(self.A), X)
        B, exponents = _scale_columns(xp, X)
        if self.method == "svd":
            found = self._by_svd(B, adjoint)
        else:
            solve, A = (self._solve_adjoint, self._Ah) if adjoint else (self._solve, self._scaled)
            found = solve(B)
            found = found + solve(B - matmul(A, found))
        return times_power_of_two(xp, found, exponents - self._exponent[..., None, None])

    def _by_svd(self, B: Array, conjugate: bool) -> Array:
        if conjugate:
            return matmul(adjoint(self._xp, self._Uh), matmul(adjoint(self._xp, self._VS), B))
        return matmul(self._VS, matmul(self._Uh, B))

    def _solve(self, B: Array) -> Array:
        if self.A.shape[-2] <= self.A.shape[-1]:
            return matmul(self._Ah, matmul(self._Z, B))
        return matmul(self._Z, matmul(self._Ah, B))

    def _solve_adjoint(self, C: Array) -> Array:
        if self.A.shape[-2] <= self.A.shape[-1]:
            return matmul(self._Z, matmul(self._scaled, C))
        return matmul(self._scaled, matmul(self._Z, C))


def _scale_columns(xp: Namespace, B: Array) -> tuple[Array, Array]:
    """Return each column of B times a power of two, with entries of size 1, and the exponents, shape (..., 1, k)."""
    rows, exponents = scale(xp, xp.matrix_transpose(B)[..., :, None, :])
    return xp.matrix_transpose(rows[..., :, 0, :]), exponents[..., None, :]
