"""NumPy, the host's own library: to it every other backend is compared."""

from __future__ import annotations

from rfnumeric.backend.library import Library


class NumPy(Library):
    """NumPy on the CPU."""

    name = "numpy"
    namespace = "array_api_compat.numpy"
    packages = ("numpy",)
    distributions = ("numpy",)
    remedy = "pip install numpy"
