"""What the benchmarks are held to: each target with its limit, and the exponents at which costs should grow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rfnumeric.bench.timing import paired_ratio
from rfnumeric.training.files import plain

Results = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """A number that the results must show.

    Attributes
    ----------
    text : str
        What is measured.
    limit : float
    at_most : bool
        Whether the number must not exceed the limit; else it must reach it.
    unit : str
        Of number and limit; empty for a ratio.
    number : callable
        Takes the results and returns the number, or None where it was not measured.
    """

    text: str
    limit: float
    at_most: bool
    unit: str
    number: Callable[[Results], float | None]

    def evaluate(self, results: Results) -> dict[str, Any]:
        """Return the target's line of the report; ``met`` is None where the number was not measured."""
        measured = self.number(results)
        met = None if measured is None else (measured <= self.limit if self.at_most else measured >= self.limit)
        return {
            "target": self.text,
            "limit": self.limit,
            "at_most": self.at_most,
            "unit": self.unit,
            "measured": measured,
            "met": met,
        }


def find(results: Results, name: str, **params: Any) -> dict[str, Any] | None:
    """Return the first result of that name whose parameters include `params`."""
    wanted = plain(params)  # a shape is a tuple in a benchmark, and a list in JSON
    for result in results:
        if result["name"] == name and wanted.items() <= plain(result["params"]).items():
            return result
    return None


def seconds(results: Results, name: str, **params: Any) -> float | None:
    """Return a result's median seconds, or None."""
    found = find(results, name, **params)
    return found["median_s"] if found else None


def ratio(name: str, of: str, to: str, **params: Any) -> Callable[[Results], float | None]:
    """Return a function that gives contestant `of`'s time over contestant `to`'s, or None where one is missing."""

    def number(results: Results) -> float | None:
        return _over(*(find(results, name, contestant=c, **params) for c in (of, to)))

    return number


def _over(one: dict[str, Any] | None, other: dict[str, Any] | None) -> float | None:
    """Return one result's time over the other's, round by round; None where one is missing."""
    return paired_ratio(one["samples_s"], other["samples_s"]) if one and other else None


def worst(name: str, scale: float = 1.0, **params: Any) -> Callable[[Results], float | None]:
    """Return a function that gives the largest value (or median) of the results of one name, times `scale`."""

    def number(results: Results) -> float | None:
        found = [r.get("value", r.get("median_s")) for r in results if r["name"] == name]
        kept = [
            v
            for v, r in zip(found, [r for r in results if r["name"] == name], strict=True)
            if params.items() <= r["params"].items()
        ]
        return scale * max(kept) if kept else None

    return number


def _steps(network: str, limits: tuple[float, float, float, float], backend: str = "numpy") -> list[Target]:
    name, same = (
        "steps.Step.time_twenty_steps",
        {"network": network, "batch": 32, "dtype": "float32", "backend": backend},
    )
    eager, bare, two_phase, parallel = limits
    return [
        Target(f"{text}, {network} network", limit, True, "", ratio(name, of, to, **same))
        for text, limit, of, to in (
            ("backprop step / PyTorch eager", eager, "backprop", "PyTorch eager"),
            ("backprop step / bare products", bare, "backprop", "bare products"),
            ("feedback alignment / PyTorch eager", eager, "feedback-alignment", "PyTorch feedback alignment"),
            ("feedback alignment / bare products", bare, "feedback-alignment", "bare products with feedback"),
            ("two-phase with its sleep / backprop", two_phase, "rf-two-phase", "backprop"),
            ("parallel / backprop", parallel, "rf-parallel", "backprop"),
        )
    ]


def faster(benchmark: str, peer: str, **params: Any) -> Callable[[Results], float | None]:
    """Return a function that gives a peer's time over ours: ``benchmark.time_<peer>`` over ``.time_auto``."""

    def number(results: Results) -> float | None:
        return _over(*(find(results, f"{benchmark}.time_{who}", **params) for who in (peer, "auto")))

    return number


def _refresh(results: Results) -> float | None:
    """Return the milliseconds of refreshing W_2⁺ … W_5⁺, scaled to a machine of 200 GFLOP/s."""
    refresh = seconds(results, "linalg.Refresh.time_auto", dtype="float32")
    product = seconds(results, "linalg.Product.time_product", n=2000)
    return None if refresh is None or product is None else 1e3 * refresh * (2 * 2000**3 / product) / 200e9


PINV_SHAPES = ((400, 784), (200, 400), (1000, 3072), (500, 1000), (100, 10, 10))


def _inverses() -> list[Target]:
    targets = [
        Target(
            f"scipy.linalg.pinv / pinv, {'×'.join(map(str, shape))}, {dtype}",
            limit,
            False,
            "",
            faster("linalg.Pinv", "scipy", shape=shape, dtype=dtype),
        )
        for dtype, limit in (("float32", 5), ("float64", 3))
        for shape in PINV_SHAPES
    ]
    targets.append(Target("pinv of W_2 … W_5, float32, scaled to 200 GFLOP/s", 4, True, " ms", _refresh))
    for dtype in ("float32", "float64"):
        for peer, limit in (("plain_loop", 8), ("batched_matmul", 1)):
            text = f"coupled rule, 100 pairs: {peer.replace('_', ' ')} / ours, {dtype}"
            targets.append(Target(text, limit, False, "", faster("linalg.Coupled", peer, dtype=dtype)))
    return targets


