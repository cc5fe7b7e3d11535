"""Mean reciprocal, in closed form: the one matrix that best undoes D W on average over the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rfnumeric import kernels
from rfnumeric.backend import Streams, array_namespace, transpose
from rfnumeric.nn import Network, Trace
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.inverses import damped_solve
from rfnumeric.rules.recursion import (
    check_mean_options,
    mean_reciprocal_deltas,
    moment_weight,
    running_second_moment,
)
from rfnumeric.rules.sources import require_dense
from rfnumeric.typing import Array


@dataclass(frozen=True)
class MeanReciprocal(Rule):
    """δ_L = D_L e, δ_l = D_l R_{l+1} δ_{l+1} with R_l = E[W_lᵀD_l](E[D_lW_lW_lᵀD_l] + λI)⁻¹.

    No paper has it. The papers average each sample's reciprocal over a batch, which is no reciprocal of the batch's
    Jacobian; R minimizes E‖R D W − I‖² instead (λ = 0). As λ grows it tends to a multiple of the mean-gated transpose,
    E[D W]ᵀ, so that one family runs from inverse to mean gradient.

    Attributes
    ----------
    refresh_every : int
        Steps between refreshes of R; the first comes after the first batch, before which D counts as I.
    damping : float
        λ > 0, relative to the mean eigenvalue of E[DWWᵀD].
    derivatives : {"all", "own"}
        Where D stands: at every layer on the way down, as above, or at the own layer alone: δ_l = D_l R_{l+1} … R_L e.
    moment_decay : float
        Decay of the running moments of D for each step, dimensionless, 0 ≤ ρ < 1; the first 1/(1 − ρ) steps
        count alike.
    unbiased : bool
        Whether to scale R_l so that tr(R_l E[D_l] W_l) is the rank of W_l, as if R_l undid D_l W_l on average. Least
        squares shrinks R where D varies and where λ is large, by a factor that compounds over the layers.
    normalize : bool
        Whether to divide δ_l by the batch's mean of ‖h_{l−1}‖² (the papers' 1/‖h‖², v1/v2 §4.2, for a batch).
    """

    name: ClassVar[str] = "mean-reciprocal"
    refresh_every: int = 20
    damping: float = 0.1
    derivatives: str = "all"
    moment_decay: float = 0.99
    unbiased: bool = False
    normalize: bool = False

    def __post_init__(self) -> None:
        check_mean_options(self.derivatives, self.damping)
        if self.refresh_every < 1:
            raise ValueError(f"refresh_every must be at least 1 (steps); got {self.refresh_every}.")
        if not 0 <= self.moment_decay < 1:
            raise ValueError(f"moment_decay must lie in [0, 1); got {self.moment_decay}.")

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Start with D = I: moments of ones, and R = Wᵀ(WWᵀ + λI)⁻¹. See `Rule.init`."""
        require_dense(network, "mean reciprocals in closed form")

        def ones(k: int) -> Array:
            W = network.W[k]
            return array_namespace(W).ones(W.shape[:-1], dtype=W.dtype, device=streams.backend.device)

        first = network.fed_by(ones)
        second = network.fed_by(lambda k: first[k][..., :, None] * first[k][..., None, :])  # type: ignore[index]
        return {"d_mean": first, "d_second": second, "R": self._reciprocals(network, first, second)}

    def _reciprocals(
        self, network: Network, first: list[Array | None], second: list[Array | None]
    ) -> list[Array | None]:
        def reciprocal(k: int) -> Array:
            W = network.W[k]
            R = mean_reciprocal(W, first[k], second[k], self.damping)
            return unbiased(R, W, first[k]) if self.unbiased else R

        return network.fed_by(reciprocal)

    def sleep(self, network: Network, feedback: Feedback, streams: Streams, step: int) -> Feedback:
        """Refresh R after the first batch and every `refresh_every` steps. See `Rule.sleep`."""
        if step == 1 or (step > 0 and step % self.refresh_every == 0):
            feedback["R"] = self._reciprocals(network, feedback["d_mean"], feedback["d_second"])
        return feedback

    def deltas(self, network: Network, trace: Trace, e: Array, feedback: Feedback) -> list[Array]:
        """See `Rule.deltas`."""
        return mean_reciprocal_deltas(network, trace, e, feedback["R"], self.derivatives, self.normalize)

    def learn_feedback(
        self, network: Network, trace: Trace, feedback: Feedback, streams: Streams, step: int
    ) -> Feedback:
        """Take the batch into the running moments E[d] and E[d dᵀ]. See `Rule.learn_feedback`."""
        weight = moment_weight(step, self.moment_decay)
        first: list[Array] = feedback["d_mean"]
        second: list[Array] = feedback["d_second"]
        for k in network.fed:
            d = network.over_users(k, lambda l: trace.d_sigma[l])
            first[k] = (1 - weight) * first[k] + weight * array_namespace(d).mean(d, axis=-2)
            second[k] = running_second_moment(second[k], d, weight)
        return feedback

    def advice(self) -> str:
        """See `Rule.advice`."""
        return "a smaller learning rate (--lr) or more damping (--damping 1)"


def mean_reciprocal(W: Array, d_mean: Array, d_second: Array, damping: float) -> Array:
    """Return R = E[WᵀD](E[DWWᵀD] + λI)⁻¹ = Wᵀ diag(E d) ((WWᵀ) ∘ E[d dᵀ] + λI)⁻¹.

    Parameters
    ----------
    W : array, shape (..., m, n)
    d_mean : array, shape (..., m)
        E d, with d the diagonal of D.
    d_second : array, shape (..., m, m)
        E[d dᵀ].
    damping : float
        λ > 0, relative to the mean eigenvalue of (WWᵀ) ∘ E[d dᵀ].

    Returns
    -------
    array, shape (..., n, m)
        NaN where W is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> print(mean_reciprocal(np.asarray([[2.0]]), np.asarray([0.5]), np.asarray([[0.25]]), 1.0))
    [[0.5]]
    """
    G = kernels.matmul(W, transpose(W)) * d_second
    return transpose(damped_solve(G, d_mean[..., None] * W, damping))


def unbiased(R: Array, W: Array, d_mean: Array) -> Array:
    """Return R · min(m, n)/tr(R E[D] W), which undoes E[D] W by size: exactly R for R = W⁺, D = I and full rank.

    Parameters
    ----------
    R : array, shape (..., n, m)
    W : array, shape (..., m, n)
    d_mean : array, shape (..., m)
        E d.

    Returns
    -------
    array, shape (..., n, m)
        R itself where the trace is zero.

    Examples
    --------
    >>> import numpy as np
    >>> print(unbiased(np.asarray([[0.1]]), np.asarray([[2.0]]), np.asarray([0.5])))
    [[1.]]
    """
    xp = array_namespace(R)
    trace = xp.sum(transpose(R) * (d_mean[..., None] * W), axis=(-2, -1), keepdims=True)
    usable = trace > 0
    return R * xp.where(usable, min(W.shape[-2:]) / xp.where(usable, trace, xp.ones_like(trace)), xp.ones_like(trace))
