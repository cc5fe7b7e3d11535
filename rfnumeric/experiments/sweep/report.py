"""What a search leaves behind: ``results.json``, the history of every trial, a table and a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rfnumeric.experiments.report import report, show
from rfnumeric.experiments.sweep.space import Space
from rfnumeric.plotting import search_points
from rfnumeric.training import Member, Run, history_lines
from rfnumeric.training.files import write_json_lines

FIGURE = "search.png"
HELD_OUT, TEST = "held-out fifth of the training set", "test set"


def publish(
    space: Space,
    trials: Sequence[Member],
    best: int | None,
    final: Run | None,
    *,
    search: str,
    out: Path,
    as_json: bool,
) -> None:
    """Write everything into `out`; print the trials from the best down and the chosen one's test accuracy.

    Parameters
    ----------
    space : Space
    trials : sequence of Member
    best : int or None
        Index of the chosen trial.
    final : Run or None
        Of the chosen configuration on the whole training set; None if there is none.
    search : {"hyperopt", "random"}
    out : Path
        Folder for ``results.json``, ``history.jsonl`` and ``search.png``.
    as_json : bool
        Print the results' JSON to standard output; the table then goes to standard error.
    """
    results = [_trial_result(space, k, trial, search) for k, trial in enumerate(trials)]
    if final:
        rates = {name: results[best][name] for name in space.domains}  # type: ignore[index]
        results += [{"part": "best", "trial": best, "search": search, **rates, **r} for r in final.results()]
    document = report(results, out=out)
    lines = [
        line for k, t in enumerate(trials) for line in history_lines([t], part="trial", trial=k, tested_on=HELD_OUT)
    ]
    if final:
        lines += history_lines(final.members, part="best", trial=best, tested_on=TEST)
    write_json_lines(out / "history.jsonl", lines)
    title = f"{space.base.rule} on {space.base.dataset}, {len(trials)} configurations, {search}"
    _draw(space, trials, best, out / FIGURE, title)
    wrote = f"Wrote results.json, history.jsonl and {FIGURE} to {out}"
    show(document, *_parts(space, results, best, final, title), wrote, as_json=as_json)


def _trial_result(space: Space, k: int, trial: Member, search: str) -> dict[str, Any]:
    """Return a trial's entry: as a run's, but that its accuracies are not of the test set, and are called so."""
    result = trial.result()
    accuracy, highest = result.pop("accuracy"), result.pop("best_accuracy")
    rates = {name: result["lr"] if name == "lr" else trial.config.rule_options[name] for name in space.domains}
    named = {"held_out_accuracy": accuracy, "best_held_out_accuracy": highest}
    return {"part": "trial", "trial": k, "search": search, **rates, **named, **result}


def _draw(space: Space, trials: Sequence[Member], best: int | None, path: Path, title: str) -> None:
    feedback = [name for name in space.domains if name != "lr"]
    points = []
    for k, trial in enumerate(trials):
        sound = trial.status in ("completed", "stopped", "interrupted") and trial.records
        accuracy = trial.records[-1].test_accuracy if sound else math.nan
        epochs = trial.records[-1].epoch if trial.records else 0
        colour = trial.config.rule_options[feedback[0]] if feedback else max(epochs, 1)
        points.append((trial.config.lr, accuracy, colour, trial.status, k == best))
    label = "feedback learning rate" if feedback else "epochs trained"
    search_points(path, points, colour_label=label, title=title)


def _parts(
    space: Space, results: Sequence[dict[str, Any]], best: int | None, final: Run | None, title: str
) -> list[RenderableType]:
    """Return what is printed: the table, what went wrong, and the chosen trial."""
    parts: list[RenderableType] = [_table(space, [r for r in results if r["part"] == "trial"], title)]
    parts += [Text(f"trial {r['trial']}: {r['diagnosis']}", style="yellow") for r in results if r["diagnosis"]]
    if best is None and not any(r["status"] == "interrupted" for r in results):
        parts.append(Text("No trial trained to the last epoch, so there is no best one.", style="yellow"))
    if not final:
        return parts
    (member,) = final.members
    chosen = ", ".join(f"{name} {results[best][name]:.5g}" for name in space.domains)  # type: ignore[index]
    if member.status == "completed":
        accuracy, epochs = member.records[-1].test_accuracy, member.records[-1].epoch
        outcome = f"test accuracy {accuracy:.2f} % after {epochs} epochs on the whole training set"
    else:
        outcome = f"{member.status} on the whole training set. {member.diagnosis}"
    return [*parts, f"Best: trial {best} ({chosen}): {outcome}"]


def _table(space: Space, results: Sequence[dict[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    names = {"lr": "Rate"}
    for heading in ("Trial", *(names.get(n, "Feedback\nrate") for n in space.domains), "Epochs"):
        table.add_column(heading, justify="right")
    for heading in ("Held-out\n(%)", "Seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Status", no_wrap=True)

    def place(result: dict[str, Any]) -> float:
        accuracy = result["held_out_accuracy"]
        return math.inf if accuracy is None else -accuracy

    for r in sorted(results, key=place):
        rates = (f"{r[name]:.3g}" for name in space.domains)
        accuracy = "–" if r["held_out_accuracy"] is None else f"{r['held_out_accuracy']:.2f}"
        table.add_row(str(r["trial"]), *rates, str(r["epochs"]), accuracy, f"{r['seconds']:.1f}", r["status"])
    return table
