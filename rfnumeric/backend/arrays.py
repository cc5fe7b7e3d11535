"""Questions to ask an array: its namespace, device, precision, and its values on the host."""

from __future__ import annotations

import functools
from typing import Any

import array_api_compat
import numpy as np

from rfnumeric.backend.registry import library_of
from rfnumeric.typing import Array, Device, DType, Namespace


def array_namespace(*arrays: Array | None) -> Namespace:
    """Return the array-API namespace that all `arrays` share.

    Parameters
    ----------
    *arrays
        Arrays of one library; None is passed over.

    Returns
    -------
    module
        The namespace, usually called ``xp``.

    Raises
    ------
    TypeError
        If the arrays come from different libraries, or if one is no array.

    Examples
    --------
    >>> import numpy as np
    >>> xp = array_namespace(np.eye(2))
    >>> float(xp.sum(xp.eye(3)))
    3.0
    """
    present = [a for a in arrays if a is not None]
    try:
        return array_api_compat.array_namespace(*present)
    except TypeError as error:
        kinds = sorted({f"{type(a).__module__}.{type(a).__qualname__}" for a in present})
        raise TypeError(
            f"arrays must all come from one array library; got {', '.join(kinds) or 'none'}. "
            "Place them on one backend first, e.g. with rfnumeric.backend.get_backend(name).asarray(a)."
        ) from error


def transpose(a: Array) -> Array:
    """Return `a` with its last two axes exchanged, without a copy.

    The standard's attribute ``mT`` costs a tenth of ``xp.matrix_transpose``, which a training step calls often; arrays
    of libraries without it (CuPy before version 14) take the function.
    """
    try:
        return a.mT
    except AttributeError:
        return array_namespace(a).matrix_transpose(a)


def device_of(a: Array) -> Device:
    """Return the device on which `a` lives."""
    return array_api_compat.device(a)


def eps(dtype_or_array: DType | Array) -> float:
    """Return the machine epsilon of a real or complex floating dtype, or of an array's dtype.

    Raises
    ------
    TypeError
        If the dtype is not a floating one.

    Examples
    --------
    >>> import numpy as np
    >>> eps(np.zeros(1, dtype=np.float32)) == 2.0**-23
    True
    """
    # NumPy's and CuPy's xp.float32 is a class, whose `dtype` attribute is no dtype.
    is_class = isinstance(dtype_or_array, type)
    dtype = dtype_or_array if is_class else getattr(dtype_or_array, "dtype", dtype_or_array)
    # The four floating dtypes are told apart by name so that no namespace has to be at hand.
    name = dtype_name(dtype)
    table = {"float32": 2.0**-23, "complex64": 2.0**-23, "float64": 2.0**-52, "complex128": 2.0**-52}
    if name not in table:
        raise TypeError(f"dtype must be one of {', '.join(table)}; got {name}. Convert the array first.")
    return table[name]


def dtype_name(dtype: DType) -> str:
    """Return the array-API name of a dtype of any library, e.g. ``"float32"``.

    Examples
    --------
    >>> import numpy as np
    >>> dtype_name(np.dtype("f8"))
    'float64'
    """
    try:
        return _numpy_name(np.dtype(dtype))
    except TypeError:
        return str(dtype).rsplit(".", 1)[-1]


@functools.cache  # NumPy puts the name together anew each time, which takes as long as a small product
def _numpy_name(dtype: np.dtype) -> str:
    return dtype.name


def to_numpy(a: Array) -> np.ndarray:
    """Copy an array of any backend to the host, or return it unchanged where it is a NumPy array already."""
    if isinstance(a, np.ndarray | np.generic):
        return np.asarray(a)
    return library_of(a).to_numpy(a)


def to_float(a: Array) -> float:
    """Return a zero-dimensional array's value as a Python float. On a GPU this waits for the value."""
    return float(to_numpy(a))


def copy(a: Array) -> Array:
    """Return a copy of `a` on its own device."""
    return array_namespace(a).asarray(a, copy=True)


def row_major(a: Array) -> Array:
    """Return `a` with its entries in row-major order in memory, as they come back from a file; no copy if they are."""
    xp = array_namespace(a)
    return xp.reshape(xp.reshape(a, (-1,)), a.shape)


def synchronize(a: Array) -> None:
    """Wait until the work queued on the device of `a` is done; does nothing where operations are done at once."""
    library_of(a).synchronize(a)


def quiet() -> Any:
    """Return a context in which NumPy's floating-point warnings are silent.

    A run that diverges overflows; it is reported as the run's status, not as a warning for each operation.
    """
    return np.errstate(all="ignore")
