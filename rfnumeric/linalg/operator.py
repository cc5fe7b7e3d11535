"""A⁺ as an operator: factored once, applied to many right-hand sides, never formed."""

from __future__ import annotations

import math
from typing import Any

from rfnumeric.backend import array_namespace, eps, quiet, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.backend.linear_operator import scipy_linear_operator
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
from rfnumeric.typing import Array, DType, Namespace

REFINABLE = 0.1
"""Largest ‖I − GZ‖_F with which one step of refinement still leaves the square of it below a percent."""


class PinvOperator:
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

    @gate(like="A", linear=True, B=2)
    def matmat(self, B: Array) -> Array:
        """Return A⁺B, shape (..., n, k) from (..., m, k).

        Raises
        ------
        ValueError
            If B does not fit.
        """
        xp = self._xp
        self._check(B, self.shape[1], "B")
        if not math.prod(self.A.shape):
            return matmul(xp.matrix_transpose(self.A), B)
        B, exponents = _scale_columns(xp, B)
        if self.method == "svd":
            X = matmul(self._VS, matmul(self._Uh, B))
        else:
            X = self._solve(B)
            X = X + self._solve(B - matmul(self._scaled, X))
        return times_power_of_two(xp, X, exponents - self._exponent[..., None, None])

    @gate(like="A", linear=True, C=2)
    def rmatmat(self, C: Array) -> Array:
        """Return (A⁺)ᴴC, shape (..., m, k) from (..., n, k)."""
        xp = self._xp
        self._check(C, self.shape[0], "C")
        if not math.prod(self.A.shape):
            return matmul(self.A, C)
        C, exponents = _scale_columns(xp, C)
        if self.method == "svd":
            Y = matmul(adjoint(xp, self._Uh), matmul(adjoint(xp, self._VS), C))
        else:
            Y = self._solve_adjoint(C)
            Y = Y + self._solve_adjoint(C - matmul(self._Ah, Y))
        return times_power_of_two(xp, Y, exponents - self._exponent[..., None, None])

    @gate(like="A", linear=True, b=1)
    def matvec(self, b: Array) -> Array:
        """Return A⁺b, shape (..., n) from (..., m) (or (n, 1) from (m, 1)): least squares, least norm."""
        return self._vector(self.matmat, b, self.shape[1])

    @gate(like="A", linear=True, c=1)
    def rmatvec(self, c: Array) -> Array:
        """Return (A⁺)ᴴc, shape (..., m) from (..., n)."""
        return self._vector(self.rmatmat, c, self.shape[0])

    @gate(like="A", linear=True, other=1)
    def __matmul__(self, other: Array) -> Array:
        """Return A⁺ times a vector or a matrix."""
        return self.matvec(other) if other.ndim == 1 else self.matmat(other)

    def to_dense(self) -> Array:
        """Form A⁺."""
        return self.matmat(identity(self._xp, self.shape[1], self.A))

    def as_linear_operator(self) -> Any:
        """Return a `scipy.sparse.linalg.LinearOperator` that applies A⁺ to NumPy vectors.

        Raises
        ------
        ValueError
            If A has leading axes.
        """
        if self.A.ndim > 2:
            raise ValueError("SciPy's operators have no leading axes; convert the members of a stack one by one.")
        return scipy_linear_operator(self)

    def _solve(self, B: Array) -> Array:
        if self.A.shape[-2] <= self.A.shape[-1]:
            return matmul(self._Ah, matmul(self._Z, B))
        return matmul(self._Z, matmul(self._Ah, B))

    def _solve_adjoint(self, C: Array) -> Array:
        if self.A.shape[-2] <= self.A.shape[-1]:
            return matmul(self._Z, matmul(self._scaled, C))
        return matmul(self._scaled, matmul(self._Z, C))

    def _vector(self, apply: Any, b: Array, size: int) -> Array:
        if b.ndim == 2 and tuple(b.shape) == (size, 1):
            return apply(b)
        return apply(b[..., None])[..., 0]

    def _check(self, B: Array, size: int, name: str) -> None:
        if B.ndim < 2 or B.shape[-2] != size:
            raise ValueError(
                f"{name} must have shape (..., {size}, k) for A {tuple(self.A.shape)}; got {tuple(B.shape)}."
            )
        check_leading({"A": self.A.shape[:-2], name: B.shape[:-2]})


def _scale_columns(xp: Namespace, B: Array) -> tuple[Array, Array]:
    """Return each column of B times a power of two, with entries of size 1, and the exponents, shape (..., 1, k)."""
    rows, exponents = scale(xp, xp.matrix_transpose(B)[..., :, None, :])
    return xp.matrix_transpose(rows[..., :, 0, :]), exponents[..., None, :]
