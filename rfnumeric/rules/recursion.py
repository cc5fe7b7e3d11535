"""The backward recursions that rules share: gated (backprop's form), reciprocal (v1/v2 §4.2), mean reciprocal."""

from __future__ import annotations

import math

from rfnumeric import kernels
from rfnumeric.backend import array_namespace, transpose
from rfnumeric.nn import Network, Trace
from rfnumeric.typing import Array

OWN_LAYER = ("reciprocal", "derivative", "none")
DERIVATIVES = ("all", "own")


def gated_deltas(network: Network, trace: Trace, e: Array, M: list[Array | None]) -> list[Array]:
    """Return δ_L = D_L e and δ_l = D_l M_{l+1} δ_{l+1}: backprop for M = Wᵀ (MATH: φ_l = D_l).

    Parameters
    ----------
    network : Network
    trace : Trace
    e : array, shape (..., batch, n_L)
    M : list of array, shape (..., n_{l−1}, n_l)
        ``M[l]`` for l = 2 … L; the rest is not used.
    """
    delta: list[Array] = [None] * (network.L + 1)
    delta[network.L] = trace.d_sigma[network.L] * e
    for l in range(network.L - 1, 0, -1):
        delta[l] = kernels.gated_product(delta[l + 1], M[l + 1], trace.d_sigma[l])
    return delta


def mean_reciprocal_deltas(
    network: Network, trace: Trace, e: Array, R: list[Array | None], derivatives: str, normalize: bool
) -> list[Array]:
    """Return δ_l = D_l R_{l+1} δ_{l+1} from δ_L = D_L e, or, with D at the own layer alone, δ_l = D_l R_{l+1} … R_L e.

    Parameters
    ----------
    network : Network
    trace : Trace
    e : array, shape (..., batch, n_L)
    R : list of array, shape (..., n_{l−1}, n_l)
        ``R[l]`` for l = 2 … L; the rest is not used.
    derivatives : {"all", "own"}
    normalize : bool
        Whether to divide δ_l by the batch's mean of ‖h_{l−1}‖², on its way to the weights alone.
    """
    if derivatives == "all":
        delta = gated_deltas(network, trace, e, R)
    else:
        delta = [None] * (network.L + 1)
        for l in range(network.L, 0, -1):
            delta[l] = trace.d_sigma[l] * e
            if l > 1:
                e = kernels.matmul(e, transpose(R[l]))
    if normalize:
        for l in range(1, network.L + 1):
            delta[l] = delta[l] / _mean_square(trace.h[l - 1], network.has_bias)
    return delta


def _mean_square(h: Array, has_bias: bool) -> Array:
    """Return mean_batch ‖h‖² (+ 1 for the input of a bias), shape (..., 1, 1); ∞ for a silent layer, which then rests.

    One number for the batch: a sample of small activity would otherwise count most.
    """
    xp = array_namespace(h)
    total = xp.sum(h * h, axis=(-2, -1), keepdims=True) / h.shape[-2] + (1 if has_bias else 0)
    return xp.where(total > 0, total, xp.full_like(total, math.inf))


def reciprocal_deltas(
    network: Network,
    trace: Trace,
    e: Array,
    W_pinv: list[Array | None],
    *,
    own_layer: str,
    normalize: bool,
    derivative_damping: float,
) -> list[Array]:
    """Return δ_l = D_l⁺ B_l e / ‖h_{l−1}‖² with B_L = I, B_l = W_{l+1}⁺ D_{l+1}⁺ B_{l+1} (v1/v2 §4.2).

    Departures from the papers as printed: the recursion uses W_{l+1}⁺ as the text has it (v2's Algorithm boxes print
    W_l⁺); the own-layer factor D_l⁺, which the exact reciprocal of J_{W_l} = h_{l−1}ᵀ ⊗ (J_{h_l} D_l) needs, is there;
    the input is h_{l−1}, not a_{l−1}.

    Parameters
    ----------
    network : Network
    trace : Trace
    e : array, shape (..., batch, n_L)
    W_pinv : list of array, shape (..., n_{l−1}, n_l)
        W_l⁺ for l = 2 … L. W_1⁺ is used by no update.
    own_layer : {"reciprocal", "derivative", "none"}
        The own layer's factor: D_l⁺ (exact), D_l, or none.
    normalize : bool
        Whether to divide by ‖h_{l−1}‖² (‖h_{l−1}‖² + 1 in a layer with bias).
    derivative_damping : float
        λ of D⁺ = D/(D² + λ), in units of σ'².
    """
    delta: list[Array] = [None] * (network.L + 1)
    B_e = e
    for l in range(network.L, 0, -1):
        D_pinv_B_e, delta[l] = kernels.reciprocal_derivative(
            B_e, trace.d_sigma[l], trace.h[l - 1], derivative_damping, own_layer, normalize, network.has_bias
        )
        if l > 1:
            B_e = kernels.matmul(D_pinv_B_e, transpose(W_pinv[l]))
    return delta


def running_second_moment(moment: Array, rows: Array, weight: float) -> Array:
    """Return (1 − w) M + w · mean_batch r rᵀ, a step of the running second moment of a batch's rows.

    Parameters
    ----------
    moment : array, shape (..., n, n)
        M.
    rows : array, shape (..., batch, n)
    weight : float
        w; see `moment_weight`.
    """
    return kernels.add_outer((1 - weight) * moment, rows, rows, weight / rows.shape[-2])


def moment_weight(step: int, decay: float) -> float:
    """Return the weight of a step in a running mean of that decay, whose first 1/(1 − decay) steps count alike."""
    return max(1 / (step + 1), 1 - decay)


def check_reciprocal_options(own_layer: str, derivative_damping: float) -> None:
    """Check the options of `reciprocal_deltas`.

    Raises
    ------
    ValueError
        If one is out of its range.
    """
    if own_layer not in OWN_LAYER:
        raise ValueError(f"own_layer must be one of {', '.join(OWN_LAYER)}; got {own_layer!r}.")
    if not derivative_damping >= 0:
        raise ValueError(f"derivative_damping must be at least 0; got {derivative_damping}.")


def check_mean_options(derivatives: str, damping: float) -> None:
    """Check the options that both mean reciprocals have.

    Raises
    ------
    ValueError
        If one is out of its range.
    """
    if derivatives not in DERIVATIVES:
        raise ValueError(f"derivatives must be one of {', '.join(DERIVATIVES)}; got {derivatives!r}.")
    if not 0 < damping < math.inf:
        raise ValueError(f"damping must be positive and finite; got {damping}.")
