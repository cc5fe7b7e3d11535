"""CPU kernels of convolutions: each sample's patches gathered in the cache, multiplied by SciPy's BLAS, and used there.

Samples are taken in blocks of a fixed size, which the threads share: sums over samples are formed block by block and
added in order, so that no bit depends on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange, types

from rfnumeric.kernels import reference_convolution as reference
from rfnumeric.kernels._jit import compiled
from rfnumeric.kernels._stacks import ROUTINES, share
from rfnumeric.kernels._windows import (
    GEOMETRY,
    REAL,
    bias_of,
    gather,
    geometry,
    outer_product,
    plain,
    product,
    put_back,
    rows_of,
    transposed_product,
    weights_of,
)
from rfnumeric.kernels.registry import check, implements
from rfnumeric.kernels.window import Window

BLOCK = 8
"""Samples that one thread takes at a time."""

SUMMED = 16
"""Samples whose gradients are summed in one place."""


def _three(T: Any) -> Any:
    return T[:, :, ::1]


def _forward(T: Any, *more: Any) -> Any:
    three, two = _three(T), T[:, ::1]
    return types.void(*more, types.int64, three, two, two, GEOMETRY, T, three, three, three)


@compiled(*(_forward(T, types.int64) for T in REAL))
def _convolve_block(task, gemm, x, W, b, g, slope, a, h, d):
    """Convolve one block of samples; with somewhere to put h and σ', the leaky ReLU while a is in the cache."""
    k, P = g[0] * g[3] * g[4], g[9] * g[10]
    channels, batch = a.shape[2] // P, a.shape[1]
    blocks = (batch + BLOCK - 1) // BLOCK
    member, start = task // blocks, task % blocks * BLOCK
    one = a.dtype.type(1)
    beta = one if b.size else one - one
    patches = np.empty((k, P), a.dtype)
    for s in range(start, min(start + BLOCK, batch)):
        gather(x[member if len(x) > 1 else 0, s], g, patches)
        out = a[member, s]
        if b.size:
            for c in range(channels):
                out[c * P : (c + 1) * P] = b[member, c]
        product(gemm, W[member].ctypes.data, patches.ctypes.data, channels, k, P, P, one, beta, out.ctypes.data, P)
        if h.size:
            h_s, d_s = h[member, s], d[member, s]
            for j in range(len(out)):
                value = out[j]
                h_s[j] = value if value > 0 else value * slope
                d_s[j] = one if value > 0 else slope


