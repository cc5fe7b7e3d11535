"""The work that benchmarks time: training steps of ours, the bare products in them, and the same in PyTorch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from rfnumeric.backend import copy, get_backend, synchronize, transpose
from rfnumeric.datasets import Dataset
from rfnumeric.errors import BackendError
from rfnumeric.training import RunConfig
from rfnumeric.training.loop import Loop

SLOPE = 0.5
"""Negative slope: reciprocal feedback stays finite with it, and a step's work does not depend on it."""

TINY_LR = 1e-7
"""Learning rate at which weights do not move in the steps that a benchmark repeats."""


def synthetic(n_features: int, n_classes: int, train: int, test: int = 1) -> Dataset:
    """Return a data set of random pixels and labels.

    Parameters
    ----------
    n_features, n_classes, train, test : int
        Pixels of an image, classes, training and test samples.
    """
    rng = np.random.default_rng(0)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        images = rng.integers(0, 256, (count, n_features), dtype=np.uint8)
        return images, rng.integers(0, n_classes, count)

    return Dataset("synthetic", *part(train), *part(test), (n_features,), tuple(map(str, range(n_classes))))


def configuration(rule: str, sizes: Sequence[int], batch: int, **keywords: Any) -> RunConfig:
    """Return the settings of a benchmark's training run; `keywords` as for `RunConfig`."""
    defaults: dict[str, Any] = {"lr": TINY_LR, "negative_slope": SLOPE, "dataset": "synthetic"}
    return RunConfig(rule=rule, sizes=tuple(sizes), batch_size=batch, **{**defaults, **keywords})


def our_steps(config: RunConfig) -> Callable[[int], None]:
    """Return a function that takes that many training steps on one batch and then waits for the device.

    Raises
    ------
    NotImplementedError
        If the backend is not usable here.
    """
    try:
        data = synthetic(config.sizes[0], config.sizes[-1], config.batch_size)
        loop = Loop(replace(config, dataset=data.name), data)
    except BackendError as error:
        raise NotImplementedError(str(error)) from error
    x, y = next(loop.data.batches(loop.streams.child("batches", 1), config.batch_size))
    done = 0

    def steps(count: int) -> None:
        nonlocal done
        for done in range(done + 1, done + count + 1):  # noqa: B020 (goes on where the last call ended)
            loop._step(done, x, y)
        synchronize(loop.network.W[1])

    return steps


def our_sleep(config: RunConfig) -> Callable[[], None]:
    """Return a function that takes the sleep of a two-phase rule and waits for the device.

    Raises
    ------
    NotImplementedError
        If the backend is not usable here.
    """
    try:
        data = synthetic(config.sizes[0], config.sizes[-1], config.batch_size)
        loop = Loop(replace(config, dataset=data.name), data)
    except BackendError as error:
        raise NotImplementedError(str(error)) from error
    every = config.make_rule().refresh_every  # type: ignore[attr-defined]

    def sleep() -> None:
        loop.feedback = loop.rule.sleep(loop.network, loop.feedback, loop.streams.child("sleep", every), every)
        synchronize(loop.network.W[1])

    return sleep


def bare_products(
    sizes: Sequence[int],
    batch: int,
    backend: str = "numpy",
    dtype: str = "float32",
    copies: int = 1,
    feedback: bool = False,
) -> Callable[[], None]:
    """Return a function that does the matrix products of one step of backpropagation and nothing else.

    Forward L, backward L − 1, and L updates that are accumulated into W inside the product.

    Parameters
    ----------
    sizes : sequence of int
    batch : int
    backend, dtype : str
    copies : int
        Networks.
    feedback : bool
        Whether the backward pass uses matrices of its own, which must be fetched too, in place of W.
    """
    place = get_backend(backend, dtype=dtype)
    rng = np.random.default_rng(0)
    networks = []
    for _ in range(copies):
        W = [place.asarray(rng.standard_normal((n_out, n_in))) for n_in, n_out in pairwise(sizes)]
        B = [copy(w) for w in W] if feedback else W
        networks.append((W, B, [place.asarray(rng.standard_normal((batch, n))) for n in sizes]))
    if backend != "numpy":
        return _bare_products_elsewhere(networks)
    blas = importlib.import_module("scipy.linalg.blas")
    gemm = blas.sgemm if dtype == "float32" else blas.dgemm
    # BLAS sees a row-major matrix as its transpose.
    networks = [tuple([x.T for x in arrays] for arrays in network) for network in networks]

    def products() -> None:
        for W, B, h in networks:
            for l, w in enumerate(W):
                # The quicker of the two orders, which gives the activations column by column.
                gemm(1.0, h[l], w, trans_a=1)
            for l in range(len(W) - 1, 0, -1):
                gemm(1.0, B[l], h[l + 1])
            for l, w in enumerate(W):
                gemm(1e-9, h[l], h[l + 1], beta=1.0, c=w, trans_b=1, overwrite_c=1)

    return products


