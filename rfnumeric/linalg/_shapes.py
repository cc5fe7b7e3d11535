"""Checks that several arrays fit one another, before a compiled loop takes their shapes on trust."""

from __future__ import annotations

from itertools import zip_longest

from rfnumeric.typing import Array


def check_shape(X: Array, name: str, shape: tuple[int, ...], purpose: str, A: Array, hint: str = "") -> None:
    """Raise unless the last axes of `X` have this shape.

    Raises
    ------
    ValueError
        Names the argument, the shape that it needs, for what, and the one that it has.
    """
    if tuple(X.shape[-len(shape) :]) != shape:
        wanted = ", ".join(str(size) for size in shape)
        raise ValueError(
            f"{name} must have shape (..., {wanted}) {purpose} {tuple(A.shape)}; got {tuple(X.shape)}.{hint}"
        )


def check_leading(leads: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape to which leading axes broadcast.

    Raises
    ------
    ValueError
        If they do not; lists the leading axes of each argument.
    """
    sizes = []
    for axis in zip_longest(*(tuple(lead)[::-1] for lead in leads.values()), fillvalue=1):
        different = set(axis) - {1}
        if len(different) > 1:
            found = ", ".join(f"{name} {tuple(lead)}" for name, lead in leads.items())
            raise ValueError(f"leading axes must be equal or 1, so that they broadcast; got {found}.")
        sizes.append(different.pop() if different else 1)
    return tuple(sizes[::-1])
