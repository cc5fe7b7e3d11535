"""Feedback alignment: fixed random matrices in place of the transposes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rfnumeric.backend import Streams
from rfnumeric.nn import Network, Trace, get_initializer
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.recursion import gated_deltas
from rfnumeric.typing import Array


@dataclass(frozen=True)
class FeedbackAlignment(Rule):
    """δ_L = D_L e, δ_l = D_l B_{l+1} δ_{l+1} with fixed random B (Lillicrap et al. 2014, arXiv:1411.0247; v2 §5).

    Attributes
    ----------
    feedback_init : {"he-normal", "lecun-uniform", "orthogonal"}
        Initializer of the transposed B, so that B has the scale of the transpose it stands for.
    """

    name: ClassVar[str] = "feedback-alignment"
    feedback_init: str = "he-normal"

    def __post_init__(self) -> None:
        get_initializer(self.feedback_init)

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Draw B_l, shape (..., n_{l−1}, n_l), for l = 2 … L. See `Rule.init`."""
        draw = get_initializer(self.feedback_init)

        def drawn(k: int) -> Array:
            layer = network.layers[k].map
            return layer.transposed(layer.draw(draw, streams.child(k)))

        return {"B": network.fed_by(drawn)}

    def deltas(self, network: Network, trace: Trace, e: Array, feedback: Feedback) -> list[Array]:
        """See `Rule.deltas`."""
        return gated_deltas(network, trace, e, feedback["B"])
