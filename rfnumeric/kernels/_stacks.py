"""SciPy's matrix product for each member of a stack, in a single call of compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 (the routines are found in it by name)
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

from rfnumeric.kernels._jit import compiled
from rfnumeric.kernels._sharing import one_thread_each

BLOCK = 16
"""Columns copied at a time: a cache line of float32."""

WORTH_SHARING = 2**17
"""Multiplications in a stack's products that take as long as handing them out, some 5 µs."""

ROUTINES = {
    np.dtype(t): get_cython_function_address("scipy.linalg.cython_blas", f"{letter}gemm")
    for letter, t in zip("sdcz", "fdFD", strict=True)
}


@intrinsic
def call_routine(typing_context, routine, arguments):
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


_TYPES = types.float32, types.float64, types.complex64, types.complex128


@compiled(*(types.void(T[:, ::1], T[:, ::1]) for T in _TYPES))
def copy_columns(columns, C):
    """Copy the columns of C, which are the rows of the first argument, in blocks of which both sides stay in cache."""
    rows, n = C.shape
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for column in range(start, stop):
            for row in range(rows):
                C[row, column] = columns[column, row]


def _signature(T: Any, *more: Any) -> Any:
    return types.void(*more, types.UniTuple(types.int64, 13), T[::1], T, T[:, :, ::1], types.boolean)


@compiled(*(_signature(T, types.int64) for T in _TYPES))
def _multiply_member(i, numbers, alpha, beta, C, by_columns):
    """Compute member i's product in BLAS's own notation; A and B are addresses, their steps bytes."""
    gemm, A, A_step, lda, trans_a, B, B_step, ldb, trans_b, m, n, k, ldc = numbers
    columns = np.empty((C.shape[2], C.shape[1]) if by_columns else (0, 0), C.dtype)
    c = np.intp(columns.ctypes.data) if by_columns else np.intp(C[i].ctypes.data)
    transposed, sizes = (np.uint8(trans_a), np.uint8(trans_b)), (np.int32(m), np.int32(n), np.int32(k))
    first, second = (A + i * A_step, np.int32(lda)), (B + i * B_step, np.int32(ldb))
    call_routine(gemm, transposed + sizes + (alpha[i],) + first + second + (beta, c, np.int32(ldc)))  # type: ignore[call-arg]
    if by_columns:
        copy_columns(columns, C[i])


@compiled(*map(_signature, _TYPES))
def _in_turn(numbers, alpha, beta, C, by_columns):
    for i in range(C.shape[0]):
        _multiply_member(i, numbers, alpha, beta, C, by_columns)


@compiled(parallel=True)  # without signatures: compiled when a population first needs it
def _side_by_side(numbers, alpha, beta, C, by_columns):
    for i in prange(C.shape[0]):
        _multiply_member(i, numbers, alpha, beta, C, by_columns)


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
    numbers = (ROUTINES[C.dtype], *_factor(first, by_columns), *_factor(second, by_columns), m, n, A.shape[-1], m)
    arguments = numbers, np.full(members, alpha, dtype=C.dtype), C.dtype.type(beta), C, by_columns
    share(members, C.size * A.shape[-1], _in_turn, _side_by_side, *arguments)


def share(members: int, work: int, in_turn: Callable, side_by_side: Callable, *arguments: Any) -> None:
    """Run one of two loops over a stack: `side_by_side` if its members are to share the threads, else `in_turn`.

    Parameters
    ----------
    members : int
    work : int
        Multiplications in all of the members' products.
    in_turn, side_by_side : callable
        Compiled loops; the latter over a ``prange``.
    *arguments
        Of either.
    """
    if work < WORTH_SHARING:
        in_turn(*arguments)
        return
    with one_thread_each(members) as shared:
        (side_by_side if shared else in_turn)(*arguments)


def _contiguous(X: np.ndarray) -> np.ndarray:
    """Return X, or a copy where BLAS cannot take its members as they are."""
    flags = X[0].flags
    return X if flags.aligned and (flags.c_contiguous or flags.f_contiguous) else np.ascontiguousarray(X)


def _factor(X: np.ndarray, by_columns: bool) -> tuple[int, int, int, int]:
    """Return the first member's address, the bytes to the next, the leading dimension, and BLAS's symbol T or N."""
    rows = X[0].flags.c_contiguous
    ld = X.shape[-1] if rows else X.shape[-2]
    return X.__array_interface__["data"][0], X.strides[0], ld, ord("T" if rows == by_columns else "N")
