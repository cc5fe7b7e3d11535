"""The truth of the optimizers' kernels, in plain array-API code: momentum and Adam, one pass over the parameters each.

A parameter may be a matrix or a bias, with leading population axes; a rate is a number, or an array of one rate for
each member, whose axes are the parameter's first ones.
"""

from __future__ import annotations

import math

from rfnumeric.backend import array_namespace
from rfnumeric.kernels.reference import _per_member
from rfnumeric.typing import Array


def momentum_update(W: Array, v: Array, G: Array, lr: float | Array, momentum: float) -> tuple[Array, Array]:
    """Take one heavy-ball step, v ← μv + G and W ← W − λv (Polyak 1964, doi:10.1016/0041-5553(64)90137-5).

    May write into `W` and `v`.

    Parameters
    ----------
    W : array, shape (...)
    v : array, shape (...)
        Sum of the past directions, each weighted by a power of μ; zeros before the first step.
    G : array, shape (...)
        Direction of this step, mean_batch δ hᵀ.
    lr : float or array, shape ``W.shape[:k]``
        Learning rate λ.
    momentum : float
        μ, dimensionless, 0 ≤ μ < 1.

    Returns
    -------
    W, v
        Parameters and velocity after the step.
    """
    xp = array_namespace(W, v, G)
    v = momentum * v + G
    return W - _rate(xp, lr, W) * v, v


def adam_update(
    W: Array,
    m: Array,
    v: Array,
    G: Array,
    lr: float | Array,
    beta1: float,
    beta2: float,
    epsilon: float,
    step: int,
) -> tuple[Array, Array, Array]:
    """Take one step of Adam (Kingma and Ba 2015, arXiv:1412.6980), with ε outside the root and after its correction.

    m ← β₁m + (1 − β₁)G, v ← β₂v + (1 − β₂)G², W ← W − λ/(1 − β₁ᵗ) · m/(√v/√(1 − β₂ᵗ) + ε). May write into `W`, `m`
    and `v`.

    Parameters
    ----------
    W : array, shape (...)
    m, v : array, shape (...)
        Running means of the direction and of its square; zeros before the first step.
    G : array, shape (...)
        Direction of this step, mean_batch δ hᵀ.
    lr : float or array, shape ``W.shape[:k]``
        Learning rate λ: about the size of an entry's change in one step.
    beta1, beta2 : float
        Decay of the running means for each step, dimensionless, 0 ≤ β < 1.
    epsilon : float
        ε > 0, in units of G.
    step : int
        t ≥ 1, the number of this step.

    Returns
    -------
    W, m, v
        Parameters and running means after the step.
    """
    xp = array_namespace(W, m, v, G)
    m = beta1 * m + (1 - beta1) * G
    v = beta2 * v + (1 - beta2) * (G * G)
    ratio = m / (xp.sqrt(v) / math.sqrt(1 - beta2**step) + epsilon)
    return W - _rate(xp, lr / (1 - beta1**step), W) * ratio, m, v


def _rate(xp: Array, lr: float | Array, W: Array) -> float | Array:
    return lr if isinstance(lr, float | int) else _per_member(xp, lr, W, W.ndim - lr.ndim)
