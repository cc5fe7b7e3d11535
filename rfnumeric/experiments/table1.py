"""Table 1 of both papers, run again: published beside measured, over several seeds as one population (v1/v2 §5)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from rfnumeric import published
from rfnumeric.datasets import Dataset
from rfnumeric.experiments.compare import NETWORKS
from rfnumeric.experiments.progress import run_progress
from rfnumeric.experiments.report import count_statuses, markdown_table, report, show
from rfnumeric.plotting import learning_curves
from rfnumeric.training import PAPER_SIZES, Run, RunConfig, history_lines, train
from rfnumeric.training.files import write_json_lines
from rfnumeric.training.folder import begin

DATASETS = {"mnist": "MNIST", "cifar-10": "CIFAR-10"}
"""Name of a data set here → in the papers' tables."""

QUICK_EPOCHS = 6
QUICK_DATASET = "mnist-5k"

BOXES = {"normalize": False}
"""The papers' Algorithm boxes leave out 1/‖h‖², without which their learning rates are of a usable size."""

REFRESH = {"refresh_every": 20}
"""W⁺ is computed anew every 20 steps (v2 §5); v1 does not say when."""

ROWS: dict[tuple[str, str], dict[str, tuple[str, dict[str, Any]]]] = {
    # v1's public code ran D where §4.2 derives D⁺; the row as published is what that code runs.
    ("v1", "published"): {
        "backprop": ("backprop", {}),
        "reciprocal": ("pseudo-backprop", REFRESH),
        "feedback alignment": ("feedback-alignment", {}),
    },
    ("v1", "described"): {
        "backprop": ("backprop", {}),
        "reciprocal": ("rf-two-phase", {**REFRESH, **BOXES}),
        "feedback alignment": ("feedback-alignment", {}),
    },
}
"""(Paper, network) → row of Table 1 → (rule, options)."""
for _network in NETWORKS:
    ROWS["v2", _network] = {
        "backprop": ("backprop", {}),
        "parallel": ("rf-parallel", BOXES),
        "two-phase": ("rf-two-phase", {**REFRESH, **BOXES}),
        "feedback alignment": ("feedback-alignment", {}),
    }
# As derived, D⁺ is 100 on half of the leaky outputs, and at the paper's rate the row diverges; the paper has 92.81 %.
ROWS["v2", "published"]["two-phase"] = ("pseudo-backprop", REFRESH)


@dataclass(frozen=True)
class Row:
    """One row of a table: the paper's numbers, and the runs that stand beside them.

    Attributes
    ----------
    paper, network, dataset, name : str
        Which table, with which hidden activations, on which of the papers' data sets, and the row's name there.
    run : Run
        Of all seeds.
    """

    paper: str
    network: str
    dataset: str
    name: str
    run: Run

    def result(self) -> dict[str, Any]:
        """Return the row of ``results.json``: published and measured, and each seed's own result."""
        runs = self.run.results()
        accuracies = [r["accuracy"] for r in runs if r["accuracy"] is not None]
        epochs = [r["epochs_to_90"] for r in runs if r["epochs_to_90"] is not None]
        return {
            "paper": self.paper,
            "network": self.network,
            "row": self.name,
            "rule": self.run.config.rule,
            "published_accuracy": published.ACCURACY[self.paper][self.name][self.dataset],
            "published_epochs": published.EPOCHS[self.paper][self.name][self.dataset],
            "accuracy_mean": statistics.fmean(accuracies) if accuracies else None,
            "accuracy_std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            "epochs_to_90_median": statistics.median(epochs) if epochs else None,
            "lr": runs[0]["lr"],
            "seconds": sum(r["seconds"] for r in runs),
            "statuses": [r["status"] for r in runs],
            "runs": runs,
        }


def configure(
    paper: str,
    network: str,
    row: str,
    dataset: str,
    *,
    seeds: int,
    epochs: int | None = None,
    quick: bool = False,
    backend: str = "numpy",
    device: str | None = None,
    dtype: str = "float32",
) -> RunConfig:
    """Return the settings of one row as the paper gives them.

    Parameters
    ----------
    paper : {"v1", "v2"}
    network : {"published", "described"}
        Identity hidden activations, which explain the published numbers, or leaky ReLU, as the text has it.
    row : str
        Of the paper's Table 1.
    dataset : {"mnist", "cifar-10"}
    seeds : int
        Number of them, from 0.
    epochs : int, optional
        Instead of the paper's.
    quick : bool
        Take the embedded digits, and few epochs.
    backend, device, dtype : str
        See `RunConfig`.

    Returns
    -------
    RunConfig
    """
    name = DATASETS[dataset]
    rule, options = ROWS[paper, network][row]
    if rule == "rf-parallel":
        options = {**options, "feedback_lr": published.FEEDBACK[name]}
    hidden, output = NETWORKS[network]
    shared = {"lr": published.FORWARD[name].get(row), **published.SETTINGS[paper][name]}
    if quick or epochs is not None:
        shared["epochs"] = QUICK_EPOCHS if epochs is None else epochs
    return RunConfig(
        rule=rule,
        rule_options=options,
        dataset=QUICK_DATASET if quick else dataset,
        sizes=PAPER_SIZES[dataset],
        hidden=hidden,
        output=output,
        seed=tuple(range(seeds)),
        backend=backend,
        device=device,
        dtype=dtype,
        **shared,
    )


