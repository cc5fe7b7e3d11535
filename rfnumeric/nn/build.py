"""Networks from their description: widths, maps or layers, with drawn weights; and recurrence, unrolled in time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rfnumeric.backend import Streams
from rfnumeric.nn.activations import Activation, Identity, get_activation
from rfnumeric.nn.dense import Dense
from rfnumeric.nn.init import get_initializer
from rfnumeric.nn.layer import Layer, Source
from rfnumeric.nn.maps import Map
from rfnumeric.nn.network import Network
from rfnumeric.typing import Array


def init_network(
    sizes: Sequence[int | Map | Layer],
    streams: Streams,
    *,
    hidden: str | Activation = "leaky-relu",
    output: str | Activation = "identity",
    negative_slope: float = 0.01,
    init: str = "he-normal",
    gain: float = 1.0,
    bias: bool = False,
) -> Network:
    """Draw a network, or a population of networks if `streams` has several seeds.

    Parameters
    ----------
    sizes : sequence of int, or of Map or Layer
        Widths n_0, …, n_L of a network of dense layers, at least two; or the layers 1 … L themselves. A map takes the
        hidden or the output activation; one without weights (pooling) takes the identity.
    streams : Streams
        Seeds and backend; weights come from its children ``("weights", l)``.
    hidden, output : str or Activation
        Activation of the hidden layers and of the last one; see `rfnumeric.nn.activations.ACTIVATIONS`.
    negative_slope : float
        Slope α of the leaky activations, dimensionless.
    init : {"he-normal", "lecun-uniform", "orthogonal"}
        Initializer.
    gain : float
        Factor on the drawn weights, dimensionless.
    bias : bool
        Whether layers have biases, which start at zero. The papers' equations have none.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        If a size is not positive, a name is unknown, or layers do not fit together.

    Examples
    --------
    >>> from rfnumeric.backend import Streams, get_backend
    >>> network = init_network([4, 3, 2], Streams(0, get_backend("numpy")))
    >>> network.predict(network.backend.zeros((5, 4))).shape
    (5, 2)
    """
    sigma, last = get_activation(hidden, negative_slope), get_activation(output, negative_slope)
    draw = get_initializer(init)
    layers = _layers(list(sizes), sigma, last)
    W: list[Array] = [None]
    b: list[Array | None] = [None]
    for l, layer in enumerate(layers, start=1):
        own = layer.map.weight_shape is not None and layer.shares is None
        W.append(layer.map.draw(draw, streams.child("weights", l)) * gain if own else None)
        with_bias = own and bias and layer.map.bias_shape is not None
        b.append(streams.backend.zeros((*streams.population, *layer.map.bias_shape)) if with_bias else None)  # type: ignore[misc]
    return Network(W, b, sigma, last, layers=layers)


def _layers(given: list[int | Map | Layer], hidden: Activation, output: Activation) -> list[Layer]:
    if not any(isinstance(x, Map | Layer) for x in given):
        sizes = [int(n) for n in given]  # type: ignore[arg-type]
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must be at least two positive widths, e.g. 784,100,10; got {sizes}.")
        given = [*(Dense(n_in, n_out) for n_in, n_out in pairwise(sizes))]
    layers = []
    for l, x in enumerate(given, start=1):
        if isinstance(x, Map):
            sigma = Identity() if x.weight_shape is None else output if l == len(given) else hidden
            x = Layer(x, sigma)
        if not isinstance(x, Layer):
            raise ValueError(f"layers must be maps or layers, or all be widths; got {x!r}.")
        layers.append(x)
    return layers


def unroll(steps: int, n_x: int, n_h: int, activation: Activation, readout: Sequence[Layer]) -> list[Layer]:
    """Return the layers of a recurrent network, one a step: h_t = σ(W [x_t; h_{t−1}] + b), h_0 = 0, then a readout.

    Backpropagation through these layers is backpropagation through time, and any rule runs on them. The input holds
    the sequence, x_1 … x_T one behind the other.

    Parameters
    ----------
    steps : int
        T.
    n_x, n_h : int
        Widths of x_t and of h_t.
    activation : Activation
        σ.
    readout : sequence of Layer
        What reads h_T, at least one layer; sources count the steps as layers 1 … T.

    Returns
    -------
    list of Layer
        For `init_network`: T steps that share the weights of the first, and the readout.

    Raises
    ------
    ValueError
        If there are no steps or no readout.

    Examples
    --------
    >>> from rfnumeric.backend import Streams, get_backend
    >>> from rfnumeric.nn import Dense, Layer, Tanh, Identity
    >>> layers = unroll(3, 2, 4, Tanh(), [Layer(Dense(4, 1), Identity())])
    >>> network = init_network(layers, Streams(0, get_backend("numpy")))
    >>> network.sizes, [None if W is None else W.shape for W in network.W]
    ((6, 4, 4, 4, 1), [None, (4, 6), None, None, (1, 4)])
    """
    if steps < 1 or not readout:
        raise ValueError(f"a recurrent network needs at least one step and a readout; got {steps} and {len(readout)}.")
    cell = Dense(n_x + n_h, n_h)
    layers = []
    for t in range(steps):
        x_t = Source(0, t * n_x, (t + 1) * n_x)
        h_before = Source(t) if t else Source(None, 0, n_h)
        layers.append(Layer(cell, activation, (x_t, h_before), shares=1 if t else None))
    return [*layers, *readout]
