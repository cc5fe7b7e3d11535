"""What a run leaves behind: one record an epoch, and what can be read off them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one network.

    Attributes
    ----------
    epoch : int
        0 is the network before training.
    train_loss : float
        Mean over the epoch's samples, each measured just before it was learned from, in nats for cross-entropy; NaN at
        epoch 0.
    train_accuracy : float
        Likewise, percent.
    test_loss, test_accuracy : float
        On the test set after the epoch; nats, percent.
    seconds : float
        Training time of the epoch, seconds, without evaluation.
    metrics : dict, optional
        What was measured after the epoch, if it was; see `rfnumeric.training.metrics.measure`.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    metrics: dict[str, list[float | None]] | None = field(default=None, kw_only=True)

    def to_json(self) -> dict[str, Any]:
        """Return the record as a dict; without ``metrics`` if nothing was measured."""
        record = asdict(self)
        if self.metrics is None:
            del record["metrics"]
        return record

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EpochRecord:
        """Rebuild a record; null numbers become NaN."""
        numbers: dict[str, Any] = {
            key: math.nan if value is None else value for key, value in data.items() if key != "metrics"
        }
        return cls(**numbers, metrics=data.get("metrics"))


def epochs_to_90(records: Sequence[EpochRecord]) -> int | None:
    """Return the first epoch with 90 % of the run's whole reduction of test error.

    With ε_t the test error (100 − accuracy) after epoch t and ε_T the last one, this is the first t with
    ε_t ≤ ε_T + 0.1 (ε_0 − ε_T). The papers' "epochs to reach 90 % of the asymptotic error" (v1 Table 1; "90 %
    percentile" in v2) is not defined there; this reading measures speed apart from the final accuracy.

    Parameters
    ----------
    records : sequence of EpochRecord
        From epoch 0.

    Returns
    -------
    int or None
        None if nothing was learned (ε_T ≥ ε_0) or a number is missing.

    Examples
    --------
    >>> def at(t, accuracy):
    ...     return EpochRecord(t, 0.0, 0.0, 0.0, accuracy, 0.0)
    >>> epochs_to_90([at(0, 10.0), at(1, 80.0), at(2, 89.0), at(3, 90.0)])
    2
    """
    errors = [100 - record.test_accuracy for record in records]
    if len(errors) < 2 or not all(map(math.isfinite, errors)) or errors[-1] >= errors[0]:
        return None
    goal = errors[-1] + 0.1 * (errors[0] - errors[-1])
    # A rounding error of the subtraction must not move the answer by an epoch.
    return next(r.epoch for r, error in zip(records, errors, strict=True) if error <= goal + 1e-9)


def best_accuracy(records: Sequence[EpochRecord]) -> float | None:
    """Return the highest test accuracy after any epoch of training, percent; None if there was none."""
    accuracies = [r.test_accuracy for r in records if r.epoch > 0 and math.isfinite(r.test_accuracy)]
    return max(accuracies, default=None)
