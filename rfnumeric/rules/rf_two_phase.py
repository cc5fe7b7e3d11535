"""Two-phase reciprocal feedback: awake, the error descends through W⁺ and D⁺; asleep, W⁺ is brought up to date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rfnumeric.backend import Streams
from rfnumeric.nn import Network, Trace
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.inverses import EXACT_ENGINES, check_engine
from rfnumeric.rules.recursion import check_reciprocal_options, reciprocal_deltas
from rfnumeric.rules.sources import DataWeighted, Exact, Recirculated, Source
from rfnumeric.typing import Array

RECIRCULATION, DATA_WEIGHTED = "recirculation", "data-weighted"


@dataclass(frozen=True)
class RFTwoPhase(Rule):
    """δ_l = D_l⁺ B_l e / ‖h_{l−1}‖², B_l = W_{l+1}⁺ D_{l+1}⁺ B_{l+1} (v1/v2 §4.2; v2 Algorithm 1).

    The defaults are what the papers derive. With true leaky-ReLU hidden layers of small slope that diverges: D⁺ = 1/α
    on every inactive unit.

    Attributes
    ----------
    refresh_every : int
        Steps between sleeps (v2 §5 uses 20).
    pinv : {"auto", "svd", "cholesky", "ben-israel-cohen", "recirculation", "data-weighted"}
        What a sleep does: compute W⁺ with that engine; learn it from noise (v1/v2 §3), starting at the exact W⁺; or
        compute ΓWᵀ(WΓWᵀ)⁻¹, which the parallel rule would learn, from running moments Γ = E[hhᵀ] of the activity.
    own_layer : {"reciprocal", "derivative", "none"}
        Factor of the own layer: D_l⁺, which makes 𝓑_l the reciprocal of J_{W_l} (the papers leave it out of both),
        D_l, or none, as printed in v1/v2 §4.2.
    normalize : bool
        Whether to divide by ‖h_{l−1}‖² as 𝓑_l has it; both Algorithm boxes leave it out.
    weight_damping : float
        λ of Wᵀ(WWᵀ + λI)⁻¹, relative to the mean squared singular value of W; exact engines only.
    derivative_damping : float
        λ of D⁺ = D/(D² + λ), in units of σ'².
    sleep_lr : float
        η of recirculation, dimensionless, 0 < η ≤ 1.
    sleep_batch : int
        Noise samples of one sleep's recirculation.
    """

    name: ClassVar[str] = "rf-two-phase"
    refresh_every: int = 20
    pinv: str = "auto"
    own_layer: str = "reciprocal"
    normalize: bool = True
    weight_damping: float = 0.0
    derivative_damping: float = 0.0
    sleep_lr: float = 0.1
    sleep_batch: int = 256

    def __post_init__(self) -> None:
        check_engine(self.pinv, (*EXACT_ENGINES, RECIRCULATION, DATA_WEIGHTED), self.refresh_every, self.weight_damping)
        check_reciprocal_options(self.own_layer, self.derivative_damping)
        if not 0 < self.sleep_lr <= 1 or self.sleep_batch < 1:
            raise ValueError(
                f"sleep_lr must lie in (0, 1] and sleep_batch be at least 1; got {self.sleep_lr}, {self.sleep_batch}."
            )
        if self.pinv == RECIRCULATION and self.weight_damping > 0:
            raise ValueError("weight_damping belongs to the exact engines; recirculation takes none. Leave it at 0.")

    @property
    def source(self) -> Source:
        """Where W⁺ comes from."""
        if self.pinv == DATA_WEIGHTED:
            return DataWeighted(self.weight_damping, self.refresh_every)
        if self.pinv == RECIRCULATION:
            return Recirculated(self.sleep_lr, self.sleep_batch, self.refresh_every)
        return Exact(self.pinv, self.weight_damping, self.refresh_every)

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Compute W_l⁺ for l = 2 … L. See `Rule.init`."""
        return self.source.init(network, streams)

    def sleep(self, network: Network, feedback: Feedback, streams: Streams, step: int) -> Feedback:
        """Bring W_l⁺ up to date every `refresh_every` steps. See `Rule.sleep`."""
        return self.source.sleep(network, feedback, streams, step)

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
        """Take the batch into Γ where inverses are data-weighted. See `Rule.learn_feedback`."""
        return self.source.learn_feedback(network, trace, feedback, streams, step)

    def advice(self) -> str:
        """See `Rule.advice`."""
        return (
            "a larger slope (--negative-slope 0.5), damping of D⁺ (--derivative-damping 0.1), the own-layer factor D "
            "(--own-layer derivative), or a smaller learning rate (--lr)"
        )
