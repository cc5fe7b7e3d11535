"""Checkpoints: one .npz file that holds arrays and a JSON text, without pickle, renamed into place as a whole."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rfnumeric.backend import Backend, dtype_name, to_numpy
from rfnumeric.errors import CheckpointError
from rfnumeric.rules import Feedback
from rfnumeric.training.config import RunConfig
from rfnumeric.training.files import plain, write_atomically
from rfnumeric.training.history import EpochRecord
from rfnumeric.training.optimizers import OptimizerState
from rfnumeric.typing import Array

FORMAT = 1
META = "meta.json"
STATUSES = ("running", "completed", "diverged", "interrupted")


@dataclass
class State:
    """Everything that the next epoch depends on, and what earlier ones recorded.

    Attributes
    ----------
    W, b : list of array
        As in `Network`.
    feedback : Feedback
        The rule's.
    progress : dict
        JSON types: epoch, records and statuses of each member.
    optimizer : OptimizerState
        The optimizer's running means.
    """

    W: list[Array]
    b: list[Array | None]
    feedback: Feedback
    progress: dict[str, Any]
    optimizer: OptimizerState = field(default_factory=dict)

    def groups(self) -> dict[str, list[Array | None]]:
        """Return all arrays, listed by layer under the names that they have in the file."""
        named = {"feedback": self.feedback, "optimizer": self.optimizer}
        parts = {f"{kind}/{name}": values for kind, lists in named.items() for name, values in lists.items()}
        return {"W": self.W, "b": self.b, **parts}


def save(path: Path, config: RunConfig, state: State) -> None:
    """Write a checkpoint to `path`, whole or not at all."""
    arrays: dict[str, np.ndarray] = {}
    for name, values in state.groups().items():
        for l, value in enumerate(values):
            if value is not None:
                arrays[f"{name}/{l}"] = to_numpy(value)
    meta = {
        "format": FORMAT,
        "config": config.to_json(),
        "progress": state.progress,
        "feedback": {name: len(values) for name, values in state.feedback.items()},
        "optimizer": {name: len(values) for name, values in state.optimizer.items()},
    }
    arrays[META] = np.frombuffer(json.dumps(plain(meta)).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def load(path: Path, config: RunConfig, backend: Backend, like: State) -> State:
    """Read a checkpoint of a run with the settings `config`; only `epochs` may differ, and only at a constant rate.

    Parameters
    ----------
    path : Path
    config : RunConfig
    backend : Backend
        Where the arrays are placed.
    like : State
        Of the same run before its first step: what is read must have its arrays' shapes and dtypes.

    Returns
    -------
    State

    Raises
    ------
    CheckpointError
        If the file is damaged, of another format, or of a run with other settings.
    """
    try:
        # Opened here, since np.load leaves a file that it cannot read open.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop(META).tobytes())
        if meta["format"] != FORMAT:
            raise CheckpointError(f"checkpoint {path} has format {meta['format']}; this version reads {FORMAT}.")
        saved, wanted = dict(meta["config"]), config.to_json()
        free = ("epochs",) if config.lr_schedule == "constant" else ()  # the other schedules depend on it
        different = sorted(n for n in wanted if n not in free and saved.get(n) != wanted[n])
        if different:
            told = ", ".join(f"{n} = {saved.get(n)} (asked for {wanted[n]})" for n in different)
            raise CheckpointError(f"checkpoint {path} is of a run with {told}. Give those settings, or another --out.")
        L = len(config.sizes) - 1

        def listed(name: str, length: int) -> list[Array | None]:
            keys = [f"{name}/{l}" for l in range(length)]
            return [backend.asarray(arrays[k], str(arrays[k].dtype)) if k in arrays else None for k in keys]

        feedback, optimizer = (
            {name: listed(f"{kind}/{name}", length) for name, length in meta[kind].items()}
            for kind in ("feedback", "optimizer")
        )
        state = State(listed("W", L + 1), listed("b", L + 1), feedback, meta["progress"], optimizer)
        _check_fit(state, like)
        _check_progress(state.progress, config.population or 1)
        return state
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}. Delete it to start the run anew.") from error


def _check_fit(state: State, like: State) -> None:
    """Raise unless every array is there, with the shape and the dtype that the run gives it.

    Raises
    ------
    ValueError
        Names the arrays.
    """
    found = state.groups()
    for name, fresh in like.groups().items():
        here = found.get(name, [])
        got, wanted = (
            [None if v is None else (tuple(v.shape), dtype_name(v.dtype)) for v in vs] for vs in (here, fresh)
        )
        if got != wanted:
            raise ValueError(f"{name} must hold {wanted}; got {got}")


def _check_progress(progress: dict[str, Any], members: int) -> None:
    if not isinstance(progress["epoch"], int) or progress["epoch"] < 0:
        raise ValueError(f"epoch must be a number of epochs; got {progress['epoch']!r}")
    if len(progress["members"]) != members:
        raise ValueError(f"it must hold {members} members; got {len(progress['members'])}")
    for member in progress["members"]:
        records = [EpochRecord.from_json(record) for record in member["records"]]
        if member["status"] not in STATUSES or not records or not isinstance(member["diagnosis"], str):
            raise ValueError(f"a member must have records and one of the statuses {STATUSES}; got {member['status']!r}")
