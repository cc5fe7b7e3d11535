"""CPU kernels that are loops: elementwise work, reductions and gathers in one pass over memory, compiled by Numba.

No ``fastmath`` and no parallel reductions: results do not depend on the number of threads. Signatures are explicit and
the machine code is cached, so that compilation happens once, when the first NumPy array arrives, and never inside a
timed step. A loop sees contiguous arrays with three axes (population, batch, units), or two (rows, units); the wrappers
provide them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from rfnumeric.kernels._jit import both, compiled
from rfnumeric.kernels.checks import index_text, label_text
from rfnumeric.kernels.registry import check, common_lead, implements


def _three(X: np.ndarray) -> np.ndarray:
    """View (..., batch, n) as (members, batch, n); copies what is not contiguous or, as signatures tell, read-only."""
    if not X.flags.carray:
        X = np.array(X, order="C")
    # The first two forms are what a training step brings; they are also the cheapest to make.
    return X[None] if X.ndim == 2 else X if X.ndim == 3 else X.reshape(math.prod(X.shape[:-2]), *X.shape[-2:])


def _rows(X: np.ndarray) -> np.ndarray:
    """View (..., batch, n) as (rows, n), where each sample stands for itself; copies as `_three` does."""
    if not X.flags.carray:
        X = np.array(X, order="C")
    return X if X.ndim == 2 else X.reshape(math.prod(X.shape[:-1]), X.shape[-1])


def _writable(X: np.ndarray) -> np.ndarray:
    return X if X.flags.carray else np.array(X, order="C")


def _broadcast(X: np.ndarray, lead: tuple[int, ...], trailing: int) -> np.ndarray:
    """Give X the leading axes `lead`, keeping its last `trailing` axes; a view, or X itself where it has them."""
    split = X.ndim - trailing
    return X if X.shape[:split] == lead else np.broadcast_to(X, lead + X.shape[split:])


def _pre_activation(z: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """Return a place for z + b: z itself, or a copy where it is shared by the members or may not be written."""
    if z.ndim < 2 or (b is not None and (not b.ndim or b.shape[-1] != z.shape[-1])):
        check("bias_identity", z, b)
    if b is not None and b.ndim > 1:
        z = _broadcast(z, common_lead("bias_identity", (z.shape[:-2], b.shape[:-1]), z, b), 2)
    return _writable(z)


_NO_BIAS = {np.dtype(t): np.empty((0, 0), t) for t in ("float32", "float64")}


def bias_rows(b: np.ndarray | None, a: np.ndarray) -> np.ndarray:
    """Return the bias, whose last axis is that of `a`, as (members, n), or an empty array where there is none."""
    if b is None:
        return _NO_BIAS[a.dtype]
    if a.ndim == 2 and b.ndim == 1 and b.flags.carray:
        return b[None]
    members, n = math.prod(a.shape[:-2]), a.shape[-1]
    return _writable(np.broadcast_to(b, (*a.shape[:-2], n))).reshape(members, n)


@compiled(*both("void(T[:,:,::1], T[:,::1], T[:,:,::1], T[:,:,::1], T)"))
def leaky_relu_loop(a, b, h, d, slope):
    with_bias = b.shape[1] > 0
    for k in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(a.shape[2]):
                v = a[k, i, j]
                if with_bias:
                    v += b[k, j]
                    a[k, i, j] = v
                h[k, i, j] = v if v > 0 else v * slope
                d[k, i, j] = 1 if v > 0 else slope


@compiled(*both("void(T[:,:,::1], T[:,:,::1], T[:,:,::1], T[:,:,::1], T)"))
def _leaky_softplus(a, t, h, d, slope):
    """Fill d, and h over log(1 + t), from t = exp(−|a|)."""
    zero = slope - slope  # 0 and 1 in the arrays' own precision
    one = math.exp(zero)
    for k in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(a.shape[2]):
                v, u = a[k, i, j], t[k, i, j]
                sigmoid = (one if v >= 0 else u) / (one + u)
                # max(v, 0) written so that a NaN stays a NaN and −∞ does not become one.
                softplus = (zero if v < 0 else v) + h[k, i, j]
                h[k, i, j] = slope * v + (one - slope) * softplus
                d[k, i, j] = slope + (one - slope) * sigmoid


@implements("bias_identity", "numpy")
def bias_identity(z: np.ndarray, b: np.ndarray | None) -> tuple:
    """See `reference.bias_identity`; adds the bias into `z`."""
    a = z if b is None and z.ndim > 1 else _with_bias(z, b)
    return a, a, np.ones_like(a)


def _with_bias(z: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    a = _pre_activation(z, b)
    if b is not None:
        np.add(a, b[..., None, :], out=a)
    return a


@implements("bias_leaky_relu", "numpy")
def bias_leaky_relu(z: np.ndarray, b: np.ndarray | None, negative_slope: float) -> tuple:
    """See `reference.bias_leaky_relu`; adds the bias into `z`."""
    a = _pre_activation(z, b)
    h, d = np.empty(a.shape, a.dtype), np.empty(a.shape, a.dtype)
    # Numba makes the slope's type the arrays' own.
    leaky_relu_loop(_three(a), bias_rows(b, a), _three(h), _three(d), negative_slope)
    return a, h, d


# exp, log1p and tanh are NumPy's: it computes a vector of them at a time, where a compiled loop asks libm for each.


@implements("bias_leaky_softplus", "numpy")
def bias_leaky_softplus(z: np.ndarray, b: np.ndarray | None, negative_slope: float) -> tuple:
    """See `reference.bias_leaky_softplus`; adds the bias into `z`."""
    a = _with_bias(z, b)
    t = np.abs(a)
    np.exp(np.negative(t, out=t), out=t)
    h, d = np.log1p(t), np.empty(a.shape, a.dtype)
    _leaky_softplus(_three(a), _three(t), _three(h), _three(d), negative_slope)
    return a, h, d


@implements("bias_tanh", "numpy")
def bias_tanh(z: np.ndarray, b: np.ndarray | None) -> tuple:
    """See `reference.bias_tanh`; adds the bias into `z`."""
    a = _with_bias(z, b)
    h = np.tanh(a)
    d = h * h
    return a, h, np.subtract(1, d, out=d)


@compiled(*both("int64(T[:,:,::1], int64[:,::1], T[:,:,::1], T[:,::1], boolean[:,::1])"))
def _shift(h, labels, e, at_label, right):
    """Subtract each row's largest score; return the first row whose label is out of range, or −1."""
    for k in range(h.shape[0]):
        for i in range(h.shape[1]):
            label = labels[k, i]
            if label < 0 or label >= h.shape[2]:
                return i
            best = 0
            for j in range(1, h.shape[2]):
                if h[k, i, j] > h[k, i, best]:
                    best = j
            top = h[k, i, best]
            for j in range(h.shape[2]):
                e[k, i, j] = h[k, i, j] - top
            at_label[k, i] = e[k, i, label]
            right[k, i] = best == label
    return -1


