"""Folders of runs: nothing is written over, mixed, left half done, or continued on other data without a word."""

from __future__ import annotations

import inspect
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace

import numpy as np
import pytest
import typer

from rfnumeric.cli import app, main
from rfnumeric.datasets import Dataset, load
from rfnumeric.errors import CheckpointError, OutputError
from rfnumeric.experiments import initialization_map
from rfnumeric.training import RunConfig, train
from rfnumeric.training import files as training_files
from rfnumeric.training.files import TEMPORARY, write_atomically
from rfnumeric.training.fingerprint import fingerprint
from rfnumeric.training.folder import begin, claim, default_folder
from rfnumeric.training.lock import LOCK_FILE

SMALL = ["--sizes", "784,8,10", "--epochs", "1", "--batch-size", "400"]
SETTINGS = RunConfig(dataset="dots", sizes=(4, 3, 2), output="identity", batch_size=5, epochs=3)


def dots(seed=0, name="dots"):
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 256, (30, 4), dtype=np.uint8), np.arange(30) % 2
    return Dataset(name, images[:20].copy(), labels[:20], images[20:].copy(), labels[20:], (2, 2), ("even", "odd"))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rfnumeric(capsys, *arguments):
    """Run a command here; return its exit code and what it says on standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return ended.value.code, capsys.readouterr().err.strip()


def refused(capsys, *arguments):
    code, said = rfnumeric(capsys, *arguments)
    assert code == 2
    assert len(said.splitlines()) == 1
    return said


RESUMABLE = {
    "train": ["train", *SMALL],
    "study map": ["study", "map", "--quick", "--seeds", "1", "--epochs", "1", "--gains", "0.3"],
    "sweep": ["sweep", "--search", "random", *SMALL, "--configurations", "2"],
}
AT_THE_END = {
    "compare": ["compare", *SMALL, "--network", "published", "--rules", "backprop"],
    "figure1": ["reproduce", "figure1", "--starts", "2", "--iterations", "10"],
    "audit": ["audit", "J05"],
    "info": ["info"],
    "datasets list": ["datasets", "list"],
}


@pytest.mark.parametrize("name", [*RESUMABLE, *AT_THE_END])
def test_a_second_time_into_the_same_folder(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(initialization_map, "RATES", {"sgd": (0.01,)})
    command = [*(RESUMABLE | AT_THE_END)[name], "--out", tmp_path / "out"]
    assert rfnumeric(capsys, *command)[0] == 0
    first = contents(tmp_path)
    said = refused(capsys, *command)
    assert "holds an earlier run" in said
    assert "--overwrite to replace it" in said
    assert ("--resume to go on" in said) == (name in RESUMABLE)
    assert contents(tmp_path) == first
    if name in RESUMABLE:
        assert rfnumeric(capsys, *command, "--resume")[0] == 0
        assert contents(tmp_path).keys() == first.keys()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "metrics.png").write_text("of the run before")
    assert rfnumeric(capsys, *command, "--overwrite")[0] == 0
    assert contents(tmp_path).keys() == first.keys() | {"out/notes.txt"}


def commands(group=None):
    group = group or typer.main.get_command(app)
    for command in group.commands.values():
        yield from commands(command) if hasattr(command, "commands") else (command,)


def test_every_command_that_writes_a_folder_can_be_told_to_replace_it():
    found = 0
    for command in commands():
        names = {parameter.name for parameter in command.params}
        assert ("out" in names) == ("overwrite" in names), command.name
        found += "out" in names
    assert found >= 12


def test_a_page_that_is_there_is_not_written_over(tmp_path, capsys):
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert "page.html is already there. Give --overwrite" in refused(capsys, "audit", "J05", "--html", page)
    assert page.read_text() == "mine"


@pytest.mark.parametrize("name", ["compare", "figure1", "info"])
def test_another_command_does_not_write_into_a_runs_folder(name, tmp_path, capsys):
    train(SETTINGS, dots(), out=tmp_path)
    before = contents(tmp_path)
    assert "(checkpoint.npz, history.jsonl)" in refused(capsys, *AT_THE_END[name], "--out", tmp_path)
    assert contents(tmp_path) == before


def test_a_study_does_not_go_on_with_a_run(tmp_path, capsys):
    train(SETTINGS, dots(), out=tmp_path)
    said = refused(capsys, *RESUMABLE["study map"], "--out", tmp_path, "--resume")
    assert "holds a run of `rfnumeric train`, with which `rfnumeric study map` cannot go on" in said


def test_resume_and_overwrite_exclude_each_other(tmp_path, capsys):
    said = refused(capsys, *RESUMABLE["train"], "--out", tmp_path / "new", "--resume", "--overwrite")
    assert "leave one of them out" in said
    assert list(tmp_path.iterdir()) == []


def test_default_folders_are_numbered(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert rfnumeric(capsys, *AT_THE_END["figure1"])[0] == 0
    wanted = ["rfnumeric-figure1", "rfnumeric-figure1-2", "rfnumeric-figure1-3"]
    assert sorted(p.name for p in tmp_path.iterdir()) == wanted
    (tmp_path / "rfnumeric-figure1" / "results.json").write_text("old")
    (tmp_path / "rfnumeric-figure1-3" / "results.json").write_text("old")
    assert rfnumeric(capsys, *AT_THE_END["figure1"], "--overwrite")[0] == 0  # the last one
    assert (tmp_path / "rfnumeric-figure1" / "results.json").read_text() == "old"
    assert json.loads((tmp_path / "rfnumeric-figure1-3" / "results.json").read_text())["results"]


def test_which_default_folder_is_free(tmp_path):
    name = str(tmp_path / "runs")
    assert default_folder(name) == default_folder(name, last=True) == tmp_path / "runs"
    for taken in ("runs", "runs-7", "runs-x", "runs-02", "other-9"):
        (tmp_path / taken).mkdir()
        (tmp_path / taken / "file").touch()
    (tmp_path / "runs-9").mkdir()  # empty
    assert default_folder(name) == tmp_path / "runs-8"
    assert default_folder(name, last=True) == tmp_path / "runs-7"


def test_what_fails_at_once_leaves_no_folder(tmp_path, capsys):
    refused(capsys, "train", "--sizes", "9,10", "--out", tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_overwrite_keeps_the_old_run_where_the_new_one_cannot_begin(tmp_path):
    train(SETTINGS, dots(), out=tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="sizes must begin with 4"):
        train(replace(SETTINGS, sizes=(5, 2)), dots(), out=tmp_path, overwrite=True)
    assert contents(tmp_path) == before


def test_a_file_where_a_folder_should_be(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        said = refused(capsys, "info", "--out", out)
        assert f"folder {out} cannot be written: a file stands in the way" in said


def test_a_folder_that_may_not_be_written(tmp_path, capsys, monkeypatch):
    def forbidden(path, *rest):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", forbidden)
    said = refused(capsys, "info", "--out", tmp_path / "new")
    assert f"folder {tmp_path / 'new'} cannot be written: Permission denied. Give another --out." in said


@pytest.mark.parametrize("bytes_left", [0, 1000])
def test_a_full_disk_names_the_file_and_leaves_the_last_checkpoint(bytes_left, tmp_path, monkeypatch):
    train(replace(SETTINGS, epochs=1), dots(), out=tmp_path)
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
    try:
        with pytest.raises(OutputError) as caught:
            train(SETTINGS, dots(), out=tmp_path, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"{tmp_path / 'history.jsonl'} cannot be written: File too large")
    assert contents(tmp_path) == before
    whole = train(SETTINGS, dots(), out=tmp_path, resume=True)
    assert [m.status for m in whole.members] == ["completed"]


HOLD = """
    import sys, time
    from pathlib import Path
    from rfnumeric.training import files
    from rfnumeric.training.folder import claim

    with claim(Path(sys.argv[1])):
        def hang(*arguments):
            print("writing", flush=True)
            time.sleep(60)
        files.os.replace = hang
        files.write_atomically(Path(sys.argv[1]) / "results.json", b"half")
