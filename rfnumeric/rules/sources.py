"""Sources of feedback: where the matrices come from that take the place of the transposes, as objects that rules share.

A source has the calls of a rule that concern feedback (`rfnumeric.rules.interface`): `init`, `sleep` and
`learn_feedback`; and the `way` in which layers send back through what it keeps, under the name ``W_pinv``.
"""

from __future__ import annotations

from dataclasses import dataclass

from rfnumeric.backend import Streams, array_namespace, device_of
from rfnumeric.nn import Dense, Network, Trace, get_initializer
from rfnumeric.rules.interface import Feedback
from rfnumeric.rules.inverses import autoencoder_step, data_weighted_inverse, recirculate, small_transpose, weight_pinvs
from rfnumeric.rules.recursion import FEED, Way, moment_weight, running_second_moment, undo
from rfnumeric.typing import Array

MOMENT_DECAY = 0.99
"""Decay of Γ for each step; the first 100 steps count alike."""


@dataclass(frozen=True)
class Source:
    """Base of the sources of feedback."""

    @property
    def way(self) -> Way:
        """How layers send back through what this source keeps."""
        return FEED

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Return the feedback before the first step. See `Rule.init`."""
        raise NotImplementedError

    def sleep(self, network: Network, feedback: Feedback, streams: Streams, step: int) -> Feedback:
        """Improve the feedback without any input. See `Rule.sleep`."""
        return feedback

    def learn_feedback(
        self, network: Network, trace: Trace, feedback: Feedback, streams: Streams, step: int
    ) -> Feedback:
        """Improve the feedback from the step's own activity. See `Rule.learn_feedback`."""
        return feedback


@dataclass(frozen=True)
class Exact(Source):
    """W⁺, or the damped Wᵀ(WWᵀ + λI)⁻¹, computed anew every so many steps.

    Attributes
    ----------
    engine : {"auto", "svd", "cholesky", "ben-israel-cohen"}
        Method of `rfnumeric.linalg.pinv`.
    damping : float
        λ, relative to the mean squared singular value.
    refresh_every : int
        Steps.
    """

    engine: str
    damping: float
    refresh_every: int

    @property
    def way(self) -> Way:
        """Through M(W)⁺."""
        return undo(self.damping)

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Compute W_l⁺. See `Source.init`."""
        return {"W_pinv": weight_pinvs(network, self.engine, self.damping)}

    def sleep(self, network: Network, feedback: Feedback, streams: Streams, step: int) -> Feedback:
        """Compute W_l⁺ anew every `refresh_every` steps. See `Source.sleep`."""
        if step > 0 and step % self.refresh_every == 0:
            feedback["W_pinv"] = weight_pinvs(network, self.engine, self.damping)
        return feedback


@dataclass(frozen=True)
class DataWeighted(Source):
    """ΓWᵀ(WΓWᵀ)⁻¹, which the parallel rule would learn, from running moments Γ = E[hhᵀ] of the activity.

    Attributes
    ----------
    damping : float
        λ, relative to the mean eigenvalue of WΓWᵀ.
    refresh_every : int
        Steps.
    """

    damping: float
    refresh_every: int

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Start with W_l⁺ and Γ = 0. See `Source.init`."""
        require_dense(network, "data-weighted inverses")
        zeros = streams.backend.zeros

        def moment(k: int) -> Array:
            W = network.W[k]
            return zeros((*W.shape[:-2], W.shape[-1], W.shape[-1]))

        return {"W_pinv": weight_pinvs(network, "auto", self.damping), "second_moment": network.fed_by(moment)}

    def sleep(self, network: Network, feedback: Feedback, streams: Streams, step: int) -> Feedback:
        """Compute the inverses anew every `refresh_every` steps. See `Source.sleep`."""
        if step > 0 and step % self.refresh_every == 0:
            for k in network.fed:
                moment = feedback["second_moment"][k]
                feedback["W_pinv"][k] = data_weighted_inverse(network.W[k], moment, self.damping)
        return feedback

    def learn_feedback(
        self, network: Network, trace: Trace, feedback: Feedback, streams: Streams, step: int
    ) -> Feedback:
        """Take the batch into Γ. See `Source.learn_feedback`."""
        weight = moment_weight(step, MOMENT_DECAY)
        moments: list[Array] = feedback["second_moment"]
        for k in network.fed:
            h = network.over_users(k, lambda l: network.input(l, trace.h))
            moments[k] = running_second_moment(moments[k], h, weight)
        return feedback


