"""Pseudoinverses against SciPy's, and against the bare matrix products that bound them from below.

Run it by itself (``python benchmarks/linalg.py [--quick]``) for a table of medians, or with asv.
Contenders are timed in turns, so that a slow moment of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.linalg

from rfnumeric.bench.work import torch_module
from rfnumeric.kernels import matmul, reference_linalg
from rfnumeric.linalg import GramNewton, coupled_rule, penrose_residuals, pinv

SHAPES = ((400, 784), (200, 400), (1000, 3072), (500, 1000), (100, 10, 10))
DTYPES = ("float32", "float64")
LAYERS = ((200, 400), (100, 200), (50, 100), (10, 50))
"""W_2 … W_5 of the papers' MNIST network; no update uses W_1⁺."""


def gaussian(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def papers_pairs(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return 100 starts I − E of v1 A.3, with E small enough to converge."""
    rng = np.random.default_rng(0)
    return tuple((np.eye(10) - rng.uniform(-0.3, 0.3, (100, 10, 10))).astype(dtype) for _ in range(2))  # type: ignore[return-value]


class Pinv:
    """One pseudoinverse of a well-conditioned (Gaussian) matrix."""

    params = (SHAPES, DTYPES)
    param_names = ("shape", "dtype")
    quick = {"shape": [(200, 400), (100, 10, 10)]}  # noqa: RUF012
    bound = "time_bare_products"
    peers = ("time_scipy", "time_numpy", "time_torch")

    def setup(self, shape: tuple[int, ...], dtype: str) -> None:
        self.A = gaussian(shape, dtype)
        self.Ah = np.swapaxes(self.A, -1, -2)
        pinv(self.A)

    def time_auto(self, *_: object) -> None:
        pinv(self.A)

    def time_scipy(self, *_: object) -> None:
        scipy.linalg.pinv(self.A)

    def time_numpy(self, *_: object) -> None:
        np.linalg.pinv(self.A)

    def time_torch(self, *_: object) -> None:
        torch = torch_module()
        torch.linalg.pinv(torch.from_numpy(self.A))

    def time_bare_products(self, *_: object) -> None:
        # The Gram matrix and AᴴG⁻¹: no method by Gram matrices does with less.
        matmul(self.Ah, matmul(self.A, self.Ah))


class Product:
    """The product that says how fast the machine is: other times are scaled by it."""

    params = ([2000],)
    param_names = ("n",)

    def setup(self, n: int) -> None:
        self.A = gaussian((n, n), "float32")
        matmul(self.A, self.A)

    def time_product(self, *_: object) -> None:
        matmul(self.A, self.A)


class Refresh:
    """All pseudoinverses that a training step of the papers' MNIST network needs, after 20 small updates."""

    params = (DTYPES,)
    param_names = ("dtype",)
    bound = "time_bare_products"
    peers = ("time_scipy",)

    def setup(self, dtype: str) -> None:
        self.W = [gaussian(shape, dtype) * (2 / shape[1]) ** 0.5 for shape in LAYERS]
        self.trackers = [GramNewton(W) for W in self.W]
        self.moved = [W + 1e-3 * gaussian(W.shape, dtype, 1) for W in self.W]

    def time_auto(self, *_: object) -> None:
        for W in self.moved:
            pinv(W)

    def time_scipy(self, *_: object) -> None:
        for W in self.moved:
            scipy.linalg.pinv(W)

    def time_bare_products(self, *_: object) -> None:
        for W in self.moved:
            matmul(W.T, matmul(W, W.T))


class Coupled:
    """1,000 steps of the coupled rule for the papers' 100 pairs of 10×10."""

    params = (DTYPES,)
    param_names = ("dtype",)
    peers = ("time_plain_loop",)

    def setup(self, dtype: str) -> None:
        self.U, self.V = papers_pairs(dtype)
        coupled_rule(self.U, self.V, max_iterations=1)

    def time_auto(self, *_: object) -> None:
        from rfnumeric.kernels import coupled_steps

        coupled_steps(self.U, self.V, 0.1, 0.1, 0.0, False, 1000)

    def time_batched_matmul(self, *_: object) -> None:
        reference_linalg.coupled_steps(self.U, self.V, 0.1, 0.1, 0.0, False, 1000)

    def time_plain_loop(self, *_: object) -> None:
        for U, V in zip(self.U, self.V, strict=True):
            for _ in range(1000):
                P = U @ V
                U, V = U + 0.1 * (U - P @ U), V + 0.1 * (V - V @ P)


def interleaved(contenders: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Return the median seconds of each, taken in turns for about `seconds`."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for function in contenders.values():
        function()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times[next(iter(times))]) < 3:
        for name, function in contenders.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(benchmark: type, *parameters: object, seconds: float) -> dict[str, float]:
    instance = benchmark()
    instance.setup(*parameters)
    names = [name for name in dir(instance) if name.startswith("time_")]
    return interleaved({name[5:]: getattr(instance, name) for name in names}, seconds)


def row(label: str, found: dict[str, float]) -> str:
    own = found["auto"]
    cells = [f"{label:28s} {own * 1e3:10.3f}"]
    cells += [f"{name} {t * 1e3:.3f} ms ({t / own:.2f}×)" for name, t in sorted(found.items()) if name != "auto"]
    return "  ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small shapes, half a second each")
    quick = parser.parse_args().quick
    seconds = 0.5 if quick else 3.0
    B = gaussian((2000, 2000), "float32")
    rate = 16e9 / min(interleaved({"gemm": lambda: matmul(B, B)}, seconds).values()) / 1e9
    print(f"2000³ float32 product: {rate:.0f} GFLOP/s")
    print(f"{'case':28s} {'ours, ms':>10s}  others (their time over ours)")
    for shape in SHAPES:
        if quick and np.prod(shape) > 500_000:
            continue
        for dtype in DTYPES:
            print(row(f"pinv {'×'.join(map(str, shape))} {dtype}", measure(Pinv, shape, dtype, seconds=seconds)))
            A = gaussian(shape, dtype)
            ours, svd = (np.max(penrose_residuals(A, f(A)).test_ratio) for f in (pinv, scipy.linalg.pinv))
            print(f"{'':28s} {'':10s}  largest Penrose test ratio: {ours:.1e}, SciPy's {svd:.1e}")
    for dtype in DTYPES:
        print(row(f"refresh W2…W5 {dtype}", measure(Refresh, dtype, seconds=seconds)))
    for dtype in DTYPES:
        print(row(f"coupled rule {dtype}", measure(Coupled, dtype, seconds=seconds)))


if __name__ == "__main__":
    main()
