"""Call kernels with unsound arguments inside guarded memory: ``python fuzz_kernels.py all|NAME COUNT SEED``.

Prints how many calls were refused and how many were computed. Ends with an error if one wrote outside its arrays, wrote
into read-only memory, raised something else than TypeError, ValueError or IndexError, or gave an array of another shape
than the reference does.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
from kernel_inputs import SOUND, spoiled

from rfnumeric.kernels import Kernel

GUARD = 256  # bytes on each side
PATTERN = 0xA5
LAYOUTS = ("C", "Fortran", "reversed", "gaps", "read-only", "unaligned", "zero strides", "swapped", "subclass")

_guards: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []


class Sub(np.ndarray):
    """A subclass."""


def guarded(a: np.ndarray, layout: str) -> np.ndarray:
    """Return the values of `a` in memory of their own between two guards."""
    if layout == "swapped":
        a = a.astype(a.dtype.newbyteorder())
    a = np.asfortranarray(a) if layout == "Fortran" else np.ascontiguousarray(a).reshape(a.shape)
    step = 2 if layout == "gaps" and a.ndim else 1
    shift = 1 if layout == "unaligned" else 0
    size = a.nbytes * step
    memory = np.full(size + 2 * GUARD + shift, PATTERN, dtype=np.uint8)
    inside = memory[GUARD + shift : GUARD + shift + size].view(a.dtype)
    if step == 2:
        inside = inside.reshape(*a.shape[:-1], 2 * a.shape[-1])[..., ::2]
    order = "F" if layout == "Fortran" else "C"
    placed = inside.reshape(a.shape, order=order) if step == 1 else inside
    placed[...] = a
    if layout == "reversed" and a.ndim:
        placed[...] = np.flip(a)
        placed = np.flip(placed)
    if layout == "zero strides" and a.ndim and a.shape[0]:
        placed = np.broadcast_to(placed[:1], a.shape)
    if layout == "read-only":
        placed.flags.writeable = False
    outside = np.ones(memory.size, dtype=bool)
    outside[GUARD + shift : GUARD + shift + size] = False
    _guards.append((memory, outside, None if placed.flags.writeable else memory.copy()))
    return placed.view(Sub) if layout == "subclass" else placed


def assert_guards_intact() -> None:
    """Raise AssertionError if a byte outside an array, or in a read-only one, was written."""
    for memory, outside, frozen in _guards:
        assert (memory[outside] == PATTERN).all(), "a byte outside an array was written"
        assert frozen is None or (memory == frozen).all(), "a read-only array was written"


def forget_guards() -> None:
    """Forget the arrays made so far."""
    _guards.clear()


def _arguments(name: str, rng: np.random.Generator) -> list[Any]:
    choices = [arguments for _, arguments in spoiled(name)] + [SOUND[name]() for _ in range(10)]
    arguments = choices[rng.integers(len(choices))]
    if rng.random() < 0.3:  # two faults at once
        other = choices[rng.integers(len(choices))]
        place = rng.integers(len(arguments))
        arguments[place] = other[place]
    if rng.random() < 0.2:  # the same memory twice
        places = [i for i, a in enumerate(arguments) if isinstance(a, np.ndarray)]
        one, two = rng.choice(places, 2)
        arguments[one] = arguments[two]
    whole = rng.choice(["float32", "float64"])
    made: dict[int, np.ndarray] = {}
    for i, a in enumerate(arguments):
        if isinstance(a, np.ndarray):
            if a.dtype == np.float64:
                a = a.astype(whole)
            layout = str(rng.choice(LAYOUTS)) if rng.random() < 0.5 else "C"
            key = id(arguments[i])
            arguments[i] = made.setdefault(key, guarded(a, layout))
    return arguments


def run(name: str, rng: np.random.Generator) -> bool:
    """Call a kernel once; tell whether it computed."""
    arguments = _arguments(name, rng)
    described = [(a.shape, a.dtype.str, a.strides, a.flags.writeable) if hasattr(a, "shape") else a for a in arguments]
    print(f"{name} {described}", file=sys.stderr, flush=True)  # the last line before a crash
    try:
        with np.errstate(all="ignore"):
            Kernel.instances[name](*arguments)
        computed = True
        said = ""
    except (TypeError, ValueError, IndexError) as error:
        computed, said = False, str(error)
    assert "\n" not in said, said
    assert "No matching definition" not in said, said
    assert_guards_intact()
    forget_guards()
    return computed


def main(names: str, count: int, seed: int) -> None:
    """Run `count` calls of each kernel."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    computed = total = 0
    for name in sorted(SOUND) if names == "all" else names.split(","):
        for _ in range(count):
            computed += run(name, rng)
            total += 1
    print(f"refused {total - computed} computed {computed}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
