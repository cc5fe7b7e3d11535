"""A map with weights and rows of numbers, and its matrices written out on the host: what `check_map` compares with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rfnumeric.backend import Backend, Streams, eps, to_numpy
from rfnumeric.nn import Map, get_initializer
from rfnumeric.testing.conformance import _require
from rfnumeric.typing import Array


class MapSetting:
    """A map with weights, rows on both sides, and its matrices on the host."""

    def __init__(self, layer: Map, chosen: Backend, seed: Any, batch: int, bias: bool, c: float) -> None:
        self.layer, self.chosen, self.batch, self.tolerance = layer, chosen, batch, c * eps(chosen.dtype)
        streams = Streams(seed, chosen)
        self.lead = streams.population
        draw = get_initializer("he-normal")
        self.W, self.W2 = (
            layer.draw(draw, streams.child(n)) if layer.weight_shape is not None else None for n in ("W", "W2")
        )
        self.b = streams.child("b").normal(layer.bias_shape) if bias else None  # type: ignore[arg-type]
        self.h = streams.child("h").normal((batch, layer.n_in))
        self.v = streams.child("v").normal((batch, layer.n_out))
        self.F = layer.draw_feedback(draw, streams.child("F")) if layer.weight_shape is not None else None
        self.M = self.matrix(lambda eye: layer.push(self.W, eye), layer.n_in)

    def matrix(self, f: Callable[[Array], Array], n: int) -> np.ndarray:
        """Write out a linear map of rows, (..., columns, n) on the host."""
        eye = self.chosen.asarray(np.broadcast_to(np.eye(n), (*self.lead, n, n)).copy())
        return np.swapaxes(host(f(eye)), -1, -2)

    def columns(self, f: Callable[..., Array], shape: tuple[int, ...], *rows: Array) -> np.ndarray:
        """Write out a map that is linear in parameters: the last axis counts their entries.

        All units at once, as a population of them.
        """
        size = int(np.prod(shape))
        units = np.eye(size).reshape(size, *(1,) * len(self.lead), *shape)
        each = [np.broadcast_to(host(x), (size, *x.shape)) for x in rows]
        units = np.broadcast_to(units, (size, *self.lead, *shape))
        return np.moveaxis(host(f(*(self.chosen.asarray(x.copy()) for x in (units, *each)))), 0, -1)

    def N(self) -> np.ndarray:
        """N(h), with a bias's columns, shape (..., batch, n_out, parameters)."""
        N = self.columns(self.layer.push, self.layer.weight_shape, self.h)  # type: ignore[arg-type]
        if self.b is None:
            return N
        S = self.columns(self.layer.spread_bias, self.layer.bias_shape)[..., None, :, :]  # type: ignore[arg-type]
        return np.concatenate([N, np.broadcast_to(S, (*N.shape[:-1], S.shape[-1]))], axis=-1)

    def close(self, got: Any, wanted: np.ndarray, size: float, what: str) -> None:
        """Demand the same shape, and values within the tolerance for numbers of that size."""
        got = got if isinstance(got, np.ndarray) else host(got)
        _require(got.shape == wanted.shape, f"{self.layer}: {what}; got shape {got.shape} for {wanted.shape}.")
        off = float(np.abs(got - wanted).max(initial=0.0))
        _require(off <= self.tolerance * size, f"{self.layer}: {what}; off by {off:.3g} in {size:.3g}.")


def host(a: Array) -> np.ndarray:
    """Return an array's values in float64 on the host."""
    return to_numpy(a).astype(np.float64)


def norm(*arrays: Any) -> float:
    """Product of norms, of each the largest over leading axes."""
    product = 1.0
    for a in arrays:
        a = a if isinstance(a, np.ndarray) and a.dtype == np.float64 else host(a)
        product *= max(1e-300, float(np.sqrt((a * a).sum(axis=(-2, -1))).max(initial=0.0)))
    return product


def times(M: np.ndarray, rows: Any) -> np.ndarray:
    """Return Mv of each row v."""
    return host(rows) @ np.swapaxes(M, -1, -2)
