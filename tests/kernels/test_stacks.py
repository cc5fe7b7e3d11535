"""Stacks of matrix products: each member's has the bits of a product of its own, on as many threads as it has."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import threadpoolctl

from rfnumeric.kernels import (
    add_outer,
    gated_product,
    gram_inverse,
    gram_pinv,
    layer_leaky_relu,
    matmul,
    solve_positive,
)
from rfnumeric.kernels._sharing import one_thread_each

DTYPES = ("float32", "float64", "complex64", "complex128")


def threads_of_blas():
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


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
        with one_thread_each(K):
            alone = np.stack([matmul(a, w.mT) for a, w in zip(A, W, strict=True)])
    exact = np.matmul(A.astype("complex128"), W.mT.astype("complex128"))
    # A sum of 150 complex products in any order, against the oracle in double precision.
    size = 2 * np.matmul(np.abs(A).astype("float64"), np.abs(W.mT).astype("float64"))
    assert np.all(np.abs(found - exact) <= 2 * 150 * np.finfo(dtype).eps * size)
    assert np.array_equal(found, alone)


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("K", [1, 2, 5])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_stack_of_layers_has_the_bits_of_its_members(dtype, K, threads):
    rng = np.random.default_rng(0)
    shared, x, W = (draw(rng, *shape, dtype=dtype) for shape in ((32, 150), (K, 32, 150), (K, 130, 150)))
    b, d = draw(rng, K, 130, dtype=dtype), draw(rng, K, 32, 130, dtype=dtype)
    views = [W, np.ascontiguousarray(W.mT).mT]
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        layers = [layer_leaky_relu(inputs, W, b, 0.1) for inputs in (x, shared)]
        back = [gated_product(x, M, d) for M in views]
        with one_thread_each(K):
            for k in range(K):
                for found, inputs in zip(layers, (x[k], shared), strict=True):
                    alone = layer_leaky_relu(inputs, W[k], b[k], 0.1)
                    assert all(np.array_equal(stack[k], own) for stack, own in zip(found, alone, strict=True))
                for found, M in zip(back, views, strict=True):
                    assert np.array_equal(found[k], gated_product(x[k], M[k], d[k]))


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
    with pytest.raises(ValueError, match=r"V must have shape \(\.\.\., batch, n\) with n = 4 to match W \(3, 4\)"):
        add_outer(W, np.ones((2, 3), np.float32), np.ones((2, 5), np.float32), 1.0)
    with pytest.raises(TypeError, match="U must have the dtype float32 of W; got float64"):
        add_outer(W, np.ones((2, 3)), np.ones((2, 4), np.float32), 1.0)


@pytest.mark.parametrize(
    ("members", "threads", "shared"), [(1, 2, False), (2, 3, False), (2, 2, True), (5, 2, True), (5, 1, False)]
)
def test_members_share_the_threads_where_they_are_enough(members, threads, shared):
    pytest.importorskip("numba.np.ufunc.omppool", reason="Numba's own threads take longer to wake than a product")
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        before = threads_of_blas()
        with one_thread_each(members) as found:
            assert found is shared
            assert threads_of_blas() == ([1] * len(before) if shared else before)
            with one_thread_each(members) as again:  # a stack inside a stack goes on with the threads that it has
                assert again is False or not shared
        with pytest.raises(KeyError), one_thread_each(members):
            raise KeyError
        assert threads_of_blas() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stacks_factorizations_have_the_bits_of_its_members(threads):
    rng = np.random.default_rng(0)
    A = draw(rng, 3, 70, 200)
    G, B = A @ A.mT + 70 * np.eye(70, dtype="float32"), draw(rng, 3, 70, 5)
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        found = gram_pinv(A)[0], gram_inverse(A, 0.1), solve_positive(G, B)
        with one_thread_each(3):
            for k in range(3):
                alone = gram_pinv(A[k])[0], gram_inverse(A[k], 0.1), solve_positive(G[k], B[k])
                assert all(np.array_equal(stack[k], member) for stack, member in zip(found, alone, strict=True))


FORK = """
import os
import numpy as np
import threadpoolctl
from rfnumeric.kernels import matmul

A, B = np.ones((4, 32, 64), np.float32), np.ones((4, 64, 64), np.float32)
with threadpoolctl.threadpool_limits(2, user_api="blas"):
    expected = matmul(A, B)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(matmul(A, B), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(matmul(A, B), expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_goes_on_without_its_parents_threads():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
