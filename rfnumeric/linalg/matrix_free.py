"""The base of operators: matrices known by their products with vectors, for SciPy's solvers and for `@`."""

from __future__ import annotations

from typing import Any

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.backend.gate import gate
from rfnumeric.backend.linear_operator import scipy_linear_operator
from rfnumeric.typing import Array


class MatrixFree:
    """A matrix, or a stack of matrices, known by its products and those of its adjoint.

    A subclass gives `shape` and `dtype`, the products with columns (`_columns`) or with vectors (`_vector`), each of
    which follows from the other, and an array of its library (`_like`). `scipy.sparse.linalg.aslinearoperator` accepts
    an operator without leading axes as it is.

    Attributes
    ----------
    shape : tuple of int
        (rows, columns), without leading axes.
    dtype : dtype
    """

    shape: tuple[int, int]
    dtype: Any

    @property
    def _like(self) -> Array:
        """An array of the operator's library, dtype and device."""
        raise NotImplementedError

    @property
    def _lead(self) -> tuple[int, ...]:
        """Leading axes; () for one matrix."""
        return ()

    def _columns(self, X: Array, adjoint: bool) -> Array:
        """Multiply columns, (..., n, k) → (..., m, k), or by the adjoint, (..., m, k) → (..., n, k)."""
        xp = array_namespace(X)
        return xp.stack([self._vector(X[..., j], adjoint) for j in range(X.shape[-1])], axis=-1)

    def _vector(self, x: Array, adjoint: bool) -> Array:
        """Multiply a vector, (..., n) → (..., m), or by the adjoint, (..., m) → (..., n)."""
        return self._columns(x[..., None], adjoint)[..., 0]

    @gate(like="_like", linear=True, x=1)
    def matvec(self, x: Array) -> Array:
        """Return the product with a vector.

        Parameters
        ----------
        x : array, shape (..., columns) or (columns, 1)

        Returns
        -------
        array, shape (..., rows) or (rows, 1)

        Raises
        ------
        ValueError
            If x has another length.
        """
        return self._product(x, False, "x")

    @gate(like="_like", linear=True, y=1)
    def rmatvec(self, y: Array) -> Array:
        """Return the adjoint's product with a vector, (..., rows) → (..., columns), or (rows, 1) → (columns, 1)."""
        return self._product(y, True, "y")

    @gate(like="_like", linear=True, X=2)
    def matmat(self, X: Array) -> Array:
        """Return the product with a matrix, (..., columns, k) → (..., rows, k).

        Raises
        ------
        ValueError
            If X does not fit.
        """
        return self._products(X, False, "X")

    @gate(like="_like", linear=True, Y=2)
    def rmatmat(self, Y: Array) -> Array:
        """Return the adjoint's product with a matrix, (..., rows, k) → (..., columns, k)."""
        return self._products(Y, True, "Y")

    @gate(like="_like", linear=True, other=1)
    def __matmul__(self, other: Any) -> Any:
        """Return the product with a vector or a matrix."""
        return self.matvec(other) if other.ndim == 1 else self.matmat(other)

    def to_dense(self) -> Array:
        """Form the matrix, shape (..., rows, columns); for small ones."""
        like = self._like
        eye = array_namespace(like).eye(self.shape[1], dtype=like.dtype, device=device_of(like))
        return self.matmat(eye)

    def as_linear_operator(self) -> Any:
        """Return a `scipy.sparse.linalg.LinearOperator` that multiplies NumPy vectors.

        Raises
        ------
        ValueError
            If the operator has leading axes.
        """
        if self._lead:
            raise ValueError("SciPy's operators have no leading axes; convert the members of a stack one by one.")
        return scipy_linear_operator(self)

    def _product(self, x: Array, adjoint: bool, name: str) -> Array:
        length = self.shape[0 if adjoint else 1]
        column = tuple(x.shape) == (length, 1)
        if not column and (x.ndim < 1 or x.shape[-1] != length):
            raise ValueError(
                f"{name} must have shape (..., {length}) or ({length}, 1) for {self._described(adjoint)}; got "
                f"{tuple(x.shape)}."
            )
        y = self._vector(x[:, 0] if column else x, adjoint)
        return y[..., None] if column else y

    def _products(self, X: Array, adjoint: bool, name: str) -> Array:
        length = self.shape[0 if adjoint else 1]
        if X.ndim < 2 or X.shape[-2] != length:
            raise ValueError(
                f"{name} must have shape (..., {length}, k) for {self._described(adjoint)}; got {tuple(X.shape)}."
            )
        return self._columns(X, adjoint)

    def _described(self, adjoint: bool) -> str:
        return f"{'the adjoint of ' if adjoint else ''}an operator of shape {self.shape}"
