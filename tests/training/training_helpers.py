"""A small labelled set, and settings that train on it in a fraction of a second."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rfnumeric.datasets import Dataset
from rfnumeric.training import RunConfig


def tiny_dataset(train=130, test=45, seed=0):
    """Three classes of noisy 3×4 images, whose means differ."""
    rng = np.random.default_rng(seed)
    labels = np.arange(train + test) % 3
    means = rng.uniform(40, 215, (3, 12))
    images = np.clip(rng.normal(means[labels], 45), 0, 255).astype(np.uint8)
    return Dataset(
        "tiny",
        images[:train].copy(),
        labels[:train].copy(),
        images[train:].copy(),
        labels[train:].copy(),
        image_shape=(3, 4),
        class_names=("a", "b", "c"),
    )


def config(**changes):
    base = RunConfig(
        dataset="tiny",
        sizes=(12, 9, 7, 3),
        hidden="leaky-relu",
        output="identity",
        negative_slope=0.5,
        batch_size=2,
        epochs=4,
        lr=2e-3,
    )
    return replace(base, **changes)


def same_bits(one, two):
    """Whether two lists of arrays, or of None, are equal bit for bit."""
    one, two = ([None if v is None else np.asarray(v) for v in values] for values in (one, two))
    return len(one) == len(two) and all(
        (a is None and b is None) or (a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
        for a, b in zip(one, two, strict=True)
    )


def untimed(record):
    """An epoch's numbers without its seconds; NaN as text, which equals itself."""
    return {k: repr(v) for k, v in record.to_json().items() if k != "seconds"}


def assert_same_run(one, two):
    assert same_bits(one.network.W, two.network.W)
    assert same_bits(one.network.b, two.network.b)
    assert one.feedback.keys() == two.feedback.keys()
    for name in one.feedback:
        assert same_bits(one.feedback[name], two.feedback[name]), name
    for a, b in zip(one.members, two.members, strict=True):
        assert [untimed(r) for r in a.records] == [untimed(r) for r in b.records]
        assert (a.status, a.diagnosis) == (b.status, b.diagnosis)


RULE_OPTIONS = {
    "backprop": ("backprop", {}),
    "feedback-alignment": ("feedback-alignment", {}),
    "rf-two-phase": ("rf-two-phase", {"refresh_every": 7}),
    "rf-two-phase, recirculation": ("rf-two-phase", {"pinv": "recirculation", "refresh_every": 7, "sleep_batch": 8}),
    "rf-parallel": ("rf-parallel", {"feedback_lr": 1e-3}),
    "pseudo-backprop": ("pseudo-backprop", {"refresh_every": 7}),
    "mean-reciprocal": ("mean-reciprocal", {"refresh_every": 7}),
    "mean-reciprocal-learned": ("mean-reciprocal-learned", {"sleep_every": 3}),
    "batch-reciprocal": ("batch-reciprocal", {}),
}
"""Every rule, with a refresh period that falls into the middle of epochs."""
