"""``rfnumeric reproduce``: the papers' tables and figures again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rfnumeric.cli._options import (
    EXIT_INTERRUPTED,
    AsJson,
    BackendName,
    DataDir,
    DeviceName,
    DTypeName,
    Quick,
    Resume,
    Seeds,
    load_dataset,
)

app = typer.Typer(help="Run the papers' tables and figures again.", no_args_is_help=True)

Paper = Annotated[str, typer.Option(help="v1 or v2.")]
PaperNetwork = Annotated[str, typer.Option(help="published (identity hidden layers), described (leaky ReLU) or both.")]
PaperDataset = Annotated[str, typer.Option(help="mnist or cifar-10.")]
PaperEpochs = Annotated[int | None, typer.Option(help="Passes over the training set. Default: the paper's.")]


@app.command("table1")
def table1(
    paper: Paper = "v1",
    network: PaperNetwork = "published",
    dataset: PaperDataset = "mnist",
    seeds: Seeds = 3,
    epochs: PaperEpochs = None,
    quick: Quick = False,
    data_dir: DataDir = None,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    resume: Resume = False,
    out: Annotated[Path, typer.Option(help="Folder for results.json, history.jsonl, curves.png.")] = Path(
        "rfnumeric-table1"
    ),
    as_json: AsJson = False,
) -> None:
    """Train every row of Table 1 with the paper's settings and print published beside measured."""
    options = {"seeds": seeds, "epochs": epochs, "quick": quick, "backend": backend, "device": device, "dtype": dtype}
    _publish_runs(paper, network, dataset, data_dir, out, resume, as_json, "curves.png", options)


@app.command("figure4")
def figure4(
    paper: Paper = "v2",
    network: PaperNetwork = "published",
    dataset: PaperDataset = "mnist",
    epochs: PaperEpochs = None,
    quick: Quick = False,
    data_dir: DataDir = None,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    resume: Resume = False,
    out: Annotated[Path, typer.Option(help="Folder for results.json, history.jsonl, figure4.png.")] = Path(
        "rfnumeric-figure4"
    ),
    as_json: AsJson = False,
) -> None:
    """Draw loss and accuracy of each rule, train solid and test dashed: v1 Figure 3, v2 Figure 4. One seed."""
    options = {"seeds": 1, "epochs": epochs, "quick": quick, "backend": backend, "device": device, "dtype": dtype}
    _publish_runs(paper, network, dataset, data_dir, out, resume, as_json, "figure4.png", options)


@app.command("figure1")
def figure1(
    starts: Annotated[int, typer.Option(help="Starts of each form and radius.")] = 100,
    iterations: Annotated[int, typer.Option(help="Steps of the coupled rule.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the starts.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for results.json and figure1.png.")] = Path("rfnumeric-figure1"),
    as_json: AsJson = False,
) -> None:
    """Follow ‖U⁺ − V‖ under the coupled rule, printed and corrected, by radius: v1 Figure 1A, v2 Figure 2A."""
    from rfnumeric.experiments import figure1 as job

    if starts < 1 or iterations < 1:
        raise ValueError(f"--starts and --iterations must be at least 1; got {starts} and {iterations}.")
    results = job.run_all(count=starts, iterations=iterations, every=min(10, iterations), seed=seed)
    job.publish(results, out=out, as_json=as_json)


def _publish_runs(
    paper: str,
    network: str,
    dataset: str,
    data_dir: Path | None,
    out: Path,
    resume: bool,
    as_json: bool,
    figure: str,
    options: dict[str, Any],
) -> None:
    from rfnumeric.experiments import table1 as job

    networks = job.check(paper, network, dataset, options["seeds"])
    data = load_dataset(job.QUICK_DATASET if options["quick"] else dataset, data_dir)
    rows = job.run_table(paper, networks, dataset, data, out=out, resume=resume, **options)
    job.publish(rows, out=out, as_json=as_json, figure=figure)
    if rows[-1].run.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
