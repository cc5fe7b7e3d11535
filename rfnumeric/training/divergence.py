"""What happens to a run that diverges: it is told where and why, and leaves the rest of its population in peace."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rfnumeric.backend import array_namespace, to_float, to_numpy
from rfnumeric.linalg import condition_number
from rfnumeric.nn import Network, Trace
from rfnumeric.rules import Feedback
from rfnumeric.typing import Array

EXPLODED = 1e4
"""A batch's mean loss above this multiple of the untrained network's test loss counts as divergence, as NaN does.

Softmax cross-entropy is linear in the scores, so a run whose weights have exploded can stay finite for long.
"""


def loss_limits(untrained: list[float]) -> np.ndarray:
    """Return the mean loss above which each member counts as diverged.

    Parameters
    ----------
    untrained : list of float
        Test loss of each member before training, nats; a loss below 1 counts as 1.
    """
    return EXPLODED * np.asarray([max(loss, 1.0) for loss in untrained])


def diagnose(
    network: Network, epoch_start: Network, trace: Trace, feedback: Feedback, member: int | None, step: int, advice: str
) -> str:
    """Name the step and the layer at which a run diverged, that layer's condition number, and what to try.

    Parameters
    ----------
    network, epoch_start : Network
        With the weights of now, and of the beginning of the epoch.
    trace : Trace
        Of the step that was found out.
    feedback : Feedback
    member : int or None
        Index in the population; None without one.
    step : int
        Counted from 0 over the whole run.
    advice : str
        The rule's, as in `Rule.advice`.

    Returns
    -------
    str
    """

    def own(value: Array) -> np.ndarray:
        return to_numpy(value if member is None else value[member, ...])

    layers = range(1, network.L + 1)
    layer = next((l for l in layers if not np.isfinite(own(trace.a[l])).all()), 0)
    if layer:
        where = f"the first activity that is not finite is that of layer {layer}"
    else:
        growth = [_growth(own(network.W[l]), own(epoch_start.W[l])) for l in layers]
        layer = 1 + growth.index(max(growth))
        where = f"the W that grew most, {max(growth):.3g} times since the epoch began, is that of layer {layer}"
    condition = to_float(condition_number(own(epoch_start.W[layer])))
    broken = [
        f"{name}[{l}]"
        for name, values in feedback.items()
        for l, value in enumerate(values)
        if value is not None and not np.isfinite(own(value)).all()
    ]
    also = f" The feedback {', '.join(broken)} is not finite either." if broken else ""
    return (
        f"the loss was not finite or above {EXPLODED:g} times the untrained network's at step {step}; {where}, "
        f"whose condition number was {condition:.3g} when the epoch began.{also} Try {advice}."
    )


def _growth(now: np.ndarray, then: np.ndarray) -> float:
    ratio = float(np.linalg.norm(now.astype(np.float64)) / np.linalg.norm(then.astype(np.float64)))
    return ratio if math.isfinite(ratio) else math.inf


def retire(network: Network, feedback: Feedback, member: int) -> Feedback:
    """Give a diverged member weights and feedback that cannot trouble the arithmetic of the others.

    Parameters
    ----------
    network : Network
        Of a population; its member's matrices become identities, its biases zero.
    feedback : Feedback
        Likewise.
    member : int

    Returns
    -------
    Feedback
    """
    network.W = retire_arrays({"W": network.W}, member)["W"]
    network.b = retire_arrays({"b": network.b}, member)["b"]
    return retire_arrays(feedback, member)


def retire_arrays(arrays: Feedback, member: int) -> Feedback:
    """Return the arrays of a population with those of one member harmless: identities, and zeros for vectors."""

    def harmless(value: Any) -> Any:
        if value is None:
            return None
        xp = array_namespace(value)
        parts = [value[k, ...] for k in range(value.shape[0])]
        parts[member] = xp.zeros_like(parts[member])
        if value.ndim == 3:
            parts[member] += xp.eye(*value.shape[1:], dtype=value.dtype, device=value.device)
        return xp.stack(parts)

    return {name: [harmless(value) for value in values] for name, values in arrays.items()}
