"""What the CPU's kernels on images share: patches gathered and put back, products by BLAS, and checks of arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rfnumeric.kernels._jit import compiled
from rfnumeric.kernels._stacks import call_routine
from rfnumeric.kernels.window import Window

REAL = types.float32, types.float64
GEOMETRY = types.UniTuple(types.int64, 11)

PLAIN, TURNED = np.uint8(ord("N")), np.uint8(ord("T"))


def geometry(window: Window) -> tuple[int, ...]:
    """Return a window's numbers with those of its positions, for compiled loops."""
    return (*window, window.out_height, window.out_width)


@intrinsic
def copy_bytes(typing_context, to, source, count):
    """Copy bytes from one address to another, by the C library: loops over short slices cost several times as much."""

    def generate(context, builder, signature, values):
        pointer = context.get_value_type(types.voidptr)
        to, source = (builder.inttoptr(v, pointer) for v in values[:2])
        cgutils.raw_memcpy(builder, to, source, values[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


def _inside(T: Any) -> Any:
    return types.void(T[::1], GEOMETRY, T[:, ::1])


@compiled(types.UniTuple(types.int64, 2)(types.int64, types.int64, types.int64, types.int64, types.int64))
def inside(j, stride, padding, size, windows):
    """Return the first window whose entry j lies on the image, and one past the last."""
    first = max(0, (padding - j + stride - 1) // stride)
    last = min(windows, (size - 1 + padding - j) // stride + 1)
    return first, max(first, last)


@compiled(*map(_inside, REAL))
def gather(x, g, patches):
    """Fill the patches (k, P) of one image; see `reference_convolution.image_patches`."""
    C, H, W, kh, kw, sh, sw, ph, pw, Ho, Wo = g
    row, size = 0, patches.itemsize
    for c in range(C):
        for i in range(kh):
            for j in range(kw):
                first, last = inside(j, sw, pw, W, Wo)
                line = patches[row]
                row += 1
                if ph > 0 or pw > 0:
                    line[:] = 0
                for oy in range(Ho):
                    y = oy * sh - ph + i
                    if y < 0 or y >= H or first == last:
                        continue
                    start, at = (c * H + y) * W - pw + j + first * sw, oy * Wo + first
                    if sw == 1:
                        to, source = line.ctypes.data + at * size, x.ctypes.data + start * size
                        copy_bytes(to, source, (last - first) * size)  # type: ignore[call-arg]
                    else:
                        seen = x[start : start + (last - first - 1) * sw + 1]
                        held = line[at : at + last - first]
                        for t in range(len(held)):
                            held[t] = seen[t * sw]


@compiled(*map(_inside, REAL))
def put_back(image, g, patches):
    """Add the patches (k, P) to one image, each at its place; see `reference_convolution.image_from_patches`."""
    C, H, W, kh, kw, sh, sw, ph, pw, Ho, Wo = g
    row = 0
    for c in range(C):
        for i in range(kh):
            for j in range(kw):
                first, last = inside(j, sw, pw, W, Wo)
                line = patches[row]
                row += 1
                if first == last:
                    continue
                for oy in range(Ho):
                    y = oy * sh - ph + i
                    if y < 0 or y >= H:
                        continue
                    start = (c * H + y) * W - pw + j + first * sw
                    to = image[start : start + (last - first - 1) * sw + 1]
                    held = line[oy * Wo + first : oy * Wo + last]
                    if sw == 1:
                        for t in range(len(held)):
                            to[t] += held[t]
                    else:
                        for t in range(len(held)):
                            to[t * sw] += held[t]


def _forward(T: Any) -> Any:
    i = types.int64
    return types.void(i, i, i, i, i, i, i, T, T, i, i)


@compiled(*map(_forward, REAL))
def product(gemm, W, X, m, k, n, ld_x, one, beta, out, ld_out):
    """Compute out (m, n) ← one·W (m, k) X (k, n) + β·out, row-major at addresses; BLAS sees the transposes."""
    sizes = (np.int32(n), np.int32(m), np.int32(k))
    first, second = (X, np.int32(ld_x)), (W, np.int32(k))
    call_routine(gemm, (PLAIN, PLAIN) + sizes + (one,) + first + second + (beta, out, np.int32(ld_out)))  # type: ignore[call-arg] # noqa: RUF005


@compiled(*map(_forward, REAL))
def transposed_product(gemm, W, V, m, k, n, ld_v, one, beta, out, ld_out):
    """Compute out (k, n) ← one·Wᵀ V + β·out with W (m, k) and V (m, n)."""
    sizes = (np.int32(n), np.int32(k), np.int32(m))
    first, second = (V, np.int32(ld_v)), (W, np.int32(k))
    call_routine(gemm, (PLAIN, TURNED) + sizes + (one,) + first + second + (beta, out, np.int32(ld_out)))  # type: ignore[call-arg] # noqa: RUF005


def _outer(T: Any) -> Any:
    i = types.int64
    return types.void(i, i, i, i, i, i, i, i, T, T, i)


@compiled(*map(_outer, REAL))
def outer_product(gemm, V, X, m, k, n, ld_v, ld_x, alpha, beta, out):
    """Compute out (m, k) ← α V Xᵀ + β·out with V (m, n) and X (k, n)."""
    sizes = (np.int32(k), np.int32(m), np.int32(n))
    first, second = (X, np.int32(ld_x)), (V, np.int32(ld_v))
    call_routine(gemm, (TURNED, PLAIN) + sizes + (alpha,) + first + second + (beta, out, np.int32(k)))  # type: ignore[call-arg] # noqa: RUF005


def plain(X: np.ndarray) -> np.ndarray:
    """Return X, or a copy where compiled loops cannot take it as it lies in memory."""
    return X if X.flags.carray else np.array(X, order="C")


def rows_of(x: np.ndarray, n: int, lead: tuple[int, ...]) -> np.ndarray | None:
    """Return rows as (members, batch, n) for weights of leading shape `lead`; None where the reference has to do it.

    One member stands for all where the rows have no leading axes and the weights do. Rows of weights without leading
    axes are all of one batch.
    """
    if x.ndim < 2 or x.shape[-1] != n or not x.size:
        return None
    x = plain(x)
    if not lead:
        return x.reshape(1, -1, n)
    if x.ndim == 2:
        return x[None]
    return x.reshape(-1, *x.shape[-2:]) if x.shape[:-2] == lead else None


def weights_of(W: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """Return weights whose last axes have that shape as (members, entries); None where the reference has to do it."""
    axes = len(shape)
    if W.ndim < axes or W.shape[W.ndim - axes :] != shape or W.dtype != dtype or not W.size:
        return None
    return plain(W).reshape(-1, math.prod(shape))


def bias_of(b: np.ndarray | None, lead: tuple[int, ...], n: int, dtype: np.dtype) -> np.ndarray | None:
    """Return a bias as (members, n), (0, 0) for none; None where the reference has to do it."""
    if b is None:
        return np.empty((0, 0), dtype)
    if b.shape != (*lead, n) or b.dtype != dtype:
        return None
    return plain(b).reshape(-1, n)
