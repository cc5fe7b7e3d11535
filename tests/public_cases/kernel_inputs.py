"""Sound arguments of every kernel, small and with sizes that all differ, and ways to spoil one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rfnumeric.kernels import Window


def _matrices(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.1, 1.0, shape) for shape in shapes]


def _square(size: int, columns: int) -> list[np.ndarray]:
    A, B = _matrices(3, (size, size), (size, columns))
    return [A @ A.T + np.eye(size), B]


WINDOW = Window(2, 4, 5, 3, 2, 1, 2, 0, 1)  # 2 × 3 positions on rows of 40 numbers
POOL = Window(3, 5, 2, 2, 1, 2, 1, 0, 0)  # 2 × 2 positions
LABELS = np.asarray([0, 2])
SOUND: dict[str, Callable[[], list[Any]]] = {
    "adam_update": lambda: [*_matrices(0, (3, 4), (3, 4), (3, 4), (3, 4)), 0.1, 0.9, 0.99, 1e-8, 3],
    "add_outer": lambda: [*_matrices(0, (3, 4), (2, 3), (2, 4)), 0.5],
    "average_pool": lambda: [*_matrices(0, (2, 30)), POOL],
    "average_pool_pull": lambda: [*_matrices(0, (2, 12), (2, 30)), POOL],
    "bias_identity": lambda: _matrices(0, (2, 3), (3,)),
    "bias_leaky_relu": lambda: [*_matrices(0, (2, 3), (3,)), 0.1],
    "bias_leaky_softplus": lambda: [*_matrices(0, (2, 3), (3,)), 0.1],
    "bias_sigmoid": lambda: _matrices(0, (2, 3), (3,)),
    "bias_tanh": lambda: _matrices(0, (2, 3), (3,)),
    "convolution": lambda: [*_matrices(0, (2, 40), (7, 2, 3, 2), (7,)), WINDOW],
    "convolution_grad": lambda: [*_matrices(0, (2, 42), (2, 40)), WINDOW],
    "convolution_leaky_relu": lambda: [*_matrices(0, (2, 40), (7, 2, 3, 2), (7,)), WINDOW, 0.1],
    "convolution_pull": lambda: [*_matrices(0, (2, 42), (7, 2, 3, 2), (2, 40)), WINDOW],
    "coupled_steps": lambda: [*_matrices(0, (3, 4), (4, 3)), 0.1, 0.1, 0.0, False, 2],
    "gated_product": lambda: _matrices(0, (2, 5), (3, 5), (2, 3)),
    "gather_scale": lambda: [np.arange(12, dtype=np.uint8).reshape(4, 3), np.asarray([3, 0]), 0.5, -1.0, "float64"],
    "gram_inverse": lambda: [*_matrices(0, (2, 3)), 0.1],
    "gram_pinv": lambda: _matrices(0, (2, 3)),
    "image_patches": lambda: [*_matrices(0, (2, 40)), WINDOW],
    "kronecker_apply": lambda: _matrices(0, (2, 3), (4, 5), (3, 5)),
    "layer_leaky_relu": lambda: [*_matrices(0, (2, 4), (3, 4), (3,)), 0.1],
    "local_add_outer": lambda: [*_matrices(0, (2, 3, 7, 2, 3, 2), (5, 42), (5, 40)), 0.5, WINDOW],
    "local_grad": lambda: [*_matrices(0, (5, 42), (5, 40)), WINDOW],
    "local_product": lambda: [*_matrices(0, (5, 40), (2, 3, 7, 2, 3, 2), (42,)), WINDOW],
    "local_pull": lambda: [*_matrices(0, (5, 42), (2, 3, 7, 2, 3, 2), (5, 40)), WINDOW],
    "matmul": lambda: _matrices(0, (2, 3), (3, 4)),
    "meyer_update": lambda: [*_matrices(0, (2, 3), (3, 2), (2,), (3,)), np.asarray(1e-10)],
    "momentum_update": lambda: [*_matrices(0, (3, 4), (3, 4), (3, 4)), 0.1, 0.9],
    "inverse_ratio": lambda: _matrices(0, (2, 3), (3, 2)),
    "penrose_norms": lambda: _matrices(0, (2, 3), (3, 2)),
    "reciprocal_derivative": lambda: [*_matrices(0, (2, 3), (2, 3), (2, 4)), 0.1, "reciprocal", True, False],
    "sgd_update": lambda: [*_matrices(0, (3, 4), (3,), (2, 3), (2, 4)), 0.1],
    "softmax_cross_entropy": lambda: [*_matrices(0, (2, 3)), LABELS.copy()],
    "solve_positive": lambda: _square(3, 2),
}
"""Kernel → its arguments; each call makes new ones."""


def spoiled(name: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield descriptions and arguments of which one is not sound any more; some are sound still."""
    for place, a in enumerate(SOUND[name]()):
        if isinstance(a, np.ndarray):
            for what, changed in _spoiled_array(a):
                yield f"argument {place} {what}", _with(name, place, changed)
        elif isinstance(a, str):
            yield f"argument {place} another name", _with(name, place, "float16" if a == "float64" else "other")
    rates = {"sgd_update": 4, "momentum_update": 3, "adam_update": 4, "add_outer": 3}
    if name in rates:
        for shape in ((2,), (3,), (4,), (3, 4), (1,)):
            yield f"rates of shape {shape}", _with(name, rates[name], np.full(shape, 0.1))
    arrays = [i for i, a in enumerate(SOUND[name]()) if isinstance(a, np.ndarray)]
    for one in arrays:
        for other in arrays:
            if one < other:
                arguments = SOUND[name]()
                arguments[one], arguments[other] = np.stack([arguments[one]] * 2), np.stack([arguments[other]] * 3)
                yield f"leading axes 2 and 3 of arguments {one}, {other}", arguments


def _with(name: str, place: int, value: Any) -> list[Any]:
    arguments = SOUND[name]()
    arguments[place] = value
    return arguments


def _spoiled_array(a: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for axis in range(a.ndim):
        yield f"longer along axis {axis}", np.concatenate([a, a.take([0], axis)], axis=axis)
        yield f"shorter along axis {axis}", a.take(range(1, a.shape[axis]), axis)
        yield f"empty along axis {axis}", a.take([], axis)
        yield f"one along axis {axis}", a.take([0], axis)
    yield "transposed", a.T
    yield "without axes", np.asarray(a.reshape(-1)[0])
    yield "as one row", a.reshape(-1)
    yield "with a leading axis of none", np.zeros((0, *a.shape), a.dtype)
    if a.dtype.kind == "f":
        for dtype in ("float32", "complex128", "int64", "bool"):
            yield f"as {dtype}", a.astype(dtype)
    else:
        yield "as float64", a.astype(float)
        yield "negative", (a.astype(np.int64) - 4)
        yield "too large", a.astype(np.int64) + 2**40
        yield "just too large", a.astype(np.int64) + 3