@compiled(*map(_forward, REAL))
def _convolve_in_turn(gemm, x, W, b, g, slope, a, h, d):
    for task in range(len(a) * ((a.shape[1] + BLOCK - 1) // BLOCK)):
        _convolve_block(task, gemm, x, W, b, g, slope, a, h, d)


@compiled(parallel=True)  # without signatures: compiled when first needed
def _convolve_side_by_side(gemm, x, W, b, g, slope, a, h, d):
    for task in prange(len(a) * ((a.shape[1] + BLOCK - 1) // BLOCK)):
        _convolve_block(task, gemm, x, W, b, g, slope, a, h, d)


def _back(T: Any, *more: Any) -> Any:
    return types.void(*more, types.int64, _three(T), T[:, ::1], _three(T), GEOMETRY, _three(T))


@compiled(*(_back(T, types.int64) for T in REAL))
def _pull_block(task, gemm, v, W, d, g, out):
    k, P = g[0] * g[3] * g[4], g[9] * g[10]
    channels, batch = v.shape[2] // P, out.shape[1]
    blocks = (batch + BLOCK - 1) // BLOCK
    member, start = task // blocks, task % blocks * BLOCK
    one, zero = out.dtype.type(1), out.dtype.type(0)
    patches = np.empty((k, P), out.dtype)
    for s in range(start, min(start + BLOCK, batch)):
        v_s = v[member if len(v) > 1 else 0, s].ctypes.data
        transposed_product(gemm, W[member].ctypes.data, v_s, channels, k, P, P, one, zero, patches.ctypes.data, P)
        image = out[member, s]
        image[:] = 0
        put_back(image, g, patches)
        if d.size:
            gate = d[member, s]
            for j in range(len(image)):
                image[j] *= gate[j]


@compiled(*map(_back, REAL))
def _pull_in_turn(gemm, v, W, d, g, out):
    for task in range(len(out) * ((out.shape[1] + BLOCK - 1) // BLOCK)):
        _pull_block(task, gemm, v, W, d, g, out)


@compiled(parallel=True)
def _pull_side_by_side(gemm, v, W, d, g, out):
    for task in prange(len(out) * ((out.shape[1] + BLOCK - 1) // BLOCK)):
        _pull_block(task, gemm, v, W, d, g, out)


def _sum(T: Any, *more: Any) -> Any:
    return types.void(*more, types.int64, _three(T), _three(T), GEOMETRY, _three(T))


@compiled(*(_sum(T, types.int64) for T in REAL))
def _grad_block(task, gemm, v, x, g, sums):
    k, P = g[0] * g[3] * g[4], g[9] * g[10]
    channels, batch, blocks = v.shape[2] // P, max(v.shape[1], x.shape[1]), sums.shape[1]
    member, block = task // blocks, task % blocks
    one = sums.dtype.type(1)
    patches = np.empty((k, P), sums.dtype)
    total = sums[member, block].ctypes.data
    for s in range(block * SUMMED, min((block + 1) * SUMMED, batch)):
        gather(x[member if len(x) > 1 else 0, s], g, patches)
        v_s = v[member if len(v) > 1 else 0, s].ctypes.data
        beta = one if s > block * SUMMED else one - one
        outer_product(gemm, v_s, patches.ctypes.data, channels, k, P, P, P, one, beta, total)


@compiled(*map(_sum, REAL))
def _grad_in_turn(gemm, v, x, g, sums):
    for task in range(sums.shape[0] * sums.shape[1]):
        _grad_block(task, gemm, v, x, g, sums)


@compiled(parallel=True)
def _grad_side_by_side(gemm, v, x, g, sums):
    for task in prange(sums.shape[0] * sums.shape[1]):
        _grad_block(task, gemm, v, x, g, sums)


def _gather(T: Any) -> Any:
    return types.void(T[:, ::1], GEOMETRY, _three(T))


@compiled(*map(_gather, REAL))
def _gather_all(x, g, patches):
    for s in range(len(x)):
        gather(x[s], g, patches[s])


@implements("image_patches", "numpy")
def image_patches(x: np.ndarray, window: Window) -> np.ndarray:
    """See `reference_convolution.image_patches`."""
    rows = rows_of(x, window.n_in, ())
    if rows is None:
        check("image_patches", x, window)
        return reference.image_patches(x, window)
    patches = np.empty((*x.shape[:-1], window.entries, window.positions), x.dtype)
    _gather_all(rows[0], geometry(window), patches.reshape(-1, window.entries, window.positions))
    return patches


@implements("convolution", "numpy")
def convolution(x: np.ndarray, W: np.ndarray, b: np.ndarray | None, window: Window) -> np.ndarray:
    """See `reference_convolution.convolution`."""
    found = _convolve(x, W, b, window, None)
    if found is None:
        check("convolution", x, W, b, window)
        return reference.convolution(x, W, b, window)
    return found[0]


@implements("convolution_leaky_relu", "numpy")
def convolution_leaky_relu(
    x: np.ndarray, W: np.ndarray, b: np.ndarray | None, window: Window, negative_slope: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `reference_convolution.convolution_leaky_relu`."""
    found = _convolve(x, W, b, window, negative_slope)
    if found is None:
        check("convolution_leaky_relu", x, W, b, window, negative_slope)
        return reference.convolution_leaky_relu(x, W, b, window, negative_slope)
    return found


def _convolve(
    x: np.ndarray, W: np.ndarray, b: np.ndarray | None, window: Window, slope: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return a, and h and σ' where there is a slope; None where the reference has to do it."""
    lead = W.shape[:-4]
    channels = W.shape[-4] if W.ndim > 3 else 0
    rows = rows_of(x, window.n_in, lead)
    weights = weights_of(W, (channels, *_kernel(window)), x.dtype)
    bias = bias_of(b, lead, channels, x.dtype)
    if rows is None or weights is None or bias is None:
        return None
    shape = (*(lead or x.shape[:-2]), x.shape[-2], channels * window.positions)
    members = len(weights)
    a = np.empty(shape, x.dtype)
    h, d = (np.empty(shape if slope is not None else (0, 0, 0), x.dtype) for _ in range(2))
    outs = (X.reshape(members, -1, shape[-1]) if X.size else X for X in (a, h, d))
    alpha = x.dtype.type(0 if slope is None else slope)
    arguments = ROUTINES[x.dtype], rows, weights, bias, geometry(window), alpha, *outs
    tasks = members * math.ceil(a.size / shape[-1] / members / BLOCK)
    share(tasks, a.size * window.entries, _convolve_in_turn, _convolve_side_by_side, *arguments)
    return a, h, d


@implements("convolution_pull", "numpy")
def convolution_pull(v: np.ndarray, W: np.ndarray, d: np.ndarray | None, window: Window) -> np.ndarray:
    """See `reference_convolution.convolution_pull`."""
    lead = W.shape[:-4]
    channels = W.shape[-4] if W.ndim > 3 else 0
    rows = rows_of(v, channels * window.positions, lead)
    weights = weights_of(W, (channels, *_kernel(window)), v.dtype)
    shape = (*(lead or v.shape[:-2]), *v.shape[-2:-1], window.n_in)
    if rows is None or weights is None or (d is not None and (d.shape != shape or d.dtype != v.dtype)):
        check("convolution_pull", v, W, d, window)
        return reference.convolution_pull(v, W, d, window)
    members = len(weights)
    out = np.empty(shape, v.dtype)
    gate = np.empty((0, 0, 0), v.dtype) if d is None else plain(d).reshape(members, -1, window.n_in)
    arguments = ROUTINES[v.dtype], rows, weights, gate, geometry(window), out.reshape(members, -1, window.n_in)
    tasks = members * math.ceil(out.size / window.n_in / members / BLOCK)
    share(tasks, v.size * window.entries, _pull_in_turn, _pull_side_by_side, *arguments)
    return out


@implements("convolution_grad", "numpy")
def convolution_grad(v: np.ndarray, x: np.ndarray, window: Window) -> np.ndarray:
    """See `reference_convolution.convolution_grad`."""
    if min(v.ndim, x.ndim) < 2:
        check("convolution_grad", v, x, window)
    lead = max(v.shape[:-2], x.shape[:-2], key=len)
    channels, left = divmod(v.shape[-1], window.positions)
    rows_v, rows_x = (rows_of(X, n, lead or (1,)) for X, n in ((v, v.shape[-1]), (x, window.n_in)))
    if rows_v is None or rows_x is None or left or v.dtype != x.dtype or v.shape[-2] != x.shape[-2]:
        check("convolution_grad", v, x, window)
        return reference.convolution_grad(v, x, window)
    members = math.prod(lead)
    sums = np.empty((members, math.ceil(v.shape[-2] / SUMMED), channels * window.entries), v.dtype)
    arguments = ROUTINES[v.dtype], rows_v, rows_x, geometry(window), sums
    work = members * v.shape[-2] * v.shape[-1] * window.entries
    share(members * sums.shape[1], work, _grad_in_turn, _grad_side_by_side, *arguments)
    total = sums[:, 0]
    for block in range(1, sums.shape[1]):
        total += sums[:, block]
    return np.ascontiguousarray(total).reshape(*lead, channels, *_kernel(window))


def _kernel(window: Window) -> tuple[int, int, int]:
    return window.channels, window.kh, window.kw
