"""Products, and layers that contain them, take one of two orders of BLAS: each limit's two sides, against float64."""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.kernels import _blas, bias_leaky_relu, gated_product, layer_leaky_relu, matmul


@pytest.mark.parametrize("rows", [7, 8, 32, 64, 65])
@pytest.mark.parametrize("columns", [127, 128, 200])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lead", [(), (3,)])
def test_both_orders_give_the_product(rows, columns, dtype, lead):
    rng = np.random.default_rng(0)
    A = rng.uniform(-1, 1, (*lead, rows, 128)).astype(dtype)
    W = rng.uniform(-1, 1, (*lead, columns, 128)).astype(dtype)
    C = matmul(A, W.mT)
    assert C.dtype == A.dtype
    assert C.flags.c_contiguous
    exact = A.astype(np.float64) @ W.mT.astype(np.float64)
    # A sum of 128 products, in any order: |error| ≤ 128·eps·Σ|ab|, and the oracle's own rounding in double.
    size = np.abs(A.astype(np.float64)) @ np.abs(W.mT.astype(np.float64))
    assert np.all(np.abs(C - exact) <= 2 * 128 * np.finfo(dtype).eps * size)


@pytest.mark.parametrize("rows", [1, 7, 8, 64, 65])
@pytest.mark.parametrize("columns", [1, 127, 128])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_layer_has_the_bits_of_its_product_and_loop(rows, columns, dtype, transposed):
    rng = np.random.default_rng(0)
    x, b = rng.uniform(-1, 1, (rows, 128)).astype(dtype), rng.uniform(-1, 1, columns).astype(dtype)
    W = rng.uniform(-1, 1, (columns, 128)).astype(dtype)
    for bias in (None, b):
        for got, wanted in zip(
            layer_leaky_relu(x, W, bias, 0.1), bias_leaky_relu(matmul(x, W.T), bias, 0.1), strict=True
        ):
            np.testing.assert_array_equal(got, wanted)
    M = np.asfortranarray(W) if transposed else W
    d = rng.uniform(-1, 1, (rows, columns)).astype(dtype)
    np.testing.assert_array_equal(gated_product(x, M, d), matmul(x, M.T) * d)


def test_the_limits_are_where_the_tests_take_them():
    def few_rows(rows, columns, dtype="float32", transposed=True):
        B = np.zeros((columns, 128), dtype).T if transposed else np.zeros((128, columns), dtype)
        return _blas.few_rows(np.zeros((rows, 128), dtype), B)

    assert [few_rows(rows, 128) for rows in (7, 8, 64, 65)] == [False, True, True, False]
    assert [few_rows(32, columns) for columns in (127, 128)] == [False, True]
    assert not few_rows(32, 128, dtype="float64")
    assert not few_rows(32, 128, transposed=False)
