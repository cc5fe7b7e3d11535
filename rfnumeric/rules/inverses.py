"""Where sources of feedback get W⁺ from: exact engines, and recirculation, which learns it from noise (v1/v2 §3)."""

from __future__ import annotations

from rfnumeric import kernels
from rfnumeric.backend import array_namespace, device_of, eps, transpose
from rfnumeric.errors import ConvergenceError
from rfnumeric.linalg import damped_pinv, pinv
from rfnumeric.nn import Dense, Map, Network
from rfnumeric.nn.maps import along
from rfnumeric.typing import Array

POWER_STEPS = 30
EXACT_ENGINES = ("auto", "svd", "cholesky", "ben-israel-cohen")


def weight_pinvs(network: Network, engine: str, damping: float) -> list[Array | None]:
    """Return [None, None, W_2⁺, …, W_L⁺]; W_1⁺, the largest, is used by no update and is not computed.

    Parameters
    ----------
    network : Network
    engine : {"auto", "svd", "cholesky", "ben-israel-cohen"}
        Method of `rfnumeric.linalg.pinv`. Where one refuses a matrix (rank-deficient, ill-conditioned), the SVD takes
        over.
    damping : float
        λ relative to ‖W_l‖²_F / rank, the mean squared singular value; if positive, W⁺ becomes
        Wᵀ(WWᵀ + λI)⁻¹ (Cholesky, whatever the engine).

    Returns
    -------
    list of array, shape (..., n_{l−1}, n_l)
    """
    return network.fed_by(lambda k: network.layers[k].map.pinv(network.W[k], lambda W: _pinv(W, engine, damping)))


def _pinv(W: Array, engine: str, damping: float) -> Array:
    xp = array_namespace(W)
    if damping > 0:
        # (sW)⁺ = W⁺/s holds for damped inverses too if λ scales with s²: no array-valued λ is needed.
        mean_square = xp.sum(W * W, axis=(-2, -1), keepdims=True, dtype=W.dtype) / min(W.shape[-2:])
        s = xp.sqrt(mean_square)
        return damped_pinv(W / s, damping) / s
    try:
        return pinv(W, method=engine)
    except ConvergenceError:
        return pinv(W, method="svd")
    except ValueError:
        # Weights that have overflowed: a NaN inverse lets the loop report the run as diverged, naming the layer.
        finite = xp.all(xp.isfinite(W), axis=(-2, -1), keepdims=True)
        if bool(xp.all(finite)):
            raise
        X = _pinv(xp.where(finite, W, xp.zeros_like(W)), engine, damping)
        return xp.where(finite, X, xp.full_like(X, float("nan")))


def data_weighted_inverse(W: Array, second_moment: Array, damping: float) -> Array:
    """Return ΓWᵀ(WΓWᵀ + λI)⁻¹, the linear map that best recovers h from Wh for activity of second moment Γ = E[hhᵀ].

    The fixed point of the parallel rule driven by real activity (v2 §3.1), which differs from W⁺.

    Parameters
    ----------
    W : array, shape (..., m, n)
    second_moment : array, shape (..., n, n)
        Γ.
    damping : float
        λ ≥ 0, relative to the mean eigenvalue of WΓWᵀ. At least m·eps is used: few units active leave WΓWᵀ singular.

    Returns
    -------
    array, shape (..., n, m)

    Examples
    --------
    >>> import numpy as np
    >>> print(data_weighted_inverse(np.asarray([[1.0, 1.0]]), np.diag([3.0, 1.0]), 0.0).round(12))
    [[0.75]
     [0.25]]
    """
    W_gamma = kernels.matmul(W, second_moment)
    least = W.shape[-2] * eps(W)
    return transpose(damped_solve(kernels.matmul(W_gamma, transpose(W)), W_gamma, max(damping, least)))


def damped_solve(G: Array, B: Array, damping: float) -> Array:
    """Return (G + λI)⁻¹B, with λ relative to the mean eigenvalue of G; NaN for a member that is not finite.

    Parameters
    ----------
    G : array, shape (..., m, m)
        Symmetric and positive semidefinite.
    B : array, shape (..., m, k)
    damping : float
        λ > 0, relative to trace(G)/m.

    Returns
    -------
    array, shape (..., m, k)
        Zero for a member with G = 0, as the pseudoinverse has it.
    """
    xp = array_namespace(G)
    eye = xp.eye(G.shape[-1], dtype=G.dtype, device=device_of(G))
    # Weights that have overflowed would raise here; NaN lets the loop report the run as diverged, naming the layer.
    finite = xp.all(xp.isfinite(G), axis=(-2, -1), keepdims=True)
    scale = xp.sum(xp.where(finite, G, eye) * eye, axis=(-2, -1), keepdims=True) / G.shape[-1]
    usable = finite & (scale > 0)
    scale = xp.where(usable, scale, xp.ones_like(scale))
    # Divided by its mean eigenvalue first: λ is then a number, the same for all members.
    solution = kernels.solve_positive(xp.where(usable, G / scale, eye) + damping * eye, B) / scale
    solution = xp.where(usable, solution, xp.zeros_like(solution))
    return xp.where(finite, solution, xp.full_like(solution, float("nan")))


