"""The supported array libraries by name, and the one that an array belongs to."""

from __future__ import annotations

import functools

from rfnumeric.backend.library import Library
from rfnumeric.backend.on_array_api_strict import ArrayAPIStrict
from rfnumeric.backend.on_cupy import CuPy
from rfnumeric.backend.on_jax import JAX
from rfnumeric.backend.on_numpy import NumPy
from rfnumeric.backend.on_torch import Torch
from rfnumeric.typing import Array

BACKENDS: dict[str, Library] = {cls.name: cls() for cls in (NumPy, CuPy, Torch, ArrayAPIStrict, JAX)}
"""Name → library; a new backend's class stands in this line."""

STANDARD = Library()
"""Any other array library: what the array-API standard promises."""


def library_of(a: Array) -> Library:
    """Return the library of an array; `STANDARD` for one that is not of `BACKENDS`."""
    return _library_of_type(type(a))  # type: ignore[arg-type]  # mypy doubts that types can be hashed


@functools.cache
def _library_of_type(kind: type) -> Library:
    # Along the bases, so that a user's subclass of an array type is found as well.
    packages = [base.__module__.partition(".")[0] for base in kind.__mro__]
    return next((lib for package in packages for lib in BACKENDS.values() if package in lib.packages), STANDARD)
