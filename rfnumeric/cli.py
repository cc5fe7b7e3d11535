"""The command line: ``rfnumeric`` and ``python -m rfnumeric``.

Commands read their options here and import the rest when they run, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rfnumeric._version import __version__
from rfnumeric.errors import RFNumericError

app = typer.Typer(
    help="Reference engine for reciprocal (Moore-Penrose pseudoinverse) feedback in neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
reproduce_app = typer.Typer(help="Run the papers' tables and figures again.", no_args_is_help=True)
app.add_typer(reproduce_app, name="reproduce")
datasets_app = typer.Typer(help="List, fetch and verify data sets.", no_args_is_help=True)
app.add_typer(datasets_app, name="datasets")

EXIT_USAGE, EXIT_INTERRUPTED = 2, 130

Out = Annotated[Path | None, typer.Option(help="Folder for results.json and plots.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the JSON of results.json to standard output.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of the data sets. Default: $RFNUMERIC_DATA, else a cache.")]
BackendName = Annotated[str, typer.Option(help="numpy, cupy, torch or array-api-strict.")]
DeviceName = Annotated[str | None, typer.Option(help="Device of the backend, e.g. 0 (CuPy) or cuda:0 (PyTorch).")]
DTypeName = Annotated[str, typer.Option(help="float32 or float64.")]
BatchSize = Annotated[int, typer.Option(help="Samples of a batch.")]
Slope = Annotated[float, typer.Option(help="Negative slope of the leaky activations.")]
Sizes = Annotated[str | None, typer.Option(help="Widths n_0,…,n_L. Default: the papers' network for the data set.")]
InputScale = Annotated[str, typer.Option(help="symmetric: pixels in [-1, 1]; unit: in [0, 1].")]
Initializer = Annotated[str, typer.Option(help="he-normal, lecun-uniform or orthogonal.")]
Bias = Annotated[bool, typer.Option("--bias/--no-bias", help="Biases; the papers' equations have none.")]
OptimizerName = Annotated[str, typer.Option(help="sgd, momentum or adam.")]
Schedule = Annotated[str, typer.Option(help="The learning rate over the run: constant, linear or cosine, to 0.")]
RuleName = Annotated[
    str,
    typer.Option(
        help="backprop, feedback-alignment, rf-two-phase, rf-parallel, pseudo-backprop, mean-reciprocal, "
        "mean-reciprocal-learned or batch-reciprocal."
    ),
]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Take the options that stand before any command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def compare(
    network: Annotated[
        str, typer.Option(help="published (identity hidden layers), described (leaky ReLU) or both.")
    ] = "both",
    rules: Annotated[
        str, typer.Option(help="Rules to run, separated by commas.")
    ] = "backprop,feedback-alignment,rf-two-phase,rf-parallel,pseudo-backprop",
    dataset: Annotated[str, typer.Option(help="mnist-5k, mnist, fashion-mnist or cifar-10.")] = "mnist-5k",
    data_dir: DataDir = None,
    sizes: Sizes = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 40,
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
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and noise.")] = 0,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float32",
    out: Annotated[Path, typer.Option(help="Folder for results.json, history.jsonl and curves.png.")] = Path(
        "rfnumeric-compare"
    ),
    as_json: AsJson = False,
) -> None:
    """Train the rules side by side and print a table in the form of the papers' Table 1."""
    from rfnumeric.experiments import compare as job
    from rfnumeric.experiments.report import console
    from rfnumeric.training import RunConfig

    data = _load(dataset, data_dir)
    base = RunConfig(
        dataset=dataset,
        sizes=_sizes(sizes, dataset),
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
    names = _names(rules)
    screen = console(as_json)
    if tune:
        rates = job.tune_all(base, data, networks=networks, rules=names)
        screen.print(f"Learning rates chosen on a held-out fifth of the training set: {rates}", highlight=False)
    else:
        rates = job.LEARNING_RATES if lr is None and optimizer == "sgd" else {}
    comparisons = job.compare(base, data, networks=networks, rules=names, learning_rates=rates)
    job.publish(comparisons, out=out, as_json=as_json, console=screen)
    if comparisons[-1].run.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command()
def train(
    rule: RuleName = "backprop",
    dataset: Annotated[str, typer.Option(help="mnist-5k, mnist, fashion-mnist or cifar-10.")] = "mnist-5k",
    data_dir: DataDir = None,
    sizes: Sizes = None,
    hidden: Annotated[str, typer.Option(help="identity, leaky-relu, leaky-softplus or tanh.")] = "leaky-relu",
    output: Annotated[str, typer.Option(help="Activation of the last layer; as --hidden.")] = "leaky-relu",
    negative_slope: Slope = 0.01,
    init: Initializer = "he-normal",
    gain: Annotated[float, typer.Option(help="Factor on the initial weights.")] = 1.0,
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
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and noise.")] = 0,
    population: Annotated[
        int | None, typer.Option(help="Train this many networks in one call, with seeds SEED, SEED + 1, ….")
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
            "recirculation. (default: auto)"
        ),
    ] = None,
    own_layer: Annotated[
        str | None,
        typer.Option(help="rf-*: the own layer's factor: reciprocal (D⁺), derivative (D), none. (default: reciprocal)"),
    ] = None,
    normalize: Annotated[
        bool | None, typer.Option("--normalize/--no-normalize", help="rf-*: divide by ‖h‖². (default: normalize)")
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
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in --out.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for results.json, history.jsonl, checkpoint.npz, curves.png.")
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
        "reciprocal_lr": reciprocal_lr,
        "noise": noise,
        "sleep_every": sleep_every,
    }
    of_optimizer = {"momentum": momentum, "beta1": beta1, "beta2": beta2, "epsilon": epsilon}
    if resume and out is None:
        raise ValueError("--resume needs --out, the folder that holds the checkpoint.")
    config = RunConfig(
        rule=rule,
        rule_options={name: value for name, value in given.items() if value is not None},
        dataset=dataset,
        sizes=_sizes(sizes, dataset),
        hidden=hidden,
        output=output,
        negative_slope=negative_slope,
        init=init,
        gain=gain,
        bias=bias,
        loss=loss,
        lr=_numbers(lr),
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
    run = single.run(config, _load(dataset, data_dir), out=out, resume=resume, as_json=as_json)
    if run.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command()
def audit(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Claims, e.g. J05. Default: all.")] = None,
    html: Annotated[Path | None, typer.Option(help="File for a self-contained page.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the drawn instances.")] = 0,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float64",
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Measure the papers' claims and compare each with its recorded verdict; exit 1 if one is contradicted."""
    from rfnumeric.audit.cli import audit as job

    options = {"seed": seed, "dtype": dtype, "backend": backend, "device": device}
    raise typer.Exit(job(ids or [], **options, as_json=as_json, out=out, html=html))


@app.command()
def bench(
    topics: Annotated[list[str] | None, typer.Argument(help="Files of benchmarks/, e.g. steps. Default: all.")] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="numpy, cupy or torch; may be repeated. Default: those usable here.")
    ] = None,
    peers: Annotated[bool, typer.Option(help="Also time PyTorch, SciPy and NumPy at the same work.")] = True,
    quick: Annotated[bool, typer.Option(help="Small sizes and few rounds: a minute or so, to try it out.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads of every library. Default: one a core.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Time kernels, steps, epochs, populations and inverses beside their bounds, their peers and their targets."""
    from rfnumeric.bench import run as job

    job.publish(
        topics or [], backends=backend or [], peers=peers, quick=quick, threads=threads, out=out, as_json=as_json
    )


@app.command()
def info(out: Out = None, as_json: AsJson = False) -> None:
    """Print versions, BLAS and threads, backends and GPUs."""
    from rfnumeric.experiments.info import publish

    publish(out=out, as_json=as_json)


Paper = Annotated[str, typer.Option(help="v1 or v2.")]
PaperNetwork = Annotated[str, typer.Option(help="published (identity hidden layers), described (leaky ReLU) or both.")]
PaperDataset = Annotated[str, typer.Option(help="mnist or cifar-10.")]
PaperEpochs = Annotated[int | None, typer.Option(help="Passes over the training set. Default: the paper's.")]
Quick = Annotated[bool, typer.Option(help="A small version: the embedded digits, few epochs; under a minute.")]
Resume = Annotated[bool, typer.Option(help="Go on from the checkpoints in --out.")]


@reproduce_app.command("table1")
def reproduce_table1(
    paper: Paper = "v1",
    network: PaperNetwork = "published",
    dataset: PaperDataset = "mnist",
    seeds: Annotated[int, typer.Option(help="Seeds 0, 1, …, trained as one population.")] = 3,
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
    _reproduce_runs(paper, network, dataset, data_dir, out, resume, as_json, "curves.png", options)


@reproduce_app.command("figure4")
def reproduce_figure4(
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
    _reproduce_runs(paper, network, dataset, data_dir, out, resume, as_json, "figure4.png", options)


@reproduce_app.command("figure1")
def reproduce_figure1(
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


def _reproduce_runs(
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
    data = _load(job.QUICK_DATASET if options["quick"] else dataset, data_dir)
    rows = job.run_table(paper, networks, dataset, data, out=out, resume=resume, **options)
    job.publish(rows, out=out, as_json=as_json, figure=figure)
    if rows[-1].run.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


@datasets_app.command("list")
def datasets_list(data_dir: DataDir = None, out: Out = None, as_json: AsJson = False) -> None:
    """List the data sets and say which are at hand."""
    from rfnumeric.experiments.data_report import publish_list

    publish_list(data_dir, out=out, as_json=as_json)


@datasets_app.command("fetch")
def datasets_fetch(name: str, data_dir: DataDir = None, out: Out = None, as_json: AsJson = False) -> None:
    """Download what is missing of a data set, and resume a download that was cut short."""
    from rfnumeric.experiments.data_report import publish_fetch

    publish_fetch(name, data_dir, out=out, as_json=as_json)


@datasets_app.command("verify")
def datasets_verify(name: str, data_dir: DataDir = None, out: Out = None, as_json: AsJson = False) -> None:
    """Compare a data set's files with the known checksums."""
    from rfnumeric.experiments.data_report import publish_verify

    if not publish_verify(name, data_dir, out=out, as_json=as_json):
        raise typer.Exit(1)


def _load(dataset: str, data_dir: Path | None) -> Any:
    from rfnumeric.datasets import load

    return load(dataset, data_dir, progress=True)


def _sizes(text: str | None, dataset: str) -> tuple[int, ...]:
    """Read widths; without any, give the papers' network for the data set."""
    if text is None:
        from rfnumeric.training import PAPER_SIZES

        return PAPER_SIZES["cifar-10" if dataset == "cifar-10" else "mnist"]
    try:
        return tuple(int(part) for part in _names(text))
    except ValueError as error:
        raise ValueError(f"--sizes must be widths separated by commas, e.g. 784,100,10; got {text!r}.") from error


def _numbers(text: str) -> float | tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in _names(text))
    except ValueError as error:
        raise ValueError(
            f"--lr must be numbers separated by commas, e.g. 0.001 or 0.001,0.01; got {text!r}."
        ) from error
    if not numbers:
        raise ValueError("--lr must name at least one learning rate; got none.")
    return numbers[0] if len(numbers) == 1 else numbers


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error and exit code 2, a traceback with ``--debug``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        typer.main.get_command(app)([a for a in arguments if a != "--debug"], prog_name="rfnumeric")
    except (RFNumericError, ValueError, TypeError, OSError) as error:
        if debug:
            raise
        print(f"rfnumeric: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
