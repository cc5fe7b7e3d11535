"""Which implementation of a kernel runs: by array type and dtype, with the array-API reference as the fallback."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from rfnumeric.backend import array_namespace, dtype_name
from rfnumeric.kernels.checks import check_arguments

ENVIRONMENT_VARIABLE = "RFNUMERIC_KERNELS"

# Only a kernel of images loads these: a dense network starts without them.
ON_IMAGES = ("rfnumeric.kernels._convolution", "rfnumeric.kernels._local", "rfnumeric.kernels._pooling")

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
        *ON_IMAGES,
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
        parameters = inspect.signature(reference).parameters
        self._names = tuple(parameters)
        # Where the other arrays of one dtype stand behind the first; labels and rates have dtypes of their own.
        self._alike = tuple(
            place for place, p in enumerate(list(parameters.values())[1:]) if p.annotation in ("Array", "Array | None")
        )
        Kernel.instances[self.name] = self

    def __call__(self, array: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the implementation for arrays like `array`; arguments and result are the reference's.

        Raises
        ------
        TypeError
            If an array is of another type or dtype than the first one.
        ValueError
            If shapes or values do not fit, with the same words on every backend.
        """
        kind, dtype = type(array), getattr(array, "dtype", None)
        if kwargs or len(args) < len(self._alike):
            args, kwargs = self._positional(array, args, kwargs), {}
        for place in self._alike:
            other = args[place]
            if (type(other) is not kind or other.dtype is not dtype) and other is not None:
                self._check_alike(array, args)
                break
        chosen = self._chosen.get((kind, dtype))
        if chosen is None:
            chosen = self._guarded(array)
            self._chosen[kind, dtype] = chosen
        return chosen(array, *args)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"

    def select(self, array: Any) -> Callable[..., Any]:
        """Return the implementation that arrays like `array` get."""
        if forced_reference():
            return self.reference
        library = type(array).__module__.split(".")[0]
        on_images = self.reference.__module__.endswith("reference_convolution")
        for module in ACCELERATED.get(library, ()):
            if on_images or module not in ON_IMAGES:
                importlib.import_module(module)
        function, dtypes = _implementations.get((self.name, library), (self.reference, frozenset()))
        return function if dtype_name(array.dtype) in dtypes else self.reference

    def check(self, *arguments: Any) -> None:
        """Raise unless these arguments, by position, fit one another; see `rfnumeric.kernels.checks`."""
        check_arguments(self.name, dict(zip(self._names, arguments, strict=False)))

    def _guarded(self, array: Any) -> Callable[..., Any]:
        """Return what `select` does, behind the checks of shapes that it does not make itself.

        Raises
        ------
        TypeError
            If `array` is a subclass of NumPy's array, not in the machine's byte order, or of integers.
        """
        xp = array_namespace(array)
        if isinstance(array, np.ndarray) and (type(array) is not np.ndarray or not array.dtype.isnative):
            raise TypeError(
                f"{self._names[0]} must be a plain numpy.ndarray in native byte order; got a {type(array).__name__} of "
                f"dtype {array.dtype.str}. Kernels convert nothing."
            )
        if self.name != "gather_scale" and not xp.isdtype(array.dtype, ("real floating", "complex floating")):
            raise TypeError(
                f"{self._names[0]} must have a real or complex floating dtype; got {dtype_name(array.dtype)}. Kernels "
                "convert nothing."
            )
        function = self.select(array)
        # NumPy's check what they trust themselves, where their own tests do not imply it: a call costs a microsecond.
        if function is not self.reference and type(array) is np.ndarray:
            return function

        def checked(*args: Any) -> Any:
            self.check(*args)
            return function(*args)

        return checked

    def _positional(self, array: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        bound = inspect.signature(self.reference).bind(array, *args, **kwargs)
        bound.apply_defaults()
        return bound.args[1:]

    def _check_alike(self, array: Any, args: tuple[Any, ...]) -> None:
        for place in self._alike:
            other = args[place]
            if other is None:
                continue
            name, first = self._names[place + 1], self._names[0]
            array_namespace(array, other)
            if other.dtype != array.dtype:
                raise TypeError(
                    f"{name} must have the dtype {dtype_name(array.dtype)} of {first}; got {dtype_name(other.dtype)}. "
                    "Kernels convert nothing."
                )
            if isinstance(other, np.ndarray) and type(other) is not np.ndarray:
                raise TypeError(f"{name} must be a plain numpy.ndarray; got a {type(other).__name__}.")

    def forget(self) -> None:
        """Forget which implementations were chosen; the next call chooses again."""
        self._chosen.clear()


def check(name: str, *arguments: Any) -> None:
    """Check a kernel's arguments, by position, as its reference does."""
    Kernel.instances[name].check(*arguments)


def common_lead(name: str, leads: tuple[tuple[int, ...], ...], *arguments: Any) -> tuple[int, ...]:
    """Return the shape to which leading axes of a kernel's arguments broadcast; what does not is the check's to say.

    Raises
    ------
    ValueError
        If they do not.
    """
    try:
        return np.broadcast_shapes(*leads)
    except ValueError:
        check(name, *arguments)
        raise


def forced_reference() -> bool:
    """Tell whether ``RFNUMERIC_KERNELS=reference`` is set, or ``NUMBA_DISABLE_JIT`` leaves no compiler.

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
    return value == "reference" or _without_compiler()


def _without_compiler() -> bool:
    numba = sys.modules.get("numba")
    if numba is not None:
        return bool(numba.config.DISABLE_JIT)
    return os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0")


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
