"""The training loop: one network or a population, any rule, any backend; checkpointed and resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rfnumeric import kernels
from rfnumeric.backend import Backend, Streams, quiet, synchronize, to_float, to_numpy
from rfnumeric.datasets import Dataset
from rfnumeric.linalg import condition_number
from rfnumeric.nn import Network, Trace, get_loss
from rfnumeric.rules import Feedback, Rule
from rfnumeric.training import checkpoint
from rfnumeric.training.config import INPUT_SCALES, RunConfig
from rfnumeric.training.environment import environment
from rfnumeric.training.files import write_json_lines
from rfnumeric.training.history import EpochRecord, best_accuracy, epochs_to_90
from rfnumeric.typing import Array

CHECKPOINT_FILE = "checkpoint.npz"
HISTORY_FILE = "history.jsonl"
EVALUATION_BATCH = 1000
EXPLODED = 1e4
"""A batch's mean loss above this multiple of the untrained network's test loss counts as divergence, as NaN does.

Softmax cross-entropy is linear in the scores, so a run whose weights have exploded can stay finite for long.
"""

Progress = Callable[[int, int, int, float], None]
"""Called with (epoch, steps done in it, steps of an epoch, latest test accuracy in percent, NaN before the first)."""


@dataclass
class Member:
    """One network of a run: its settings, its record, and how it ended.

    Attributes
    ----------
    config : RunConfig
        Its settings as a single run.
    records : list of EpochRecord
        From epoch 0.
    status : str
        ``"running"``, ``"completed"``, ``"diverged"`` or ``"interrupted"``.
    diagnosis : str
        Where and why it diverged, and what to try; empty otherwise.
    """

    config: RunConfig
    records: list[EpochRecord] = field(default_factory=list)
    status: str = "running"
    diagnosis: str = ""

    def result(self) -> dict[str, Any]:
        """Return the run's line in ``results.json``."""
        diverged = self.status == "diverged"
        return {
            "rule": self.config.rule,
            "dataset": self.config.dataset,
            "seed": self.config.seed,
            "accuracy": None if diverged or not self.records else self.records[-1].test_accuracy,
            "best_accuracy": best_accuracy(self.records),
            "epochs_to_90": None if diverged else epochs_to_90(self.records),
            "seconds": sum(r.seconds for r in self.records),
            "status": self.status,
            "lr": self.config.lr,
            "epochs": self.records[-1].epoch if self.records else 0,
            "diagnosis": self.diagnosis,
            "config": self.config.to_json(),
        }


@dataclass
class Run:
    """What `train` returns.

    Attributes
    ----------
    config : RunConfig
    members : list of Member
        One, or one for each member of the population.
    network : Network
        With the last weights. A member that diverged has had its weights replaced, so that the others could go on.
    feedback : Feedback
    """

    config: RunConfig
    members: list[Member]
    network: Network
    feedback: Feedback

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped by Ctrl-C."""
        return any(member.status == "interrupted" for member in self.members)

    def results(self) -> list[dict[str, Any]]:
        """Return one dict for each member; see `Member.result`."""
        return [member.result() for member in self.members]


def train(
    config: RunConfig,
    dataset: Dataset,
    *,
    out: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train as `config` says.

    Parameters
    ----------
    config : RunConfig
    dataset : Dataset
    out : Path, optional
        Folder for ``checkpoint.npz`` and ``history.jsonl``, both written whole after each epoch.
    resume : bool
        Go on from the checkpoint in `out`, if there is one. The result is bit for bit that of a run that was never
        interrupted.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    Run
        Also after Ctrl-C (status ``"interrupted"``) and after divergence (status ``"diverged"``).

    Raises
    ------
    ValueError
        If the network does not fit the data.
    CheckpointError
        If the checkpoint is damaged or of a run with other settings.
    """
    loop = Loop(config, dataset, out, progress)
    if resume and out is not None and (out / CHECKPOINT_FILE).exists():
        loop.restore(checkpoint.load(out / CHECKPOINT_FILE, config, loop.backend))
    with quiet():
        loop.run()
    return Run(config, loop.members, loop.network, loop.feedback)


