"""The folder that a command writes: one run's at a time, and never one run's files among another's.

A folder that holds an earlier run is refused, unless the caller goes on with that run or replaces it. Where no folder
is named, the default one is taken, or the next that is free: ``rfnumeric-compare``, ``rfnumeric-compare-2``, ….
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from rfnumeric.errors import OutputError
from rfnumeric.training import lock
from rfnumeric.training.files import read_regular, remove_temporaries

STATE = {
    "checkpoint.npz": "train",
    "cells.json": "study",
    "search.json": "sweep",
    "history.jsonl": "",
    "results.json": "",
}
"""Files by which an earlier run is known → the command that alone leaves them."""

DERIVED = (
    *("curves.png", "metrics.png", "metrics-*.png", "search.png", "figure1.png", "figure4.png", "ablation.png"),
    *("stability.png", "map-*.png", "benchmarks-*.png", "table.md", "report.md"),
)
"""What is drawn from those, and goes with them when a run is replaced."""

RESULTS_BYTES = 64 << 20


@dataclass
class _Claim:
    """A folder that this run owns, and whether an earlier run's files are still to go."""

    path: Path
    replaces: bool


_claims: ContextVar[dict[Path, _Claim] | None] = ContextVar("_claims", default=None)


def begin(out: Path | None) -> None:
    """Remove the files of the run that this one replaces, if it does; call it when only writing is left to fail.

    Parameters
    ----------
    out : Path or None
        A folder that is claimed, or not.

    Raises
    ------
    OutputError
        If a file cannot be removed.
    """
    claimed = None if out is None else (_claims.get() or {}).get(out.resolve())
    if claimed is None or not claimed.replaces:
        return
    claimed.replaces = False
    try:
        for pattern in (*STATE, *DERIVED):
            for file in claimed.path.glob(pattern):
                file.unlink()
    except OSError as error:
        raise OutputError(f"{error.filename} cannot be replaced: {error.strerror}. Remove it by hand.") from error


@contextmanager
def claim(
    out: Path | None,
    *,
    command: str = "",
    default: str | None = None,
    resume: bool | None = None,
    overwrite: bool = False,
) -> Iterator[Path | None]:
    """Own a folder while the ``with`` block lasts.

    Parameters
    ----------
    out : Path or None
        The folder, which is made if it is missing, and removed again if it stays empty.
    command : str
        The command's name, e.g. ``"study map"``.
    default : str, optional
        Folder to take without `out`, or the first of that name with a number that is free; ``--resume`` and
        ``--overwrite`` take the last that there is. Without it and `out` nothing is claimed.
    resume : bool, optional
        Go on with what the folder holds. None where the command cannot.
    overwrite : bool
        Replace what it holds, from `begin` on.

    Yields
    ------
    Path or None
        The folder. One that the caller has claimed already stays the caller's.

    Raises
    ------
    OutputError
        If the folder cannot be written, another run is writing it, or it holds an earlier run, or one of another
        command.
    ValueError
        If both `resume` and `overwrite` are given.
    """
    if resume and overwrite:
        raise ValueError("--resume goes on with what --out holds, and --overwrite replaces it; leave one of them out.")
    if out is None and default is None:
        yield None
        return
    path = default_folder(str(default), bool(resume or overwrite)) if out is None else Path(out)
    claims = _claims.get() or {}
    if path.resolve() in claims:
        yield path
        return
    handle, made = _open(path)
    try:
        remove_temporaries(path)
        replaces = _check(path, command, resume, overwrite)
        token = _claims.set({**claims, path.resolve(): _Claim(path, replaces)})
        try:
            yield path
        finally:
            _claims.reset(token)
    finally:
        lock.release(path, handle)
        with suppress(OSError):  # one that is not empty stays
            for parent in made:
                parent.rmdir()


def refuse_existing(file: Path | None, option: str, overwrite: bool) -> None:
    """Raise if a file that is to be written is already there.

    Parameters
    ----------
    file : Path or None
    option : str
        That names the file.
    overwrite : bool
        Whether it may be replaced.

    Raises
    ------
    OutputError
    """
    if file is not None and os.path.lexists(file) and not overwrite:
        raise OutputError(f"{file} is already there. Give --overwrite to replace it, or another {option}.")


def default_folder(name: str, last: bool = False) -> Path:
    """Return the first of the folders ``name``, ``name-2``, ``name-3`` … behind all that hold something, or the last.

    Parameters
    ----------
    name : str
    last : bool
        Take the last that holds something, if one does.
    """
    base = Path(name)
    numbered = re.compile(re.escape(base.name) + r"(?:-([1-9]\d{0,8}))?")
    taken = [0]
    if base.parent.is_dir():
        for entry in os.scandir(base.parent):
            match = numbered.fullmatch(entry.name)
            if match and not (entry.is_dir() and not os.listdir(entry)):
                taken.append(int(match[1] or 1))
    number = max(taken) if last and max(taken) else max(taken) + 1
    return base if number == 1 else base.with_name(f"{base.name}-{number}")


def _open(path: Path) -> tuple[int, list[Path]]:
    """Make and lock a folder; return the lock, and the folders that were made, deepest first.

    Raises
    ------
    OutputError
        If it cannot be made or locked.
    """
    made = list(itertools.takewhile(lambda p: not p.exists(), (path, *path.parents)))
    try:
        path.mkdir(parents=True, exist_ok=True)
        return lock.acquire(path), made
    except OutputError:
        raise
    except OSError as error:
        reason = (
            "a file stands in the way" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        )
        raise OutputError(f"folder {path} cannot be written: {reason}. Give another --out.") from error


def _check(path: Path, command: str, resume: bool | None, overwrite: bool) -> bool:
    """Return whether the folder holds an earlier run that this one replaces.

    Raises
    ------
    OutputError
        If it holds one, and this one neither replaces it nor goes on with it.
    """
    held = [name for name in STATE if os.path.lexists(path / name)]
    if not held or overwrite:
        return bool(held)
    if not resume:
        remedy = "" if resume is None else "--resume to go on with it, "
        raise OutputError(
            f"{path} holds an earlier run ({', '.join(held)}). Give {remedy}--overwrite to replace it, or another "
            "--out."
        )
    foreign = next((STATE[name] for name in held if STATE[name] and not command.startswith(STATE[name])), None)
    made_by = foreign or _maker(path / "results.json") or command
    if not f"{made_by} ".startswith(f"{command} "):
        raise OutputError(
            f"{path} holds a run of `rfnumeric {made_by}`, with which `rfnumeric {command}` cannot go on. Give another "
            "--out, or --overwrite to replace it."
        )
    return False


def _maker(results: Path) -> str | None:
    """Return the command that wrote a ``results.json``, e.g. ``study map --seeds 5``, or None if it cannot be told."""
    try:
        text = json.loads(read_regular(results, RESULTS_BYTES))["command"]
        words = re.fullmatch(r"(?:python -m )?rfnumeric (?:--debug )?([a-z].*)", text)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return words[1][:80] if words else None
