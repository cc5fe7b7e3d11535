"""How the CPU's loops are compiled, and where their machine code is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from rfnumeric.kernels._compile_cache import keep_compiled, own_folder


def compiled(*signatures: Any, parallel: bool = False) -> Callable[..., Any]:
    """Compile the decorated loop for `signatures`, without ``fastmath``; a division by zero gives inf or NaN.

    Without a signature it is compiled at its first call with each dtype, and cached then. With `parallel`, the turns of
    a ``prange`` are shared among Numba's threads.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"fastmath": False, "nogil": True, "error_model": "numpy", "parallel": parallel}
        dispatcher = njit(**options)(function)
        with own_folder():
            keep_compiled(dispatcher)
        for signature in signatures:
            dispatcher.compile(signature)
        if signatures:
            dispatcher.disable_compile()
        return dispatcher

    return decorate


def both(template: str) -> tuple[str, str]:
    """Instantiate a signature for float32 and float64; ``T`` stands for the dtype."""
    return template.replace("T", "float32"), template.replace("T", "float64")
