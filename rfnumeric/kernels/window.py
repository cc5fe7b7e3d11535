"""Where windows stand on an image: what the kernels of convolutions, local connections and pooling need to know."""

from __future__ import annotations

from typing import NamedTuple


class Window(NamedTuple):
    """Windows of kh × kw entries in all channels of a (C, H, W) image, sh rows and sw columns apart.

    The image has ph rows and pw columns of zeros on each side. Its rows of numbers are its channels, one behind the
    other. Windows are numbered row by row; the entries of one are its channels, each row by row.
    """

    channels: int
    height: int
    width: int
    kh: int
    kw: int
    sh: int
    sw: int
    ph: int
    pw: int

    @property
    def out_height(self) -> int:
        """Rows of windows."""
        return (self.height + 2 * self.ph - self.kh) // self.sh + 1

    @property
    def out_width(self) -> int:
        """Windows in a row."""
        return (self.width + 2 * self.pw - self.kw) // self.sw + 1

    @property
    def positions(self) -> int:
        """Number of windows."""
        return self.out_height * self.out_width

    @property
    def entries(self) -> int:
        """Entries of a window, in all channels."""
        return self.channels * self.kh * self.kw

    @property
    def n_in(self) -> int:
        """Entries of the image."""
        return self.channels * self.height * self.width

    @property
    def disjoint(self) -> bool:
        """Whether no two windows share an entry."""
        return self.sh >= self.kh and self.sw >= self.kw

    @property
    def padded(self) -> bool:
        """Whether there are zeros around the image."""
        return self.ph > 0 or self.pw > 0
