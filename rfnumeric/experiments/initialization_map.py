"""Where mean reciprocals beat backpropagation: depth × gain × activation, each rule at its own best rate.

Reciprocals undo the shrinkage that makes gradients vanish, and amplify noise where nothing shrinks. The map shows both.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from rfnumeric.datasets import Dataset
from rfnumeric.experiments.compare import tune
from rfnumeric.experiments.report import markdown_table, report, show
from rfnumeric.plotting import difference_map
from rfnumeric.training import RunConfig, train

WIDTH = 64
DEPTHS = (2, 5, 15, 30)
GAINS = (0.1, 0.3, 0.7, 1.0, 1.4, 2.0)
ACTIVATIONS = ("leaky-relu", "tanh")
SAMPLES = 5000
EPOCHS = 3
BATCH = 32

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "backprop": ("backprop", {}),
    "mean reciprocal": ("mean-reciprocal", {}),
    # What the first cells showed to help: a size that does not compound over layers, more damping, and a refresh at
    # every step: over 15 layers the errors of reciprocals a few steps old compound as well.
    "unbiased": ("mean-reciprocal", {"damping": 1.0, "unbiased": True, "refresh_every": 1}),
}
"""Name on the map → (rule, options). The two below backprop are each one setting for the whole map."""

RATES = {
    "sgd": (1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
    "adam": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
}
"""Optimizer → learning rates among which each rule's best is chosen, in every cell anew."""

CHANCE = 100 / 10


@dataclass(frozen=True)
class Cell:
    """A place on the map, and who trains there.

    Attributes
    ----------
    optimizer, activation : str
    depth : int
        Hidden layers.
    gain : float
        Factor on orthogonal initial weights. Activity keeps its size at √2 (leaky ReLU) and about 1 (tanh).
    rule : str
        Key of `RULES`.
    """

    optimizer: str
    activation: str
    depth: int
    gain: float
    rule: str

    def config(
        self,
        data: Dataset,
        *,
        epochs: int,
        backend: str,
        device: str | None,
        dtype: str,
        beta2: float | None = None,
    ) -> RunConfig:
        """Return the settings of a run here, but for rate and seeds; `beta2` is Adam's, if not its default."""
        rule, options = RULES[self.rule]
        return RunConfig(
            rule=rule,
            rule_options=options,
            dataset=data.name,
            sizes=(data.n_features, *(WIDTH,) * self.depth, data.n_classes),
            hidden=self.activation,
            output="identity",
            init="orthogonal",
            gain=self.gain,
            optimizer=self.optimizer,
            optimizer_options={} if beta2 is None or self.optimizer != "adam" else {"beta2": beta2},
            # At a constant rate the best one is at the edge of stability, and seeds differ by ten points.
            lr_schedule="linear",
            batch_size=BATCH,
            epochs=epochs,
            backend=backend,
            device=device,
            dtype=dtype,
        )


def cells(
    optimizers: Sequence[str], activations: Sequence[str], depths: Sequence[int], gains: Sequence[float]
) -> Iterator[Cell]:
    """Yield all places, the shallow ones, which cost least, first."""
    for depth, optimizer, activation, gain, rule in itertools.product(depths, optimizers, activations, gains, RULES):
        yield Cell(optimizer, activation, depth, gain, rule)


def first_images(data: Dataset, count: int) -> Dataset:
    """Return `data` with the first `count` images of its training set."""
    return replace(data, train_images=data.train_images[:count], train_labels=data.train_labels[:count])


def measure(cell: Cell, data: Dataset, *, seeds: int, epochs: int, **where: Any) -> dict[str, Any]:
    """Choose the best rate on a held-out fifth of the training set, then train all seeds with it as one population.

    Parameters
    ----------
    cell : Cell
    data : Dataset
    seeds : int
    epochs : int
    **where
        Backend, device, dtype and `beta2`.

    Returns
    -------
    dict
        The cell's line of ``results.json``. A seed that diverged counts as chance, 10 %.
    """
    config = cell.config(data, epochs=epochs, **where)
    lr = tune(config, data, RATES[cell.optimizer])
    run = train(replace(config, lr=lr, seed=tuple(range(seeds))), data)
    accuracies = [m.accuracy_or(CHANCE) for m in run.members]
    return {
        **asdict(cell),
        "lr": lr,
        "accuracy_mean": statistics.fmean(accuracies),
        "accuracy_std": statistics.stdev(accuracies) if seeds > 1 else None,
        "accuracies": accuracies,
        "statuses": [m.status for m in run.members],
        "seconds": sum(r.seconds for m in run.members for r in m.records),
        "config": run.config.to_json(),
    }


