"""Engines, updates and operators of `rfnumeric.linalg` beside one another; `linalg` has pinv beside its peers."""

from __future__ import annotations

import importlib

import numpy as np

from rfnumeric.backend import get_backend, synchronize
from rfnumeric.bench.work import torch_device, torch_module
from rfnumeric.errors import BackendError
from rfnumeric.kernels import matmul
from rfnumeric.linalg import KroneckerOperator, PinvOperator, pinv, rank_one_update


def draw(shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


PEERS = ("torch.linalg.pinv", "cupy.linalg.pinv")


class Engines:
    """One pseudoinverse of a Gaussian matrix by each engine, beside PyTorch's and CuPy's on the same device."""

    param_names = ("contestant", "shape", "backend", "dtype")
    params = (
        ["auto", "cholesky", "qr", "svd", "newton-schulz", "hyperpower", *PEERS],
        [(200, 400), (1000, 3072)],
        ["numpy", "cupy", "torch"],
        ["float32", "float64"],
    )
    quick = {"shape": [(200, 400)], "dtype": ["float32"], "backend": ["numpy", "cupy"]}  # noqa: RUF012
    peers = PEERS
    timeout = 600

    def setup(self, contestant, shape, backend, dtype):
        try:
            A = get_backend(backend, dtype=dtype).asarray(draw(shape, dtype))
        except BackendError as error:
            raise NotImplementedError(str(error)) from error
        if contestant == "torch.linalg.pinv":
            torch = torch_module()
            A = torch.asarray(draw(shape, dtype), device=torch_device(backend))
            self.run = lambda: torch.linalg.pinv(A)
        elif contestant == "cupy.linalg.pinv":
            if backend != "cupy":
                raise NotImplementedError("CuPy's pinv runs on a GPU alone")
            cupy = importlib.import_module("cupy")
            self.run = lambda: cupy.linalg.pinv(A)
        else:
            self.run = lambda: pinv(A, method=contestant)
        self.run()

    def time_pinv(self, *params):
        synchronize(self.run())


class Updates:
    """A⁺ after A ← A + cdᵀ: Meyer's update beside computing it anew."""

    param_names = ("contestant", "shape")
    params = (["pinv anew", "rank_one_update"], [(10, 10), (200, 400), (500, 1000)])
    quick = {"shape": [(10, 10), (200, 400)]}  # noqa: RUF012

    def setup(self, contestant, shape):
        A, c, d = draw(shape), draw(shape[0]), draw(shape[1])
        X = pinv(A)
        changed = A + c[:, None] * d
        self.run = (lambda: pinv(changed)) if contestant == "pinv anew" else (lambda: rank_one_update(A, X, c, d))

    def time_update(self, *params):
        self.run()


class Kronecker:
    """(A ⊗ B)x for square A and B: the operator beside the product formed and multiplied, with the bytes as bound."""

    param_names = ("contestant", "n")
    params = (["KroneckerOperator", "dense"], [16, 64, 512])
    quick = {"n": [16, 64]}  # noqa: RUF012

    def setup(self, contestant, n):
        A, B, x = draw((n, n)), draw((n, n)), draw(n * n)
        if contestant == "dense":
            if n > 64:
                raise NotImplementedError("the dense product does not fit in memory")
            dense = np.kron(A, B)
            self.run = lambda: dense @ x
        else:
            operator = KroneckerOperator(A, B)
            self.run = lambda: operator @ x

    def traffic(self, contestant, n):
        return 8 * 4 * n * n  # A, B, x and the result

    def time_matvec(self, *params):
        self.run()


class Solve:
    """A⁺b for ten right-hand sides, by what was factored or formed before."""

    param_names = ("contestant", "shape")
    params = (["factor", "PinvOperator", "form A⁺", "A⁺ as a matrix"], [(200, 400), (1000, 3072)])
    quick = {"shape": [(200, 400)]}  # noqa: RUF012

    def setup(self, contestant, shape):
        A, b = draw(shape), draw((shape[0], 10))
        operator, X = PinvOperator(A), pinv(A)
        self.run = {
            "factor": lambda: PinvOperator(A),
            "PinvOperator": lambda: operator @ b,
            "form A⁺": lambda: pinv(A),
            "A⁺ as a matrix": lambda: matmul(X, b),
        }[contestant]

    def time_solve(self, *params):
        self.run()


if __name__ == "__main__":
    from rfnumeric.bench.classes import main

    main(__file__)
