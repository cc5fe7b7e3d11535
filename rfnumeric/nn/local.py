"""Local connections: a weight matrix of its own at every position of an image (v1/v2 §5.2 asks for them)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from rfnumeric import kernels
from rfnumeric.backend import Streams, array_namespace, device_of, transpose
from rfnumeric.kernels import Window
from rfnumeric.nn.grams import Gram, ScalarGram
from rfnumeric.nn.images import ImageMap, Pair
from rfnumeric.nn.maps import Initializer, along, check_positive
from rfnumeric.typing import Array


@dataclass(frozen=True)
class LocallyConnected2d(ImageMap):
    """a[c, p] = W[p, c] · patch_p + b[c, p]: a convolution whose positions share no weights.

    N(h) has one row for each unit, its patch at the unit's own weights: rows of different units do not meet, so that
    N(h)N(h)ᵀ is diagonal. Weights of a window's entries in the padding multiply zeros and never change.

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
    >>> layer = LocallyConnected2d((1, 1, 3), channels=1, kernel=(1, 2))
    >>> layer.weight_shape, layer.out_shape
    ((1, 2, 1, 1, 1, 2), (1, 1, 2))
    >>> W = np.reshape(np.asarray([1.0, 10.0, 100.0, 1000.0]), layer.weight_shape)
    >>> print(layer.push(W, np.asarray([[1.0, 2.0, 3.0]])))
    [[  21. 3200.]]
    """

    name: ClassVar[str] = "local2d"
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
        """(H_out, W_out, C_out, C, kh, kw)."""
        return (*self.out_shape[1:], self.channels, self.in_shape[0], *self.kernel)  # type: ignore[misc]

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """(n_out,): one a unit."""
        return (self.n_out,)

    def push(self, W: Array, v: Array) -> Array:
        """Return W[p]·patch_p of each row and position. See `Map.push`."""
        return kernels.local_product(v, W, None, self.window)

    def pull(self, W: Array, v: Array) -> Array:
        """Return the transpose's product. See `Map.pull`."""
        return kernels.local_pull(v, W, None, self.window)

    def grad(self, h: Array, v: Array) -> Array:
        """Return ∑ v[p] patch_pᵀ over the batch. See `Map.grad`."""
        return kernels.local_grad(v, h, self.window)

    def gram(self, h: Array, bias: bool) -> Gram:
        """Return the diagonal of ‖patch_p‖² (+ 1). See `Map.gram`."""
        xp = array_namespace(h)
        patches = kernels.image_patches(h, self.window)
        squared = xp.sum(patches * patches, axis=-2, keepdims=True, dtype=h.dtype)
        squared = squared + 1 if bias else squared
        spread = xp.broadcast_to(squared, (*squared.shape[:-2], self.channels, squared.shape[-1]))
        return ScalarGram(xp.reshape(spread, (*h.shape[:-1], self.n_out)))

    def apply(self, W: Array, b: Array | None, h: Array) -> Array:
        """See `Map.apply`; one kernel."""
        return kernels.local_product(h, W, b, self.window)

    def update(
        self, W: Array, b: Array | None, h: Array, delta: Array, lr: float | Array
    ) -> tuple[Array, Array | None]:
        """See `Map.update`; one kernel, which accumulates into W."""
        if not h.shape[-2]:
            return W, b
        rate = lr / h.shape[-2]
        if b is not None:
            b = b - along(rate, b) * self.bias_grad(delta)
        return kernels.local_add_outer(W, delta, h, -rate, self.window), b

    def feed_learn(self, F: Array, v: Array, r: Array, scale: float | Array) -> Array:
        """See `Map.feed_learn`; one kernel, which accumulates into F."""
        return kernels.local_add_outer(F, v, r, scale, self.window)

    def gated_feed(self, F: Array, v: Array, d: Array) -> Array:
        """See `Map.gated_feed`; one kernel."""
        return kernels.local_pull(v, F, d, self.window)

    def draw(self, initializer: Initializer, streams: Streams) -> Array:
        """Draw W[p] as (C_out, C·kh·kw) weights, position by position. See `Map.draw`."""
        matrices = self._each_position(initializer, streams, self.channels, self.window.entries)
        return array_namespace(matrices).reshape(matrices, (*streams.population, *self.weight_shape))

    def draw_feedback(self, initializer: Initializer, streams: Streams) -> Array:
        """Draw F[p] as weights from a to h, of which an entry receives C_out·kh·kw/(sh·sw). See `Map.draw_feedback`."""
        w = self.window
        F = self._each_position(initializer, streams, w.channels, self.channels * w.kh * w.kw)
        xp, n = array_namespace(F), len(streams.population)
        F = xp.reshape(F, (*streams.population, *self.out_shape[1:], w.channels, self.channels, w.kh, w.kw))
        return xp.permute_dims(F, (*range(n + 2), n + 3, n + 2, n + 4, n + 5)) * math.sqrt(w.sh * w.sw)

    def _each_position(self, initializer: Initializer, streams: Streams, rows: int, columns: int) -> Array:
        """Draw (..., P, rows, columns): an initializer may depend on the whole matrix, as the orthogonal one does."""
        matrices = [initializer(streams.child("position", p), rows, columns) for p in range(self.window.positions)]
        return array_namespace(*matrices).stack(matrices, axis=-3)

    def pinv(self, W: Array, engine: Callable[[Array], Array]) -> Array:
        """Return W[p]⁺ᵀ in W's shape where windows do not overlap; else a copy of W. See `Map.pinv`."""
        w = self.window
        if not w.disjoint:
            return super().pinv(W, engine)
        xp = array_namespace(W)
        matrices = xp.reshape(self._on_image(W), (*W.shape[:-6], w.positions, self.channels, w.entries))
        return xp.reshape(transpose(engine(matrices)), W.shape)

    def undo(self, P: Array, v: Array, damping: float = 0.0) -> Array:
        """Return M⁺v of each row. See `Map.undo`."""
        return self.pull(P, v) if self.window.disjoint else super().undo(P, v, damping)

    def undo_transposed(self, P: Array, v: Array, damping: float = 0.0) -> Array:
        """Return (M⁺)ᵀv of each row. See `Map.undo_transposed`."""
        return self.push(P, v) if self.window.disjoint else super().undo_transposed(P, v, damping)

    def mean_square(self, W: Array | None, like: Array) -> Array:
        """See `Map.mean_square`."""
        xp, W = array_namespace(W), self._on_image(W)
        return xp.sum(W * W, axis=(-6, -5, -4, -3, -2, -1), dtype=W.dtype) / min(self.n_in, self.n_out)

    def _on_image(self, W: Array) -> Array:
        """Return W with zeros where a window's entry lies in the padding: M(W) does not have those weights."""
        w = self.window
        if not w.padded:
            return W
        xp = array_namespace(W)
        ones = xp.ones((1, w.n_in), dtype=W.dtype, device=device_of(W))
        mask = xp.reshape(transpose(kernels.image_patches(ones, w)), (*self.out_shape[1:], 1, w.channels, w.kh, w.kw))
        return W * mask
