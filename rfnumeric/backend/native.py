"""Arguments as users have them, made into native arrays of one library and dtype, or refused in one line.

The promotion, which is NumPy's: integers and booleans become float64, float16 and bfloat16 become float32, nested lists
and numbers what ``numpy.asarray`` makes of them, and then all arrays of a call take the dtype that holds them all
(float32 with float64: float64; real with complex: complex). Other byte orders, subclasses and memory that is not
aligned become plain arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import array_api_compat
import numpy as np

from rfnumeric.backend.arrays import array_namespace, dtype_name
from rfnumeric.backend.libraries import Backend
from rfnumeric.backend.registry import library_of
from rfnumeric.typing import Array

NATIVE = frozenset(map(np.dtype, ("float32", "float64", "complex64", "complex128")))
"""The dtypes in which everything is computed, in the machine's byte order."""

_PROMOTED = {"float16": "float32", "bfloat16": "float32", "bool": "float64"}
_PROMOTED |= {f"{sign}int{bits}": "float64" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_PROMOTED |= {dtype.name: dtype.name for dtype in NATIVE}

_SHAPES = ("(...)", "(..., n)", "(..., m, n)")


def native_arrays(
    values: Mapping[str, Any], axes: Mapping[str, int], *, like: Array | None = None, real: bool = False
) -> dict[str, Array]:
    """Make arguments native arrays of one library and dtype.

    Parameters
    ----------
    values : mapping
        Name of an argument → what was passed.
    axes : mapping
        Name → the least number of axes.
    like : array, optional
        An array whose library and dtype all take, in place of the dtype that holds them all. Its values are no
        argument.
    real : bool
        Whether complex numbers are refused.

    Returns
    -------
    dict
        Name → array.

    Raises
    ------
    TypeError
        If a value is no array of numbers of a supported precision, or the libraries differ.
    ValueError
        If a value is a ragged list, has too few axes, or does not fit the range of the dtype of `like`.
    """
    arrays = {name: read(value, name) for name, value in values.items()}
    wanted = {name: _promoted(a, name, values[name]) for name, a in arrays.items()}
    for name, a in arrays.items():
        if len(a.shape) < axes[name]:
            raise ValueError(_too_few_axes(name, a, axes[name]))
    complex_one = next((name for name in wanted if wanted[name].startswith("complex")), None)
    if complex_one is not None and (real or (like is not None and "complex" not in dtype_name(like.dtype))):
        raise TypeError(
            f"{complex_one} must be real here; got {arrays[complex_one].dtype}. Pass its real part, if that is meant."
        )
    common = dtype_name(like.dtype) if like is not None else str(np.result_type(*wanted.values()))
    # Lists and numbers belong to no library yet; arrays that were passed as such do, and must agree.
    owned = [a for name, a in arrays.items() if not _is_free(values[name])] + ([] if like is None else [like])
    home = None
    if owned and (array_namespace(*owned), type(owned[-1]))[1] is not np.ndarray:
        home = Backend.of(owned[-1])
    return {name: _cast(a, name, common, home) for name, a in arrays.items()}


def read(value: Any, name: str) -> Array:
    """Return an argument as a plain array of NumPy's or of its own library, of whatever dtype it has.

    Raises
    ------
    TypeError
        If it is masked, sparse, attached to a gradient, or no array at all.
    ValueError
        If it is a ragged list.
    """
    if isinstance(value, np.ma.MaskedArray):
        return _unmasked(value, name)
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if array_api_compat.is_array_api_obj(value):
        return library_of(value).plain(value, name)
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} must be a dense array; got a sparse {_kind(value)}. Pass {name}.toarray().")
    for leaf in _masked_leaves(value):
        _unmasked(leaf, f"each part of {name}")
    try:
        return np.asarray(value)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise TypeError(_no_numbers(name, _kind(value), str(error).splitlines()[0])) from error
        raise ValueError(f"{name} must be rectangular; got a list whose rows differ in length.") from error
    except Exception as error:
        raise TypeError(_no_numbers(name, _kind(value), (str(error).splitlines() or [""])[0])) from error


