"""What another package adds to rfnumeric without changing it: a rule with state, a data set, and a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rfnumeric.backend import array_namespace
from rfnumeric.datasets import Dataset
from rfnumeric.nn import Dense, Map, ScalarGram
from rfnumeric.rules import Rule
from rfnumeric.rules.recursion import gated_deltas


@dataclass(frozen=True)
class HalfTranspose(Rule):
    """Feedback that follows the transpose slowly: F ← F + ρ(Wᵀ − F).

    Attributes
    ----------
    follow : float
        ρ, dimensionless, 0 < ρ ≤ 1.
    """

    name: ClassVar[str] = "half-transpose"
    follow: float = 0.5

    def init(self, network, streams):
        return {"F": network.fed_by(lambda k: 0.5 * network.layers[k].map.transposed(network.W[k]))}

    def sleep(self, network, feedback, streams, step):
        F = feedback["F"]
        for k in network.fed:
            F[k] = F[k] + self.follow * (network.layers[k].map.transposed(network.W[k]) - F[k])
        return feedback

    def deltas(self, network, trace, e, feedback):
        return gated_deltas(network, trace, e, feedback["F"])


@dataclass(frozen=True)
class Scale(Map):
    """a_i = w_i h_i: a layer with one weight an entry."""

    name: ClassVar[str] = "scale"
    n: int

    @property
    def n_in(self):
        return self.n

    @property
    def n_out(self):
        return self.n

    @property
    def weight_shape(self):
        return (self.n,)

    @property
    def bias_shape(self):
        return (self.n,)

    def push(self, W, v):
        return v * W[..., None, :]

    def pull(self, W, v):
        return v * W[..., None, :]

    def grad(self, h, v):
        return array_namespace(h).sum(h * v, axis=-2)

    def gram(self, h, bias):
        return ScalarGram(h * h + 1 if bias else h * h)

    def pinv(self, W, engine):
        xp = array_namespace(W)
        return xp.where(W == 0, xp.zeros_like(W), 1 / xp.where(W == 0, xp.ones_like(W), W))

    def undo(self, P, v, damping=0.0):
        return v * P[..., None, :]

    def undo_transposed(self, P, v, damping=0.0):
        return v * P[..., None, :]

    def draw(self, initializer, streams):
        return streams.uniform((self.n,), 0.5, 1.5)


def scaled(in_shape: tuple[int, ...], classes: int) -> Sequence[Map]:
    n = int(np.prod(in_shape))
    return [Scale(n), Dense(n, 8), Dense(8, classes)]


def two_moons() -> Dataset:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, np.pi, 400)
    y = np.arange(400) % 2
    x = np.stack([np.cos(angle) * (1 - 2 * y) + y, np.sin(angle) * (1 - 2 * y) + y / 2], axis=1)
    x += 0.1 * rng.standard_normal(x.shape)
    return Dataset(x.astype(np.float32), y, name="two-moons", class_names=("up", "down"))
