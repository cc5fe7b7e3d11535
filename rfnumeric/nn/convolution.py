"""The convolution: one small weight matrix for all positions of an image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from rfnumeric import kernels
from rfnumeric.backend import Streams, array_namespace, device_of, transpose
from rfnumeric.kernels import Window
from rfnumeric.nn.activations import Activation, LeakyReLU
from rfnumeric.nn.grams import ChannelGram, Gram
from rfnumeric.nn.images import ImageMap, Pair, by_channel, coverage
from rfnumeric.nn.maps import Initializer, check_positive
from rfnumeric.typing import Array


@dataclass(frozen=True)
class Conv2d(ImageMap):
    """a[c, p] = ∑ W[c] · patch_p + b[c]: the same W of shape (C_out, C, kh, kw) at every position p of an image.

    As in the libraries for neural networks, the kernel is not turned round: W[c, c', i, j] multiplies row i and column
    j of the window. M(W) has the structure (W ⊗ I)·(gathering of patches), and N(h) = I ⊗ patchesᵀ: one block for each
    output channel, whose rows are the patches.

    Attributes
    ----------
    in_shape : tuple of int
        (C, H, W).
    channels : int
        C_out.
    kernel : int or pair of int
        kh and kw.
    stride : int or pair of int
        Rows and columns from one window to the next.
    padding : int or pair of int
        Rows and columns of zeros on each side of the image.

    Raises
    ------
    ValueError
        If a number is out of its range or the kernel does not fit on the image.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Conv2d((1, 2, 3), channels=1, kernel=2)
    >>> layer.weight_shape, layer.out_shape, (layer.n_in, layer.n_out)
    ((1, 1, 2, 2), (1, 1, 2), (6, 2))
    >>> W = np.asarray([[[[1.0, 10.0], [100.0, 1000.0]]]])
    >>> print(layer.push(W, np.asarray([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])))
    [[5421. 6532.]]
    """

    name: ClassVar[str] = "conv2d"
    channels: int
    kernel: Pair
    stride: Pair = 1
    padding: Pair = 0

    def __post_init__(self) -> None:
        check_positive(self, "channels")
        self._check_image()
        for field, least in (("kernel", 1), ("stride", 1), ("padding", 0)):
            self._check_pair(field, least)
        self._check_window()

    @cached_property
    def window(self) -> Window:
        """Where the windows stand on the image."""
        return Window(*self.in_shape, *self.kernel, *self.stride, *self.padding)  # type: ignore[misc]

    @property
    def out_channels(self) -> int:
        """C_out."""
        return self.channels

    @cached_property
    def weight_shape(self) -> tuple[int, ...]:
        """(C_out, C, kh, kw)."""
        return (self.channels, self.in_shape[0], *self.kernel)  # type: ignore[misc]

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """(C_out,)."""
        return (self.channels,)

    def push(self, W: Array, v: Array) -> Array:
        """Return the convolution of each row. See `Map.push`."""
        return kernels.convolution(v, W, None, self.window)

    def pull(self, W: Array, v: Array) -> Array:
        """Return the transposed convolution of each row. See `Map.pull`."""
        return kernels.convolution_pull(v, W, None, self.window)

    def grad(self, h: Array, v: Array) -> Array:
        """Return ∑ v[p] · patch_pᵀ over positions and batch. See `Map.grad`."""
        return kernels.convolution_grad(v, h, self.window)

    def gram(self, h: Array, bias: bool) -> Gram:
        """Return I ⊗ (patchesᵀ·patches (+ 11ᵀ, since a channel's bias reaches all positions)). See `Map.gram`."""
        xp = array_namespace(h)
        patches = kernels.image_patches(h, self.window)
        if bias:
            patches = xp.concat([patches, xp.ones_like(patches[..., :1, :])], axis=-2)
        return ChannelGram(patches, self.channels)

    def spread_bias(self, b: Array) -> Array:
        """Return every channel's bias at all its positions. See `Map.spread_bias`."""
        xp, positions = array_namespace(b), self.window.positions
        spread = xp.broadcast_to(b[..., None], (*b.shape, positions))
        return xp.reshape(spread, (*b.shape[:-1], self.n_out))

    def bias_grad(self, v: Array) -> Array:
        """Return the sum over batch and positions. See `Map.bias_grad`."""
        return array_namespace(v).sum(by_channel(v, self.channels), axis=(-3, -1), dtype=v.dtype)

    def apply(self, W: Array, b: Array | None, h: Array) -> Array:
        """See `Map.apply`; one kernel."""
        return kernels.convolution(h, W, b, self.window)

    def layer(self, activation: Activation, W: Array, b: Array | None, h: Array) -> tuple[Array, Array, Array]:
        """See `Map.layer`; one kernel where the activation is the leaky ReLU."""
        if type(activation) is LeakyReLU:
            return kernels.convolution_leaky_relu(h, W, b, self.window, activation.negative_slope)
        return activation.evaluate(kernels.convolution(h, W, b, self.window), None)

    def gated_feed(self, F: Array, v: Array, d: Array) -> Array:
        """See `Map.gated_feed`; one kernel."""
        return kernels.convolution_pull(v, F, d, self.window)

    def draw(self, initializer: Initializer, streams: Streams) -> Array:
        """Draw W as (C_out, C·kh·kw) weights. See `Map.draw`."""
        W = initializer(streams, self.channels, self.window.entries)
        return array_namespace(W).reshape(W, (*W.shape[:-2], *self.weight_shape))

    def draw_feedback(self, initializer: Initializer, streams: Streams) -> Array:
        """Draw F as weights from a to h; an entry of h receives C_out·kh·kw/(sh·sw). See `Map.draw_feedback`."""
        w = self.window
        F = initializer(streams, w.channels, self.channels * w.kh * w.kw) * math.sqrt(w.sh * w.sw)
        return _exchanged(F, self.channels, w)

    def pinv(self, W: Array, engine: Callable[[Array], Array]) -> Array:
        """Return W⁺ᵀ in W's shape where windows do not overlap and there is no padding; else a copy of W.

        M(W) is then one block W for each window, side by side. See `Map.pinv`.
        """
        if not self._closed:
            return super().pinv(W, engine)
        xp = array_namespace(W)
        matrix = xp.reshape(W, (*W.shape[:-4], self.channels, self.window.entries))
        return xp.reshape(transpose(engine(matrix)), W.shape)

    def undo(self, P: Array, v: Array, damping: float = 0.0) -> Array:
        """Return M⁺v of each row. See `Map.undo`."""
        return self.pull(P, v) if self._closed else super().undo(P, v, damping)

    def undo_transposed(self, P: Array, v: Array, damping: float = 0.0) -> Array:
        """Return (M⁺)ᵀv of each row. See `Map.undo_transposed`."""
        return self.push(P, v) if self._closed else super().undo_transposed(P, v, damping)

    def mean_square(self, W: Array | None, like: Array) -> Array:
        """See `Map.mean_square`: every weight counts as often as it meets the image."""
        xp = array_namespace(W)
        rows, columns = (xp.asarray(n, dtype=W.dtype, device=device_of(W)) for n in coverage(self.window))  # type: ignore[union-attr]
        total = xp.sum(W * W * rows[:, None] * columns, axis=(-4, -3, -2, -1), dtype=W.dtype)  # type: ignore[operator, union-attr]
        return total / min(self.n_in, self.n_out)

    @property
    def _closed(self) -> bool:
        return self.window.disjoint and not self.window.padded


def _exchanged(F: Array, channels: int, w: Window) -> Array:
    """From (..., C, C_out·kh·kw) to (..., C_out, C, kh, kw)."""
    xp, lead = array_namespace(F), F.shape[:-2]
    F = xp.reshape(F, (*lead, w.channels, channels, w.kh, w.kw))
    n = len(lead)
    return xp.permute_dims(F, (*range(n), n + 1, n, n + 2, n + 3))
