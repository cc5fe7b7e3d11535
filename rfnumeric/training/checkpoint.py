"""Checkpoints: one .npz file that holds arrays and a JSON text, without pickle, renamed into place as a whole.

A checkpoint is read as if a stranger had written it. What is known of the run, the names, shapes and dtypes of its
arrays and its number of members, is compared with what the file says before anything is allocated; members are stored,
not compressed, so that no small file grows; a digest covers every array and every number.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rfnumeric.backend import Backend, dtype_name, to_numpy
from rfnumeric.errors import CheckpointError
from rfnumeric.rules import Feedback
from rfnumeric.training.archive import Archive
from rfnumeric.training.config import RunConfig
from rfnumeric.training.files import (
    contrast,
    open_regular,
    parse_signed,
    plain,
    reason,
    shown,
    signed,
    write_atomically,
)
from rfnumeric.training.history import read_records
from rfnumeric.training.optimizers import OptimizerState
from rfnumeric.typing import Array

FORMAT = 2
META = "meta.json"
STATUSES = ("running", "diverged")
"""What a member may be after an epoch that the run has gone past."""

META_BYTES, RECORD_BYTES, LAYER_BYTES = 4 << 20, 1 << 10, 1 << 9
"""Most bytes of the JSON text: so many, and for each epoch and member so many more, and for each of its layers."""


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
        JSON types: epoch; records, status and diagnosis of each member.
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

    def arrays(self) -> dict[str, Array]:
        """Return those that there are, under their names and the numbers of their layers, e.g. ``W/1``."""
        return {
            f"{name}/{l}": v for name, values in self.groups().items() for l, v in enumerate(values) if v is not None
        }


def save(path: Path, config: RunConfig, state: State, data: str) -> None:
    """Write a checkpoint to `path`, whole or not at all.

    Parameters
    ----------
    path : Path
    config : RunConfig
    state : State
    data : str
        Fingerprint of the data set.
    """
    arrays = {name: np.asarray(to_numpy(value), order="C") for name, value in state.arrays().items()}
    meta = signed(
        {"config": config.to_json(), "data": data, "progress": state.progress, "arrays": _digest(arrays)}, FORMAT
    )
    text = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{META: text})
    write_atomically(path, buffer.getvalue())


def load(path: Path, config: RunConfig, data: str, backend: Backend, like: State) -> State:
    """Read a checkpoint of a run with the settings `config`; only `epochs` may differ, and only at a constant rate.

    Parameters
    ----------
    path : Path
    config : RunConfig
    data : str
        Fingerprint of the data set that the run is given now.
    backend : Backend
        Where the arrays are placed.
    like : State
        Of the same run before its first step: what is read must have its arrays' names, shapes and dtypes.

    Returns
    -------
    State

    Raises
    ------
    CheckpointError
        If the file is damaged, of another format, or of a run with other settings, on other data, or further on than
        `config` asks for.
    """
    try:
        with open_regular(path) as file:
            return _load(path, file, config, data, backend, like)
    except CheckpointError:
        raise
    # Whatever hostile bytes bring a parser to, RecursionError and MemoryError among it, is damage and nothing else.
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {reason(error)}. Delete it to start the run anew."
        ) from error


def _load(path: Path, file: BinaryIO, config: RunConfig, data: str, backend: Backend, like: State) -> State:
    wanted, members = like.arrays(), config.population or 1
    records = (config.epochs + 1) * members
    with Archive(file, len(wanted)) as archive:
        text = archive.text(META, META_BYTES + records * (RECORD_BYTES + LAYER_BYTES * len(like.W)))
        meta = parse_signed(text, FORMAT)
        _check_run(path, meta, config, data)
        archive.check_names([META, *wanted])
        found = {n: archive.array(n, tuple(v.shape), np.dtype(dtype_name(v.dtype))) for n, v in wanted.items()}
    if _digest(found) != meta["arrays"]:
        raise ValueError("its arrays do not match their digest: they were damaged or changed")
    progress = meta["progress"]
    _check_progress(progress, members)
    if progress["epoch"] > config.epochs:
        raise CheckpointError(
            f"checkpoint {path} has {progress['epoch']} epochs behind it, and {config.epochs} were asked for. Give "
            f"--epochs {progress['epoch']} or more, or another --out."
        )

    def placed(groups: dict[str, list[Array | None]], prefix: str = "") -> dict[str, list[Array | None]]:
        return {
            name: [
                None if value is None else backend.asarray(array := found[f"{prefix}{name}/{l}"], str(array.dtype))
                for l, value in enumerate(values)
            ]
            for name, values in groups.items()
        }

    own = placed({"W": like.W, "b": like.b})
    feedback, optimizer = placed(like.feedback, "feedback/"), placed(like.optimizer, "optimizer/")
    return State(own["W"], own["b"], feedback, progress, optimizer)


def _check_run(path: Path, meta: dict[str, Any], config: RunConfig, data: str) -> None:
    """Raise unless the file is of this run.

    Raises
    ------
    CheckpointError
        Names the settings that differ, or says that the data do.
    """
    saved, wanted = dict(meta["config"]), json.loads(json.dumps(plain(config.to_json())))
    free = ("epochs",) if config.lr_schedule == "constant" else ()  # the other schedules depend on it
    names = sorted({*saved, *wanted} - set(free))
    different = [n for n in names if n not in saved or n not in wanted or saved[n] != wanted[n]]
    if different:
        told = contrast(different, saved, wanted)
        raise CheckpointError(f"checkpoint {path} is of a run with {told}. Give those settings, or another --out.")
    if meta["data"] != data:
        raise CheckpointError(
            f"checkpoint {path} is of a run on other images or labels called {shown(config.dataset)} (fingerprint "
            f"{shown(meta['data'])[:12]}…, these have {data[:12]}…). Give those data, or another --out."
        )


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """Return a digest of names, dtypes, shapes and values, in whatever order the arrays come."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {little.dtype.str} {array.shape}\n".encode())
        digest.update(little.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _check_progress(progress: dict[str, Any], members: int) -> None:
    """Raise unless epochs, records and statuses tell one story.

    Raises
    ------
    ValueError
        Says what contradicts what.
    """
    epoch, found = progress["epoch"], progress["members"]
    if type(epoch) is not int or epoch < 1:
        raise ValueError(f"epoch must be a number of epochs, at least 1; got {shown(epoch)}")
    if not isinstance(found, list) or len(found) != members:
        raise ValueError(f"it must hold {members} members; got {shown(found)}")
    last = []
    for member in found:
        status, diagnosis = member["status"], member["diagnosis"]
        if status not in STATUSES or not isinstance(diagnosis, str) or bool(diagnosis) != (status == "diverged"):
            raise ValueError(f"a member must be one of {STATUSES}, with a diagnosis if diverged; got {shown(status)}")
        last.append(len(read_records(member["records"], lost=status == "diverged")) - 1)
        if status == "running" and last[-1] != epoch:
            raise ValueError(f"a member that runs has records to epoch {last[-1]}, but the run is at epoch {epoch}")
    if max(last) != epoch:
        raise ValueError(f"the records end at epoch {max(last)}, but the run is at epoch {epoch}")
