"""Stacks of matrix products: each member's has the bits of a product of its own."""

from __future__ import annotations

import numpy as np
import pytest
import threadpoolctl

from rfnumeric.kernels import add_outer, matmul

DTYPES = ("float32", "float64", "complex64", "complex128")


def draw(rng, *shape, dtype="float32"):
    values = rng.uniform(-1, 1, shape)
    return (values + 1j * rng.uniform(-1, 1, shape) if dtype.startswith("complex") else values).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [1, 2, 5])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_stack_has_the_bits_of_its_members(dtype, K, threads):
    rng = np.random.default_rng(0)
    # 32 rows and 128 × 150 weights: in float32 this takes the product by columns, in the others not; both are more
    # than one block of columns, and no multiple of it.
    A, W = draw(rng, K, 32, 150, dtype=dtype), draw(rng, K, 130, 150, dtype=dtype)
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        found = matmul(A, W.mT)
        alone = np.stack([matmul(a, w.mT) for a, w in zip(A, W, strict=True)])
    exact = np.matmul(A.astype("complex128"), W.mT.astype("complex128"))
    # A sum of 150 complex products in any order, against the oracle in double precision.
    size = 2 * np.matmul(np.abs(A).astype("float64"), np.abs(W.mT).astype("float64"))
    assert np.all(np.abs(found - exact) <= 2 * 150 * np.finfo(dtype).eps * size)
    assert np.array_equal(found, alone)


@pytest.mark.parametrize("rate", [0.5, np.array([0.5, -1.0, 2.0])])
def test_each_member_is_accumulated_at_its_own_rate(rate):
    rng = np.random.default_rng(0)
    W, U, V = (draw(rng, 3, *shape, dtype="float64") for shape in ((6, 7), (4, 6), (4, 7)))
    expected = W + np.reshape(rate, (-1, 1, 1)) * np.einsum("kbi,kbj->kij", U, V)
    found = add_outer(W, U, V, rate)
    assert found is W
    # A sum of five terms of size at most 2.
    assert np.max(np.abs(W - expected)) <= 5 * 5 * 2.0**-52 * 2


def test_shapes_that_do_not_match_are_an_error():
    W = np.zeros((3, 4), dtype=np.float32)
    with pytest.raises(ValueError, match=r"W must have shape \(..., 3, 5\)"):
        add_outer(W, np.ones((2, 3), np.float32), np.ones((2, 5), np.float32), 1.0)
    with pytest.raises(ValueError, match="dtype"):
        add_outer(W, np.ones((2, 3)), np.ones((2, 4), np.float32), 1.0)