@compiled(*both("void(T[:,:,::1], int64[:,::1], T[:,::1], boolean[:,::1], T[::1], int64[::1])"))
def _normalize(e, labels, at_label, right, loss, correct):
    for k in range(e.shape[0]):
        loss_k = 0.0
        correct_k = 0
        for i in range(e.shape[1]):
            total = loss[k] - loss[k]  # 0 in the arrays' own precision
            for j in range(e.shape[2]):
                total += e[k, i, j]
            for j in range(e.shape[2]):
                e[k, i, j] /= total
            e[k, i, labels[k, i]] -= 1
            loss_i = math.log(total) - at_label[k, i]
            loss_k += loss_i
            if right[k, i] and not math.isnan(loss_i):
                correct_k += 1
        loss[k] = loss_k
        correct[k] = correct_k


@implements("softmax_cross_entropy", "numpy")
def softmax_cross_entropy(h: np.ndarray, labels: np.ndarray) -> tuple:
    """See `reference.softmax_cross_entropy`.

    Raises
    ------
    ValueError
        If a label is negative or not below the number of classes.
    """
    lead = h.shape[:-2]
    if labels.shape != h.shape[:-1] or h.ndim < 2 or labels.dtype.kind not in "iu":
        check("softmax_cross_entropy", h, labels)
        lead = np.broadcast_shapes(h.shape[:-1], labels.shape)[:-1]
        h = _broadcast(h, (*lead, h.shape[-2]), 1)
        labels = np.broadcast_to(labels, h.shape[:-1])
    members = math.prod(lead)
    rows = (members, h.shape[-2])
    e = np.empty((*rows, h.shape[-1]), dtype=h.dtype)
    loss, correct = np.zeros(members, dtype=h.dtype), np.empty(members, dtype=np.int64)
    at_label, right = np.empty(rows, dtype=h.dtype), np.empty(rows, dtype=np.bool_)
    every = _writable(labels.astype(np.int64, copy=False)).reshape(rows)
    row = _shift(_three(h), every, e, at_label, right)
    if row >= 0:
        raise ValueError(label_text(row, h.shape[-1]))
    _normalize(np.exp(e, out=e), every, at_label, right, loss, correct)
    return e.reshape(h.shape), loss.reshape(lead)[()], correct.reshape(lead)[()]


