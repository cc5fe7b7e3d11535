"""The backward recursions that rules share: gated (backprop's form), reciprocal (v1/v2 §4.2), mean reciprocal.

Each goes back through a network with feedback parameters ``F``, a list indexed like `Network.W`, by one of two ways:
`FEED`, for feedback that stands where the transpose does, and `undo`, for a pseudoinverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from rfnumeric import kernels
from rfnumeric.backend import array_namespace
from rfnumeric.nn import Map, Network, Trace, backward
from rfnumeric.typing import Array

OWN_LAYER = ("reciprocal", "derivative", "none")
DERIVATIVES = ("all", "own")


class Way(NamedTuple):
    """How a layer's map sends back through feedback parameters: alone, and times the D of the layer below."""

    plain: Callable[[Map, Array, Array], Array]
    gated: Callable[[Map, Array, Array, Array], Array]


FEED = Way(lambda layer, F, v: layer.feed(F, v), lambda layer, F, v, d: layer.gated_feed(F, v, d))
"""Through parameters of the transpose's shape; see `Map.feed`."""


def undo(damping: float = 0.0) -> Way:
    """Return the way through M(W)⁺, damped where the parameters are not; see `Map.undo`."""
    return Way(lambda layer, P, v: layer.undo(P, v, damping), lambda layer, P, v, d: layer.gated_undo(P, v, d, damping))


UNDO = undo()


def gated_deltas(network: Network, trace: Trace, e: Array, F: list[Array | None], way: Way = FEED) -> list[Array]:
    """Return δ_L = D_L e and δ_l = D_l F_{l+1} δ_{l+1}: backprop for F = Wᵀ (MATH: φ_l = D_l).

    Parameters
    ----------
    network : Network
    trace : Trace
    e : array, shape (..., batch, n_L)
    F : list of array, shape (..., n_{l−1}, n_l) of a dense layer
        By the layer that owns the weights, for those of `Network.fed`.
    way : Way
    """
    d = trace.d_sigma
    if network.is_chain:  # the product and the factor in one kernel
        delta: list[Array] = [None] * (network.L + 1)
        delta[network.L] = d[network.L] * e
        for l in range(network.L - 1, 0, -1):
            delta[l] = way.gated(network.layers[l + 1].map, F[l + 1], delta[l + 1], d[l])
        return delta

    def gate(l: int, g: Array) -> tuple[Array, Array]:
        delta_l = d[l] * g
        return delta_l, delta_l

    return backward(network, e, gate, _sender(network, F, way))


def transposes(network: Network) -> list[Array | None]:
    """Return Wᵀ as feedback parameters, by the layer that owns the weights: backpropagation's."""
    return network.fed_by(lambda k: network.layers[k].map.transposed(network.W[k]))


def _sender(network: Network, F: list[Array | None], way: Way) -> Callable[[int, Array], Array]:
    return lambda l, s: way.plain(network.layers[l].map, F[network.owner[l]], s)


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
        By the layer that owns the weights, for those of `Network.fed`.
    derivatives : {"all", "own"}
    normalize : bool
        Whether to divide δ_l by the batch's mean of ‖h_{l−1}‖², on its way to the weights alone.
    """
    if derivatives == "all":
        delta = gated_deltas(network, trace, e, R)
    else:
        delta = backward(network, e, lambda l, g: (trace.d_sigma[l] * g, g), _sender(network, R, FEED))
    if normalize:
        for l in range(1, network.L + 1):
            delta[l] = delta[l] / _mean_square(network.input(l, trace.h), network.bias(l) is not None)
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
    F: list[Array | None],
    *,
    own_layer: str,
    normalize: bool,
    derivative_damping: float,
    way: Way = UNDO,
) -> list[Array]:
    """Return δ_l = D_l⁺ B_l e / ‖h_{l−1}‖² with B_L = I, B_l = W_{l+1}⁺ D_{l+1}⁺ B_{l+1} (v1/v2 §4.2).

    In a layer that is not dense, (N(h)N(h)ᵀ)⁺ takes the place of 1/‖h‖²; see `rfnumeric.nn.Map.gram`.

    Departures from the papers as printed: the recursion uses W_{l+1}⁺ as the text has it (v2's Algorithm boxes print
    W_l⁺); the own-layer factor D_l⁺, which the exact reciprocal of J_{W_l} = h_{l−1}ᵀ ⊗ (J_{h_l} D_l) needs, is there;
    the input is h_{l−1}, not a_{l−1}.

    Parameters
    ----------
    network : Network
    trace : Trace
    e : array, shape (..., batch, n_L)
    F : list of array, shape (..., n_{l−1}, n_l) of a dense layer
        W_l⁺ by the layer that owns the weights, for those of `Network.fed`. W_1⁺ is used by no update of a chain.
    own_layer : {"reciprocal", "derivative", "none"}
        The own layer's factor: D_l⁺ (exact), D_l, or none.
    normalize : bool
        Whether to divide by ‖h_{l−1}‖² (‖h_{l−1}‖² + 1 in a layer with bias).
    derivative_damping : float
        λ of D⁺ = D/(D² + λ), in units of σ'².
    way : Way
    """

    def gate(l: int, g: Array) -> tuple[Array, Array]:
        layer, h, bias = network.layers[l].map, network.input(l, trace.h), network.bias(l) is not None
        return layer.reciprocal_gate(
            g, trace.d_sigma[l], h, bias, damping=derivative_damping, own_layer=own_layer, normalize=normalize
        )

    return backward(network, e, gate, _sender(network, F, way))


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
