"""Members of a population side by side on the CPU's threads, with one thread of BLAS for each.

A product of a training step is so small that a second thread of BLAS gains little in it; two members at a time gain the
whole of the second core. There are as many threads as BLAS itself would use: its environment variables and
`threadpoolctl` limit these too. Each member is computed by itself, so no result depends on their number.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from queue import SimpleQueue
from typing import Any


def in_parallel(part: Callable[[int, int], None], count: int) -> None:
    """Call ``part(start, stop)`` for parts that make up ``range(count)``, each on a thread of its own.

    Parameters
    ----------
    part : callable
        Lets go of the interpreter's lock for most of its time. A call from inside another's part runs as one part.
    count : int
    """
    if _inside.get():
        part(0, count)
        return
    with one_blas_thread() as threads:
        parts = max(1, min(threads, count))
        bounds = [count * i // parts for i in range(parts + 1)]
        answers: SimpleQueue[BaseException | None] = SimpleQueue()
        for i in range(1, parts):
            # In the caller's context: NumPy's error settings belong to it.
            _helpers(os.getpid(), parts - 1).put((copy_context(), part, bounds[i], bounds[i + 1], answers))
        try:
            part(0, bounds[1])
        finally:  # also after Ctrl-C: the others write into the caller's arrays
            errors = [error for _ in range(1, parts) if (error := answers.get()) is not None]
        if errors:
            raise errors[0]


@cache
def _helpers(process: int, count: int) -> SimpleQueue:
    """Return the queue that a process's helping threads work off; a forked process has none of its parent's."""
    jobs: SimpleQueue = SimpleQueue()

    def serve() -> None:
        while True:
            context, part, start, stop, answers = jobs.get()
            try:
                context.run(part, start, stop)
                answers.put(None)
            except BaseException as error:
                answers.put(error)

    for i in range(count):
        threading.Thread(target=serve, name=f"rfnumeric-{i + 1}", daemon=True).start()
    return jobs


_settings = threading.Lock()
"""The number of BLAS's threads belongs to the process: one caller changes it at a time, and puts it back."""

_inside: ContextVar[bool] = ContextVar("inside", default=False)
"""Whether BLAS has one thread already."""


@contextmanager
def one_blas_thread() -> Generator[int]:
    """Give every BLAS one thread inside the ``with`` block, and say how many they had; 1 inside another such block."""
    if _inside.get():
        yield 1
        return
    with _settings:
        token = _inside.set(True)
        libraries = _blas_libraries()
        before = [library.get_num_threads() for library in libraries]
        for library in libraries:
            library.set_num_threads(1)
        try:
            yield min(before, default=1)
        finally:
            for library, threads in zip(libraries, before, strict=True):
                library.set_num_threads(threads)
            _inside.reset(token)


def blas_threads() -> int:
    """Return the number of threads that BLAS may use."""
    return min((library.get_num_threads() for library in _blas_libraries()), default=1)


@cache
def _blas_libraries() -> list[Any]:
    import scipy.linalg.blas  # noqa: F401 (loads its BLAS, so that it is found)
    import threadpoolctl

    return threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