@dataclass(frozen=True)
class Recirculated(Source):
    """W⁺ learned from noise by recirculation, starting at the exact W⁺ (v1/v2 §3).

    A layer whose M(W)⁺ has no closed form starts at a small multiple of its transpose instead, from which the rule
    goes to the best inverse of the transpose's form.

    Attributes
    ----------
    lr : float
        η, dimensionless, 0 < η ≤ 1.
    batch : int
        Noise samples of one sleep.
    refresh_every : int
        Steps between sleeps.
    """

    lr: float
    batch: int
    refresh_every: int

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Start at W_l⁺. See `Source.init`."""
        return {"W_pinv": start_at_inverse(network)}

    def sleep(self, network: Network, feedback: Feedback, streams: Streams, step: int) -> Feedback:
        """Recirculate one batch of normal noise through every layer every `refresh_every` steps. See `Source.sleep`."""
        if step > 0 and step % self.refresh_every == 0:
            F = feedback["W_pinv"]

            def learned(k: int) -> Array:
                layer = network.layers[k].map
                noise = streams.child(k).normal((self.batch, layer.n_out))
                return recirculate(network.W[k], F[k], noise, self.lr, layer)

            feedback["W_pinv"] = network.fed_by(learned)
        return feedback


@dataclass(frozen=True)
class Autoencoded(Source):
    """W⁺ learned from the network's own activity: ΔW⁺ = −η mean (W⁺W y − y)(W y)ᵀ, y = h_{l−1} (v2 §3.1).

    Attributes
    ----------
    lr : float or tuple of float
        η, in units of 1/‖Wy‖²; a tuple has one for each member of the population.
    start : {"pinv", "random"}
        First value: the exact W⁺ (for a layer without a closed form a small multiple of its transpose), or drawn.
    """

    lr: float | tuple[float, ...]
    start: str

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Choose the first W_l⁺. See `Source.init`."""
        if self.start == "pinv":
            return {"W_pinv": start_at_inverse(network)}
        draw = get_initializer("he-normal")
        return {"W_pinv": network.fed_by(lambda k: network.layers[k].map.draw_feedback(draw, streams.child(k)))}

    def learn_feedback(
        self, network: Network, trace: Trace, feedback: Feedback, streams: Streams, step: int
    ) -> Feedback:
        """Take one step of the linear autoencoder rule in every layer. See `Source.learn_feedback`."""
        F, lr = feedback["W_pinv"], self.lr
        if isinstance(lr, tuple):
            like = trace.h[0]
            lr = array_namespace(like).asarray(lr, dtype=like.dtype, device=device_of(like))
        for k in network.fed:
            layer = network.layers[k].map
            y = network.over_users(k, lambda l: network.input(l, trace.h))
            Wy = network.over_users(k, lambda l: network.linear(l, trace))
            F[k] = autoencoder_step(F[k], Wy, y, lr, layer)
        return feedback


def start_at_inverse(network: Network) -> list[Array | None]:
    """Return W_l⁺ for the layers that have it in closed form, and for the others αWᵀ with α = 1/σ₁(M)²."""
    pinvs = weight_pinvs(network, "auto", 0.0)

    def start(k: int) -> Array:
        layer = network.layers[k].map
        return pinvs[k] if isinstance(layer, Dense) else small_transpose(layer, network.W[k])

    return network.fed_by(start)


def require_dense(network: Network, what: str) -> None:
    """Raise unless every layer that feedback passes is dense.

    Raises
    ------
    ValueError
        Names the layer, and what needs it to be dense.
    """
    for k in network.fed:
        if not isinstance(network.layers[k].map, Dense):
            raise ValueError(
                f"{what} need dense layers; layer {k} is {network.layers[k].map}. Take a rule that learns its "
                "feedback, such as mean-reciprocal-learned."
            )
