"""What commands share: types of their options, and the parsers of texts that hold several values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_USAGE, EXIT_INTERRUPTED = 2, 130
MOST = 1_000_000
"""Seeds, networks or trials that one call may ask for: more than anyone trains, and few enough to be counted."""

Out = Annotated[Path | None, typer.Option(help="Folder for results.json and plots.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the JSON of results.json to standard output.")]
DataDir = Annotated[Path | None, typer.Option(help="Of data sets; else $RFNUMERIC_DATA, a cache.")]
BackendName = Annotated[str, typer.Option(help="numpy, cupy, torch, array-api-strict or jax.")]
DeviceName = Annotated[str | None, typer.Option(help="E.g. 0 (CuPy) or cuda:0 (PyTorch).")]
DTypeName = Annotated[str, typer.Option(help="float32 or float64.")]
BatchSize = Annotated[int, typer.Option(help="Samples of a batch.")]
Slope = Annotated[float, typer.Option(help="Negative slope of the leaky activations.")]
NetworkName = Annotated[str, typer.Option(help="papers, mlp (with --sizes), lenet, local or vgg.")]
Sizes = Annotated[str | None, typer.Option(help="mlp: widths n_0,…,n_L.")]
InputScale = Annotated[str, typer.Option(help="symmetric: pixels in [-1, 1]; unit: in [0, 1].")]
Initializer = Annotated[str, typer.Option(help="he-normal, lecun-uniform or orthogonal.")]
Bias = Annotated[bool, typer.Option("--bias/--no-bias", help="Biases; the papers have none.")]
OptimizerName = Annotated[str, typer.Option(help="sgd, momentum or adam.")]
Schedule = Annotated[str, typer.Option(help="constant, or linear or cosine to 0.")]
RuleName = Annotated[str, typer.Option(help="Learning rule; rfnumeric rules lists them.")]
DatasetName = Annotated[str, typer.Option(help="mnist-5k, mnist, fashion-mnist or cifar-10.")]
WithMetrics = Annotated[
    bool,
    typer.Option(
        "--metrics",
        help="After each epoch, measure what docs/metrics.md lists.",
    ),
]
MetricsEvery = Annotated[int | None, typer.Option(help="The same, every so many epochs.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training set.")]
Seed = Annotated[int, typer.Option(help="Seed of weights, batches and noise.")]
Seeds = Annotated[int, typer.Option(max=MOST, help="Seeds 0, 1, …, trained as one population.")]
Quick = Annotated[bool, typer.Option(help="A small version, on the embedded digits: a minute or two.")]
Resume = Annotated[bool, typer.Option(help="Go on from what --out already holds.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")]


def default_out(name: str, what: str) -> Any:
    """Return the type of an ``--out`` that has a default folder, which holds `what` afterwards."""
    return Annotated[Path | None, typer.Option(help=f"Folder for {what}. Default: {name}; if taken, {name}-2, ….")]


def load_dataset(dataset: str, data_dir: Path | None) -> Any:
    """Load a data set, with a bar where it must be downloaded."""
    from rfnumeric.datasets import load

    return load(dataset, data_dir, progress=True)


def parse_sizes(text: str | None, dataset: str) -> tuple[int, ...]:
    """Read widths; without any, give the papers' network for the data set."""
    if text is None:
        from rfnumeric.training import PAPER_SIZES

        return PAPER_SIZES["cifar-10" if dataset == "cifar-10" else "mnist"]
    try:
        return tuple(int(part) for part in parse_names(text))
    except ValueError as error:
        raise ValueError(f"--sizes must be widths separated by commas, e.g. 784,100,10; got {text!r}.") from error


def parse_numbers(
    option: str, text: str, wanted: str = "numbers separated by commas, e.g. 0.001 or 0.001,0.01"
) -> tuple[float, ...]:
    """Read numbers separated by commas, at least one, for the option of that name."""
    try:
        numbers = tuple(float(part) for part in parse_names(text))
    except ValueError:
        numbers = ()
    if not numbers:
        raise ValueError(f"{option} must be {wanted}; got {text!r}.")
    return numbers


def parse_integers(option: str, text: str) -> list[int]:
    """Read whole numbers from 1 to a million, separated by commas, for the option of that name."""
    wanted = f"whole numbers from 1 to {MOST} separated by commas, e.g. 2,5"
    numbers = parse_numbers(option, text, wanted)
    if not all(number.is_integer() and 1 <= number <= MOST for number in numbers):
        raise ValueError(f"{option} must be {wanted}; got {text!r}.")
    return [int(number) for number in numbers]


def parse_metrics(metrics: bool, every: int | None) -> int | None:
    """Read how many epochs lie between measurements; None for none."""
    return 1 if metrics and every is None else every


def parse_names(text: str) -> list[str]:
    """Split a list at its commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