"""


def test_two_runs_do_not_share_a_folder_and_a_killed_one_leaves_no_lock(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "writing\n"
        with pytest.raises(OutputError, match=rf"is being written by another run \(process {process.pid}\)"):
            train(SETTINGS, dots(), out=tmp_path)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    left = {p.name for p in tmp_path.iterdir()}
    assert LOCK_FILE in left
    assert any(name.endswith(TEMPORARY) for name in left)
    others = [".results.json.abcd1234.tmp", f"results{TEMPORARY}", f".a.ABCD1234{TEMPORARY}", ".results.json.swp"]
    for name in others:
        (tmp_path / name).write_text("not ours")
    (tmp_path / f".a.abcd1234{TEMPORARY}").symlink_to(tmp_path / others[0])
    train(SETTINGS, dots(), out=tmp_path)
    kept = {*others, f".a.abcd1234{TEMPORARY}", "checkpoint.npz", "history.jsonl"}
    assert {p.name for p in tmp_path.iterdir()} == kept


def test_two_threads_do_not_share_a_folder(tmp_path):
    errors = []

    def other():
        try:
            train(SETTINGS, dots(), out=tmp_path)
        except OutputError as error:
            errors.append(str(error))

    with claim(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert "is being written by another run" in errors[0]
    other()
    assert len(errors) == 1


def test_a_claim_within_a_claim_is_the_callers(tmp_path):
    train(SETTINGS, dots(), out=tmp_path)
    with claim(tmp_path, overwrite=True), claim(tmp_path):
        begin(tmp_path)
        assert {p.name for p in tmp_path.iterdir()} == {LOCK_FILE}
    assert list(tmp_path.iterdir()) == []


def test_a_run_trains_on_the_data_that_it_names():
    with pytest.raises(ValueError, match="the settings name, 'mnist'; got 'mnist-5k'"):
        train(RunConfig(dataset="mnist"), load("mnist-5k"))


def pixel(data):
    data.train_images[3, 1] ^= 1
    return data


def label(data):
    data.test_labels[[0, 1]] = data.test_labels[[1, 0]]
    return data


def class_name(data):
    return replace(data, class_names=("no", "yes"))


def fewer(data):
    return replace(data, test_images=data.test_images[:9], test_labels=data.test_labels[:9])


def parts_exchanged(data):
    return replace(data, train_images=data.train_images[::-1].copy())


@pytest.mark.parametrize("change", [pixel, label, class_name, fewer, parts_exchanged])
def test_resume_on_other_data_is_refused(change, tmp_path):
    train(replace(SETTINGS, epochs=1), dots(), out=tmp_path)
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match=r"is of a run on other images or labels called dots.*Give those data"):
        train(SETTINGS, change(dots()), out=tmp_path, resume=True)
    assert contents(tmp_path) == before


def test_a_fingerprint_depends_on_values_not_on_layout():
    data = dots()
    strided = np.empty(2 * len(data.train_labels), np.int64)[::2]
    strided[:] = data.train_labels
    assert fingerprint(replace(data, train_labels=strided)) == fingerprint(data) == fingerprint(dots())
    assert len({fingerprint(dots(seed)) for seed in range(5)} | {fingerprint(dots(name="other"))}) == 6


def test_fewer_epochs_than_are_done_are_not_completed(tmp_path):
    train(SETTINGS, dots(), out=tmp_path)
    with pytest.raises(CheckpointError, match=r"has 3 epochs behind it, and 2 were asked for. Give --epochs 3 or more"):
        train(replace(SETTINGS, epochs=2), dots(), out=tmp_path, resume=True)


def test_a_failing_write_is_told_in_one_line(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training_files.os, "fsync", full)
    with pytest.raises(OutputError, match=r"results.json cannot be written: No space left on device. Free space"):
        write_atomically(tmp_path / "results.json", b"{}")
    assert list(tmp_path.iterdir()) == []


def test_the_library_has_the_same_options():
    assert {"out", "resume", "overwrite"} <= set(inspect.signature(train).parameters)
