"""Kronecker products that are applied, inverted and measured without being formed."""

from __future__ import annotations

import math
from typing import Any

from rfnumeric.backend import array_namespace, device_of, eps, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import kronecker_apply, matmul
from rfnumeric.linalg._common import (
    adjoint,
    check_matrix,
    frobenius,
    is_complex,
    norm_one,
    scale,
    times_power_of_two,
)
from rfnumeric.linalg._shapes import check_leading
from rfnumeric.linalg.matrix_free import MatrixFree
from rfnumeric.linalg.pinv import pinv
from rfnumeric.typing import Array, DType


class KroneckerOperator(MatrixFree):
    """The operator A ⊗ B, shape (mp, nq) for A (m, n) and B (p, q); leading axes are a stack of operators.

    With vec stacking columns, (A ⊗ B) vec X = vec(B X Aᵀ). Applying it costs two products with the factors and memory
    in proportion to the vectors.

    Parameters
    ----------
    A : array, shape (..., m, n)
    B : array, shape (..., p, q)
        Of the library and dtype of A; leading axes broadcast.

    Raises
    ------
    ValueError
        If a factor has fewer than two axes, or leading axes do not broadcast.
    TypeError
        If the factors come from different libraries.

    Examples
    --------
    >>> import numpy as np
    >>> A, B = np.asarray([[1.0, 2.0]]), np.asarray([[3.0], [4.0]])
    >>> K = KroneckerOperator(A, B)
    >>> K.shape
    (2, 2)
    >>> bool((K @ np.asarray([1.0, 1.0]) == np.kron(A, B) @ np.asarray([1.0, 1.0])).all())
    True
    """

    @gate(A=2, B=2)
    def __init__(self, A: Array, B: Array) -> None:
        self._xp = xp = array_namespace(A, B)
        check_matrix(xp, A)
        check_matrix(xp, B, "B")
        check_leading({"A": A.shape[:-2], "B": B.shape[:-2]})
        self.A, self.B = A, B
        self._balanced: tuple[Array, Array, Array, Array] | None = None

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(mp, nq), without leading axes."""
        return self.A.shape[-2] * self.B.shape[-2], self.A.shape[-1] * self.B.shape[-1]

    @property
    def dtype(self) -> DType:
        """Dtype of the first factor."""
        return self.A.dtype

    @property
    def _like(self) -> Array:
        return self.A

    @property
    def _lead(self) -> tuple[int, ...]:
        return max((tuple(self.A.shape[:-2]), tuple(self.B.shape[:-2])), key=len)

    @gate(like="A", linear=True, other=1)
    def __matmul__(self, other: Any) -> Any:
        """Return the product with a vector, a matrix, or another operator: (A ⊗ B)(C ⊗ D) = AC ⊗ BD.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        if isinstance(other, KroneckerOperator):
            if self.A.shape[-1] != other.A.shape[-2] or self.B.shape[-1] != other.B.shape[-2]:
                raise ValueError(
                    f"factors must fit, {tuple(self.A.shape)} with {tuple(other.A.shape)} and {tuple(self.B.shape)} "
                    f"with {tuple(other.B.shape)}; apply the operators one after the other instead."
                )
            (A, B), (C, D) = (X._factors(ordinary=True) for X in (self, other))
            return KroneckerOperator(matmul(A, C), matmul(B, D))
        return super().__matmul__(other)

    @property
    def T(self) -> KroneckerOperator:
        """Transpose, Aᵀ ⊗ Bᵀ."""
        return KroneckerOperator(self._xp.matrix_transpose(self.A), self._xp.matrix_transpose(self.B))

    @property
    def H(self) -> KroneckerOperator:
        """Adjoint, Aᴴ ⊗ Bᴴ."""
        return KroneckerOperator(adjoint(self._xp, self.A), adjoint(self._xp, self.B))

    def adjoint(self) -> KroneckerOperator:
        """Return the adjoint, under the name that SciPy's operators give it."""
        return self.H

    def pinv(self, **options: Any) -> KroneckerOperator:
        """Return (A ⊗ B)⁺ = A⁺ ⊗ B⁺; `options` go to `rfnumeric.linalg.pinv`, whose cutoff holds for each factor."""
        return KroneckerOperator(pinv(self.A, **options), pinv(self.B, **options))

    def to_dense(self) -> Array:
        """Form the product, shape (..., mp, nq)."""
        A, B = self.A[..., :, None, :, None], self.B[..., None, :, None, :]
        product = A * B
        return self._xp.reshape(product, (*product.shape[:-4], *self.shape))

    def trace(self) -> Array:
        """Return the trace, tr A · tr B where the factors are square, shape (...).

        Raises
        ------
        ValueError
            If the operator is not square.
        """
        xp = self._xp
        rows, columns = self.shape
        if rows != columns:
            raise ValueError(f"the trace needs a square operator; this one has shape {self.shape}.")
        if self.A.shape[-1] == self.A.shape[-2]:
            return xp.linalg.trace(self.A, dtype=self.A.dtype) * xp.linalg.trace(self.B, dtype=self.B.dtype)
        # Entry (r, r) is A[r // p, r // q] · B[r % p, r % q].
        r = xp.arange(rows, dtype=xp.int64, device=device_of(self.A))
        total = None
        for X, i, j in (
            (self.A, r // self.B.shape[-2], r // self.B.shape[-1]),
            (self.B, r % self.B.shape[-2], r % self.B.shape[-1]),
        ):
            entries = xp.take(xp.reshape(X, (*X.shape[:-2], -1)), i * X.shape[-1] + j, axis=-1)
            total = entries if total is None else total * entries
        return xp.sum(total, axis=-1, dtype=self.A.dtype)

    def norm(self, ord: str | float = "fro") -> Array:
        """Return a norm, the product of the factors' norms, shape (...).

        Parameters
        ----------
        ord : {"fro", "nuc", 2, 1, inf}

        Raises
        ------
        ValueError
            For another `ord`: only these are multiplicative.
        """
        return self._norm(self.A, ord) * self._norm(self.B, ord)

    def _norm(self, X: Array, ord: str | float) -> Array:
        xp = self._xp
        X, exponent = scale(xp, X)
        if ord == "fro":
            norm = frobenius(xp, X)
        elif ord in (1, math.inf):
            norm = norm_one(xp, X if ord == 1 else xp.matrix_transpose(X))
        elif ord in (2, "nuc"):
            S = xp.linalg.svdvals(X)
            norm = xp.sum(S, axis=-1, dtype=S.dtype) if ord == "nuc" or not S.shape[-1] else xp.max(S, axis=-1)
        else:
            raise ValueError(f"ord must be 'fro', 'nuc', 2, 1 or inf; got {ord!r}.")
        return times_power_of_two(xp, norm, exponent)

    def _factors(self, ordinary: bool = False) -> tuple[Array, Array]:
        """Return A·2^(−k) and B·2^k of one size, so that what is between the two products is no larger than both.

        If `ordinary`, factors whose products with others of their kind stay in range are returned as they are.
        """
        xp, A, B = self._xp, self.A, self.B
        if self._balanced is None or self._balanced[0] is not A or self._balanced[1] is not B:
            of_A, of_B = scale(xp, A)[1], scale(xp, B)[1]
            half = xp.floor((of_A - of_B) / 2)[..., None, None]
            quarter = 31 if eps(A) > 1e-10 else 255
            extreme = to_numpy(xp.abs(of_A) + xp.abs(of_B)).max(initial=0) > quarter
            left, right = (
                (A, B)
                if not to_numpy(half).any()
                else (times_power_of_two(xp, A, -half), times_power_of_two(xp, B, half))
            )
            self._balanced, self._extreme = (A, B, left, right), bool(extreme)
        return (A, B) if ordinary and not self._extreme else self._balanced[2:]

    def _both(self, conjugate: bool) -> tuple[Array, Array]:
        A, B = self._factors()
        return (adjoint(self._xp, A), adjoint(self._xp, B)) if conjugate else (A, B)

    def _vector(self, x: Array, adjoint: bool) -> Array:
        A, B = self._both(adjoint)
        check_leading({"A": A.shape[:-2], "B": B.shape[:-2], "y" if adjoint else "x": x.shape[:-1]})
        return self._apply(A, B, x)

    def _columns(self, X: Array, adjoint: bool) -> Array:
        A, B = self._both(adjoint)
        check_leading({"A": A.shape[:-2], "B": B.shape[:-2], "Y" if adjoint else "X": X.shape[:-2]})
        # The columns become a leading axis behind the stack's; the factors broadcast over it.
        transposed = self._xp.matrix_transpose
        return transposed(self._apply(A[..., None, :, :], B[..., None, :, :], transposed(X)))

    def _apply(self, A: Array, B: Array, x: Array) -> Array:
        """Multiply vectors, (..., nq) → (..., mp)."""
        xp = self._xp
        # Rows of Xᵀ are the columns of X, which vec puts one after the other: vec(BXAᵀ) reshapes A Xᵀ Bᵀ.
        Y = kronecker_apply(A, B, xp.reshape(x, (*x.shape[:-1], A.shape[-1], B.shape[-1])))
        return xp.reshape(Y, (*Y.shape[:-2], A.shape[-2] * B.shape[-2]))


@gate(h=1, S=2)
def weight_reciprocal_operator(h: Array, S: Array) -> KroneckerOperator:
    """Return 𝓑_l = (h_{l−1}/‖h_{l−1}‖²) ⊗ S with S = D_l⁺B_l, the reciprocal of J_{W_l} = h_{l−1}ᵀ ⊗ (J_{h_l}D_l).

    Implements v1/v2 §4.2, corrected: 𝓑_l is the exact pseudoinverse of J_{W_l} whenever S is that of J_{h_l}D_l.
    With 𝓑 the result, ``𝓑 @ e`` is vec ΔW, columns stacked, so that ``reshape(…, (n_{l−1}, n_l))`` is ΔWᵀ.
    `rfnumeric.calculus.weight_reciprocal` is the dense array, from a network's trace.

    Parameters
    ----------
    h : array, shape (..., n_{l−1})
        The layer's input, one sample (leading axes are samples).
    S : array, shape (..., n_l, n_L)

    Returns
    -------
    KroneckerOperator
        Of shape (n_{l−1}·n_l, n_L). A sample with h = 0 gives 0, as the pseudoinverse does.

    Examples
    --------
    >>> import numpy as np
    >>> h, S = np.asarray([3.0, 4.0]), np.asarray([[2.0]])
    >>> print(weight_reciprocal_operator(h, S) @ np.asarray([1.0]))
    [0.24 0.32]
    """
    xp = array_namespace(h, S)
    check_leading({"h": h.shape[:-1], "S": S.shape[:-2]})
    row, exponent = scale(xp, h[..., None, :])
    squared = xp.sum(xp.abs(row) ** 2, axis=-1, keepdims=True)
    zero = squared == 0
    # The pseudoinverse of the row hᵀ is h̄/‖h‖².
    row = (xp.conj(row) if is_complex(xp, h) else row) / xp.where(zero, xp.ones_like(squared), squared)
    return KroneckerOperator(xp.matrix_transpose(times_power_of_two(xp, row, -exponent[..., None, None])), S)
