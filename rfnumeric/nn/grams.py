"""N(h)N(h)ᵀ of a layer, for each sample: what the papers' 1/‖h‖² is the inverse of, for any map."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.linalg import pinv
from rfnumeric.typing import Array


@dataclass(frozen=True)
class Gram:
    """A symmetric matrix for each sample, known by its product and by its pseudoinverse's."""

    def multiply(self, v: Array) -> Array:
        """Return N(h)N(h)ᵀv of each row, shape (..., batch, n_out)."""
        raise NotImplementedError

    def solve(self, v: Array) -> Array:
        """Return (N(h)N(h)ᵀ)⁺v of each row, shape (..., batch, n_out)."""
        raise NotImplementedError


@dataclass(frozen=True)
class ScalarGram(Gram):
    """A multiple of the identity, or one multiple for each entry.

    Attributes
    ----------
    s : array, shape (..., batch, 1) or (..., batch, n_out)
    """

    s: Array

    def multiply(self, v: Array) -> Array:
        """See `Gram.multiply`."""
        return self.s * v

    def solve(self, v: Array) -> Array:
        """See `Gram.solve`; a silent input (s = 0) gives 0."""
        xp = array_namespace(self.s)
        # A quotient by infinity, and not a product with 0: what is not finite in v stays so elsewhere.
        return v / xp.where(self.s > 0, self.s, xp.full_like(self.s, math.inf))


@dataclass(frozen=True)
class ChannelGram(Gram):
    """I ⊗ G: one matrix over positions for all output channels, as a convolution has it.

    Attributes
    ----------
    patches : array, shape (..., batch, k, positions)
        Columns of N(h); with a bias, one row of ones more. G is their Gram matrix.
    channels : int
    """

    patches: Array
    channels: int

    def multiply(self, v: Array) -> Array:
        """See `Gram.multiply`."""
        xp = array_namespace(v)
        rows = self._by_channel(v)
        return xp.reshape(xp.matmul(xp.matmul(rows, xp.matrix_transpose(self.patches)), self.patches), v.shape)

    def solve(self, v: Array) -> Array:
        """See `Gram.solve`: (PᵀP)⁺ = P⁺P⁺ᵀ, which keeps the digits that PᵀP loses."""
        xp = array_namespace(v)
        finite = xp.all(xp.isfinite(self.patches), axis=(-2, -1), keepdims=True)
        inverse = pinv(xp.where(finite, self.patches, xp.zeros_like(self.patches)))
        inverse = xp.where(finite, inverse, xp.full_like(inverse, math.nan))
        rows = self._by_channel(v)
        return xp.reshape(xp.matmul(xp.matmul(rows, inverse), xp.matrix_transpose(inverse)), v.shape)

    def _by_channel(self, v: Array) -> Array:
        return array_namespace(v).reshape(v, (*v.shape[:-1], self.channels, self.patches.shape[-1]))


def dense_gram(gram: Gram, n: int, like: Array) -> Array:
    """Return N(h)N(h)ᵀ of each sample as a matrix, shape (..., batch, n, n), column by column; for small maps."""
    xp = array_namespace(like)
    eye = xp.eye(n, dtype=like.dtype, device=device_of(like))
    columns = [gram.multiply(xp.zeros_like(like[..., :1]) + eye[k, :]) for k in range(n)]
    return xp.stack(columns, axis=-1)
