"""One epoch of training, rfnumeric beside PyTorch eager, interleaved in one process.

Run ``python benchmarks/epoch.py`` (PyTorch: ``pip install torch``; MNIST is used where it is at hand, mnist-5k
elsewhere). Each round times one epoch of each contestant, so that noise of the machine hits all alike; the medians over
rounds and their ratios to PyTorch are printed. PyTorch's loop is the fast one: data resident as float32, batches by one
index, no DataLoader.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from rfnumeric.datasets import Dataset, load, status
from rfnumeric.training import PAPER_SIZES, RunConfig
from rfnumeric.training.loop import Loop

RULES = ("backprop", "feedback-alignment", "rf-two-phase", "rf-parallel", "pseudo-backprop")


def ours(config: RunConfig, dataset: Dataset) -> Callable[[], None]:
    """Return a function that trains one more epoch, without evaluation."""
    loop = Loop(config, dataset)
    loop.evaluate()  # compiles and warms what an epoch uses
    epochs = iter(range(1, 10**9))
    return lambda: loop.train_epoch(next(epochs))


def torch_eager(config: RunConfig, dataset: Dataset) -> Callable[[], None]:
    """Return a function that trains one epoch by PyTorch eager with SGD on the same network and data."""
    import torch

    torch.manual_seed(config.seed)
    x = torch.tensor(dataset.train_images).to(torch.float32) * (2 / 255) - 1
    y = torch.tensor(dataset.train_labels)
    layers: list[torch.nn.Module] = []
    for n_in, n_out in zip(config.sizes, config.sizes[1:], strict=False):
        layers += [torch.nn.Linear(n_in, n_out, bias=config.bias), torch.nn.LeakyReLU(config.negative_slope)]
    network = torch.nn.Sequential(*layers)
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=config.lr)

    def epoch() -> None:
        for index in torch.randperm(len(y)).split(config.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss(network(x[index]), y[index]).backward()
            optimizer.step()

    return epoch


def main() -> None:
    """Time all contestants and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    name = "mnist" if status("mnist").present else "mnist-5k"
    dataset = load(name)
    base = RunConfig(sizes=PAPER_SIZES["mnist"], batch_size=arguments.batch_size, dataset=name, lr=1e-3)
    # The reciprocal rules run with a slope and rate at which they stay finite; the work of a step is the same.
    contestants = {"PyTorch eager, backprop": torch_eager(base, dataset)}
    for rule in RULES:
        config = replace(base, rule=rule, negative_slope=0.5 if rule.startswith("rf") else base.negative_slope)
        contestants[rule] = ours(config, dataset)
    seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    for epoch in contestants.values():
        epoch()
    for _ in range(arguments.rounds):
        for contestant, epoch in contestants.items():
            started = time.perf_counter()
            epoch()
            seconds[contestant].append(time.perf_counter() - started)
    peer = statistics.median(seconds["PyTorch eager, backprop"])
    print(f"{name}, {'-'.join(map(str, base.sizes))}, batch {base.batch_size}, float32, {arguments.rounds} rounds")
    print(f"{'':26s}{'median s':>10s}{'min s':>10s}{'max s':>10s}{'of PyTorch':>12s}")
    for contestant, values in seconds.items():
        median = statistics.median(values)
        print(f"{contestant:26s}{median:10.3f}{min(values):10.3f}{max(values):10.3f}{median / peer:12.2f}")


if __name__ == "__main__":
    main()
