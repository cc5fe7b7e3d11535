"""`Dataset`: a labelled set of images, checked once so that nothing after it has to."""

import math
from dataclasses import dataclass

import numpy as np

from rfnumeric.errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test images with their labels. Samples are rows.

    Attributes
    ----------
    name : str
        As in :func:`rfnumeric.datasets.names`.
    train_images, test_images : numpy.ndarray
        uint8, shape (N, n), C-contiguous; n is the product of `image_shape`. Pixel values 0…255, as stored.
    train_labels, test_labels : numpy.ndarray
        int64, shape (N,), each from 0 to ``n_classes - 1``.
    image_shape : tuple of int
        (rows, columns), or (channels, rows, columns).
    class_names : tuple of str
        What each label stands for.

    Raises
    ------
    TypeError
        If an array has another dtype than stated.
    DataError
        If shapes, lengths or labels contradict one another.

    Examples
    --------
    >>> import numpy as np
    >>> two = Dataset("two", np.zeros((3, 4), np.uint8), np.array([0, 1, 0]), np.zeros((1, 4), np.uint8), np.array([1]),
    ...               image_shape=(2, 2), class_names=("no", "yes"))
    >>> two
    Dataset('two': 3 training and 1 test images of shape (2, 2), 2 classes)
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            self._check(part, getattr(self, f"{part}_images"), getattr(self, f"{part}_labels"))

    def _check(self, part: str, images: np.ndarray, labels: np.ndarray) -> None:
        for what, array, dtype in ((f"{part}_images", images, np.uint8), (f"{part}_labels", labels, np.int64)):
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                got = getattr(array, "dtype", type(array).__name__)
                raise TypeError(f"`{what}` of {self.name} must be a NumPy array of {dtype.__name__}; got {got}.")
        if images.ndim != 2 or images.shape[1] != self.n_features or not images.flags.c_contiguous:
            raise DataError(
                f"`{part}_images` of {self.name} must be C-contiguous with shape (N, {self.n_features}) to match "
                f"image_shape {self.image_shape}; got {images.shape}."
            )
        if labels.shape != images.shape[:1]:
            raise DataError(
                f"`{part}_labels` of {self.name} must have shape ({images.shape[0]},), one label an image; "
                f"got {labels.shape}. Do images and labels come from the same set?"
            )
        if labels.size and not (labels.min() >= 0 and labels.max() < self.n_classes):
            raise DataError(
                f"`{part}_labels` of {self.name} must lie in 0…{self.n_classes - 1}; "
                f"got {labels.min()}…{labels.max()}. Is it a file of labels?"
            )

    @property
    def n_features(self) -> int:
        """Pixels of an image, channels included: the width of a network's input."""
        return math.prod(self.image_shape)

    @property
    def n_classes(self) -> int:
        """Classes: the width of a network's output."""
        return len(self.class_names)

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}: {len(self.train_images)} training and {len(self.test_images)} test images "
            f"of shape {self.image_shape}, {self.n_classes} classes)"
        )
