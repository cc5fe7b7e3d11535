"""CPU kernels of one layer: SciPy's matrix product and the loop that follows it, in a single call of compiled code.

At the papers' batch of 32 a training step is so short that the calls themselves count, and so does every pass over what
a product has just left in the cache. The members of a population share a call, and the threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from rfnumeric.kernels._blas import INDEXED, few_rows, matmul, members
from rfnumeric.kernels._jit import both, compiled
from rfnumeric.kernels._numba import bias_leaky_relu, bias_rows, leaky_relu_loop
from rfnumeric.kernels._stacks import ROUTINES, call_routine, copy_columns, share
from rfnumeric.kernels.registry import check, implements

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


@compiled(*both("void(int64, int64, T[:,:,::1], T[:,:,::1], T[:,::1], boolean, T[:,:,::1], T[:,:,::1], T[:,:,::1], T)"))
def _layer_of_member(i, gemm, x, W, b, by_columns, a, h, d, slope):
    x_i = x[i if len(x) > 1 else 0]  # one for all members, or one for each
    _layer_leaky_relu(gemm, x_i, W[i], b[i : i + 1], by_columns, a[i], h[i], d[i], slope)


@compiled(*both("void(int64, T[:,:,::1], T[:,:,::1], T[:,::1], boolean, T[:,:,::1], T[:,:,::1], T[:,:,::1], T)"))
def _layers_in_turn(gemm, x, W, b, by_columns, a, h, d, slope):
    for i in range(len(a)):
        _layer_of_member(i, gemm, x, W, b, by_columns, a, h, d, slope)


@compiled(parallel=True)  # without signatures: compiled when a population first needs it
def _layers_side_by_side(gemm, x, W, b, by_columns, a, h, d, slope):
    for i in prange(len(a)):
        _layer_of_member(i, gemm, x, W, b, by_columns, a, h, d, slope)


@compiled(*both("void(int64, int64, T[:,:,::1], T[:,:,::1], boolean, boolean, T[:,:,::1], T[:,:,::1])"))
def _gated_of_member(i, gemm, delta, M, transposed, by_columns, d, out):
    _gated_product(gemm, delta[i if len(delta) > 1 else 0], M[i], transposed, by_columns, d[i], out[i])


@compiled(*both("void(int64, T[:,:,::1], T[:,:,::1], boolean, boolean, T[:,:,::1], T[:,:,::1])"))
def _gated_in_turn(gemm, delta, M, transposed, by_columns, d, out):
    for i in range(len(out)):
        _gated_of_member(i, gemm, delta, M, transposed, by_columns, d, out)


@compiled(parallel=True)
def _gated_side_by_side(gemm, delta, M, transposed, by_columns, d, out):
    for i in prange(len(out)):
        _gated_of_member(i, gemm, delta, M, transposed, by_columns, d, out)


@implements("layer_leaky_relu", "numpy")
def layer_leaky_relu(x: np.ndarray, W: np.ndarray, b: np.ndarray | None, negative_slope: float) -> tuple:
    """See `reference.layer_leaky_relu`."""
    if not _fit(x, W, W) or (
        b is not None and (b.shape[-1:] != W.shape[-2:-1] or b.shape[:-1] not in ((), W.shape[:-2]))
    ):
        check("layer_leaky_relu", x, W, b)
        return bias_leaky_relu(matmul(x, W.mT), b, negative_slope)
    shape, dtype = (*W.shape[:-2], x.shape[-2], W.shape[-2]), x.dtype
    a, h, d = np.empty(shape, dtype), np.empty(shape, dtype), np.empty(shape, dtype)
    gemm, bias = ROUTINES[dtype], bias_rows(b, a)
    if W.ndim == 2:
        _layer_leaky_relu(gemm, x, W, bias, few_rows(x, W.T), a, h, d, negative_slope)
        return a, h, d
    x, W, *out = (members(X) for X in (x if x.ndim > 2 else x[None], W, a, h, d))
    arguments = gemm, x, W, bias, few_rows(x[0], W[0].T), *out, dtype.type(negative_slope)
    share(len(W), a.size * x.shape[-1], _layers_in_turn, _layers_side_by_side, *arguments)
    return a, h, d


@implements("gated_product", "numpy")
def gated_product(delta: np.ndarray, M: np.ndarray, d_sigma: np.ndarray) -> np.ndarray:
    """See `reference.gated_product`."""
    if M.ndim < 2:
        check("gated_product", delta, M, d_sigma)
    stored = M.mT
    if transposed := not stored.flags.c_contiguous:
        stored = M
    if not _fit(delta, M, stored) or not _gates(d_sigma, delta, M):
        check("gated_product", delta, M, d_sigma)
        product = matmul(delta, M.mT)
        same = product.shape == d_sigma.shape and product.dtype == d_sigma.dtype
        return np.multiply(product, d_sigma, out=product if same else None)
    out = np.empty(d_sigma.shape, d_sigma.dtype)
    gemm = ROUTINES[out.dtype]
    if M.ndim == 2:
        _gated_product(gemm, delta, stored, transposed, few_rows(delta, M.T), d_sigma, out)
        return out
    x, stored, d, result = (members(X) for X in (delta if delta.ndim > 2 else delta[None], stored, d_sigma, out))
    by_columns = few_rows(x[0], stored[0].T if transposed else stored[0])
    arguments = gemm, x, stored, transposed, by_columns, d, result
    share(len(stored), out.size * x.shape[-1], _gated_in_turn, _gated_side_by_side, *arguments)
    return out


def _fit(x: np.ndarray, M: np.ndarray, stored: np.ndarray) -> bool:
    """Tell whether the compiled calls compute x Mᵀ from the arrays as they lie in memory (M as `stored`)."""
    return (
        x.ndim > 1 < M.ndim
        and x.shape[-1] == M.shape[-1]
        and 0 < x.size <= INDEXED
        and 0 < M.size <= INDEXED
        and x.flags.carray
        and stored.flags.carray
        and (x.ndim == 2 <= M.ndim or x.shape[:-2] == M.shape[:-2])
    )


def _gates(d_sigma: np.ndarray, delta: np.ndarray, M: np.ndarray) -> bool:
    """Tell whether the factor on δMᵀ has its shape and dtype, and lies in memory as the loop takes it."""
    shape = (delta.shape[0], M.shape[0]) if M.ndim == 2 else (*M.shape[:-2], delta.shape[-2], M.shape[-2])
    return d_sigma.shape == shape and d_sigma.flags.carray
