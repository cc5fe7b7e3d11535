"""The search: its space, its choice, random search as one population that resumes to the bit, and Ray's where it is."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rfnumeric import published
from rfnumeric.cli import main
from rfnumeric.datasets import load
from rfnumeric.errors import BackendError, CheckpointError
from rfnumeric.experiments import sweep as job
from rfnumeric.experiments.compare import hold_out
from rfnumeric.experiments.sweep.log import TrialLog, trial_name
from rfnumeric.training import EpochRecord, Member, RunConfig, train

SMALL = ["--sizes", "784,12,10", "--batch-size", "100"]
needs_ray = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("ray", "hyperopt")), reason="Ray Tune is not installed"
)


def base(**changes):
    settings = {"sizes": (784, 12, 10), "batch_size": 100, "epochs": 2, "hidden": "identity", **changes}
    return RunConfig(**settings)


def sweep(*arguments, **keywords):
    command = [sys.executable, "-m", "rfnumeric", "sweep", *arguments]
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, **keywords)


def untimed(records):
    return [{k: repr(v) for k, v in record.items() if k != "seconds"} for record in records]


def epochs_of(path, **wanted):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["record"] == "epoch" and wanted.items() <= line.items()]


def test_the_papers_search_is_the_default():
    space = job.Space(base(rule="rf-parallel"))
    assert space.configurations == 20
    assert space.domains == {"lr": published.SEARCH["forward"], "feedback_lr": published.SEARCH["feedback"]}
    assert list(job.Space(base(rule="feedback-alignment")).domains) == ["lr"]


def test_rates_are_drawn_log_uniformly_within_their_domains():
    space = job.Space(base(rule="rf-parallel"), lr=(1e-4, 1e-2), feedback_lr=(1e-6, 1e-3), configurations=4000)
    drawn = space.draw()
    assert drawn == space.draw()
    assert drawn != replace(space, base=base(rule="rf-parallel", seed=1)).draw()
    for name, (low, high) in space.domains.items():
        position = np.log(np.asarray(drawn[name]) / low) / math.log(high / low)
        assert 0 <= position.min()
        assert position.max() <= 1
        # Kolmogorov-Smirnov: the largest distance from the uniform distribution exceeds 1.95/√n once in a thousand.
        ranks = np.arange(1, 4001) / 4000
        assert np.abs(np.sort(position) - ranks).max() <= 1.95 / math.sqrt(4000)
    correlation = np.corrcoef(np.log(drawn["lr"]), np.log(drawn["feedback_lr"]))[0, 1]
    assert abs(correlation) <= 4 / math.sqrt(4000)  # four standard deviations


def member(accuracy, lr, status="completed"):
    return Member(base(lr=lr), [EpochRecord(2, 0.1, 90.0, 0.1, accuracy, 1.0)], status)


def test_best_is_the_highest_of_those_that_trained_to_the_end():
    trials = [
        member(80, 1e-3),
        member(99, 1e-3, "stopped"),
        member(91, 3e-3),
        member(91, 2e-3),
        member(0, 1, "diverged"),
    ]
    assert job.best(trials) == 3
    assert job.best([member(99, 1e-3, "stopped"), Member(base(), [], "failed")]) is None


def test_random_search_is_one_population_and_tests_the_best_alone(tmp_path, capsys):
    options = ["--rule", "rf-parallel", "--option", "normalize=false", "--configurations", "3", "--epochs", "2"]
    main_ = ["sweep", "--search", "random", *SMALL, *options, "--out", str(tmp_path), "--json"]
    with pytest.raises(SystemExit) as stopped:
        main(main_)
    captured = capsys.readouterr()
    assert stopped.value.code == 0, captured.err
    *trials, final = json.loads(captured.out)["results"]
    space = job.Space(base(rule="rf-parallel", rule_options={"normalize": False}), configurations=3)
    drawn = space.draw()
    data = load("mnist-5k")
    for k, trial in enumerate(trials):
        assert (trial["lr"], trial["feedback_lr"]) == (drawn["lr"][k], drawn["feedback_lr"][k])
        assert "accuracy" not in trial  # what it has is no test accuracy
        rates = {name: values[k] for name, values in drawn.items()}
        (alone,) = train(space.configure(rates), hold_out(data)).members
        assert trial["status"] == alone.status
        if alone.status == "completed":
            # Rounding in another order may move a sample or two of the 800 held out.
            assert trial["held_out_accuracy"] == pytest.approx(alone.records[-1].test_accuracy, abs=0.25)
    scores = [-1 if t["held_out_accuracy"] is None else t["held_out_accuracy"] for t in trials]
    chosen = int(np.argmax(scores))
    assert (final["part"], final["trial"], final["lr"]) == ("best", chosen, drawn["lr"][chosen])
    (whole,) = train(RunConfig.from_json(trials[chosen]["config"]), data).members
    assert final["accuracy"] == whole.records[-1].test_accuracy
    assert f"test accuracy {final['accuracy']:.2f} %" in " ".join(captured.err.split())
    assert {line["tested_on"] for line in epochs_of(tmp_path / "history.jsonl", part="trial")} == {
        "held-out fifth of the training set"
    }
    assert {line["tested_on"] for line in epochs_of(tmp_path / "history.jsonl", part="best")} == {"test set"}
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")


def test_a_diverged_configuration_is_a_row_and_not_the_end(tmp_path):
    # Rates of up to 1e6 diverge; the smallest of the domain does not.
    space = job.Space(base(output="identity"), lr=(1e-3, 1e6), configurations=6)
    trials = job.random_search(space, load("mnist-5k"), out=tmp_path, resume=False)
    statuses = [trial.status for trial in trials]
    assert set(statuses) == {"completed", "diverged"}
    assert all(t.diagnosis for t in trials if t.status == "diverged")
    assert trials[job.best(trials)].status == "completed"


def test_an_interrupted_random_search_goes_on_to_the_same_bits(tmp_path):
    options = ["--search", "random", *SMALL, "--configurations", "3", "--epochs", "6"]
    whole = sweep(*options, "--out", str(tmp_path / "whole"), "--json")
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, "-m", "rfnumeric", "sweep", *options, "--out", str(tmp_path / "cut"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "cut" / "population" / "checkpoint.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    if process.returncode == 130:  # else it was too quick to be interrupted, and resumes as a finished search
        assert "--resume goes on" in errors
        assert all(r["status"] == "interrupted" and r["part"] == "trial" for r in json.loads(out)["results"])
    before = [line["seconds"] for line in epochs_of(tmp_path / "cut" / "population" / "history.jsonl")]
    resumed = sweep(*options, "--out", str(tmp_path / "cut"), "--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    # What was done was not done again: its times are still there.
    assert set(before) <= {line["seconds"] for line in epochs_of(tmp_path / "cut" / "history.jsonl", part="trial")}
    first, second = (epochs_of(tmp_path / name / "history.jsonl") for name in ("whole", "cut"))
    assert untimed(first) == untimed(second)
    assert len(first) == 4 * 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--search", "grid"], "--search must be one of hyperopt, random; got 'grid'"),
        (["--lr-range", "1e-2,1e-4"], "--lr-range must be two positive numbers, the smaller first"),
        (["--feedback-lr-range", "0,1"], "--feedback-lr-range must be two positive numbers"),
        (["--lr-range", "low,high"], "--lr-range must be two numbers"),
        (["--configurations", "0"], "--configurations must be at least 1; got 0"),
        (["--epochs", "0"], "--epochs must be at least 1; got 0"),
        (["--option", "normalize"], "--option must be NAME=VALUE"),
        (["--option", "speed=1"], "rule 'backprop' has no option speed"),
        (["--network", "both"], "--network must be one of published, described; got 'both'"),
        (["--search", "random", "--address", "auto"], "--address is of a Ray cluster"),
        (["--rule", "rf-parallel", "--option", "feedback_lr=[1e-4,1e-3]"], "a search trains each configuration once"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", *arguments])
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"needs Ray Tune.*pip install 'rfnumeric\[sweep\]'.*--search random"):
        job.hyperopt_search(job.Space(base()), load("mnist-5k"), out=tmp_path, resume=False, address=None)


def test_log_keeps_the_order_and_refuses_another_search(tmp_path):
    space = job.Space(base(), configurations=2)
    log = TrialLog(space, tmp_path, resume=False)
    for lr in (3e-3, 1e-3):
        log.note({"lr": lr}, "running")
    log.note({"lr": 3e-3}, "failed", "the disk is full")
    again = TrialLog(space, tmp_path, resume=True)
    assert [(m.config.lr, m.status, m.diagnosis) for m in again.members()] == [
        (3e-3, "failed", "the disk is full"),
        (1e-3, "interrupted", ""),
    ]
    with pytest.raises(CheckpointError, match=r"holds an earlier search\. Give --resume"):
        TrialLog(space, tmp_path, resume=False)
    with pytest.raises(CheckpointError, match=r"a search with another epochs\. Give its settings"):
        TrialLog(replace(space, base=base(epochs=3)), tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="a search with another lr"):
        TrialLog(replace(space, lr=(1e-4, 2e-2)), tmp_path, resume=True)
    (tmp_path / "search.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"search.json cannot be read"):
        TrialLog(space, tmp_path, resume=True)


@needs_ray
def test_asha_learns_from_replayed_epochs_and_decides_on_new_ones():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Ray's own imports
        from rfnumeric.experiments.sweep.ray_tune import _ASHA
    settings = {"time_attr": "epoch", "max_t": 100, "grace_period": 1, "reduction_factor": 4}
    asha = _ASHA(metric="accuracy", mode="max", **settings)

    def decide(name, accuracy, replayed):
        trial = SimpleNamespace(trial_id=name)
        asha.on_trial_add(None, trial)
        return asha.on_trial_result(None, trial, {"epoch": 1, "accuracy": accuracy, "replayed": replayed})

    assert [decide(f"earlier {k}", 80 + k, True) for k in range(8)] == ["CONTINUE"] * 8
    assert decide("earlier and poor", 10, True) == "CONTINUE"
    assert decide("new and poor", 20, False) == "STOP"  # by what the earlier ones reached
    assert decide("new and good", 99, False) == "CONTINUE"


@needs_ray
def test_ray_resumes_a_search_and_survives_a_failed_trial(tmp_path):
    """One start of Ray: a trial that goes on from its epoch, one that had been stopped, one that fails, a new one."""
    data = load("mnist-5k")
    space = job.Space(base(epochs=4), lr=(5e-3, 1e-2), configurations=4)
    cut, stopped, blocked = ({"lr": lr} for lr in (0.007, 0.001, 0.006))
    log = TrialLog(space, tmp_path, resume=False)
    for rates, epochs in ((cut, 2), (stopped, 1)):
        config = replace(space.configure(rates), epochs=epochs)
        train(config, hold_out(data), out=TrialLog.folder(tmp_path, trial_name(rates)))
    before = [record.seconds for record in TrialLog.records(tmp_path, trial_name(cut))]
    for rates in (cut, stopped, blocked):
        log.note(rates, "running")
    log.note(stopped, "finished")
    TrialLog.folder(tmp_path, trial_name(blocked)).write_text("a file where the trial wants a folder")
    options = ["--configurations", "4", "--epochs", "4", "--lr-range", "5e-3,1e-2", *SMALL, "--out", str(tmp_path)]
    done = sweep(*options, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    *trials, final = json.loads(done.stdout)["results"]
    assert [t["lr"] for t in trials[:3]] == [0.007, 0.001, 0.006]
    assert [(t["status"], t["epochs"]) for t in trials[:3]] == [("completed", 4), ("stopped", 1), ("failed", 0)]
    assert 5e-3 <= trials[3]["lr"] <= 1e-2
    assert "trial 2: " in done.stderr  # with the reason
    (whole,) = train(space.configure(cut), hold_out(data)).members
    found = epochs_of(tmp_path / "history.jsonl", part="trial", trial=0)
    assert [line["seconds"] for line in found[:3]] == before  # not done again
    wanted = [{**line, **record.to_json()} for line, record in zip(found, whole.records, strict=True)]
    assert untimed(json.loads(json.dumps(found))) == untimed(json.loads(json.dumps(wanted).replace("NaN", "null")))
    complete = [t for t in trials if t["status"] == "completed"]
    assert final["lr"] == max(complete, key=lambda t: t["held_out_accuracy"])["lr"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "best", "history.jsonl", "ray", "results.json", "search.json", "search.png", "trials",
    }  # fmt: skip
