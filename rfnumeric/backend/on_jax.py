"""JAX: immutable arrays, eager, on the CPU; nothing is traced or compiled by us."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from rfnumeric.backend.library import Library
from rfnumeric.typing import Array, Device, DType, Namespace


class JAX(Library):
    """JAX; a device is its platform, with a number where there are several: ``"cpu"``, ``"cpu:1"``.

    Choosing this backend switches ``jax_enable_x64`` on for the whole process, in either precision: without it JAX
    makes float64 arrays float32, and the int64 labels and counts int32.
    """

    name = "jax"
    namespace = "jax.numpy"
    packages = ("jax", "jaxlib")
    distributions = ("jax",)
    remedy = "pip install 'rfnumeric[jax]'"
    queues = True
    writable = False
    subnormals = False  # XLA sets the processor's flush-to-zero mode in its threads

    def start(self) -> None:
        """See `Library.start`."""
        importlib.import_module("jax").config.update("jax_enable_x64", True)

    def device(self, xp: Namespace, device: Any) -> Device:
        """See `Library.device`."""
        if not isinstance(device, str):
            return device
        platform, _, number = device.partition(":")
        return importlib.import_module("jax").devices(platform)[int(number or 0)]

    def on_gpu(self, device: Device) -> bool:
        """See `Library.on_gpu`."""
        return getattr(device, "platform", "cpu") != "cpu"

    def place(self, xp: Namespace, host: np.ndarray, dtype: DType, device: Device) -> Array:
        """See `Library.place`."""
        # A copy: an array that may share the host's memory would change with it.
        return xp.array(host, dtype=dtype, device=device, copy=True)

    def plain(self, a: Array, name: str) -> Array:
        """See `Library.plain`.

        Raises
        ------
        TypeError
            If the array is traced and has no values yet, or if JAX would cut float64 and int64 short.
        """
        jax = importlib.import_module("jax")
        if isinstance(a, jax.core.Tracer):
            raise TypeError(f"{name} must have values; got a JAX tracer. Call this outside of jax.jit and jax.grad.")
        if not jax.config.jax_enable_x64:
            raise TypeError(
                f"{name} must come from a JAX that keeps float64 and int64; its jax_enable_x64 is off. Switch it on: "
                "rfnumeric.backend.get_backend('jax'), or jax.config.update('jax_enable_x64', True)."
            )
        return a

    def to_numpy(self, a: Array) -> np.ndarray:
        """See `Library.to_numpy`."""
        return np.array(a)  # a copy, since a view of it is read-only

    def synchronize(self, a: Array) -> None:
        """See `Library.synchronize`."""
        a.block_until_ready()

    def devices(self) -> list[str]:
        """See `Library.devices`."""
        return [str(device) for device in importlib.import_module("jax").devices()]
