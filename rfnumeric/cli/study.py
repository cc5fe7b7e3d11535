"""``rfnumeric study``: whether, how and where reciprocal feedback trains nonlinear networks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rfnumeric.cli._options import (
    EXIT_INTERRUPTED,
    AsJson,
    BackendName,
    DataDir,
    DatasetName,
    DeviceName,
    DTypeName,
    Overwrite,
    Quick,
    Resume,
    Seeds,
    default_out,
    load_dataset,
    parse_integers,
    parse_names,
    parse_numbers,
)

app = typer.Typer(
    help="What makes reciprocal feedback train, where it is stable, and where it beats backprop.", no_args_is_help=True
)

MapOut = default_out("rfnumeric-map", "cells.json, results.json and the maps")
AblationOut = default_out("rfnumeric-ablation", "results.json, ablation.png and the trials' checkpoints")
StabilityOut = default_out("rfnumeric-stability", "cells.json, results.json and stability.png")


@app.command("map")
def initialization_map(
    dataset: DatasetName = "mnist",
    samples: Annotated[int | None, typer.Option(help="Training images, the first ones. Default: 5000.")] = None,
    depths: Annotated[str | None, typer.Option(help="Hidden layers. Default: 2,5,15,30.")] = None,
    gains: Annotated[str | None, typer.Option(help="Initial gains. Default: 0.1,0.3,0.7,1,1.4,2.")] = None,
    activations: Annotated[str, typer.Option(help="Hidden activations.")] = "leaky-relu,tanh",
    optimizers: Annotated[str, typer.Option(help="Optimizers: sgd, adam.")] = "sgd,adam",
    seeds: Seeds = 5,
    epochs: Annotated[int, typer.Option(max=10**9, help="Passes over the training images.")] = 3,
    beta2: Annotated[float | None, typer.Option(help="Adam's decay of the mean of G². Default: 0.999.")] = None,
    quick: Quick = False,
    data_dir: DataDir = None,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    resume: Resume = False,
    overwrite: Overwrite = False,
    out: MapOut = None,
    as_json: AsJson = False,
) -> None:
    """Map accuracy minus backprop's over depth, initial gain and activation, each rule at its own best rate."""
    from rfnumeric.experiments import initialization_map as job
    from rfnumeric.experiments.cells import run_cells
    from rfnumeric.training.fingerprint import fingerprint
    from rfnumeric.training.folder import claim

    if quick:
        dataset, depths, gains, seeds = "mnist-5k", depths or "2", gains or "0.3,1.4", min(seeds, 2)
        activations, optimizers = activations.split(",")[0], optimizers.split(",")[0]
        samples = 500 if samples is None else samples
    chosen = job.cells(
        parse_names(optimizers),
        parse_names(activations),
        job.DEPTHS if depths is None else parse_integers("--depths", depths),
        job.GAINS if gains is None else parse_numbers("--gains", gains),
    )
    data = job.first_images(load_dataset(dataset, data_dir), job.SAMPLES if samples is None else samples)
    settings: dict[str, Any] = {"seeds": seeds, "epochs": epochs, "beta2": beta2}
    settings |= {"backend": backend, "device": device, "dtype": dtype}

    def measure(cell: job.Cell) -> dict[str, Any]:
        return job.measure(cell, data, **settings)

    with claim(out, command="study map", default="rfnumeric-map", resume=resume, overwrite=overwrite) as folder:
        known = {"study": "map", "data": fingerprint(data), **settings}
        where = {"out": folder, "resume": resume, "settings": known}
        results, interrupted = run_cells(list(chosen), measure, **where)
        if results:
            job.publish(results, out=folder, as_json=as_json)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command("ablation")
def ablation(
    dataset: DatasetName = "mnist",
    seeds: Seeds = 3,
    epochs: Annotated[int, typer.Option(max=10**9, help="Passes over the training set.")] = 6,
    trials: Annotated[
        str | None, typer.Option(help="Words that a trial's name must hold one of. Default: all.")
    ] = None,
    quick: Quick = False,
    data_dir: DataDir = None,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    resume: Resume = False,
    overwrite: Overwrite = False,
    out: AblationOut = None,
    as_json: AsJson = False,
) -> None:
    """Change one ingredient of reciprocal feedback at a time; print accuracy and the update's angle to the gradient."""
    from rfnumeric.experiments import ablation as job
    from rfnumeric.training.folder import claim

    if quick:
        dataset, seeds, epochs, trials = "mnist-5k", min(seeds, 2), 1, trials or "backprop,λ = 1"
    words = parse_names(trials) if trials else [""]
    chosen = [t for t in job.TRIALS if any(word in f"{t.group}: {t.name}" for word in words)]
    if not chosen:
        raise ValueError(f"--trials must name words of a trial, e.g. 'mean reciprocal'; got {trials!r}.")
    where = {"backend": backend, "device": device, "dtype": dtype}
    data = load_dataset(dataset, data_dir)
    options = {"resume": resume, "overwrite": overwrite, "seeds": seeds, "epochs": epochs, **where}
    with claim(
        out, command="study ablation", default="rfnumeric-ablation", resume=resume, overwrite=overwrite
    ) as folder:
        results, interrupted = job.run_trials(chosen, data, out=folder, **options)
        if results:
            job.publish(results, out=folder, as_json=as_json)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command("stability")
def stability(
    dataset: DatasetName = "mnist",
    slopes: Annotated[str | None, typer.Option(help="Negative slopes. Default: 0.01,0.1,0.3,0.5,0.7,0.9.")] = None,
    batch_sizes: Annotated[str, typer.Option(help="Samples in a batch.")] = "32,512",
    optimizers: Annotated[str, typer.Option(help="Optimizers: sgd, adam.")] = "sgd,adam",
    seeds: Seeds = 2,
    epochs: Annotated[int, typer.Option(max=10**9, help="Passes over the training set.")] = 3,
    quick: Quick = False,
    data_dir: DataDir = None,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    resume: Resume = False,
    overwrite: Overwrite = False,
    out: StabilityOut = None,
    as_json: AsJson = False,
) -> None:
    """Map where reciprocal feedback exactly as derived trains, and where it diverges: slope, rate, batch, optimizer."""
    from rfnumeric.experiments import stability as job
    from rfnumeric.experiments.cells import run_cells
    from rfnumeric.training.fingerprint import fingerprint
    from rfnumeric.training.folder import claim

    if quick:
        dataset, slopes, batch_sizes, optimizers = "mnist-5k", slopes or "0.01,0.5", "128", "sgd"
        seeds, epochs = min(seeds, 2), 1
    chosen = job.cells(
        parse_names(optimizers),
        parse_integers("--batch-sizes", batch_sizes),
        job.SLOPES if slopes is None else parse_numbers("--slopes", slopes),
    )
    data = load_dataset(dataset, data_dir)
    settings = {"seeds": seeds, "epochs": epochs, "backend": backend, "device": device, "dtype": dtype}

    def measure(cell: job.Cell) -> dict[str, Any]:
        return job.measure(cell, data, **settings)

    with claim(
        out, command="study stability", default="rfnumeric-stability", resume=resume, overwrite=overwrite
    ) as folder:
        known = {"study": "stability", "data": fingerprint(data), **settings}
        where = {"out": folder, "resume": resume, "settings": known}
        results, interrupted = run_cells(list(chosen), measure, **where)
        if results:
            job.publish(results, out=folder, as_json=as_json)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
