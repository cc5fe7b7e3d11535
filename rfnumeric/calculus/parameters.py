"""The parameters of a layer as one vector, and N(h)ᵀ of each sample, which leads from a layer's rows to them.

vec stacks columns: the first index of W runs fastest, so that entry (i, j) of a dense W_l is entry j·n_l + i.
"""

from __future__ import annotations

import math

from rfnumeric.backend import array_namespace
from rfnumeric.nn import Map, Network, Trace
from rfnumeric.typing import Array


def vec(W: Array, axes: int) -> Array:
    """Stack the entries of the last `axes` axes into one, the first index fastest."""
    xp = array_namespace(W)
    lead = W.ndim - axes
    order = (*range(lead), *reversed(range(lead, W.ndim)))
    return xp.reshape(xp.permute_dims(W, order), (*W.shape[:lead], math.prod(W.shape[lead:])))


def unvec(x: Array, shape: tuple[int, ...]) -> Array:
    """Undo `vec`: (..., entries) → (..., *shape)."""
    xp = array_namespace(x)
    lead = x.ndim - 1
    reverse = xp.reshape(x, (*x.shape[:-1], *reversed(shape)))
    return xp.permute_dims(reverse, (*range(lead), *reversed(range(lead, reverse.ndim))))


def count(layer: Map, wrt: str = "W") -> int:
    """Return the number of entries of W or of b."""
    return math.prod((layer.weight_shape if wrt == "W" else layer.bias_shape) or ())


def users_of(network: Network, l: int) -> tuple[int, ...]:
    """Return the layers whose parameters are those of layer l, itself among them."""
    return network.users[network.owner[l]]


def parameter_rows(network: Network, trace: Trace, l: int, rows: list[Array], wrt: str = "W") -> Array:
    """Return N(h)ᵀ of rows for each sample, summed over the layers that use the same parameters.

    Parameters
    ----------
    network : Network
    trace : Trace
    l : int
    rows : list of array, shape (..., batch, r, n_l)
        By layer; those of the layers that use the parameters of layer l are read.
    wrt : {"W", "b"}

    Returns
    -------
    array, shape (..., batch, r, n_parameters)
        For rows that are ∂h_L/∂a_l, the Jacobian ∂h_L/∂(vec W)ᵀ or ∂h_L/∂(vec b)ᵀ.
    """
    total = None
    for u in users_of(network, l):
        layer, v = network.layers[u].map, rows[u][..., None, :]
        if wrt == "b":
            own = vec(layer.bias_grad(v), len(layer.bias_shape))  # type: ignore[arg-type]
        else:
            h = network.input(u, trace.h)[..., None, None, :]
            xp = array_namespace(h)
            h = xp.broadcast_to(h, (*v.shape[:-1], h.shape[-1]))
            own = vec(layer.grad(h, v), len(layer.weight_shape))  # type: ignore[arg-type]
        total = own if total is None else total + own
    return total