def _bare_products_elsewhere(networks: list[tuple[list[Any], list[Any]]]) -> Callable[[], None]:
    def products() -> None:
        for W, B, h in networks:
            for l, w in enumerate(W):
                h[l] @ transpose(w)
            for l in range(len(W) - 1, 0, -1):
                h[l + 1] @ B[l]
            for l in range(len(W)):
                transpose(h[l + 1]) @ h[l]
        synchronize(networks[-1][0][0])

    return products


def torch_module() -> Any:
    """Return PyTorch.

    Raises
    ------
    NotImplementedError
        If it is not installed.
    """
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise NotImplementedError("PyTorch is not installed: pip install 'rfnumeric[torch]'") from error


def torch_device(backend: str) -> str:
    """Return the device on which PyTorch meets a backend: the GPU for CuPy, else the CPU.

    Raises
    ------
    NotImplementedError
        If PyTorch has no GPU to meet CuPy on.
    """
    if backend != "cupy":
        return "cpu"
    if not torch_module().cuda.is_available():
        raise NotImplementedError("this PyTorch has no CUDA")
    return "cuda"


def torch_steps(
    sizes: Sequence[int],
    batch: int,
    *,
    alignment: bool = False,
    compiled: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
) -> Callable[[int], None]:
    """Return a function that takes that many steps of PyTorch's SGD as its users write it: autograd and an optimizer.

    Parameters
    ----------
    sizes : sequence of int
    batch : int
    alignment : bool
        Feedback alignment in place of backprop, by an ``autograd.Function`` whose backward pass uses fixed matrices.
    compiled : bool
        Forward and backward pass through ``torch.compile``; the optimizer stays eager.
    device, dtype : str
    """
    torch = torch_module()
    torch.manual_seed(0)
    network = torch_network(sizes, dtype, alignment).to(device)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=TINY_LR)
    loss = torch.nn.CrossEntropyLoss()
    x = torch.rand(batch, sizes[0], dtype=getattr(torch, dtype), device=device) * 2 - 1
    y = torch.arange(batch, device=device) % sizes[-1]

    def objective(x: Any, y: Any) -> Any:
        return loss(network(x), y)

    function = torch.compile(objective) if compiled else objective

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            function(x, y).backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return steps


def torch_network(sizes: Sequence[int], dtype: str = "float32", alignment: bool = False) -> Any:
    """Return a PyTorch ``Sequential`` of linear layers without bias, each with a leaky ReLU.

    Parameters
    ----------
    sizes : sequence of int
    dtype : str
    alignment : bool
        Whether the error goes back through fixed random matrices.
    """
    torch = torch_module()

    class Aligned(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any, W: Any, B: Any) -> Any:
            context.save_for_backward(x, B)
            return x @ W.T

        @staticmethod
        def backward(context: Any, delta: Any) -> Any:
            x, B = context.saved_tensors
            return (delta @ B if context.needs_input_grad[0] else None), delta.T @ x, None

    class AlignedLinear(torch.nn.Linear):
        def __init__(self, n_in: int, n_out: int, bias: bool) -> None:
            super().__init__(n_in, n_out, bias=bias)
            self.register_buffer("B", torch.randn(n_out, n_in) * (2 / n_in) ** 0.5)

        def forward(self, x: Any) -> Any:
            return Aligned.apply(x, self.weight, self.B)

    linear = AlignedLinear if alignment else torch.nn.Linear
    layers: list[Any] = []
    for n_in, n_out in pairwise(sizes):
        layers += [linear(n_in, n_out, bias=False), torch.nn.LeakyReLU(SLOPE)]
    return torch.nn.Sequential(*layers).to(getattr(torch, dtype))


