"""The gate: what a public function does with its arguments before it runs, so that nothing inside checks again.

A plain NumPy array of a supported dtype passes in under a microsecond; everything else is made into one, or refused, by
`rfnumeric.backend.native`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from rfnumeric.backend.arrays import array_namespace
from rfnumeric.backend.native import NATIVE, native_arrays, number, read
from rfnumeric.typing import Array

F = TypeVar("F", bound=Callable[..., Any])

_PLAIN: dict[str, set[type]] = {"float": {float, int}, "int": {int}}


def gate(*, like: str = "", linear: bool = False, real: bool = False, **axes: int) -> Callable[[F], F]:
    """Decorate a public function or method: its arrays arrive native, of one library and one dtype.

    Parameters
    ----------
    like : str
        For a method: the attribute of its object whose library and dtype the arrays take. Otherwise they take the dtype
        that holds them all.
    linear : bool
        Whether the method is linear in its one array. An object with a real matrix then takes complex numbers too: the
        method runs on the real and on the imaginary part.
    real : bool
        Whether complex numbers are refused.
    **axes : int
        The least number of axes of each argument that is an array. None passes where it is the default, and a string
        where the annotation has ``str``. Arguments annotated ``float`` or ``int`` become Python's, those annotated
        ``float | Array`` also real arrays (of the library and precision of the others).

    Returns
    -------
    callable
        The decorator. What it returns has the attribute `gated_axes`, which is `axes`.

    Raises
    ------
    ValueError
        When decorating: if a parameter annotated as an array is not named.

    Examples
    --------
    >>> from rfnumeric.typing import Array
    >>> @gate(A=2)
    ... def shape_and_dtype(A: Array) -> tuple:
    ...     return A.shape, A.dtype.name
    >>> shape_and_dtype([[1, 2], [3, 4]])
    ((2, 2), 'float64')
    """

    def decorate(function: F) -> F:
        spec = _Specification(function, like, linear, real, axes)
        arrays, numbers = spec.arrays, spec.numbers
        optional = spec.optional

        @functools.wraps(function)
        def gated(*args: Any, **kwargs: Any) -> Any:
            count = len(args)
            owner = getattr(args[0], like) if like else None
            dtype = None if owner is None else owner.dtype
            for place, name in arrays:
                value = args[place] if place < count else kwargs.get(name)
                if type(value) is not np.ndarray:
                    if value is None and name in optional:
                        continue
                    break
                if value.dtype is not dtype:
                    if dtype is not None or value.dtype not in NATIVE or (real and value.dtype.kind == "c"):
                        break
                    dtype = value.dtype
                if value.ndim < axes[name] or not value.flags.aligned:
                    break
            else:
                for place, name, plain in numbers:
                    if place < count:
                        if type(args[place]) not in plain:
                            break
                    elif name in kwargs and type(kwargs[name]) not in plain:
                        break
                else:
                    return function(*args, **kwargs)
            return spec.call(args, kwargs)

        gated.gated_axes = dict(axes)  # type: ignore[attr-defined]
        return gated  # type: ignore[return-value]

    return decorate


class _Specification:
    """What one public function takes, and the way in for arguments that are not plain already."""

    def __init__(self, function: Callable[..., Any], like: str, linear: bool, real: bool, axes: dict[str, int]) -> None:
        self.function, self.like, self.linear, self.real, self.axes = function, like, linear, real, axes
        self.signature = inspect.signature(function)
        parameters = self.signature.parameters
        # Annotations are strings: every module has `from __future__ import annotations`.
        parts = {name: set(str(p.annotation).replace(" ", "").split("|")) for name, p in parameters.items()}
        places = {name: place for place, name in enumerate(parameters)}
        self.arrays = tuple((places[name], name) for name in axes)
        self.kinds = {name: "float" if "float" in part else "int" for name, part in parts.items() if part & _NUMBERS}
        self.by_member = {name for name in self.kinds if "Array" in parts[name]}
        self.named = {name for name in axes if "str" in parts[name]}
        self.optional = {name for name, p in parameters.items() if p.default is None}
        none = {name: {type(None)} if name in self.optional else set() for name in self.kinds}
        self.numbers = tuple((places[name], name, _PLAIN[kind] | none[name]) for name, kind in self.kinds.items())
        forgotten = {name for name, part in parts.items() if "Array" in part} - set(axes) - self.by_member
        if forgotten:
            raise ValueError(f"{function.__qualname__}: the gate must be told the axes of {sorted(forgotten)}.")

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Convert what was passed and call the function."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError:
            return self.function(*args, **kwargs)  # whose own message names it
        given = bound.arguments
        values = {
            name: value
            for name, value in given.items()
            if name in self.axes and not (self._passes(name, value) or (self.like and isinstance(value, type(args[0]))))
        }
        owner = getattr(args[0], self.like) if self.like else None
        if self.linear and self._is_complex_for_real(values, owner):
            return self._by_parts(args, kwargs, values)
        arrays = native_arrays(values, self.axes, like=owner, real=self.real) if values else {}
        given.update(arrays)
        for _, name, plain in self.numbers:
            if name in given and type(given[name]) not in plain:
                given[name] = self._number(given[name], name, self.kinds[name], owner, arrays)
        return self.function(*bound.args, **bound.kwargs)

    def _passes(self, name: str, value: Any) -> bool:
        return (value is None and name in self.optional) or (isinstance(value, str) and name in self.named)

    def _number(self, value: Any, name: str, kind: str, owner: Array | None, arrays: dict[str, Array]) -> Any:
        shape = getattr(value, "shape", None)
        if name not in self.by_member or not (shape or isinstance(value, list | tuple)):
            return number(value, name, kind)
        first = owner if owner is not None else next(iter(arrays.values()))
        xp = array_namespace(first)
        part = xp.real(first) if xp.isdtype(first.dtype, "complex floating") else first
        return native_arrays({name: value}, {name: 0}, like=part)[name]

    def _is_complex_for_real(self, values: dict[str, Any], owner: Array) -> bool:
        if array_namespace(owner).isdtype(owner.dtype, "complex floating"):
            return False
        return any("complex" in str(read(value, name).dtype) for name, value in values.items())

    def _by_parts(self, args: tuple[Any, ...], kwargs: dict[str, Any], values: dict[str, Any]) -> Any:
        ((name, value),) = native_arrays(values, self.axes).items()
        bound = self.signature.bind(*args, **kwargs)
        xp = array_namespace(value)
        parts = []
        for part in (xp.real(value), xp.imag(value)):
            bound.arguments[name] = part
            parts.append(self.call(bound.args, bound.kwargs))
        precise = xp.complex64 if parts[0].dtype == xp.float32 else xp.complex128
        return xp.astype(parts[0], precise) + 1j * xp.astype(parts[1], precise)


_NUMBERS = {"float", "int"}
