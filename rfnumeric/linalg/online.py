"""Local rules that learn a generalized inverse from samples: what a sleep phase can do, and what it converges to.

Samples are rows: y is (..., batch, n) and W y in the papers is ``y @ W.T`` here. Every rule states its fixed point.
What a rule multiplies has a power of two of its own, so that no product of two activities leaves the range of the dtype
where the step itself does not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rfnumeric.backend import array_namespace, eps
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import matmul
from rfnumeric.linalg._common import adjoint, check_matrix, identity, scale, times_power_of_two
from rfnumeric.linalg._shapes import check_leading, check_shape
from rfnumeric.linalg.least_squares import tikhonov
from rfnumeric.linalg.pinv import pinv
from rfnumeric.typing import Array, Namespace


def _step(xp: Namespace, a: Array, b: Array, rate: float, exponent: Array | float, variance: float = 1.0) -> Array:
    """Return η/σ²·2^exponent times the batch mean of a bᵀ, shape (..., n_a, n_b)."""
    (a, of_a), (b, of_b) = scale(xp, a), scale(xp, b)
    (mantissa, of_rate), (divisor, of_variance) = math.frexp(rate), math.frexp(variance)
    change = mantissa / divisor * (matmul(xp.matrix_transpose(a), b) / a.shape[-2])
    total = exponent + of_a + of_b + (of_rate - of_variance)
    # Beyond twice the range everything but 0 is infinite, and 0·∞ would not be 0.
    limit = 254 if eps(a) > 1e-10 else 2046
    total = xp.where(total > limit, xp.full_like(total, limit), total)
    return times_power_of_two(xp, change, total[..., None, None])


def _through(xp: Namespace, y: Array, W: Array) -> Array:
    """Return W y for each row of y."""
    return matmul(y, xp.matrix_transpose(W))


def _check_rate(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number ≥ 0; got {value!r}.")


def _check_pair(xp: Namespace, U: Array, V: Array, y: Array, names: tuple[str, str] = ("U", "V")) -> None:
    """Check U (..., m, n), its inverse V (..., n, m) and samples y (..., batch, n)."""
    check_matrix(xp, U, names[0])
    m, n = U.shape[-2:]
    check_shape(V, names[1], (n, m), f"the inverse of {names[0]}", U, " Is it transposed?")
    _check_samples(y, "y", n, names[0], U)
    check_leading({names[0]: U.shape[:-2], names[1]: V.shape[:-2], "y": y.shape[:-2]})


def _check_samples(y: Array, name: str, width: int, what: str, W: Array) -> None:
    if y.ndim < 2 or y.shape[-1] != width or not y.shape[-2]:
        raise ValueError(
            f"{name} must have shape (..., batch, {width}), batch ≥ 1, to fit {what} {tuple(W.shape)}; got "
            f"{tuple(y.shape)}."
        )


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
        If the rate is negative, the variance not positive, or shapes do not fit.

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
    if not 0 < variance < math.inf:
        raise ValueError(f"variance must be positive and finite; got {variance!r}.")
    _check_pair(xp, U, V, y)
    y, exponent = scale(xp, y)
    h = _through(xp, y, U)
    h_hat = _through(xp, _through(xp, h, V), U)
    new_U = U + _step(xp, h - h_hat, y, rate, 2 * exponent, variance)
    if hidden_noise is None:
        return Pair(new_U, V)
    _check_samples(hidden_noise, "hidden_noise", U.shape[-2], "U", U)
    check_leading({"U": U.shape[:-2], "V": V.shape[:-2], "hidden_noise": hidden_noise.shape[:-2]})
    noise, exponent = scale(xp, hidden_noise)
    z = _through(xp, noise, V)
    z_hat = _through(xp, _through(xp, z, U), V)
    return Pair(new_U, V + _step(xp, z - z_hat, noise, rate, 2 * exponent, variance))


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
        If a parameter is out of range or shapes do not fit.

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
    _check_pair(xp, U, V, y)
    exponent: Array | float = 0.0
    if linear:
        y, exponent = scale(xp, y)

    def activation(a: Array) -> Array:
        # 1/(1 + e^−a) in a form that cannot overflow.
        return a if linear else 0.5 * (1 + xp.tanh(a / 2))

    h = activation(_through(xp, y, U))
    y_hat = regression * y + (1 - regression) * activation(_through(xp, h, V))
    h_hat = regression * h + (1 - regression) * activation(_through(xp, y_hat, U))
    change_U, change_V = (_step(xp, *pair, rate, 2 * exponent) for pair in ((h - h_hat, y_hat), (y - y_hat, h)))
    return Pair(U + change_U, V + change_V)


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
        If a parameter is negative or shapes do not fit.

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
    _check_pair(xp, W, W_pinv, y, ("W", "W_pinv"))
    (y, of_y), (W, of_W) = scale(xp, y), scale(xp, W)
    Wy = _through(xp, y, W)
    wrong = _through(xp, Wy, times_power_of_two(xp, W_pinv, of_W[..., None, None])) - y
    new = W_pinv - _step(xp, wrong, Wy, rate, 2 * of_y + of_W)
    return new - float(rate * decay) * W_pinv if decay else new


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

    Raises
    ------
    ValueError
        If the decay is negative or shapes do not fit.

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
    check_matrix(xp, W)
    _check_rate(decay=decay)
    n_in = W.shape[-1]
    for name, X, shape in (("second_moment", second_moment, (n_in, n_in)), ("start", start, (n_in, W.shape[-2]))):
        if X is not None:
            check_shape(X, name, shape, "to fit W", W)
            check_leading({"W": W.shape[:-2], name: X.shape[:-2]})
    if second_moment is None and (decay or start is None):
        return tikhonov(xp, W, decay)
    W, of_W = scale(xp, W)
    target, of_moment = adjoint(xp, W), 0 * of_W
    if second_moment is not None:
        second_moment, of_moment = scale(xp, second_moment)
        target = matmul(second_moment, target)
    G = matmul(W, target)
    above = 0 * (of_W + of_moment)
    if decay:
        # γ in the units of G; the larger of the two is what G + γI is scaled to.
        mantissa, exponent = math.frexp(decay)
        size = exponent - 2 * of_W - of_moment
        above = xp.where(size > 0, size, above)
        shift = xp.astype(mantissa * 2.0 ** (size - above), W.dtype)[..., None, None]
        G = times_power_of_two(xp, G, -above[..., None, None]) + shift * identity(xp, G.shape[-1], W)
    inverse = pinv(G, hermitian=True)
    limit = times_power_of_two(xp, matmul(target, inverse), -(of_W + above)[..., None, None])
    if start is None or decay:
        return limit
    return limit + start - matmul(start, matmul(G, inverse))
