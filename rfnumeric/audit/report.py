"""The audit on the terminal and as JSON."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from rfnumeric.audit.claim import FAILS, HOLDS, HOLDS_IF, OPEN, SECTIONS
from rfnumeric.audit.mathematics import plain
from rfnumeric.audit.run import Result, summary
from rfnumeric.training import environment
from rfnumeric.training.environment import command

COLOURS = {HOLDS: "green", HOLDS_IF: "yellow", FAILS: "red", OPEN: "cyan"}


def document(results: list[Result], settings: dict[str, Any]) -> dict[str, Any]:
    """Return what ``--json`` prints: `command`, `environment`, `settings`, `summary` and `results`."""
    return {
        "command": command(),
        "environment": environment(),
        "settings": settings,
        "summary": summary(results),
        "results": [r.to_json() for r in results],
    }


def table(results: list[Result]) -> Table:
    """Return the table of the terminal: id, place, claim, verdict, evidence; a blank line between sections."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False, expand=True)
    grid.add_column("ID", no_wrap=True)
    grid.add_column("Place", ratio=2)
    grid.add_column("Claim", ratio=5)
    grid.add_column("Verdict", ratio=2)
    grid.add_column("Evidence", ratio=5)
    section = ""
    for r in results:
        if r.claim.section != section:
            section = r.claim.section
            grid.add_section()
            grid.add_row("", "", Text(SECTIONS[section], style="bold"), "", "")
        grid.add_row(
            r.claim.id, Text(r.claim.place), Text(plain(r.claim.statement)), verdict(r), Text(r.measured.evidence)
        )
    return grid


def verdict(result: Result) -> Text:
    """Return the recorded verdict in its colour, and the contradiction if the measurement disagrees."""
    text = Text(result.claim.verdict, style=COLOURS[result.claim.verdict])
    if not result.ok:
        text.append(f"\nCONTRADICTED: measured “{result.measured.verdict}”", style="bold red")
    return text


def details(result: Result) -> Group:
    """Return one claim in full: what is printed when few are asked for."""
    claim = result.claim
    lines = [
        Text.assemble((claim.id, "bold"), "  ", (claim.place, "dim")),
        Text(plain(claim.statement)),
        verdict(result),
        Text(plain(claim.note)) if claim.note else Text("", end=""),
        Text(result.measured.evidence, style="italic"),
        *(Text(f"  {name}: {value:.6g}", style="dim") for name, value in result.measured.values.items()),
        Text(""),
    ]
    return Group(*lines)


def print_results(results: list[Result], console: Console) -> None:
    """Print the table, or a few claims in full, and the last line: how many verdicts stand."""
    if len(results) <= 5:
        for r in results:
            console.print(details(r), highlight=False)
    else:
        console.print(table(results), highlight=False)
    counts = summary(results)
    said = ", ".join(f"{counts[v]} {v}" for v in COLOURS if v in counts)
    number = f"{len(results)} claim{'s' if len(results) != 1 else ''}"
    console.print(f"{number}: {said}. Contradicted by their evidence: {counts['contradicted']}.", highlight=False)
