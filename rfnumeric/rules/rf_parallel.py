"""Parallel reciprocal feedback: W⁺ is learned from the network's own activity, at every step beside W (v2 §3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rfnumeric.backend import Streams
from rfnumeric.nn import Network, Trace
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.recursion import check_reciprocal_options, reciprocal_deltas
from rfnumeric.rules.sources import Autoencoded, Source
from rfnumeric.typing import Array

STARTS = ("pinv", "random")


@dataclass(frozen=True)
class RFParallel(Rule):
    """δ_l as in two-phase reciprocal feedback, with ΔW⁺_l = −η mean (W⁺_l W_l y − y)(W_l y)ᵀ, y = h_{l−1} (v2 §3.1).

    v2's Algorithm 2 writes (W⁺_l W_l a_l − a_l) a_{l−1}ᵀ, whose dimensions do not match; this is §3.1's rule for ΔW⁺,
    where ΔW is printed. Its fixed point for activity of second moment Γ is ΓWᵀ(WΓWᵀ)⁻¹, not W⁺.

    Attributes
    ----------
    feedback_lr : float or tuple of float
        η, in units of 1/‖Wy‖² (v2 Table 3: 7.57e-5 on MNIST). Stable while η · λ_max(E[Wy(Wy)ᵀ]) < 2. A tuple has one
        for each member of the population.
    start : {"pinv", "random"}
        First value of W⁺: the exact one, or drawn as a weight matrix is (He normal). The paper does not say.
    own_layer, normalize, derivative_damping
        See `RFTwoPhase`.
    """

    name: ClassVar[str] = "rf-parallel"
    per_member: ClassVar[tuple[str, ...]] = ("feedback_lr",)
    feedback_lr: float | tuple[float, ...] = 7.5683e-5
    start: str = "pinv"
    own_layer: str = "reciprocal"
    normalize: bool = True
    derivative_damping: float = 0.0

    def __post_init__(self) -> None:
        check_reciprocal_options(self.own_layer, self.derivative_damping)
        if self.start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}; got {self.start!r}.")
        rates = self.feedback_lr if isinstance(self.feedback_lr, tuple) else (self.feedback_lr,)
        if not all(rate >= 0 for rate in rates):
            raise ValueError(f"feedback_lr must be at least 0; got {self.feedback_lr}.")

    @property
    def source(self) -> Source:
        """Where W⁺ comes from."""
        return Autoencoded(self.feedback_lr, self.start)

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Choose the first W_l⁺ for l = 2 … L. See `Rule.init`."""
        return self.source.init(network, streams)

    def deltas(self, network: Network, trace: Trace, e: Array, feedback: Feedback) -> list[Array]:
        """See `Rule.deltas`."""
        return reciprocal_deltas(
            network,
            trace,
            e,
            feedback["W_pinv"],
            own_layer=self.own_layer,
            normalize=self.normalize,
            derivative_damping=self.derivative_damping,
            way=self.source.way,
        )

    def learn_feedback(
        self, network: Network, trace: Trace, feedback: Feedback, streams: Streams, step: int
    ) -> Feedback:
        """Take one step of the linear autoencoder rule in every layer from the second on. See `Rule.learn_feedback`."""
        return self.source.learn_feedback(network, trace, feedback, streams, step)

    def advice(self) -> str:
        """See `Rule.advice`."""
        return (
            "a smaller --feedback-lr, a larger slope (--negative-slope 0.5), damping of D⁺ (--derivative-damping 0.1), "
            "or a smaller learning rate (--lr)"
        )
