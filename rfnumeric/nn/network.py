"""The network of the papers (v1/v2 §4) and the trace of one forward pass.

Layers are numbered as in the papers: ``W[1]`` … ``W[L]``, with ``W[0]`` None, and ``h[0]`` is the input. Samples are
rows, so the paper's a_l = W_l h_{l−1} reads ``a[l] = h[l-1] @ W[l].T``; what stands for W_l h_{l−1} in a convolution is
the `Map` of its layer. Activities are rows of numbers in every layer: an image is its channels, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rfnumeric.backend import Backend, array_namespace, copy
from rfnumeric.nn.activations import Activation
from rfnumeric.nn.dense import Dense, equalized
from rfnumeric.nn.layer import Layer
from rfnumeric.nn.maps import step
from rfnumeric.nn.trace import Trace
from rfnumeric.nn.wiring import add_to, check_layers, check_shapes, dense_layers, padded, zeros_of
from rfnumeric.typing import Array


class Network:
    """Weights and layers of a network, or of a population of such networks.

    Parameters
    ----------
    W : list of array, shape (..., n_l, n_{l−1})
        ``W[0]`` is None. Leading axes are a population. A layer that is not dense has weights of its map's own shape;
        a layer without weights of its own (pooling, shared weights) has None.
    b : list of array, shape (..., n_l), or None
        Biases; None at every layer of a network without bias.
    hidden, output : Activation, optional
        σ of the layers 1 … L − 1, and of layer L, of a network of dense layers.
    layers : sequence of Layer, optional
        For l = 1 … L, in place of `hidden` and `output`.

    Attributes
    ----------
    W, b : list of array
    layers : list of Layer
        ``layers[0]`` is None.
    sizes : tuple of int
        Widths n_0, …, n_L.
    users : list of tuple of int
        ``users[k]``: the layers that use ``W[k]``, k itself first; empty where there are no weights.

    Raises
    ------
    ValueError
        If the lists or the shapes do not fit.
    """

    def __init__(
        self,
        W: list[Array],
        b: list[Array | None],
        hidden: Activation | None = None,
        output: Activation | None = None,
        *,
        layers: Sequence[Layer] | None = None,
    ) -> None:
        if len(W) < 2 or len(W) != len(b) or W[0] is not None:
            raise ValueError(
                f"W must be [None, W_1, …, W_L] and b must have its length; got {len(W)} and {len(b)} "
                "entries. Layers count from 1 as in the papers; W[0] stands for the input."
            )
        self.W, self.b = W, b
        self._hidden = hidden
        if layers is None:
            layers = dense_layers(W, hidden, output)
        self.layers: list[Layer] = [None, *layers]  # type: ignore[list-item]
        if len(self.layers) != len(W):
            raise ValueError(f"W must have {len(self.layers)} entries, one a layer and W[0]; got {len(W)}.")
        self.sizes = tuple(check_layers(list(layers), None))
        self._wire()
        check_shapes(list(layers), W, b)

    def _wire(self) -> None:
        """Note which layers use which weights, and which need feedback."""
        L = self.L
        self.owner = [0, *(l if (k := self.layers[l].shares) is None else k for l in range(1, L + 1))]
        self.users: list[tuple[int, ...]] = [
            tuple(l for l in range(1, L + 1) if self.owner[l] == k and self.layers[l].map.weight_shape)
            for k in range(L + 1)
        ]
        self.is_chain = all(layer.is_plain for layer in self.layers[1:])
        self.trained = tuple(k for k in range(1, L + 1) if self.users[k])
        self.fed = tuple(k for k in self.trained if any(self.reads_layers(l) for l in self.users[k]))

    @property
    def L(self) -> int:
        """Number of layers."""
        return len(self.W) - 1

    @property
    def population(self) -> tuple[int, ...]:
        """Leading shape: ``()``, or ``(K,)`` for K networks."""
        k = self.trained[0]
        return tuple(self.W[k].shape[: self.W[k].ndim - len(self.layers[k].map.weight_shape)])  # type: ignore[arg-type]

    @property
    def backend(self) -> Backend:
        """Where the weights live."""
        return Backend.of(self.W[self.trained[0]])

    @property
    def has_bias(self) -> bool:
        """Whether layers have biases."""
        return any(b is not None for b in self.b)

    @property
    def hidden(self) -> Activation:
        """σ of the hidden layers; that of the first where they differ. Setting it sets all of them."""
        return self.layers[1].activation if self.L > 1 else self._hidden  # type: ignore[return-value]

    @hidden.setter
    def hidden(self, activation: Activation) -> None:
        self._hidden = activation
        for l in range(1, self.L):
            self.layers[l] = replace(self.layers[l], activation=activation)

    @property
    def output(self) -> Activation:
        """σ of the last layer."""
        return self.layers[-1].activation

    @output.setter
    def output(self, activation: Activation) -> None:
        self.layers[-1] = replace(self.layers[-1], activation=activation)

    def activation(self, l: int) -> Activation:
        """Return σ_l."""
        return self.layers[l].activation

    def weights(self, l: int) -> Array:
        """Return the W of layer l, its own or the one that it shares; None for a layer without weights."""
        return self.W[self.owner[l]]

    def bias(self, l: int) -> Array | None:
        """Return the b of layer l, its own or the one that it shares."""
        return self.b[self.owner[l]]

    def reads_layers(self, l: int) -> bool:
        """Tell whether layer l reads other layers than the input through its map, so that feedback passes it."""
        return any(s.layer for s in self.layers[l].read(l))

    def fed_by(self, make: Callable[[int], Array]) -> list[Array | None]:
        """Return a list by layer 0 … L: ``make(k)`` for the layers whose weights feedback passes, None for the rest.

        These are layers 2 … L of a chain. The first layer's feedback is used by no update.
        """
        found: list[Array | None] = [None] * len(self.W)
        for k in self.fed:
            found[k] = make(k)
        return found

    def over_users(self, k: int, rows: Callable[[int], Array]) -> Array:
        """Return ``rows(l)`` of every layer l that uses ``W[k]``, one batch behind the other."""
        parts = [rows(l) for l in self.users[k]]
        return parts[0] if len(parts) == 1 else array_namespace(parts[0]).concat(parts, axis=-2)

    def forward(self, x: Array) -> Trace:
        """Compute a_l = W_l h_{l−1} + b_l and h_l = σ_l(a_l) for all layers, and keep them.

        Parameters
        ----------
        x : array, shape (..., batch, n_0)

        Returns
        -------
        Trace
        """
        trace = Trace(h=[x])
        h, W, b, chain = x, self.W, self.b, self.is_chain
        for l in range(1, len(W)):
            layer = self.layers[l]
            # A step of a small network takes 60 µs, and four calls a layer one of them.
            a, h, d_sigma = layer.map.layer(layer.activation, W[l], b[l], h) if chain else self.compute(l, trace.h)
            trace.a.append(a)
            trace.h.append(h)
            trace.d_sigma.append(d_sigma)
        return trace

    def compute(self, l: int, h: list[Array]) -> tuple[Array, Array, Array]:
        """Return a_l, h_l and σ'(a_l) from the activities of the layers below.

        Parameters
        ----------
        l : int
        h : list of array
            As `Trace.h`; what layer l does not read may be missing.
        """
        return self._layer(l, self.input(l, h), h)

    def _layer(self, l: int, x: Array, h: list[Array]) -> tuple[Array, Array, Array]:
        layer, k = self.layers[l], self.owner[l]
        if not layer.skips:
            return layer.map.layer(layer.activation, self.W[k], self.b[k], x)
        a = layer.map.apply(self.W[k], self.b[k], x)
        for s in layer.skips:
            a = a + h[s]
        return layer.activation.evaluate(a, None)

    def respond(self, l: int, x: Array, h: list[Array]) -> Array:
        """Return h_l where the map of layer l reads x in place of its sources.

        Parameters
        ----------
        l : int
        x : array, shape (..., batch, n_in)
        h : list of array
            As `Trace.h`; residual connections still come from it.
        """
        return self._layer(l, x, h)[1]

    def input(self, l: int, h: list[Array]) -> Array:
        """Return what the map of layer l reads, h_{l−1} in a chain, shape (..., batch, n_in).

        Parameters
        ----------
        l : int
        h : list of array
            As `Trace.h`.
        """
        layer = self.layers[l]
        if not layer.sources:
            return h[l - 1]
        read = layer.read(l)
        like = next(h[s.layer] for s in read if s.layer is not None)
        parts = [zeros_of(s, like) if s.layer is None else h[s.layer][..., s.start : s.stop] for s in read]
        return parts[0] if len(parts) == 1 else array_namespace(like).concat(parts, axis=-1)

    def linear(self, l: int, trace: Trace) -> Array:
        """Return M(W_l) h_{l−1}: a_l without its bias and residuals."""
        a, b = trace.a[l], self.bias(l)
        for k in self.layers[l].skips:
            a = a - trace.h[k]
        return a if b is None else a - self.layers[l].map.spread_bias(b)[..., None, :]

    def tail(self, l: int, h: list[Array], *, a: Array | None = None) -> Array:
        """Return h_L from the activities up to layer l: the upper part of a forward pass.

        Parameters
        ----------
        l : int
        h : list of array
            ``h[l]``, and those lower ones that layers above l read.
        a : array, optional
            a_l, in place of ``h[l]``.
        """
        h = [*h[:l], h[l] if a is None else self.activation(l).forward(a)]
        for k in range(l + 1, self.L + 1):
            h.append(self.compute(k, h)[1])
        return h[self.L]

    def scatter(self, l: int, v: Array, g: list[Array | None], to_input: bool = False) -> None:
        """Add what layer l sends back to its sources.

        Parameters
        ----------
        l : int
        v : array, shape (..., batch, n_in)
            For what its map reads.
        g : list of array
            By layer; written to.
        to_input : bool
            Whether the input gets its part too, which no update needs.
        """
        layer, start = self.layers[l], 0
        for s in layer.read(l):
            whole = self.sizes[s.layer] if s.layer is not None else s.stop
            width = (whole if s.stop is None else s.stop) - s.start  # type: ignore[operator]
            if s.layer or (to_input and s.layer == 0):
                part = v if not layer.sources else v[..., start : start + width]
                add_to(g, s.layer, part if width == whole else padded(part, s.start, whole))  # type: ignore[arg-type]
            start += width

    def predict(self, x: Array) -> Array:
        """Return h_L for the rows of `x`, shape (..., batch, n_L).

        Raises
        ------
        ValueError
            If `x` has not n_0 columns.
        """
        if x.ndim < 2 or x.shape[-1] != self.sizes[0]:
            raise ValueError(f"x must have shape (..., batch, {self.sizes[0]}); got {x.shape}.")
        return self.forward(x).h[-1]

    def direction(self, trace: Trace, k: int) -> tuple[Array, Array | None]:
        """Return mean_batch δ_l h_{l−1}ᵀ and mean_batch δ_l for ``W[k]`` and ``b[k]``, summed over their users.

        Parameters
        ----------
        trace : Trace
            With `delta` filled by a rule.
        k : int
            One of `trained`.
        """
        G: Array = None
        g: Array | None = None
        for l in self.users[k]:
            delta, layer = trace.delta[l] / max(trace.delta[l].shape[-2], 1), self.layers[l].map
            own = layer.grad(self.input(l, trace.h), delta)
            G = own if G is None else G + own
            if self.b[k] is not None:
                own = layer.bias_grad(delta)
                g = own if g is None else g + own
        return G, g

    def update(self, trace: Trace, lr: float | Array) -> None:
        """Take the step ΔW_l = −λ · mean_batch δ_l h_{l−1}ᵀ (and Δb_l = −λ · mean_batch δ_l) in every layer.

        Parameters
        ----------
        trace : Trace
            With `delta` filled by a rule.
        lr : float or array of shape `population`
            Learning rate λ.
        """
        W, b = self.W, self.b
        for k in self.trained:
            if len(self.users[k]) == 1:
                h = trace.h[k - 1] if self.is_chain else self.input(k, trace.h)
                W[k], b[k] = self.layers[k].map.update(W[k], b[k], h, trace.delta[k], lr)
            else:
                G, g = self.direction(trace, k)
                W[k] = step(W[k], G, lr, 1)
                b[k] = None if g is None else step(b[k], g, lr, 1)

    def equalize_spectra(self, beta: float) -> None:
        """Draw the singular values of W_2 … W_L together: W ← W − β(WWᵀ/s² − I)W, with s² their mean square.

        Maps each singular value σ to σ − β(σ²/s² − 1)σ, towards s, and leaves singular vectors alone: W⁺ → Wᵀ/s².
        W_1 stays as it is: no update uses its reciprocal. So do layers that are not dense.

        Parameters
        ----------
        beta : float
            β, dimensionless. Singular values above s√(1 + 1/β) would change sign.
        """
        for k in self.fed:
            if isinstance(self.layers[k].map, Dense):
                self.W[k] = equalized(self.W[k], beta)

    def with_parameters(self, W: list[Array], b: list[Array | None]) -> Network:
        """Return a network of the same layers with other weights and biases."""
        network = object.__new__(Network)
        network.__dict__.update(self.__dict__)
        network.W, network.b, network.layers = W, b, list(self.layers)
        return network

    def copy(self) -> Network:
        """Return a network with its own weights."""
        return self.with_parameters(
            [None if W is None else copy(W) for W in self.W], [None if b is None else copy(b) for b in self.b]
        )
