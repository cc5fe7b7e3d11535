"""Which array library, which device: everything that knows that there is more than one.

Algorithm code asks `array_namespace` for ``xp`` once per public call and creates arrays through it with an explicit
``dtype=`` and ``device=``; it never imports an array library. Data reach the host only through `to_numpy` and
`to_float`, defined here and nowhere else.
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
from rfnumeric.backend.libraries import BACKENDS, Backend, available_backends, get_backend
from rfnumeric.backend.random import Streams

__all__ = [
    "BACKENDS",
    "Backend",
    "Streams",
    "array_namespace",
    "available_backends",
    "copy",
    "device_of",
    "dtype_name",
    "eps",
    "get_backend",
    "quiet",
    "row_major",
    "synchronize",
    "to_float",
    "to_numpy",
    "transpose",
]
