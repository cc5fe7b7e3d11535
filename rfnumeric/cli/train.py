"""``rfnumeric train``: one network, or a population, with one rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def train(
    rule: RuleName = "backprop",
    dataset: DatasetName = "mnist-5k",
    data_dir: DataDir = None,
    sizes: Sizes = None,
    hidden: Annotated[str, typer.Option(help="identity, leaky-relu, leaky-softplus or tanh.")] = "leaky-relu",
    output: Annotated[str, typer.Option(help="Activation of the last layer; as --hidden.")] = "leaky-relu",
    negative_slope: Slope = 0.01,
    init: Initializer = "he-normal",
    gain: Annotated[float, typer.Option(help="Factor on the initial weights.")] = 1.0,
    spectrum_control: Annotated[
        float, typer.Option(help="β of W ← W − β(WWᵀ/s² − I)W after each step: keeps singular values together.")
    ] = 0.0,
    bias: Bias = False,
    loss: Annotated[str, typer.Option(help="cross-entropy or mse.")] = "cross-entropy",
    lr: Annotated[str, typer.Option(help="Learning rate; several, separated by commas, make a population.")] = "0.001",
    optimizer: OptimizerName = "sgd",
    lr_schedule: Schedule = "constant",
    momentum: Annotated[float | None, typer.Option(help="momentum: μ of v ← μv + G. (default: 0.9)")] = None,
    beta1: Annotated[float | None, typer.Option(help="adam: decay of the mean of G. (default: 0.9)")] = None,
    beta2: Annotated[float | None, typer.Option(help="adam: decay of the mean of G². (default: 0.999)")] = None,
    epsilon: Annotated[float | None, typer.Option(help="adam: ε beside √v. (default: 1e-08)")] = None,
    batch_size: BatchSize = 40,
    epochs: Epochs = 40,
    seed: Seed = 0,
    population: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="Train this many networks in one call, with seeds SEED, SEED + 1, …."),
    ] = None,
    input_scale: InputScale = "symmetric",
    refresh_every: Annotated[
        int | None,
        typer.Option(help="rf-two-phase, pseudo-backprop, mean-reciprocal: steps between refreshes. (default: 20)"),
    ] = None,
    pinv: Annotated[
        str | None,
        typer.Option(
            help="rf-two-phase, pseudo-backprop: auto, svd, cholesky, ben-israel-cohen; rf-two-phase also "
            "data-weighted, recirculation. (default: auto)"
        ),
    ] = None,
    own_layer: Annotated[
        str | None,
        typer.Option(help="rf-*: the own layer's factor: reciprocal (D⁺), derivative (D), none. (default: reciprocal)"),
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize",
            help="rf-*: divide by ‖h‖² (default: normalize); mean-reciprocal*: by its mean (default: no-normalize).",
        ),
    ] = None,
    weight_damping: Annotated[
        float | None,
        typer.Option(help="rf-two-phase, pseudo-backprop: λ of Wᵀ(WWᵀ + λI)⁻¹, relative. (default: 0.0)"),
    ] = None,
    derivative_damping: Annotated[float | None, typer.Option(help="rf-*: λ of D⁺ = D/(D² + λ). (default: 0.0)")] = None,
    sleep_lr: Annotated[
        float | None, typer.Option(help="rf-two-phase with recirculation: its rate η. (default: 0.1)")
    ] = None,
    sleep_batch: Annotated[
        int | None, typer.Option(help="rf-two-phase with recirculation: noise samples of a sleep. (default: 256)")
    ] = None,
    feedback_lr: Annotated[float | None, typer.Option(help="rf-parallel: rate η of W⁺. (default: 7.5683e-05)")] = None,
    start: Annotated[str | None, typer.Option(help="rf-parallel: first W⁺: pinv or random. (default: pinv)")] = None,
    feedback_init: Annotated[
        str | None, typer.Option(help="feedback-alignment: initializer of the fixed matrices. (default: he-normal)")
    ] = None,
    damping: Annotated[
        float | None,
        typer.Option(help="mean-reciprocal*, batch-reciprocal: λ, relative to the mean eigenvalue. (default: 0.1)"),
    ] = None,
    derivatives: Annotated[
        str | None,
        typer.Option(help="mean-reciprocal*: D at all layers on the way, or at the own one alone. (default: all)"),
    ] = None,
    moment_decay: Annotated[
        float | None, typer.Option(help="mean-reciprocal: decay of D's running moments. (default: 0.99)")
    ] = None,
    unbiased: Annotated[
        bool | None,
        typer.Option(
            "--unbiased/--no-unbiased",
            help="mean-reciprocal: scale R so that it undoes the layer on average. (default: no-unbiased)",
        ),
    ] = None,
    reciprocal_lr: Annotated[
        float | None, typer.Option(help="mean-reciprocal-learned: rate η of R. (default: 0.05)")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="mean-reciprocal-learned: noise, relative to the activity. (default: 0.1)")
    ] = None,
    sleep_every: Annotated[
        int | None, typer.Option(help="mean-reciprocal-learned: steps between updates of R. (default: 1)")
    ] = None,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    metrics: WithMetrics = False,
    metrics_every: MetricsEvery = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in --out.")] = False,
    overwrite: Overwrite = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for results.json, history.jsonl, checkpoint.npz and figures.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train one network, or a population of them, with one rule."""
    from rfnumeric.experiments import single
    from rfnumeric.training import RunConfig

    given = {
        "refresh_every": refresh_every,
        "pinv": pinv,
        "own_layer": own_layer,
        "normalize": normalize,
        "weight_damping": weight_damping,
        "derivative_damping": derivative_damping,
        "sleep_lr": sleep_lr,
        "sleep_batch": sleep_batch,
        "feedback_lr": feedback_lr,
        "start": start,
        "feedback_init": feedback_init,
        "damping": damping,
        "derivatives": derivatives,
        "moment_decay": moment_decay,
        "unbiased": unbiased,
        "reciprocal_lr": reciprocal_lr,
        "noise": noise,
        "sleep_every": sleep_every,
    }
    of_optimizer = {"momentum": momentum, "beta1": beta1, "beta2": beta2, "epsilon": epsilon}
    if resume and out is None:
        raise ValueError("--resume needs --out, the folder that holds the checkpoint.")
    rates = parse_numbers("--lr", lr)
    config = RunConfig(
        rule=rule,
        rule_options={name: value for name, value in given.items() if value is not None},
        dataset=dataset,
        sizes=parse_sizes(sizes, dataset),
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
        optimizer_options={name: value for name, value in of_optimizer.items() if value is not None},
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
        load_dataset(dataset, data_dir),
        out=out,
        resume=resume,
        overwrite=overwrite,
        as_json=as_json,
        metrics_every=parse_metrics(metrics, metrics_every),
    )
    if run.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
