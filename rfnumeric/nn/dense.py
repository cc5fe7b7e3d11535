"""The dense layer, a = Wh + b: the papers' layer, its operations fused into kernels where there are some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rfnumeric import kernels
from rfnumeric.backend import Streams, array_namespace, transpose
from rfnumeric.nn.activations import Activation
from rfnumeric.nn.grams import Gram, ScalarGram
from rfnumeric.nn.maps import Initializer, Map, check_positive
from rfnumeric.typing import Array


@dataclass(frozen=True)
class Dense(Map):
    """a = Wh + b with W of shape (n_out, n_in): the papers' layer (v1/v2 §4).

    Attributes
    ----------
    inputs, outputs : int
        n_in and n_out.

    Examples
    --------
    >>> import numpy as np
    >>> layer, W = Dense(2, 1), np.asarray([[3.0, 4.0]])
    >>> print(layer.push(W, np.asarray([[1.0, 1.0]])), layer.pull(W, np.asarray([[1.0]])))
    [[7.]] [[3. 4.]]
    """

    name: ClassVar[str] = "dense"
    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        check_positive(self, "inputs", "outputs")

    @property
    def n_in(self) -> int:
        """Number of entries of h."""
        return self.inputs

    @property
    def n_out(self) -> int:
        """Number of entries of a."""
        return self.outputs

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(n_out, n_in)."""
        return (self.outputs, self.inputs)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """(n_out,)."""
        return (self.outputs,)

    def push(self, W: Array, v: Array) -> Array:
        """Return Wv of each row. See `Map.push`."""
        return kernels.matmul(v, transpose(W))

    def pull(self, W: Array, v: Array) -> Array:
        """Return Wᵀv of each row. See `Map.pull`."""
        return kernels.matmul(v, W)

    def grad(self, h: Array, v: Array) -> Array:
        """Return ∑ v hᵀ. See `Map.grad`."""
        return kernels.matmul(transpose(v), h)

    def gram(self, h: Array, bias: bool) -> Gram:
        """Return (‖h‖² + 1)·I, the 1 for a bias. See `Map.gram`."""
        xp = array_namespace(h)
        squared = xp.sum(h * h, axis=-1, keepdims=True, dtype=h.dtype)
        return ScalarGram(squared + 1 if bias else squared)

    def layer(self, activation: Activation, W: Array, b: Array | None, h: Array) -> tuple[Array, Array, Array]:
        """See `Map.layer`; one kernel where the activation has it."""
        return activation.layer(h, W, b)

    def update(
        self, W: Array, b: Array | None, h: Array, delta: Array, lr: float | Array
    ) -> tuple[Array, Array | None]:
        """See `Map.update`; one kernel, which accumulates into W."""
        return kernels.sgd_update(W, b, delta, h, lr)

    def draw(self, initializer: Initializer, streams: Streams) -> Array:
        """Draw W. See `Map.draw`."""
        return initializer(streams, self.outputs, self.inputs)

    def draw_feedback(self, initializer: Initializer, streams: Streams) -> Array:
        """Draw F, shape (..., n_in, n_out). See `Map.draw_feedback`."""
        return initializer(streams, self.inputs, self.outputs)

    def reciprocal_gate(
        self, g: Array, d: Array, h: Array, bias: bool, *, damping: float, own_layer: str, normalize: bool
    ) -> tuple[Array, Array]:
        """See `Map.reciprocal_gate`; one kernel."""
        s, delta = kernels.reciprocal_derivative(g, d, h, damping, own_layer, normalize, bias)
        return delta, s

    def transposed(self, W: Array) -> Array:
        """Return Wᵀ, a view."""
        return transpose(W)

    def forward(self, F: Array) -> Array:
        """Return Fᵀ, a view."""
        return transpose(F)

    def feed(self, F: Array, v: Array) -> Array:
        """Return Fv of each row, with F of shape (..., n_in, n_out)."""
        return kernels.matmul(v, transpose(F))

    def feed_grad(self, v: Array, r: Array) -> Array:
        """Return ∑ r vᵀ. See `Map.feed_grad`."""
        return kernels.matmul(transpose(r), v)

    def feed_learn(self, F: Array, v: Array, r: Array, scale: float | Array) -> Array:
        """See `Map.feed_learn`; one kernel, which accumulates into F."""
        return kernels.add_outer(F, r, v, scale)

    def gated_feed(self, F: Array, v: Array, d: Array) -> Array:
        """See `Map.gated_feed`; one kernel."""
        return kernels.gated_product(v, F, d)

    def pinv(self, W: Array, engine: Callable[[Array], Array]) -> Array:
        """Return W⁺, shape (..., n_in, n_out). See `Map.pinv`."""
        return engine(W)

    def undo(self, P: Array, v: Array, damping: float = 0.0) -> Array:
        """Return W⁺v of each row. See `Map.undo`."""
        return self.feed(P, v)

    def gated_undo(self, P: Array, v: Array, d: Array, damping: float = 0.0) -> Array:
        """See `Map.gated_undo`; one kernel."""
        return kernels.gated_product(v, P, d)

    def undo_transposed(self, P: Array, v: Array, damping: float = 0.0) -> Array:
        """Return (W⁺)ᵀv of each row. See `Map.undo_transposed`."""
        return kernels.matmul(v, P)

    def matrix(self, W: Array | None, like: Array) -> Array:
        """Return W itself."""
        return W


def equalized(W: Array, beta: float) -> Array:
    """Return W − β(WWᵀ/s² − I)W, with s² the mean square of its singular values."""
    xp = array_namespace(W)
    square = xp.sum(W * W, axis=(-2, -1), keepdims=True, dtype=W.dtype) / min(W.shape[-2:])
    usable = square > 0  # false for NaN as well: the loop reports those
    scaled = W / xp.where(usable, square, xp.ones_like(square))
    wide = W.shape[-2] <= W.shape[-1]
    # The smaller Gram matrix: (WWᵀ)W = W(WᵀW).
    cubed = (
        kernels.matmul(kernels.matmul(scaled, transpose(W)), W)
        if wide
        else kernels.matmul(W, kernels.matmul(transpose(W), scaled))
    )
    return (1 + beta) * W - beta * cubed
