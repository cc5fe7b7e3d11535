"""Pseudo-backprop: backpropagation with W⁺ in place of Wᵀ, as the author's public code for v1 ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rfnumeric.backend import Streams
from rfnumeric.nn import Network, Trace
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.inverses import EXACT_ENGINES, check_engine
from rfnumeric.rules.recursion import gated_deltas
from rfnumeric.rules.sources import Exact
from rfnumeric.typing import Array


@dataclass(frozen=True)
class PseudoBackprop(Rule):
    """δ_L = D_L e, δ_l = D_l W_{l+1}⁺ δ_{l+1}: the pseudoinverse with D where the papers derive D⁺, and no 1/‖h‖².

    Attributes
    ----------
    refresh_every : int
        Steps between refreshes of W⁺ (v2 §5 uses 20).
    pinv : {"auto", "svd", "cholesky", "ben-israel-cohen"}
        Engine of the refresh.
    weight_damping : float
        λ of Wᵀ(WWᵀ + λI)⁻¹, relative to the mean squared singular value of W.
    """

    name: ClassVar[str] = "pseudo-backprop"
    refresh_every: int = 20
    pinv: str = "auto"
    weight_damping: float = 0.0

    def __post_init__(self) -> None:
        check_engine(self.pinv, EXACT_ENGINES, self.refresh_every, self.weight_damping)

    @property
    def source(self) -> Exact:
        """Where W⁺ comes from."""
        return Exact(self.pinv, self.weight_damping, self.refresh_every)

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Compute W_l⁺ for l = 2 … L. See `Rule.init`."""
        return self.source.init(network, streams)

    def sleep(self, network: Network, feedback: Feedback, streams: Streams, step: int) -> Feedback:
        """Refresh W_l⁺ every `refresh_every` steps. See `Rule.sleep`."""
        return self.source.sleep(network, feedback, streams, step)

    def deltas(self, network: Network, trace: Trace, e: Array, feedback: Feedback) -> list[Array]:
        """See `Rule.deltas`."""
        return gated_deltas(network, trace, e, feedback["W_pinv"], self.source.way)

    def advice(self) -> str:
        """See `Rule.advice`."""
        return "a smaller learning rate (--lr) or damping of W⁺ (--weight-damping 0.1)"
