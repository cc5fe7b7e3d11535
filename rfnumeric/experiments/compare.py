"""The main job: the learning rules side by side on real digits, as published and as described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rfnumeric.datasets import Dataset
from rfnumeric.experiments.progress import run_progress
from rfnumeric.experiments.report import diagnoses, draw_metrics, report, runs_table, show
from rfnumeric.plotting import learning_curves
from rfnumeric.rules import rule_names
from rfnumeric.training import Run, RunConfig, history_lines, train
from rfnumeric.training.files import write_json_lines

NETWORKS = {
    "published": ("identity", "leaky-relu"),
    "described": ("leaky-relu", "leaky-relu"),
}
"""Name → (hidden, output) activation. The published numbers are what identity hidden activations give; the text
describes leaky-ReLU hidden layers (v1/v2 §5)."""

CANDIDATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Learning rates that `tune` tries, one population of them for each rule and network."""

LEARNING_RATES: dict[str, dict[str, float]] = {
    "published": {
        "backprop": 1e-3,
        "feedback-alignment": 1e-2,
        "rf-two-phase": 1.0,
        "rf-parallel": 1.0,
        "pseudo-backprop": 3e-3,
    },
    "described": {
        "backprop": 3e-3,
        "feedback-alignment": 1e-2,
        "rf-two-phase": 3e-5,
        "rf-parallel": 3e-5,
        "pseudo-backprop": 3e-2,
    },
}
"""Network → rule → rate: `tune`'s choice for the defaults of ``rfnumeric compare``, tried rule by rule on those
`CANDIDATES` that neighbour the best. Described reciprocal feedback diverged at all from the smallest up."""


@dataclass(frozen=True)
class Comparison:
    """One rule on one network.

    Attributes
    ----------
    network : str
        ``"published"`` or ``"described"``.
    run : Run
    """

    network: str
    run: Run

    def results(self) -> list[dict[str, Any]]:
        """Return the runs' lines of ``results.json``."""
        return [{"network": self.network, **result} for result in self.run.results()]


def configure(base: RunConfig, network: str, rule: str, learning_rates: dict[str, dict[str, float]]) -> RunConfig:
    """Return `base` with the activations of `network`, the rule and its learning rate."""
    hidden, output = NETWORKS[network]
    lr = learning_rates.get(network, {}).get(rule, base.lr)
    return replace(base, rule=rule, hidden=hidden, output=output, lr=lr)


def tune(config: RunConfig, dataset: Dataset, candidates: Sequence[float] = CANDIDATES) -> float:
    """Choose the learning rate with the best accuracy on a held-out fifth of the training set.

    Parameters
    ----------
    config : RunConfig
        Its own `lr` is not used.
    dataset : Dataset
        Its test set is not looked at.
    candidates : sequence of float
        Trained side by side, as one population.

    Returns
    -------
    float
        The best after the last epoch; the smaller one of equals. If all diverge, the smallest.
    """
    run = train(replace(config, lr=tuple(candidates)), hold_out(dataset))
    accuracies = [m.accuracy_or(-1.0) for m in run.members]
    return candidates[int(np.argmax(accuracies))]


def tune_all(
    base: RunConfig, dataset: Dataset, *, networks: Sequence[str], rules: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return network → rule → the rate that `tune` chooses."""
    _check_names("--network", networks, NETWORKS)
    _check_names("--rules", rules, rule_names())
    return {n: {r: tune(configure(base, n, r, {}), dataset) for r in rules} for n in networks}


def hold_out(dataset: Dataset) -> Dataset:
    """Return a data set whose test set is every fifth sample of each class of the training set."""
    images, labels = dataset.train_images, dataset.train_labels
    held = np.zeros(len(labels), dtype=bool)
    for label in range(dataset.n_classes):
        held[np.flatnonzero(labels == label)[4::5]] = True
    return replace(
        dataset,
        train_images=images[~held],
        train_labels=labels[~held],
        test_images=images[held],
        test_labels=labels[held],
    )


def compare(
    base: RunConfig,
    dataset: Dataset,
    *,
    networks: Sequence[str],
    rules: Sequence[str],
    learning_rates: dict[str, dict[str, float]],
    metrics_every: int | None = None,
) -> list[Comparison]:
    """Train every rule on every network with one protocol.

    Parameters
    ----------
    base : RunConfig
        Protocol: everything but rule, activations and learning rate.
    dataset : Dataset
    networks, rules : sequence of str
        Keys of `NETWORKS` and of `rfnumeric.rules.rule_names`.
    learning_rates : dict
        Network → rule → rate; ``base.lr`` where it says nothing.
    metrics_every : int, optional
        As for `rfnumeric.training.train`.

    Returns
    -------
    list of Comparison
        Ends early, with an interrupted run, after Ctrl-C.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    _check_names("--network", networks, NETWORKS)
    _check_names("--rules", rules, rule_names())
    done: list[Comparison] = []
    for network in networks:
        for rule in rules:
            config = configure(base, network, rule, learning_rates)
            with run_progress(f"{network}: {rule}", config.epochs) as progress:
                done.append(Comparison(network, train(config, dataset, progress=progress, metrics_every=metrics_every)))
            if done[-1].run.interrupted:
                return done
    return done


def _check_names(option: str, names: Sequence[str], known: Any) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"{option} must name some of {', '.join(known)}; got {', '.join(unknown) or 'none'}.")


def publish(comparisons: Sequence[Comparison], *, out: Path, as_json: bool) -> None:
    """Write results, history and figures into `out`, and print one table a network."""
    document = report([r for c in comparisons for r in c.results()], out=out)
    lines = (line for c in comparisons for line in history_lines(c.run.members, network=c.network))
    write_json_lines(out / "history.jsonl", lines)
    networks = list(dict.fromkeys(c.network for c in comparisons))
    panels, parts = [], []
    for network in networks:
        of_network = [c for c in comparisons if c.network == network]
        hidden, output = NETWORKS[network]
        title = f"As {network}: {hidden} hidden layers, {output} output"
        panels.append((title, [(m.config.rule, m.records) for c in of_network for m in c.run.members]))
        parts.append(runs_table(title, [r for c in of_network for r in c.results()]))
        parts += diagnoses([m for c in of_network for m in c.run.members])
    config = comparisons[0].run.config
    learning_curves(
        out / "curves.png", panels, title=f"{config.dataset}, {config.network_name}, batch {config.batch_size}"
    )
    files = ["results.json", "history.jsonl", "curves.png"]
    for network in networks:
        members = [m for c in comparisons if c.network == network for m in c.run.members]
        files += draw_metrics(
            out / f"metrics-{network}.png", members, title=f"{config.dataset}, {config.network_name}, as {network}"
        )
    show(document, *parts, f"Wrote {', '.join(files)} to {out}", as_json=as_json)
