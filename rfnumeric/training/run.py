"""What a run leaves in memory: its members with their records and fates, the network, and lines of a history file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rfnumeric.nn import Network
from rfnumeric.rules import Feedback
from rfnumeric.training.config import RunConfig
from rfnumeric.training.environment import environment
from rfnumeric.training.history import EpochRecord, best_accuracy, epochs_to_90


@dataclass
class Member:
    """One network of a run: its settings, its record, and how it ended.

    Attributes
    ----------
    config : RunConfig
        Its settings as a single run.
    records : list of EpochRecord
        From epoch 0.
    status : str
        ``"running"``, ``"completed"``, ``"diverged"`` or ``"interrupted"``.
    diagnosis : str
        Where and why it diverged, and what to try; empty otherwise.
    """

    config: RunConfig
    records: list[EpochRecord] = field(default_factory=list)
    status: str = "running"
    diagnosis: str = ""

    def accuracy_or(self, lost: float) -> float:
        """Return the last test accuracy in percent, or `lost` where the run did not complete."""
        return self.records[-1].test_accuracy if self.status == "completed" else lost

    def result(self) -> dict[str, Any]:
        """Return the run's line in ``results.json``."""
        diverged = self.status == "diverged"
        return {
            "rule": self.config.rule,
            "dataset": self.config.dataset,
            "seed": self.config.seed,
            "accuracy": None if diverged or not self.records else self.records[-1].test_accuracy,
            "best_accuracy": best_accuracy(self.records),
            "epochs_to_90": None if diverged else epochs_to_90(self.records),
            "seconds": sum(r.seconds for r in self.records),
            "status": self.status,
            "lr": self.config.lr,
            "epochs": self.records[-1].epoch if self.records else 0,
            "diagnosis": self.diagnosis,
            "config": self.config.to_json(),
        }


@dataclass
class Run:
    """What `train` returns.

    Attributes
    ----------
    config : RunConfig
    members : list of Member
        One, or one for each member of the population.
    network : Network
        With the last weights. A member that diverged has had its weights replaced, so that the others could go on.
    feedback : Feedback
    """

    config: RunConfig
    members: list[Member]
    network: Network
    feedback: Feedback

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped by Ctrl-C."""
        return any(member.status == "interrupted" for member in self.members)

    def results(self) -> list[dict[str, Any]]:
        """Return one dict for each member; see `Member.result`."""
        return [member.result() for member in self.members]


def history_lines(members: Sequence[Member], **keys: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of ``history.jsonl``: for each member a ``run`` record, then one ``epoch`` record an epoch.

    Parameters
    ----------
    members : sequence of Member
    **keys
        Put into every record, e.g. ``network="described"``.
    """
    here = environment()
    for member in members:
        run = {"rule": member.config.rule, "seed": member.config.seed, "lr": member.config.lr, **keys}
        yield {"record": "run", **run, "config": member.config.to_json(), "environment": here}
        for record in member.records:
            yield {"record": "epoch", **run, **record.to_json()}
        yield {"record": "end", **run, "status": member.status, "diagnosis": member.diagnosis}
