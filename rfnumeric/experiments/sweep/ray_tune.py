"""The search on Ray Tune: HyperOpt proposes rates, ASHA stops what lags, each trial is a run of `rfnumeric.training`.

Needs the extra ``sweep``; `sweep.hyperopt_search` imports this file when it is asked to.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

# Ray reads these when it is imported: nothing is reported to its makers, nothing is logged beside our own files.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints even when it is told not to
# Trials without a GPU leave CUDA_VISIBLE_DEVICES as it is, which will be Ray's default.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.hyperopt import HyperOptSearch
from threadpoolctl import threadpool_limits

from rfnumeric.datasets import Dataset
from rfnumeric.experiments.progress import TrialsBar, trials_progress
from rfnumeric.experiments.sweep.log import FINAL, TrialLog, trial_name
from rfnumeric.experiments.sweep.space import Space
from rfnumeric.training import EpochRecord, Member, train

RAY_FOLDER = "ray"
GRACE_EPOCHS, REDUCTION_FACTOR = 1, 4
"""ASHA's rungs are at 1, 4, 16, 64 … epochs; a trial goes on past one if it is in its best quarter. Ray's defaults."""

INITIAL_SHARE = 4
"""HyperOpt draws the first 1/4 of the configurations at random, then its model proposes. Ray's default, 20, is all."""

RETRIES = 1
"""A trial whose process dies goes on from its checkpoint this many times before it is recorded as failed."""


def search(
    space: Space, dataset: Dataset, *, out: Path, resume: bool, overwrite: bool = False, address: str | None = None
) -> list[Member]:
    """Search on this machine's cores, or on a Ray cluster.

    Resuming does not use Ray's own saved state, which is up to ten seconds old, leaves out what ASHA has seen, and is
    pickled. The trials of `TrialLog` are proposed anew instead: each reports the epochs in its history again, by which
    HyperOpt and ASHA learn what they knew, and goes on from its checkpoint.

    Parameters
    ----------
    space : Space
    dataset : Dataset
        Its test set is the held-out fifth by which trials are compared. Ray carries it to the machines.
    out : Path
        Folder; each trial's checkpoint and history go into a folder of its own below ``trials/``, Ray's own files into
        ``ray/``. The machines of a cluster must share it.
    resume : bool
        Go on with the search in `out`, if there is one: finished trials stay as they are, the others lose at most one
        epoch.
    overwrite : bool
        Replace it.
    address : str, optional
        Of a running Ray cluster, e.g. ``auto`` or ``host:6379``; this machine if None.

    Returns
    -------
    list of Member
        In the order in which they were begun. The status may also be ``"stopped"`` (by ASHA), ``"failed"`` (the process
        raised an error or died) and, after Ctrl-C, ``"interrupted"``.

    Raises
    ------
    CheckpointError
        If `out` holds a search and `resume` is false, or one with other settings.
    """
    log = TrialLog(space, out.resolve(), resume=resume, overwrite=overwrite)
    if len(log.entries) < space.configurations or any(entry["status"] not in FINAL for entry in log.entries):
        # Standard output is for results: whatever Ray still says goes to standard error.
        with redirect_stdout(sys.stderr), _ray(address), trials_progress(space.base.rule, space.configurations) as bar:
            with _Watch.over(log, bar):
                _tuner(space, dataset, log).fit()
    return log.members()


def run_trial(rates: dict[str, float], space: Space, dataset: Dataset, out: Path, finished: list[str]) -> None:
    """Train one configuration in a process of Ray's, and report its held-out accuracy after each epoch.

    Parameters
    ----------
    rates : dict
        What HyperOpt proposes.
    space, dataset, out
        As for `search`.
    finished : list of str
        Names of the trials of an earlier search that are not to go on.
    """
    name = trial_name(rates)
    earlier = TrialLog.records(out, name)
    for record in earlier[1:]:
        _report(record, replayed=True)
    if name in finished:
        return

    def report(members: list[Member]) -> None:
        _report(members[0].records[-1], replayed=False)

    # Ray runs a trial a core: BLAS must not spread one over all of them.
    with threadpool_limits(1):
        train(space.configure(rates), dataset, out=TrialLog.folder(out, name), resume=True, after_epoch=report)


def _report(record: EpochRecord, *, replayed: bool) -> None:
    # A diverged trial has no accuracy (NaN): to the search it is worth nothing, and the table calls it diverged.
    accuracy = record.test_accuracy if record.test_accuracy >= 0 else 0.0
    tune.report({"accuracy": accuracy, "epoch": record.epoch, "replayed": replayed})


class _ASHA(ASHAScheduler):
    """ASHA, which learns from the epochs of a resumed search but decides on new ones only."""

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision = super().on_trial_result(controller, trial, result)
        return self.CONTINUE if result["replayed"] else decision


class _Watch(tune.Callback):
    """Keeps the log and moves the bar. Ray pickles its callbacks, so both hang on the class."""

    log: TrialLog | None = None
    bar: TrialsBar | None = None

    @classmethod
    @contextmanager
    def over(cls, log: TrialLog, bar: TrialsBar) -> Iterator[None]:
        cls.log, cls.bar = log, bar
        try:
            yield
        finally:
            cls.log, cls.bar = None, None

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._note(trial, "running")

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        if self.bar:
            self.bar.best(result["accuracy"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._note(trial, "finished")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._note(trial, "failed", str(trial.get_error() or "its process died").strip().splitlines()[-1])

    def _note(self, trial: Any, status: str, diagnosis: str = "") -> None:
        if self.log and self.bar:
            self.log.note(trial.config, status, diagnosis)
            self.bar.finished(sum(entry["status"] != "running" for entry in self.log.entries))


def _tuner(space: Space, dataset: Dataset, log: TrialLog) -> tune.Tuner:
    finished = [trial_name(entry["rates"]) for entry in log.entries if entry["status"] in FINAL]
    trainable = tune.with_parameters(run_trial, space=space, dataset=dataset, out=log.out, finished=finished)
    on_gpu = space.base.backend == "cupy" or (space.base.device or "").startswith("cuda")
    known = [entry["rates"] for entry in log.entries]
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1, "gpu": 1} if on_gpu else {"cpu": 1}),
        param_space={name: tune.loguniform(*ends) for name, ends in space.domains.items()},
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=space.configurations,
            search_alg=HyperOptSearch(
                points_to_evaluate=known or None,
                n_initial_points=-(-space.configurations // INITIAL_SHARE),
                # Another seed after each interruption, so that nothing is proposed twice.
                random_state_seed=space.base.seed + len(known),
            ),
            scheduler=_ASHA(
                time_attr="epoch",
                max_t=space.base.epochs,
                grace_period=GRACE_EPOCHS,
                reduction_factor=REDUCTION_FACTOR,
            ),
            reuse_actors=True,  # a new process for each trial would cost seconds
        ),
        run_config=tune.RunConfig(
            storage_path=str(log.out / RAY_FOLDER),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[_Watch()],
        ),
    )


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """Start Ray on this machine, or join a cluster, quietly; leave it at the end."""
    for name in ("ray", "ray.tune", "hyperopt"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init("local", include_dashboard=False, **quiet)
    else:
        ray.init(address, **quiet)
    try:
        yield
    finally:
        ray.shutdown()
