"""A population that is trained in parts, on any number of threads, is the population trained as a whole."""

from __future__ import annotations

import numpy as np
import pytest
import threadpoolctl
from training_helpers import RULE_OPTIONS, assert_same_run, config, tiny_dataset

from rfnumeric.training import loop as loops
from rfnumeric.training import parts, train

POPULATION = {"lr": (1e-3, 2e-3, 3e-3), "seed": (0, 1, 2), "epochs": 2}


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


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("name", RULE_OPTIONS)
def test_parts_on_any_number_of_threads_give_the_same_bits(name, alone, monkeypatch):
    rule, options = RULE_OPTIONS[name]
    monkeypatch.setattr(parts, "ALONE_BYTES", 0 if alone else 2**30)
    settings = config(rule=rule, rule_options=options, bias=True, dtype="float64", **POPULATION)
    one = in_parts(settings, 1)
    assert_same_run(one, in_parts(settings, 2))
    close(one, as_a_whole(settings, monkeypatch))
    assert all(member.status == "completed" for member in one.members)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_the_optimizers_means_are_cut_too(optimizer, monkeypatch):
    monkeypatch.setattr(parts, "ALONE_BYTES", 0)
    settings = config(optimizer=optimizer, dtype="float64", **POPULATION)
    close(in_parts(settings, 2), as_a_whole(settings, monkeypatch))


@pytest.mark.parametrize(("alone", "expected"), [(0, [0, 1, 2]), (2**30, [slice(0, 1), slice(1, 3)])])
def test_large_members_are_parts_of_their_own(alone, expected, monkeypatch):
    monkeypatch.setattr(parts, "ALONE_BYTES", alone)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        loop = loops.Loop(config(**POPULATION), tiny_dataset())
    assert [part.members for part in loop.parts] == expected
    assert loops.Loop(config(), tiny_dataset()).parts == []


def test_small_members_are_parts_of_a_bounded_size(monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 1)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        loop = loops.Loop(config(**POPULATION), tiny_dataset())
    assert [part.members for part in loop.parts] == [slice(0, 1), slice(1, 2), slice(2, 3)]


@pytest.mark.parametrize("alone", [0, 2**30])
def test_a_member_that_diverges_is_diagnosed_in_its_part(alone, monkeypatch):
    monkeypatch.setattr(parts, "ALONE_BYTES", alone)
    settings = config(lr=(1e-3, 1e6), seed=(0, 1), epochs=1, rule_options={})
    run = in_parts(settings, 2)
    whole = as_a_whole(settings, monkeypatch)
    assert [member.status for member in run.members] == ["completed", "diverged"]
    assert run.members[1].diagnosis == whole.members[1].diagnosis
