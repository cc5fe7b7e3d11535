"""Stacks in several Python threads and processes: the same bits as in the main thread, and BLAS's threads as before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SETUP = """
import multiprocessing, os, sys, threading
import numpy as np
import threadpoolctl
from rfnumeric.kernels import matmul
from rfnumeric.linalg import pinv

A = np.random.default_rng(0).standard_normal((6, 40, 60)).astype("f4")
WIDE = np.swapaxes(A, 1, 2).copy()

def work(_=0):
    return pinv(A).tobytes() + matmul(A, WIDE).tobytes()

def pools():
    return [p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
"""

THREADS = """
expected, before = work(), pools()
for together in (1, 10):
    found = []
    barrier = threading.Barrier(together)
    def run():
        barrier.wait()
        for _ in range(3):
            found.append(work() == expected)
    threads = [threading.Thread(target=run) for _ in range(together)]
    [t.start() for t in threads]; [t.join() for t in threads]
    print(together, sum(found), pools() == before)
"""

OUTSIDE_LIMIT = """
expected, before = work(), pools()
with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
    found = []
    thread = threading.Thread(target=lambda: found.append(work() == expected))
    thread.start(); thread.join()
    print(found, pools())
"""

PROCESSES = """
if __name__ == "__main__":
    expected, before = work(), pools()
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(sum(found == expected for found in pool.map(work, range(4))), pools() == before)
"""

FORK_WHILE_LIMITED = """
from rfnumeric.kernels._sharing import one_thread_each
expected, before = work(), pools()
with one_thread_each(6):
    child = os.fork()
    if child == 0:
        same = pools() == before and work() == expected and pools() == before
        os._exit(0 if same else 1)
print(os.waitpid(child, 0)[1], pools() == before)
"""


def _python(code: str, *arguments: str, threads: int = 2) -> str:
    count = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    run = subprocess.run(
        [sys.executable, "-c", SETUP + code, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | count | {"PYTHONWARNINGS": "ignore::DeprecationWarning"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_ten_threads_at_once() -> None:
    assert _python(THREADS) == "1 3 True\n10 30 True\n"


def test_another_limit_is_left_as_it_was() -> None:
    assert _python(OUTSIDE_LIMIT) == "[True] [2, 2]\n" or _python(OUTSIDE_LIMIT) == "[True] [2]\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_processes() -> None:
    assert _python(PROCESSES, "fork") == "4 True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_while_a_stack_is_computed() -> None:
    assert _python(FORK_WHILE_LIMITED) == "0 True\n"


def test_spawned_processes(tmp_path) -> None:
    script = tmp_path / "spawned.py"  # a spawned process imports it anew
    script.write_text(SETUP + PROCESSES, encoding="utf-8")
    count = {name: "2" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    run = subprocess.run(
        [sys.executable, str(script), "spawn"], capture_output=True, text=True, env=os.environ | count, check=False
    )
    assert run.stdout == "4 True\n", run.stderr
