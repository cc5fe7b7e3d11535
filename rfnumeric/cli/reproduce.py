"""``rfnumeric reproduce``: the papers' tables and figures again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rfnumeric.cli._options import (
    EXIT_INTERRUPTED,
    MOST,
    AsJson,
    BackendName,
    DataDir,
    DeviceName,
    DTypeName,
    Overwrite,
    Quick,
    Resume,
    Seeds,
    default_out,
    load_dataset,
)

app = typer.Typer(help="Run the papers' tables and figures again.", no_args_is_help=True)

Paper = Annotated[str, typer.Option(help="v1 or v2.")]
PaperNetwork = Annotated[str, typer.Option(help="published (identity hidden layers), described (leaky ReLU) or both.")]
PaperDataset = Annotated[str, typer.Option(help="mnist or cifar-10.")]
PaperEpochs = Annotated[int | None, typer.Option(max=10**9, help="Passes over the training set. Default: the paper's.")]
Table1Out = default_out("rfnumeric-table1", "results.json, history.jsonl, curves.png")
Figure4Out = default_out("rfnumeric-figure4", "results.json, history.jsonl, figure4.png")
Figure1Out = default_out("rfnumeric-figure1", "results.json and figure1.png")


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
    overwrite: Overwrite = False,
    out: Table1Out = None,
    as_json: AsJson = False,
) -> None:
    """Train every row of Table 1 with the paper's settings and print published beside measured."""
    options = {"seeds": seeds, "epochs": epochs, "quick": quick, "backend": backend, "device": device, "dtype": dtype}
    place = {"out": out, "command": "reproduce table1", "resume": resume, "overwrite": overwrite}
    _publish_runs(paper, network, dataset, data_dir, place, as_json, "curves.png", options)


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
    overwrite: Overwrite = False,
    out: Figure4Out = None,
    as_json: AsJson = False,
) -> None:
    """Draw loss and accuracy of each rule, train solid and test dashed: v1 Figure 3, v2 Figure 4. One seed."""
    options = {"seeds": 1, "epochs": epochs, "quick": quick, "backend": backend, "device": device, "dtype": dtype}
    place = {"out": out, "command": "reproduce figure4", "resume": resume, "overwrite": overwrite}
    _publish_runs(paper, network, dataset, data_dir, place, as_json, "figure4.png", options)


@app.command("figure1")
def figure1(
    starts: Annotated[int, typer.Option(max=MOST, help="Starts of each form and radius.")] = 100,
    iterations: Annotated[int, typer.Option(max=MOST, help="Steps of the coupled rule.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the starts.")] = 0,
    overwrite: Overwrite = False,
    out: Figure1Out = None,
    as_json: AsJson = False,
) -> None:
    """Follow ‖U⁺ − V‖ under the coupled rule, printed and corrected, by radius: v1 Figure 1A, v2 Figure 2A."""
    from rfnumeric.experiments import figure1 as job
    from rfnumeric.training.folder import claim

    if starts < 1 or iterations < 1:
        raise ValueError(f"--starts and --iterations must be at least 1; got {starts} and {iterations}.")
    with claim(out, command="reproduce figure1", default="rfnumeric-figure1", overwrite=overwrite) as folder:
        results = job.run_all(count=starts, iterations=iterations, every=min(10, iterations), seed=seed)
        job.publish(results, out=folder, as_json=as_json)


def _publish_runs(
    paper: str,
    network: str,
    dataset: str,
    data_dir: Path | None,
    place: dict[str, Any],
    as_json: bool,
    figure: str,
    options: dict[str, Any],
) -> None:
    from rfnumeric.experiments import table1 as job
    from rfnumeric.training.folder import claim

    networks = job.check(paper, network, dataset, options["seeds"])
    data = load_dataset(job.QUICK_DATASET if options["quick"] else dataset, data_dir)
    options |= {"resume": place["resume"], "overwrite": place["overwrite"]}
    with claim(**place, default=f"rfnumeric-{place['command'].split()[-1]}") as folder:
        rows = job.run_table(paper, networks, dataset, data, out=folder, **options)
        job.publish(rows, out=folder, as_json=as_json, figure=figure)
    if rows[-1].run.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
