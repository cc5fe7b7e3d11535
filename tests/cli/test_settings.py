"""Options of a rule and an optimizer on the command line: read from their dataclasses, and nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields

import pytest

from rfnumeric.rules import RULES
from rfnumeric.settings import settings, summary
from rfnumeric.training.optimizers import OPTIMIZERS

EVERYTHING = {**RULES, **OPTIMIZERS}


def run(*words, **environment):
    command = [sys.executable, "-m", "rfnumeric", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment or None)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_field_is_an_option_with_its_meaning(name):
    cls = EVERYTHING[name]
    found = {s.name: s for s in settings(cls)}
    assert list(found) == [f.name for f in fields(cls)]
    for field in fields(cls):
        assert found[field.name].default == field.default
        assert len(found[field.name].meaning) > 10, field.name
    assert len({s.meaning for s in found.values()}) > len(found) - 2  # a meaning of its own, but for β₁ and β₂
    assert "=" in summary(cls) or "←" in summary(cls)


def test_an_entry_that_refers_to_another_class_is_followed():
    parallel = {s.name: s for s in settings(RULES["rf-parallel"])}
    two_phase = {s.name: s for s in settings(RULES["rf-two-phase"])}
    for name in ("own_layer", "normalize", "derivative_damping"):
        assert parallel[name].meaning == two_phase[name].meaning
    assert parallel["own_layer"].choices == ("reciprocal", "derivative", "none")


def test_options_reach_the_run(tmp_path):
    words = ["--rule", "rf-parallel", "--feedback-lr", "0.001,0.01", "--no-normalize", "--own-layer=derivative"]
    words += ["--optimizer", "momentum", "--momentum", "0.5", "--sizes", "784,10", "--epochs", "0", "--json"]
    code, out, err = run("train", *words)
    assert code == 0, err
    first, second = (r["config"] for r in json.loads(out)["results"])
    assert first["rule_options"] == {"feedback_lr": 0.001, "normalize": False, "own_layer": "derivative"}
    assert second["rule_options"]["feedback_lr"] == 0.01
    assert first["optimizer_options"] == {"momentum": 0.5}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--feedback-lr", "1"], "rule 'backprop' has no option --feedback-lr; it belongs to rf-parallel."),
        (["--beta1", "0.5"], "optimizer 'sgd' has no option --beta1; it belongs to adam."),
        (["--rule", "rf-two-phase", "--refresh-evry", "2"], "Did you mean --refresh-every?"),
        (["--rule", "nonsense", "--help"], "rule must be one of backprop"),
        (["--rule", "rf-parallel", "--feedback-lr", "much"], "--feedback-lr must be numbers"),
        (["--rule", "rf-two-phase", "--pinv", "lu"], "pinv must be one of auto"),
    ],
)
def test_a_wrong_option_is_one_line(words, told):
    code, _, err = run("train", *words)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1


def test_help_fits_two_screens_and_shows_the_rule_that_is_named():
    wide = {"COLUMNS": "80", "PATH": "", "PYTHONIOENCODING": "utf-8"}
    code, plain, _ = run("train", "--help", **wide)
    assert code == 0
    assert len(plain.splitlines()) <= 80  # two screens of 80 columns and 40 lines
    assert "--feedback-lr" not in plain
    _, named, _ = run("train", "--rule", "rf-parallel", "--optimizer=adam", "--help", **wide)
    assert "Options of --rule rf-parallel" in named
    for flag in ("--feedback-lr", "--start", "--own-layer", "--derivative-damping", "--beta2"):
        assert flag in named
    assert "ΔW⁺_l" in " ".join(named.split())


def test_rules_lists_equations_and_options():
    code, out, _ = run("rules", "--json")
    assert code == 0
    listed = json.loads(out)["results"]
    assert [r["rule"] for r in listed] == list(RULES)
    _, out, _ = run("rules", "rf-two-phase")
    assert "--refresh-every" in out
    assert "B_l = W_{l+1}⁺" in " ".join(out.split())
    _, out, _ = run("rules", "backprop")
    assert "no options" in out


def test_a_network_by_name_has_options_of_its_own(tmp_path):
    words = ["--network", "lenet", "--kernel", "3", "--network-hidden", "20", "--epochs", "0", "--json"]
    code, out, err = run("train", *words)
    assert code == 0, err
    config = json.loads(out)["results"][0]["config"]
    assert (config["network"], config["network_options"], config["sizes"]) == (
        "lenet",
        {"kernel": 3, "hidden": 20},
        [784, 10],
    )
    code, _, err = run("train", "--network", "lenet", "--sizes", "784,10")
    assert (code, "--sizes belongs to --network mlp" in err) == (2, True)
    code, _, err = run("train", "--network", "resnet")
    assert (code, "network must be one of papers, mlp, lenet" in err) == (2, True)