@compiled(*both("T(T[::1])"))
def _squared_norm(x):
    # Eight sums in place of one: an addition need not wait for the one before it, and the order stays fixed.
    n = x.shape[0]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = x.dtype.type(0)
    for j in range(0, n - n % 8, 8):
        s0 += x[j] * x[j]
        s1 += x[j + 1] * x[j + 1]
        s2 += x[j + 2] * x[j + 2]
        s3 += x[j + 3] * x[j + 3]
        s4 += x[j + 4] * x[j + 4]
        s5 += x[j + 5] * x[j + 5]
        s6 += x[j + 6] * x[j + 6]
        s7 += x[j + 7] * x[j + 7]
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for j in range(n - n % 8, n):
        total += x[j] * x[j]
    return total


@compiled(*both("void(T[:,::1], T[:,::1], T[:,::1], T, int64, boolean, T, T[:,::1], T[:,::1])"))
def _reciprocal_derivative(u, d, h, damping, own_layer, normalize, bias, s, delta):
    zero = bias - bias  # in the arrays' own precision
    for i in range(u.shape[0]):
        squared = bias
        if normalize:
            squared += _squared_norm(h[i])
        for j in range(u.shape[1]):
            v, slope = u[i, j], d[i, j]
            if damping > 0:
                reciprocal = v * slope / (slope * slope + damping)
            elif slope == 0:
                reciprocal = zero
            else:
                reciprocal = v / slope
            s[i, j] = reciprocal
            if own_layer == 0:
                own = reciprocal
            elif own_layer == 1:
                own = v * slope
            else:
                own = v
            if normalize:
                own = own / squared if squared != 0 else zero
            delta[i, j] = own


_OWN_LAYER = {"reciprocal": 0, "derivative": 1, "none": 2}


@implements("reciprocal_derivative", "numpy")
def reciprocal_derivative(
    u: np.ndarray, d_sigma: np.ndarray, h: np.ndarray, damping: float, own_layer: str, normalize: bool, has_bias: bool
) -> tuple:
    """See `reference.reciprocal_derivative`."""
    if not u.shape[:-1] == d_sigma.shape[:-1] == h.shape[:-1] or d_sigma.shape != u.shape or not h.ndim:
        check("reciprocal_derivative", u, d_sigma, h)
    if own_layer not in _OWN_LAYER:
        check("reciprocal_derivative", u, d_sigma, h, damping, own_layer)
    if not u.shape[:-1] == d_sigma.shape[:-1] == h.shape[:-1]:
        lead = np.broadcast_shapes(u.shape[:-1], d_sigma.shape[:-1], h.shape[:-1])
        u, d_sigma, h = (_broadcast(X, lead, 1) for X in (u, d_sigma, h))
    s, delta = np.empty(u.shape, dtype=u.dtype), np.empty(u.shape, dtype=u.dtype)
    numbers = damping, _OWN_LAYER[own_layer], normalize, 1.0 if has_bias else 0.0
    _reciprocal_derivative(_rows(u), _rows(d_sigma), _rows(h), *numbers, _rows(s), _rows(delta))
    return s, delta


_IMAGES = types.Array(types.uint8, 2, "C", readonly=True)  # a data set is never copied, writable or not


@compiled(
    types.int64(_IMAGES, types.int64[::1], types.float32, types.float32, types.float32[:, ::1]),
    types.int64(_IMAGES, types.int64[::1], types.float64, types.float64, types.float64[:, ::1]),
)
def _gather_scale(images, index, scale, offset, out):
    for i in range(index.shape[0]):
        row = index[i]
        if row < 0 or row >= images.shape[0]:
            return i
        for j in range(images.shape[1]):
            out[i, j] = images[row, j] * scale + offset
    return -1


@implements("gather_scale", "numpy", ("uint8",))
def gather_scale(images: np.ndarray, index: np.ndarray, scale: float, offset: float, dtype: Any) -> np.ndarray:
    """See `reference.gather_scale`; an index out of range is an error here.

    Raises
    ------
    IndexError
        If an index is negative or not below the number of samples.
    """
    if images.ndim != 2 or index.dtype.kind not in "iu" or np.dtype(dtype) not in _NO_BIAS:
        check("gather_scale", images, index, scale, offset, dtype)
    kind = np.dtype(dtype).type
    out = np.empty((*index.shape, images.shape[-1]), dtype=kind)
    flat = _writable(index.astype(np.int64, copy=False)).reshape(-1)
    source = np.ascontiguousarray(images).view()
    source.flags.writeable = False
    place = _gather_scale(source, flat, kind(scale), kind(offset), out.reshape(flat.size, images.shape[-1]))
    if place >= 0:
        raise IndexError(index_text(int(flat[place]), images.shape[0]))
    return out
