"""The log of a search that may be interrupted: which trials were begun, how they ended, and where their records are."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from rfnumeric.errors import CheckpointError
from rfnumeric.experiments.sweep.space import Space
from rfnumeric.training import EpochRecord, Member
from rfnumeric.training.files import plain, write_json
from rfnumeric.training.loop import HISTORY_FILE

TRIALS_FOLDER = "trials"
LOG_FILE = "search.json"
FINAL = ("completed", "stopped", "diverged")
"""Statuses of trials that a resumed search leaves as they are; failed and interrupted ones go on."""


def trial_name(rates: dict[str, float]) -> str:
    """Return the name of the folder of a configuration, e.g. ``lr=0.001,feedback_lr=1e-05``."""
    return ",".join(f"{name}={float(value)!r}" for name, value in rates.items())


class TrialLog:
    """The file ``search.json``: the settings of the search, and the trials in the order in which they were begun.

    Parameters
    ----------
    space : Space
    out : Path
        Folder of the search.
    resume : bool
        Go on with the log in `out`, if there is one.

    Attributes
    ----------
    entries : list of dict
        ``rates``, ``status`` and ``diagnosis`` of each trial.

    Raises
    ------
    CheckpointError
        If there is a log and `resume` is false, or one of a search with other settings, or one that cannot be read.
    """

    def __init__(self, space: Space, out: Path, *, resume: bool) -> None:
        self.space, self.out = space, out
        self.entries: list[dict[str, Any]] = []
        if not (out / LOG_FILE).exists():
            return
        if not resume:
            raise CheckpointError(f"{out} holds an earlier search. Give --resume to go on with it, or another --out.")
        try:
            saved = json.loads((out / LOG_FILE).read_text(encoding="utf-8"))
            settings, self.entries = saved["space"], [dict(entry) for entry in saved["trials"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{out / LOG_FILE} cannot be read: {error}. Give another --out.") from error
        self._check(settings)

    def _check(self, settings: dict[str, Any]) -> None:
        saved, wanted = ({**s, **s["base"]} for s in (settings, plain(self.space.to_json())))
        different = [n for n in wanted if n not in ("base", "lr") and saved.get(n) != wanted[n]]
        different += ["lr"] if settings.get("lr") != list(self.space.lr) else []
        if different:
            told = ", ".join(different)
            raise CheckpointError(
                f"{self.out} holds a search with another {told}. Give its settings, or another --out."
            )

    def note(self, rates: dict[str, float], status: str, diagnosis: str = "") -> None:
        """Write down how a trial stands: ``"running"``, ``"finished"`` or ``"failed"``."""
        rates = {name: float(rates[name]) for name in self.space.domains}
        entry = next((e for e in self.entries if e["rates"] == rates), None)
        if entry is None:
            self.entries.append(entry := {"rates": rates})
        if status == "finished":
            member = self._member({"rates": rates, "status": "stopped", "diagnosis": ""})
            status, diagnosis = member.status, member.diagnosis
        entry.update(status=status, diagnosis=diagnosis)
        write_json(self.out / LOG_FILE, {"space": self.space.to_json(), "trials": self.entries})

    def members(self) -> list[Member]:
        """Return the trials with their records, as runs in this process would have left them."""
        return [self._member(entry) for entry in self.entries]

    def _member(self, entry: dict[str, Any]) -> Member:
        member = Member(self.space.configure(entry["rates"]), self.records(self.out, trial_name(entry["rates"])))
        member.status, member.diagnosis = entry["status"], entry["diagnosis"]
        end = _lines(self.out, trial_name(entry["rates"]))[-1:]
        if member.status == "running":
            member.status = "interrupted"
        elif member.status == "stopped" and end and end[0]["status"] == "diverged":
            member.status, member.diagnosis = "diverged", end[0]["diagnosis"]
        elif member.status == "stopped" and end and member.records[-1].epoch >= self.space.base.epochs:
            member.status = "completed"
        return member

    @staticmethod
    def folder(out: Path, name: str) -> Path:
        """Return the folder of a trial's checkpoint and history."""
        return out / TRIALS_FOLDER / name

    @staticmethod
    def records(out: Path, name: str) -> list[EpochRecord]:
        """Return the epochs that a trial has behind it, from epoch 0; none if it has not begun."""
        known = {field.name for field in fields(EpochRecord)}
        epochs = (line for line in _lines(out, name) if line["record"] == "epoch")
        return [EpochRecord.from_json({k: v for k, v in line.items() if k in known}) for line in epochs]


def _lines(out: Path, name: str) -> list[dict[str, Any]]:
    path = TrialLog.folder(out, name) / HISTORY_FILE
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
