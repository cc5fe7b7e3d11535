"""The training loop: one network or a population, any rule, any backend; checkpointed and resumable."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rfnumeric.backend import quiet, row_major, synchronize, to_numpy
from rfnumeric.datasets import Dataset
from rfnumeric.nn import Network, Trace, get_loss
from rfnumeric.rules import training_step
from rfnumeric.training import checkpoint
from rfnumeric.training.batches import DeviceData
from rfnumeric.training.config import INPUT_SCALES, RunConfig
from rfnumeric.training.divergence import diagnose, loss_limits, retire, retire_arrays
from rfnumeric.training.files import write_json_lines
from rfnumeric.training.fingerprint import fingerprint
from rfnumeric.training.folder import begin, claim
from rfnumeric.training.history import EpochRecord
from rfnumeric.training.memory import check_memory
from rfnumeric.training.metrics import Metrics, measure_batch
from rfnumeric.training.optimizers import scheduled_rate
from rfnumeric.training.run import Member, Run, history_lines
from rfnumeric.typing import Array

CHECKPOINT_FILE = "checkpoint.npz"
HISTORY_FILE = "history.jsonl"
Progress = Callable[[int, int, int, float], None]
"""Called with (epoch, steps done in it, steps of an epoch, latest test accuracy in percent, NaN before the first)."""
AfterEpoch = Callable[[list[Member]], None]
"""Called with the members after each epoch, when its checkpoint has been written."""


def train(
    config: RunConfig,
    dataset: Dataset,
    *,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    metrics_every: int | None = None,
    after_epoch: AfterEpoch | None = None,
) -> Run:
    """Train as `config` says.

    Parameters
    ----------
    config : RunConfig
    dataset : Dataset
    out : Path, optional
        Folder for ``checkpoint.npz`` and ``history.jsonl``, both written whole after each epoch. One run at a time
        writes it.
    resume : bool
        Go on from the checkpoint in `out`, if there is one. The result is bit for bit that of a run that was never
        interrupted.
    overwrite : bool
        Replace the run that `out` holds.
    progress : callable, optional
        See `Progress`.
    after_epoch : callable, optional
        See `AfterEpoch`.
    metrics_every : int, optional
        Epochs between measurements of `rfnumeric.training.metrics.METRICS` on one batch spread over the training set,
        from epoch 0 on; they join the records and change no other number. Default: none.

    Returns
    -------
    Run
        Also after Ctrl-C (status ``"interrupted"``) and after divergence (status ``"diverged"``).

    Raises
    ------
    ValueError
        If the network does not fit the data, `dataset` is not the one that `config` names, or `metrics_every` is not
        positive.
    CheckpointError
        If the checkpoint is damaged, of a run with other settings or on other data, or has more epochs behind it than
        `config` asks for.
    OutputError
        If `out` cannot be written, another run is writing it, or it holds one and neither is it resumed nor replaced.
    """
    loop = Loop(config, dataset, out, progress, metrics_every)
    loop.after_epoch = after_epoch
    with claim(out, command="train", resume=resume, overwrite=overwrite):
        begin(out)
        if resume and out is not None and os.path.lexists(out / CHECKPOINT_FILE):
            loop.restore(checkpoint.load(out / CHECKPOINT_FILE, config, loop.fingerprint, loop.backend, loop.state()))
        with quiet():
            loop.run()
    return Run(config, loop.members, loop.network, loop.feedback)


class Loop:
    """A run between its steps: what `train` drives to the end, and what a benchmark may drive epoch by epoch.

    Parameters
    ----------
    config : RunConfig
    dataset : Dataset
    out, progress, metrics_every
        As for `train`.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        out: Path | None = None,
        progress: Progress | None = None,
        metrics_every: int | None = None,
    ) -> None:
        _check_fit(config, dataset)
        check_memory(config)
        if metrics_every is not None and metrics_every < 1:
            raise ValueError(f"metrics_every must be at least 1 (epochs), or None; got {metrics_every}.")
        self.metrics_every = metrics_every
        self.config, self.out, self.progress = config, out, progress
        self.fingerprint = "" if out is None else fingerprint(dataset)
        self.after_epoch: AfterEpoch | None = None
        self.rule, self.optimizer = config.make_rule(), config.make_optimizer()
        self.loss = get_loss(config.loss)
        self.streams = config.make_streams()
        self.backend = self.streams.backend
        self.network = config.make_network(self.streams)
        self.members = [Member(member) for member in config.members()]
        self.data = DeviceData(dataset, self.backend, INPUT_SCALES[config.input_scale])
        self.lr = self._learning_rates()
        self.epoch = 0
        # Reading the loss costs nothing on the host; on a GPU it waits for the queue, so there it is read rarely.
        self.check_every = 50 if self.backend.library.queues else 1
        self.feedback = self.rule.init(self.network, self.streams.child("feedback"))
        self.optimizer_state = self.optimizer.init(self.network)
        self.total_steps = config.epochs * self.data.steps(config.batch_size)

    def _learning_rates(self) -> float | Array:
        if self.config.population is None:
            return float(self.config.lr)  # type: ignore[arg-type]
        return self.backend.asarray([m.config.lr for m in self.members])

    def run(self) -> None:
        """Train to the last epoch, or until interrupted or diverged."""
        try:
            if not self.members[0].records:
                untrained = np.full(len(self.members), math.nan)
                self._record(0, self._active(), untrained, untrained, np.zeros(len(self.members)))
            while self.epoch < self.config.epochs and (active := self._active()):
                self._record(self.epoch + 1, active, *self.train_epoch(self.epoch + 1))
                self.epoch += 1
                self._settle()
                self._save()
                if self.after_epoch:
                    self.after_epoch(self.members)
            self._finish("completed")
        except KeyboardInterrupt:
            self._finish("interrupted")
        self._write_history()

    def _active(self) -> list[int]:
        return [k for k, member in enumerate(self.members) if member.status == "running"]

    def _finish(self, status: str) -> None:
        for k in self._active():
            self.members[k].status = status

    def train_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Train one epoch; return each member's mean loss (nats), accuracy (percent) and share of the seconds."""
        self.epoch_start = self.network.copy()
        self.limits = loss_limits([m.records[0].test_loss if m.records else 1.0 for m in self.members])
        started = time.perf_counter()
        losses: list[Array] = []
        counts: list[Array] = []
        checked = 0
        steps = self.data.steps(self.config.batch_size)
        batches = self.data.batches(self.streams.child("batches", epoch), self.config.batch_size)
        for i, (x, y) in enumerate(batches):
            trace, loss, correct = self._step((epoch - 1) * steps + i, x, y)
            losses.append(loss)
            counts.append(correct)
            if len(losses) - checked >= self.check_every or i == steps - 1:
                self._check(losses, checked, (epoch - 1) * steps, trace)
                checked = len(losses)
            del x, y, trace  # so that the next step writes where this one's activities are still in the cache
            if self.progress and (i % 50 == 49 or i == steps - 1):
                self.progress(epoch, i + 1, steps, self._latest())
            if not self._active():
                break
        synchronize(self.network.W[1])
        seconds = time.perf_counter() - started
        samples = self.data.train_count
        mean_loss = self._per_member(losses).sum(axis=0) / samples
        accuracy = 100 * self._per_member(counts).sum(axis=0) / samples
        return mean_loss, accuracy, np.full(len(self.members), seconds / len(self.members))

    def _step(self, step: int, x: Array, y: Array) -> tuple[Trace, Array, Array]:
        """Take one training step; return its trace, loss and number of right answers."""
        lr = scheduled_rate(self.lr, self.config.lr_schedule, step, self.total_steps)

        def update(network: Network, trace: Trace) -> None:
            self.optimizer_state = self.optimizer.update(network, trace, lr, self.optimizer_state, step)
            if self.config.spectrum_control:
                network.equalize_spectra(self.config.spectrum_control)

        self.feedback, trace, loss, correct = training_step(
            self.rule,
            self.network,
            self.feedback,
            x,
            y,
            loss=self.loss,
            update=update,
            streams=self.streams,
            step=step,
        )
        return trace, loss, correct

    def _per_member(self, values: list[Array]) -> np.ndarray:
        """Bring per-step values to the host as float64, shape (steps, members)."""
        stacked = self.backend.xp.stack([self.backend.xp.asarray(v) for v in values])
        return to_numpy(stacked).astype(np.float64).reshape(len(values), len(self.members))

    def _check(self, losses: list[Array], start: int, first_step: int, trace: Trace) -> None:
        """Find members whose loss has stopped being finite, or has exploded, since the last check; retire them."""
        batch = trace.h[0].shape[-2]
        single = self.config.population is None
        if single and self.check_every == 1 and float(losses[-1]) <= self.limits[0] * batch:
            return
        sound = self._per_member(losses[start:]) <= self.limits * batch  # false for NaN
        for k in self._active():
            if not sound[:, k].all():
                member, step = self.members[k], first_step + start + int(np.argmin(sound[:, k]))
                place = None if single else k
                rest = (trace, self.feedback, place, step, self.rule.advice())
                member.status, member.diagnosis = "diverged", diagnose(self.network, self.epoch_start, *rest)
                if not single:
                    self.feedback = retire(self.network, self.feedback, k)
                    self.optimizer_state = retire_arrays(self.optimizer_state, k)
                    self._stop_diverged()

    def _record(
        self, epoch: int, active: list[int], loss: np.ndarray, accuracy: np.ndarray, seconds: np.ndarray
    ) -> None:
        """Append a record to the members that were active when the epoch began; NaN to one that diverged in it."""
        test_loss, test_accuracy = self.evaluate()
        columns = {
            "train_loss": loss,
            "train_accuracy": accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
        }
        metrics = self._measure(epoch)
        for k in active:
            lost = self.members[k].status == "diverged"
            numbers: dict[str, Any] = {name: math.nan if lost else float(v[k]) for name, v in columns.items()}
            numbers["metrics"] = None if lost else metrics[k]
            self.members[k].records.append(EpochRecord(epoch, seconds=float(seconds[k]), **numbers))

    def _measure(self, epoch: int) -> Sequence[Metrics | None]:
        """Return each member's metrics in the epochs that have them."""
        if self.metrics_every is None or epoch % self.metrics_every or not self._active():
            return [None] * len(self.members)
        x, y = self.data.spread(self.config.batch_size, self.network.population)
        return measure_batch(self.rule, self.network, self.feedback, x, y, self.config.loss)

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Return test loss (nats) and accuracy (percent) of each member."""
        losses, counts = [], []
        for x, y in self.data.test_batches():
            _, loss, correct = self.loss.evaluate(self.network.forward(x).h[-1], y)
            losses.append(loss)
            counts.append(correct)
        samples = self.data.test_count
        loss, correct = (self._per_member(v).sum(axis=0) for v in (losses, counts))
        return loss / samples, 100 * correct / samples

    def _latest(self) -> float:
        return max((m.records[-1].test_accuracy for m in self.members if m.records), default=math.nan)

    def _settle(self) -> None:
        """Lay all arrays out as a checkpoint would bring them back.

        Rules keep transposed views; BLAS sums those in another order than their copies, and a resumed run would
        differ from this one in the last bits.
        """

        def settled(values: list[Array | None]) -> list[Array | None]:
            return [None if v is None else row_major(v) for v in values]

        self.network.W, self.network.b = settled(self.network.W), settled(self.network.b)
        self.feedback = {name: settled(values) for name, values in self.feedback.items()}
        self.optimizer_state = {name: settled(values) for name, values in self.optimizer_state.items()}

    def _save(self) -> None:
        if self.out is None:
            return
        self._write_history()
        checkpoint.save(self.out / CHECKPOINT_FILE, self.config, self.state(), self.fingerprint)

    def state(self) -> checkpoint.State:
        """Return everything that the next epoch depends on."""
        progress = {
            "epoch": self.epoch,
            "members": [
                {"records": [r.to_json() for r in m.records], "status": m.status, "diagnosis": m.diagnosis}
                for m in self.members
            ],
        }
        return checkpoint.State(self.network.W, self.network.b, self.feedback, progress, self.optimizer_state)

    def _write_history(self) -> None:
        if self.out is not None:
            write_json_lines(self.out / HISTORY_FILE, history_lines(self.members))

    def restore(self, state: checkpoint.State) -> None:
        """Take the place of a run that was interrupted after an epoch."""
        self.network.W, self.network.b, self.feedback = state.W, state.b, state.feedback
        self.optimizer_state = state.optimizer
        self.epoch = state.progress["epoch"]
        for member, saved in zip(self.members, state.progress["members"], strict=True):
            member.records = [EpochRecord.from_json(r) for r in saved["records"]]
            member.status, member.diagnosis = saved["status"], saved["diagnosis"]
        self._stop_diverged()

    def _stop_diverged(self) -> None:
        """Let the weights of a population's diverged members stay where they are."""
        if self.config.population is not None:
            stopped = [member.status == "diverged" for member in self.members]
            self.lr = self.backend.asarray(np.where(stopped, 0.0, to_numpy(self.lr)))


def _check_fit(config: RunConfig, dataset: Dataset) -> None:
    if config.dataset != dataset.name:
        raise ValueError(
            f"dataset must be the one that the settings name, {config.dataset!r}; got {dataset.name!r}. "
            f"Set RunConfig(dataset={dataset.name!r})."
        )
    if dataset.has_targets and config.loss != "mse":
        raise ValueError(f"loss must be 'mse' for {dataset.name}, whose samples have targets; got {config.loss!r}.")
    n_in, n_out = config.sizes[0], config.sizes[-1]
    if n_in != dataset.n_features or n_out < dataset.n_classes:
        raise ValueError(
            f"sizes must begin with {dataset.n_features} (pixels) and end with at least {dataset.n_classes} (classes) "
            f"for {dataset.name}; got {','.join(map(str, config.sizes))}. Set --sizes."
        )
