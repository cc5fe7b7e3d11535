"""The supported array libraries, and the choice of one with its device and precision."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rfnumeric.backend.arrays import array_namespace, device_of, dtype_name
from rfnumeric.errors import BackendError
from rfnumeric.typing import Array, Device, DType, Namespace

BACKENDS: dict[str, tuple[str, str]] = {
    "numpy": ("array_api_compat.numpy", "pip install numpy"),
    "cupy": ("array_api_compat.cupy", "pip install 'rfnumeric[cuda12]' (or cuda13), on a machine with an NVIDIA GPU"),
    "torch": ("array_api_compat.torch", "pip install 'rfnumeric[torch]'"),
    "array-api-strict": ("array_api_strict", "pip install array-api-strict"),
}
"""Name → (module of the array-API namespace, how to get it)."""

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
        module = xp.__name__
        name = next((n for n, (m, _) in BACKENDS.items() if m == module), module)
        return cls(name, xp, device_of(a), a.dtype)

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
        # PyTorch shares a host array's memory and has neither read-only tensors nor negative strides, such as NumPy
        # leaves on an axis of length 1.
        if self.name == "torch" and (not host.flags.writeable or min(host.strides, default=0) < 0):
            host = host.copy()
        # The conversion happens on the host, so that float64 draws never visit a device that lacks float64.
        return self.xp.asarray(host.astype(dtype_name(target), copy=False), dtype=target, device=self.device)

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
        ``"numpy"``, ``"cupy"``, ``"torch"`` or ``"array-api-strict"``; a `Backend` is returned as it is.
    device : str, int or device object, optional
        Default: the library's default device. CuPy takes the number of a GPU, PyTorch a name such as ``"cuda:0"``.
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
    xp = _import(name)
    resolved = _device(name, xp, device)
    return Backend(name, xp, resolved, getattr(xp, dtype))


def _import(name: str) -> Namespace:
    module, remedy = BACKENDS[name]
    try:
        xp = importlib.import_module(module)
        # CuPy imports without a GPU; only its device count tells whether anything can run.
        if name == "cupy" and importlib.import_module("cupy").cuda.runtime.getDeviceCount() < 1:
            raise RuntimeError("no CUDA device")
    except Exception as error:
        raise BackendError(f"backend {name!r} is not usable here: {error}. To get it: {remedy}.") from error
    return xp


def _device(name: str, xp: Namespace, device: Any) -> Device:
    if device is None:
        return device_of(xp.zeros(1))
    try:
        if name == "cupy":
            cuda = importlib.import_module("cupy").cuda
            chosen = cuda.Device(int(device)) if isinstance(device, str | int) else device
            chosen.compute_capability  # noqa: B018 (raises for a number that no GPU has)
            return chosen
        if name == "array-api-strict" and isinstance(device, str):
            return xp.Device(device)
        if name == "torch":
            return device_of(xp.zeros(1, device=device))
        if name == "numpy" and device != "cpu":
            raise ValueError("NumPy runs on 'cpu' only")
    except Exception as error:
        raise ValueError(f"device {device!r} is not one of backend {name!r}: {error}") from error
    return device


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
            _import(name)
        except BackendError as error:
            found[name] = f"missing: {error}"
        else:
            found[name] = _describe(name)
    return found


def _describe(name: str) -> str:
    module = importlib.import_module(name.replace("-", "_"))
    if name == "cupy":
        count = module.cuda.runtime.getDeviceCount()
        names = [module.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
        return f"{module.__version__} ({', '.join(names)})"
    if name == "torch":
        names = [module.cuda.get_device_name(i) for i in range(module.cuda.device_count())]
        return f"{module.__version__} ({', '.join(['cpu', *names])})"
    return f"{module.__version__} (cpu)"
