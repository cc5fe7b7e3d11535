"""The choice of an array library with its device and precision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rfnumeric.backend.arrays import array_namespace, device_of, dtype_name
from rfnumeric.backend.library import Library
from rfnumeric.backend.registry import BACKENDS, STANDARD, library_of
from rfnumeric.errors import BackendError
from rfnumeric.typing import Array, Device, DType, Namespace

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Backend:
    """An array library together with a device and a floating dtype: where a network lives.

    Attributes
    ----------
    name : str
        One of `BACKENDS`.
    xp : module
        The array-API namespace.
    device : object
        The library's device object.
    dtype : object
        The library's dtype for weights and activations.
    """

    name: str
    xp: Namespace = field(repr=False, compare=False)
    device: Device
    dtype: DType

    @classmethod
    def of(cls, a: Array) -> Backend:
        """Return the backend on which the array `a` lives."""
        xp = array_namespace(a)
        return cls(library_of(a).name or xp.__name__, xp, device_of(a), a.dtype)

    @property
    def library(self) -> Library:
        """What is special about the library."""
        return BACKENDS.get(self.name, STANDARD)

    @property
    def dtype_name(self) -> str:
        """``"float32"`` or ``"float64"``."""
        return dtype_name(self.dtype)

    def asarray(self, a: Any, dtype: DType | None = None) -> Array:
        """Place host data on the device.

        Parameters
        ----------
        a : array_like
            NumPy array or nested sequence.
        dtype : dtype or str, optional
            Default: the backend's floating dtype.

        Returns
        -------
        array
            Of this backend's library, on its device.
        """
        target = self.dtype if dtype is None else getattr(self.xp, dtype) if isinstance(dtype, str) else dtype
        host = np.asarray(a, order="C")  # ascontiguousarray would give a scalar an axis
        # The conversion happens on the host, so that float64 draws never visit a device that lacks float64.
        return self.library.place(self.xp, host.astype(dtype_name(target), copy=False), target, self.device)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Return zeros of the floating dtype."""
        return self.xp.zeros(shape, dtype=self.dtype, device=self.device)


def get_backend(
    name: str | Backend = "numpy", device: str | int | Device | None = None, dtype: str = "float32"
) -> Backend:
    """Choose an array library, a device and a precision.

    Parameters
    ----------
    name : str or Backend
        One of `BACKENDS`: ``"numpy"``, ``"cupy"``, ``"torch"``, ``"array-api-strict"`` or ``"jax"``; a `Backend` is
        returned as it is.
    device : str, int or device object, optional
        Default: the library's default device. CuPy takes the number of a GPU, PyTorch and JAX a name such as
        ``"cuda:0"`` or ``"cpu:0"``.
    dtype : str
        ``"float32"`` (default) or ``"float64"``.

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        If the name, the device or the dtype is unknown.
    BackendError
        If the library cannot be imported, or if CuPy finds no GPU.

    Examples
    --------
    >>> get_backend("numpy", dtype="float64").zeros((2,))
    array([0., 0.])
    """
    if isinstance(name, Backend):
        return name
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}; got {name!r}.")
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}.")
    xp = _load(name)
    BACKENDS[name].start()
    return Backend(name, xp, _device(name, xp, device), getattr(xp, dtype))


def _load(name: str) -> Namespace:
    library = BACKENDS[name]
    try:
        return library.load()
    except Exception as error:
        raise BackendError(f"backend {name!r} is not usable here: {error}. To get it: {library.remedy}.") from error


def _device(name: str, xp: Namespace, device: Any) -> Device:
    if device is None:
        return device_of(xp.zeros(1))
    try:
        return BACKENDS[name].device(xp, device)
    except Exception as error:
        raise ValueError(f"device {device!r} is not one of backend {name!r}: {error}") from error


def available_backends() -> dict[str, str]:
    """Probe every backend.

    Returns
    -------
    dict
        Name → ``"<version> (<devices>)"``, or the reason why it cannot be used, starting with ``"missing"``.
    """
    found = {}
    for name in BACKENDS:
        try:
            _load(name)
        except BackendError as error:
            found[name] = f"missing: {error}"
        else:
            found[name] = BACKENDS[name].describe()
    return found
