"""Members side by side: any number of threads gives the same bits, and BLAS's own number comes back afterwards."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import threadpoolctl

from rfnumeric.kernels import _stacks, add_outer, matmul, threads

DTYPES = ("float32", "float64", "complex64", "complex128")


def draw(rng, *shape, dtype="float32"):
    values = rng.uniform(-1, 1, shape)
    return (values + 1j * rng.uniform(-1, 1, shape) if dtype.startswith("complex") else values).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [1, 2, 5])
def test_a_stack_has_the_bits_of_its_members_on_any_number_of_threads(dtype, K, monkeypatch):
    monkeypatch.setattr(_stacks, "WORTH_A_THREAD", 0)
    rng = np.random.default_rng(0)
    # 32 rows and 128 × 150 weights: in float32 this takes the product by columns, in the others not.
    A, W = draw(rng, K, 32, 150, dtype=dtype), draw(rng, K, 128, 150, dtype=dtype)
    found = []
    for count in (1, 2, 3):
        with threadpoolctl.threadpool_limits(count, user_api="blas"):
            found.append(matmul(A, W.mT))
    assert all(np.array_equal(found[0], other) for other in found[1:])
    exact = np.matmul(A.astype("complex128"), W.mT.astype("complex128"))
    # A sum of 150 complex products in any order, against the oracle in double precision.
    size = 2 * np.matmul(np.abs(A).astype("float64"), np.abs(W.mT).astype("float64"))
    assert np.all(np.abs(found[0] - exact) <= 2 * 150 * np.finfo(dtype).eps * size)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        alone = np.stack([matmul(a, w.mT) for a, w in zip(A, W, strict=True)])
    assert np.array_equal(found[0], alone)


@pytest.mark.parametrize("rate", [0.5, np.array([0.5, -1.0, 2.0])])
def test_each_member_is_accumulated_at_its_own_rate(rate, monkeypatch):
    monkeypatch.setattr(_stacks, "WORTH_A_THREAD", 0)
    rng = np.random.default_rng(0)
    W, U, V = (draw(rng, 3, *shape, dtype="float64") for shape in ((6, 7), (4, 6), (4, 7)))
    expected = W + np.reshape(rate, (-1, 1, 1)) * np.einsum("kbi,kbj->kij", U, V)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        found = add_outer(W, U, V, rate)
    assert found is W
    # A sum of five terms of size at most 2.
    assert np.max(np.abs(W - expected)) <= 5 * 5 * 2.0**-52 * 2


def test_every_member_is_done_once_and_blas_gets_its_threads_back():
    done: list[int] = []
    names = set()

    def part(start, stop):
        names.add(threading.current_thread().name)
        assert threads.blas_threads() == 1
        threads.in_parallel(lambda a, b: done.extend(range(start + a, start + b)), stop - start)

    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        threads.in_parallel(part, 8)
        assert threads.blas_threads() == 3
    assert sorted(done) == list(range(8))
    assert 2 <= len(names) <= 3  # a helper may take two parts where another is late


def test_one_thread_starts_no_other():
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        names: list[str] = []
        threads.in_parallel(lambda start, stop: names.append(threading.current_thread().name), 5)
    assert names == [threading.current_thread().name]


@pytest.mark.parametrize("where", [0, 1])
def test_an_error_in_a_part_reaches_the_caller(where):
    def part(start, stop):
        if start == where:
            raise ValueError("broken part")

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with pytest.raises(ValueError, match="broken part"):
            threads.in_parallel(part, 2)
        assert threads.blas_threads() == 2


def test_the_callers_floating_point_settings_hold_in_every_part():
    large = np.full(4, 1e30, dtype=np.float32)
    with np.errstate(over="ignore"), threadpoolctl.threadpool_limits(2, user_api="blas"):
        threads.in_parallel(lambda start, stop: large * large, 2)
    with pytest.raises(FloatingPointError), np.errstate(over="raise"), threadpoolctl.threadpool_limits(2):
        threads.in_parallel(lambda start, stop: large * large if start else None, 2)


def test_shapes_that_do_not_match_are_an_error():
    W = np.zeros((3, 4), dtype=np.float32)
    with pytest.raises(ValueError, match=r"W must have shape \(..., 3, 5\)"):
        add_outer(W, np.ones((2, 3), np.float32), np.ones((2, 5), np.float32), 1.0)
    with pytest.raises(ValueError, match="dtype"):
        add_outer(W, np.ones((2, 3)), np.ones((2, 4), np.float32), 1.0)
