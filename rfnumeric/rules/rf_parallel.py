"""Parallel reciprocal feedback: W⁺ is learned from the network's own activity, at every step beside W (v2 §3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rfnumeric import kernels
from rfnumeric.backend import Streams, array_namespace, device_of, transpose
from rfnumeric.nn import Network, Trace, get_initializer
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.inverses import weight_pinvs
from rfnumeric.rules.recursion import check_reciprocal_options, reciprocal_deltas
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

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Choose the first W_l⁺ for l = 2 … L. See `Rule.init`."""
        if self.start == "pinv":
            return {"W_pinv": weight_pinvs(network, "auto", 0.0)}
        draw, n = get_initializer("he-normal"), network.sizes
        return {"W_pinv": [None, None, *(draw(streams.child(l), n[l - 1], n[l]) for l in range(2, network.L + 1))]}

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
        )

    def learn_feedback(
        self, network: Network, trace: Trace, feedback: Feedback, streams: Streams, step: int
    ) -> Feedback:
        """Take one step of the linear autoencoder rule in every layer from the second on. See `Rule.learn_feedback`."""
        W_pinv = feedback["W_pinv"]
        lr = self.feedback_lr
        if isinstance(lr, tuple):
            like = trace.h[0]
            lr = array_namespace(like).asarray(lr, dtype=like.dtype, device=device_of(like))
        for l in range(2, network.L + 1):
            y = trace.h[l - 1]
            Wy = trace.a[l] if network.b[l] is None else trace.a[l] - network.b[l][..., None, :]  # type: ignore[index]
            W_pinv[l] = autoencoder_step(W_pinv[l], Wy, y, lr)
        return feedback

    def advice(self) -> str:
        """See `Rule.advice`."""
        return (
            "a smaller --feedback-lr, a larger slope (--negative-slope 0.5), damping of D⁺ (--derivative-damping 0.1), "
            "or a smaller learning rate (--lr)"
        )


def autoencoder_step(W_pinv: Array, Wy: Array, y: Array, lr: float | Array) -> Array:
    """Return W⁺ − η mean_batch (W⁺Wy − y)(Wy)ᵀ. May overwrite `W_pinv`.

    Parameters
    ----------
    W_pinv : array, shape (..., n, m)
    Wy : array, shape (..., batch, m)
    y : array, shape (..., batch, n)
    lr : float or array of shape ``W_pinv.shape[:-2]``
        η, in units of 1/‖Wy‖².
    """
    residual = kernels.matmul(Wy, transpose(W_pinv))
    residual -= y
    return kernels.add_outer(W_pinv, residual, Wy, -lr / y.shape[-2])
