"""One layer of a network: its map, its activation, what it reads, and whose weights it uses."""

from __future__ import annotations

from dataclasses import dataclass

from rfnumeric.nn.activations import Activation
from rfnumeric.nn.maps import Map


@dataclass(frozen=True)
class Source:
    """A part of another layer's activity that a layer reads.

    Attributes
    ----------
    layer : int or None
        The layer; 0 is the network's input, and None stands for zeros, such as h_0 of a recurrent network.
    start, stop : int, int or None
        First and one past the last entry that is read; None reads to the end. Zeros need a `stop`.
    """

    layer: int | None
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class Layer:
    """Layer l: a_l = M(W)[h_s; h_t; …] + b + ∑ h_k, h_l = σ(a_l).

    Attributes
    ----------
    map : Map
        M.
    activation : Activation
        σ.
    sources : tuple of int or Source
        What M reads, one behind the other; lower layers. Default: the layer below.
    skips : tuple of int
        Lower layers k of the same width whose activity is added to a_l as it is: residual connections.
    shares : int, optional
        The lower layer whose W and b this one uses; default its own.
    """

    map: Map
    activation: Activation
    sources: tuple[int | Source, ...] = ()
    skips: tuple[int, ...] = ()
    shares: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it reads the whole layer below and nothing else, through weights of its own."""
        return not (self.sources or self.skips) and self.shares is None

    def read(self, l: int) -> tuple[Source, ...]:
        """Return what this layer reads as layer l of its network."""
        return tuple(s if isinstance(s, Source) else Source(s) for s in self.sources or (l - 1,))
