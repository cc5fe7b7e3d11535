"""How the CPU's loops are compiled, and where their machine code is kept."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from numba import config as numba_config
from numba import njit


def compiled(*signatures: Any, parallel: bool = False) -> Callable[..., Any]:
    """Compile the decorated loop for `signatures`, without ``fastmath``; a division by zero gives inf or NaN.

    Without a signature it is compiled at its first call with each dtype, and cached then. With `parallel`, the turns of
    a ``prange`` are shared among Numba's threads.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"fastmath": False, "nogil": True, "error_model": "numpy", "parallel": parallel}
        chosen: Any = list(signatures) or None
        with _own_cache():
            try:
                return njit(chosen, cache=True, **options)(function)
            except RuntimeError:  # no place to keep it can be written to
                return njit(chosen, cache=False, **options)(function)

    return decorate


def both(template: str) -> tuple[str, str]:
    """Instantiate a signature for float32 and float64; ``T`` stands for the dtype."""
    return template.replace("T", "float32"), template.replace("T", "float64")


@contextmanager
def _own_cache() -> Generator[None]:
    """Keep machine code in the user's cache, unless ``NUMBA_CACHE_DIR`` says where.

    Numba's own choice is beside the source. What it leaves there outlives an uninstallation, and then stands in the
    way of an editable one: an empty folder named rfnumeric in site-packages.
    """
    config: Any = numba_config  # its settings are made at run time, where a type checker cannot see them
    before = config.CACHE_DIR
    config.CACHE_DIR = before or str(Path(platformdirs.user_cache_dir("rfnumeric")) / "numba")
    try:
        yield
    finally:
        config.CACHE_DIR = before
