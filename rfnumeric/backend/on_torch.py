"""PyTorch: CPU and NVIDIA GPUs, eager and without gradients of its own."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import array_api_compat
import numpy as np

from rfnumeric.backend.library import Library
from rfnumeric.typing import Array, Device, DType, Namespace


class Torch(Library):
    """PyTorch; a device is its name, such as ``"cuda:0"``."""

    name = "torch"
    namespace = "array_api_compat.torch"
    packages = ("torch",)
    distributions = ("torch",)
    remedy = "pip install 'rfnumeric[torch]'"
    queues = True  # on a GPU

    def device(self, xp: Namespace, device: Any) -> Device:
        """See `Library.device`."""
        return array_api_compat.device(xp.zeros(1, device=device))

    def on_gpu(self, device: Device) -> bool:
        """See `Library.on_gpu`."""
        return device.type not in ("cpu", "meta")

    def place(self, xp: Namespace, host: np.ndarray, dtype: DType, device: Device) -> Array:
        """See `Library.place`."""
        # A tensor shares a host array's memory, and there are neither read-only tensors nor negative strides, such as
        # NumPy leaves on an axis of length 1.
        if not host.flags.writeable or min(host.strides, default=0) < 0:
            host = host.copy()
        return xp.asarray(host, dtype=dtype, device=device)

    def plain(self, a: Array, name: str) -> Array:
        """See `Library.plain`.

        Raises
        ------
        TypeError
            If `a` is sparse, or attached to a gradient outside ``torch.no_grad()``.
        """
        torch = sys.modules["torch"]
        if a.layout is not torch.strided:
            raise TypeError(f"{name} must be a dense tensor; got layout {a.layout}. Pass {name}.to_dense().")
        if a.requires_grad:
            if torch.is_grad_enabled():
                raise TypeError(
                    f"{name} must not require a gradient, which would be lost here; pass {name}.detach(), or call "
                    "under torch.no_grad()."
                )
            a = a.detach()
        if type(a) is not torch.Tensor:
            a = a.as_subclass(torch.Tensor)
        return a.resolve_conj().resolve_neg()

    def to_numpy(self, a: Array) -> np.ndarray:
        """See `Library.to_numpy`."""
        return a.detach().cpu().numpy()

    def synchronize(self, a: Array) -> None:
        """See `Library.synchronize`."""
        if a.device.type == "cuda":
            sys.modules["torch"].cuda.synchronize(a.device)

    def devices(self) -> list[str]:
        """See `Library.devices`."""
        cuda = importlib.import_module("torch").cuda
        return ["cpu", *(cuda.get_device_name(i) for i in range(cuda.device_count()))]
