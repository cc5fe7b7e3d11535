"""Same seed, same bits; a run resumed after an epoch, Ctrl-C or kill -9 is bit for bit the uninterrupted run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_helpers import RULE_OPTIONS, assert_same_run, config, same_bits, tiny_dataset

from rfnumeric.training import RunConfig, train
from rfnumeric.training.lock import LOCK_FILE
from rfnumeric.training.loop import CHECKPOINT_FILE, HISTORY_FILE

HERE = Path(__file__).resolve().parent


def rule_config(name, **changes):
    rule, options = RULE_OPTIONS[name]
    return config(rule=rule, rule_options=options, **changes)


@pytest.mark.parametrize("name", RULE_OPTIONS)
def test_same_seed_same_bits(name):
    settings = rule_config(name, bias=True, epochs=2)
    assert_same_run(train(settings, tiny_dataset()), train(settings, tiny_dataset()))


def test_another_seed_gives_another_run():
    one, two = (train(config(seed=s, epochs=1), tiny_dataset()) for s in (0, 1))
    assert not same_bits(one.network.W, two.network.W)


@pytest.mark.parametrize("population", [False, True], ids=["", "population"])
@pytest.mark.parametrize("name", RULE_OPTIONS)
def test_resumed_is_uninterrupted(name, population, tmp_path):
    several = {"seed": (0, 1, 2), "lr": (1e-3, 2e-3, 5e-4)} if population else {}
    # Widths at which BLAS blocks unevenly, so that another memory layout after loading would show.
    settings = rule_config(name, bias=True, sizes=(12, 37, 41, 3), batch_size=5, dtype="float32", **several)
    whole = train(settings, tiny_dataset())
    for stop in (1, 3):
        train(replace(settings, epochs=stop), tiny_dataset(), out=tmp_path / str(stop))
        resumed = train(settings, tiny_dataset(), out=tmp_path / str(stop), resume=True)
        assert_same_run(resumed, whole)


@pytest.mark.parametrize("name", RULE_OPTIONS)
def test_resumed_is_uninterrupted_on_every_backend(name, xp_name, tmp_path):
    settings = rule_config(name, backend=xp_name, epochs=2, batch_size=5, dtype="float64")
    whole = train(settings, tiny_dataset())
    train(replace(settings, epochs=1), tiny_dataset(), out=tmp_path)
    assert_same_run(train(settings, tiny_dataset(), out=tmp_path, resume=True), whole)


def test_resume_of_a_finished_run_changes_nothing(tmp_path):
    one = train(config(epochs=1), tiny_dataset(), out=tmp_path)
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    assert_same_run(train(config(epochs=1), tiny_dataset(), out=tmp_path, resume=True), one)
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before


def test_resume_without_a_checkpoint_starts_anew(tmp_path):
    fresh = train(config(epochs=1), tiny_dataset())
    assert_same_run(train(config(epochs=1), tiny_dataset(), out=tmp_path / "new", resume=True), fresh)


def statuses(path):
    """Statuses in a history file, which must be whole lines of JSON."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["record"] == "run"
    assert RunConfig.from_json(lines[0]["config"]).dataset == "tiny"
    return [line["status"] for line in lines if line["record"] == "end"], lines


@pytest.mark.parametrize("when", [(1, 50), (3, 50), (3, 65)])
def test_ctrl_c_leaves_a_valid_history_and_checkpoint(when, tmp_path):
    settings = rule_config("rf-parallel")

    def interrupt(epoch, done, of, accuracy):
        if (epoch, done) == when:
            raise KeyboardInterrupt

    run = train(settings, tiny_dataset(), out=tmp_path, progress=interrupt)
    assert run.interrupted
    assert [m.status for m in run.members] == ["interrupted"]
    ended, lines = statuses(tmp_path / HISTORY_FILE)
    assert ended == ["interrupted"]
    assert [r["epoch"] for r in lines if r["record"] == "epoch"] == list(range(when[0]))
    assert (tmp_path / CHECKPOINT_FILE).exists() == (when[0] > 1)
    assert_same_run(train(settings, tiny_dataset(), out=tmp_path, resume=True), train(settings, tiny_dataset()))
    assert statuses(tmp_path / HISTORY_FILE)[0] == ["completed"]


