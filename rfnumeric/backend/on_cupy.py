"""CuPy: NVIDIA GPUs, with kernels of our own in `rfnumeric.kernels`."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from rfnumeric.backend.library import Library
from rfnumeric.typing import Array, Device, Namespace


class CuPy(Library):
    """CuPy on one GPU or several; a device is a GPU's number."""

    name = "cupy"
    namespace = "array_api_compat.cupy"
    packages = ("cupy",)
    distributions = ("cupy-cuda12x", "cupy-cuda13x")
    remedy = "pip install 'rfnumeric[cuda12]' (or cuda13), on a machine with an NVIDIA GPU"
    queues = True

    def load(self) -> Namespace:
        """See `Library.load`.

        Raises
        ------
        RuntimeError
            If there is no GPU: CuPy imports without one, and only its device count tells.
        """
        xp = super().load()
        if _cuda().runtime.getDeviceCount() < 1:
            raise RuntimeError("no CUDA device")
        return xp

    def device(self, xp: Namespace, device: Any) -> Device:
        """See `Library.device`."""
        chosen = _cuda().Device(int(device)) if isinstance(device, str | int) else device
        chosen.compute_capability  # noqa: B018 (raises for a number that no GPU has)
        return chosen

    def on_gpu(self, device: Device) -> bool:
        """See `Library.on_gpu`."""
        return True

    def to_numpy(self, a: Array) -> np.ndarray:
        """See `Library.to_numpy`."""
        return a.get()

    def synchronize(self, a: Array) -> None:
        """See `Library.synchronize`."""
        _cuda().Device().synchronize()

    def devices(self) -> list[str]:
        """See `Library.devices`."""
        runtime = _cuda().runtime
        return [runtime.getDeviceProperties(i)["name"].decode() for i in range(runtime.getDeviceCount())]


def _cuda() -> Any:
    return importlib.import_module("cupy").cuda
