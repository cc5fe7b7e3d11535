"""CPU kernels of local connections: samples innermost, so that a window's entries are gathered a batch at a time.

With rows as columns, an image's entry is a run of `batch` numbers. A window's patches are copies of such runs, its
product with the window's weights is one of BLAS, and the result's rows lie where they belong. Threads share windows
where each window has weights or results of its own, and blocks of samples where windows meet in the image.
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
    geometry,
    outer_product,
    plain,
    product,
    rows_of,
    transposed_product,
    weights_of,
)
from rfnumeric.kernels.registry import check, implements
from rfnumeric.kernels.window import Window

SIDE = 32
"""Rows and columns that are turned at a time: both sides stay in the cache."""

SAMPLES = 64
"""Samples that one thread takes at a time where windows meet."""


def _turning(T: Any) -> Any:
    return types.void(T[:, :, ::1], T[:, ::1], T[:, :, ::1])


@compiled(*map(_turning, REAL))
def _turn(x, b, turned):
    """Exchange the last two axes, and add b (members, rows of the result's) on the way, where there is one."""
    members, rows, columns = x.shape
    for m in range(members):
        for top in range(0, rows, SIDE):
            bottom = min(top + SIDE, rows)
            for left in range(0, columns, SIDE):
                for j in range(left, min(left + SIDE, columns)):
                    to = turned[m, j]
                    for i in range(top, bottom):
                        to[i] = x[m, i, j]
            if b.size:
                for j in range(columns):
                    to = turned[m, j]
                    for i in range(top, bottom):
                        to[i] += b[m, i]


def _patch(T: Any) -> Any:
    return types.void(T[:, ::1], GEOMETRY, types.int64, types.int64, types.int64, T[:, ::1])


@compiled(*map(_patch, REAL))
def _gather(x, g, position, start, stop, patch):
    """Fill one window's patch (k, stop − start) from columns of samples."""
    C, H, W, kh, kw, sh, sw, ph, pw, _, Wo = g
    top, left = position // Wo * sh - ph, position % Wo * sw - pw
    row = 0
    for c in range(C):
        for i in range(kh):
            for j in range(kw):
                y, column = top + i, left + j
                to = patch[row]
                row += 1
                if 0 <= y < H and 0 <= column < W:
                    seen = x[(c * H + y) * W + column, start:stop]
                    for t in range(len(to)):
                        to[t] = seen[t]
                else:
                    to[:] = 0


@compiled(*map(_patch, REAL))
def _put_back(image, g, position, start, stop, patch):
    """Add one window's patch to the columns of samples."""
    C, H, W, kh, kw, sh, sw, ph, pw, _, Wo = g
    top, left = position // Wo * sh - ph, position % Wo * sw - pw
    row = 0
    for c in range(C):
        for i in range(kh):
            for j in range(kw):
                y, column = top + i, left + j
                held = patch[row]
                row += 1
                if 0 <= y < H and 0 <= column < W:
                    to = image[(c * H + y) * W + column, start:stop]
                    for t in range(len(to)):
                        to[t] += held[t]


def _all(T: Any, *more: Any) -> Any:
    three = T[:, :, ::1]
    return types.void(*more, types.int64, three, T[:, :, :, ::1], GEOMETRY, three)


@compiled(*(_all(T, types.int64) for T in REAL))
def _product_of_window(task, gemm, x, W, g, a):
    P = g[9] * g[10]
    member, p = task // P, task % P
    channels, k, batch = W.shape[2], W.shape[3], x.shape[2]
    one = a.dtype.type(1)
    patch = np.empty((k, batch), a.dtype)
    _gather(x[member if len(x) > 1 else 0], g, p, 0, batch, patch)
    out = a[member, p].ctypes.data  # its channels are P rows apart
    weights = W[member, p].ctypes.data
    product(gemm, weights, patch.ctypes.data, channels, k, batch, batch, one, one - one, out, P * batch)


@compiled(*map(_all, REAL))
def _product_in_turn(gemm, x, W, g, a):
    for task in range(len(W) * g[9] * g[10]):
        _product_of_window(task, gemm, x, W, g, a)


@compiled(parallel=True)  # without signatures: compiled when first needed
def _product_side_by_side(gemm, x, W, g, a):
    for task in prange(len(W) * g[9] * g[10]):
        _product_of_window(task, gemm, x, W, g, a)


@compiled(*(_all(T, types.int64) for T in REAL))
def _pull_samples(task, gemm, v, W, g, image):
    P, batch = g[9] * g[10], image.shape[2]
    blocks = (batch + SAMPLES - 1) // SAMPLES
    member, start = task // blocks, task % blocks * SAMPLES
    stop = min(start + SAMPLES, batch)
    channels, k, width = W.shape[2], W.shape[3], stop - start
    one = image.dtype.type(1)
    patch = np.empty((k, width), image.dtype)
    to = image[member]
    to[:, start:stop] = 0
    for p in range(P):
        v_p = v[member if len(v) > 1 else 0, p, start:].ctypes.data
        out = patch.ctypes.data
        transposed_product(
            gemm, W[member, p].ctypes.data, v_p, channels, k, width, P * batch, one, one - one, out, width
        )
        _put_back(to, g, p, start, stop, patch)


@compiled(*map(_all, REAL))
def _pull_in_turn(gemm, v, W, g, image):
    for task in range(len(W) * ((image.shape[2] + SAMPLES - 1) // SAMPLES)):
        _pull_samples(task, gemm, v, W, g, image)


@compiled(parallel=True)
def _pull_side_by_side(gemm, v, W, g, image):
    for task in prange(len(W) * ((image.shape[2] + SAMPLES - 1) // SAMPLES)):
        _pull_samples(task, gemm, v, W, g, image)


def _sum(T: Any, *more: Any) -> Any:
    three = T[:, :, ::1]
    return types.void(*more, types.int64, three, three, GEOMETRY, T[::1], T, T[:, :, :, ::1])


@compiled(*(_sum(T, types.int64) for T in REAL))
def _outer_of_window(task, gemm, v, x, g, alpha, beta, W):
    """Compute W[p] ← α v_p patch_pᵀ + β W[p] for one member's window."""
    P = g[9] * g[10]
    member, p = task // P, task % P
    channels, k, batch = W.shape[2], W.shape[3], x.shape[2]
    patch = np.empty((k, batch), W.dtype)
    _gather(x[member if len(x) > 1 else 0], g, p, 0, batch, patch)
    v_p = v[member if len(v) > 1 else 0, p].ctypes.data
    out = W[member, p].ctypes.data
    outer_product(gemm, v_p, patch.ctypes.data, channels, k, batch, P * batch, batch, alpha[member], beta, out)


@compiled(*map(_sum, REAL))
def _outer_in_turn(gemm, v, x, g, alpha, beta, W):
    for task in range(len(W) * g[9] * g[10]):
        _outer_of_window(task, gemm, v, x, g, alpha, beta, W)


@compiled(parallel=True)
def _outer_side_by_side(gemm, v, x, g, alpha, beta, W):
    for task in prange(len(W) * g[9] * g[10]):
        _outer_of_window(task, gemm, v, x, g, alpha, beta, W)


def _turned(x: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Return (members, columns, rows), with b (members, rows) added."""
    members, rows, columns = x.shape
    turned = np.empty((members, columns, rows), x.dtype)
    _turn(x, np.empty((0, 0), x.dtype) if b is None else b, turned)
    return turned


def _shapes(W: np.ndarray, window: Window) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the leading shape of local weights, and the shape behind it."""
    w = window
    channels = W.shape[-4] if W.ndim > 5 else 0
    return W.shape[:-6], (w.out_height, w.out_width, channels, w.channels, w.kh, w.kw)


@implements("local_product", "numpy")
def local_product(x: np.ndarray, W: np.ndarray, b: np.ndarray | None, window: Window) -> np.ndarray:
    """See `reference_convolution.local_product`."""
    lead, shape = _shapes(W, window)
    channels, P = shape[2], window.positions
    rows, weights = rows_of(x, window.n_in, lead), weights_of(W, shape, x.dtype)
    bias = bias_of(b, lead, channels * P, x.dtype)
    if rows is None or weights is None or bias is None:
        check("local_product", x, W, b, window)
        return reference.local_product(x, W, b, window)
    members, batch = len(weights), rows.shape[1]
    a = np.empty((members, channels * P, batch), x.dtype)
    arguments = ROUTINES[x.dtype], _turned(rows), _windows(weights, window), geometry(window), a
    share(members * P, a.size * window.entries, _product_in_turn, _product_side_by_side, *arguments)
    return _turned(a, bias).reshape(*(lead or x.shape[:-2]), x.shape[-2], channels * P)


@implements("local_pull", "numpy")
def local_pull(v: np.ndarray, W: np.ndarray, d: np.ndarray | None, window: Window) -> np.ndarray:
    """See `reference_convolution.local_pull`."""
    lead, shape = _shapes(W, window)
    rows, weights = rows_of(v, shape[2] * window.positions, lead), weights_of(W, shape, v.dtype)
    wanted = (*(lead or v.shape[:-2]), *v.shape[-2:-1], window.n_in)
    if rows is None or weights is None or (d is not None and d.shape != wanted):
        check("local_pull", v, W, d, window)
        return reference.local_pull(v, W, d, window)
    members, batch = len(weights), rows.shape[1]
    image = np.empty((members, window.n_in, batch), v.dtype)
    arguments = ROUTINES[v.dtype], _turned(rows), _windows(weights, window), geometry(window), image
    tasks = members * math.ceil(batch / SAMPLES)
    share(tasks, v.size * window.entries, _pull_in_turn, _pull_side_by_side, *arguments)
    out = _turned(image).reshape(*(lead or v.shape[:-2]), v.shape[-2], window.n_in)
    if d is None:
        return out
    same = d.shape == out.shape and d.dtype == out.dtype
    return np.multiply(out, d, out=out if same else None)


@implements("local_grad", "numpy")
def local_grad(v: np.ndarray, x: np.ndarray, window: Window) -> np.ndarray:
    """See `reference_convolution.local_grad`."""
    if min(v.ndim, x.ndim) < 2 or v.shape[-1] % window.positions or v.shape[-2] != x.shape[-2]:
        check("local_grad", v, x, window)
    w, lead = window, max(v.shape[:-2], x.shape[:-2], key=len)
    if v.dtype == x.dtype and v.size:
        W = np.empty((*lead, w.out_height, w.out_width, v.shape[-1] // w.positions, w.channels, w.kh, w.kw), v.dtype)
        if _accumulate(W, v, x, 1.0, 0.0, w):
            return W
    check("local_grad", v, x, window)
    return reference.local_grad(v, x, w)


@implements("local_add_outer", "numpy")
def local_add_outer(W: np.ndarray, v: np.ndarray, x: np.ndarray, scale: Any, window: Window) -> np.ndarray:
    """See `reference_convolution.local_add_outer`; writes into `W`."""
    if min(v.ndim, x.ndim) < 2:
        check("local_add_outer", W, v, x, scale, window)
    W = plain(W)
    lead, shape = _shapes(W, window)
    fits = v.shape[-1] == shape[2] * window.positions and v.shape[-2] == x.shape[-2] and np.shape(scale) in ((), lead)
    if fits and W.shape[-6:] == shape and v.dtype == W.dtype and _accumulate(W, v, x, scale, 1.0, window):
        return W
    check("local_add_outer", W, v, x, scale, window)
    return reference.local_add_outer(W, v, x, scale, window)


def _accumulate(W: np.ndarray, v: np.ndarray, x: np.ndarray, scale: Any, beta: float, window: Window) -> bool:
    """Compute W ← scale · ∑ v patchᵀ + β W in place; tell whether the arrays are such that this was done."""
    lead = W.shape[:-6]
    rows_v, rows_x = (rows_of(X, n, lead or (1,)) for X, n in ((v, v.shape[-1]), (x, window.n_in)))
    if rows_v is None or rows_x is None or x.dtype != W.dtype or not W.size:
        return False
    members, batch = math.prod(lead), v.shape[-2]
    alpha = np.broadcast_to(np.asarray(scale, dtype=W.dtype), lead or (1,)).reshape(members).copy()
    weights = _windows(W, window)
    arguments = (
        ROUTINES[W.dtype],
        _turned(rows_v),
        _turned(rows_x),
        geometry(window),
        alpha,
        W.dtype.type(beta),
        weights,
    )
    share(members * window.positions, W.size * batch, _outer_in_turn, _outer_side_by_side, *arguments)
    return True


def _windows(W: np.ndarray, window: Window) -> np.ndarray:
    """View weights, in their own shape or as (members, entries), as (members, P, C_out, k)."""
    channels = W.shape[-4] if W.ndim > 5 else W.shape[-1] // (window.positions * window.entries)
    return W.reshape(-1, window.positions, channels, window.entries)
