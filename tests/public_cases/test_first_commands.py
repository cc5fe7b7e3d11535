"""Every command that README or a --help names is known here with a quick form, and a new one cannot be forgotten."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "first_commands.py"


@pytest.fixture(scope="module")
def script():
    if not SCRIPT.exists():
        pytest.skip("the script is part of a clone")
    spec = importlib.util.spec_from_file_location("first_commands", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_a_quick_form(script):
    commands = script.leaves()
    assert {"compare", "train", "sweep", "reproduce table1", "datasets list", "study map"} <= set(commands)
    assert set(commands) == set(script.QUICK)


def test_every_line_of_the_readme_is_a_command_that_exists(script):
    lines = script.of_readme((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(lines) > 8
    for line in lines:
        assert script.leaf(line) is not None, line


def test_a_line_that_nobody_knows_is_found(script):
    text = "Run `rfnumeric trian --rule x` or\n```sh\nrfnumeric train --rulee backprop && rfnumeric info\n```\n"
    assert script.of_readme(text) == [["train", "--rulee", "backprop"], ["info"], ["trian", "--rule", "x"]]
    assert script.leaf(["trian", "--rule", "x"]) is None
    assert script.unknown_options(["train", "--rulee", "backprop"]) == ["--rulee"]
    assert script.unknown_options(["train", "--rule", "backprop", "--no-bias"]) == []


@pytest.mark.parametrize("words", [["--version"], ["info"], ["datasets", "list"], ["datasets", "verify", "mnist-5k"]])
def test_first_words(script, words, tmp_path):
    done = script.run(words, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
