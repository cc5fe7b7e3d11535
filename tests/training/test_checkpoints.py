"""Checkpoints and files: damage is an error that changes nothing, writes are whole or not at all, no pickle inside."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import stat
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from training_helpers import config, tiny_dataset

from rfnumeric.errors import CheckpointError
from rfnumeric.training import checkpoint, train
from rfnumeric.training.files import _digest as digest_of_json
from rfnumeric.training.files import write_atomically, write_json, write_json_lines
from rfnumeric.training.loop import CHECKPOINT_FILE, HISTORY_FILE


@pytest.fixture
def saved(tmp_path):
    """A folder with the checkpoint of one epoch, its settings, and the bytes of its files."""
    settings = config(rule="rf-two-phase", bias=True, epochs=1)
    train(settings, tiny_dataset(), out=tmp_path)
    return tmp_path, replace(settings, epochs=2)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def refuse(folder, settings, match):
    """Resuming must fail, name the file, say what to do, and leave every byte as it was."""
    before = contents(folder)
    with pytest.raises(CheckpointError, match=match) as caught:
        train(settings, tiny_dataset(), out=folder, resume=True)
    assert CHECKPOINT_FILE in str(caught.value)
    assert contents(folder) == before


def rewrite(path, change, *, sign=True):
    """Save the checkpoint again after `change` has had its arrays and its meta record; digests fit if `sign`."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(arrays.pop("meta.json").tobytes())
    change(arrays, meta)
    if sign:
        meta["arrays"] = checkpoint._digest({n: a for n, a in arrays.items() if a.dtype != object})
        meta["digest"] = digest_of_json({name: value for name, value in meta.items() if name != "digest"})
    arrays["meta.json"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated(saved, keep):
    folder, settings = saved
    data = (folder / CHECKPOINT_FILE).read_bytes()
    (folder / CHECKPOINT_FILE).write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    refuse(folder, settings, "cannot be read: .*Delete it to start the run anew")


@pytest.mark.parametrize(
    "garbage", [b"not a zip", b"PK\x03\x04" + bytes(200), pickle.dumps({"W": 1}), b"\x93NUMPY" + bytes(50)]
)
def test_garbage(saved, garbage):
    folder, settings = saved
    (folder / CHECKPOINT_FILE).write_bytes(garbage)
    refuse(folder, settings, "cannot be read")


def test_a_flipped_byte(saved):
    folder, settings = saved
    path = folder / CHECKPOINT_FILE
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("W/1.npy")
    data = bytearray(path.read_bytes())
    data[member.header_offset + 300] ^= 0xFF  # inside the array: the archive's checksum no longer fits
    path.write_bytes(data)
    refuse(folder, settings, "cannot be read")


def drop_weights(arrays, meta):
    del arrays["W/2"]


def reshape_weights(arrays, meta):
    arrays["W/2"] = arrays["W/2"].T.copy()


def drop_bias(arrays, meta):
    del arrays["b/1"]


def drop_feedback(arrays, meta):
    del arrays["feedback/W_pinv/2"]


def drop_progress(arrays, meta):
    del meta["progress"]


def drop_config(arrays, meta):
    del meta["config"]


def wrong_dtype(arrays, meta):
    arrays["W/1"] = arrays["W/1"].astype(np.complex64)


def another_member(arrays, meta):
    arrays["W/9"] = arrays["W/1"]


def no_members(arrays, meta):
    meta["progress"]["members"] = []


def no_epoch(arrays, meta):
    meta["progress"]["epoch"] = "two"


def record_of(meta, epoch):
    return meta["progress"]["members"][0]["records"][epoch]


def more_epochs_than_records(arrays, meta):
    meta["progress"]["epoch"] = 99


def fewer_epochs_than_records(arrays, meta):
    meta["progress"]["members"][0]["records"].append({**record_of(meta, 1), "epoch": 2})


def completed_meanwhile(arrays, meta):
    meta["progress"]["members"][0]["status"] = "completed"


def diverged_without_a_diagnosis(arrays, meta):
    meta["progress"]["members"][0]["status"] = "diverged"


def accuracy_above_100(arrays, meta):
    record_of(meta, 1)["test_accuracy"] = 101.0


def no_accuracy(arrays, meta):
    record_of(meta, 1)["test_accuracy"] = None


def epochs_out_of_order(arrays, meta):
    record_of(meta, 1)["epoch"] = 3


def negative_time(arrays, meta):
    record_of(meta, 1)["seconds"] = -1.0


def losses_as_text(arrays, meta):
    record_of(meta, 1)["train_loss"] = "0.1"


CHANGES = {
    drop_weights: "it holds no W/2.npy",
    reshape_weights: r"W/2 must be .*\(7, 9\).*; got .*\(9, 7\)",
    drop_bias: "it holds no b/1.npy",
    drop_feedback: "it holds no feedback/W_pinv/2.npy",
    drop_progress: "progress",
    drop_config: "config",
    wrong_dtype: "W/1 must be .*<f4.*; got .*<c8|W/1 must hold at most",
    another_member: "W/9.npy, which is unknown",
    no_members: "it must hold 1 members; got",
    no_epoch: "epoch must be a number of epochs, at least 1; got two",
    more_epochs_than_records: "records to epoch 1, but the run is at epoch 99",
    fewer_epochs_than_records: "records to epoch 2, but the run is at epoch 1",
    completed_meanwhile: "a member must be one of .*; got completed",
    diverged_without_a_diagnosis: "with a diagnosis if diverged; got diverged",
    accuracy_above_100: "record of epoch 1 must have test_accuracy from 0 to 100 %",
    no_accuracy: "record of epoch 1 must hold test_accuracy",
    epochs_out_of_order: "record 1 must be that of epoch 1",
    negative_time: "must have seconds of at least 0",
    losses_as_text: "record of epoch 1 must hold finite numbers",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_contradicts_the_run_or_itself(saved, change):
    """Even where both digests fit."""
    folder, settings = saved
    rewrite(folder / CHECKPOINT_FILE, change)
    refuse(folder, settings, CHANGES[change])


def one_weight(arrays, meta):
    arrays["W/1"][0, 0] += 1


def one_rate(arrays, meta):
    meta["config"]["lr"] *= 2


def one_record(arrays, meta):
    record_of(meta, 1)["test_accuracy"] = 50.0


@pytest.mark.parametrize("change", [one_weight, one_rate, one_record])
def test_what_was_changed_by_hand(saved, change):
    folder, settings = saved
    rewrite(folder / CHECKPOINT_FILE, change, sign=False)
    refuse(folder, settings, "do not match their digest")


def test_another_format(saved):
    folder, settings = saved

    def change(arrays, meta):
        meta["format"] = 999

    rewrite(folder / CHECKPOINT_FILE, change)
    refuse(folder, settings, "has format 999; this version reads 2. Delete it to start the run anew")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lr": 0.5}, r"lr = 0.002 \(asked for 0.5\)"),
        ({"seed": 9}, r"seed = 0 \(asked for 9\)"),
        ({"sizes": (12, 9, 8, 3)}, "sizes = "),
        ({"rule": "backprop", "rule_options": {}}, "rule = rf-two-phase"),
        ({"rule_options": {"refresh_every": 3}}, "rule_options = "),
        ({"dtype": "float64"}, "dtype = float32"),
        ({"seed": (0, 1)}, "seed = 0"),
    ],
)
def test_another_runs_settings(saved, changes, told):
    folder, settings = saved
    refuse(folder, replace(settings, **changes), told + ".*Give those settings, or another --out")


