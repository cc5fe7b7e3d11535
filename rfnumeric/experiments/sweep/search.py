"""The two searches, random as one population or HyperOpt with ASHA on Ray Tune, and the choice of the best trial."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from rfnumeric.datasets import Dataset
from rfnumeric.errors import BackendError
from rfnumeric.experiments.compare import hold_out
from rfnumeric.experiments.progress import run_progress
from rfnumeric.experiments.sweep.space import Space
from rfnumeric.training import Member, Run, train
from rfnumeric.training.folder import begin

SEARCHES = ("hyperopt", "random")
POPULATION_FOLDER, BEST_FOLDER = "population", "best"


def random_search(space: Space, dataset: Dataset, *, out: Path, resume: bool, overwrite: bool = False) -> list[Member]:
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
    overwrite : bool
        Replace it.

    Returns
    -------
    list of Member
        One a configuration; their test accuracies are those on the held-out fifth.
    """
    begin(out)
    config = space.configure(space.draw())
    label = f"{space.base.rule}: {space.configurations} configurations"
    again = {"resume": resume, "overwrite": overwrite}
    with run_progress(label, config.epochs) as progress:
        return train(config, hold_out(dataset), out=out / POPULATION_FOLDER, progress=progress, **again).members


def hyperopt_search(
    space: Space, dataset: Dataset, *, out: Path, resume: bool, address: str | None, overwrite: bool = False
) -> list[Member]:
    """Search with HyperOpt and ASHA on Ray Tune; see `ray_tune.search`.

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
    from rfnumeric.experiments.sweep import ray_tune

    return ray_tune.search(space, hold_out(dataset), out=out, resume=resume, overwrite=overwrite, address=address)


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


def train_best(trial: Member, dataset: Dataset, *, out: Path, resume: bool, overwrite: bool = False) -> Run:
    """Train the chosen configuration anew on the whole training set; only this run sees the test set.

    Parameters
    ----------
    trial : Member
    dataset : Dataset
    out : Path
        Folder; checkpoint and history go into ``best/`` below it.
    resume, overwrite : bool
        Go on from those, or replace them.

    Returns
    -------
    Run
    """
    with run_progress(f"{trial.config.rule}: best of the search", trial.config.epochs) as progress:
        again = {"resume": resume, "overwrite": overwrite}
        return train(trial.config, dataset, out=out / BEST_FOLDER, progress=progress, **again)
