"""The way back through a network, once: what arrives at a layer, what the layer makes of it, and where that goes."""

from __future__ import annotations

from collections.abc import Callable

from rfnumeric.nn.network import Network
from rfnumeric.nn.wiring import add_to
from rfnumeric.typing import Array

Gate = Callable[[int, Array], tuple[Array, Array]]
"""From (l, g_l), what arrives at h_l, to (δ_l, s_l): what the update of layer l uses, and what travels on."""

Send = Callable[[int, Array], Array]
"""From (l, s_l), shape (..., rows, n_l), to what the map of layer l sends to what it reads, (..., rows, n_in)."""


def backward(network: Network, g_L: Array, gate: Gate, send: Send, lowest: int = 1) -> list[Array]:
    """Return [None, δ_1, …, δ_L]: each layer gates what its readers sent to it, and sends it on.

    Where a layer has several readers, what they send is summed, as the chain rule has it.

    Parameters
    ----------
    network : Network
    g_L : array, shape (..., rows, n_L)
        What arrives at h_L, such as e.
    gate : callable
        See `Gate`.
    send : callable
        See `Send`; not called for a layer that reads the input alone, unless the sweep goes to the input.
    lowest : int
        Last layer of the sweep; at 0 what arrives at the input is returned too, in place of the None.

    Returns
    -------
    list of array, shape (..., rows, n_l)
        None for the layers below `lowest`.
    """
    delta: list[Array] = [None] * (network.L + 1)
    g: list[Array | None] = [None] * (network.L + 1)
    g[network.L] = g_L
    for l in range(network.L, max(lowest, 1) - 1, -1):
        delta[l], s = gate(l, g[l])
        g[l] = None
        if l == lowest:
            break
        if lowest == 0 or network.reads_layers(l):
            network.scatter(l, send(l, s), g, to_input=lowest == 0)
        for k in network.layers[l].skips:
            if k or lowest == 0:
                add_to(g, k, s)
    delta[0] = g[0]
    return delta
