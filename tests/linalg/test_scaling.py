"""Scale: powers of two in the arguments of a public function change the exponents of its result, and no other bit.

Each case says by which power of which exponent its arguments and results move; the exponents are then drawn over all
that keeps every number normal.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scaling_cases import CASES, Case, Weights

from rfnumeric import linalg

RECORDS = {"Drift", "IterationResult", "PenroseResiduals", "PinvInfo", "RankOneUpdate"}
WITHOUT_SCALE = {
    # P(t) of Ṗ = 2(P − P²): the equation itself has a scale.
    "logistic_flow",
}


def test_every_public_name_has_a_case() -> None:
    tested = {name.split(".")[0].split(" ")[0] for name in CASES}
    assert set(linalg.__all__) - RECORDS - WITHOUT_SCALE == tested


def moved(value: Any, power: int) -> Any:
    """Return value·2^power, exactly."""
    if isinstance(value, float):
        return math.ldexp(value, power)
    return np.ldexp(value, power).astype(value.dtype) if np.asarray(value).dtype.kind == "f" else value


def room(values: list[tuple[Any, Weights]], letter: str, dtype: str, edge: int) -> tuple[int, int]:
    """Return the least and largest exponent of this letter that keep every nonzero entry normal, `edge` bits off."""
    low, high = -4000, 4000
    for value, weights in values:
        weight = weights.get(letter, 0)
        entries = np.abs(np.asarray(value, dtype=np.longdouble))
        entries = entries[entries > 0]
        if not weight or not entries.size:
            continue
        info = np.finfo(np.float64 if isinstance(value, float) else dtype)
        exponents = np.frexp(entries)[1] - 1
        below, above = info.minexp + edge - int(exponents.min()), info.maxexp - 1 - edge - int(exponents.max())
        ends = sorted((below / weight, above / weight))
        low, high = max(low, math.ceil(ends[0])), min(high, math.floor(ends[1]))
    return low, high


def call(case: Case, dtype: str, powers: dict[str, int]) -> list[np.ndarray]:
    arguments = {}
    for name, (value, weights) in case.arguments.items():
        power = sum(weights.get(letter, 0) * k for letter, k in powers.items())
        arguments[name] = moved(value if isinstance(value, float) else value.astype(dtype), power)
    return [np.asarray(x) for x in case.call(*arguments.values())]


def check(name: str, dtype: str, seed: int, draws: int) -> None:
    case, rng = CASES[name], np.random.default_rng(seed)
    base = call(case, dtype, {})
    values = [(v if isinstance(v, float) else v.astype(dtype), w) for v, w in case.arguments.values()]
    values += list(zip(base, case.results, strict=True))
    letters = sorted({letter for _, weights in values for letter in weights})
    tried = [{letter: k} for letter in letters for k in room(values, letter, dtype, case.edge)]
    for _ in range(draws):
        powers: dict[str, int] = {}
        for letter in rng.permutation(letters):
            now = [(moved(v, sum(w.get(x, 0) * k for x, k in powers.items())), w) for v, w in values]
            low, high = room(now, letter, dtype, case.edge)
            powers[letter] = int(rng.integers(low, high + 1)) if low <= high else 0
        tried.append(powers)
    for powers in tried:
        for found, expected, weights in zip(call(case, dtype, powers), base, case.results, strict=True):
            power = sum(weights.get(letter, 0) * k for letter, k in powers.items())
            np.testing.assert_array_equal(found, moved(expected, power), err_msg=f"{name} {dtype} {powers}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_only_exponents_change(name: str, dtype: str) -> None:
    check(name, dtype, 0, 6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_only_exponents_change_in_many_draws(name: str, dtype: str) -> None:
    check(name, dtype, 1, 300)
