"""``rfnumeric compare``: the rules side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from rfnumeric.cli._options import (
    EXIT_INTERRUPTED,
    AsJson,
    BackendName,
    BatchSize,
    Bias,
    DataDir,
    DatasetName,
    DeviceName,
    DTypeName,
    Epochs,
    Initializer,
    InputScale,
    MetricsEvery,
    OptimizerName,
    Overwrite,
    Schedule,
    Seed,
    Sizes,
    Slope,
    WithMetrics,
    default_out,
    load_dataset,
    parse_metrics,
    parse_names,
    parse_sizes,
)

CompareOut = default_out("rfnumeric-compare", "results.json, history.jsonl and figures")


def compare(
    network: Annotated[
        str, typer.Option(help="published (identity hidden layers), described (leaky ReLU) or both.")
    ] = "both",
    rules: Annotated[
        str, typer.Option(help="Rules to run, separated by commas.")
    ] = "backprop,feedback-alignment,rf-two-phase,rf-parallel,pseudo-backprop",
    dataset: DatasetName = "mnist-5k",
    data_dir: DataDir = None,
    sizes: Sizes = None,
    epochs: Epochs = 40,
    batch_size: BatchSize = 10,
    negative_slope: Slope = 0.01,
    init: Initializer = "he-normal",
    bias: Bias = False,
    lr: Annotated[
        float | None,
        typer.Option(help="One learning rate for all rules. Default: those measured for sgd; 0.001 otherwise."),
    ] = None,
    optimizer: OptimizerName = "sgd",
    lr_schedule: Schedule = "constant",
    tune: Annotated[
        bool, typer.Option(help="Choose learning rates now, on a held-out fifth of the training set.")
    ] = False,
    input_scale: InputScale = "symmetric",
    seed: Seed = 0,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    metrics: WithMetrics = False,
    metrics_every: MetricsEvery = None,
    overwrite: Overwrite = False,
    out: CompareOut = None,
    as_json: AsJson = False,
) -> None:
    """Train the rules side by side and print a table in the form of the papers' Table 1."""
    from rfnumeric.experiments import compare as job
    from rfnumeric.terminal import Screen
    from rfnumeric.training import RunConfig
    from rfnumeric.training.folder import claim

    data = load_dataset(dataset, data_dir)
    base = RunConfig(
        dataset=dataset,
        sizes=parse_sizes(sizes, dataset),
        negative_slope=negative_slope,
        init=init,
        bias=bias,
        lr=1e-3 if lr is None else lr,
        optimizer=optimizer,
        lr_schedule=lr_schedule,
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
        input_scale=input_scale,
        backend=backend,
        device=device,
        dtype=dtype,
    )
    networks = list(job.NETWORKS) if network == "both" else [network]
    names = parse_names(rules)
    with claim(out, command="compare", default="rfnumeric-compare", overwrite=overwrite) as folder:
        if tune:
            rates = job.tune_all(base, data, networks=networks, rules=names)
            said = f"Learning rates chosen on a held-out fifth of the training set: {rates}"
            Screen(stderr=as_json).print(said)
        else:
            rates = job.LEARNING_RATES if lr is None and optimizer == "sgd" else {}
        comparisons = job.compare(
            base,
            data,
            networks=networks,
            rules=names,
            learning_rates=rates,
            metrics_every=parse_metrics(metrics, metrics_every),
        )
        job.publish(comparisons, out=folder, as_json=as_json)
    if comparisons[-1].run.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
