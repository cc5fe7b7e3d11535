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
_users = 0
"""Blocks of `one_thread_each` that keep BLAS to one thread at this moment, of all Python threads."""
_before: list[int] = []
"""The threads of each pool before the first of them."""
_forked = False


@contextmanager
def one_thread_each(members: int) -> Generator[bool]:
    """Keep BLAS to one thread inside the ``with`` block, if a stack's members are to share the threads.

    They are if they are as many at least; fewer leave the threads to BLAS, inside each member. The pools of most BLAS
    belong to the process: the first Python thread that comes limits them, the last one that goes restores them, so that
    no member of any thread's stack is computed on more than one thread of BLAS.

    Yields
    ------
    bool
        Whether a loop of Numba's may run several members at a time. A stack inside a stack, one in a forked process,
        and one that comes while another Python thread's stack runs, go through their members in turn, to the same bits.
    """
    if members == 1 or not _has_openmp():
        yield False
        return
    with _lock:
        threads = max(_before if _users else _threads_of_blas(), default=1)
        limited = 1 < threads <= members
        alone = limited and _limit()
    if not limited:
        yield False
        return
    shared = alone and not _forked
    before = numba.get_num_threads()
    try:
        if shared:
            numba.set_num_threads(min(before, threads))
        yield shared
    finally:
        if shared:
            numba.set_num_threads(before)
        with _lock:
            _release()


def _limit() -> bool:
    """Keep BLAS to one thread until `_release`; tell whether nobody did before. Needs the lock."""
    global _users, _before
    _users += 1
    if _users == 1:
        _before = _threads_of_blas()
        _set_threads([1] * len(_before))
        return True
    # OpenMP counts threads for each of the process's threads: this one has its own count to set.
    _set_threads([1] * len(_before), own=True)
    return False


def _release() -> None:
    global _users
    _users -= 1
    _set_threads(_before, own=_users > 0)


def _set_threads(counts: list[int], own: bool = False) -> None:
    """Set the threads of each pool; with `own`, of those alone whose count is the calling thread's own."""
    for pool, count in zip(_blas_pools(), counts, strict=True):
        if own and getattr(pool, "threading_layer", "") != "openmp":
            continue
        # threadpoolctl lets one Python thread alone set OpenBLAS's threads and does nothing, without a word, in the
        # others. Here a lock decides who sets them.
        release_control = getattr(pool, "clear_controlling_thread", None)
        if release_control is not None:
            release_control(force=True)
        pool.set_num_threads(count)
        if release_control is not None:
            release_control(force=True)


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
    global _forked, _lock, _users
    _forked, _lock = True, threading.Lock()
    if _users:  # whoever limited the pools is not in this process
        _users = 0
        _set_threads(_before)


if hasattr(os, "register_at_fork"):
    # OpenMP's threads stay behind in the parent, and GNU's ends a child that asks for them.
    os.register_at_fork(after_in_child=_note_fork)
