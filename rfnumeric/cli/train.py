"""``rfnumeric train``: one network, or a population, with one rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rfnumeric.cli._options import (
    EXIT_INTERRUPTED,
    MOST,
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
    NetworkName,
    OptimizerName,
    Overwrite,
    RuleName,
    Schedule,
    Seed,
    Sizes,
    Slope,
    WithMetrics,
    load_dataset,
    parse_metrics,
    parse_numbers,
    parse_sizes,
)
from rfnumeric.cli._settings import SettingsCommand


class TrainCommand(SettingsCommand):
    """`train`, its options in panels."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        network = "network sizes hidden output negative_slope init gain bias"
        results = "metrics metrics_every resume overwrite out as_json"
        panels = {"Network": network, "Where to run": "backend device dtype", "Results": results}
        names = {name: panel for panel, listed in panels.items() for name in listed.split()}
        for parameter in self.params:
            parameter.rich_help_panel = names.get(parameter.name, "Training")  # type: ignore[attr-defined]


def train(
    ctx: typer.Context,
    rule: RuleName = "backprop",
    dataset: DatasetName = "mnist-5k",
    data_dir: DataDir = None,
    loss: Annotated[str, typer.Option(help="cross-entropy or mse.")] = "cross-entropy",
    lr: Annotated[str, typer.Option(help="Learning rate; several (0.1,0.3) make a population.")] = "0.001",
    optimizer: OptimizerName = "sgd",
    lr_schedule: Schedule = "constant",
    batch_size: BatchSize = 40,
    epochs: Epochs = 40,
    seed: Seed = 0,
    population: Annotated[int | None, typer.Option(help="Networks in one call: SEED, SEED + 1, ….")] = None,
    input_scale: InputScale = "symmetric",
    spectrum_control: Annotated[float, typer.Option(help="β of W ← W − β(WWᵀ/s² − I)W after a step.")] = 0.0,
    network: NetworkName = "papers",
    sizes: Sizes = None,
    hidden: Annotated[str, typer.Option(help="identity, leaky-relu, leaky-softplus, tanh.")] = "leaky-relu",
    output: Annotated[str, typer.Option(help="Activation of the last layer.")] = "leaky-relu",
    negative_slope: Slope = 0.01,
    init: Initializer = "he-normal",
    gain: Annotated[float, typer.Option(help="Factor on the initial weights.")] = 1.0,
    bias: Bias = False,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    metrics: WithMetrics = False,
    metrics_every: MetricsEvery = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    overwrite: Overwrite = False,
    out: Annotated[Path | None, typer.Option(help="Folder for results, history, checkpoint.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train one network, or a population of them, with one rule.

    A rule, an optimizer and a network have options of their own: see rfnumeric train --rule
    NAME --help, or rfnumeric rules.
    """
    from rfnumeric.experiments import single
    from rfnumeric.training import RunConfig

    if resume and out is None:
        raise ValueError("--resume needs --out, the folder that holds the checkpoint.")
    if population is not None and not 1 <= population <= MOST:
        raise ValueError(f"--population must be a number of networks from 1 to {MOST}; got {population}.")
    rates = parse_numbers("--lr", lr)
    data = load_dataset(dataset, data_dir)
    if network in ("papers", "mlp"):
        widths = parse_sizes(sizes, dataset)
    elif sizes is not None:
        raise ValueError(f"--sizes belongs to --network mlp; {network} has its own layers. Leave it out.")
    else:
        widths = (data.n_features, data.n_classes)
    config = RunConfig(
        rule=rule,
        rule_options=ctx.obj["rule"],
        dataset=dataset,
        sizes=widths,
        network="mlp" if network in ("papers", "mlp") else network,
        network_options=ctx.obj["network"],
        hidden=hidden,
        output=output,
        negative_slope=negative_slope,
        init=init,
        gain=gain,
        spectrum_control=spectrum_control,
        bias=bias,
        loss=loss,
        lr=rates[0] if len(rates) == 1 else rates,
        optimizer=optimizer,
        optimizer_options=ctx.obj["optimizer"],
        lr_schedule=lr_schedule,
        batch_size=batch_size,
        epochs=epochs,
        seed=seed if population is None else tuple(range(seed, seed + population)),
        input_scale=input_scale,
        backend=backend,
        device=device,
        dtype=dtype,
    )
    run = single.run(
        config,
        data,
        out=out,
        resume=resume,
        overwrite=overwrite,
        as_json=as_json,
        metrics_every=parse_metrics(metrics, metrics_every),
    )
    if run.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
