"""How layers fit together: their widths, the shapes of their weights, and the parts of activities that they read."""

from __future__ import annotations

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.nn.activations import Activation
from rfnumeric.nn.dense import Dense
from rfnumeric.nn.layer import Layer, Source
from rfnumeric.typing import Array


def check_layers(layers: list[Layer], n_0: int | None) -> list[int]:
    """Check that layers fit together, and return the widths n_0, …, n_L.

    Parameters
    ----------
    layers : list of Layer
        For l = 1 … L.
    n_0 : int, optional
        Width of the input. Default: as far as the layers read it.

    Raises
    ------
    ValueError
        Names the layer that does not fit.
    """
    n = [_input_width(layers) if n_0 is None else n_0]
    read: set[int] = set()
    for l, layer in enumerate(layers, start=1):
        below = [s.layer for s in layer.read(l) if s.layer is not None] + list(layer.skips)
        if any(not 0 <= k < l for k in below):
            raise ValueError(f"layer {l} must read layers 0 … {l - 1}; got {below}.")
        read.update(below)
        width = sum(_width(s, n, l) for s in layer.read(l))
        if width != layer.map.n_in:
            raise ValueError(
                f"layer {l}, {layer.map}, must read {layer.map.n_in} entries; its sources have {width}. "
                "Do the shapes of neighbouring layers agree?"
            )
        for k in layer.skips:
            if n[k] != layer.map.n_out:
                raise ValueError(f"layer {l} has {layer.map.n_out} entries and cannot add the {n[k]} of layer {k}.")
        owner = layer.shares
        if owner is not None and (not 1 <= owner < l or layers[owner - 1].map != layer.map):
            raise ValueError(f"layer {l} must share the weights of a lower layer with the same map; got {owner}.")
        if layer.shares is not None and layers[layer.shares - 1].shares is not None:
            raise ValueError(
                f"layer {l} must share the weights of their owner, layer {layers[layer.shares - 1].shares}."
            )
        n.append(layer.map.n_out)
    if unread := sorted(set(range(1, len(layers))) - read):
        raise ValueError(f"every layer but the last must be read by another; layers {unread} are not.")
    return n


def _width(source: Source, n: list[int], l: int) -> int:
    whole = source.stop if source.layer is None else n[source.layer]
    if whole is None:
        raise ValueError(f"zeros that layer {l} reads need a width; give Source(None, stop=width).")
    stop = whole if source.stop is None else source.stop
    if not 0 <= source.start < stop <= whole:
        raise ValueError(f"layer {l} must read entries within 0 … {whole} of layer {source.layer}; got {source}.")
    return stop - source.start


def _input_width(layers: list[Layer]) -> int:
    reads = [(s, layer) for l, layer in enumerate(layers, start=1) for s in layer.read(l) if s.layer == 0]
    if not reads:
        raise ValueError("the first layer must read the input; no layer does.")
    ends = [s.stop if s.stop is not None else layer.map.n_in + s.start for s, layer in reads]
    return max(ends)


def dense_layers(W: list[Array], hidden: Activation | None, output: Activation | None) -> list[Layer]:
    """Return the layers of a network of dense layers, from its weights.

    Raises
    ------
    ValueError
        If an activation is missing, or the widths of neighbours differ.
    """
    L = len(W) - 1
    if output is None or (hidden is None and L > 1):
        raise ValueError("a network of dense layers needs `hidden` and `output` activations; others need `layers`.")
    for l in range(2, L + 1):
        if W[l].shape[-1] != W[l - 1].shape[-2]:
            raise ValueError(
                f"W[{l}] must have {W[l - 1].shape[-2]} columns to match W[{l - 1}]; got {W[l].shape}. "
                "Did you pass its transpose?"
            )
    maps = [Dense(W[l].shape[-1], W[l].shape[-2]) for l in range(1, L + 1)]
    return [Layer(m, output if l == L else hidden) for l, m in enumerate(maps, start=1)]  # type: ignore[arg-type]


def check_shapes(layers: list[Layer], W: list[Array], b: list[Array | None]) -> None:
    """Check every W and b against its map.

    Raises
    ------
    ValueError
        Names the first that does not fit.
    """
    for l, layer in enumerate(layers, start=1):
        shape = None if layer.shares else layer.map.weight_shape
        W_l, b_l = W[l], b[l]
        if (W_l is None) != (shape is None) or (shape and tuple(W_l.shape[W_l.ndim - len(shape) :]) != shape):
            got = None if W_l is None else tuple(W_l.shape)
            raise ValueError(f"W[{l}] must have shape (..., {shape}) for {layer}; got {got}.")
        shape = layer.map.bias_shape
        if b_l is not None and (layer.shares or shape is None or tuple(b_l.shape[b_l.ndim - len(shape) :]) != shape):
            raise ValueError(f"b[{l}] must be None or of shape (..., {shape}) for {layer}; got {tuple(b_l.shape)}.")


def zeros_of(source: Source, like: Array) -> Array:
    """Return the zeros that a source without a layer stands for, with the rows of `like`."""
    shape = (*like.shape[:-1], source.stop - source.start)  # type: ignore[operator]
    return array_namespace(like).zeros(shape, dtype=like.dtype, device=device_of(like))


def add_to(g: list[Array | None], l: int, v: Array) -> None:
    """Add v to what has arrived at layer l."""
    g[l] = v if g[l] is None else g[l] + v


def padded(v: Array, start: int, whole: int) -> Array:
    """Return v with zeros on both sides, so that its first entry is number `start` of `whole`."""
    xp = array_namespace(v)
    parts = [v]
    for width, place in ((start, 0), (whole - start - v.shape[-1], len(parts))):
        if width:
            zeros = xp.zeros((*v.shape[:-1], width), dtype=v.dtype, device=device_of(v))
            parts.insert(0 if place == 0 else len(parts), zeros)
    return xp.concat(parts, axis=-1)
