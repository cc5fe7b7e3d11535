"""Studies that measure one cell after another: what is done is kept, and a killed study goes on behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rfnumeric.training.files import write_json

CELLS_FILE = "cells.json"


def run_cells(
    todo: Sequence[Any], measure: Callable[[Any], dict[str, Any]], *, out: Path, resume: bool, screen: Any
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
    screen : rich.console.Console

    Returns
    -------
    results, interrupted
    """
    path = out / CELLS_FILE
    done = json.loads(path.read_text()) if resume and path.exists() else []
    known = {tuple(r[key] for key in asdict(todo[0])) for r in done}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=screen, transient=True) as bar:
        task = bar.add_task("cells", total=len(todo), completed=len(known))
        try:
            for cell in todo:
                if tuple(asdict(cell).values()) not in known:
                    done.append(measure(cell))
                    write_json(path, done)
                    bar.advance(task)
        except KeyboardInterrupt:
            return done, True
    return done, False