def differences(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return accuracy minus backprop's, in points, for each rule and place that backprop has too.

    Each has ``optimizer, activation, depth, gain, rule, backprop, accuracy, difference`` and ``error``, the standard
    error of the difference over paired seeds (None for one).
    """
    place = ("optimizer", "activation", "depth", "gain")
    backprop = {tuple(r[k] for k in place): r for r in results if r["rule"] == "backprop"}
    found = []
    for r in results:
        base = backprop.get(tuple(r[k] for k in place))
        if r["rule"] == "backprop" or base is None:
            continue
        paired = [a - b for a, b in zip(r["accuracies"], base["accuracies"], strict=True)]
        found.append({
            **{k: r[k] for k in (*place, "rule")},
            "backprop": base["accuracy_mean"],
            "accuracy": r["accuracy_mean"],
            "difference": statistics.fmean(paired),
            "error": statistics.stdev(paired) / len(paired) ** 0.5 if len(paired) > 1 else None,
        })
    return found


def summary(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each rule and optimizer, how many places are better and worse than backprop by over a point."""
    rows = []
    for rule, optimizer in dict.fromkeys((d["rule"], d["optimizer"]) for d in found):
        own = [d for d in found if (d["rule"], d["optimizer"]) == (rule, optimizer)]
        worst, best = min(own, key=lambda d: d["difference"]), max(own, key=lambda d: d["difference"])
        rows.append({
            "rule": rule,
            "optimizer": optimizer,
            "places": len(own),
            "better": sum(d["difference"] > 1 for d in own),
            "worse": sum(d["difference"] < -1 for d in own),
            "worst": worst,
            "best": best,
        })
    return rows


def publish(results: Sequence[dict[str, Any]], *, out: Path, as_json: bool) -> None:
    """Write ``results.json``, ``table.md`` and one map for each optimizer into `out`; print the summary."""
    document, found = report(results, out=out), differences(results)
    table = Table(title="Against backprop, each at its own best rate", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Rule", "Optimizer"):
        table.add_column(name)
    for name in ("Places", "Better by\n> 1 point", "Worse by\n> 1 point", "Worst\n(points)", "Best\n(points)"):
        table.add_column(name, justify="right")
    for row in summary(found):
        worst, best = row["worst"]["difference"], row["best"]["difference"]
        counts = (str(row[k]) for k in ("places", "better", "worse"))
        table.add_row(row["rule"], row["optimizer"], *counts, f"{worst:+.1f}", f"{best:+.1f}")
    write_table(out / "table.md", results)
    files = ["table.md"]
    for optimizer in dict.fromkeys(d["optimizer"] for d in found):
        files.append(f"map-{optimizer}.png")
        difference_map(out / files[-1], [d for d in found if d["optimizer"] == optimizer], optimizer)
    show(document, table, f"Wrote results.json, {', '.join(files)} to {out}", as_json=as_json)


def write_table(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write the summary as Markdown."""
    columns = ("rule, optimizer", "places", "better by over a point", "worse by over a point", "worst", "best")
    markdown_table(path, columns, [_summary_cells(row) for row in summary(differences(results))])


def _summary_cells(row: dict[str, Any]) -> list[str]:
    def where(d: dict[str, Any]) -> str:
        return f"{d['difference']:+.1f} ({d['activation']}, {d['depth']} layers, gain {d['gain']:g})"

    counts = [str(row[k]) for k in ("places", "better", "worse")]
    return [f"{row['rule']}, {row['optimizer']}", *counts, where(row["worst"]), where(row["best"])]
