"""What makes reciprocal feedback train truly nonlinear networks: one ingredient at a time, with seeds and angles.

All trials share the papers' MNIST network with leaky-ReLU hidden layers, orthogonal weights × √2 and Adam, whose step
does not depend on the size of an update: what is left is its direction, which the cosine to the gradient measures.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from rfnumeric.datasets import Dataset
from rfnumeric.experiments.progress import run_progress
from rfnumeric.experiments.report import count_statuses, markdown_table, report, show
from rfnumeric.plotting import accuracy_against_cosine
from rfnumeric.training import PAPER_SIZES, Run, RunConfig, measure_run, train
from rfnumeric.training.folder import begin

SETTINGS: dict[str, Any] = {
    "output": "identity",
    "init": "orthogonal",
    "gain": math.sqrt(2),
    "optimizer": "adam",
    "lr": 1e-3,
    "lr_schedule": "linear",
    "batch_size": 128,
}

AS_DERIVED, D_IN_PLACE, MEAN = "as derived", "D in place of D⁺", "mean reciprocal"


@dataclass(frozen=True)
class Trial:
    """One line of the ablation table.

    Attributes
    ----------
    group, name : str
    rule : str
    options : dict
        Of the rule.
    changes : dict
        To `SETTINGS`.
    """

    group: str
    name: str
    rule: str
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    def config(self, dataset: str, seeds: int, epochs: int, **where: Any) -> RunConfig:
        """Return the settings of its run, all seeds as one population."""
        settings = {**SETTINGS, "epochs": epochs, **self.changes}
        # A trial that is given fewer epochs, for its cost, never takes more than the others.
        settings["epochs"] = min(settings["epochs"], epochs)
        return RunConfig(
            rule=self.rule,
            rule_options=self.options,
            dataset=dataset,
            sizes=PAPER_SIZES["mnist"],
            seed=tuple(range(seeds)),
            **settings,
            **where,
        )

    @property
    def slug(self) -> str:
        """Name of its folder."""
        kept = f"{self.group} {self.name}".lower().replace("⁺", "plus").replace("λ", "lambda").replace("‖", "")
        return "-".join("".join(c if c.isalnum() or c == "." else " " for c in kept).split())


def _derived(name: str, options: dict[str, Any] | None = None, rule: str = "rf-two-phase", **changes: Any) -> Trial:
    return Trial(AS_DERIVED, name, rule, options or {}, {"negative_slope": 0.3, **changes})


TRIALS = (
    Trial("yardsticks", "backprop", "backprop"),
    Trial("yardsticks", "feedback alignment", "feedback-alignment"),
    # The reciprocal of the stacked Jacobian costs a (32·10)² solve a layer and step: one epoch must do.
    Trial("yardsticks", "batch reciprocal, batch 32", "batch-reciprocal", {}, {"batch_size": 32, "epochs": 1}),
    _derived("slope 0.01", negative_slope=0.01),
    _derived("slope 0.1", negative_slope=0.1),
    _derived("slope 0.3"),
    _derived("leaky softplus 0.3", hidden="leaky-softplus"),
    _derived("without 1/‖h‖²", {"normalize": False}),
    _derived("own layer D", {"own_layer": "derivative"}),
    _derived("D⁺ damped, λ = 0.1", {"derivative_damping": 0.1}),
    _derived("D⁺ damped, λ = 1", {"derivative_damping": 1.0}),
    _derived("W⁺ damped, λ = 0.1", {"weight_damping": 0.1}),
    _derived("W⁺ and D⁺ damped, λ = 1", {"weight_damping": 1.0, "derivative_damping": 1.0}),
    _derived("spectrum control, β = 0.01", spectrum_control=0.01),
    _derived("He-normal", init="he-normal", gain=1.0),
    _derived("constant rate", lr_schedule="constant"),
    _derived("batch 16", batch_size=16),
    _derived("batch 512", batch_size=512),
    _derived("data-weighted inverse", {"pinv": "data-weighted"}),
    _derived("W⁺ learned by recirculation", {"pinv": "recirculation", "refresh_every": 1}),
    _derived("W⁺ learned in parallel", {"feedback_lr": 1e-4}, rule="rf-parallel"),
    Trial(D_IN_PLACE, "slope 0.01", "pseudo-backprop"),
    Trial(D_IN_PLACE, "W⁺ damped, λ = 0.1", "pseudo-backprop", {"weight_damping": 0.1}),
    Trial(D_IN_PLACE, "spectrum control, β = 0.01", "pseudo-backprop", {}, {"spectrum_control": 0.01}),
    Trial(MEAN, "λ = 0.1", "mean-reciprocal", {"damping": 0.1}),
    Trial(MEAN, "λ = 1", "mean-reciprocal", {"damping": 1.0}),
    Trial(MEAN, "λ = 10", "mean-reciprocal", {"damping": 10.0}),
    Trial(MEAN, "D at the own layer alone, λ = 0.1", "mean-reciprocal", {"damping": 0.1, "derivatives": "own"}),
    Trial(MEAN, "learned, γ = 0.1", "mean-reciprocal-learned", {"damping": 0.1}),
    Trial(MEAN, "learned, γ = 1", "mean-reciprocal-learned", {"damping": 1.0}),
)


def result(trial: Trial, run: Run, dataset: Dataset) -> dict[str, Any]:
    """Return the trial's line of ``results.json``: accuracies, losses, and cosines of the trained networks.

    A seed that diverged counts as chance, and has no cosines.
    """
    chance = 100 / dataset.n_classes
    completed = [m.status == "completed" for m in run.members]
    accuracies = [m.accuracy_or(chance) for m in run.members]
    losses = [m.records[-1].train_loss for m, ok in zip(run.members, completed, strict=True) if ok]
    found = [m for m, ok in zip(measure_run(run, dataset), completed, strict=True) if ok]
    return {
        "group": trial.group,
        "name": trial.name,
        "accuracy_mean": statistics.fmean(accuracies),
        "accuracy_std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "accuracies": accuracies,
        "train_loss_mean": statistics.fmean(losses) if losses else None,
        "gradient_cosine": _by_layer([m["gradient_cosine"] for m in found]),
        "gauss_newton_cosine": _by_layer([m["gauss_newton_cosine"] for m in found]),
        "condition_number": _by_layer([m["condition_number"] for m in found]),
        "statuses": [m.status for m in run.members],
        "epochs": run.config.epochs,
        "seconds": sum(r.seconds for m in run.members for r in m.records),
        "config": run.config.to_json(),
    }


def _by_layer(members: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return the mean over members, layer by layer; None where one has none."""
    columns = list(zip(*members, strict=True))
    return [None if None in column else statistics.fmean(column) for column in columns]


