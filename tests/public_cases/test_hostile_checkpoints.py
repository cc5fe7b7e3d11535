"""Hostile checkpoints, and files of studies that are damaged: one clear error, nothing run, nothing large allocated."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import tracemalloc
import zipfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest

from rfnumeric.datasets import Dataset
from rfnumeric.errors import CheckpointError
from rfnumeric.experiments.cells import CELLS_FILE, run_cells
from rfnumeric.experiments.sweep import Space
from rfnumeric.experiments.sweep.log import LOG_FILE, TrialLog, trial_name
from rfnumeric.training import RunConfig, train
from rfnumeric.training.files import signed

SETTINGS = RunConfig(dataset="dots", sizes=(4, 3, 2), output="identity", batch_size=5, epochs=2, lr=(1e-3, 2e-3))


def dots():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 4), dtype=np.uint8), np.arange(30) % 2
    return Dataset("dots", images[:20].copy(), labels[:20], images[20:].copy(), labels[20:], (2, 2), ("even", "odd"))


@pytest.fixture
def checkpoint(tmp_path):
    train(replace(SETTINGS, epochs=1), dots(), out=tmp_path)
    return tmp_path / "checkpoint.npz"


@contextmanager
def within(seconds, megabytes):
    """Fail unless the block ends in time and allocates less than that at once."""

    def late(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refused(path, match):
    with within(10, 20), pytest.raises(CheckpointError, match=match) as caught:
        train(SETTINGS, dots(), out=path.parent, resume=True)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 600
    assert str(path) in message


def parts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, members, how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def edit(path, change):
    """Change the checkpoint's JSON text, and make the digest fit."""
    members = parts(path)
    meta = json.loads(np.load(io.BytesIO(members["meta.json.npy"])).tobytes())
    change(meta)
    again = signed({k: v for k, v in meta.items() if k not in ("format", "digest")}, meta["format"])
    members["meta.json.npy"] = npy(np.frombuffer(json.dumps(again).encode(), np.uint8))
    rewrite(path, members)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_a_pipe_is_not_waited_for(checkpoint):
    checkpoint.unlink()
    os.mkfifo(checkpoint)
    refused(checkpoint, "it is not a regular file")


def test_a_folder_in_its_place(checkpoint):
    checkpoint.unlink()
    checkpoint.mkdir()
    refused(checkpoint, "cannot be read")


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_not_followed(exists, checkpoint):
    if exists:
        os.rename(checkpoint, checkpoint.with_name("elsewhere"))
    else:
        checkpoint.unlink()
    checkpoint.symlink_to(checkpoint.with_name("elsewhere"))
    refused(checkpoint, "it is a symbolic link")


def test_three_megabytes_that_would_grow_to_gigabytes(checkpoint):
    members = parts(checkpoint)
    header = members["W/1.npy"][:128]
    with zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, header + bytes(300 << 20) if name == "W/1.npy" else content)
    refused(checkpoint, "is compressed, which no run writes")


def test_what_is_not_asked_for_is_not_read(checkpoint):
    rewrite(checkpoint, {**parts(checkpoint), "W/7.npy": bytes(64 << 20)})
    refused(checkpoint, r"it holds W/7.npy, which is unknown")


def test_a_far_larger_array_is_not_read(checkpoint):
    rewrite(checkpoint, {**parts(checkpoint), "W/1.npy": npy(np.zeros((2, 3000, 1000), np.float32))})
    refused(checkpoint, "W/1 must hold at most 96 bytes; it says 24000128")


def test_a_header_is_no_source_text(checkpoint):
    members = parts(checkpoint)
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, __import__('os').abort()), }\n"
    for header in (text, b"(" * 9000, b"'''\n"):
        bad = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + members["W/1.npy"][128:]
        rewrite(checkpoint, {**members, "W/1.npy": bad})
        refused(checkpoint, "W/1 must be|W/1 must hold")


def test_a_member_twice(checkpoint):
    with zipfile.ZipFile(checkpoint, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("W/1.npy", parts(checkpoint)["W/1.npy"])
    refused(checkpoint, "W/1.npy twice")


def test_a_directory_of_a_hundred_thousand_names(checkpoint):
    with zipfile.ZipFile(checkpoint, "a") as archive:
        for k in range(30_000):
            archive.writestr(zipfile.ZipInfo(f"{k:05d}"), b"")
    refused(checkpoint, "its directory must have at most 1048576 bytes")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[" * 1_000_000, "recursion|cannot be read"),
        (b'{"format": 2, "config": NaN}', "NaN is no number of JSON's"),
        (b"9" * 5000, "cannot be read"),
        (b'{"format": "\x1b[31m"}', "cannot be read"),
        (b'{"format": "\\u001b[31m"}', r"it has format \?\[31m; this version reads 2"),
        (b'{"format": 1, "config": {}}', "it has format 1; this version reads 2. Delete it to start the run anew"),
        (b" " * (8 << 20), "meta.json must hold at most"),
        (b"null", "it must hold a JSON object"),
    ],
)
def test_texts(text, said, checkpoint):
    rewrite(checkpoint, {**parts(checkpoint), "meta.json.npy": npy(np.frombuffer(text, np.uint8))})
    refused(checkpoint, said)


