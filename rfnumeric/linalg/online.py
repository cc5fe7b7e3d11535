"""Local rules that learn a generalized inverse from samples: what a sleep phase can do, and what it converges to.

Samples are rows: y is (..., batch, n) and W y in the papers is ``y @ W.T`` here. Every rule states its fixed point.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rfnumeric.backend import array_namespace
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import matmul
from rfnumeric.linalg._common import adjoint, identity
from rfnumeric.linalg.pinv import pinv
from rfnumeric.typing import Array, Namespace


def _mean_outer(xp: Namespace, a: Array, b: Array) -> Array:
    """Return the batch mean of a bᵀ, shape (..., n_a, n_b)."""
    return matmul(xp.matrix_transpose(a), b) / a.shape[-2]


def _through(xp: Namespace, y: Array, W: Array) -> Array:
    """Return W y for each row of y."""
    return matmul(y, xp.matrix_transpose(W))


def _check_rate(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number ≥ 0; got {value!r}.")


class Pair(NamedTuple):
    """U, input to hidden (..., m, n), and V, hidden to input (..., n, m): two directions of one connection."""

    U: Array
    V: Array


@gate(U=2, V=2, y=2, hidden_noise=2)
def recirculation_step(
    U: Array, V: Array, y: Array, rate: float, *, variance: float = 1.0, hidden_noise: Array | None = None
) -> Pair:
    """Take one step of linear recirculation driven by noise (v1 §3, v2 §3).

    h = Uy, ŷ = Vh, ĥ = Uŷ, ΔU = (η/σ²) mean (h − ĥ)yᵀ, in expectation η(U − UVU).

    Parameters
    ----------
    U : array, shape (..., m, n)
        Learns V⁺.
    V : array, shape (..., n, m)
    y : array, shape (..., batch, n)
        Zero-mean noise with E[yyᵀ] = σ²I.
    rate : float
        η.
    variance : float
        σ².
    hidden_noise : array, shape (..., batch, m), optional
        Two-sided rule: noise z of variance σ² at the hidden layer, with which V learns U⁺ by the mirror image,
        ΔV = (η/σ²) mean (ẑ − Vẑ')zᵀ with ẑ = Vz, ẑ' = UVz. Both updates use the old U and V.

    Returns
    -------
    Pair
        U and V; V is unchanged in the one-sided rule.

    Raises
    ------
    ValueError
        If the rate is negative.

    Notes
    -----
    Fixed points, one-sided: UVU = U. Started in the row space of Vᵀ (U₀ = αVᵀ) the expected rule reaches V⁺. With
    *sampled* noise and n ≤ m it does as well, since then h − ĥ = 0 for every y. With n > m, every left inverse of V
    is a fixed point in expectation, but (I − UV)Uy does not vanish for single samples before convergence, and its
    y-factor moves U along the left inverses: the limit violates Penrose condition 3. Two-sided: see `CoupledRule`,
    its expectation.

    Examples
    --------
    >>> import numpy as np
    >>> U, V = recirculation_step(np.asarray([[0.1]]), np.asarray([[2.0]]), np.asarray([[1.0], [-1.0]]), 0.5)
    >>> print(U)
    [[0.14]]
    """
    xp = array_namespace(U, V, y, hidden_noise)
    _check_rate(rate=rate)
    h = _through(xp, y, U)
    h_hat = _through(xp, _through(xp, h, V), U)
    new_U = U + float(rate / variance) * _mean_outer(xp, h - h_hat, y)
    if hidden_noise is None:
        return Pair(new_U, V)
    z = _through(xp, hidden_noise, V)
    z_hat = _through(xp, _through(xp, z, U), V)
    return Pair(new_U, V + float(rate / variance) * _mean_outer(xp, z - z_hat, hidden_noise))


@gate(real=True, U=2, V=2, y=2)
def hinton_mcclelland_step(
    U: Array, V: Array, y: Array, rate: float, *, regression: float = 0.75, linear: bool = False
) -> Pair:
    """Take one step of the recirculation rule as first published, with sigmoid units and regression.

    h = σ(Uy), ŷ = λy + (1 − λ)σ(Vh), ĥ = λh + (1 − λ)σ(Uŷ); ΔV = η mean (y − ŷ)hᵀ, ΔU = η mean (h − ĥ)ŷᵀ.

    Parameters
    ----------
    U : array, shape (..., m, n)
    V : array, shape (..., n, m)
    y : array, shape (..., batch, n)
        Data, in (0, 1) for sigmoid units.
    rate : float
        η.
    regression : float
        λ, 0 ≤ λ < 1: how much of its former state a unit keeps.
    linear : bool
        Whether σ is the identity.

    Returns
    -------
    Pair

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Fixed points: perfect reconstruction, σ(Vh) = y for every sample, makes ŷ = y, ĥ = h and both updates zero. ΔV
    alone is the delta rule for V, so for linear units and fixed U its fixed point is the data-weighted inverse
    ΓUᵀ(UΓUᵀ)⁻¹.

    References
    ----------
    .. [1] G. E. Hinton, J. L. McClelland, "Learning representations by recirculation", Neural Information Processing
    Systems
       (1988) 358-366.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.asarray([[1.0], [2.0]])
    >>> U, V = hinton_mcclelland_step(np.asarray([[2.0]]), np.asarray([[0.5]]), y, 0.1, linear=True)
    >>> print(U, V)
    [[2.]] [[0.5]]
    """
    xp = array_namespace(U, V, y)
    _check_rate(rate=rate)
    if not 0 <= regression < 1:
        raise ValueError(f"regression must lie in [0, 1); got {regression!r}. At 1 no unit would ever move.")

    def activation(a: Array) -> Array:
        # 1/(1 + e^−a) in a form that cannot overflow.
        return a if linear else 0.5 * (1 + xp.tanh(a / 2))

    h = activation(_through(xp, y, U))
    y_hat = regression * y + (1 - regression) * activation(_through(xp, h, V))
    h_hat = regression * h + (1 - regression) * activation(_through(xp, y_hat, U))
    return Pair(U + float(rate) * _mean_outer(xp, h - h_hat, y_hat), V + float(rate) * _mean_outer(xp, y - y_hat, h))


@gate(real=True, W_pinv=2, W=2, y=2)
def autoencoder_step(W_pinv: Array, W: Array, y: Array, rate: float, *, decay: float = 0.0) -> Array:
    """Take one step of the autoencoder or "parallel" rule (v2 §3.1): ΔW⁺ = −η(mean (W⁺Wy − y)(Wy)ᵀ + γW⁺).

    v2 prints ΔW for ΔW⁺, and its Algorithm 2 mixes layers whose dimensions do not match.

    Parameters
    ----------
    W_pinv : array, shape (..., n_in, n_out)
    W : array, shape (..., n_out, n_in)
    y : array, shape (..., batch, n_in)
        What drives the rule: white noise, or the layer's real activity h_{l−1}.
    rate : float
        η; stable below 2/(σ₁(WΓWᵀ) + γ).
    decay : float
        Weight decay γ ≥ 0.

    Returns
    -------
    array, shape (..., n_in, n_out)

    Raises
    ------
    ValueError
        If a parameter is negative.

    Notes
    -----
    Linear in W⁺, so a convex least-squares problem; its fixed point is `autoencoder_fixed_point`.

    Examples
    --------
    >>> import numpy as np
    >>> print(autoencoder_step(np.asarray([[0.0]]), np.asarray([[2.0]]), np.asarray([[1.0]]), 0.1))
    [[0.2]]
    """
    xp = array_namespace(W_pinv, W, y)
    _check_rate(rate=rate, decay=decay)
    Wy = _through(xp, y, W)
    change = _mean_outer(xp, _through(xp, Wy, W_pinv) - y, Wy)
    return W_pinv - float(rate) * (change + float(decay) * W_pinv)


@gate(W=2, second_moment=2, start=2)
def autoencoder_fixed_point(
    W: Array, second_moment: Array | None = None, *, decay: float = 0.0, start: Array | None = None
) -> Array:
    """Return where `autoencoder_step` converges: the data-weighted inverse ΓWᵀ(WΓWᵀ + γI)⁻¹.

    Parameters
    ----------
    W : array, shape (..., n_out, n_in)
    second_moment : array, shape (..., n_in, n_in), optional
        Γ = E[yyᵀ]. Default: I, white noise; the limit is then Wᵀ(WWᵀ + γI)⁻¹, which is W⁺ for γ = 0.
    decay : float
        γ ≥ 0.
    start : array, shape (..., n_in, n_out), optional
        For γ = 0 and a W whose rows are dependent (a tall W, say), what the start has outside the range of WΓWᵀ
        stays: the limit is ΓWᵀ(WΓWᵀ)⁺ + W⁺₀(I − QQᵀ). Default: a start without such a part.

    Returns
    -------
    array, shape (..., n_in, n_out)

    Examples
    --------
    >>> import numpy as np
    >>> W = np.asarray([[1.0, 1.0]])
    >>> print(autoencoder_fixed_point(W))
    [[0.5]
     [0.5]]
    >>> print(autoencoder_fixed_point(W, np.diag(np.asarray([3.0, 1.0]))))
    [[0.75]
     [0.25]]
    """
    xp = array_namespace(W, second_moment, start)
    Wh = adjoint(xp, W)
    if second_moment is None:
        if not decay and start is None:
            return pinv(W)
        target = Wh
    else:
        target = matmul(second_moment, Wh)
    G = matmul(W, target)
    if decay:
        G = G + decay * identity(xp, G.shape[-1], W)
    inverse = pinv(G, hermitian=True)
    limit = matmul(target, inverse)
    if start is None or decay:
        return limit
    return limit + start - matmul(start, matmul(G, inverse))


class RecursiveLeastSquares:
    """RLS (OPIUM, Tapson and van Schaik): the ridge solution M = YᵀH(HᵀH + λI)⁻¹, one pair (h_t, y_t) at a time.

    ψ = Ph, P ← P − ψψᵀ/(1 + hᵀψ), M ← M + (y − Mh)ψᵀ/(1 + hᵀψ), from P₀ = I/λ, M₀ = 0; exact after every pair.

    Parameters
    ----------
    M : array, shape (..., n_y, n_h)
        Zeros, on the backend and of the dtype wanted; a start M₀ ≠ 0 is what λ then shrinks to.
    damping : float
        λ > 0, in units of h².

    Raises
    ------
    ValueError
        If λ is not positive.

    References
    ----------
    .. [1] J. Tapson, A. van Schaik, "Learning the pseudoinverse solution to network weights", Neural Networks 45 (2013)
       94-100, :doi:`10.1016/j.neunet.2013.02.008`.

    Examples
    --------
    >>> import numpy as np
    >>> rls = RecursiveLeastSquares(np.zeros((1, 1)), damping=1.0)
    >>> rls.step(np.asarray([1.0]), np.asarray([4.0]))
    >>> print(rls.M)
    [[2.]]
    """

    @gate(real=True, M=2)
    def __init__(self, M: Array, damping: float) -> None:
        xp = array_namespace(M)
        if not 0 < damping < math.inf:
            raise ValueError(f"damping must be positive and finite; got {damping!r}. P₀ = I/λ has no limit at 0.")
        self.xp, self.M = xp, M
        n = M.shape[-1]
        # (..., n_h, n_h) of the leading shape of M.
        self.P = (identity(xp, n, M) + xp.zeros_like(matmul(xp.matrix_transpose(M), M))) / damping

    @gate(like="M", h=1, y=1)
    def step(self, h: Array, y: Array) -> None:
        """Take in one pair, h (..., n_h) and y (..., n_y)."""
        xp = self.xp
        column, target = h[..., :, None], y[..., :, None]
        psi = matmul(self.P, column)
        row = xp.matrix_transpose(psi) / (1 + matmul(xp.matrix_transpose(column), psi))
        self.P = self.P - matmul(psi, row)
        self.M = self.M + matmul(target - matmul(self.M, column), row)


@gate(real=True, M=2, h=1, y=1)
def opium_light_step(M: Array, h: Array, y: Array, *, gain: float = 1.0) -> Array:
    """Take one OPIUM-light step, M ← M + (y − Mh)hᵀ/(1/g + hᵀh): RLS with P frozen at gI, so that no matrix is kept.

    Parameters
    ----------
    M : array, shape (..., n_y, n_h)
    h : array, shape (..., n_h)
    y : array, shape (..., n_y)
    gain : float
        g > 0, in units of 1/h². As g → ∞ the step is Kaczmarz's projection, after which Mh = y.

    Returns
    -------
    array, shape (..., n_y, n_h)

    Raises
    ------
    ValueError
        If the gain is not positive.

    Notes
    -----
    Fixed point: any M with Mh = y for every pair; from M₀ = 0 on consistent pairs the limit is the one of least norm,
    Y H⁺ (Kaczmarz), for every g. On inconsistent pairs it hovers around a normalized least-squares solution.

    Examples
    --------
    >>> import numpy as np
    >>> print(opium_light_step(np.zeros((1, 1)), np.asarray([1.0]), np.asarray([4.0]), gain=1.0))
    [[2.]]
    """
    xp = array_namespace(M, h, y)
    if not 0 < gain < math.inf:
        raise ValueError(f"gain must be positive and finite; got {gain!r}.")
    column = h[..., :, None]
    row = xp.matrix_transpose(column)
    return M + matmul(y[..., :, None] - matmul(M, column), row) / (1 / gain + matmul(row, column))


@gate(real=True, H=2, Y=2)
def ridge_solution(H: Array, Y: Array, damping: float) -> Array:
    """Return M = YᵀH(HᵀH + λI)⁻¹, the minimizer of Σ‖y − Mh‖² + λ‖M‖², to which `RecursiveLeastSquares` is equal.

    Parameters
    ----------
    H : array, shape (..., samples, n_h)
    Y : array, shape (..., samples, n_y)
    damping : float
        λ ≥ 0; with 0 the solution of least norm.

    Returns
    -------
    array, shape (..., n_y, n_h)

    Examples
    --------
    >>> import numpy as np
    >>> print(ridge_solution(np.asarray([[1.0]]), np.asarray([[4.0]]), 1.0))
    [[2.]]
    """
    xp = array_namespace(H, Y)
    _check_rate(damping=damping)
    if not damping:
        return matmul(xp.matrix_transpose(Y), xp.matrix_transpose(pinv(H)))
    Ht = xp.matrix_transpose(H)
    G = matmul(Ht, H) + damping * identity(xp, H.shape[-1], H)
    return matmul(matmul(xp.matrix_transpose(Y), H), pinv(G, hermitian=True))
