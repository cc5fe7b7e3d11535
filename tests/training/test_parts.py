"""A population that is trained in parts, on any number of threads, is the population trained as a whole."""

from __future__ import annotations

import numpy as np
import pytest
import threadpoolctl
from training_helpers import RULE_OPTIONS, assert_same_run, config, tiny_dataset

from rfnumeric.training import loop as loops
from rfnumeric.training import parts, train

POPULATION = {"lr": (1e-3, 2e-3, 3e-3), "seed": (0, 1, 2), "epochs": 2}


@pytest.fixture(params=[True, False], ids=["alone", "several"])
def alone(request, monkeypatch):
    """Whether each of these small members is to be a part of its own."""
    cut_alone(request.param, monkeypatch)
    return request.param


def cut_alone(alone, monkeypatch):
    monkeypatch.setattr(parts, "ALONE_BYTES", 0 if alone else 2**30)
    monkeypatch.setattr(parts, "CALLS", 1)


def as_a_whole(settings, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(loops, "cut", lambda *_: [])
        return train(settings, tiny_dataset())


def in_parts(settings, threads):
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        return train(settings, tiny_dataset())


def close(one, two):
    """Assert that two runs agree to rounding: 130 steps of sums of 12, amplified by training; far less than a step."""
    for a, b in zip(one.network.W[1:], two.network.W[1:], strict=True):
        assert np.max(np.abs(a - b)) <= 1e-6 * max(1.0, float(np.max(np.abs(a))))


@pytest.mark.parametrize("name", RULE_OPTIONS)
def test_parts_on_any_number_of_threads_give_the_same_bits(name, alone, monkeypatch):
    rule, options = RULE_OPTIONS[name]
    settings = config(rule=rule, rule_options=options, bias=True, dtype="float64", **POPULATION)
    one = in_parts(settings, 1)
    assert_same_run(one, in_parts(settings, 2))
    close(one, as_a_whole(settings, monkeypatch))
    assert all(member.status == "completed" for member in one.members)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_the_optimizers_means_are_cut_too(optimizer, monkeypatch):
    cut_alone(True, monkeypatch)
    settings = config(optimizer=optimizer, dtype="float64", **POPULATION)
    close(in_parts(settings, 2), as_a_whole(settings, monkeypatch))


def members_of_parts(threads, **changes):
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        return [part.members for part in loops.Loop(config(**{**POPULATION, **changes}), tiny_dataset()).parts]


def test_large_members_are_parts_of_their_own(alone):
    assert members_of_parts(2) == ([0, 1, 2] if alone else [slice(0, 1), slice(1, 3)])
    assert loops.Loop(config(), tiny_dataset()).parts == []


def test_small_members_are_parts_of_a_bounded_size(monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 1)
    monkeypatch.setattr(parts, "CALLS", 1)
    assert members_of_parts(2) == [slice(0, 1), slice(1, 2), slice(2, 3)]


@pytest.mark.parametrize("alone_bytes", [0, 2**30])
def test_members_whose_products_are_small_stay_together(alone_bytes, monkeypatch):
    # However little of the cache there is: a part would cost more in calls than it saves in fetches.
    monkeypatch.setattr(parts, "PART_BYTES", 1)
    monkeypatch.setattr(parts, "ALONE_BYTES", alone_bytes)
    assert members_of_parts(1) == [slice(0, 3)]
    assert members_of_parts(2) == [slice(0, 1), slice(1, 3)]


@pytest.mark.parametrize(
    ("sizes", "batch_size", "together"),
    [
        ((784, 400, 200, 100, 50, 10), 32, 1),  # the papers' MNIST network
        ((784, 400, 200, 100, 50, 10), 1, 1),  # its weights' fetch outweighs the calls
        ((784, *[64] * 15, 10), 32, 12),  # deep and narrow: 7,000 weights a layer
        ((784, *[64] * 50, 10), 32, 12),  # the same, of more bytes than fit the cache
        ((784, *[64] * 15, 10), 128, 4),
    ],
)
def test_how_many_networks_are_worth_a_part(sizes, batch_size, together):
    settings = config(sizes=sizes, batch_size=batch_size, lr=1e-3, seed=tuple(range(12)))
    network = settings.make_network(settings.make_streams())
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        found = parts.cut(settings, network)
    assert len(found) == 12 // together


def test_a_member_that_diverges_is_diagnosed_in_its_part(alone, monkeypatch):
    settings = config(lr=(1e-3, 1e6), seed=(0, 1), epochs=1, rule_options={})
    run = in_parts(settings, 2)
    whole = as_a_whole(settings, monkeypatch)
    assert [member.status for member in run.members] == ["completed", "diverged"]
    assert run.members[1].diagnosis == whole.members[1].diagnosis