def torch_feedback(
    sizes: Sequence[int], batch: int, feedback: str, *, device: str = "cpu", dtype: str = "float32"
) -> Callable[[int], None]:
    """Return a function that takes that many steps of a feedback rule in PyTorch eager on one random batch.

    Parameters
    ----------
    sizes : sequence of int
    batch : int
    feedback : str
        See `TorchFeedback`.
    device, dtype : str
    """
    torch = torch_module()
    torch.manual_seed(0)
    kind = {"dtype": getattr(torch, dtype), "device": device}
    W = [torch.randn(n_out, n_in, **kind) * (2 / n_in) ** 0.5 for n_in, n_out in pairwise(sizes)]
    rule = TorchFeedback(W, feedback, TINY_LR)
    x = torch.rand(batch, sizes[0], **kind) * 2 - 1
    y = torch.arange(batch, device=device) % sizes[-1]

    def steps(count: int) -> None:
        for _ in range(count):
            rule.step(x, y)
        if device == "cuda":
            torch.cuda.synchronize()

    return steps


class TorchFeedback:
    """A feedback rule written with PyTorch's tensors, without autograd.

    Parameters
    ----------
    W : list of tensor, shape (n_l, n_{l−1})
        W_1 … W_L; trained in place.
    feedback : {"random", "pinv", "pinv of the layers that use it"}
        Fixed random matrices with D, as feedback alignment; or the papers' way of reciprocal feedback, with
        ``torch.linalg.pinv`` at every step of every layer (both Algorithm boxes update W_1⁺ too), or of the layers
        from the second on, which alone the update uses.
    lr : float
    hidden_slope : float
        Negative slope of the hidden layers; 1 makes them linear. The last layer's is `SLOPE`.
    """

    def __init__(self, W: list[Any], feedback: str, lr: float, hidden_slope: float = SLOPE) -> None:
        self.torch = torch_module()
        self.W, self.feedback, self.lr = W, feedback, lr
        self.slopes = [hidden_slope] * (len(W) - 1) + [SLOPE]
        self.B = [self.torch.randn_like(w.T) * (2 / w.shape[1]) ** 0.5 for w in W] if feedback == "random" else None

    def step(self, x: Any, y: Any) -> None:
        """Take one training step."""
        torch, W = self.torch, self.W
        h, d = [x], []
        for w, slope in zip(W, self.slopes, strict=True):
            a = h[-1] @ w.T
            h.append(torch.nn.functional.leaky_relu(a, slope))
            d.append(torch.where(a > 0, 1.0, slope).to(a.dtype))
        e = torch.softmax(h[-1], -1)
        e[torch.arange(len(y), device=y.device), y] -= 1
        if self.B is None:
            first = 0 if self.feedback == "pinv" else 1
            M = [None] * first + [torch.linalg.pinv(w) for w in W[first:]]
            deltas, b = [], e
            for l in range(len(W) - 1, -1, -1):
                b = b / d[l]
                deltas.append(b / (h[l] * h[l]).sum(-1, keepdim=True))
                if l:
                    b = b @ M[l].T
        else:
            deltas = [e * d[-1]]
            for l in range(len(W) - 1, 0, -1):
                deltas.append((deltas[-1] @ self.B[l].T) * d[l - 1])
        for l, delta in enumerate(reversed(deltas)):
            W[l].addmm_(delta.T, h[l], alpha=-self.lr / len(x))


PAPER_RULES = ("backprop", "feedback-alignment", "rf-two-phase", "rf-parallel", "pseudo-backprop")
"""The papers' rules and the one that v1's public code ran: those that targets name."""
