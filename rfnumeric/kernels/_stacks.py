"""SciPy's matrix product, called from compiled code: one product, or one for each member of a stack in a single call.

The members follow one another, and BLAS uses its threads inside each. A thread for each member was tried, and was
slower: to wake one takes 60 µs, a member's product no longer than that, while BLAS's own threads stay awake in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 (the routines are found in it by name)
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

from rfnumeric.kernels._jit import compiled

BLOCK = 16
"""Columns copied at a time: a cache line of float32."""

_ROUTINES = {
    np.dtype(t): get_cython_function_address("scipy.linalg.cython_blas", f"{letter}gemm")
    for letter, t in zip("sdcz", "fdFD", strict=True)
}


@intrinsic
def _call(typing_context, routine, arguments):
    """Call a Fortran subroutine by its address: numbers by reference, arrays by their addresses (of type intp)."""

    def generate(context, builder, signature, values):
        address = context.get_value_type(types.intp)
        passed = [
            v if kind == types.intp else builder.ptrtoint(cgutils.alloca_once_value(builder, v), address)
            for kind, v in zip(arguments.types, cgutils.unpack_tuple(builder, values[1]), strict=True)
        ]
        kind = ir.FunctionType(ir.VoidType(), [address] * len(passed))
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), passed)
        return context.get_dummy_value()

    return types.void(routine, arguments), generate


def _signature(T: Any) -> Any:
    return types.void(*[types.int64] * 13, T[::1], T, T[:, :, ::1], types.boolean)


@compiled()
def _transpose(columns, C):
    """Copy a column-major matrix, in blocks of which both sides stay in the cache."""
    rows, n = C.shape
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for column in range(start, stop):
            for row in range(rows):
                C[row, column] = columns[column, row]


@compiled(*map(_signature, (types.float32, types.float64, types.complex64, types.complex128)))
def _multiply(gemm, A, A_step, lda, trans_a, B, B_step, ldb, trans_b, m, n, k, ldc, alpha, beta, C, by_columns):
    """Compute the members' products in BLAS's own notation; A and B are addresses, their steps bytes."""
    columns = np.empty((C.shape[2], C.shape[1]) if by_columns else (0, 0), C.dtype)
    transposed, sizes = (np.uint8(trans_a), np.uint8(trans_b)), (np.int32(m), np.int32(n), np.int32(k))
    for i in range(C.shape[0]):
        c = np.intp(columns.ctypes.data) if by_columns else np.intp(C[i].ctypes.data)
        first, second = (A + i * A_step, np.int32(lda)), (B + i * B_step, np.int32(ldb))
        _call(gemm, transposed + sizes + (alpha[i],) + first + second + (beta, c, np.int32(ldc)))  # type: ignore[call-arg]
        if by_columns:
            _transpose(columns, C[i])


@compiled(
    *(
        types.void(
            types.int64, T[:, ::1], types.boolean, T[:, ::1], types.boolean, T[:, ::1], types.float64, types.float64
        )
        for T in (types.float32, types.float64, types.complex64, types.complex128)
    )
)
def _product(gemm, A, transpose_A, B, transpose_B, C, alpha, beta):
    """Compute C ← α op(A) op(B) + βC for the column-major matrices that BLAS sees in the arrays' memory."""
    symbols = np.uint8(84 if transpose_A else 78), np.uint8(84 if transpose_B else 78)  # T, N
    k = np.int32(A.shape[1] if transpose_A else A.shape[0])
    sizes = np.int32(C.shape[1]), np.int32(C.shape[0]), k
    a, b = np.intp(A.ctypes.data), np.intp(B.ctypes.data)
    first, second = (a, np.int32(A.shape[1])), (b, np.int32(B.shape[1]))
    kind, third = C.dtype.type, (np.intp(C.ctypes.data), sizes[0])
    _call(gemm, symbols + sizes + (kind(alpha),) + first + second + (kind(beta),) + third)  # type: ignore[call-arg]


@compiled(
    *(
        types.void(types.int64, T[:, ::1], types.boolean, T[:, ::1], types.boolean, T[:, ::1])
        for T in (types.float32, types.float64, types.complex64, types.complex128)
    )
)
def _product_by_columns(gemm, A, transpose_A, B, transpose_B, C):
    columns = np.empty((C.shape[1], C.shape[0]), C.dtype)
    _product(gemm, A, transpose_A, B, transpose_B, columns, 1.0, 0.0)
    _transpose(columns, C)


def product(A: np.ndarray, B: np.ndarray, C: np.ndarray, alpha: float, beta: float) -> None:
    """Compute C ← αAB + βC for matrices; C is C-contiguous and writable, and no size is 0."""
    # BLAS sees row-major matrices as their transposes: Cᵀ = BᵀAᵀ.
    (b, transpose_b), (a, transpose_a) = _row_major(B), _row_major(A)
    _product(_ROUTINES[C.dtype], b, transpose_b, a, transpose_a, C, alpha, beta)


def product_by_columns(A: np.ndarray, B: np.ndarray, C: np.ndarray) -> None:
    """Compute C ← AB as a column-major matrix, and copy it; otherwise as `product`."""
    (a, transpose_a), (b, transpose_b) = _row_major(A), _row_major(B)
    _product_by_columns(_ROUTINES[C.dtype], a, not transpose_a, b, not transpose_b, C)


def _row_major(X: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return a row-major array that holds X or its transpose, and whether it is the transpose."""
    if X.flags.carray:  # writable too, as the compiled loop's signature asks
        return X, False
    if X.T.flags.carray:
        return X.T, True
    return np.array(X, order="C"), False


def multiply(A: np.ndarray, B: np.ndarray, C: np.ndarray, alpha: Any, beta: float, by_columns: bool = False) -> None:
    """Compute C ← αAB + βC for each member of a stack.

    Parameters
    ----------
    A, B : array, shape (K, m, k) and (K, k, n)
        Of C's dtype; not empty. Transposed views are taken as they are.
    C : array, shape (K, m, n)
        C-contiguous and writable.
    alpha : number or array of shape (K,)
    beta : number
    by_columns : bool
        Whether to compute the product as a column-major matrix and copy it (then `beta` must be 0).
    """
    A, B = _contiguous(A), _contiguous(B)
    members, *shape = C.shape
    # BLAS sees row-major matrices as their transposes: Cᵀ = BᵀAᵀ. A column-major C is computed as it stands.
    first, second, (m, n) = (A, B, shape) if by_columns else (B, A, shape[::-1])
    sizes = (m, n, A.shape[-1], m)
    factors = (np.full(members, alpha, dtype=C.dtype), C.dtype.type(beta))
    arguments = (*_factor(first, by_columns), *_factor(second, by_columns), *sizes, *factors, C, by_columns)
    _multiply(_ROUTINES[C.dtype], *arguments)


def _contiguous(X: np.ndarray) -> np.ndarray:
    """Return X, or a copy where BLAS cannot take its members as they are."""
    flags = X[0].flags
    return X if flags.aligned and (flags.c_contiguous or flags.f_contiguous) else np.ascontiguousarray(X)


def _factor(X: np.ndarray, by_columns: bool) -> tuple[int, int, int, int]:
    """Return the first member's address, the bytes to the next, the leading dimension, and BLAS's symbol T or N."""
    rows = X[0].flags.c_contiguous
    ld = X.shape[-1] if rows else X.shape[-2]
    return X.__array_interface__["data"][0], X.strides[0], ld, ord("T" if rows == by_columns else "N")
