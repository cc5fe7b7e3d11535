"""Every kernel beside its reference, at the sizes of a training step, with memory traffic as the bound."""

from __future__ import annotations

import numpy as np
from scipy.linalg.blas import sgemm

from rfnumeric import kernels
from rfnumeric.backend import get_backend, synchronize, transpose
from rfnumeric.errors import BackendError


def _draws(batch, n):
    """Return kernel → (arguments on the host, arrays that must be read or written at least once)."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.uniform(-1, 1, shape)

    h, u = draw(batch, n), draw(batch, n)
    labels = rng.integers(0, n, batch)
    images = rng.integers(0, 256, (2000, n), dtype=np.uint8)
    index = rng.permutation(2000)[:batch]
    return {
        "bias_leaky_relu": ((h, draw(n), 0.01), 4 * h.size),
        "bias_leaky_softplus": ((h, draw(n), 0.01), 4 * h.size),
        "bias_tanh": ((h, draw(n)), 4 * h.size),
        "bias_identity": ((h, draw(n)), 3 * h.size),
        "softmax_cross_entropy": ((h, labels), 2 * h.size),
        "reciprocal_derivative": ((u, draw(batch, n) + 2, h, 0.0, "reciprocal", True, True), 5 * h.size),
        "gather_scale": ((images, index, 2 / 255, -1.0), 1.25 * h.size),
    }


class Kernels:
    """One call of a kernel and of its reference, float32."""

    param_names = ("contestant", "kernel", "batch", "n", "backend")
    params = (["kernel", "reference"], list(_draws(1, 1)), [32, 256], [400, 1000], ["numpy", "cupy"])
    quick = {"batch": [32], "n": [400]}  # noqa: RUF012

    def setup(self, contestant, kernel, batch, n, backend):
        try:
            place = get_backend(backend)
        except BackendError as error:
            raise NotImplementedError(str(error)) from error
        found = kernels.Kernel.instances[kernel]
        self.function = found if contestant == "kernel" else found.reference
        drawn, self.entries = _draws(batch, n)[kernel]
        self.arguments = [self._place(place, a) for a in drawn]
        if kernel == "gather_scale":
            self.arguments.append(place.dtype)
        self.time_call()

    @staticmethod
    def _place(place, a):
        if not isinstance(a, np.ndarray):
            return a
        return place.asarray(a, None if a.dtype.kind == "f" else a.dtype.name)

    def traffic(self, *params):
        return int(4 * self.entries)

    def time_call(self, *params):
        self.function(*self.arguments)
        synchronize(self.arguments[0])


class Products:
    """The kernels that are matrix products, beside the product alone (SciPy's gemm for NumPy's arrays)."""

    param_names = ("contestant", "kernel", "batch", "n", "backend")
    params = (
        ["product", "kernel", "reference"],
        ["matmul", "layer_leaky_relu", "gated_product", "add_outer", "sgd_update"],
        [32, 256],
        [400, 1000],
        ["numpy"],
    )
    quick = {"batch": [32], "n": [400]}  # noqa: RUF012
    bound = "product"

    def setup(self, contestant, kernel, batch, n, backend):
        place = get_backend(backend)
        rng = np.random.default_rng(0)
        W, u, h = (place.asarray(rng.uniform(-1, 1, shape)) for shape in ((n, n), (batch, n), (batch, n)))
        found = kernels.Kernel.instances[kernel]
        function = found if contestant == "kernel" else found.reference
        if contestant == "product":
            # BLAS sees a row-major matrix as its transpose.
            self.run = {
                "matmul": lambda: sgemm(1.0, W.T, h.T),
                "gated_product": lambda: sgemm(1.0, W.T, h.T),
                "layer_leaky_relu": lambda: sgemm(1.0, h.T, W.T, trans_a=1),  # the quicker order
            }.get(kernel, lambda: sgemm(1e-9, h.T, u.T, beta=1.0, c=W.T, trans_b=1, overwrite_c=1))
        else:
            arguments = {
                "matmul": (h, W),
                "layer_leaky_relu": (h, W, None, 0.01),
                "gated_product": (h, transpose(W), u),
                "add_outer": (W, u, h, 1e-9),
                "sgd_update": (W, None, u, h, 1e-9),
            }[kernel]
            self.run = lambda: function(*arguments)
        self.run()

    def time_call(self, *params):
        self.run()


if __name__ == "__main__":
    from rfnumeric.bench.classes import main

    main(__file__)
