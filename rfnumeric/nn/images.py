"""What convolutions, local connections and pooling have in common: images as rows of numbers, and windows on them."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rfnumeric.backend import array_namespace
from rfnumeric.kernels import Window
from rfnumeric.nn.maps import Map
from rfnumeric.typing import Array

Pair = int | tuple[int, int]
"""One number for rows and columns, or one for each."""


@dataclass(frozen=True)
class ImageMap(Map):
    """Base of the maps from images to images.

    An image of C channels, H rows and W columns is a row of C·H·W numbers: its channels one behind the other, each row
    by row, as CIFAR-10 has it.

    Attributes
    ----------
    in_shape : tuple of int
        (C, H, W).
    """

    in_shape: tuple[int, int, int]

    @cached_property
    def window(self) -> Window:
        """Where the windows stand on the image."""
        raise NotImplementedError

    @property
    def out_channels(self) -> int:
        """Channels of a."""
        raise NotImplementedError

    @cached_property
    def out_shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of a."""
        return self.out_channels, self.window.out_height, self.window.out_width

    @cached_property
    def n_in(self) -> int:
        """C·H·W."""
        return self.window.n_in

    @cached_property
    def n_out(self) -> int:
        """Number of entries of a."""
        return self.out_channels * self.window.positions

    def _check_image(self) -> None:
        """Make `in_shape` a tuple of three positive integers.

        Raises
        ------
        ValueError
            If it is none.
        """
        shape = self.in_shape
        if not isinstance(shape, tuple | list) or len(shape) != 3:
            raise ValueError(f"in_shape of {type(self).__name__} must be (channels, rows, columns); got {shape!r}.")
        self._set("in_shape", tuple(_integer(n, self, "in_shape", shape, 1) for n in shape))

    def _check_pair(self, name: str, least: int) -> tuple[int, int]:
        """Make a field a pair of integers of at least `least`, and return it.

        Raises
        ------
        ValueError
            If it is none.
        """
        value = getattr(self, name)
        pair = value if isinstance(value, tuple | list) else (value, value)
        if len(pair) != 2:
            raise ValueError(f"{name} of {type(self).__name__} must be an integer or a pair of them; got {value!r}.")
        rows, columns = (_integer(n, self, name, value, least) for n in pair)
        self._set(name, (rows, columns))
        return rows, columns

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_window(self) -> None:
        """Check that a window fits on the image.

        Raises
        ------
        ValueError
            If it is larger than the image with its zeros.
        """
        w = self.window
        if w.kh > w.height + 2 * w.ph or w.kw > w.width + 2 * w.pw:
            raise ValueError(
                f"{type(self).__name__}: a window of {w.kh} × {w.kw} does not fit on an image of {w.height} × "
                f"{w.width} with {w.ph} and {w.pw} zeros around it. Take a smaller kernel or more padding."
            )


def _integer(n: Any, of: object, name: str, value: Any, least: int) -> int:
    try:
        if isinstance(n, bool):
            raise TypeError
        number = operator.index(n)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} of {type(of).__name__} must hold integers of at least {least}; got {value!r}.")
    return number


def coverage(window: Window) -> tuple[list[int], list[int]]:
    """Return in how many windows' rows row i of a kernel lies on the image, and the same of its columns."""

    def count(size: int, k: int, stride: int, padding: int, windows: int) -> list[int]:
        return [sum(0 <= i + p * stride - padding < size for p in range(windows)) for i in range(k)]

    w = window
    return count(w.height, w.kh, w.sh, w.ph, w.out_height), count(w.width, w.kw, w.sw, w.pw, w.out_width)


def by_channel(v: Array, channels: int) -> Array:
    """Return rows (..., n) as (..., channels, n/channels)."""
    return array_namespace(v).reshape(v, (*v.shape[:-1], channels, v.shape[-1] // channels))
