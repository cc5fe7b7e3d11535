"""Whether a run can fit into memory, asked before anything is allocated."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from rfnumeric.backend import get_backend
from rfnumeric.training.config import RunConfig

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def check_memory(config: RunConfig) -> None:
    """Refuse a run whose weights and activations alone need more memory than there is.

    Parameters
    ----------
    config : RunConfig

    Raises
    ------
    MemoryError
        What it counts is the least that any rule needs, one copy of the weights and of a batch's activations, so that
        nothing is refused that could run. Not asked on a GPU, whose library refuses by itself.
    """
    free = available()
    backend = get_backend(config.backend, config.device, config.dtype)
    if free is None or backend.library.on_gpu(backend.device):
        return
    members, item = config.population or 1, 4 if config.dtype == "float32" else 8
    weights = members * item * sum(m * n for n, m in pairwise(config.sizes))
    units = members * item * sum(config.sizes)
    if weights + units > free:
        network = f"sizes {','.join(map(str, config.sizes))}" + (f" in {members} networks" if members > 1 else "")
        raise MemoryError(
            f"{network} need at least {size(weights + units)}, of which {size(free)} are free; make --sizes smaller or "
            "--population"
        )


def available() -> int | None:
    """Return the bytes of memory that this process could get, swap included; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}
        return 1024 * (kib["MemAvailable"] + kib["SwapFree"])
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def size(nbytes: float) -> str:
    """Return a number of bytes with its unit.

    Examples
    --------
    >>> size(3 * 2**31)
    '6 GiB'
    """
    nbytes, unit = min(nbytes, 1 << 100), 0
    while nbytes >= 1024 and unit < len(_UNITS) - 1:
        nbytes, unit = nbytes / 1024, unit + 1
    return f"{nbytes:.3g} {_UNITS[unit]}"
