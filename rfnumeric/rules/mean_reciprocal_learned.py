"""Mean reciprocal, learned: noise at a layer's input and the layer's own response teach R, with no weight transport."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from rfnumeric.backend import Streams, array_namespace, transpose
from rfnumeric.nn import Map, Network, Trace
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.inverses import dense
from rfnumeric.rules.recursion import check_mean_options, mean_reciprocal_deltas
from rfnumeric.typing import Array


@dataclass(frozen=True)
class MeanReciprocalLearned(Rule):
    """δ_L = D_L e, δ_l = D_l R_{l+1} δ_{l+1} with R learned from noise: R knows W only by what the layer answers.

    Noise ξ at h_{l−1} changes the layer's output by Δ = σ(W(h + ξ) + b) − σ(Wh + b), and
    ΔR = −η (E[(RΔ − ξ)Δᵀ]/E‖Δ‖² + γR/n_l). Its fixed point E[ξΔᵀ](E[ΔΔᵀ] + γ(E‖Δ‖²/n_l)I)⁻¹ is, for small noise, the
    closed form of `MeanReciprocal` at λ = γ. R starts at zero: no weight is ever copied.

    Attributes
    ----------
    reciprocal_lr : float
        η, dimensionless, 0 < η ≤ 1: the update is normalized by the mean of ‖Δ‖².
    damping : float
        γ > 0, relative to the mean eigenvalue of E[ΔΔᵀ].
    noise : float
        Standard deviation of ξ, relative to the root mean square of h_{l−1}.
    sleep_every : int
        Steps between updates of R.
    derivatives : {"all", "own"}
        Where D stands: at every layer on the way down, as above, or at the own layer alone: δ_l = D_l R_{l+1} … R_L e.
    normalize : bool
        Whether to divide δ_l by the batch's mean of ‖h_{l−1}‖².
    """

    name: ClassVar[str] = "mean-reciprocal-learned"
    reciprocal_lr: float = 0.05
    damping: float = 0.1
    noise: float = 0.1
    sleep_every: int = 1
    derivatives: str = "all"
    normalize: bool = False

    def __post_init__(self) -> None:
        check_mean_options(self.derivatives, self.damping)
        if not 0 < self.reciprocal_lr <= 1:
            raise ValueError(f"reciprocal_lr must lie in (0, 1]; got {self.reciprocal_lr}.")
        if not 0 < self.noise < math.inf:
            raise ValueError(f"noise must be positive and finite; got {self.noise}.")
        if self.sleep_every < 1:
            raise ValueError(f"sleep_every must be at least 1 (steps); got {self.sleep_every}.")

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Start R_l, shape (..., n_{l−1}, n_l), l = 2 … L, at zero. See `Rule.init`."""

        def zero(k: int) -> Array:
            return streams.backend.zeros(tuple(network.layers[k].map.transposed(network.W[k]).shape))

        return {"R": network.fed_by(zero)}

    def deltas(self, network: Network, trace: Trace, e: Array, feedback: Feedback) -> list[Array]:
        """See `Rule.deltas`."""
        return mean_reciprocal_deltas(network, trace, e, feedback["R"], self.derivatives, self.normalize)

    def learn_feedback(
        self, network: Network, trace: Trace, feedback: Feedback, streams: Streams, step: int
    ) -> Feedback:
        """Shake every hidden activity of the step with noise, and learn from the next layer's answer."""
        if step % self.sleep_every == 0:
            R = feedback["R"]
            for k in network.fed:
                for l in network.users[k]:
                    layer = network.layers[l].map
                    xi, response = self._shake(network, trace, streams.child(l), l)
                    R[k] = learn_reciprocal(R[k], response, xi, self.reciprocal_lr, self.damping, layer)
        return feedback

    def _shake(self, network: Network, trace: Trace, streams: Streams, l: int) -> tuple[Array, Array]:
        """Return ξ at h_{l−1} and the response Δ of layer l, sample by sample."""
        h = network.input(l, trace.h)
        xp = array_namespace(h)
        size = xp.sqrt(xp.mean(h * h, axis=(-2, -1), keepdims=True))
        xi = self.noise * size * streams.normal((h.shape[-2], h.shape[-1]))
        return xi, network.respond(l, h + xi, trace.h) - trace.h[l]

    def advice(self) -> str:
        """See `Rule.advice`."""
        return "a smaller learning rate (--lr), more damping (--damping 1) or a smaller --reciprocal-lr"


def learn_reciprocal(
    R: Array, response: Array, xi: Array, lr: float, damping: float, layer: Map | None = None
) -> Array:
    """Return R − η (mean (RΔ − ξ)Δᵀ / mean ‖Δ‖² + γR/m): one step towards the reciprocal of a layer's response.

    Parameters
    ----------
    R : array, shape (..., n, m) of a dense layer
        May be overwritten.
    response : array, shape (..., batch, m)
        Δ, the layer's answer to the noise; one without any answer teaches only the decay.
    xi : array, shape (..., batch, n)
        ξ, the noise.
    lr : float
        η, dimensionless.
    damping : float
        γ, relative to the mean eigenvalue of E[ΔΔᵀ].
    layer : Map, optional
        Whose `feed` goes through R. Default: dense.
    """
    layer = dense(transpose(R)) if layer is None else layer
    xp = array_namespace(R)
    squared = xp.sum(response * response, axis=(-2, -1), keepdims=True)  # batch · mean ‖Δ‖²
    tiny = xp.finfo(R.dtype).smallest_normal
    residual = xi - layer.feed(R, response)
    residual = residual / xp.where(squared > tiny, squared, xp.ones_like(squared))
    return layer.feed_learn((1 - lr * damping / layer.n_out) * R, response, residual, lr)
