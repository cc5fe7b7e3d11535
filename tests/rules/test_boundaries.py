"""Where the options of rules and optimizers end: the last value that is allowed, and the first that is not."""

from __future__ import annotations

import math

import pytest

from rfnumeric.rules import get_rule
from rfnumeric.training import RunConfig, get_optimizer

TINY, HUGE = math.ulp(0.0), math.nextafter(math.inf, 0)
BELOW_1, ABOVE_1 = math.nextafter(1, 0), math.nextafter(1, 2)


def rule(**options):
    return get_rule("rf-two-phase", pinv="recirculation", **options)


def momentum(value):
    return get_optimizer("momentum", momentum=value)


def adam(**options):
    return get_optimizer("adam", **options)


@pytest.mark.parametrize(
    ("make", "allowed", "refused"),
    [
        (lambda v: rule(sleep_lr=v), (TINY, BELOW_1, 1.0), (0.0, -TINY, ABOVE_1, math.nan)),
        (lambda v: rule(sleep_batch=v), (1, 2), (0, -1)),
        (lambda v: rule(refresh_every=v), (1, 2), (0, -1)),
        (lambda v: rule(weight_damping=v), (0.0, -0.0), (TINY, 1.0, -TINY, math.nan)),
        (lambda v: rule(derivative_damping=v), (0.0, TINY), (-TINY, math.nan)),
        (momentum, (0.0, TINY, BELOW_1), (-TINY, 1.0, ABOVE_1, math.nan)),
        (lambda v: adam(beta1=v), (0.0, TINY, BELOW_1), (-TINY, 1.0, ABOVE_1, math.nan)),
        (lambda v: adam(beta2=v), (0.0, TINY, BELOW_1), (-TINY, 1.0, ABOVE_1, math.nan)),
        (lambda v: adam(epsilon=v), (TINY, HUGE), (0.0, -TINY, math.inf, math.nan)),
        (lambda v: RunConfig(lr=v), (TINY, HUGE), (0.0, -TINY, math.inf, math.nan)),
        (lambda v: RunConfig(spectrum_control=v), (0.0, TINY, BELOW_1), (-TINY, 1.0, math.nan)),
        (lambda v: RunConfig(batch_size=v), (1, 2), (0, -1)),
        (lambda v: RunConfig(epochs=v), (0, 1), (-1,)),
    ],
    ids=[
        *("sleep_lr", "sleep_batch", "refresh_every", "weight_damping", "derivative_damping", "momentum"),
        *("beta1", "beta2", "epsilon", "lr", "spectrum_control", "batch_size", "epochs"),
    ],
)
def test_options_end_where_they_are_said_to(make, allowed, refused):
    for value in allowed:
        make(value)
    for value in refused:
        with pytest.raises(ValueError, match=r"must|belongs"):
            make(value)