class Loop:
    """A run between its steps: what `train` drives to the end, and what a benchmark may drive epoch by epoch.

    Parameters
    ----------
    config : RunConfig
    dataset : Dataset
    out, progress
        As for `train`.
    """

    def __init__(
        self, config: RunConfig, dataset: Dataset, out: Path | None = None, progress: Progress | None = None
    ) -> None:
        _check_fit(config, dataset)
        self.config, self.out, self.progress = config, out, progress
        self.rule: Rule = config.make_rule()
        self.loss = get_loss(config.loss)
        self.streams: Streams = config.make_streams()
        self.backend: Backend = self.streams.backend
        self.network: Network = config.make_network(self.streams)
        self.members = [Member(member) for member in config.members()]
        self.data = _DeviceData(dataset, self.backend, INPUT_SCALES[config.input_scale])
        self.lr = self._learning_rates()
        self.epoch = 0
        # Reading the loss costs nothing on the host; on a GPU it waits for the queue, so there it is read rarely.
        self.check_every = 1 if self.backend.name in ("numpy", "array-api-strict") else 50
        self.feedback = self.rule.init(self.network, self.streams.child("feedback"))

    def _learning_rates(self) -> float | Array:
        if self.config.population is None:
            return float(self.config.lr)  # type: ignore[arg-type]
        return self.backend.asarray([m.config.lr for m in self.members])

    def run(self) -> None:
        """Train to the last epoch, or until interrupted or diverged."""
        try:
            if not self.members[0].records:
                self._record(0, math.nan, math.nan, np.zeros(len(self.members)))
            while self.epoch < self.config.epochs and self._active():
                self._record(self.epoch + 1, *self.train_epoch(self.epoch + 1))
                self.epoch += 1
                self._save()
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
        self.limit = EXPLODED * np.asarray(
            [max(m.records[0].test_loss, 1.0) if m.records else 1.0 for m in self.members]
        )
        started = time.perf_counter()
        losses: list[Array] = []
        counts: list[Array] = []
        checked = 0
        steps = self.data.steps(self.config.batch_size)
        batches = self.data.batches(self.streams.child("batches", epoch), self.config.batch_size)
        for i, (x, y) in enumerate(batches):
            trace, loss, correct = self._step((epoch - 1) * steps + i, x, y, losses)
            losses.append(loss)
            counts.append(correct)
            if len(losses) - checked >= self.check_every or i == steps - 1:
                self._check(losses, checked, (epoch - 1) * steps, trace, x.shape[-2])
                checked = len(losses)
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

    def _step(self, step: int, x: Array, y: Array, losses: list[Array]) -> tuple[Trace, Array, Array]:
        """Take one training step; the order of the calls is the one that `rules.interface` states."""
        network, rule = self.network, self.rule
        trace = network.forward(x)
        e, loss, correct = self.loss.evaluate(trace.h[-1], y)
        self.feedback = rule.sleep(network, self.feedback, self.streams.child("sleep", step), step)
        trace.delta = rule.deltas(network, trace, e, self.feedback)
        learning = self.streams.child("learn", step)
        self.feedback = rule.learn_feedback(network, trace, self.feedback, learning, step)
        network.update(trace, self.lr)
        return trace, loss, correct

    def _per_member(self, values: list[Array]) -> np.ndarray:
        """Bring per-step values to the host as float64, shape (steps, members)."""
        stacked = self.backend.xp.stack([self.backend.xp.asarray(v) for v in values])
        return to_numpy(stacked).astype(np.float64).reshape(len(values), len(self.members))

    def _check(self, losses: list[Array], start: int, first_step: int, trace: Trace, batch: int) -> None:
        """Find members whose loss has stopped being finite, or has exploded, since the last check; retire them."""
        if self.check_every == 1 and self.config.population is None and float(losses[-1]) <= self.limit[0] * batch:
            return
        sound = self._per_member(losses[start:]) <= self.limit * batch  # false for NaN
        for k in self._active():
            if not sound[:, k].all():
                step = first_step + start + int(np.argmin(sound[:, k]))
                self.members[k].diagnosis = self._diagnose(k, step, trace)
                self.members[k].status = "diverged"
                self._retire(k)

    def _diagnose(self, k: int, step: int, trace: Trace) -> str:
        pick = (lambda v: v) if self.config.population is None else (lambda v: v[k, ...])
        isfinite, everywhere = self.backend.xp.isfinite, self.backend.xp.all
        layers = range(1, self.network.L + 1)
        layer = next((l for l in layers if not bool(everywhere(isfinite(pick(trace.a[l]))))), 0)
        if layer:
            where = f"the first activity that is not finite is that of layer {layer}"
        else:
            growth = [self._growth(k, l) for l in layers]
            layer = 1 + growth.index(max(growth))
            where = f"the W that grew most, {max(growth):.3g} times since the epoch began, is that of layer {layer}"
        condition = to_float(condition_number(pick(self.epoch_start.W[layer])))
        inverse = [
            f"{name}[{l}]"
            for name, values in self.feedback.items()
            for l, v in enumerate(values)
            if v is not None and not bool(everywhere(isfinite(pick(v))))
        ]
        also = f" The feedback {', '.join(inverse)} is not finite either." if inverse else ""
        return (
            f"the loss was not finite or above {EXPLODED:g} times the untrained network's at step {step}; {where}, "
            f"whose condition number was {condition:.3g} when the epoch began.{also} Try {self.rule.advice()}."
        )

    def _growth(self, k: int, layer: int) -> float:
        """Return ‖W‖/‖W at the epoch's start‖ for one member and layer; inf for a W that is not finite."""
        now, then = (to_numpy(n.W[layer]) for n in (self.network, self.epoch_start))
        if self.config.population is not None:
            now, then = now[k], then[k]
        ratio = float(np.linalg.norm(now.astype(np.float64)) / np.linalg.norm(then.astype(np.float64)))
        return ratio if math.isfinite(ratio) else math.inf

    def _retire(self, k: int) -> None:
        """Give a diverged member weights and feedback that do no harm to the others' arithmetic, and stop it."""
        if self.config.population is None:
            return
        xp = self.backend.xp
        host = to_numpy(self.lr).copy()
        chosen = self.backend.asarray(np.arange(len(self.members)) == k, "bool")
        host[k] = 0.0
        self.lr = self.backend.asarray(host)

        def harmless(value: Array | None) -> Array | None:
            if value is None:
                return None
            trailing = value.shape[1:]
            eye = xp.eye(*trailing, dtype=value.dtype, device=self.backend.device) if len(trailing) == 2 else 0.0
            mask = xp.reshape(chosen, (-1, *(1 for _ in trailing)))
            return xp.where(mask, eye + xp.zeros_like(value), value)

        self.network.W = [harmless(W) for W in self.network.W]
        self.network.b = [harmless(b) for b in self.network.b]
        self.feedback = {name: [harmless(v) for v in values] for name, values in self.feedback.items()}

    def _record(self, epoch: int, loss: Any, accuracy: Any, seconds: np.ndarray) -> None:
        test_loss, test_accuracy = self.evaluate()
        loss, accuracy = (np.broadcast_to(v, len(self.members)) for v in (loss, accuracy))
        for k, member in enumerate(self.members):
            if member.status == "diverged" and member.records and member.records[-1].epoch < epoch - 1:
                continue
            values = (loss[k], accuracy[k], test_loss[k], test_accuracy[k])
            if member.status == "diverged":
                if member.records and not math.isfinite(member.records[-1].train_loss) and epoch > 1:
                    continue
                values = (math.nan,) * 4
            member.records.append(EpochRecord(epoch, *map(float, values), float(seconds[k])))

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

    def _save(self) -> None:
        if self.out is None:
            return
        self._write_history()
        progress = {
            "epoch": self.epoch,
            "lr": np.asarray(to_numpy(self.lr) if self.config.population else self.lr, dtype=float).tolist(),
            "members": [
                {"records": [r.to_json() for r in m.records], "status": m.status, "diagnosis": m.diagnosis}
                for m in self.members
            ],
        }
        state = checkpoint.State(self.network.W, self.network.b, self.feedback, progress)
        checkpoint.save(self.out / CHECKPOINT_FILE, self.config, state)

    def _write_history(self) -> None:
        if self.out is not None:
            write_json_lines(self.out / HISTORY_FILE, history_lines(self.members))

    def restore(self, state: checkpoint.State) -> None:
        """Take the place of a run that was interrupted after an epoch."""
        self.network.W, self.network.b, self.feedback = state.W, state.b, state.feedback
        self.epoch = state.progress["epoch"]
        for member, saved in zip(self.members, state.progress["members"], strict=True):
            member.records = [EpochRecord.from_json(r) for r in saved["records"]]
            member.status = saved["status"] if saved["status"] == "diverged" else "running"
            member.diagnosis = saved["diagnosis"]
        if self.config.population is not None:
            self.lr = self.backend.asarray(state.progress["lr"])


