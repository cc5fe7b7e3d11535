"""array-api-strict: refuses what the array-API standard does not promise; for tests."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from rfnumeric.backend.library import Library
from rfnumeric.typing import Array, Device, Namespace


class ArrayAPIStrict(Library):
    """array-api-strict; a device is its name: ``"CPU_DEVICE"``, or ``"device1"``, which only pretends to be another."""

    name = "array-api-strict"
    namespace = "array_api_strict"
    packages = ("array_api_strict",)
    distributions = ("array-api-strict",)
    remedy = "pip install array-api-strict"

    def device(self, xp: Namespace, device: Any) -> Device:
        """See `Library.device`."""
        return xp.Device(device) if isinstance(device, str) else device

    def to_numpy(self, a: Array) -> np.ndarray:
        """See `Library.to_numpy`."""
        strict = sys.modules["array_api_strict"]
        return np.asarray(a.to_device(strict.Device("CPU_DEVICE")))
