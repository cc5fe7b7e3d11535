"""The vectorized steps of the coupled rule: every remainder of its blocks, and no influence between the pairs."""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.kernels import coupled_steps, reference_linalg


def pairs(count: int, rows: int, columns: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([count, rows, columns])
    size = 1 / max(rows, columns) ** 0.5
    U, V = rng.uniform(-size, size, (count, rows, columns)), rng.uniform(-size, size, (count, columns, rows))
    return U.astype(dtype), V.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 11), (7, 6), (10, 10), (12, 4), (32, 32), (40, 30)])
def test_blocks_and_what_they_leave(shape: tuple[int, int], dtype: str) -> None:
    U, V = pairs(9, *shape, dtype)
    found = coupled_steps(U, V, 0.2, 0.1, 0.05, False, 4)
    exact = reference_linalg.coupled_steps(U.astype(np.longdouble), V.astype(np.longdouble), 0.2, 0.1, 0.05, False, 4)
    # Entries and row sums of UV stay below 2, so a step rounds by at most 8·k·eps and amplifies by less than 2.
    bound = 4 * 8 * max(shape) * np.finfo(dtype).eps * 2**4
    for mine, theirs in zip(found, exact, strict=True):
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine, theirs.astype(np.float64), rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 7), (10, 10), (40, 30)])
def test_a_pair_is_the_same_alone_and_in_any_company(shape: tuple[int, int], dtype: str) -> None:
    U, V = pairs(11, *shape, dtype)
    together = coupled_steps(U, V, 0.1, 0.1, 0.0, False, 6)
    order = np.random.default_rng(0).permutation(11)
    permuted = coupled_steps(U[order], V[order], 0.1, 0.1, 0.0, False, 6)
    U[5] = np.nan
    beside_nan = coupled_steps(U, V, 0.1, 0.1, 0.0, False, 6)
    for k in (0, 10):
        alone = coupled_steps(U[k], V[k], 0.1, 0.1, 0.0, False, 6)
        for part in range(2):
            for other in (alone[part], permuted[part][np.argsort(order)[k]], beside_nan[part][k]):
                np.testing.assert_array_equal(together[part][k], other)
