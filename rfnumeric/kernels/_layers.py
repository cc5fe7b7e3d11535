"""CPU kernels of one layer: SciPy's matrix product and the loop that follows it, in a single call of compiled code.

At the papers' batch of 32 a training step is so short that the calls themselves count, and so does every pass over what
a product has just left in the cache. Single networks only: the members of a population share their calls already.
"""

from __future__ import annotations

import numpy as np

from rfnumeric.kernels._blas import few_rows, matmul
from rfnumeric.kernels._jit import both, compiled
from rfnumeric.kernels._numba import bias_leaky_relu, bias_rows, leaky_relu_loop
from rfnumeric.kernels._stacks import ROUTINES, call_routine, copy_columns
from rfnumeric.kernels.registry import implements

_TRANSPOSED, _AS_IT_IS = np.uint8(ord("T")), np.uint8(ord("N"))


@compiled(*both("void(int64, T[:,::1], T[:,::1], boolean, boolean, T[:,::1])"))
def _multiply(gemm, A, M, transposed, by_columns, C):
    """Compute C = AM, or C = AMᵀ, in BLAS's notation, for which row-major matrices are their transposes: Cᵀ = MᵀAᵀ."""
    one = C.dtype.type(1)
    zero = C.dtype.type(0)
    m, n, k = np.int32(C.shape[0]), np.int32(C.shape[1]), np.int32(A.shape[1])
    a, b = np.intp(A.ctypes.data), np.intp(M.ctypes.data)
    if by_columns:  # C as it stands, column by column; only for AMᵀ
        columns = np.empty((C.shape[1], C.shape[0]), C.dtype)
        c = np.intp(columns.ctypes.data)
        call_routine(gemm, (_TRANSPOSED, _AS_IT_IS, m, n, k, one, a, k, b, k, zero, c, m))  # type: ignore[call-arg]
        copy_columns(columns, C)
        return
    c = np.intp(C.ctypes.data)
    order, ld = (_TRANSPOSED, k) if transposed else (_AS_IT_IS, n)
    call_routine(gemm, (order, _AS_IT_IS, n, m, k, one, b, ld, a, k, zero, c, n))  # type: ignore[call-arg]


@compiled(*both("void(int64, T[:,::1], T[:,::1], T[:,::1], boolean, T[:,::1], T[:,::1], T[:,::1], T)"))
def _layer_leaky_relu(gemm, x, W, b, by_columns, a, h, d, slope):
    _multiply(gemm, x, W, True, by_columns, a)
    shape = (1, *a.shape)
    leaky_relu_loop(a.reshape(shape), b, h.reshape(shape), d.reshape(shape), slope)


@compiled(*both("void(int64, T[:,::1], T[:,::1], boolean, boolean, T[:,::1], T[:,::1])"))
def _gated_product(gemm, delta, M, transposed, by_columns, d, out):
    _multiply(gemm, delta, M, transposed, by_columns, out)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] *= d[i, j]


@implements("layer_leaky_relu", "numpy")
def layer_leaky_relu(x: np.ndarray, W: np.ndarray, b: np.ndarray | None, negative_slope: float) -> tuple:
    """See `reference.layer_leaky_relu`."""
    if not _single(x, W) or (b is not None and b.ndim > 1):
        return bias_leaky_relu(matmul(x, np.swapaxes(W, -1, -2)), b, negative_slope)
    shape, dtype = (x.shape[0], W.shape[0]), x.dtype
    a, h, d = np.empty(shape, dtype), np.empty(shape, dtype), np.empty(shape, dtype)
    _layer_leaky_relu(ROUTINES[dtype], x, W, bias_rows(b, a), few_rows(x, W.T), a, h, d, negative_slope)
    return a, h, d


@implements("gated_product", "numpy")
def gated_product(delta: np.ndarray, M: np.ndarray, d_sigma: np.ndarray) -> np.ndarray:
    """See `reference.gated_product`."""
    transposed = not M.flags.f_contiguous
    stored = M if transposed else M.T
    fits = d_sigma.shape == (len(delta), len(M)) and d_sigma.dtype == delta.dtype and d_sigma.flags.carray
    if not fits or not _single(delta, M, stored):
        product = matmul(delta, np.swapaxes(M, -1, -2))
        same = product.shape == d_sigma.shape and product.dtype == d_sigma.dtype
        return np.multiply(product, d_sigma, out=product if same else None)
    out = np.empty(d_sigma.shape, d_sigma.dtype)
    _gated_product(ROUTINES[out.dtype], delta, stored, transposed, few_rows(delta, M.T), d_sigma, out)
    return out


def _single(x: np.ndarray, M: np.ndarray, stored: np.ndarray | None = None) -> bool:
    """Tell whether BLAS can compute x Mᵀ from the arrays as they lie in memory (M as `stored`), for one network."""
    return (
        x.ndim == M.ndim == 2
        and x.shape[1] == M.shape[1]
        and x.dtype == M.dtype
        and x.size > 0 < M.size
        and x.flags.carray
        and (M if stored is None else stored).flags.carray
    )
