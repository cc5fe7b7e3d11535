"""Which array library, which device: everything that knows that there is more than one.

Algorithm code asks `array_namespace` for ``xp`` once per public call and creates arrays through it with an explicit
``dtype=`` and ``device=``; it never imports an array library. Data reach the host only through `to_numpy` and
`to_float`, defined here and nowhere else. What differs from one library to the next is a file each, ``on_*.py``.
"""

from rfnumeric.backend.arrays import (
    array_namespace,
    copy,
    device_of,
    dtype_name,
    eps,
    quiet,
    row_major,
    synchronize,
    to_float,
    to_numpy,
    transpose,
)
from rfnumeric.backend.libraries import Backend, available_backends, get_backend
from rfnumeric.backend.library import Library
from rfnumeric.backend.random import Streams
from rfnumeric.backend.registry import BACKENDS, library_of

__all__ = [
    "BACKENDS",
    "Backend",
    "Library",
    "Streams",
    "array_namespace",
    "available_backends",
    "copy",
    "device_of",
    "dtype_name",
    "eps",
    "get_backend",
    "library_of",
    "quiet",
    "row_major",
    "synchronize",
    "to_float",
    "to_numpy",
    "transpose",
]
