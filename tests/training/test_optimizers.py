"""Momentum, Adam and the schedules: torch.optim's steps, members like single runs, every rule, bit-for-bit resume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_helpers import RULE_OPTIONS, assert_same_run, config, same_bits, tiny_dataset

from rfnumeric.backend import Streams, eps, get_backend, to_numpy
from rfnumeric.errors import CheckpointError
from rfnumeric.nn import init_network
from rfnumeric.training import OPTIMIZERS, SCHEDULES, RunConfig, get_optimizer, train
from rfnumeric.training.loop import Loop
from rfnumeric.training.optimizers import scheduled_rate

STEPS = 12
OTHER = {
    "sgd": {},
    "momentum": {"momentum": 0.6},
    "adam": {"beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3},
}


def torch_optimizer(torch, name, options, parameters, lr):
    if name == "adam":
        betas = options.get("beta1", 0.9), options.get("beta2", 0.999)
        return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=options.get("epsilon", 1e-8))
    momentum = options.get("momentum", 0.9) if name == "momentum" else 0.0
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum)


def torch_schedule(torch, name, optimizer):
    if name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    end = 0.0 if name == "linear" else 1.0
    return torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=end, total_iters=STEPS)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("options", [{}, OTHER], ids=["default", "other"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_steps_are_those_of_torch(name, options, schedule, backend64):
    torch = pytest.importorskip("torch")
    chosen = options.get(name, {})
    optimizer, streams = get_optimizer(name, **chosen), Streams(0, backend64)
    network = init_network([5, 7, 3], streams, bias=True)
    state, lr = optimizer.init(network), 0.03
    parameters = [torch.tensor(to_numpy(v).copy()) for v in (*network.W[1:], *network.b[1:])]
    theirs = torch_optimizer(torch, name, chosen, parameters, lr)
    scheduler = torch_schedule(torch, schedule, theirs)
    for step in range(STEPS):
        x = streams.child("x", step).normal((4, 5))
        trace = network.forward(x)
        trace.delta = [None, *(streams.child("delta", step, l).normal((4, n)) for l, n in ((1, 7), (2, 3)))]
        delta, h = ([to_numpy(v) for v in values] for values in (trace.delta[1:], trace.h[:-1]))
        gradients = [*(d.T @ v / 4 for d, v in zip(delta, h, strict=True)), *(d.mean(axis=0) for d in delta)]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = torch.tensor(g)
        state = optimizer.update(network, trace, scheduled_rate(lr, schedule, step, STEPS), state, step)
        theirs.step()
        scheduler.step()
    for ours, p in zip((*network.W[1:], *network.b[1:]), parameters, strict=True):
        # A step rounds to a few eps of |W| and of its own change; Adam divides by √v, which passes on the relative
        # error of G (batch·eps·|δ||h|), large where a sum over the batch cancels: c = 1000.
        assert np.abs(to_numpy(ours) - p.numpy()).max() <= 1000 * STEPS * eps(backend64.dtype)


def test_sgd_has_no_state_and_is_the_networks_own_update():
    network = init_network([4, 3], Streams(0, get_backend("numpy")))
    trace = network.forward(np.ones((2, 4), np.float32))
    trace.delta = [None, np.ones((2, 3), np.float32)]
    other, optimizer = network.copy(), get_optimizer("sgd")
    assert optimizer.init(network) == {}
    assert optimizer.update(network, trace, 0.1, {}, 0) == {}
    other.update(trace, 0.1)
    assert same_bits(network.W, other.W)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_constant_direction(name):
    """What each does with G = 1 at every step: −λt, −λ Σ (1 − μʲ)/(1 − μ), and −λt, since m̂/√v̂ = 1."""
    network = init_network([1, 1], Streams(0, get_backend("numpy", dtype="float64")))
    first, one = float(network.W[1][0, 0]), np.ones((1, 1))
    optimizer = get_optimizer(name)
    state, trace = optimizer.init(network), network.forward(one)
    trace.delta = [None, one]
    for step in range(10):
        state = optimizer.update(network, trace, 0.01, state, step)
    j = np.arange(1, 11)
    moved = {"sgd": 10, "momentum": ((1 - 0.9**j) / (1 - 0.9)).sum(), "adam": 10 / (1 + 1e-8)}[name]
    assert float(network.W[1][0, 0]) == pytest.approx(first - 0.01 * moved, abs=100 * eps(one))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("name", ["momentum", "adam"])
@pytest.mark.parametrize("rule", RULE_OPTIONS)
def test_resumed_is_uninterrupted(rule, name, schedule, tmp_path):
    """Every rule with every optimizer, as a population of rates, stopped in the middle of its schedule."""
    rule_name, options = RULE_OPTIONS[rule]
    settings = config(
        rule=rule_name,
        rule_options=options,
        optimizer=name,
        lr_schedule=schedule,
        bias=True,
        sizes=(12, 37, 41, 3),
        batch_size=26,
        lr=(1e-3, 2e-4),
        seed=(0, 1),
    )
    whole = train(settings, tiny_dataset())
    assert all(m.status == "completed" for m in whole.members)

    def interrupt(epoch, done, of, accuracy):
        if epoch == 3:
            raise KeyboardInterrupt

    assert train(settings, tiny_dataset(), out=tmp_path, progress=interrupt).interrupted
    assert_same_run(train(settings, tiny_dataset(), out=tmp_path, resume=True), whole)


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_resumed_is_uninterrupted_on_every_backend(name, xp_name, tmp_path):
    settings = config(optimizer=name, backend=xp_name, epochs=2, batch_size=13, dtype="float64")
    whole = train(settings, tiny_dataset())
    train(replace(settings, epochs=1), tiny_dataset(), out=tmp_path)
    assert_same_run(train(settings, tiny_dataset(), out=tmp_path, resume=True), whole)


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_every_backend_trains_alike(name, xp_name):
    settings = config(optimizer=name, epochs=1, batch_size=13, dtype="float64", hidden="tanh")
    one, two = (train(replace(settings, backend=b), tiny_dataset()) for b in ("numpy", xp_name))
    for l in (1, 2, 3):
        error = np.abs(one.network.W[l] - to_numpy(two.network.W[l])).max()
        # Ten steps of relative error c·n·eps in G (c = 100), amplified where Adam divides by √v: steps of about λ.
        assert error <= 10 * 100 * 12 * eps(one.network.W[l]) * (1 + np.abs(one.network.W[l]).max())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_population_of_rates_is_as_many_runs(name, schedule):
    settings = config(optimizer=name, lr_schedule=schedule, dtype="float64", bias=True, batch_size=13, epochs=2)
    rates, seeds = (1e-4, 1e-3, 5e-3), (0, 1, 2)
    together = train(replace(settings, lr=rates, seed=seeds), tiny_dataset())
    for k in range(3):
        alone = train(replace(settings, lr=rates[k], seed=seeds[k]), tiny_dataset())
        for l in (1, 2, 3):
            error = np.abs(together.network.W[l][k] - alone.network.W[l]).max()
            assert error <= 20 * 100 * 12 * eps(alone.network.W[l]) * (1 + np.abs(alone.network.W[l]).max())


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_a_diverged_member_leaves_the_others_alone(name, tmp_path):
    settings = config(optimizer=name, output="identity", lr=(1e-3, 1e30), seed=(0, 1), batch_size=13, bias=True)
    both = train(settings, tiny_dataset(), out=tmp_path)
    assert [m.status for m in both.members] == ["completed", "diverged"]
    first = train(replace(settings, lr=(1e-3, 1e-3)), tiny_dataset())
    assert same_bits([W[0] for W in both.network.W[1:]], [W[0] for W in first.network.W[1:]])
    # What is left of the other is finite, its running means too.
    with np.load(tmp_path / "checkpoint.npz") as file:
        means = [file[n] for n in file.files if n.startswith("optimizer/")]
    assert means
    assert all(np.isfinite(mean).all() for mean in means)


def test_the_loop_asks_for_the_rate_of_its_own_step():
    rates = []

    class Spy(type(get_optimizer("sgd"))):
        def update(self, network, trace, lr, state, step):
            rates.append(lr)
            return state

    loop = Loop(config(lr=0.5, lr_schedule="linear", epochs=2, batch_size=65), tiny_dataset())
    loop.optimizer = Spy()
    loop.run()
    assert rates == [0.5, 0.375, 0.25, 0.125]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_fixes_the_epochs(schedule, tmp_path):
    settings = config(lr_schedule=schedule, epochs=1, batch_size=65)
    train(settings, tiny_dataset(), out=tmp_path)
    with pytest.raises(CheckpointError, match=r"epochs = 1 \(asked for 2\)"):
        train(replace(settings, epochs=2), tiny_dataset(), out=tmp_path, resume=True)


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path):
    train(config(optimizer="adam", epochs=1, batch_size=65), tiny_dataset(), out=tmp_path)
    with pytest.raises(CheckpointError, match=r"optimizer = adam \(asked for momentum\)"):
        train(config(optimizer="momentum", batch_size=65), tiny_dataset(), out=tmp_path, resume=True)


def test_settings_survive_json():
    settings = config(optimizer="adam", optimizer_options={"beta1": 0.5}, lr_schedule="cosine")
    assert RunConfig.from_json(settings.to_json()) == settings
    assert settings.make_optimizer().beta1 == 0.5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("newton", {}, "optimizer must be one of sgd, momentum, adam; got 'newton'"),
        ("sgd", {"momentum": 0.9}, "optimizer 'sgd' has no option momentum; it has none. Leave it out"),
        ("adam", {"momentum": 0.9}, "it has beta1, beta2, epsilon"),
        ("momentum", {"momentum": 1.0}, r"momentum must lie in \[0, 1\); got 1.0"),
        ("momentum", {"momentum": float("nan")}, r"momentum must lie in \[0, 1\); got nan"),
        ("adam", {"beta1": -0.1}, r"beta1 must lie in \[0, 1\)"),
        ("adam", {"beta2": 1.0}, r"beta2 must lie in \[0, 1\)"),
        ("adam", {"epsilon": 0.0}, "epsilon must be positive and finite; got 0.0"),
    ],
)
def test_errors(name, options, message):
    with pytest.raises(ValueError, match=message):
        config(optimizer=name, optimizer_options=options)


def test_an_unknown_schedule_is_an_error():
    with pytest.raises(ValueError, match="lr_schedule must be one of constant, linear, cosine; got step"):
        config(lr_schedule="step")
