"""JAX without being asked for: every rule trains on it as on NumPy. The whole suite runs on it on request."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from training_helpers import config, tiny_dataset

from rfnumeric.backend import eps, get_backend, to_numpy
from rfnumeric.rules import RULES
from rfnumeric.testing import check_backend
from rfnumeric.training import train

pytest.importorskip("jax", reason="JAX is not installed: pip install 'rfnumeric[jax]'")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_trains_as_on_numpy(rule):
    """Three steps. There are few shapes on purpose, each of which costs JAX a compilation of every operation."""
    dataset = tiny_dataset(train=60, test=20)
    settings = dict(rule=rule, sizes=(12, 12, 12, 3), epochs=1, batch_size=20, dtype="float64")
    here, there = (train(config(backend=name, **settings), dataset) for name in ("jax", "numpy"))
    assert [m.status for m in here.members] == ["completed"]
    assert type(here.network.W[1]).__module__.startswith("jax")
    for l in range(1, here.network.L + 1):
        got, wanted = to_numpy(here.network.W[l]), to_numpy(there.network.W[l])
        # Three steps, each of some ten products over at most 20 samples or 12 units; inverses of κ below 100.
        allowed = 100 * 3 * 10 * 20 * eps("float64") * np.linalg.norm(wanted)
        assert np.linalg.norm(got - wanted) <= allowed


@pytest.mark.slow
def test_jax_computes_what_numpy_does():
    check_backend("jax", "float32")


def test_to_choose_jax_is_what_switches_double_precision_on():
    """In a process of its own; without the switch an array is refused rather than cut short."""
    code = """
import jax, jax.numpy as jnp, pytest
from rfnumeric.backend import available_backends, get_backend
from rfnumeric.linalg import pinv
available_backends()
assert not jax.config.jax_enable_x64
with pytest.raises(TypeError, match="A must come from a JAX that keeps float64.*get_backend"):
    pinv(jnp.eye(2))
get_backend("jax", dtype="float32")
assert jax.config.jax_enable_x64
with pytest.raises(TypeError, match="A must have values; got a JAX tracer"):
    jax.jit(pinv)(jnp.eye(2))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_host_and_jax_share_no_memory():
    host = np.zeros(1000)
    a = get_backend("jax", dtype="float64").asarray(host)
    host[:] = 1
    back = to_numpy(a)
    assert not back.any()
    back[:] = 2
    assert not to_numpy(a).any()
