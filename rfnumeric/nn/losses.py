"""Losses: each gives the error vector e = ∂loss/∂h_L, the loss, and the number of correct samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rfnumeric import kernels
from rfnumeric.backend import array_namespace, device_of
from rfnumeric.kernels.checks import check_arguments, check_labels
from rfnumeric.typing import Array


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """−log softmax(h_L)[label], in nats, with e = softmax(h_L) − onehot.

    The papers derive everything for e = h_L − h_L* (MSE) and train with this loss (v1/v2 §5).
    """

    name: ClassVar[str] = "cross-entropy"

    def evaluate(self, h: Array, labels: Array) -> tuple[Array, Array, Array]:
        """Return e (..., batch, n), the loss summed over the batch (...), and the correct count (...).

        Parameters
        ----------
        h : array, shape (..., batch, n)
            Last activation.
        labels : integer array, shape (..., batch)
            0 ≤ label < n.
        """
        return kernels.softmax_cross_entropy(h, labels)


@dataclass(frozen=True)
class MeanSquaredError:
    """½‖h_L − h_L*‖² a sample, with e = h_L − h_L* (v1/v2 §4)."""

    name: ClassVar[str] = "mse"

    def evaluate(self, h: Array, target: Array) -> tuple[Array, Array, Array]:
        """Return e (..., batch, n), the loss summed over the batch (...), and the correct count (...).

        Parameters
        ----------
        h : array, shape (..., batch, n)
            Last activation.
        target : integer array, shape (..., batch), or floating array, shape (..., batch, n)
            Class labels, whose one-hot vectors are then h_L*; or h_L* itself, where the count is of samples whose
            largest entries are in the same place.
        """
        xp = array_namespace(h, target)
        if xp.isdtype(target.dtype, "integral"):
            check_arguments("softmax_cross_entropy", {"h": h, "labels": target})
            check_labels(target, h.shape[-1])
            classes = xp.arange(h.shape[-1], dtype=target.dtype, device=device_of(h))
            labels, wanted = target, xp.astype(target[..., None] == classes, h.dtype)
        else:
            labels, wanted = xp.argmax(target, axis=-1), target
        e = h - wanted
        correct = xp.argmax(h, axis=-1) == xp.astype(labels, xp.int64)
        return (
            e,
            xp.sum(e * e, axis=(-2, -1), dtype=h.dtype) / 2,
            xp.sum(xp.astype(correct, xp.int64), axis=-1, dtype=xp.int64),
        )


Loss = SoftmaxCrossEntropy | MeanSquaredError

LOSSES: dict[str, type[Loss]] = {cls.name: cls for cls in (SoftmaxCrossEntropy, MeanSquaredError)}
"""Name → class."""


def get_loss(name: str | Loss) -> Loss:
    """Return the loss called ``"cross-entropy"`` or ``"mse"``.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> get_loss("mse")
    MeanSquaredError()
    """
    if isinstance(name, SoftmaxCrossEntropy | MeanSquaredError):
        return name
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {name!r}.")
    return LOSSES[name]()
