"""What every command leaves behind: ``results.json``, the history, and tables on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rfnumeric.plotting import metrics_figure
from rfnumeric.terminal import Screen
from rfnumeric.training import EpochRecord, Member, environment
from rfnumeric.training.environment import command
from rfnumeric.training.files import plain, write_atomically, write_json
from rfnumeric.training.folder import begin

RESULTS_FILE = "results.json"


def report(results: Sequence[dict[str, Any]], *, out: Path | None) -> dict[str, Any]:
    """Write ``results.json`` into `out`.

    Parameters
    ----------
    results : sequence of dict
        One object a run.
    out : Path or None

    Returns
    -------
    dict
        With ``command``, ``environment`` and ``results``.
    """
    document = {"command": command(), "environment": environment(), "results": list(results)}
    if out is not None:
        begin(out)
        write_json(out / RESULTS_FILE, document)
    return document


def show(document: dict[str, Any], *parts: RenderableType, as_json: bool) -> None:
    """Print tables and remarks, once every file is written.

    Parameters
    ----------
    document : dict
        What ``results.json`` holds.
    *parts : rich.table.Table, rich.text.Text or str
    as_json : bool
        Print the document to standard output, and the rest to standard error.
    """
    if as_json:
        json.dump(plain(document), sys.stdout, indent=2)
        sys.stdout.write("\n")
    screen = Screen(stderr=as_json)
    for part in parts:
        screen.print(part)


def diagnoses(members: Sequence[Member]) -> list[Text]:
    """Return why members diverged, a line each."""
    return [Text(f"{m.config.rule}: {m.diagnosis}", style="yellow") for m in members if m.diagnosis]


def runs_table(title: str, results: Sequence[dict[str, Any]]) -> Table:
    """Return a table in the form of the papers' Table 1, one row a run."""
    # Fits 80 columns.
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Algorithm", no_wrap=True)
    for name in ("Accuracy\n(%)", "Best\n(%)", "Epochs\nto 90 %", "Seconds", "Rate"):
        table.add_column(name, justify="right")
    table.add_column("Status", no_wrap=True)
    for result in results:
        table.add_row(
            result["rule"],
            _number(result["accuracy"], ".2f"),
            _number(result["best_accuracy"], ".2f"),
            _number(result["epochs_to_90"], "d"),
            _number(result["seconds"], ".1f"),
            _number(result["lr"], "g"),
            result["status"],
        )
    return table


def markdown_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a Markdown table, which a page of the documentation includes; all columns but the first are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    write_atomically(path, "".join(f"| {' | '.join(line)} |\n" for line in lines).encode())


def count_statuses(statuses: Sequence[str]) -> str:
    """Return how many runs ended how, e.g. ``2 completed, 1 diverged``."""
    return ", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses))


def draw_metrics(path: Path, members: Sequence[Member], *, title: str) -> list[str]:
    """Draw what was measured along training, a row of panels for each rule and learning rate.

    Parameters
    ----------
    path : Path
        Of the figure.
    members : sequence of Member
    title : str

    Returns
    -------
    list of str
        Name of the file; none where nothing was measured.
    """
    rows: dict[str, list[Sequence[EpochRecord]]] = {}
    for member in members:
        if any(record.metrics for record in member.records):
            rows.setdefault(f"{member.config.rule}\nrate {member.config.lr:g}", []).append(member.records)
    if rows:
        metrics_figure(path, list(rows.items()), title=title)
    return [path.name] if rows else []


def _number(value: Any, form: str) -> str:
    return "–" if value is None else format(value, form)
