"""``rfnumeric sweep``: the papers' search for learning rates."""

from __future__ import annotations

import json
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
    Initializer,
    InputScale,
    OptimizerName,
    Overwrite,
    RuleName,
    Schedule,
    Sizes,
    Slope,
    default_out,
    load_dataset,
    parse_numbers,
    parse_sizes,
)

SweepOut = default_out("rfnumeric-sweep", "results.json, history.jsonl, search.png and the trials")


def sweep(
    rule: RuleName = "backprop",
    dataset: DatasetName = "mnist-5k",
    search: Annotated[
        str,
        typer.Option(
            help="hyperopt: HyperOpt with an ASHA scheduler on Ray Tune (the extra `sweep`), a trial a core; "
            "random: all configurations as one population, to the last epoch."
        ),
    ] = "hyperopt",
    configurations: Annotated[int, typer.Option(max=MOST, help="Configurations to try.")] = 20,
    epochs: Annotated[
        int, typer.Option(max=10**9, help="Passes over the training set, at most: ASHA stops what lags.")
    ] = 100,
    lr_range: Annotated[str, typer.Option(help="Domain of the forward rate, drawn log-uniformly.")] = "1e-4,1e-2",
    feedback_lr_range: Annotated[
        str, typer.Option(help="Domain of the feedback rate of rf-parallel, likewise; no other rule has one.")
    ] = "1e-6,1e-3",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Option of the rule, e.g. normalize=false; may be repeated."),
    ] = None,
    network: Annotated[str, typer.Option(help="published (identity hidden layers) or described (leaky ReLU).")] = (
        "published"
    ),
    data_dir: DataDir = None,
    sizes: Sizes = None,
    negative_slope: Slope = 0.01,
    init: Initializer = "he-normal",
    bias: Bias = False,
    optimizer: OptimizerName = "sgd",
    lr_schedule: Schedule = "constant",
    batch_size: BatchSize = 32,
    seed: Annotated[int, typer.Option(help="Seed of the search, and of each trial's weights, batches and noise.")] = 0,
    input_scale: InputScale = "symmetric",
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    address: Annotated[
        str | None,
        typer.Option(help="Of a Ray cluster, e.g. auto or host:6379, whose machines share --out. Default: none."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the search in --out.")] = False,
    overwrite: Overwrite = False,
    out: SweepOut = None,
    as_json: AsJson = False,
) -> None:
    """Search the learning rates as v2 did, on a held-out fifth of the training set; then test the best."""
    from rfnumeric.experiments import sweep as job
    from rfnumeric.experiments.compare import NETWORKS
    from rfnumeric.experiments.sweep.report import publish
    from rfnumeric.training import RunConfig
    from rfnumeric.training.folder import claim

    _check_name("--search", search, job.SEARCHES)
    _check_name("--network", network, tuple(NETWORKS))
    if address is not None and search == "random":
        raise ValueError("--address is of a Ray cluster, which --search random does not use; leave one of them out.")
    hidden, output = NETWORKS[network]
    base = RunConfig(
        rule=rule,
        rule_options=_parse_options(option or []),
        dataset=dataset,
        sizes=parse_sizes(sizes, dataset),
        hidden=hidden,
        output=output,
        negative_slope=negative_slope,
        init=init,
        bias=bias,
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
    ranges = (
        parse_numbers(option, text, "two numbers, e.g. 1e-4,1e-2")
        for option, text in (("--lr-range", lr_range), ("--feedback-lr-range", feedback_lr_range))
    )
    space = job.Space(base, *ranges, configurations)
    data = load_dataset(dataset, data_dir)
    options = {"resume": resume, "overwrite": overwrite}
    with claim(out, command="sweep", default="rfnumeric-sweep", **options) as folder:
        options["out"] = folder
        if search == "random":
            trials = job.random_search(space, data, **options)
        else:
            trials = job.hyperopt_search(space, data, **options, address=address)
        interrupted = any(trial.status == "interrupted" for trial in trials)
        best = None if interrupted else job.best(trials)
        final = None if best is None else job.train_best(trials[best], data, **options)
        publish(space, trials, best, final, search=search, out=folder, as_json=as_json)
    if interrupted or (final and final.interrupted):
        raise typer.Exit(EXIT_INTERRUPTED)


def _check_name(option: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(f"{option} must be one of {', '.join(known)}; got {name!r}.")


def _parse_options(pairs: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE pairs; a value is a number or true or false where it can be read as JSON, else a word."""
    options = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--option must be NAME=VALUE, e.g. normalize=false; got {pair!r}.")
        try:
            options[name.strip().replace("-", "_")] = json.loads(text)
        except json.JSONDecodeError:
            options[name.strip().replace("-", "_")] = text.strip()
    return options