def run_trials(
    trials: Sequence[Trial],
    data: Dataset,
    *,
    out: Path,
    resume: bool,
    seeds: int,
    epochs: int,
    overwrite: bool = False,
    **where: Any,
) -> tuple[list[dict[str, Any]], bool]:
    """Train all trials; each keeps its checkpoint below ``OUT/trials``.

    Parameters
    ----------
    trials : sequence of Trial
    data : Dataset
    out : Path
    resume : bool
        Go on from those checkpoints: a killed study loses at most one epoch.
    seeds, epochs : int
    overwrite : bool
        Replace those checkpoints.
    **where
        Backend, device and dtype.

    Returns
    -------
    results, interrupted
    """
    begin(out)
    results = []
    for trial in trials:
        config = trial.config(data.name, seeds, epochs, **where)
        with run_progress(f"{trial.group}: {trial.name}", config.epochs) as progress:
            folder = out / "trials" / trial.slug
            run = train(config, data, out=folder, resume=resume, overwrite=overwrite, progress=progress)
        if run.interrupted:
            return results, True
        results.append(result(trial, run, data))
    return results, False


def publish(results: Sequence[dict[str, Any]], *, out: Path, as_json: bool) -> None:
    """Write ``results.json``, ``table.md`` and the figure of error against angle into `out`; print the table."""
    document = report(results, out=out)
    table = Table(title="One ingredient at a time", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Trial")
    for name in ("Accuracy\n(%)", "± std", "Train loss\n(nats)", "Cosines to the gradient\nby layer"):
        table.add_column(name, justify="right")
    table.add_column("Status")
    group = None
    for r in results:
        if r["group"] != group:
            group = r["group"]
            table.add_row(Text(group, style="bold"))
        cells = _cells(r)
        table.add_row(f"  {r['name']}", *cells)
    write_table(out / "table.md", results)
    accuracy_against_cosine(out / "ablation.png", results)
    show(document, table, f"Wrote results.json, table.md and ablation.png to {out}", as_json=as_json)


def write_table(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write the trials as Markdown."""
    columns = ("trial", "accuracy (%)", "± std", "train loss (nats)", "cosines to the gradient by layer", "status")
    markdown_table(path, columns, [[f"{r['group']}: {r['name']}", *_cells(r)] for r in results])


def _cells(r: dict[str, Any]) -> list[str]:
    std, loss = r["accuracy_std"], r["train_loss_mean"]
    return [
        f"{r['accuracy_mean']:.2f}",
        "–" if std is None else f"{std:.2f}",
        "–" if loss is None else f"{loss:.3f}",
        " ".join("–" if c is None else f"{c:.2f}" for c in r["gradient_cosine"][1:]) or "–",
        count_statuses(r["statuses"]),
    ]