def history_lines(members: list[Member], **keys: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of ``history.jsonl``: for each member a ``run`` record, then one ``epoch`` record an epoch.

    Parameters
    ----------
    members : list of Member
    **keys
        Put into every record, e.g. ``network="described"``.
    """
    here = environment()
    for member in members:
        run = {"rule": member.config.rule, "seed": member.config.seed, "lr": member.config.lr, **keys}
        yield {"record": "run", **run, "config": member.config.to_json(), "environment": here}
        for record in member.records:
            yield {"record": "epoch", **run, **record.to_json()}
        yield {"record": "end", **run, "status": member.status, "diagnosis": member.diagnosis}


class _DeviceData:
    """A data set on the device: uint8 until the last moment."""

    def __init__(self, dataset: Dataset, backend: Backend, scale: tuple[float, float]) -> None:
        self.backend, self.scale = backend, scale
        self.train_images = backend.asarray(dataset.train_images, "uint8")
        self.train_labels = backend.asarray(dataset.train_labels, "int64")
        self.test_images = backend.asarray(dataset.test_images, "uint8")
        self.test_labels = backend.asarray(dataset.test_labels, "int64")
        self.train_count, self.test_count = len(dataset.train_labels), len(dataset.test_labels)

    def steps(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""
        return -(-self.train_count // batch_size)

    def batches(self, streams: Streams, batch_size: int) -> Iterator[tuple[Array, Array]]:
        """Yield (x, labels) of shapes (..., batch, n_0) and (..., batch), in the stream's order."""
        order = self.backend.asarray(streams.permutation(self.train_count), "int64")
        xp = self.backend.xp
        labels = xp.reshape(xp.take(self.train_labels, xp.reshape(order, (-1,)), axis=0), order.shape)
        for start in range(0, self.train_count, batch_size):
            part = (..., slice(start, min(start + batch_size, self.train_count)))
            yield self._gather(self.train_images, order[part]), labels[part]

    def test_batches(self) -> Iterator[tuple[Array, Array]]:
        """Yield (x, labels) of the test set in its order."""
        for start in range(0, self.test_count, EVALUATION_BATCH):
            stop = min(start + EVALUATION_BATCH, self.test_count)
            index = self.backend.xp.arange(start, stop, dtype=self.backend.xp.int64, device=self.backend.device)
            yield self._gather(self.test_images, index), self.test_labels[start:stop]

    def _gather(self, images: Array, index: Array) -> Array:
        return kernels.gather_scale(images, index, *self.scale, self.backend.dtype)


def _check_fit(config: RunConfig, dataset: Dataset) -> None:
    n_in, n_out = config.sizes[0], config.sizes[-1]
    if n_in != dataset.n_features or n_out < dataset.n_classes:
        raise ValueError(
            f"sizes must begin with {dataset.n_features} (pixels) and end with at least {dataset.n_classes} (classes) "
            f"for {dataset.name}; got {','.join(map(str, config.sizes))}. Set --sizes."
        )
