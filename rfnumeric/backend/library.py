"""What differs from one array library to the next.

A backend is one file, ``on_<library>.py``: a subclass of `Library`, which `rfnumeric.backend.registry` lists. The
methods here do what the array-API standard promises; a subclass says where its library departs from it.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import numpy as np

from rfnumeric.typing import Array, Device, DType, Namespace


class Library:
    """An array library that follows the array-API standard, its arrays on the host's CPU.

    Importing a subclass's file imports nothing of the library; `load` does.

    Attributes
    ----------
    name : str
        What users call it, e.g. ``get_backend("torch")``.
    namespace : str
        Module of the array-API namespace, ``xp``.
    packages : tuple of str
        Top-level modules that define its array types, by which arrays are told apart.
    distributions : tuple of str
        Names under which it is installed; a results file records their versions.
    remedy : str
        How to get it.
    queues : bool
        Whether operations return before they are done, so that reading a value waits for all of them.
    writable : bool
        Whether ``a[i] = x`` works; an immutable array's kernels return new arrays.
    subnormals : bool
        Whether numbers below the smallest normal one are kept; otherwise arithmetic takes them for zero.
    """

    name: ClassVar[str] = ""
    namespace: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ()
    distributions: ClassVar[tuple[str, ...]] = ()
    remedy: ClassVar[str] = ""
    queues: ClassVar[bool] = False
    writable: ClassVar[bool] = True
    subnormals: ClassVar[bool] = True

    def load(self) -> Namespace:
        """Import the library and return its namespace; any exception means that it is not usable here."""
        return importlib.import_module(self.namespace)

    def start(self) -> None:
        """Make the library ready to compute, when a user has chosen it; what is merely probed is not started."""

    def device(self, xp: Namespace, device: Any) -> Device:
        """Return the device that a user named.

        Parameters
        ----------
        xp : module
        device : str, int or device object

        Raises
        ------
        ValueError
            Or any other exception, if there is no such device.
        """
        if device != "cpu":
            raise ValueError("it runs on 'cpu' only")
        return device

    def on_gpu(self, device: Device) -> bool:
        """Tell whether a device is an accelerator with memory and a queue of its own."""
        return False

    def place(self, xp: Namespace, host: np.ndarray, dtype: DType, device: Device) -> Array:
        """Copy or share a C-ordered host array, whose dtype is `dtype` already, on the device."""
        return xp.asarray(host, dtype=dtype, device=device)

    def plain(self, a: Array, name: str) -> Array:
        """Return `a` as a plain array of the library, without a subclass, a gradient or work put off.

        Parameters
        ----------
        a : array
        name : str
            What a user calls the argument, for messages.

        Raises
        ------
        TypeError
            If that would lose something, or if it is not dense.
        """
        return a

    def to_numpy(self, a: Array) -> np.ndarray:
        """Return the values of `a` on the host, writable wherever the library's own arrays are."""
        return np.asarray(a)

    def synchronize(self, a: Array) -> None:
        """Wait until the work queued on the device of `a` is done."""

    def describe(self) -> str:
        """Return ``"<version> (<devices>)"``; the library has been loaded."""
        module = importlib.import_module(self.packages[0])
        return f"{module.__version__} ({', '.join(self.devices())})"

    def devices(self) -> list[str]:
        """Return the names of the devices here, as a person knows them."""
        return ["cpu"]
