"""What each kernel demands of its arguments, in one place: a kernel and its reference refuse the same with one text.

Compiled loops and BLAS read and write where the shapes say and never look again, so that everything they trust is
checked before: that all arrays are of one library and dtype (`Kernel`, at each call), and that their shapes fit
(`check_shapes`). An accelerated kernel may leave the second out only where its own tests imply it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from rfnumeric.backend import array_namespace, device_of, dtype_name, library_of, to_numpy
from rfnumeric.typing import Array

# Kernel → argument → its last axes; the same letter is the same size. What stands before them are leading axes, which
# broadcast. An argument that may be None or a number is checked where it is an array.
SHAPES: dict[str, dict[str, str]] = {
    "average_pool": {"x": "batch n_in"},
    "average_pool_pull": {"v": "batch n_out", "d": "batch n_in"},
    "add_outer": {"W": "m n", "U": "batch m", "V": "batch n"},
    "bias_identity": {"z": "batch n", "b": "n"},
    "bias_leaky_relu": {"z": "batch n", "b": "n"},
    "bias_leaky_softplus": {"z": "batch n", "b": "n"},
    "bias_sigmoid": {"z": "batch n", "b": "n"},
    "bias_tanh": {"z": "batch n", "b": "n"},
    "convolution": {"x": "batch n_in", "W": "C_out C kh kw", "b": "C_out"},
    "convolution_grad": {"v": "batch n_out", "x": "batch n_in"},
    "convolution_leaky_relu": {"x": "batch n_in", "W": "C_out C kh kw", "b": "C_out"},
    "convolution_pull": {"v": "batch n_out", "W": "C_out C kh kw", "d": "batch n_in"},
    "coupled_steps": {"U": "a b", "V": "b a"},
    "gated_product": {"delta": "batch n_out", "M": "n n_out", "d_sigma": "batch n"},
    "gather_scale": {"images": "samples n"},
    "gram_inverse": {"A": "m n"},
    "gram_pinv": {"A": "m n"},
    "image_patches": {"x": "batch n_in"},
    "inverse_ratio": {"A": "m n", "X": "n m"},
    "kronecker_apply": {"A": "m n", "B": "p q", "X": "n q"},
    "layer_leaky_relu": {"x": "batch n_in", "W": "n n_in", "b": "n"},
    "local_add_outer": {"W": "H_out W_out C_out C kh kw", "v": "batch n_out", "x": "batch n_in"},
    "local_grad": {"v": "batch n_out", "x": "batch n_in"},
    "local_product": {"x": "batch n_in", "W": "H_out W_out C_out C kh kw", "b": "n_out"},
    "local_pull": {"v": "batch n_out", "W": "H_out W_out C_out C kh kw", "d": "batch n_in"},
    "matmul": {"A": "m k", "B": "k n"},
    "meyer_update": {"A": "m n", "X": "n m", "c": "m", "d": "n", "tolerance": ""},
    "penrose_norms": {"A": "m n", "X": "n m"},
    "reciprocal_derivative": {"u": "n", "d_sigma": "n", "h": "n_in"},
    "sgd_update": {"W": "n_out n_in", "b": "n_out", "delta": "batch n_out", "h": "batch n_in"},
    "softmax_cross_entropy": {"h": "batch classes", "labels": "batch"},
    "solve_positive": {"G": "m m", "B": "m k"},
}

_LIKE_W = {"momentum_update": ("v", "G"), "adam_update": ("m", "v", "G")}
_INTEGERS = {"softmax_cross_entropy": ("labels",), "gather_scale": ("index",)}
_REAL = ("lr", "scale", "tolerance")
_RATE_BY_MEMBER = {"add_outer", "sgd_update", "local_add_outer"}
_EQUAL_LEADS = {"coupled_steps"}
OWN_LAYERS = ("reciprocal", "derivative", "none")


def check_arguments(kernel: str, arguments: dict[str, Any]) -> None:
    """Raise unless the arguments of a kernel fit one another.

    Parameters
    ----------
    kernel : str
    arguments : dict
        Name → what was passed, in the order of the signature.

    Raises
    ------
    ValueError
        If a shape or a name does not fit.
    TypeError
        If labels or indices are no integers, or images no bytes.
    """
    if kernel in SHAPES:
        known = _window_sizes(arguments) if "window" in arguments else {}
        check_shapes(SHAPES[kernel], arguments, kernel in _EQUAL_LEADS, known)
    for name in _INTEGERS.get(kernel, ()):
        if dtype_name(arguments[name].dtype).lstrip("u")[:3] != "int":
            raise TypeError(f"{name} must have an integer dtype; got {dtype_name(arguments[name].dtype)}.")
    if kernel in _LIKE_W:
        _check_like(kernel, arguments)
    for name in _REAL:
        if "complex" in dtype_name(getattr(arguments.get(name), "dtype", "float64")):
            raise TypeError(f"{name} must be real; got {dtype_name(arguments[name].dtype)}.")
        shape = tuple(getattr(arguments.get(name), "shape", ()))
        if kernel in _RATE_BY_MEMBER:
            axes = len(SHAPES[kernel]["W"].split())
            lead = tuple(arguments["W"].shape[:-axes])
            if shape not in ((), lead):
                raise ValueError(f"{name} must be a number or have the leading axes {lead} of W; got shape {shape}.")
    if kernel in ("gram_pinv", "inverse_ratio") and 0 in arguments["A"].shape[-2:]:
        raise ValueError(f"A must have at least one row and one column; got {tuple(arguments['A'].shape)}.")
    if kernel == "gather_scale" and len(arguments["images"].shape) != 2:
        raise ValueError(f"images must have shape (samples, n); got {tuple(arguments['images'].shape)}.")
    if kernel == "gather_scale" and dtype_name(arguments["images"].dtype) != "uint8":
        raise TypeError(f"images must be uint8; got {dtype_name(arguments['images'].dtype)}.")
    if kernel == "gather_scale" and dtype_name(arguments["dtype"]) not in ("float32", "float64"):
        raise TypeError(f"dtype must be float32 or float64; got {dtype_name(arguments['dtype'])}.")
    if "own_layer" in arguments and arguments["own_layer"] not in OWN_LAYERS:
        raise ValueError(f"own_layer must be one of {', '.join(OWN_LAYERS)}; got {arguments['own_layer']!r}.")


def _window_sizes(arguments: dict[str, Any]) -> dict[str, int]:
    """Return the sizes that a window on images and the channels of W set.

    Raises
    ------
    ValueError
        If the window does not fit on its image, or rows of results are not one number a channel and position.
    """
    w, W, v = arguments["window"], arguments.get("W"), arguments.get("v")
    if min(w[:7]) < 1 or min(w[7:]) < 0 or w.out_height < 1 or w.out_width < 1:
        raise ValueError(f"window must have positive sizes and strides and fit on its image; got {w}.")
    sizes = {"n_in": w.n_in, "C": w.channels, "kh": w.kh, "kw": w.kw, "H_out": w.out_height, "W_out": w.out_width}
    if W is not None and len(W.shape) > 3:
        return sizes | {"n_out": W.shape[-4] * w.positions}
    if v is not None and "x" not in arguments:
        return sizes | {"n_out": w.channels * w.positions}
    if v is not None and v.shape and v.shape[-1] % w.positions:
        raise ValueError(
            f"v must have a multiple of {w.positions} entries a row, one for each window; got {tuple(v.shape)}."
        )
    return sizes


def check_shapes(
    wanted: dict[str, str], arguments: dict[str, Any], equal_leads: bool, known: dict[str, int] | None = None
) -> None:
    """Raise unless the last axes agree letter by letter and the leading axes broadcast.

    Sizes that are `known` come from the argument ``window``.

    Raises
    ------
    ValueError
        Names the argument, what it must be, and what it and the argument that it must match are.
    """
    sizes: dict[str, tuple[int, str]] = {axis: (size, "window") for axis, size in (known or {}).items()}
    leads: dict[str, tuple[int, ...]] = {}
    for name, letters in wanted.items():
        shape = getattr(arguments.get(name), "shape", None)
        if shape is None:
            continue
        shape, axes = tuple(shape), letters.split()
        if len(shape) < len(axes):
            raise ValueError(f"{name} must have shape {_form(axes)}; got {shape}.")
        leads[name] = shape[: len(shape) - len(axes)]
        for axis, size in zip(axes, shape[len(shape) - len(axes) :], strict=True):
            first, owner = sizes.setdefault(axis, (size, name))
            if first != size:
                other = "" if owner == name else f" to match {owner} {_size_of(arguments[owner])}"
                raise ValueError(f"{name} must have shape {_form(axes)} with {axis} = {first}{other}; got {shape}.")
    check_leads(leads, equal_leads)


def check_leads(leads: dict[str, tuple[int, ...]], equal: bool = False) -> None:
    """Raise unless leading axes are equal, or broadcast.

    Raises
    ------
    ValueError
        Lists the leading axes of each argument.
    """
    found = ", ".join(f"{name} {lead}" for name, lead in leads.items())
    if equal:
        if len(set(leads.values())) > 1:
            raise ValueError(f"leading axes must be equal; got {found}.")
        return
    for axis in zip_longest(*(lead[::-1] for lead in leads.values()), fillvalue=1):
        if len(set(axis) - {1}) > 1:
            raise ValueError(f"leading axes must be equal or 1, so that they broadcast; got {found}.")


def check_labels(labels: Array, classes: int) -> None:
    """Raise unless every label names one of the classes.

    On a GPU nothing is checked: reading a value waits until all the work queued before it is done, which a training
    step cannot afford. There a loss is NaN for a label out of range, and a run checks the labels of its data once.

    Parameters
    ----------
    labels : integer array, shape (..., batch)
    classes : int

    Raises
    ------
    ValueError
        Names the first sample of a batch whose label is out of range.
    """
    if waits(labels):
        return
    xp = array_namespace(labels)
    wrong = (labels < 0) | (labels >= classes)
    if bool(xp.any(wrong)):
        places = to_numpy(wrong).reshape(-1, labels.shape[-1]).any(axis=0)
        raise ValueError(label_text(int(places.argmax()), classes))


def check_index(index: Array, samples: int) -> None:
    """Raise unless every index names a sample; on a GPU nothing is checked, as in `check_labels`.

    Raises
    ------
    IndexError
        Names the first index that does not.
    """
    if waits(index):
        return
    wrong = (index < 0) | (index >= samples)
    if bool(array_namespace(index).any(wrong)):
        raise IndexError(index_text(int(to_numpy(index)[to_numpy(wrong)].flat[0]), samples))


def index_text(index: int, samples: int) -> str:
    """Return what is said of an index that names no sample."""
    return f"index must lie in 0…{samples - 1}; got {index}."


def label_text(sample: int, classes: int) -> str:
    """Return what is said of a label that names no class."""
    return (
        f"labels must lie in 0…{classes - 1}, one for each of the network's {classes} outputs; sample {sample} of the "
        "batch does not. Give the network as many outputs as the data has classes."
    )


def waits(a: Array) -> bool:
    """Tell whether reading a value of `a` waits for a GPU."""
    return library_of(a).on_gpu(device_of(a))


def _check_like(kernel: str, arguments: dict[str, Any]) -> None:
    shape = tuple(arguments["W"].shape)
    for name in _LIKE_W[kernel]:
        if tuple(arguments[name].shape) != shape:
            raise ValueError(f"{name} must have the shape {shape} of W; got {tuple(arguments[name].shape)}.")
    lr = getattr(arguments["lr"], "shape", ())
    if tuple(lr) != shape[: len(lr)]:
        raise ValueError(
            f"lr must be a number or have the first axes of W {shape}, one rate for each member; got shape {tuple(lr)}."
        )


def _size_of(argument: Any) -> Any:
    shape = getattr(argument, "shape", None)
    return argument if shape is None else tuple(shape)


def _form(axes: Sequence[str]) -> str:
    return f"({', '.join(('...', *axes))})"