def member(meta, k=0):
    return meta["progress"]["members"][k]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda meta: meta["progress"].update(epoch=99), "but the run is at epoch 99"),
        (lambda meta: meta["progress"].update(epoch=True), "epoch must be a number of epochs"),
        (lambda meta: meta["config"].update(lr=[1e-3, 3e-3]), r"lr = \[0.001, 0.003\]"),
        (lambda meta: meta["config"].pop("lr"), "lr = None"),
        (lambda meta: meta["config"].update(later=1), r"later = 1 \(asked for None\)"),
        (lambda meta: meta["config"].update(rule="\x1b[2J" * 100), r"rule = \?\[2J"),
        (lambda meta: member(meta).update(status="completed"), "a member must be one of"),
        (lambda meta: member(meta).update(status="diverged", diagnosis="so"), "must not hold train_loss"),
        (lambda meta: member(meta).update(diagnosis=None), "a member must be one of"),
        (lambda meta: member(meta)["records"].pop(), "records to epoch 0, but the run is at epoch 1"),
        (lambda meta: member(meta)["records"][1].update(seconds=None), "finite|at least 0"),
        (lambda meta: member(meta)["records"][1].update(test_accuracy=100.5), "from 0 to 100 %"),
        (lambda meta: member(meta)["records"][1].update(metrics={"a": ["b"]}), "metrics as numbers"),
        (lambda meta: member(meta)["records"][1].update(more=1), "record 1 must hold epoch"),
        (lambda meta: member(meta)["records"].__setitem__(0, 7), "record 0 must hold epoch"),
        (lambda meta: meta["progress"]["members"].pop(), "it must hold 2 members"),
        (lambda meta: meta.update(arrays="0" * 64), "arrays do not match their digest"),
        (lambda meta: meta.update(data=None), "is of a run on other images"),
    ],
)
def test_what_contradicts_the_run_is_refused_even_with_a_digest_that_fits(change, said, checkpoint):
    edit(checkpoint, change)
    refused(checkpoint, said)


def test_a_diverged_member_stands_still_after_resuming(tmp_path):
    settings = replace(SETTINGS, lr=(1e-3, 1e30), epochs=4)
    whole = train(settings, dots())
    assert [m.status for m in whole.members] == ["completed", "diverged"]
    train(replace(settings, epochs=2), dots(), out=tmp_path)
    again = train(settings, dots(), out=tmp_path, resume=True)
    assert [m.status for m in again.members] == ["completed", "diverged"]
    for one, two in zip(again.network.W[1:], whole.network.W[1:], strict=True):
        assert one.tobytes() == two.tobytes()


@dataclass(frozen=True)
class Place:
    name: str
    gain: float


TODO = [Place("a", 0.5), Place("a", 1.0), Place("b", 0.5)]


def cells(out, resume, **settings):
    def measure(cell):
        if cell.name == "b" and not resume:
            raise KeyboardInterrupt
        return {**asdict(cell), "accuracy": 90.0}

    known = {"seeds": 2, **settings}
    return run_cells(TODO, measure, out=out, resume=resume, settings=known)


def mutations(text, count):
    """Flipped bits, cuts and exchanged pieces, seeded."""
    for seed in range(count):
        rng, data = random.Random(seed), bytearray(text)
        a, b = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
        if seed % 3 == 0:
            data[a] ^= 1 << rng.randrange(8)
        yield bytes(data) if seed % 3 == 0 else bytes(data[:a] + data[b:]) if seed % 3 == 1 else bytes(data[:b])


def outcome(call):
    """Return what `call` returns, or the message of the one error that is allowed."""
    try:
        return call(), ""
    except CheckpointError as error:
        return None, str(error)


def test_damaged_cells_are_one_clear_error(tmp_path):
    done, interrupted = cells(tmp_path, False)
    assert interrupted
    path = tmp_path / CELLS_FILE
    text, refusals = path.read_bytes(), 0
    nasty = [b"[" * 100_000, b"null", b"[]", b'{"format": 2}', b"\xff", b"", json.dumps(done).encode()]
    nasty += [
        json.dumps(signed({"settings": {"seeds": 2}, "cells": c}, 2)).encode() for c in (7, [7], [{}], done + done)
    ]
    for data in [*mutations(text, 150), *nasty]:
        path.write_bytes(data)
        found, message = outcome(lambda: cells(tmp_path, True)[0])
        if found is None:
            assert message.startswith(f"{path} cannot be read: ")
            assert message.isprintable()
            assert path.read_bytes() == data
            refusals += 1
        else:
            assert [asdict(c) for c in TODO] == [{k: r[k] for k in ("name", "gain")} for r in found]
    assert refusals > 140
    path.write_bytes(text)
    with pytest.raises(CheckpointError, match=r"is of a study with seeds = 2 \(asked for 3\)"):
        cells(tmp_path, True, seeds=3)
    with pytest.raises(ValueError, match="must have at least one cell"):
        run_cells([], dict, out=tmp_path, resume=False, settings={})


def test_a_damaged_log_of_a_search_is_one_clear_error(tmp_path):
    space = Space(RunConfig(sizes=(784, 10), epochs=2), configurations=2)
    log = TrialLog(space, tmp_path, resume=False)
    log.note({"lr": 1e-3}, "running")
    path = tmp_path / LOG_FILE
    text, refusals = path.read_bytes(), 0
    for data in [*mutations(text, 150), b"[" * 100_000, b"{}", b"\xff"]:
        path.write_bytes(data)
        found, message = outcome(lambda: TrialLog(space, tmp_path, resume=True))
        if found is None:
            assert message.startswith(f"{path} cannot be read: ")
            refusals += 1
        else:
            assert found.entries == log.entries
    assert refusals > 140
    path.write_bytes(text)
    history = TrialLog.folder(tmp_path, trial_name({"lr": 1e-3})) / "history.jsonl"
    history.parent.mkdir(parents=True)
    history.write_text('{"record": "epoch"}\n{"record": "end"}\n')
    with pytest.raises(CheckpointError, match=r"history.jsonl cannot be read"):
        TrialLog(space, tmp_path, resume=True).members()
