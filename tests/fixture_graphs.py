"""Small networks beyond the dense chain, as the tests of the calculus draw them: recurrent, residual, on images."""

from __future__ import annotations

from rfnumeric.backend import Streams
from rfnumeric.nn import (
    AvgPool2d,
    Conv2d,
    Dense,
    Identity,
    Layer,
    LeakySoftplus,
    LocallyConnected2d,
    Source,
    Strided2d,
    Tanh,
    init_network,
    unroll,
)

BATCH = 3


def with_biases(network, streams):
    for k in network.trained:
        if network.b[k] is not None:
            network.b[k] = streams.child("b", k).normal(network.layers[k].map.bias_shape)
    return network


def draw(layers, backend, seed, bias=True, population=()):
    streams = Streams(seed, backend)
    network = with_biases(init_network(layers, streams, bias=bias), streams)
    return network, streams.child("x").normal((BATCH, network.sizes[0])), streams


def chain(backend, seed=0, bias=True):
    layers = [Layer(Dense(5, 4), LeakySoftplus(0.3)), Layer(Dense(4, 4), Tanh()), Layer(Dense(4, 2), Identity())]
    return draw(layers, backend, seed, bias)


def recurrent(backend, seed=0, bias=True):
    """Three steps h_t = tanh(W[x_t; h_{t−1}] + b) and a readout: W is used by three layers."""
    return draw(unroll(3, 2, 3, Tanh(), [Layer(Dense(3, 2), Identity())]), backend, seed, bias)


def residual(backend, seed=0, bias=True):
    """h_3 reads parts of h_1 and of the input and adds h_2; h_4 reads h_3 and h_1; h_5 adds h_3 through W_4."""
    layers = [
        Layer(Dense(4, 5), Tanh()),
        Layer(Dense(5, 3), LeakySoftplus(0.3)),
        Layer(Dense(5, 3), Tanh(), (Source(1, 2, 5), Source(0, 1, 3)), skips=(2,)),
        Layer(Dense(8, 3), Tanh(), (3, 1)),
        Layer(Dense(8, 3), LeakySoftplus(0.3), (4, 1), skips=(3,), shares=4),
        Layer(Dense(3, 2), Identity()),
    ]
    return draw(layers, backend, seed, bias)


def convolution(backend, seed=0, bias=True):
    """Overlapping windows with padding, average pooling, windows side by side, and a readout."""
    layers = [
        Layer(Conv2d((1, 4, 4), channels=2, kernel=3, padding=1), Tanh()),
        Layer(AvgPool2d((2, 4, 4), kernel=2), Identity()),
        Layer(Conv2d((2, 2, 2), channels=3, kernel=(1, 2), stride=2), LeakySoftplus(0.3)),
        Layer(Dense(3, 2), Identity()),
    ]
    return draw(layers, backend, seed, bias)


def local(backend, seed=0, bias=True):
    """Overlapping windows without sharing, every second entry, windows side by side, and a readout."""
    layers = [
        Layer(LocallyConnected2d((1, 3, 4), channels=2, kernel=2), Tanh()),
        Layer(Strided2d((2, 2, 3), stride=(1, 2)), Identity()),
        Layer(LocallyConnected2d((2, 2, 2), channels=2, kernel=(2, 1), stride=(2, 1)), LeakySoftplus(0.3)),
        Layer(Dense(4, 2), Identity()),
    ]
    return draw(layers, backend, seed, bias)


GRAPHS = {
    "chain": chain,
    "recurrent": recurrent,
    "residual": residual,
    "convolution": convolution,
    "local": local,
}