def recirculate(W: Array, F: Array, noise: Array, lr: float, layer: Map | None = None) -> Array:
    """Take one step of linear recirculation, X ← X + (η/σ²) mean (h − ĥ) yᵀ, with h = Xy, ŷ = Wh, ĥ = Xŷ (v1/v2 §3).

    In expectation X + η(X − XWX), a Ben-Israel-Cohen step for η = 1; X plays the paper's U, W its V. The fixed points
    that sampled noise singles out are those of X(I − WX) = 0; started at W⁺ they stay near it while W moves slowly.
    Needs `push` and `feed` of a layer and nothing else.

    Parameters
    ----------
    W : array, shape (..., m, n) of a dense layer, (..., *weight_shape) of another
    F : array, shape (..., n, m) of a dense layer
        X, the stand-in for W⁺. May be overwritten.
    noise : array, shape (..., batch, m)
        y: independent entries of mean 0 and variance 1 (so σ² = 1).
    lr : float
        η, dimensionless.
    layer : Map, optional
        Default: dense.

    Returns
    -------
    array, of the shape of `F`
    """
    layer = dense(W) if layer is None else layer
    h = layer.feed(F, noise)
    h_hat = layer.feed(F, layer.push(W, h))
    return layer.feed_learn(F, noise, h - h_hat, lr / noise.shape[-2])


def autoencoder_step(F: Array, Wy: Array, y: Array, lr: float | Array, layer: Map | None = None) -> Array:
    """Return X − η mean_batch (XWy − y)(Wy)ᵀ, a step of the linear autoencoder rule. May overwrite `F`.

    Parameters
    ----------
    F : array, shape (..., n, m) of a dense layer
        X, the stand-in for W⁺.
    Wy : array, shape (..., batch, m)
    y : array, shape (..., batch, n)
    lr : float or array of the leading shape of `F`
        η, in units of 1/‖Wy‖².
    layer : Map, optional
        Default: dense.
    """
    layer = dense(transpose(F)) if layer is None else layer
    residual = layer.feed(F, Wy)
    residual -= y
    return layer.feed_learn(F, Wy, residual, -lr / y.shape[-2])


def dense(W: Array) -> Dense:
    """Return the dense map of the shape of W."""
    return Dense(W.shape[-1], W.shape[-2])


def small_transpose(layer: Map, W: Array) -> Array:
    """Return αMᵀ as feedback parameters, with α = 1/σ₁(M)², from which recirculation converges.

    σ₁ by power iteration on MᵀM from rows of ones; a bound that is too low by a few percent keeps α below 2/σ₁².
    """
    xp = array_namespace(W)
    lead = W.shape[: W.ndim - len(layer.weight_shape)]  # type: ignore[arg-type]
    v = xp.ones((*lead, 1, layer.n_in), dtype=W.dtype, device=device_of(W))
    square = xp.ones((*lead, 1, 1), dtype=W.dtype, device=device_of(W))
    for _ in range(POWER_STEPS):
        v = v / xp.sqrt(xp.sum(v * v, axis=-1, keepdims=True))
        v = layer.pull(W, layer.push(W, v))
        square = xp.sqrt(xp.sum(v * v, axis=-1, keepdims=True))
    alpha = xp.where(square > 0, 1 / xp.where(square > 0, square, xp.ones_like(square)), xp.zeros_like(square))
    return layer.transposed(along(alpha[..., 0, 0], W) * W)


def check_engine(engine: str, allowed: tuple[str, ...], refresh_every: int, weight_damping: float) -> None:
    """Check the options of the sleep phase.

    Raises
    ------
    ValueError
        If one is out of its range.
    """
    if engine not in allowed:
        raise ValueError(f"pinv must be one of {', '.join(allowed)}; got {engine!r}.")
    if refresh_every < 1:
        raise ValueError(f"refresh_every must be at least 1 (steps); got {refresh_every}.")
    if not weight_damping >= 0:
        raise ValueError(f"weight_damping must be at least 0; got {weight_damping}.")
