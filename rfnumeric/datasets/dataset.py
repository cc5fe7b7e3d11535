"""`Dataset`: labelled samples, checked once so that nothing after it has to."""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rfnumeric.errors import DataError

HELD_OUT = 5
"""Where no test set is given, one sample in so many is held out."""


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Dataset:
    """Training and test samples with their labels or targets. Samples are rows.

    ``Dataset(x, y)`` takes arrays of your own, ``Dataset(x, y, x_test, y_test, name=…)`` with a test set of your own;
    ``Dataset(name, …)`` takes the attributes below in their order, which `dataclasses.replace` can change.

    Parameters
    ----------
    x, x_test : array_like, shape (N, …)
        Samples: uint8 pixels 0…255, which a run scales as its `input_scale` says; or any floating numbers, which reach
        the network as they are, in the run's precision.
    y, y_test : array_like, shape (N,) or (N, k)
        Labels 0, 1, …, as integers; or floating targets, one row a sample, for the loss ``"mse"``.
        Without a test set every fifth sample is held out as one.
    name : str
        Default: ``"data"``.
    image_shape : tuple of int
        Shape of a sample, (rows, columns) or (channels, rows, columns). Default: as `x` has it.
    class_names : tuple of str
        What each label stands for, or the names of the targets' columns. Default: their numbers.

    Attributes
    ----------
    name : str
        As in :func:`rfnumeric.datasets.names`.
    train_images : numpy.ndarray
        uint8, float32 or float64, shape (N, n), C-contiguous; n is the product of `image_shape`.
    train_labels : numpy.ndarray
        int64, shape (N,), each from 0 to ``n_classes - 1``; or floating, shape (N, n_classes).
    test_images, test_labels : numpy.ndarray
        Likewise.
    image_shape : tuple of int
    class_names : tuple of str

    Raises
    ------
    TypeError
        If an array has another dtype than stated.
    DataError
        If shapes, lengths or labels contradict one another, or a number is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> Dataset(np.zeros((6, 2, 2)), [0, 1, 0, 1, 1, 0], name="six")
    Dataset('six': 5 training and 1 test images of shape (2, 2), 2 classes)
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]

    def __init__(self, *given: Any, **named: Any) -> None:
        order = [field.name for field in fields(self)]
        if given and not isinstance(given[0], str):
            order = order[1:]
        own = {"x": "train_images", "y": "train_labels", "x_test": "test_images", "y_test": "test_labels"}
        values = dict(zip(order, given, strict=False)) | {own.get(name, name): v for name, v in named.items()}
        unknown = set(values) - {field.name for field in fields(self)}
        if unknown or len(given) > len(order):
            raise TypeError(
                f"Dataset takes x, y, x_test, y_test and {', '.join(order)}; got {sorted(unknown) or given}."
            )
        for name in ("train_images", "train_labels"):
            if values.get(name) is None:
                raise TypeError(f"Dataset needs x and y, the training samples and their labels; {name} is missing.")
        for name, value in _completed(values).items():
            object.__setattr__(self, name, value)
        for what in ("images", "labels"):
            train, test = (getattr(self, f"{part}_{what}").dtype for part in ("train", "test"))
            if train != test:
                raise TypeError(f"`test_{what}` of {self.name} must be {train} as `train_{what}` is; got {test}.")
        for part in ("train", "test"):
            self._check(part, getattr(self, f"{part}_images"), getattr(self, f"{part}_labels"))

    def _check(self, part: str, images: np.ndarray, labels: np.ndarray) -> None:
        what = f"`{part}_images` of {self.name}"
        if images.dtype not in (np.uint8, np.float32, np.float64):
            raise TypeError(f"{what} must be a NumPy array of uint8, float32 or float64; got {images.dtype}.")
        if images.ndim != 2 or images.shape[1] != self.n_features or not images.flags.c_contiguous:
            raise DataError(
                f"{what} must be C-contiguous with shape (N, {self.n_features}) to match "
                f"image_shape {self.image_shape}; got {images.shape}."
            )
        if images.dtype != np.uint8 and not np.isfinite(images).all():
            raise DataError(f"{what} must be finite; it holds NaN or infinity. Remove or fill those samples.")
        self._check_labels(f"`{part}_labels` of {self.name}", labels, len(images))

    def _check_labels(self, what: str, labels: np.ndarray, count: int) -> None:
        if labels.dtype not in (np.int64, np.float32, np.float64):
            raise TypeError(f"{what} must be a NumPy array of int64 labels or of floating targets; got {labels.dtype}.")
        if self.has_targets:
            if labels.shape != (count, self.n_classes) or not np.isfinite(labels).all():
                raise DataError(
                    f"{what} must be finite, of shape ({count}, {self.n_classes}), a row a sample; got {labels.shape}."
                )
            return
        if labels.shape != (count,):
            raise DataError(
                f"{what} must have shape ({count},), one label an image; got {labels.shape}. "
                "Do images and labels come from the same set?"
            )
        if labels.size and not (labels.min() >= 0 and labels.max() < self.n_classes):
            raise DataError(
                f"{what} must lie in 0…{self.n_classes - 1}; got {labels.min()}…{labels.max()}. Is it a file of labels?"
            )

    @property
    def has_targets(self) -> bool:
        """Whether samples have floating targets in place of labels."""
        return self.train_labels.dtype != np.int64

    @property
    def n_features(self) -> int:
        """Entries of a sample, channels included: the width of a network's input."""
        return math.prod(self.image_shape)

    @property
    def n_classes(self) -> int:
        """Classes, or columns of the targets: the width of a network's output."""
        return len(self.class_names)

    def __repr__(self) -> str:
        kind = "targets" if self.has_targets else "classes"
        what = "images" if len(self.image_shape) > 1 else "samples"
        return (
            f"Dataset({self.name!r}: {len(self.train_images)} training and {len(self.test_images)} test {what} "
            f"of shape {self.image_shape}, {self.n_classes} {kind})"
        )