SCRIPT = """
    import sys, time
    from pathlib import Path

    sys.path.insert(0, sys.argv[1])
    from test_resume import rule_config
    from training_helpers import tiny_dataset

    from rfnumeric.training import train

    out = Path(sys.argv[3])


    def hang(epoch, done, of, accuracy):
        if (epoch, done) == (3, 50):
            (out / "hanging").touch()
            time.sleep(60)


    run = train(rule_config(sys.argv[2]), tiny_dataset(), out=out, progress=hang)
    sys.exit(17 if run.interrupted else 0)
"""


def stopped_in_epoch_3(name, out, how):
    """Train in a process of its own, send it `how` in the middle of epoch 3, and return its exit status."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(HERE), name, str(out)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 90
        while not (out / "hanging").exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "the run never reached epoch 3"
            time.sleep(0.02)
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
        return process.returncode
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("name", ["rf-two-phase, recirculation", "feedback-alignment"])
def test_kill_9_in_the_middle_of_an_epoch(name, tmp_path):
    assert stopped_in_epoch_3(name, tmp_path, signal.SIGKILL) == -signal.SIGKILL
    assert sorted(p.name for p in tmp_path.iterdir()) == [LOCK_FILE, CHECKPOINT_FILE, "hanging", HISTORY_FILE]
    assert statuses(tmp_path / HISTORY_FILE)[0] == ["running"]
    settings = rule_config(name)
    assert_same_run(train(settings, tiny_dataset(), out=tmp_path, resume=True), train(settings, tiny_dataset()))
    assert sorted(p.name for p in tmp_path.iterdir()) == [CHECKPOINT_FILE, "hanging", HISTORY_FILE]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    ("name", "kills"),
    [
        pytest.param("rf-two-phase, recirculation", 6, id="sample"),
        *(pytest.param(name, 30, id=name, marks=pytest.mark.slow) for name in RULE_OPTIONS),
    ],
)
def test_kill_9_at_random_moments(name, kills, tmp_path):
    from killed_runs import settings

    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, str(HERE / "killed_runs.py"), name, str(tmp_path), "0", str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    ended = done.stdout.split("\n")[:-1]
    assert len(ended) == kills
    assert set(ended) <= {"killed", "ended 0"}  # none refused what the one before it had left
    assert ended.count("killed") >= 2
    out = tmp_path / "run"
    assert_same_run(train(settings(name), tiny_dataset(), out=out, resume=True), train(settings(name), tiny_dataset()))
    # What the killed ones were writing is gone.
    assert sorted(p.name for p in out.iterdir()) == [CHECKPOINT_FILE, HISTORY_FILE]


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_sigint_ends_the_run_cleanly(tmp_path):
    assert stopped_in_epoch_3("rf-parallel", tmp_path, signal.SIGINT) == 17
    assert statuses(tmp_path / HISTORY_FILE)[0] == ["interrupted"]
    settings = rule_config("rf-parallel")
    assert_same_run(train(settings, tiny_dataset(), out=tmp_path, resume=True), train(settings, tiny_dataset()))


def test_resumed_population_with_a_diverged_member(tmp_path):
    # The third diverges in the first epoch; what became of it must survive the checkpoint.
    settings = config(lr=(1e-3, 2e-3, 1e6), seed=(0, 1, 2), output="identity")
    whole = train(settings, tiny_dataset())
    assert [m.status for m in whole.members] == ["completed", "completed", "diverged"]
    train(replace(settings, epochs=2), tiny_dataset(), out=tmp_path)
    assert_same_run(train(settings, tiny_dataset(), out=tmp_path, resume=True), whole)


def test_a_diverged_run_stays_diverged(tmp_path):
    one = train(config(lr=1e6), tiny_dataset(), out=tmp_path)
    assert one.members[0].status == "diverged"
    two = train(config(lr=1e6), tiny_dataset(), out=tmp_path, resume=True)
    assert [r.epoch for r in two.members[0].records] == [r.epoch for r in one.members[0].records]
    assert (two.members[0].status, two.members[0].diagnosis) == ("diverged", one.members[0].diagnosis)
    assert np.isnan(two.members[0].records[-1].test_accuracy)