def run_table(
    paper: str,
    networks: Sequence[str],
    dataset: str,
    data: Dataset,
    *,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> list[Row]:
    """Train every row of a table, each with all its seeds as one population.

    Parameters
    ----------
    paper, networks, dataset
        As for `configure`; several networks.
    data : Dataset
        What `dataset` names, or the embedded digits with ``quick=True``.
    out : Path, optional
        Folder; each row keeps its checkpoint and history in a folder of its own below it.
    resume : bool
        Go on from those checkpoints.
    overwrite : bool
        Replace them.
    **settings
        The rest of `configure`.

    Returns
    -------
    list of Row
        Ends early, with an interrupted run, after Ctrl-C.
    """
    begin(out)
    done: list[Row] = []
    for network in networks:
        for name in ROWS[paper, network]:
            config = configure(paper, network, name, dataset, **settings)
            folder = None if out is None else out / f"{network}-{name.replace(' ', '-')}"
            with run_progress(f"{paper}, {network}: {name}", config.epochs) as progress:
                run = train(config, data, out=folder, resume=resume, overwrite=overwrite, progress=progress)
            done.append(Row(paper, network, DATASETS[dataset], name, run))
            if run.interrupted:
                return done
    return done


def check(paper: str, network: str, dataset: str, seeds: int) -> list[str]:
    """Return the networks to run.

    Raises
    ------
    ValueError
        If an option of the command line names nothing.
    """
    for option, value, known in (
        ("--paper", paper, ("v1", "v2")),
        ("--network", network, (*NETWORKS, "both")),
        ("--dataset", dataset, tuple(DATASETS)),
    ):
        if value not in known:
            raise ValueError(f"{option} must be one of {', '.join(known)}; got {value!r}.")
    if seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {seeds}.")
    return list(NETWORKS) if network == "both" else [network]


def publish(rows: Sequence[Row], *, out: Path, as_json: bool, figure: str) -> None:
    """Write ``results.json``, ``table.md``, the history and the curves into `out`; print published beside measured."""
    results = [row.result() for row in rows]
    document = report(results, out=out)
    lines = (s for r in rows for s in history_lines(r.run.members, paper=r.paper, network=r.network, row=r.name))
    write_json_lines(out / "history.jsonl", lines)
    panels, parts = [], []
    for network in dict.fromkeys(row.network for row in rows):
        of_network = [row for row in rows if row.network == network]
        hidden, output = NETWORKS[network]
        title = f"As {network}: {hidden} hidden layers, {output} output"
        panels.append((title, [(row.name, m.records) for row in of_network for m in row.run.members]))
        parts.append(_table(title, [r for r in results if r["network"] == network]))
    write_table(out / "table.md", results)
    config = rows[0].run.config
    what = f"{rows[0].paper}, {config.dataset}, {len(rows[0].run.members)} seeds, {config.epochs} epochs"
    learning_curves(out / figure, panels, title=what)
    if config.dataset == QUICK_DATASET:
        parts.append(f"Quick: {what}; the published numbers are for {rows[0].dataset} and full runs.")
    parts.append(f"Wrote results.json, table.md, history.jsonl and {figure} to {out}")
    show(document, *parts, as_json=as_json)


def _table(title: str, results: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Row (rule)")
    for name in ("Published\n(%)", "Measured\n(%)", "± std", "Published\nepochs", "Epochs\nto 90 %"):
        table.add_column(name, justify="right")
    table.add_column("Status")
    for r in results:
        table.add_row(f"{r['row']}\n({r['rule']})", *_cells(r), count_statuses(r["statuses"]).replace(", ", "\n"))
    return table


def write_table(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write the rows as Markdown."""
    page = [[f"{r['network']}: {r['row']} (`{r['rule']}`)", *_cells(r), count_statuses(r["statuses"])] for r in results]
    columns = ("row (rule)", "published (%)", "measured (%)", "± std", "published epochs", "epochs to 90 %", "status")
    markdown_table(path, columns, page)


def _cells(r: dict[str, Any]) -> list[str]:
    return [
        f"{r['published_accuracy']:.2f}",
        "–" if r["accuracy_mean"] is None else f"{r['accuracy_mean']:.2f}",
        "–" if r["accuracy_std"] is None else f"{r['accuracy_std']:.2f}",
        str(r["published_epochs"]),
        "–" if r["epochs_to_90_median"] is None else f"{r['epochs_to_90_median']:g}",
    ]
