"""Two sweeps through a network that are each other's transposes: down from its output, and up to it.

A `Route` says how a layer multiplies what arrives, and how its map sends it on. With D and M(W)ᵀ the sweep down is
backpropagation and the sweep up its transpose, the Jacobian; with D⁺ and M(W)⁺ it is the recursion of the reciprocals
(v1/v2 §4.1, §4.2). Layers that read several others, and residual connections, sum and spread as the chain rule has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.nn import Network, Trace, backward
from rfnumeric.typing import Array


@dataclass(frozen=True)
class Route:
    """How a sweep passes each layer.

    Attributes
    ----------
    factors : list of array, shape (..., batch, n_l)
        F_l by layer, a diagonal for each sample: D_l or D_l⁺.
    down : callable
        From (l, s), shape (..., rows, n_l), to what the map of layer l sends to what it reads, (..., rows, n_in).
    up : callable
        Its transpose, from (l, v), shape (..., rows, n_in), to (..., rows, n_l).
    """

    factors: list[Array]
    down: Callable[[int, Array], Array]
    up: Callable[[int, Array], Array]


def derivatives(network: Network, trace: Trace) -> Route:
    """Return the route of the Jacobians: D_l, M(W_l)ᵀ down and M(W_l) up."""
    layers, W = network.layers, network.weights
    return Route(
        trace.d_sigma,
        lambda l, s: layers[l].map.pull(W(l), s),
        lambda l, v: layers[l].map.push(W(l), v),
    )


def sweep_down(network: Network, route: Route, v: Array, lowest: int = 1) -> tuple[list[Array], list[Array]]:
    """Return g_l, what arrives at h_l when v arrives at h_L, and F_l g_l, which layer l passes on.

    Parameters
    ----------
    network : Network
    route : Route
    v : array, shape (..., rows, n_L)
        One row a sample, or as many rows a sample as wanted, those of a sample one behind the other.
    lowest : int
        Last layer that is looked at, 0 … L.

    Returns
    -------
    tuple of two lists, by layer, of arrays of shape (..., rows, n_l)
        None below `lowest`, and F_0 g_0 is g_0.
    """
    arrived: list[Array] = [None] * (network.L + 1)

    def gate(l: int, g: Array) -> tuple[Array, Array]:
        arrived[l] = g
        s = _times(route.factors[l], g)
        return s, s

    passed = backward(network, v, gate, route.down, lowest)
    arrived[0] = passed[0]
    return arrived, passed


def _times(factor: Array, rows: Array) -> Array:
    """Multiply all rows of a sample by its factor."""
    if factor.shape[-2] == rows.shape[-2]:
        return factor * rows
    return as_rows(by_sample(rows, factor.shape[-2]) * factor[..., None, :])


def sweep_up(
    network: Network, route: Route, trace: Trace, h: dict[int, Array] | None = None, a: dict[int, Array] | None = None
) -> Array:
    """Return what reaches h_L: the transpose of `sweep_down`.

    Parameters
    ----------
    network : Network
    route : Route
    trace : Trace
    h : dict of array, shape (..., batch, n_l)
        What starts at h_l, by layer; these layers pass on nothing else.
    a : dict of array, shape (..., batch, n_l)
        What starts at a_l, before F_l, and adds to what comes from below.

    Returns
    -------
    array, shape (..., batch, n_L)
    """
    h, a = h or {}, a or {}
    xp = array_namespace(trace.h[0])
    moved: list[Array | None] = [None] * (network.L + 1)
    for l in range(network.L + 1):
        if l in h:
            moved[l] = h[l]
            continue
        total = a.get(l)
        if l and any(s.layer is not None and moved[s.layer] is not None for s in network.layers[l].read(l)):
            known = [xp.zeros_like(t) if m is None else m for m, t in zip(moved[:l], trace.h[:l], strict=True)]
            sent = route.up(l, network.input(l, known))
            total = sent if total is None else total + sent
        for k in network.layers[l].skips if l else ():
            if moved[k] is not None:
                total = moved[k] if total is None else total + moved[k]
        moved[l] = None if total is None else route.factors[l] * total
    last = moved[network.L]
    return xp.zeros_like(trace.h[network.L]) if last is None else last


def output_units(trace: Trace) -> Array:
    """Return the n_L unit vectors for each sample, shape (..., batch·n_L, n_L)."""
    h = trace.h[-1]
    xp = array_namespace(h)
    eye = xp.eye(h.shape[-1], dtype=h.dtype, device=device_of(h))
    return as_rows(eye + xp.zeros_like(h)[..., :, None])


def as_rows(v: Array) -> Array:
    """Put the rows of all samples one behind the other, (..., batch, r, n) → (..., batch·r, n)."""
    return array_namespace(v).reshape(v, (*v.shape[:-3], v.shape[-3] * v.shape[-2], v.shape[-1]))


def by_sample(rows: Array, batch: int) -> Array:
    """Undo `as_rows`."""
    shape = (*rows.shape[:-2], batch, rows.shape[-2] // max(batch, 1), rows.shape[-1])
    return array_namespace(rows).reshape(rows, shape)
