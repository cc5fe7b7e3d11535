"""How the members of a stack share the threads: as many members at a time as BLAS has threads, each on one of them.

A product of a training step's size gains little from a second thread, and a member's bits then do not depend on how
many there are. BLAS's own threads go on waiting for work for some 0.1 s after a call and keep a core busy meanwhile, so
that everything that a stack asks of BLAS stays on one thread, factorizations too.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numba
import threadpoolctl

_lock = threading.Lock()
_forked = False


@contextmanager
def one_thread_each(members: int) -> Generator[bool]:
    """Keep BLAS to one thread inside the ``with`` block, if a stack's members are to share the threads.

    They are if they are as many at least; fewer leave the threads to BLAS, inside each member.

    Yields
    ------
    bool
        Whether they do: a loop of Numba's then runs that many members at a time.
    """
    # A stack inside a stack finds one thread, and so does one that another of Python's threads asks for meanwhile.
    if members == 1 or _forked or not _has_openmp() or not 1 < max(_threads_of_blas(), default=1) <= members:
        yield False
        return
    with _lock:
        pools, threads = _blas_pools(), _threads_of_blas()
        before = numba.get_num_threads()
        try:
            numba.set_num_threads(min(before, max(threads)))
            for pool in pools:
                pool.set_num_threads(1)
            yield True
        finally:
            for pool, count in zip(pools, threads, strict=True):
                pool.set_num_threads(count)
            numba.set_num_threads(before)


@functools.cache
def _has_openmp() -> bool:
    """Tell whether Numba's threads are OpenMP's (or TBB's, which it prefers), awake in 5 µs: its own take 100 µs."""
    try:
        importlib.import_module("numba.np.ufunc.omppool")
    except ImportError:
        return False
    config: Any = numba.config  # its settings are made at run time, where a type checker cannot see them
    return config.THREADING_LAYER in ("default", "threadsafe", "omp")


def _threads_of_blas() -> list[int]:
    """Return the threads of each pool; none of a BLAS that does not let them be counted (macOS's Accelerate)."""
    return [pool.get_num_threads() for pool in _blas_pools()]


@functools.cache
def _blas_pools() -> list[Any]:
    return threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers


def _note_fork() -> None:
    global _forked, _lock
    _forked, _lock = True, threading.Lock()


if hasattr(os, "register_at_fork"):
    # OpenMP's threads stay behind in the parent, and GNU's ends a child that asks for them.
    os.register_at_fork(after_in_child=_note_fork)
