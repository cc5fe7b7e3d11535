"""How times are taken: interleaved rounds, a clock for each device, and the bandwidth of memory as a bound."""

from __future__ import annotations

import gc
import importlib
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np

CONTESTANT = "contestant"
"""Name of the parameter whose values are timed against one another."""

SETTLE = 0.03
"""Seconds of rest before another contestant's turn. The threads of a BLAS or OpenMP pool spin for a while after their
last product; without the rest the next contestant would share the cores with them. OpenBLAS's spin for 0.1 s where
nothing is in their way, so that a benchmark whose contestants use different pools asks for more (``settle``)."""

FEWEST_ROUNDS, MOST_ROUNDS = 3, 15

Clock = Callable[[Callable[[], object], int], float]
"""Takes a function and a number of calls and returns the seconds they took together."""


@dataclass(frozen=True)
class Call:
    """A function to be timed.

    Attributes
    ----------
    function : callable
        Without arguments; its set-up is done.
    clock : callable
        See `clock`.
    """

    function: Callable[[], object]
    clock: Clock

    def seconds(self, number: int) -> float:
        """Return the seconds that `number` calls take."""
        return self.clock(self.function, number)


def measure(
    calls: dict[str, Call],
    budget: float,
    sample: float,
    settle: float = SETTLE,
    most: int = MOST_ROUNDS,
    missing: dict[str, str] | None = None,
) -> dict[str, list[float]]:
    """Time several functions in interleaved rounds, so that the machine's noise hits all alike.

    Parameters
    ----------
    calls : dict
        Name → function and clock. The first call of each compiles, allocates and warms, and is not timed.
    budget : float
        Seconds for all rounds together; there are at least 3 rounds.
    sample : float
        Seconds that one sample should last: as many calls as fit go into one.
    settle : float
        Seconds of rest before another contestant's turn.
    most : int
        Rounds at most.
    missing : dict, optional
        Takes name → reason of each function that needs what is not installed, as NotImplementedError or ImportError
        says; the others are timed without it.

    Returns
    -------
    dict
        Name → seconds a call, one number a round.

    Raises
    ------
    NotImplementedError
        Where `missing` is not given.
    ImportError
        Likewise.
    """
    number: dict[str, int] = {}
    cost = 0.0
    for name, call in calls.items():
        try:
            call.seconds(1)
        except (NotImplementedError, ImportError) as reason:
            if missing is None:
                raise reason
            missing[name] = str(reason)
            continue
        once = call.seconds(1)
        number[name] = max(1, round(sample / max(once, 1e-9)))
        cost += settle + (number[name] + (number[name] > 1)) * once  # with the call that wakes
    rounds = min(max(int(budget / max(cost, 1e-9)), FEWEST_ROUNDS), most)
    seconds: dict[str, list[float]] = {name: [] for name in number}
    with _without_garbage_collection():
        for r in range(rounds):
            # Every other round runs backwards, so that no contestant always follows the same one.
            for name in list(number)[:: 1 if r % 2 == 0 else -1]:
                if len(number) > 1:
                    time.sleep(settle)
                    if number[name] > 1:  # wakes its own threads; a long call does so in its own time
                        calls[name].seconds(1)
                seconds[name].append(calls[name].seconds(number[name]) / number[name])
    return seconds


def paired_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the median of the rounds' ratios, in which what slows a whole round cancels.

    Parameters
    ----------
    one, other : sequence of float
        Seconds of two contestants of the same rounds, as `measure` returns them.
    """
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


@contextmanager
def _without_garbage_collection() -> Generator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def clock(backend: str) -> Clock:
    """Return the clock for a backend: events on a GPU, the host's clock elsewhere.

    Parameters
    ----------
    backend : str
        ``"cupy"``, or any other name.
    """
    return _cuda_events if backend == "cupy" else _host_clock


def _host_clock(function: Callable[[], object], number: int) -> float:
    started = time.perf_counter()
    for _ in range(number):
        function()
    return time.perf_counter() - started


def _cuda_events(function: Callable[[], object], number: int) -> float:
    cuda = importlib.import_module("cupy").cuda
    start, end = cuda.Event(), cuda.Event()
    cuda.Device().synchronize()
    start.record()
    for _ in range(number):
        function()
    end.record()
    end.synchronize()
    return cuda.get_elapsed_time(start, end) / 1e3


@cache
def bandwidth(nbytes: int, library: str = "numpy") -> float:
    """Measure the bytes a second that a copy moves, of a working set of about `nbytes` (read and written together).

    A set that fits a cache moves faster than one that does not, so the bound is taken at the size of the work.

    Parameters
    ----------
    nbytes : int
    library : {"numpy", "cupy"}

    Returns
    -------
    float
        The best of several samples: a bound must not be slower than the work.
    """
    lib = importlib.import_module(library)
    source = lib.ones(max(nbytes // 2, 4096), dtype=np.uint8)
    target = lib.empty_like(source)
    call = Call(lambda: lib.copyto(target, source), clock(library))
    number = max(1, round(2e-3 / max(call.seconds(3) / 3, 1e-9)))
    return 2 * source.nbytes * number / min(call.seconds(number) for _ in range(7))
