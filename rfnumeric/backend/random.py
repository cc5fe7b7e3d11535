"""Random numbers that are the same on every backend, for one network or for a population of them.

Every number is drawn on the host from a `numpy.random.Generator` whose seed is a child of one
`numpy.random.SeedSequence`, addressed by a path such as ``("batches", 3)``, and then placed on the device. A stream has
no state that must be saved: epoch 3 of a resumed run asks for the same path and gets the same numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from rfnumeric.backend.libraries import Backend
from rfnumeric.typing import Array


class Streams:
    """Addressable random streams, one for each member of a population.

    Parameters
    ----------
    seed : int or sequence of int
        One seed, or one for each member of a population (then every draw gets a leading population axis).
    backend : Backend
        Where draws are placed.
    path : tuple of str or int
        Address of this stream below the seed; see `child`.

    Raises
    ------
    ValueError
        If a seed is negative or if the population is empty.

    Examples
    --------
    >>> from rfnumeric.backend import get_backend
    >>> one = Streams(7, get_backend("numpy"))
    >>> pair = Streams([7, 8], get_backend("numpy"))
    >>> bool((pair.child("weights").normal((2,))[0] == one.child("weights").normal((2,))).all())
    True
    """

    def __init__(self, seed: int | Sequence[int], backend: Backend, path: tuple[str | int, ...] = ()) -> None:
        self.seed = int(seed) if isinstance(seed, int | np.integer) else [int(s) for s in seed]
        self.backend = backend
        self.path = path
        seeds = [self.seed] if isinstance(self.seed, int) else self.seed
        if not seeds or min(seeds) < 0:
            raise ValueError(f"seed must be a non-negative integer or a non-empty sequence of them; got {seed!r}.")

    @cached_property
    def _generators(self) -> list[np.random.Generator]:
        # Made at the first draw: the loop names a stream a step, and most rules draw nothing.
        key = tuple(_word(part) for part in self.path)
        seeds = [self.seed] if isinstance(self.seed, int) else self.seed
        return [np.random.Generator(np.random.PCG64(np.random.SeedSequence(s, spawn_key=key))) for s in seeds]

    @property
    def population(self) -> tuple[int, ...]:
        """Leading shape of every draw: ``()``, or ``(K,)`` for a population of K."""
        return () if isinstance(self.seed, int) else (len(self.seed),)

    def child(self, *path: str | int) -> Streams:
        """Return the stream at `path` below this one, from its beginning."""
        return Streams(self.seed, self.backend, self.path + path)

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Draw standard normal numbers, shape ``population + shape``, in float64, rounded to the backend's dtype."""
        return self.backend.asarray(self._draw(lambda g: g.standard_normal(shape)))

    def uniform(self, shape: tuple[int, ...], low: float, high: float) -> Array:
        """Draw numbers uniform on [low, high), shape ``population + shape``."""
        return self.backend.asarray(self._draw(lambda g: g.uniform(low, high, shape)))

    def permutation(self, n: int) -> np.ndarray:
        """Draw a permutation of ``range(n)`` on the host, shape ``population + (n,)``, int64."""
        return self._draw(lambda g: g.permutation(n))

    def _draw(self, draw: Callable[[np.random.Generator], np.ndarray]) -> np.ndarray:
        if isinstance(self.seed, int):
            return draw(self._generators[0])
        return np.stack([draw(g) for g in self._generators])


def _word(part: str | int) -> int:
    """Turn a path's part into the 32-bit word that a spawn key holds; the same in every process."""
    return zlib.crc32(part.encode()) if isinstance(part, str) else int(part)
