"""The command line, run as a user runs it: in a process of its own, on small work."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from rfnumeric.backend import BACKENDS
from rfnumeric.cli.train import train as train_command
from rfnumeric.rules import RULES
from rfnumeric.training import OPTIMIZERS, RunConfig

PAPERS = ("backprop", "feedback-alignment", "rf-two-phase", "rf-parallel", "pseudo-backprop")  # compare's default
SMALL = ["--sizes", "784,12,10", "--epochs", "2", "--batch-size", "100"]


def rfnumeric(*arguments: str, **keywords) -> subprocess.CompletedProcess:
    environment = {**os.environ, "COLUMNS": "160", **keywords.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "rfnumeric", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        **keywords,
    )


def test_compare_writes_table_json_history_and_figure(tmp_path):
    done = rfnumeric("compare", *SMALL, "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert json.loads((tmp_path / "results.json").read_text())["results"] == results
    assert [(r["network"], r["rule"]) for r in results] == [(n, r) for n in ("published", "described") for r in PAPERS]
    wanted = {"rule", "dataset", "seed", "accuracy", "best_accuracy", "epochs_to_90", "seconds", "status", "network"}
    assert all(wanted <= set(r) for r in results)
    assert all(r["status"] in ("completed", "diverged") for r in results)
    # The table is for eyes, so it goes to standard error where JSON has standard output.
    assert "As described: leaky-relu hidden layers" in done.stderr
    records = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert sum(r["record"] == "run" for r in records) == 2 * len(PAPERS)
    assert {"rfnumeric", "packages", "blas", "commit"} <= set(records[0]["environment"])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_compare_can_be_narrowed_and_tuned(tmp_path):
    done = rfnumeric(
        "compare", *SMALL, "--out", str(tmp_path), "--network", "published", "--rules", "backprop", "--tune", "--json"
    )
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert "chosen on a held-out fifth" in done.stderr
    assert str(result["lr"]) in done.stderr


def test_metrics_join_the_history_and_are_drawn(tmp_path):
    chosen = ["--network", "described", "--rules", "backprop,pseudo-backprop"]
    done = rfnumeric("compare", *SMALL, *chosen, "--metrics", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    measured = [r["metrics"]["gradient_cosine"] for r in records if r["record"] == "epoch"]
    assert len(measured) == 6
    assert all(m[1:] == pytest.approx([1, 1], abs=1e-6) for m in measured[:3])  # backprop, float32
    assert (tmp_path / "metrics-described.png").read_bytes().startswith(b"\x89PNG")
    out = tmp_path / "train"
    done = rfnumeric("train", *SMALL, "--metrics-every", "2", "--population", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert ["metrics" in r for r in records if r["record"] == "epoch"] == [True, False, True] * 2
    assert (out / "metrics.png").read_bytes().startswith(b"\x89PNG")


def test_train_reports_each_member_of_a_population(tmp_path):
    done = rfnumeric("train", *SMALL, "--population", "2", "--seed", "5", "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    assert [r["seed"] for r in json.loads(done.stdout)["results"]] == [5, 6]
    assert (tmp_path / "checkpoint.npz").exists()


def test_divergence_is_a_result_and_says_what_helps(tmp_path):
    options = ["--rule", "rf-two-phase", "--negative-slope", "0.0001", "--lr", "0.5", "--out", str(tmp_path)]
    done = rfnumeric("train", "--sizes", "784,40,30,20,10", "--epochs", "2", *options, "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["status"] == "diverged"
    assert result["accuracy"] is None
    assert re.search(r"step \d+.*layer \d.*condition number.*--negative-slope", result["diagnosis"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--rule", "hebb"], "rule must be one of backprop"),
        (["train", "--own-layer", "reciprocal"], "rule 'backprop' has no option --own-layer"),
        (["train", "--lr", "fast"], "--lr must be numbers"),
        (["train", "--lr", ","], "--lr must be numbers"),
        (["study", "map", "--depths", "x"], "--depths must be whole numbers"),
        (["train", "--lr", "-1"], "lr must be positive"),
        (["train", "--sizes", "784;10"], "--sizes must be widths"),
        (["train", "--sizes", "100,10"], "sizes must begin with 784"),
        (["train", "--optimizer", "newton"], "optimizer must be one of sgd"),
        (["train", "--momentum", "0.5"], "optimizer 'sgd' has no option --momentum"),
        (["compare", "--lr-schedule", "step", "--epochs", "1"], "lr_schedule must be one of constant"),
        (["train", "--resume"], "--resume needs --out"),
        (["train", "--backend", "dask"], "backend must be one of numpy"),
        (["train", "--device", "cuda:7"], "device 'cuda:7' is not one of backend 'numpy'"),
        (["compare", "--rules", "hebb", "--epochs", "1"], "--rules must name some of"),
        (["compare", "--network", "deep", "--epochs", "1"], "--network must name some of"),
        (["datasets", "fetch", "imagenet"], "mnist-5k"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    done = rfnumeric(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback():
    assert "Traceback" in rfnumeric("--debug", "train", "--rule", "hebb").stderr


def test_info_lists_backends_and_blas():
    done = rfnumeric("info", "--json")
    document = json.loads(done.stdout)
    assert {r["backend"] for r in document["results"]} == set(BACKENDS)
    assert document["environment"]["blas"][0]["threads"] >= 1
    assert "rfnumeric" in rfnumeric("info").stdout


def test_datasets_list_and_verify():
    listed = json.loads(rfnumeric("datasets", "list", "--json").stdout)["results"]
    assert {r["dataset"]: r["present"] for r in listed}["mnist-5k"]
    verified = rfnumeric("datasets", "verify", "mnist-5k", "--json")
    assert verified.returncode == 0
    assert [r["ok"] for r in json.loads(verified.stdout)["results"]] == [True] * 4


def test_interrupt_keeps_what_was_done(tmp_path):
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "rfnumeric",
            "train",
            "--sizes",
            "784,12,10",
            "--epochs",
            "100000",
            "--out",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "checkpoint.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert json.loads((tmp_path / "results.json").read_text())["results"][0]["status"] == "interrupted"
    last = json.loads((tmp_path / "history.jsonl").read_text().splitlines()[-1])
    assert last["status"] == "interrupted"


def test_the_defaults_of_train_are_those_of_a_run():
    config = {f.name: f.default for f in dataclasses.fields(RunConfig)}
    for name, parameter in inspect.signature(train_command).parameters.items():
        if name in config and name not in ("sizes", "lr", "network"):
            assert parameter.default == config[name], name


@pytest.mark.parametrize(("group", "names"), [("rule", RULES), ("optimizer", OPTIMIZERS)])
def test_help_states_the_defaults_of_every_rule_and_optimizer(group, names):
    for name, cls in names.items():
        help_text = rfnumeric("train", f"--{group}", name, "--help").stdout
        shown = " ".join(re.sub(r"[│╭╰─╮╯]", " ", help_text).split())
        for field in dataclasses.fields(cls):
            flag = field.name.replace("_", "-")
            default = (flag if field.default else f"no-{flag}") if isinstance(field.default, bool) else field.default
            assert f"--{flag}" in shown
            assert f"(default: {default})" in shown, (name, field.name)


def test_optimizer_and_schedule(tmp_path):
    options = ["--optimizer", "adam", "--beta1", "0.8", "--lr-schedule", "cosine", "--json"]
    for command, more in (("train", []), ("compare", ["--network", "described", "--rules", "backprop"])):
        given = options if command == "train" else [o for o in options if o not in ("--beta1", "0.8")]
        done = rfnumeric(command, *SMALL, *given, *more, "--out", str(tmp_path / command))
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(done.stdout)["results"]
        assert (result["config"]["optimizer"], result["config"]["lr_schedule"]) == ("adam", "cosine")
        assert result["config"]["optimizer_options"] == ({"beta1": 0.8} if command == "train" else {})
        assert result["lr"] == 0.001  # not compare's rates, which were measured with sgd
        assert result["accuracy"] > 20
