"""The log of a search that may be interrupted: which trials were begun, how they ended, and where their records are."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from rfnumeric.errors import CheckpointError
from rfnumeric.experiments.sweep.space import Space
from rfnumeric.training import EpochRecord, Member
from rfnumeric.training.files import parse_signed, plain, read_regular, reason, shown, signed, write_json
from rfnumeric.training.folder import begin, claim
from rfnumeric.training.history import read_records
from rfnumeric.training.loop import HISTORY_FILE

TRIALS_FOLDER = "trials"
LOG_FILE = "search.json"
FORMAT = 2
FINAL = ("completed", "stopped", "diverged")
"""Statuses of trials that a resumed search leaves as they are; failed and interrupted ones go on."""

STATUSES = (*FINAL, "running", "failed", "interrupted")


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
    overwrite : bool
        Remove it and its trials.

    Attributes
    ----------
    entries : list of dict
        ``rates``, ``status`` and ``diagnosis`` of each trial.

    Raises
    ------
    CheckpointError
        If there is a log and `resume` is false, or one of a search with other settings, or one that cannot be read.
    """

    def __init__(self, space: Space, out: Path, *, resume: bool, overwrite: bool = False) -> None:
        self.space, self.out = space, out
        self.entries: list[dict[str, Any]] = []
        if overwrite:
            _discard(out)
        if not os.path.lexists(out / LOG_FILE):
            return
        if not resume:
            raise CheckpointError(
                f"{out} holds an earlier search. Give --resume to go on with it, --overwrite to replace it, or another "
                "--out."
            )
        try:
            saved = parse_signed(read_regular(out / LOG_FILE), FORMAT)
            settings, entries = dict(saved["space"]), [_entry(entry, space) for entry in saved["trials"]]
            saved_base = dict(settings["base"])
        except Exception as error:  # whatever hostile bytes bring a parser to is damage and nothing else
            raise CheckpointError(
                f"{out / LOG_FILE} cannot be read: {reason(error)}. Give --overwrite to search anew, or another --out."
            ) from error
        self._check(settings, saved_base)
        self.entries = entries

    def _check(self, settings: dict[str, Any], base: dict[str, Any]) -> None:
        own = plain(self.space.to_json())
        saved, wanted = {**settings, **base}, {**own, **own["base"]}
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
        write_json(self.out / LOG_FILE, signed({"space": self.space.to_json(), "trials": self.entries}, FORMAT))

    def members(self) -> list[Member]:
        """Return the trials with their records, as runs in this process would have left them."""
        return [self._member(entry) for entry in self.entries]

    def _member(self, entry: dict[str, Any]) -> Member:
        records, end = _history(self.out, trial_name(entry["rates"]))
        member = Member(self.space.configure(entry["rates"]), records)
        member.status, member.diagnosis = entry["status"], entry["diagnosis"]
        if member.status == "running":
            member.status = "interrupted"
        elif member.status == "stopped" and end and end["status"] == "diverged":
            member.status, member.diagnosis = "diverged", end["diagnosis"]
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
        return _history(out, name)[0]


def _history(out: Path, name: str) -> tuple[list[EpochRecord], dict[str, Any]]:
    """Return a trial's records, and the line that says how it ended; nothing if it has not begun.

    Raises
    ------
    CheckpointError
        If its history is damaged.
    """
    path = TrialLog.folder(out, name) / HISTORY_FILE
    if not os.path.lexists(path):
        return [], {}
    try:
        return _parse_history(read_regular(path))
    except Exception as error:  # as above
        raise CheckpointError(
            f"{path} cannot be read: {reason(error)}. Give --overwrite to search anew, or another --out."
        ) from error


def _parse_history(text: bytes) -> tuple[list[EpochRecord], dict[str, Any]]:
    """Read the lines of a history of one run.

    Raises
    ------
    ValueError
        If they are not such lines.
    """
    known = {field.name for field in fields(EpochRecord)}
    *lines, end = (json.loads(line) for line in text.splitlines())
    epochs = [{k: v for k, v in line.items() if k in known} for line in lines if line["record"] == "epoch"]
    if end["record"] != "end" or not isinstance(end["diagnosis"], str):
        raise ValueError("its last line must say how the run ended")
    return (read_records(epochs, lost=end["status"] == "diverged"), end) if epochs else ([], {})


def _entry(entry: Any, space: Space) -> dict[str, Any]:
    """Return a trial as `TrialLog.note` wrote it.

    Raises
    ------
    ValueError
        If it is not one of this search.
    """
    rates, status, diagnosis = entry["rates"], entry["status"], entry["diagnosis"]
    if {*rates} != {*space.domains} or any(
        type(rate) is not float or not 0 < rate < math.inf for rate in rates.values()
    ):
        raise ValueError(f"a trial must have positive rates {', '.join(space.domains)}; got {shown(rates)}")
    if status not in STATUSES or not isinstance(diagnosis, str):
        raise ValueError(f"a trial must have one of the statuses {', '.join(STATUSES)}; got {shown(status)}")
    return {"rates": rates, "status": status, "diagnosis": diagnosis}


def _discard(out: Path) -> None:
    """Remove the log and the trials of an earlier search, which nobody may still be writing."""
    begin(out)
    trials = out / TRIALS_FOLDER
    for folder in sorted(trials.iterdir()) if trials.is_dir() else ():
        if folder.is_dir():
            with claim(folder, overwrite=True):
                begin(folder)
            with suppress(OSError):  # what else is in there stays
                folder.rmdir()
