"""Checkpoints: one .npz file that holds arrays and a JSON text, without pickle, renamed into place as a whole."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rfnumeric.backend import Backend, to_numpy
from rfnumeric.errors import CheckpointError
from rfnumeric.rules import Feedback
from rfnumeric.training.config import RunConfig
from rfnumeric.training.files import plain, write_atomically
from rfnumeric.typing import Array

FORMAT = 1
META = "meta.json"


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
    """

    W: list[Array]
    b: list[Array | None]
    feedback: Feedback
    progress: dict[str, Any]


def save(path: Path, config: RunConfig, state: State) -> None:
    """Write a checkpoint to `path`, whole or not at all."""
    arrays: dict[str, np.ndarray] = {}
    for name, values in (("W", state.W), ("b", state.b), *((f"feedback/{n}", v) for n, v in state.feedback.items())):
        for l, value in enumerate(values):
            if value is not None:
                arrays[f"{name}/{l}"] = to_numpy(value)
    meta = {
        "format": FORMAT,
        "config": config.to_json(),
        "progress": state.progress,
        "feedback": {name: len(values) for name, values in state.feedback.items()},
    }
    arrays[META] = np.frombuffer(json.dumps(plain(meta)).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def load(path: Path, config: RunConfig, backend: Backend) -> State:
    """Read a checkpoint of a run with the settings `config`; only `epochs` may differ.

    Raises
    ------
    CheckpointError
        If the file is damaged, of another format, or of a run with other settings.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop(META).tobytes())
        if meta["format"] != FORMAT:
            raise CheckpointError(f"checkpoint {path} has format {meta['format']}; this version reads {FORMAT}.")
        saved, wanted = dict(meta["config"]), config.to_json()
        different = sorted(n for n in wanted if n != "epochs" and saved.get(n) != wanted[n])
        if different:
            told = ", ".join(f"{n} = {saved.get(n)} (asked for {wanted[n]})" for n in different)
            raise CheckpointError(f"checkpoint {path} is of a run with {told}. Give those settings, or another --out.")
        L = len(config.sizes) - 1

        def listed(name: str, length: int) -> list[Array | None]:
            keys = [f"{name}/{l}" for l in range(length)]
            return [backend.asarray(arrays[k], str(arrays[k].dtype)) if k in arrays else None for k in keys]

        feedback = {name: listed(f"feedback/{name}", length) for name, length in meta["feedback"].items()}
        return State(listed("W", L + 1), listed("b", L + 1), feedback, meta["progress"])
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}. Delete it to start the run anew.") from error
