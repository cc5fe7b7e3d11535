"""The papers' search for learning rates (v2 A.1): what is searched, random search as one population, and the choice."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rfnumeric import published
from rfnumeric.datasets import Dataset
from rfnumeric.errors import BackendError
from rfnumeric.experiments.compare import hold_out
from rfnumeric.experiments.progress import run_progress
from rfnumeric.training import Member, Run, RunConfig, train

SEARCHES = ("hyperopt", "random")
CONFIGURATIONS = 20
"""Configurations tried for each algorithm (v2 A.1)."""

FEEDBACK_OPTIONS = {"rf-parallel": "feedback_lr"}
"""Rule → the option that is the papers' feedback learning rate."""

POPULATION_FOLDER, TRIALS_FOLDER, BEST_FOLDER = "population", "trials", "best"


@dataclass(frozen=True)
class Space:
    """What is searched: a forward learning rate and, where the rule has one, a feedback learning rate.

    Attributes
    ----------
    base : RunConfig
        Everything that is not searched; its `lr` is not used, and its `epochs` are the most that a trial gets.
    lr, feedback_lr : (float, float)
        Ends of the rates' domains, within which they are drawn log-uniformly (v2 Table 2).
    configurations : int
        Number of trials.

    Raises
    ------
    ValueError
        If a domain or a number is out of its range, or the base is a population.
    """

    base: RunConfig
    lr: tuple[float, float] = published.SEARCH["forward"]
    feedback_lr: tuple[float, float] = published.SEARCH["feedback"]
    configurations: int = CONFIGURATIONS

    def __post_init__(self) -> None:
        for option, ends in (("--lr-range", self.lr), ("--feedback-lr-range", self.feedback_lr)):
            if len(ends) != 2 or not 0 < ends[0] <= ends[1] < math.inf:
                raise ValueError(
                    f"{option} must be two positive numbers, the smaller first, e.g. 1e-4,1e-2; got {ends}."
                )
        if self.configurations < 1:
            raise ValueError(f"--configurations must be at least 1; got {self.configurations}.")
        if self.base.epochs < 1:
            raise ValueError(f"--epochs must be at least 1; got {self.base.epochs}.")
        if self.base.population is not None:
            raise ValueError("a search trains each configuration once; give one seed, and one value of each option.")

    @property
    def domains(self) -> dict[str, tuple[float, float]]:
        """Name of each rate that is searched → the ends of its domain."""
        feedback = FEEDBACK_OPTIONS.get(self.base.rule)
        return {"lr": self.lr, **({feedback: self.feedback_lr} if feedback else {})}

    def configure(self, rates: dict[str, Any]) -> RunConfig:
        """Return the settings of one trial, or with tuples those of several as one population.

        Parameters
        ----------
        rates : dict
            A value for each name in `domains`.
        """
        options = {name: value for name, value in rates.items() if name != "lr"}
        return replace(self.base, lr=rates["lr"], rule_options={**self.base.rule_options, **options})

    def draw(self) -> dict[str, tuple[float, ...]]:
        """Draw all configurations log-uniformly, from the seed of the runs."""
        rng = np.random.default_rng(self.base.seed)
        ends = np.log(list(self.domains.values()))
        drawn = np.exp(rng.uniform(ends[:, 0], ends[:, 1], (self.configurations, len(ends))))
        return {name: tuple(drawn[:, i].tolist()) for i, name in enumerate(self.domains)}

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON types."""
        return {**asdict(self), "base": self.base.to_json(), "lr": list(self.lr), "feedback_lr": list(self.feedback_lr)}


def random_search(space: Space, dataset: Dataset, *, out: Path, resume: bool) -> list[Member]:
    """Train all configurations to the last epoch, as one population on one device.

    Parameters
    ----------
    space : Space
    dataset : Dataset
        A fifth of its training set is held out (`compare.hold_out`); its test set is not looked at.
    out : Path
        Folder; the population's checkpoint and history go into ``population/`` below it.
    resume : bool
        Go on from that checkpoint; the result is bit for bit that of a search that was never interrupted.

    Returns
    -------
    list of Member
        One a configuration; their test accuracies are those on the held-out fifth.
    """
    config = space.configure(space.draw())
    label = f"{space.base.rule}: {space.configurations} configurations"
    with run_progress(label, config.epochs) as progress:
        return train(config, hold_out(dataset), out=out / POPULATION_FOLDER, resume=resume, progress=progress).members


def hyperopt_search(space: Space, dataset: Dataset, *, out: Path, resume: bool, address: str | None) -> list[Member]:
    """Search with HyperOpt and ASHA on Ray Tune; see `sweep_ray.search`.

    Raises
    ------
    BackendError
        If Ray Tune or HyperOpt is not installed.
    """
    missing = [name for name in ("ray", "hyperopt") if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(
            f"--search hyperopt needs Ray Tune and HyperOpt; {' and '.join(missing)} cannot be found. "
            "Install the extra `sweep` (pip install 'rfnumeric[sweep]'), or use --search random."
        )
    from rfnumeric.experiments import sweep_ray

    return sweep_ray.search(space, hold_out(dataset), out=out, resume=resume, address=address)


def best(trials: Sequence[Member]) -> int | None:
    """Return the index of the best trial: the highest held-out accuracy after the last epoch.

    Only trials that trained to the last epoch are candidates: those that the scheduler stopped lost, and those that
    diverged have no accuracy. Of equals the smaller forward rate.

    Parameters
    ----------
    trials : sequence of Member

    Returns
    -------
    int or None
        None if no trial trained to the end.
    """
    complete = [k for k, trial in enumerate(trials) if trial.status == "completed"]
    return min(complete, key=lambda k: (-trials[k].records[-1].test_accuracy, trials[k].config.lr), default=None)


def train_best(trial: Member, dataset: Dataset, *, out: Path, resume: bool) -> Run:
    """Train the chosen configuration anew on the whole training set; only this run sees the test set.

    Parameters
    ----------
    trial : Member
    dataset : Dataset
    out : Path
        Folder; checkpoint and history go into ``best/`` below it.
    resume : bool

    Returns
    -------
    Run
    """
    with run_progress(f"{trial.config.rule}: best of the search", trial.config.epochs) as progress:
        return train(trial.config, dataset, out=out / BEST_FOLDER, resume=resume, progress=progress)
