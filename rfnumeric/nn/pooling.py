"""Pooling between layers, linear and without weights: averages over windows, and every so many entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from rfnumeric import kernels
from rfnumeric.backend import array_namespace, device_of
from rfnumeric.kernels import Window
from rfnumeric.nn.images import ImageMap, Pair, coverage
from rfnumeric.typing import Array


@dataclass(frozen=True)
class _Pooling(ImageMap):
    """A mean over windows, channel by channel; W is None."""

    @property
    def out_channels(self) -> int:
        """C."""
        return self.in_shape[0]

    def push(self, W: Array | None, v: Array) -> Array:
        """Return the mean of every window. See `Map.push`."""
        return kernels.average_pool(v, self.window)

    def pull(self, W: Array | None, v: Array) -> Array:
        """Return each entry's share. See `Map.pull`."""
        return kernels.average_pool_pull(v, None, self.window)

    def gated_feed(self, F: Array | None, v: Array, d: Array) -> Array:
        """See `Map.gated_feed`; one kernel."""
        return kernels.average_pool_pull(v, d, self.window)

    def pinv(self, W: Array | None, engine: Callable[[Array], Array]) -> None:
        """Return None: there are no parameters. See `Map.pinv`."""

    def undo(self, P: Array | None, v: Array, damping: float = 0.0) -> Array:
        """Return M⁺v = |window|·Mᵀv where windows do not overlap, MMᵀ being I/|window| there. See `Map.undo`."""
        if not self.window.disjoint:
            return super().undo(P, v, damping)
        return self.pull(P, v * (self._size / (1 + damping)))

    def undo_transposed(self, P: Array | None, v: Array, damping: float = 0.0) -> Array:
        """Return (M⁺)ᵀv. See `Map.undo_transposed`."""
        if not self.window.disjoint:
            return super().undo_transposed(P, v, damping)
        return self.push(P, v) * (self._size / (1 + damping))

    def mean_square(self, W: Array | None, like: Array) -> Array:
        """See `Map.mean_square`."""
        rows, columns = coverage(self.window)
        total = self.in_shape[0] * sum(rows) * sum(columns) / self._size**2 / min(self.n_in, self.n_out)
        return array_namespace(like).asarray(total, dtype=like.dtype, device=device_of(like))

    @property
    def _size(self) -> int:
        return self.window.kh * self.window.kw


@dataclass(frozen=True)
class AvgPool2d(_Pooling):
    """Average pooling: the mean of every window, channel by channel.

    The maximum, which much of the literature takes, is no linear map; reciprocals need one.

    Attributes
    ----------
    in_shape : tuple of int
        (C, H, W).
    kernel : int or pair of int
        Rows and columns of a window.
    stride : int or pair of int, optional
        Rows and columns from one window to the next. Default: those of a window, so that none overlap. Entries at the
        lower and right edge that fill no window are left out.

    Raises
    ------
    ValueError
        If a number is out of its range or the kernel does not fit on the image.

    Examples
    --------
    >>> import numpy as np
    >>> print(AvgPool2d((1, 2, 4), 2).push(None, np.arange(8.0)[None, :]))
    [[2.5 4.5]]
    """

    name: ClassVar[str] = "avg-pool2d"
    kernel: Pair
    stride: Pair | None = None

    def __post_init__(self) -> None:
        self._check_image()
        kernel = self._check_pair("kernel", 1)
        self._set("stride", kernel if self.stride is None else self._check_pair("stride", 1))
        self._check_window()

    @cached_property
    def window(self) -> Window:
        """Where the windows stand on the image."""
        return Window(*self.in_shape, *self.kernel, *self.stride, 0, 0)  # type: ignore[call-arg, misc]


@dataclass(frozen=True)
class Strided2d(_Pooling):
    """Subsampling: every so many rows and columns, from the first on, channel by channel.

    Attributes
    ----------
    in_shape : tuple of int
        (C, H, W).
    stride : int or pair of int
        Rows and columns from one entry to the next.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> print(Strided2d((1, 2, 4), (1, 2)).push(None, np.arange(8.0)[None, :]))
    [[0. 2. 4. 6.]]
    """

    name: ClassVar[str] = "strided2d"
    stride: Pair

    def __post_init__(self) -> None:
        self._check_image()
        self._check_pair("stride", 1)

    @cached_property
    def window(self) -> Window:
        """Where the windows, of one entry, stand on the image."""
        return Window(*self.in_shape, 1, 1, *self.stride, 0, 0)  # type: ignore[call-arg, misc]
