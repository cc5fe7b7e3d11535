"""Which implementation of a kernel runs: by array type and dtype, with the array-API reference as the fallback."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rfnumeric.backend import dtype_name

ENVIRONMENT_VARIABLE = "RFNUMERIC_KERNELS"

# Accelerated modules by the module that defines the array type; each is imported when such an array first arrives, so
# that importing rfnumeric loads neither Numba nor CuPy.
ACCELERATED: dict[str, tuple[str, ...]] = {
    "numpy": (
        "rfnumeric.kernels._blas",
        "rfnumeric.kernels._numba",
        "rfnumeric.kernels._layers",
        "rfnumeric.kernels._blas_linalg",
        "rfnumeric.kernels._numba_linalg",
        "rfnumeric.kernels._numba_meyer",
        "rfnumeric.kernels._numba_coupled",
        "rfnumeric.kernels._numba_optimizers",
    ),
    "cupy": ("rfnumeric.kernels._cupy", "rfnumeric.kernels._cupy_linalg"),
}

_implementations: dict[tuple[str, str], tuple[Callable[..., Any], frozenset[str]]] = {}


def implements(name: str, library: str, dtypes: tuple[str, ...] = ("float32", "float64")) -> Callable[..., Any]:
    """Register the decorated function as kernel `name` for arrays of `library` with one of `dtypes`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if (name, library) in _implementations:
            raise ValueError(f"kernel {name!r} has two implementations for {library}; remove one.")
        _implementations[name, library] = (function, frozenset(dtypes))
        return function

    return register


class Kernel:
    """A function with several implementations of one meaning; calling it picks one by its first array argument.

    Parameters
    ----------
    reference : callable
        The array-API truth, whose name and docstring the kernel takes.
    """

    instances: dict[str, Kernel] = {}  # noqa: RUF012 (one catalogue, on purpose)

    def __init__(self, reference: Callable[..., Any]) -> None:
        self.name = reference.__name__
        self.reference = reference
        self.__doc__ = reference.__doc__
        self._chosen: dict[tuple[type, Any], Callable[..., Any]] = {}
        Kernel.instances[self.name] = self

    def __call__(self, array: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the implementation for arrays like `array`; arguments and result are the reference's."""
        key = (type(array), array.dtype)
        chosen = self._chosen.get(key)
        if chosen is None:
            chosen = self._chosen[key] = self.select(array)
        return chosen(array, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"

    def select(self, array: Any) -> Callable[..., Any]:
        """Return the implementation that arrays like `array` get."""
        if forced_reference():
            return self.reference
        library = type(array).__module__.split(".")[0]
        for module in ACCELERATED.get(library, ()):
            importlib.import_module(module)
        function, dtypes = _implementations.get((self.name, library), (self.reference, frozenset()))
        return function if dtype_name(array.dtype) in dtypes else self.reference

    def forget(self) -> None:
        """Forget which implementations were chosen; the next call chooses again."""
        self._chosen.clear()


def forced_reference() -> bool:
    """Tell whether ``RFNUMERIC_KERNELS=reference`` is set.

    Raises
    ------
    ValueError
        If the variable is neither ``"reference"`` nor ``"auto"`` (or empty).
    """
    value = os.environ.get(ENVIRONMENT_VARIABLE, "auto")
    if value not in ("", "auto", "reference"):
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE} must be 'auto' or 'reference'; got {value!r}. Unset it for the default."
        )
    return value == "reference"


@contextmanager
def use_reference() -> Generator[None]:
    """Run every kernel's reference inside the ``with`` block.

    Examples
    --------
    >>> with use_reference():
    ...     forced_reference()
    True
    """
    before = os.environ.get(ENVIRONMENT_VARIABLE)
    os.environ[ENVIRONMENT_VARIABLE] = "reference"
    _forget_all()
    try:
        yield
    finally:
        if before is None:
            del os.environ[ENVIRONMENT_VARIABLE]
        else:
            os.environ[ENVIRONMENT_VARIABLE] = before
        _forget_all()


def _forget_all() -> None:
    for kernel in Kernel.instances.values():
        kernel.forget()


def accelerated_kernels(library: str) -> dict[str, tuple[Callable[..., Any], frozenset[str]]]:
    """Return name → (implementation, dtypes) for one library (``"numpy"`` or ``"cupy"``), importing its modules."""
    for module in ACCELERATED[library]:
        importlib.import_module(module)
    return {name: entry for (name, lib), entry in _implementations.items() if lib == library}
