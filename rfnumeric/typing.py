"""Type aliases for arrays of any backend.

An array-API array has no nominal type that NumPy, CuPy, PyTorch, JAX and array-api-strict share, so the aliases say
what a value is for the reader; shapes and dtypes stand in the docstrings.
"""

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of any supported library."""

IntegerArray: TypeAlias = Any
"""An array of integers: labels or indices, whose dtype is not that of the other arrays."""

Namespace: TypeAlias = Any
"""An array-API namespace, as `rfnumeric.backend.array_namespace` returns it (`xp`)."""

Device: TypeAlias = Any
"""A device of an array library, e.g. ``"cuda:0"`` for PyTorch."""

DType: TypeAlias = Any
"""A dtype of an array library."""
