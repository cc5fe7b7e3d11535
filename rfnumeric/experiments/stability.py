"""Where reciprocal feedback exactly as derived (v1/v2 §4.2) trains, and where it diverges.

The network is the one that the papers describe, with leaky-ReLU hidden layers. D⁺ is 1/α on the negative side, so that
the slope α sets how much a layer amplifies the error; the rate and the batch decide what becomes of it.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from rfnumeric.datasets import Dataset
from rfnumeric.experiments.ablation import SETTINGS
from rfnumeric.experiments.report import markdown_table, report, show
from rfnumeric.plotting import stability_map
from rfnumeric.training import PAPER_SIZES, Member, RunConfig, train

SLOPES = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9)

RATES = {"sgd": (1e-2, 1e-1, 1.0, 10.0), "adam": (1e-4, 1e-3, 1e-2)}
"""Optimizer → learning rates, a population in each cell. An update is divided by ‖h‖² already: 1 is a whole step."""


@dataclass(frozen=True)
class Cell:
    """A place on the map.

    Attributes
    ----------
    optimizer : str
    batch_size : int
    slope : float
        α of the hidden layers' leaky ReLU.
    """

    optimizer: str
    batch_size: int
    slope: float


def cells(optimizers: Sequence[str], batch_sizes: Sequence[int], slopes: Sequence[float]) -> Iterator[Cell]:
    """Yield all places.

    Raises
    ------
    ValueError
        If an optimizer has no rates here.
    """
    for name in optimizers:
        if name not in RATES:
            raise ValueError(f"--optimizers must be of {', '.join(RATES)}; got {name!r}.")
    for optimizer, batch_size, slope in itertools.product(optimizers, batch_sizes, slopes):
        yield Cell(optimizer, batch_size, slope)


def measure(cell: Cell, data: Dataset, *, seeds: int, epochs: int, **where: Any) -> dict[str, Any]:
    """Train all rates and seeds of a place as one population.

    Parameters
    ----------
    cell : Cell
    data : Dataset
    seeds : int
    epochs : int
    **where
        Backend, device and dtype.

    Returns
    -------
    dict
        The cell's line of ``results.json``. ``rates`` has a line for each rate: its accuracies (None for a seed that
        diverged), their mean with chance for those, and the epochs in which seeds diverged.
    """
    pairs = list(itertools.product(RATES[cell.optimizer], range(seeds)))
    settings = SETTINGS | {
        "negative_slope": cell.slope,
        "optimizer": cell.optimizer,
        "batch_size": cell.batch_size,
        "lr": tuple(lr for lr, _ in pairs),
    }
    config = RunConfig(
        rule="rf-two-phase",
        dataset=data.name,
        sizes=PAPER_SIZES["mnist"],
        seed=tuple(seed for _, seed in pairs),
        epochs=epochs,
        **settings,
        **where,
    )
    members = train(config, data).members
    rates = [
        _of_rate(lr, [m for m, (own, _) in zip(members, pairs, strict=True) if own == lr], 100 / data.n_classes)
        for lr in RATES[cell.optimizer]
    ]
    return {**asdict(cell), "rates": rates, "config": config.to_json()}


def _of_rate(lr: float, members: Sequence[Member], chance: float) -> dict[str, Any]:
    accuracies = [m.records[-1].test_accuracy if m.status == "completed" else None for m in members]
    return {
        "lr": lr,
        "accuracies": accuracies,
        "accuracy_mean": statistics.fmean(m.accuracy_or(chance) for m in members),
        "diverged_in_epoch": [m.records[-1].epoch for m in members if m.status == "diverged"],
    }


def publish(results: Sequence[dict[str, Any]], *, out: Path, as_json: bool) -> None:
    """Write ``results.json``, ``table.md`` and ``stability.png`` into `out`; print the table."""
    document = report(results, out=out)
    table = Table(title="As derived: accuracy (%), best rate of each place", box=box.SIMPLE_HEAD, pad_edge=False)
    header, rows = _rows(results)
    for name in header:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    write_table(out / "table.md", results)
    stability_map(out / "stability.png", results)
    show(document, table, f"Wrote results.json, table.md and stability.png to {out}", as_json=as_json)


def write_table(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write the best rate of each place as Markdown."""
    markdown_table(path, *_rows(results))


def _rows(results: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    header = ("optimizer, batch, slope", "best rate", "accuracy (%)", "rates at which a seed diverged")
    rows = []
    for r in results:
        best = max(r["rates"], key=lambda rate: rate["accuracy_mean"])
        lost = [f"{rate['lr']:g}" for rate in r["rates"] if rate["diverged_in_epoch"]]
        place = f"{r['optimizer']}, {r['batch_size']}, {r['slope']:g}"
        rows.append([place, f"{best['lr']:g}", f"{best['accuracy_mean']:.2f}", ", ".join(lost) or "none"])
    return header, rows
