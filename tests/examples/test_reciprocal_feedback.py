"""The example in plain NumPy, step for step beside the engine: same weights, same batches, both rules."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rfnumeric import kernels
from rfnumeric.backend import Streams, get_backend
from rfnumeric.datasets import load
from rfnumeric.nn import Network, get_activation, get_loss
from rfnumeric.rules import get_rule, training_step

ROOT = Path(__file__).parents[2]
STEPS, BATCH = 50, 40
ENGINE = {"backprop": "backprop", "reciprocal feedback": "rf-two-phase"}

# Hidden layers: name → (slope, rate of reciprocal feedback). At slope 0.01 it diverges within a few steps.
HIDDEN = {"identity": (1.0, 1.0), "leaky-relu": (0.5, 0.01)}


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("reciprocal_feedback", ROOT / "examples" / "reciprocal_feedback.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def batches():
    """Images in [−1, 1] with their labels; the last batch is smaller, as at an epoch's end."""
    digits = load("mnist-5k")
    sizes = [*[BATCH] * (STEPS - 1), 7]
    ends = np.cumsum(sizes)
    return [
        (digits.train_images[end - n : end] / 127.5 - 1, digits.train_labels[end - n : end])
        for n, end in zip(sizes, ends, strict=True)
    ]


def engine_step(network, rule, feedback, x, labels, lr, streams, step):
    loss = get_loss("cross-entropy")

    def update(network, trace):
        network.update(trace, lr)

    done = training_step(rule, network, feedback, x, labels, loss=loss, update=update, streams=streams, step=step)
    return done.feedback


@pytest.mark.parametrize("engine_kernels", ["reference", "accelerated"])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("rule", ENGINE)
def test_every_step_is_the_engines(example, batches, monkeypatch, rule, hidden, engine_kernels):
    slope, rate = HIDDEN[hidden]
    matrices, deltas, refresh_every, lr = example.RULES[rule]
    lr = rate if rule == "reciprocal feedback" else lr
    monkeypatch.setitem(example.RULES, rule, (matrices, deltas, refresh_every, lr))
    sizes = example.SIZES
    slopes = [None, *[slope] * (len(sizes) - 2), example.SLOPES[-1]]

    rng = np.random.default_rng(3)
    W = [None, *(rng.normal(0, np.sqrt(2 / n), (m, n)) for n, m in pairwise(sizes))]
    output = get_activation("leaky-relu", example.SLOPES[-1])
    network = Network([None, *(W_l.copy() for W_l in W[1:])], [None] * len(W), get_activation(hidden, slope), output)
    streams = Streams(0, get_backend("numpy", dtype="float64"))
    engine_rule = get_rule(ENGINE[rule])
    feedback, engine_feedback = None, engine_rule.init(network, streams)

    # The products of a step's L layers round by n·eps of what they make, each W⁺ by n·eps·κ(W), the sum by eps·‖W‖.
    # Rounding adds up over the steps, which do not enlarge it: their rates are those of a run that learns.
    eps, n = np.finfo(np.float64).eps, max(sizes[1:])
    condition = max(np.linalg.cond(W_l) for W_l in W[2:])
    allowed = np.zeros(len(W))
    with kernels.use_reference() if engine_kernels == "reference" else nullcontext():
        for step, (x, labels) in enumerate(batches):
            before = [None, *(W_l.copy() for W_l in W[1:])]
            feedback = example.train_step(rule, W, feedback, x, labels, step, slopes)
            engine_feedback = engine_step(network, engine_rule, engine_feedback, x, labels, lr, streams, step)
            for l in range(1, len(W)):
                change, size = np.linalg.norm(W[l] - before[l]), np.linalg.norm(W[l])
                allowed[l] += eps * (len(W) * n * condition * change + size)
                error = np.linalg.norm(W[l] - network.W[l])
                assert error <= allowed[l], f"W[{l}] after step {step}: {error:.1e}, allowed {allowed[l]:.1e}"
                assert change > 1e5 * allowed[l]  # each step moves by far more than may be between the two


def test_it_runs_as_it_says(example, tmp_path, monkeypatch, capsys):
    """The whole example, two epochs of it: a row for each rule, and a figure."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setattr(example, "EPOCHS", 2)
    example.main(str(tmp_path / "figure.png"))
    lines = capsys.readouterr().out.splitlines()
    for line, rule in zip(lines[1:3], example.RULES, strict=True):
        assert line.startswith(rule)
        accuracy, *cosines = map(float, line.removeprefix(rule).split())
        assert 20 < accuracy < 100
        # Each layer of this network contracts, so that J_l B_l = I: the output moves straight against the error.
        assert len(cosines) == 5
        assert (min(cosines) == 1) == (rule == "reciprocal feedback")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
