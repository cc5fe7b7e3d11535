"""What a learning rule is: the calls that the training loop makes, and the feedback that a rule keeps between them.

`rfnumeric.rules.training_step` makes the calls in their order: forward pass and error, `sleep`, `deltas`,
`learn_feedback`, and the update of the weights.

`sleep` sees no activity (exact refresh, noise-driven learning); `learn_feedback` sees the step's own trace, its `delta`
included, and the weights that produced it, since it comes before the update. Everything broadcasts over a leading
population axis.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias

from rfnumeric.backend import Streams
from rfnumeric.nn import Network, Trace
from rfnumeric.typing import Array

Feedback: TypeAlias = dict[str, list[Array | None]]
"""Feedback parameters by name, each a list indexed by layer 0 … L like `Network.W`; None where a layer has none.

Plain arrays, so that a checkpoint can hold any rule's feedback.
"""


@dataclass(frozen=True)
class Rule:
    """Base of the learning rules; a rule's fields are its options, and hold no state.

    Those that `per_member` names may also be a tuple, with one value for each member of the population.
    """

    name: ClassVar[str] = ""
    per_member: ClassVar[tuple[str, ...]] = ()

    def init(self, network: Network, streams: Streams) -> Feedback:
        """Return the feedback parameters for `network` before the first step.

        Parameters
        ----------
        network : Network
        streams : Streams
            Random numbers for this call alone.
        """
        return {}

    def sleep(self, network: Network, feedback: Feedback, streams: Streams, step: int) -> Feedback:
        """Improve the feedback without any input: refresh pseudoinverses, or learn from noise.

        Parameters
        ----------
        network : Network
            With the weights of this step.
        feedback : Feedback
            May be overwritten.
        streams : Streams
            Random numbers for this step alone.
        step : int
            Number of this step, counted from 0 over the whole run.
        """
        return feedback

    def deltas(self, network: Network, trace: Trace, e: Array, feedback: Feedback) -> list[Array]:
        """Return [None, δ_1, …, δ_L] with ΔW_l = −λ · mean_batch δ_l h_{l−1}ᵀ.

        Parameters
        ----------
        network : Network
        trace : Trace
            Of this step's forward pass.
        e : array, shape (..., batch, n_L)
            Error ∂loss/∂h_L of each sample.
        feedback : Feedback

        Returns
        -------
        list of array, shape (..., batch, n_l)
        """
        raise NotImplementedError

    def learn_feedback(
        self, network: Network, trace: Trace, feedback: Feedback, streams: Streams, step: int
    ) -> Feedback:
        """Improve the feedback from the step's own activity, before the weights change. Arguments as in `sleep`."""
        return feedback

    def feedback(self, network: Network, feedback: Feedback) -> list[Array | None]:
        """Return what stands where backpropagation has Wᵀ, by the layer that owns the weights, for metrics.

        Parameters
        ----------
        network : Network
        feedback : Feedback

        Returns
        -------
        list of array, shape (..., n_{l−1}, n_l) of a dense layer
            Default: what is kept as ``W_pinv``, ``R`` or ``B`` where it has that shape, else the transpose.
        """
        kept = next((feedback[name] for name in ("W_pinv", "R", "B") if name in feedback), [None] * (network.L + 1))

        def of_layer(k: int) -> Array:
            F, transposed = kept[k], network.layers[k].map.transposed(network.W[k])
            return F if F is not None and F.shape == transposed.shape else transposed

        return network.fed_by(of_layer)

    def options(self) -> dict[str, Any]:
        """Return the rule's options by name."""
        return asdict(self)

    def advice(self) -> str:
        """Say which options help where this rule diverges."""
        return "a smaller learning rate (--lr)"
