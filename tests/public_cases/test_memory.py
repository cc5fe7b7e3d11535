"""Nothing that is passed to a kernel or to linalg makes it write outside its arrays, or crash.

Each run is a process of its own under glibc's heap checks, with guard pages of a known pattern around every array.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rfnumeric.linalg import coupled_rule

HERE = Path(__file__).parent
SAMPLE, VOLUME = 150, 4000


def _fuzz(kernel_names: str, count: int, seed: int) -> None:
    environment = os.environ | {
        "MALLOC_CHECK_": "3",
        "MALLOC_PERTURB_": "165",
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(HERE / "fuzz_kernels.py"), kernel_names, str(count), str(seed)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, f"exit status {run.returncode}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}"
    assert run.stdout.startswith("refused "), run.stdout


def test_kernels_write_inside_their_arrays_only() -> None:
    _fuzz("all", SAMPLE, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_kernels_write_inside_their_arrays_only_long(seed: int) -> None:
    _fuzz("all", VOLUME, seed)


def test_the_guards_see_a_write_outside() -> None:
    import fuzz_kernels

    a = fuzz_kernels.guarded(np.ones((2, 3)), fuzz_kernels.LAYOUTS[0])
    fuzz_kernels.assert_guards_intact()
    outside = np.lib.stride_tricks.as_strided(a, (7,))
    outside[6] = 0.0
    with pytest.raises(AssertionError, match="outside"):
        fuzz_kernels.assert_guards_intact()
    fuzz_kernels.forget_guards()


def test_coupled_rule_of_mixed_precision() -> None:
    """37 pairs of 10×14 in float32 and float64 crashed the process."""
    rng = np.random.default_rng(0)
    V = rng.standard_normal((37, 14, 10))
    U = np.linalg.pinv(V) + 0.01
    mixed = coupled_rule(U.astype("f4"), V).value
    plain = coupled_rule(U.astype("f4").astype("f8"), V).value
    for one, other in zip(mixed, plain, strict=True):
        np.testing.assert_array_equal(one, other)
