"""Table 1 again: the papers' settings, published beside measured, resumed rows, and the command that prints them."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rfnumeric import published
from rfnumeric.cli import app
from rfnumeric.datasets import load
from rfnumeric.experiments import table1

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "published.json"
NAMES = {
    "v1": {"backprop": "backprop", "reciprocal": "reciprocal", "feedback-alignment": "feedback alignment"},
    "v2": {
        "backprop": "backprop",
        "rf-parallel": "parallel",
        "rf-two-phase": "two-phase",
        "feedback-alignment": "feedback alignment",
    },
}


def small_data():
    data = load("mnist-5k")
    return replace(data, train_images=data.train_images[:200], train_labels=data.train_labels[:200])


@pytest.mark.skipif(not REFERENCE.exists(), reason="the transcription of the papers' tables is not here")
@pytest.mark.parametrize("paper", ["v1", "v2"])
def test_published_numbers_are_those_of_the_transcription(paper):
    reference = json.loads(REFERENCE.read_text())[paper]
    assert set(NAMES[paper]) == set(reference["table1"])
    for name, row in NAMES[paper].items():
        for dataset, where in table1.DATASETS.items():
            numbers = reference["table1"][name][dataset]
            assert published.ACCURACY[paper][row][where] == numbers["accuracy"]
            assert published.EPOCHS[paper][row][where] == numbers["epochs"]
            config = table1.configure(paper, "described", row, dataset, seeds=1)
            settings = reference["settings"][dataset]
            assert list(config.sizes) == settings["sizes"]
            if paper == "v1":
                wanted = tuple(settings[k] for k in ("learning_rate", "batch_size", "epochs"))
            else:
                rates = reference["optimal_learning_rates"][dataset][name]
                batch = reference["settings"]["search"]["batch_size"]
                wanted = (rates["forward"], batch, settings["max_epochs"])
                if name == "rf-parallel":
                    assert config.rule_options["feedback_lr"] == rates["feedback"]
                if name == "rf-two-phase":
                    assert config.rule_options["refresh_every"] == reference["settings"]["two_phase_pinv_every"]
            assert (config.lr, config.batch_size, config.epochs) == wanted
            assert (config.optimizer, config.loss) == ("sgd", "cross-entropy")


@pytest.mark.parametrize(("network", "hidden"), [("published", "identity"), ("described", "leaky-relu")])
@pytest.mark.parametrize("paper", ["v1", "v2"])
def test_every_row_of_the_paper_has_a_rule(paper, network, hidden):
    assert set(table1.ROWS[paper, network]) == set(published.ACCURACY[paper])
    for row in table1.ROWS[paper, network]:
        config = table1.configure(paper, network, row, "cifar-10", seeds=2)
        assert (config.hidden, config.output, config.population) == (hidden, "leaky-relu", 2)


def test_quick_keeps_rate_and_batch_size():
    full, quick = (table1.configure("v2", "published", "parallel", "mnist", seeds=1, quick=q) for q in (False, True))
    assert replace(full, dataset="mnist-5k", epochs=table1.QUICK_EPOCHS) == quick
    assert table1.configure("v1", "published", "backprop", "mnist", seeds=1, quick=True, epochs=1).epochs == 1


def test_a_row_states_mean_and_deviation_of_its_seeds_and_every_fate():
    (row, *_) = table1.run_table("v1", ["described"], "mnist", small_data(), seeds=3, quick=True, epochs=4)
    accuracies = [m.records[-1].test_accuracy for m in row.run.members]
    result = row.result()
    assert result["accuracy_mean"] == pytest.approx(np.mean(accuracies))
    assert result["accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (result["published_accuracy"], result["published_epochs"]) == (92.35, 2)
    epochs = [r["epochs_to_90"] for r in result["runs"] if r["epochs_to_90"] is not None]
    assert result["epochs_to_90_median"] == (statistics.median(epochs) if epochs else None)
    row.run.members[0].status = "diverged"
    result = row.result()
    assert result["accuracy_mean"] == pytest.approx(np.mean(accuracies[1:]))
    assert result["statuses"] == ["diverged", "completed", "completed"]


def test_a_stopped_table_goes_on_where_it_was(tmp_path):
    options = {"seeds": 2, "quick": True, "epochs": 2}
    whole = table1.run_table("v1", ["published"], "mnist", small_data(), **options)
    table1.run_table("v1", ["published"], "mnist", small_data(), out=tmp_path, **{**options, "epochs": 1})
    again = table1.run_table("v1", ["published"], "mnist", small_data(), out=tmp_path, resume=True, **options)
    assert [row.name for row in again] == list(table1.ROWS["v1", "published"])
    for one, two in zip(whole, again, strict=True):
        for a, b in zip(one.run.network.W[1:], two.run.network.W[1:], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("command", "figure", "rows", "seeds"), [("table1", "curves.png", 6, 3), ("figure4", "figure4.png", 8, 1)]
)
def test_command(command, figure, rows, seeds, tmp_path):
    options = ["--network", "both", "--quick", "--epochs", "1", "--json", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["reproduce", command, *options])
    assert done.exit_code == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert json.loads((tmp_path / "results.json").read_text())["results"] == results
    assert len(results) == rows
    assert all(len(r["runs"]) == seeds for r in results)
    assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    runs = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert sum(r["record"] == "run" for r in runs) == rows * seeds
    assert {r["network"] for r in runs} == {"published", "described"}
    assert "the published numbers are for MNIST and full runs" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--paper", "v3"], "--paper must be one of v1, v2; got 'v3'"),
        (["--network", "deep"], "--network must be one of published, described, both; got 'deep'"),
        (["--dataset", "svhn"], "--dataset must be one of mnist, cifar-10; got 'svhn'"),
        (["--seeds", "0"], "--seeds must be at least 1; got 0"),
    ],
)
def test_errors(arguments, message, tmp_path):
    done = CliRunner().invoke(app, ["reproduce", "table1", "--out", str(tmp_path / "new"), *arguments])
    assert isinstance(done.exception, ValueError)
    assert message in str(done.exception)
    assert not (tmp_path / "new").exists()
