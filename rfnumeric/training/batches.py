"""A data set on the device, gathered batch by batch; pixels stay uint8 until the last moment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rfnumeric import kernels
from rfnumeric.backend import Backend, Streams
from rfnumeric.datasets import Dataset
from rfnumeric.typing import Array

EVALUATION_BATCH = 500
"""Samples of one forward pass of the evaluation: its products are at BLAS's full rate, its activities in the cache."""


class DeviceData:
    """A data set's samples (uint8, or floating) and labels (int64, or floating targets) on a backend's device.

    Parameters
    ----------
    dataset : Dataset
    backend : Backend
    scale : (float, float)
        Factor and offset that map a pixel 0…255 to the network's input; floating samples are not scaled.
    """

    def __init__(self, dataset: Dataset, backend: Backend, scale: tuple[float, float]) -> None:
        self.backend, self.scale = backend, scale
        self.pixels = dataset.train_images.dtype == np.uint8
        images, labels = "uint8" if self.pixels else None, None if dataset.has_targets else "int64"
        self.train_images = backend.asarray(dataset.train_images, images)
        self.train_labels = backend.asarray(dataset.train_labels, labels)
        self.test_images = backend.asarray(dataset.test_images, images)
        self.test_labels = backend.asarray(dataset.test_labels, labels)
        self.train_count, self.test_count = len(dataset.train_labels), len(dataset.test_labels)

    def steps(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""
        return -(-self.train_count // batch_size)

    def batches(self, streams: Streams, batch_size: int) -> Iterator[tuple[Array, Array]]:
        """Yield (x, labels) of shapes (..., batch, n_0) and (..., batch), in the stream's order."""
        order = self.backend.asarray(streams.permutation(self.train_count), "int64")
        labels = self._rows(self.train_labels, order)
        # Targets have an axis more, behind that of the samples.
        behind = (slice(None),) * (self.train_labels.ndim - 1)
        for start in range(0, self.train_count, batch_size):
            part = (..., slice(start, min(start + batch_size, self.train_count)))
            yield self._gather(self.train_images, order[part]), labels[(*part, *behind)]

    def test_batches(self) -> Iterator[tuple[Array, Array]]:
        """Yield (x, labels) of the test set in its order."""
        for start in range(0, self.test_count, EVALUATION_BATCH):
            stop = min(start + EVALUATION_BATCH, self.test_count)
            index = self.backend.xp.arange(start, stop, dtype=self.backend.xp.int64, device=self.backend.device)
            yield self._gather(self.test_images, index), self.test_labels[start:stop]

    def spread(self, batch_size: int, population: tuple[int, ...] = ()) -> tuple[Array, Array]:
        """Return (x, labels) of one batch, its samples spread evenly over the training set; no random number is drawn.

        Parameters
        ----------
        batch_size : int
            Samples; at most all.
        population : tuple of int
            Leading shape of x and labels; every member gets the same samples.
        """
        size = min(batch_size, self.train_count)
        chosen = np.broadcast_to(np.arange(size) * self.train_count // size, (*population, size))
        index = self.backend.asarray(chosen, "int64")
        return self._gather(self.train_images, index), self._rows(self.train_labels, index)

    def _rows(self, values: Array, index: Array) -> Array:
        xp = self.backend.xp
        rows = xp.take(values, xp.reshape(index, (-1,)), axis=0)
        return xp.reshape(rows, (*index.shape, *values.shape[1:]))

    def _gather(self, images: Array, index: Array) -> Array:
        if not self.pixels:
            return self._rows(images, index)
        return kernels.gather_scale(images, index, *self.scale, self.backend.dtype)