def _completed(values: dict[str, Any]) -> dict[str, Any]:
    """Return all fields: arrays as they are kept, and defaults for what was not given.

    Raises
    ------
    DataError
        If there are too few samples to hold some out.
    TypeError
        If an array is of another kind.
    """
    name = str(values.get("name", "data"))
    arrays = {}
    for key in ("train_images", "train_labels", "test_images", "test_labels"):
        if (value := values.get(key)) is not None:
            arrays[key] = _samples(value, key, name) if key.endswith("images") else _labels(value, key, name)
    x, y = arrays["train_images"], arrays["train_labels"]
    shape = tuple(int(n) for n in values.get("image_shape") or x.shape[1:])
    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise TypeError(f"Dataset needs x_test and y_test together; {name} has one of them.")
    if "test_images" not in arrays:
        if len(x) < HELD_OUT or len(x) != len(y):
            raise DataError(
                f"x and y of {name} must be as many, at least {HELD_OUT}, to hold some out for the test; "
                f"got {len(x)} and {len(y)}. Give x_test and y_test."
            )
        test = np.arange(len(x)) % HELD_OUT == HELD_OUT - 1
        arrays = {"train_images": x[~test], "train_labels": y[~test], "test_images": x[test], "test_labels": y[test]}
    for key in ("train_images", "test_images"):
        if arrays[key].ndim > 2 or arrays[key].ndim == 1:
            arrays[key] = arrays[key].reshape(len(arrays[key]), -1)
    classes = values.get("class_names")
    if classes is None:
        count = y.shape[1] if y.dtype != np.int64 and y.ndim == 2 else int(max(y.max(initial=0), 0)) + 1
        classes = map(str, range(count))
    return {"name": name, **arrays, "image_shape": shape, "class_names": tuple(classes)}


def _samples(value: Any, key: str, name: str) -> np.ndarray:
    array = np.asarray(value)
    if isinstance(value, np.ma.MaskedArray) or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
        raise TypeError(_told(key, name, "uint8 pixels or floating numbers", value))
    if array.dtype.kind == "f":
        array = array.astype(np.float32 if array.dtype.itemsize <= 4 else np.float64, copy=False)
    return np.ascontiguousarray(array) if array.ndim else array


def _labels(value: Any, key: str, name: str) -> np.ndarray:
    array = np.asarray(value)
    if isinstance(value, np.ma.MaskedArray) or array.dtype.kind not in "iuf":
        raise TypeError(_told(key, name, "integer labels or floating targets", value))
    kept: Any = np.int64 if array.dtype.kind in "iu" else np.float32 if array.dtype.itemsize <= 4 else np.float64
    return np.ascontiguousarray(array.astype(kept, copy=False))


def _told(key: str, name: str, wanted: str, got: Any) -> str:
    kind = getattr(got, "dtype", type(got).__name__)
    return f"`{key}` of {name} must be {wanted}; got {kind}. Convert it first."
