"""One training step of any rule: the order of its calls, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rfnumeric.backend import Streams
from rfnumeric.nn import Loss, Network, Trace
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.typing import Array

Update = Callable[[Network, Trace], None]
"""Changes the weights along `trace.delta`: `Network.update` with a rate, or an optimizer's step."""


class Step(NamedTuple):
    """What one training step leaves behind.

    Attributes
    ----------
    feedback : Feedback
        For the next step.
    trace : Trace
        Of this step, with `delta`.
    loss, correct : array, shape (...)
        Summed over the batch, as `Loss.evaluate` has them.
    """

    feedback: Feedback
    trace: Trace
    loss: Array
    correct: Array


def training_step(
    rule: Rule,
    network: Network,
    feedback: Feedback,
    x: Array,
    y: Array,
    *,
    loss: Loss,
    update: Update,
    streams: Streams,
    step: int,
) -> Step:
    """Take one training step: forward, error, sleep, δ, learning of the feedback, update.

    Parameters
    ----------
    rule : Rule
    network : Network
        Its weights are changed.
    feedback : Feedback
        Of `Rule.init`, or of the step before. May be overwritten.
    x : array, shape (..., batch, n_0)
    y : array, shape (..., batch) or (..., batch, n_L)
        Labels, or targets for the squared error.
    loss : Loss
    update : callable
        See `Update`.
    streams : Streams
        Of the run. The rule's random numbers come from its children ``("sleep", step)`` and ``("learn", step)``.
    step : int
        Number of this step, counted from 0 over the whole run.

    Returns
    -------
    Step

    Examples
    --------
    >>> from rfnumeric.backend import Streams, get_backend
    >>> from rfnumeric.nn import get_loss, init_network
    >>> from rfnumeric.rules import get_rule
    >>> streams, rule = Streams(0, get_backend("numpy")), get_rule("rf-two-phase")
    >>> network, loss = init_network([5, 4, 3], streams, hidden="tanh"), get_loss("mse")
    >>> x = streams.child("x").normal((8, 5))
    >>> y = 0.1 * x[:, :3]
    >>> feedback, losses = rule.init(network, streams.child("feedback")), []
    >>> for i in range(50):
    ...     done = training_step(
    ...         rule, network, feedback, x, y, loss=loss, streams=streams, step=i,
    ...         update=lambda network, trace: network.update(trace, 0.1),
    ...     )
    ...     feedback = done.feedback
    ...     losses.append(float(done.loss))
    >>> losses[-1] < 0.5 * losses[0]
    True
    """
    trace = network.forward(x)
    e, value, correct = loss.evaluate(trace.h[-1], y)
    feedback = rule.sleep(network, feedback, streams.child("sleep", step), step)
    trace.delta = rule.deltas(network, trace, e, feedback)
    feedback = rule.learn_feedback(network, trace, feedback, streams.child("learn", step), step)
    update(network, trace)
    return Step(feedback, trace, value, correct)