def number(value: Any, name: str, kind: str) -> Any:
    """Return an argument as a Python number.

    Parameters
    ----------
    value : object
        A Python number, a scalar of NumPy's or an array without axes.
    name : str
    kind : {"float", "int"}

    Raises
    ------
    TypeError
        If it is something else.
    """
    try:
        if isinstance(value, str | bytes | bytearray) or getattr(value, "shape", ()) != ():
            raise TypeError
        return operator.index(value) if kind == "int" else float(value)
    except (TypeError, ValueError):
        shape = getattr(value, "shape", None)
        came = f"an array of shape {tuple(shape)}" if shape else _shown(value)
        raise TypeError(f"{name} must be {'an integer' if kind == 'int' else 'a real number'}; got {came}.") from None


def _is_free(value: Any) -> bool:
    """Tell whether a value belongs to no array library: numbers, lists, and what NumPy can read."""
    return isinstance(value, np.generic) or not (
        isinstance(value, np.ndarray) or array_api_compat.is_array_api_obj(value)
    )


def _promoted(a: Array, name: str, value: Any) -> str:
    found = dtype_name(a.dtype)
    if found not in _PROMOTED:
        came = f"dtype {found}" if hasattr(value, "dtype") else _shown(value)
        raise TypeError(_no_numbers(name, came, ""))
    return _PROMOTED[found]


def _cast(a: Array, name: str, common: str, home: Backend | None) -> Array:
    # The common dtype, and for an array of NumPy's the library and device of `home`.
    if isinstance(a, np.ndarray):
        with np.errstate(over="ignore"):
            b = a.astype(common, copy=not a.flags.aligned)
        if b.dtype.itemsize < a.dtype.itemsize and not np.isfinite(b[np.isfinite(a)]).all():
            raise ValueError(f"{name} must fit the range of {common}; got entries up to {np.abs(a).max():.3g}.")
        return b if home is None else home.asarray(b, dtype=common)
    if dtype_name(a.dtype) == common:
        return a
    xp = array_namespace(a)
    return xp.astype(a, getattr(xp, common))


def _unmasked(value: Any, name: str) -> np.ndarray:
    if np.ma.is_masked(value):
        count = int(np.sum(np.ma.getmaskarray(value)))
        raise TypeError(
            f"{name} must not be masked; {count} of its {value.size} entries are. Fill or drop them first, e.g. with "
            ".filled(0)."
        )
    return np.asarray(value.data)


def _masked_leaves(value: Any) -> Iterator[Any]:
    """Walk through nested lists to the masked arrays in them, whose masks ``numpy.asarray`` would drop."""
    if isinstance(value, list | tuple):
        kinds = set(map(type, value))
        if any(issubclass(kind, list | tuple | np.ma.MaskedArray) for kind in kinds):
            for part in value:
                if isinstance(part, np.ma.MaskedArray):
                    yield part
                else:
                    yield from _masked_leaves(part)


def _kind(value: Any) -> str:
    return type(value).__qualname__


def _shown(value: Any) -> str:
    """Return a value's type and the beginning of its text, in one line."""
    return f"{_kind(value)} {' '.join(repr(value).split()):.40}"


def _no_numbers(name: str, came: str, why: str) -> str:
    reason = f" ({why})" if why else ""
    return (
        f"{name} must be an array of real or complex numbers of at most double precision; got {came}{reason}. Convert "
        f"it first, e.g. with numpy.asarray({name}, dtype='float64')."
    )


def _too_few_axes(name: str, a: Array, least: int) -> str:
    remedy = f" Make a vector a matrix with {name}[None, :]." if least == 2 and len(a.shape) == 1 else ""
    return f"{name} must have shape {_SHAPES[least]}; got {tuple(a.shape)}.{remedy}"
