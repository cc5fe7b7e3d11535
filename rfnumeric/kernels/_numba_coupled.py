"""The coupled rule's steps for stacks of small pairs, with as many pairs side by side as a vector register holds.

Each vector operation does the same step of one sum for several pairs, so that no sum is reordered and a pair's result
does not depend on the pairs beside it.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from rfnumeric.kernels._blas import matmul
from rfnumeric.kernels._jit import compiled
from rfnumeric.kernels.registry import check, implements

# AVX's width. With 64 bytes the accumulators below would not fit the registers of a machine that has only AVX, and
# AVX-512 was not faster.
VECTOR_BYTES = 32
ROWS, COLUMNS = 2, 5  # of C that are accumulated in registers at once: 7 loads for 10 products
LARGEST = 1024  # entries of U; the five arrays of one group of pairs then fit the second-level cache


def _accumulate(rows: int, columns: int) -> Any:
    """Make ``f(A, B, C, i, j)``: C[i:i+rows, j:j+columns] = A[i:i+rows] B[:, j:j+columns] for each pair.

    The arrays are C-contiguous, of shape (·, ·, VECTOR_BYTES / itemsize). Written for LLVM directly, since Numba has no
    vector type and LLVM's vectorizer keeps a sum of this form in memory.
    """

    @intrinsic
    def accumulate(context, A, B, C, i, j):
        def generate(context, builder, signature, arguments):
            A, B, C = (
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args, arguments[:3], strict=False)
            )
            i, j = arguments[3:]
            inner = cgutils.unpack_tuple(builder, A.shape)[1]
            width = cgutils.unpack_tuple(builder, B.shape)[1]
            real = signature.args[0].dtype
            size = real.bitwidth // 8
            vector = ir.VectorType(context.get_data_type(real), VECTOR_BYTES // size)
            zero = ir.Constant(vector, [0.0] * vector.count)

            def address(X, row, column, columns_of_X):
                k = builder.add(builder.mul(row, columns_of_X), column)
                return builder.gep(builder.bitcast(X.data, vector.as_pointer()), [k])

            def load(*where):
                return builder.load(address(*where), align=size)

            own_rows = [builder.add(i, ir.Constant(i.type, r)) for r in range(rows)]
            own_columns = [builder.add(j, ir.Constant(j.type, c)) for c in range(columns)]
            sums = [[cgutils.alloca_once(builder, vector) for _ in own_columns] for _ in own_rows]
            for total in chain.from_iterable(sums):
                builder.store(zero, total)
            with cgutils.for_range(builder, inner) as loop:
                x = [load(A, row, loop.index, inner) for row in own_rows]
                y = [load(B, loop.index, column, width) for column in own_columns]
                for r in range(rows):
                    for c in range(columns):
                        term = builder.fmul(x[r], y[c])
                        builder.store(builder.fadd(builder.load(sums[r][c]), term), sums[r][c])
            for r in range(rows):
                for c in range(columns):
                    where = address(C, own_rows[r], own_columns[c], width)
                    builder.store(builder.load(sums[r][c]), where, align=size)
            return context.get_dummy_value()

        return types.void(A, B, C, i, j), generate

    return accumulate


_block, _column, _entry = _accumulate(ROWS, COLUMNS), _accumulate(ROWS, 1), _accumulate(1, 1)


@compiled()
def _product(A, B, C):
    """C = AB for each pair."""
    rows, columns = C.shape[:2]
    i = 0
    while i + ROWS <= rows:
        j = 0
        while j + COLUMNS <= columns:
            _block(A, B, C, i, j)
            j += COLUMNS
        while j < columns:
            _column(A, B, C, i, j)
            j += 1
        i += ROWS
    while i < rows:
        for j in range(columns):
            _entry(A, B, C, i, j)
        i += 1


@compiled()
def _add(X, step, own, rate):
    """X ← X + own X − rate step."""
    x, y = X.reshape(-1), step.reshape(-1)
    for k in range(x.size):
        x[k] += own * x[k] - rate * y[k]


@compiled()
def _coupled_steps(U, V, P, X, Y, own_U, own_V, rate_U, rate_V, steps):
    for group in range(U.shape[0]):
        u, v = U[group], V[group]
        for _ in range(steps):
            _product(u, v, P)
            if rate_U != 0:
                _product(P, u, X)
            if rate_V != 0:
                _product(v, P, Y)
                _add(v, Y, own_V, rate_V)
            if rate_U != 0:
                _add(u, X, own_U, rate_U)


@implements("coupled_steps", "numpy")
def coupled_steps(
    U: np.ndarray, V: np.ndarray, rate_U: float, rate_V: float, decay: float, as_printed: bool, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """See `reference_linalg.coupled_steps`; small pairs here, BLAS for large matrices."""
    check("coupled_steps", U, V)
    rows, columns = U.shape[-2:]
    members = math.prod(U.shape[:-2])
    # By size alone: a member of a stack gives the same bits as the pair by itself.
    if not 0 < rows * columns <= LARGEST or not members:
        with np.errstate(all="ignore"):
            return _coupled_by_blas(U, V, rate_U, rate_V, decay, as_printed, steps)
    factor = 0.0 if as_printed else 1.0 - decay
    real = U.dtype.type
    scalars = tuple(real(x) for x in (rate_U * factor, rate_V * factor, rate_U, rate_V))
    u, v = (_side_by_side(X.reshape(members, *X.shape[-2:])) for X in (U, V))
    P = np.empty((rows, rows, u.shape[-1]), dtype=U.dtype)
    _coupled_steps(u, v, P, np.empty_like(u[0]), np.empty_like(v[0]), *scalars, steps)
    return _apart(u, members).reshape(U.shape), _apart(v, members).reshape(V.shape)


def _side_by_side(X: np.ndarray) -> np.ndarray:
    """Regroup (members, a, b) as (groups, a, b, pairs of a vector); zeros fill the last vector."""
    lanes = VECTOR_BYTES // X.itemsize
    groups = -(-len(X) // lanes)
    filled = np.zeros((groups * lanes, *X.shape[1:]), dtype=X.dtype)
    filled[: len(X)] = X
    return np.ascontiguousarray(np.moveaxis(filled.reshape(groups, lanes, *X.shape[1:]), 1, -1))


def _apart(lanes: np.ndarray, members: int) -> np.ndarray:
    """Undo `_side_by_side`."""
    together = np.ascontiguousarray(np.moveaxis(lanes, -1, 1))
    return together.reshape(-1, *lanes.shape[1:-1])[:members]


def _coupled_by_blas(
    U: np.ndarray, V: np.ndarray, rate_U: float, rate_V: float, decay: float, as_printed: bool, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    factor = 0.0 if as_printed else 1.0 - decay
    U, V = np.array(U), np.array(V)
    for _ in range(steps):
        P = matmul(U, V)
        new_U = U + rate_U * (factor * U - matmul(P, U)) if rate_U else U
        V = V + rate_V * (factor * V - matmul(V, P)) if rate_V else V
        U = new_U
    return U, V
