"""What a run leaves behind: one record an epoch, and what can be read off them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
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


_NUMBERS = tuple(f.name for f in fields(EpochRecord) if f.name != "metrics")

LOST = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
"""Numbers that a member has not in the epoch in which it diverges."""


def read_records(values: Any, *, lost: bool) -> list[EpochRecord]:
    """Rebuild the records of a run from a file that is not trusted.

    Parameters
    ----------
    values : list of dict
        As `EpochRecord.to_json` gave them, from epoch 0.
    lost : bool
        Whether the run diverged, so that its last record has no numbers.

    Returns
    -------
    list of EpochRecord

    Raises
    ------
    ValueError
        If one is not what a run records.
    """
    if not isinstance(values, list) or len(values) < 1 + lost:
        raise ValueError("a run must have records from epoch 0 on")
    records = []
    for epoch, value in enumerate(values):
        if not isinstance(value, dict) or {*value} - {"metrics"} != {*_NUMBERS}:
            raise ValueError(f"record {epoch} must hold {', '.join(_NUMBERS)}")
        record = EpochRecord.from_json(value)
        if type(record.epoch) is not int or record.epoch != epoch:
            raise ValueError(f"record {epoch} must be that of epoch {epoch}")
        _check_record(record, lost and epoch == len(values) - 1)
        records.append(record)
    return records


def _check_record(record: EpochRecord, lost: bool) -> None:
    """Raise unless the record's numbers are possible; `lost` if the run diverged in that epoch.

    Raises
    ------
    ValueError
    """
    place = f"the record of epoch {record.epoch}"
    numbers = [getattr(record, name) for name in (*LOST, "seconds")]
    if any(type(n) not in (int, float) or math.isinf(n) for n in numbers):
        raise ValueError(f"{place} must hold finite numbers")
    if not 0 <= record.seconds:
        raise ValueError(f"{place} must have seconds of at least 0")
    # Nothing was trained before epoch 0, and a loss on the test set may overflow.
    missing = LOST if lost else LOST[:2] if record.epoch == 0 else ()
    for name in LOST:
        number = getattr(record, name)
        if math.isnan(number) != (name in missing) and not (name == "test_loss" and math.isnan(number)):
            raise ValueError(f"{place} must {'not ' if name in missing else ''}hold {name}")
        if name.endswith("accuracy") and not (math.isnan(number) or 0 <= number <= 100):
            raise ValueError(f"{place} must have {name} from 0 to 100 %")
    if record.metrics is not None and not (isinstance(record.metrics, dict) and not lost):
        raise ValueError(f"{place} must hold metrics by name, unless the run diverged")
    for values in (record.metrics or {}).values():
        if not isinstance(values, list) or any(v is not None and type(v) not in (int, float) for v in values):
            raise ValueError(f"{place} must hold metrics as numbers, one a layer")


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
