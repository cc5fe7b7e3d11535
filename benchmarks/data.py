"""The data pipeline: shuffled batches of uint8 images gathered and scaled, beside NumPy's and PyTorch's indexing."""

from __future__ import annotations

import numpy as np

from rfnumeric.backend import Streams, get_backend, synchronize
from rfnumeric.bench import work
from rfnumeric.errors import BackendError
from rfnumeric.training.batches import DeviceData

SAMPLES = 5000


class Batches:
    """One epoch of batches from 5,000 images, without any network."""

    param_names = ("contestant", "n", "batch", "backend")
    params = (
        ["rfnumeric", "NumPy indexing", "PyTorch indexing"],
        [784, 3072],
        [32, 256],
        ["numpy", "cupy", "torch"],
    )
    quick = {"n": [784], "batch": [32]}  # noqa: RUF012
    peers = ("NumPy indexing", "PyTorch indexing")

    def setup(self, contestant, n, batch, backend):
        data = work.synthetic(n, 10, SAMPLES)
        if contestant == "rfnumeric":
            try:
                place = get_backend(backend)
            except BackendError as error:
                raise NotImplementedError(str(error)) from error
            resident = DeviceData(data, place, (2 / 255, -1.0))
            streams = Streams(0, place)
            self.epoch = lambda: self._ours(resident, streams, batch)
        elif backend != "numpy":
            raise NotImplementedError("peers run on the CPU here")
        elif contestant == "NumPy indexing":
            self.epoch = lambda: self._numpy(data, batch)
        else:
            torch = work.torch_module()
            images, labels = torch.tensor(data.train_images), torch.tensor(data.train_labels)
            self.epoch = lambda: self._torch(torch, images, labels, batch)
        self.epoch()

    @staticmethod
    def _ours(resident, streams, batch):
        for batch_of_images, _labels in resident.batches(streams.child("batches", 1), batch):
            last = batch_of_images  # the one before is freed, as in training
        synchronize(last)

    @staticmethod
    def _numpy(data, batch):
        order = np.random.default_rng(0).permutation(SAMPLES)
        for start in range(0, SAMPLES, batch):
            index = order[start : start + batch]
            data.train_images[index].astype(np.float32) * np.float32(2 / 255) - np.float32(1), data.train_labels[index]

    @staticmethod
    def _torch(torch, images, labels, batch):
        for index in torch.randperm(SAMPLES).split(batch):
            images[index].to(torch.float32) * (2 / 255) - 1, labels[index]

    def traffic(self, contestant, n, batch, backend):
        return SAMPLES * n * 5  # a byte read, four written

    def time_epoch_of_batches(self, *params):
        self.epoch()


if __name__ == "__main__":
    from rfnumeric.bench.classes import main

    main(__file__)
