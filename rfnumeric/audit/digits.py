"""Real digits for the claims about the trained networks: the embedded set and the papers' MNIST network."""

from __future__ import annotations

from functools import cache

from rfnumeric import kernels
from rfnumeric.audit.lab import Lab
from rfnumeric.backend import quiet, to_float
from rfnumeric.datasets import Dataset, load
from rfnumeric.nn import Network, Trace, get_loss, init_network
from rfnumeric.rules import Rule, training_step
from rfnumeric.training.config import INPUT_SCALES, PAPER_SIZES
from rfnumeric.typing import Array


@cache
def _dataset() -> Dataset:
    return load("mnist-5k")


def digits(lab: Lab, count: int, start: int = 0) -> tuple[Array, Array]:
    """Return `count` training digits, pixels in [−1, 1], and their labels, in an order that the seed shuffles."""
    data = _dataset()
    order = lab.streams.child("digits").permutation(len(data.train_labels))
    chosen = order[start : start + count]
    images = lab.backend.asarray(data.train_images[chosen], "uint8")
    index = lab.xp.arange(len(chosen), dtype=lab.xp.int64, device=lab.backend.device)
    x = kernels.gather_scale(images, index, *INPUT_SCALES["symmetric"], lab.backend.dtype)
    return x, lab.backend.asarray(data.train_labels[chosen], "int64")


def published_network(lab: Lab, hidden: str, slope: float = 0.01) -> Network:
    """Draw the papers' MNIST network, 784-400-200-100-50-10, He normal, without biases."""
    return init_network(
        PAPER_SIZES["mnist"], lab.streams.child("network"), hidden=hidden, output="identity", negative_slope=slope
    )


def train_steps(lab: Lab, network: Network, rule: Rule, steps: int, lr: float, batch: int = 40) -> list[float]:
    """Train in place with cross-entropy as the papers do, and return the mean loss of each step's batch.

    Stops early once the loss is no longer finite, or a thousand times that of the first batch.
    """

    def update(network: Network, trace: Trace) -> None:
        network.update(trace, lr)

    feedback = rule.init(network, lab.streams.child("feedback"))
    loss, losses = get_loss("cross-entropy"), []
    with quiet():
        for step in range(steps):
            x, labels = digits(lab, batch, start=step * batch)
            done = training_step(
                rule, network, feedback, x, labels, loss=loss, update=update, streams=lab.streams, step=step
            )
            feedback = done.feedback
            losses.append(to_float(done.loss) / batch)
            if not losses[-1] < 1e3 * losses[0]:
                break
    return losses
