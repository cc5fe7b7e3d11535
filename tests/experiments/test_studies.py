"""The studies: differences and counts by hand, resumed maps, every trial's settings, and what a trial reports."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from typer.testing import CliRunner

from rfnumeric.cli import app
from rfnumeric.datasets import load
from rfnumeric.experiments import ablation, initialization_map, stability
from rfnumeric.experiments.cells import run_cells
from rfnumeric.training import RunConfig, train

WHERE = {"backend": "numpy", "device": None, "dtype": "float32"}


def small_data():
    data = load("mnist-5k")
    return replace(
        initialization_map.first_images(data, 200),
        test_images=data.test_images[:100],
        test_labels=data.test_labels[:100],
    )


def place(rule, gain, accuracies):
    return {
        **asdict(initialization_map.Cell("sgd", "tanh", 2, gain, rule)),
        "accuracies": accuracies,
        "accuracy_mean": float(np.mean(accuracies)),
    }


def test_differences_are_paired_by_seed():
    results = [
        place("backprop", 0.1, [10.0, 20.0, 30.0]),
        place("backprop", 1.0, [90.0, 91.0, 92.0]),
        place("unbiased", 0.1, [40.0, 51.0, 59.0]),
        place("unbiased", 1.0, [88.0, 89.0, 90.0]),
        place("unbiased", 2.0, [50.0, 50.0, 50.0]),  # backprop was not measured here
    ]
    found = initialization_map.differences(results)
    assert [(d["gain"], d["difference"], d["backprop"]) for d in found] == [(0.1, 30.0, 20.0), (1.0, -2.0, 91.0)]
    assert found[0]["error"] == pytest.approx(np.std([30, 31, 29], ddof=1) / math.sqrt(3), rel=1e-12)
    assert found[1]["error"] == 0
    (row,) = initialization_map.summary(found)
    assert (row["places"], row["better"], row["worse"]) == (2, 1, 1)
    assert (row["worst"]["gain"], row["best"]["gain"]) == (1.0, 0.1)


def test_a_killed_study_goes_on_behind_its_last_cell(tmp_path, monkeypatch):
    monkeypatch.setitem(initialization_map.RATES, "adam", (1e-3, 1e-2))
    cells = list(initialization_map.cells(["adam"], ["tanh"], [2], [1.0]))
    data, calls = small_data(), []

    def measure(cell):
        return initialization_map.measure(cell, data, seeds=2, epochs=1, **WHERE)

    def killed_at_the_second(cell):
        calls.append(cell)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(cell)

    def numbers(results):
        return [{k: v for k, v in r.items() if k != "seconds"} for r in results]

    def run(name, measure, resume):
        return run_cells(cells, measure, out=tmp_path / name, resume=resume, settings={})

    whole, _ = run("whole", measure, False)
    part, interrupted = run("part", killed_at_the_second, False)
    assert interrupted
    assert numbers(part) == numbers(whole[:1])
    rest, interrupted = run("part", killed_at_the_second, True)
    assert not interrupted
    assert calls[2:] == cells[1:]
    assert [json.loads(json.dumps(r)) for r in numbers(rest)] == [json.loads(json.dumps(r)) for r in numbers(whole)]


def test_a_place_of_the_stability_map_trains_its_rates_and_seeds(monkeypatch, tmp_path):
    monkeypatch.setitem(stability.RATES, "sgd", (1.0, 1e6))
    data = small_data()
    (cell,) = stability.cells(["sgd"], [32], [0.5])
    found = stability.measure(cell, data, seeds=2, epochs=1, **WHERE)
    slow, fast = found["rates"]
    settings = RunConfig.from_json({**found["config"], "lr": 1.0, "seed": 1})
    (alone,) = train(settings, data).members
    # In single precision a member of a population and a run by itself round differently, where BLAS's threads differ.
    assert slow["accuracies"][1] == pytest.approx(alone.records[-1].test_accuracy, abs=1.0)
    assert slow["accuracy_mean"] == np.mean(slow["accuracies"])
    assert slow["diverged_in_epoch"] == []
    assert fast == {"lr": 1e6, "accuracies": [None, None], "accuracy_mean": 10.0, "diverged_in_epoch": [1, 1]}
    stability.publish([found], out=tmp_path, as_json=False)
    *_, row = (tmp_path / "table.md").read_text().splitlines()
    assert row == f"| sgd, 32, 0.5 | 1 | {slow['accuracy_mean']:.2f} | 1e+06 |"
    assert (tmp_path / "stability.png").exists()


def test_an_optimizer_without_rates_is_an_error():
    with pytest.raises(ValueError, match=r"--optimizers must be of sgd, adam; got 'momentum'"):
        list(stability.cells(["momentum"], [32], [0.5]))


def test_beta2_is_adams_alone():
    options = [
        initialization_map.Cell(name, "tanh", 2, 1.0, "backprop").config(small_data(), epochs=1, beta2=0.9, **WHERE)
        for name in ("adam", "sgd")
    ]
    assert [c.optimizer_options for c in options] == [{"beta2": 0.9}, {}]


def test_the_best_rate_is_chosen_without_the_test_set(monkeypatch):
    monkeypatch.setitem(initialization_map.RATES, "sgd", (1e-9, 0.1, 1e6))
    cell, data = initialization_map.Cell("sgd", "leaky-relu", 2, 1.4, "backprop"), small_data()
    found = initialization_map.measure(cell, data, seeds=2, epochs=2, **WHERE)
    assert found["lr"] == 0.1  # the others do nothing, or diverge
    blind = replace(data, test_labels=(data.test_labels + 1) % 10)
    assert initialization_map.measure(cell, blind, seeds=2, epochs=2, **WHERE)["lr"] == 0.1


def test_every_trial_can_be_configured_and_has_a_folder_of_its_own():
    configs = [t.config("mnist", 3, 6) for t in ablation.TRIALS]
    assert len({json.dumps(c.to_json()) for c in configs}) == len(configs)  # no trial twice
    assert len({t.slug for t in ablation.TRIALS}) == len(ablation.TRIALS)
    assert all(t.slug.replace("-", "").replace(".", "").isalnum() for t in ablation.TRIALS)
    assert all(c.epochs <= 6 for c in configs)


def test_a_trial_reports_its_run(tmp_path):
    data = small_data()
    trials = [
        t for t in ablation.TRIALS if (t.group, t.name) in (("yardsticks", "backprop"), ("as derived", "slope 0.3"))
    ]
    results, interrupted = ablation.run_trials(trials, data, out=tmp_path, resume=False, seeds=2, epochs=1, **WHERE)
    assert not interrupted
    for trial, found in zip(trials, results, strict=True):
        members = train(trial.config(data.name, 2, 1), data).members
        assert found["accuracies"] == [m.records[-1].test_accuracy for m in members]
        assert found["train_loss_mean"] == pytest.approx(
            np.mean([m.records[-1].train_loss for m in members]), rel=1e-12
        )
    # Backprop is the gradient; as derived, the first layer's update is nearly orthogonal to it.
    assert results[0]["gradient_cosine"][1:] == pytest.approx([1.0] * 5, abs=1e-5)
    assert abs(results[1]["gradient_cosine"][1]) < 0.7
    again, _ = ablation.run_trials(trials, data, out=tmp_path, resume=True, seeds=2, epochs=1, **WHERE)
    assert again == results  # seconds too: nothing was trained again


def test_a_seed_that_diverged_counts_as_chance(tmp_path):
    trial = ablation.Trial("as derived", "far too fast", "rf-two-phase", {}, {"optimizer": "sgd", "lr": 1e6})
    (found,), _ = ablation.run_trials([trial], small_data(), out=tmp_path, resume=False, seeds=2, epochs=1, **WHERE)
    assert found["accuracies"] == [10.0, 10.0]
    assert (found["train_loss_mean"], found["gradient_cosine"]) == (None, [])
    ablation.publish([found], out=tmp_path, as_json=False)


@pytest.mark.parametrize("study", ["map", "ablation", "stability"])
def test_quick(study, tmp_path):
    done = CliRunner().invoke(app, ["study", study, "--quick", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    if study == "stability":
        assert max(rate["accuracy_mean"] for r in results for rate in r["rates"]) > 12
    else:
        assert {r["accuracy_mean"] > 10 for r in results if "backprop" in (r.get("rule"), r.get("name"))} == {True}
    assert list(tmp_path.glob("*.png"))


def test_unknown_trials_are_an_error():
    done = CliRunner().invoke(app, ["study", "ablation", "--trials", "nothing"])
    assert isinstance(done.exception, ValueError)
    assert "--trials must name words of a trial" in str(done.exception)


def test_pages_include_what_was_measured(tmp_path):
    results = [place("backprop", 0.1, [10.0, 20.0]), place("unbiased", 0.1, [40.0, 51.0])]
    initialization_map.publish(results, out=tmp_path, as_json=False)
    header, rule, *rows = (tmp_path / "table.md").read_text().splitlines()
    assert header.startswith("| rule, optimizer | places |")
    assert rule == "| --- |" + " ---: |" * 5
    assert rows == [
        "| unbiased, sgd | 1 | 1 | 0 | +30.5 (tanh, 2 layers, gain 0.1) | +30.5 (tanh, 2 layers, gain 0.1) |"
    ]
