"""Peak memory of training on CIFAR-10, in a process of its own, and of the Kronecker reciprocal of a layer."""

from __future__ import annotations

import tracemalloc

import numpy as np

from rfnumeric.bench import work
from rfnumeric.datasets import load, status
from rfnumeric.linalg import weight_reciprocal_operator
from rfnumeric.training import PAPER_SIZES
from rfnumeric.training.loop import Loop


class Training:
    """Peak resident memory: the data set, a hundred steps and an evaluation, CIFAR-10's sizes."""

    param_names = ("rule", "data")
    params = (list(work.PAPER_RULES), ["random pixels", "cifar-10"])
    quick = {"rule": ["backprop"], "data": ["random pixels"]}  # noqa: RUF012
    timeout = 600

    def peakmem_train_cifar10(self, rule, data):
        if data == "cifar-10" and rule != "backprop":
            raise NotImplementedError("memory does not depend on the pixels: the real ones are measured for backprop")
        if data == "cifar-10" and not status(data).present:
            raise NotImplementedError("cifar-10 is not at hand: rfnumeric datasets fetch cifar-10")
        dataset = load(data, download=False) if data == "cifar-10" else work.synthetic(3072, 10, 50_000, 10_000)
        loop = Loop(work.configuration(rule, PAPER_SIZES["cifar-10"], 32), dataset)
        batches = loop.data.batches(loop.streams.child("batches", 1), 32)
        for step, (x, y) in zip(range(1, 101), batches, strict=False):
            loop._step(step, x, y)
        loop.evaluate()


class Reciprocal:
    """Peak memory of building 𝓑_l and applying it and its adjoint, in units of the layer's own W."""

    param_names = ("layer",)
    params = ([1, 2, 3, 4],)
    unit = "layer sizes"

    def setup(self, layer):
        sizes = PAPER_SIZES["cifar-10"]
        self.shape = sizes[layer], sizes[layer - 1], sizes[-1]
        peak(1, 1, 1)  # what is loaded at the first call does not count

    def track_peak(self, layer):
        n_out, n_in, _ = self.shape
        # The peak of a layer of one unit is that of Python's own objects.
        return (peak(*self.shape) - peak(1, 1, 1)) / (4 * n_in * n_out)


def peak(n_out, n_in, n_last):
    """Return the peak bytes of building a layer's reciprocal and applying it and its adjoint."""
    rng = np.random.default_rng(0)
    h, S, e = (rng.standard_normal(shape).astype(np.float32) for shape in (n_in, (n_out, n_last), n_last))
    tracemalloc.start()
    try:
        reciprocal = weight_reciprocal_operator(h, S)
        reciprocal.rmatvec(reciprocal @ e)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    from rfnumeric.bench.classes import main

    main(__file__)
