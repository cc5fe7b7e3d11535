"""Studies that measure one cell after another: what is done is kept, and a killed study goes on behind it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rfnumeric.errors import CheckpointError
from rfnumeric.terminal import bars
from rfnumeric.training.files import contrast, parse_signed, plain, read_regular, reason, shown, signed, write_json
from rfnumeric.training.folder import begin

CELLS_FILE = "cells.json"
FORMAT = 2


def run_cells(
    todo: Sequence[Any],
    measure: Callable[[Any], dict[str, Any]],
    *,
    out: Path,
    resume: bool,
    settings: dict[str, Any],
) -> tuple[list[dict[str, Any]], bool]:
    """Measure all cells, and keep those that are done in ``cells.json`` after each.

    Parameters
    ----------
    todo : sequence of dataclass
        Cells, of one kind.
    measure : callable
        Returns a cell's line of ``results.json``, which holds the cell's own fields.
    out : Path
    resume : bool
        Go on behind the cells that are already there. A killed study loses the cell that it was at.
    settings : dict
        JSON types: what all cells have in common, the data's fingerprint too. A study goes on with the same only.

    Returns
    -------
    results, interrupted
        Results in the order in which they were measured.

    Raises
    ------
    CheckpointError
        If ``cells.json`` is damaged, or of a study with other settings.
    ValueError
        If there is no cell.
    """
    if not todo:
        raise ValueError("a study must have at least one cell; give at least one value of each option.")
    path, like = out / CELLS_FILE, asdict(todo[0])
    settings = json.loads(json.dumps(plain(settings)))
    done = _read(path, settings, like) if resume and os.path.lexists(path) else []
    known = {_key(cell, like) for cell in done}
    begin(out)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with bars(*columns, TextColumn("left"), TimeRemainingColumn()) as bar:
        task = bar.add_task("cells", total=len(todo), completed=len(known))
        try:
            for cell in todo:
                if _key(asdict(cell), like) not in known:
                    done.append(measure(cell))
                    write_json(path, signed({"settings": settings, "cells": done}, FORMAT))
                    bar.advance(task)
        except KeyboardInterrupt:
            return done, True
    return done, False


def _key(cell: dict[str, Any], names: Iterable[str]) -> tuple[Any, ...]:
    """Return a cell's own fields."""
    return tuple(cell[name] for name in names)


def _read(path: Path, settings: dict[str, Any], like: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cells that an earlier run of the same study has measured; `like` is a cell.

    Raises
    ------
    CheckpointError
    """
    try:
        document = parse_signed(read_regular(path), FORMAT)
        saved, cells = dict(document["settings"]), list(document["cells"])
        _check(cells, like)
    except Exception as error:  # whatever hostile bytes bring a parser to is damage and nothing else
        raise CheckpointError(
            f"{path} cannot be read: {reason(error)}. Give --overwrite to start the study anew, or another --out."
        ) from error
    different = sorted(n for n in {*saved, *settings} if n not in saved or saved[n] != settings.get(n))
    if different:
        told = contrast(different, saved, settings)
        raise CheckpointError(f"{path} is of a study with {told}. Give those settings, or another --out.")
    return cells


def _check(cells: list[dict[str, Any]], like: dict[str, Any]) -> None:
    """Raise unless all are cells of the same kind as `like`, each once.

    Raises
    ------
    ValueError
    """
    for cell in cells:
        if any(type(cell[name]) is not type(value) for name, value in like.items()):
            raise ValueError(f"a cell must hold {', '.join(like)}; got {shown(cell)}")
    if len({_key(cell, like) for cell in cells}) != len(cells):
        raise ValueError("it holds a cell twice")
