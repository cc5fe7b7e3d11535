"""A little package installed beside rfnumeric: its rule, data set and layer are found, trained and checkpointed.

`package/` holds it as an installation leaves it, with its metadata; the tests put that folder on the path.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from rfnumeric import datasets, plugins
from rfnumeric.errors import CheckpointError, PluginError
from rfnumeric.rules import Backprop, get_rule, rule_names
from rfnumeric.testing import check_map, check_rule
from rfnumeric.training import RunConfig, train

HERE = Path(__file__).parent / "package"
SMALL = {"sizes": (2, 8, 2), "batch_size": 20, "lr": 0.1, "bias": True}


@pytest.fixture
def outside(monkeypatch):
    """The package, as if it were installed."""
    monkeypatch.syspath_prepend(str(HERE))
    plugins.found.cache_clear()
    yield importlib.import_module("outside")
    plugins.found.cache_clear()


def test_its_metadata_are_as_an_installation_leaves_them(outside):
    assert importlib.metadata.version("outside") == "0.1"


def test_rule_and_data_are_found_trained_and_resumed(outside, tmp_path):
    assert "half-transpose" in rule_names()
    assert "two-moons" in datasets.names()
    data = datasets.load("two-moons")
    config = RunConfig(
        rule="half-transpose", rule_options={"follow": 0.3}, dataset="two-moons", epochs=20, optimizer="adam", **SMALL
    )
    whole = train(config, data)
    assert whole.members[0].records[-1].test_accuracy > 90
    half = RunConfig(
        rule="half-transpose", rule_options={"follow": 0.3}, dataset="two-moons", epochs=10, optimizer="adam", **SMALL
    )
    train(half, data, out=tmp_path)
    resumed = train(config, data, out=tmp_path, resume=True)
    for one, other in zip(whole.network.W[1:], resumed.network.W[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_its_layer_trains_in_its_network_and_goes_on_to_the_bit(outside, tmp_path):
    data = datasets.load("two-moons")
    options = {"dataset": "two-moons", "network": "scaled", "sizes": (2, 2), "batch_size": 20, "bias": True}
    for rule in ("backprop", "rf-two-phase", "mean-reciprocal-learned", "half-transpose"):
        folder = tmp_path / rule
        whole = train(RunConfig(rule=rule, negative_slope=0.5, lr=0.05, epochs=4, **options), data)
        train(RunConfig(rule=rule, negative_slope=0.5, lr=0.05, epochs=2, **options), data, out=folder)
        config = RunConfig(rule=rule, negative_slope=0.5, lr=0.05, epochs=4, **options)
        resumed = train(config, data, out=folder, resume=True)
        assert whole.network.W[1].shape == (2,)
        assert whole.members[0].status == "completed", rule
        for one, other in zip(whole.network.W[1:], resumed.network.W[1:], strict=True):
            np.testing.assert_array_equal(one, other)
    check_map(outside.Scale(5))


def test_its_rule_passes_the_kit(outside, backend64):
    check_rule(get_rule("half-transpose", follow=1.0), backend64)


def test_a_rule_object_is_a_rule_by_name(tmp_path):
    @dataclass(frozen=True)
    class Slower(Backprop):
        name: ClassVar[str] = "slower"
        share: float = 0.5

        def deltas(self, network, trace, e, feedback):
            return super().deltas(network, trace, self.share * e, feedback)

    data = datasets.Dataset(np.random.default_rng(0).standard_normal((60, 2)), np.arange(60) % 2)
    config = RunConfig(rule=Slower(0.25), dataset="data", epochs=2, dtype="float64", **SMALL)
    assert (config.rule, config.rule_options) == ("slower", {"share": 0.25})
    run = train(config, data, out=tmp_path)
    quarter = train(RunConfig(dataset="data", epochs=2, dtype="float64", **SMALL | {"lr": 0.025}), data)
    np.testing.assert_allclose(run.network.W[1], quarter.network.W[1], rtol=1e-12)
    # The checkpoint knows the rule's name, and a process without the rule refuses to go on.
    code = (
        "import sys; from pathlib import Path; from rfnumeric.training import RunConfig;"
        f"RunConfig(rule='slower', rule_options={{'share': 0.25}}, dataset='data', epochs=4, {_spelled(SMALL)})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "must be installed, or be passed as an object" in done.stderr
    with pytest.raises(CheckpointError, match="slower"):
        train(RunConfig(dataset="data", epochs=4, dtype="float64", **SMALL), data, out=tmp_path, resume=True)
    longer = RunConfig(rule=Slower(0.25), dataset="data", epochs=4, dtype="float64", **SMALL)
    assert train(longer, data, out=tmp_path, resume=True).members[0].records[-1].epoch == 4


def _spelled(options):
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def test_names_are_not_taken_twice():
    @dataclass(frozen=True)
    class Impostor(Backprop):
        pass

    with pytest.raises(ValueError, match=r"has the name of rfnumeric\.rules\.backprop\.Backprop"):
        RunConfig(rule=Impostor())

    @dataclass(frozen=True)
    class Nameless(Backprop):
        name: ClassVar[str] = ""

    with pytest.raises(ValueError, match="must have a name"):
        RunConfig(rule=Nameless())
    with pytest.raises(ValueError, match="rule_options must be empty beside a rule object"):
        RunConfig(rule=Backprop(), rule_options={"x": 1})


def test_a_broken_entry_point_is_named(outside):
    with pytest.raises(PluginError, match=r"'broken-rule', which outside declares as outside:NoSuchRule .* Mend or un"):
        get_rule("broken-rule")


def test_the_command_line_finds_them(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "rfnumeric", "train", "--rule", "half-transpose", "--dataset", "two-moons"]
    options = ["--sizes", "2,8,2", "--epochs", "1", "--out", str(tmp_path), "--json"]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [sys.executable, "-m", "rfnumeric", "datasets", "list"], env=environment, capture_output=True, text=True
    )
    assert "two-moons" in listed.stdout, listed.stderr


def test_targets_train_by_squared_error_and_pixels_of_any_number():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    target = x @ rng.standard_normal((3, 2))
    data = datasets.Dataset(x, target)
    options = {"dataset": "data", "sizes": (3, 2), "output": "identity", "lr": 0.2, "epochs": 40, "dtype": "float64"}
    run = train(RunConfig(loss="mse", **options), data)
    assert run.members[0].records[-1].test_loss < 1e-6
    population = train(RunConfig(loss="mse", **options | {"seed": (0, 1)}), data)
    np.testing.assert_allclose(population.network.W[1][0], run.network.W[1], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="loss must be 'mse' for data"):
        train(RunConfig(**options), data)
