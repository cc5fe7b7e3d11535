"""Batch reciprocal: each layer's exact reciprocal of the whole batch's Jacobian, the yardstick of the others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from rfnumeric import kernels
from rfnumeric.backend import array_namespace
from rfnumeric.calculus.gauss_newton import parameter_gram, pulled
from rfnumeric.calculus.jacobians import output_jacobians
from rfnumeric.linalg import pinv
from rfnumeric.nn import Network, Trace
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.inverses import damped_solve
from rfnumeric.typing import Array


@dataclass(frozen=True)
class BatchReciprocal(Rule):
    """ΔW_l = −λ J_lᵀ(J_lJ_lᵀ + λ_dI)⁻¹e with J_l = ∂(all samples' h_L)/∂W_l: layer-wise exact Gauss-Newton.

    Where the papers' rule averages the reciprocals of single samples (v1/v2 §4.2), this is the reciprocal of their
    stacked Jacobian: undamped, and where a layer has the freedom for it, its step alone moves every sample's output by
    −λe to first order. Costs O((batch·n_L)³) a layer and step: a reference rule, for small batches.

    Attributes
    ----------
    damping : float
        λ_d ≥ 0, relative to the mean eigenvalue of J_lJ_lᵀ. At 0 it is J_l⁺, by SVD.
    """

    name: ClassVar[str] = "batch-reciprocal"
    damping: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.damping < math.inf:
            raise ValueError(f"damping must be a finite number ≥ 0; got {self.damping}.")

    def deltas(self, network: Network, trace: Trace, e: Array, feedback: Feedback) -> list[Array]:
        """Return δ_l(s) = batch · J_{a_l}(s)ᵀ z_l(s), with z_l = (J_lJ_lᵀ + λ_dI)⁻¹ e over the batch's outputs.

        Then mean_s N(h_{l−1}(s))ᵀδ_l(s), summed over the layers that share W_l, is J_lᵀz_l. A layer without weights has
        δ_l = 0. See `Rule.deltas`.
        """
        J = output_jacobians(network, trace)
        delta: list[Array] = [None, *(array_namespace(a).zeros_like(a) for a in trace.a[1:])]
        for k in network.trained:
            z = self._solve(parameter_gram(network, trace, J, k, bias=network.b[k] is not None), e)
            for u in network.users[k]:
                delta[u] = e.shape[-2] * pulled(J[u], z)
        return delta

    def _solve(self, G: Array, e: Array) -> Array:
        xp = array_namespace(G)
        target = xp.reshape(e, (*e.shape[:-2], -1, 1))
        if self.damping > 0:
            z = damped_solve(G, target, self.damping)
        else:
            finite = xp.all(xp.isfinite(G), axis=(-2, -1), keepdims=True)
            z = kernels.matmul(pinv(xp.where(finite, G, xp.zeros_like(G)), method="svd"), target)
            z = xp.where(finite, z, xp.full_like(z, float("nan")))
        return xp.reshape(z, e.shape)

    def advice(self) -> str:
        """See `Rule.advice`."""
        return "a smaller learning rate (--lr) or more damping (--damping 1)"
