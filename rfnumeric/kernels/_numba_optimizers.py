"""CPU kernels of the optimizers: parameters and their running means in one pass over memory, compiled by Numba."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rfnumeric.kernels._jit import both, compiled
from rfnumeric.kernels._numba import _writable
from rfnumeric.kernels.registry import check, implements


def _two(X: np.ndarray, members: int) -> np.ndarray:
    return X.reshape(members, X.size // members)


def _rates(lr: Any, W: np.ndarray) -> np.ndarray:
    """Return the rates of the members as an array of W's dtype; of one member where `lr` is a number."""
    return np.asarray(lr).astype(W.dtype).reshape(-1)


@compiled(*both("void(T[:,::1], T[:,::1], T[:,::1], T[::1], T)"))
def _momentum(W, v, G, rates, momentum):
    for k in range(W.shape[0]):
        for i in range(W.shape[1]):
            t = momentum * v[k, i] + G[k, i]
            v[k, i] = t
            W[k, i] -= rates[k] * t


@implements("momentum_update", "numpy")
def momentum_update(W: np.ndarray, v: np.ndarray, G: np.ndarray, lr: Any, momentum: float) -> tuple:
    """See `reference_optimizers.momentum_update`; writes into `W` and `v` where they are C-contiguous."""
    if not W.shape == v.shape == G.shape or type(lr) is not float:
        check("momentum_update", W, v, G, lr)
    W, v, G = (_writable(X) for X in (W, v, G))
    if W.size:
        rates = _rates(lr, W)
        kind, members = W.dtype.type, rates.size
        _momentum(*(_two(X, members) for X in (W, v, G)), rates, kind(momentum))
    return W, v


@compiled(*both("void(T[:,::1], T[:,::1], T[:,::1], T[:,::1], T[::1], T, T, T, T, T, T)"))
def _adam(W, m, v, G, rates, beta1, rest1, beta2, rest2, root, epsilon):
    for k in range(W.shape[0]):
        for i in range(W.shape[1]):
            g = G[k, i]
            first = beta1 * m[k, i] + rest1 * g
            second = beta2 * v[k, i] + rest2 * (g * g)
            m[k, i] = first
            v[k, i] = second
            W[k, i] -= rates[k] * (first / (math.sqrt(second) / root + epsilon))


@implements("adam_update", "numpy")
def adam_update(
    W: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    G: np.ndarray,
    lr: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    step: int,
) -> tuple:
    """See `reference_optimizers.adam_update`; writes into `W`, `m` and `v` where they are C-contiguous."""
    if not W.shape == m.shape == v.shape == G.shape or type(lr) is not float:
        check("adam_update", W, m, v, G, lr)
    W, m, v, G = (_writable(X) for X in (W, m, v, G))
    if W.size:
        rates = _rates(lr / (1 - beta1**step), W)
        members = rates.size
        # Differences from 1 are taken in double precision, as the reference takes them.
        numbers = (beta1, 1 - beta1, beta2, 1 - beta2, math.sqrt(1 - beta2**step), epsilon)
        _adam(*(_two(X, members) for X in (W, m, v, G)), rates, *(W.dtype.type(x) for x in numbers))
    return W, m, v