def test_no_pickle(saved):
    folder, _ = saved
    with np.load(folder / CHECKPOINT_FILE, allow_pickle=False) as file:  # refuses object arrays
        names = set(file.files)
        assert all(file[name].dtype.kind in "fiu" for name in names)
    layers = {f"{name}/{l}" for name in "Wb" for l in (1, 2, 3)}
    assert names == layers | {"feedback/W_pinv/2", "feedback/W_pinv/3", "meta.json"}


def test_a_pickled_array_is_refused(saved, tmp_path):
    folder, settings = saved
    fired = tmp_path / "fired"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(fired),)

    def change(arrays, meta):
        arrays["W/1"] = np.array([Bomb()], dtype=object)

    rewrite(folder / CHECKPOINT_FILE, change)
    refuse(folder, settings, "cannot be read")
    assert not fired.exists()


@pytest.mark.parametrize("call", ["replace", "fsync", "chmod"])
def test_a_failing_write_leaves_the_old_file(call, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert contents(tmp_path) == {"file": b"old"}  # and no temporary file beside it


def test_a_failing_checkpoint_leaves_the_last_one(saved, monkeypatch):
    folder, settings = saved
    before = (folder / CHECKPOINT_FILE).read_bytes()
    real = os.replace

    def fail(source, target):
        if str(target).endswith(CHECKPOINT_FILE):
            raise OSError("no space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        train(settings, tiny_dataset(), out=folder, resume=True)
    assert (folder / CHECKPOINT_FILE).read_bytes() == before
    assert set(contents(folder)) == {CHECKPOINT_FILE, HISTORY_FILE}


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_written_files_have_ordinary_permissions(tmp_path):
    mask = os.umask(0o022)
    try:
        write_atomically(tmp_path / "new" / "file", b"x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == 0o644


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"x": math.nan, "y": [1, (2.5, math.inf)]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None, "y": [1, [2.5, None]]}
    write_json_lines(tmp_path / "a.jsonl", [{"x": -math.inf}, 3])
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [{"x": None}, 3]
