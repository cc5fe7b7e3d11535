"""Backpropagation: the transposes that reciprocal feedback replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rfnumeric.nn import Network, Trace
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.recursion import gated_deltas, transposes
from rfnumeric.typing import Array


@dataclass(frozen=True)
class Backprop(Rule):
    """δ_L = D_L e, δ_l = D_l W_{l+1}ᵀ δ_{l+1} (Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0)."""

    name: ClassVar[str] = "backprop"

    def deltas(self, network: Network, trace: Trace, e: Array, feedback: Feedback) -> list[Array]:
        """See `Rule.deltas`."""
        return gated_deltas(network, trace, e, transposes(network))
