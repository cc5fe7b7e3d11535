"""CPU kernels of pooling: one pass over the images, whose channels the threads share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange, types

from rfnumeric.kernels import reference_convolution as reference
from rfnumeric.kernels._jit import compiled
from rfnumeric.kernels._stacks import share
from rfnumeric.kernels._windows import GEOMETRY, REAL, geometry, plain, rows_of
from rfnumeric.kernels.registry import check, implements
from rfnumeric.kernels.window import Window

PLANES = 64
"""Channels that one thread takes at a time."""


def _pool(T: Any, *more: Any) -> Any:
    return types.void(*more, T[:, ::1], GEOMETRY, T, T[:, ::1])


@compiled(*(_pool(T, types.int64) for T in REAL))
def _average_planes(task, x, g, share_of_one, out):
    _, _, W, kh, kw, sh, sw, _, _, Ho, Wo = g
    for plane in range(task * PLANES, min((task + 1) * PLANES, len(x))):
        image = x[plane]
        for oy in range(Ho):
            to = out[plane, oy * Wo : (oy + 1) * Wo]
            to[:] = 0
            for i in range(kh):
                start = (oy * sh + i) * W
                for j in range(kw):
                    seen = image[start + j : start + j + (Wo - 1) * sw + 1]
                    for t in range(len(to)):
                        to[t] += seen[t * sw]
            for t in range(len(to)):
                to[t] *= share_of_one


@compiled(*map(_pool, REAL))
def _average_in_turn(x, g, share_of_one, out):
    for task in range((len(x) + PLANES - 1) // PLANES):
        _average_planes(task, x, g, share_of_one, out)


@compiled(parallel=True)  # without signatures: compiled when first needed
def _average_side_by_side(x, g, share_of_one, out):
    for task in prange((len(x) + PLANES - 1) // PLANES):
        _average_planes(task, x, g, share_of_one, out)


def _back(T: Any, *more: Any) -> Any:
    return types.void(*more, T[:, ::1], T[:, ::1], GEOMETRY, T, T[:, ::1])


@compiled(*(_back(T, types.int64) for T in REAL))
def _spread_planes(task, v, d, g, share_of_one, out):
    _, _, W, kh, kw, sh, sw, _, _, Ho, Wo = g
    for plane in range(task * PLANES, min((task + 1) * PLANES, len(out))):
        image = out[plane]
        image[:] = 0
        for oy in range(Ho):
            held = v[plane, oy * Wo : (oy + 1) * Wo]
            for i in range(kh):
                start = (oy * sh + i) * W
                for j in range(kw):
                    to = image[start + j : start + j + (Wo - 1) * sw + 1]
                    for t in range(len(held)):
                        to[t * sw] += held[t] * share_of_one
        if d.size:
            gate = d[plane]
            for t in range(len(image)):
                image[t] *= gate[t]


@compiled(*map(_back, REAL))
def _spread_in_turn(v, d, g, share_of_one, out):
    for task in range((len(out) + PLANES - 1) // PLANES):
        _spread_planes(task, v, d, g, share_of_one, out)


@compiled(parallel=True)
def _spread_side_by_side(v, d, g, share_of_one, out):
    for task in prange((len(out) + PLANES - 1) // PLANES):
        _spread_planes(task, v, d, g, share_of_one, out)


@implements("average_pool", "numpy")
def average_pool(x: np.ndarray, window: Window) -> np.ndarray:
    """See `reference_convolution.average_pool`."""
    w, rows = window, rows_of(x, window.n_in, ())
    if rows is None or w.padded:
        check("average_pool", x, w)
        return reference.average_pool(x, w)
    out = np.empty((*x.shape[:-1], w.channels * w.positions), x.dtype)
    planes = rows.reshape(-1, w.height * w.width)
    arguments = planes, geometry(w), x.dtype.type(1 / (w.kh * w.kw)), out.reshape(-1, w.positions)
    share(-(-len(planes) // PLANES), x.size, _average_in_turn, _average_side_by_side, *arguments)
    return out


@implements("average_pool_pull", "numpy")
def average_pool_pull(v: np.ndarray, d: np.ndarray | None, window: Window) -> np.ndarray:
    """See `reference_convolution.average_pool_pull`."""
    w, rows = window, rows_of(v, window.channels * window.positions, ())
    shape = (*v.shape[:-1], w.n_in)
    if rows is None or w.padded or (d is not None and (d.shape != shape or d.dtype != v.dtype)):
        check("average_pool_pull", v, d, w)
        return reference.average_pool_pull(v, d, w)
    out = np.empty(shape, v.dtype)
    plane = w.height * w.width
    gate = np.empty((0, 0), v.dtype) if d is None else plain(d).reshape(-1, plane)
    arguments = (
        rows.reshape(-1, w.positions),
        gate,
        geometry(w),
        v.dtype.type(1 / (w.kh * w.kw)),
        out.reshape(-1, plane),
    )
    share(-(-out.size // plane // PLANES), out.size, _spread_in_turn, _spread_side_by_side, *arguments)
    return out