def _accuracy_lost(results: Results) -> float | None:
    """Accuracy of the papers' way minus ours, in points; negative where ours is better."""
    name = "epoch.PapersWay.track_accuracy"
    ours, theirs = (find(results, name, contestant=c) for c in ("rf-two-phase", "pinv of every layer"))
    return None if ours is None or theirs is None else theirs["value"] - ours["value"]


def _slowest_kernel(results: Results) -> float | None:
    """Return the largest ratio of a CPU kernel's time to its reference's, over all sizes.

    Of those that are no products: NumPy's products, beside SciPy's in one process, show the quarrel of two BLAS.
    """
    name = "kernels.Kernels.time_call"
    params = [r["params"] for r in results if r["name"] == name and r["params"]["backend"] == "numpy"]
    cases = [{key: value for key, value in p.items() if key != "contestant"} for p in params]
    ratios = [ratio(name, "kernel", "reference", **case)(results) for case in cases]
    return max((value for value in ratios if value is not None), default=None)


POPULATION = {"K": 20, "rule": "backprop", "backend": "numpy"}

TARGETS = (
    *_inverses(),
    *_steps("mnist", (0.80, 1.3, 1.25, 1.6)),
    *_steps("cifar-10", (0.75, 1.2, 1.3, 1.7)),
    Target(
        "papers' way, torch.linalg.pinv of every layer at every step / two-phase, an epoch's steps",
        25,
        False,
        "",
        ratio("steps.PapersWay.time_steps", "pinv of every layer", "rf-two-phase"),
    ),
    Target("accuracy after an epoch, papers' way minus two-phase", 0.5, True, " points", _accuracy_lost),
    Target(
        "epoch of MNIST with data pipeline and evaluation / its steps",
        1.15,
        True,
        "",
        ratio("epoch.Epoch.time_epoch", "epoch", "its steps", dataset="mnist", rule="backprop"),
    ),
    *(
        Target(
            f"20 networks in one call / 20 calls, {network} network",
            0.9,
            True,
            "",
            ratio("population.Population.time_twenty_steps", "one call", "K calls", network=network, **POPULATION),
        )
        for network in ("mnist", "narrow")
    ),
    Target(
        "peak memory of training on CIFAR-10, data set included",
        700,
        True,
        " MiB",
        worst("memory.Training.peakmem_train_cifar10", 2.0**-20),
    ),
    Target(
        "peak memory of a layer's Kronecker reciprocal / the layer's own size",
        2,
        True,
        "",
        worst("memory.Reciprocal.track_peak"),
    ),
    Target("slowest elementwise CPU kernel / its reference", 1, True, "", _slowest_kernel),
    Target("rfnumeric --help", 0.4, True, " s", worst("startup.Startup.time_process", contestant="rfnumeric --help")),
    Target("import rfnumeric", 0.3, True, " s", worst("startup.Startup.time_process", contestant="import rfnumeric")),
    Target(
        "GPU: PyTorch eager / a step, batch 32",
        3,
        False,
        "",
        ratio("steps.Step.time_twenty_steps", "PyTorch eager", "backprop", network="mnist", batch=32, backend="cupy"),
    ),
    Target(
        "GPU: 20 networks / one network",
        2,
        True,
        "",
        ratio(
            "population.Population.time_twenty_steps",
            "one call",
            "one network",
            network="mnist",
            **{**POPULATION, "backend": "cupy"},
        ),
    ),
    Target(
        "GPU: cupy.linalg.pinv / pinv, 1000×3072",
        20,
        False,
        "",
        ratio(
            "inverses.Engines.time_pinv",
            "cupy.linalg.pinv",
            "auto",
            shape=(1000, 3072),
            backend="cupy",
            dtype="float32",
        ),
    ),
)
"""All of them; a topic that did not run leaves its targets without a number."""

ARITHMETIC = {"width": 2.0, "depth": 1.0, "batch": 1.0, "population": 1.0}
"""Quantity → exponent at which the number of operations of a step grows with it."""


def exponents(results: Results) -> list[dict[str, Any]]:
    """Fit time ∝ value^p to `scaling.Growth`, for each quantity and rule.

    Parameters
    ----------
    results : sequence of dict

    Returns
    -------
    list of dict
        ``rule``, ``quantity``, ``values``, ``exponent`` (least squares of log time over log value, all points),
        ``last`` (between the two largest values, where overheads weigh least) and ``operations`` (the exponent of the
        number of operations).
    """
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for result in results:
        if result["name"] == "scaling.Growth.time_twenty_steps":
            quantity, value = result["params"]["case"].split()
            series.setdefault((result["params"]["rule"], quantity), []).append((float(value), result["median_s"]))
    fits = []
    for (rule, quantity), points in series.items():
        if len(points) >= 2:
            points = sorted(points)
            fits.append({
                "rule": rule,
                "quantity": quantity,
                "values": [value for value, _ in points],
                "exponent": slope(points),
                "last": slope(points[-2:]),
                "operations": ARITHMETIC[quantity],
            })
    return fits


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares slope of log y over log x.

    Examples
    --------
    >>> round(slope([(1.0, 3.0), (2.0, 12.0), (4.0, 48.0)]), 12)
    2.0
    """
    x, y = ([math.log(p[i]) for p in points] for i in (0, 1))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    squares = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / squares
