"""A whole epoch with its data pipeline and evaluation, beside the sum of its steps and PyTorch's epoch.

MNIST is used where it is at hand (``rfnumeric datasets fetch mnist``), mnist-5k elsewhere.
"""

from __future__ import annotations

from rfnumeric.bench import work
from rfnumeric.datasets import load, status
from rfnumeric.training import PAPER_SIZES, RunConfig
from rfnumeric.training.loop import Loop

BATCH = 32


def dataset(name):
    if not status(name).present:
        raise NotImplementedError(f"{name} is not at hand: rfnumeric datasets fetch {name}")
    return load(name, download=False)


class Epoch:
    """One pass over the training set and one over the test set; "its steps" takes as many steps on one batch."""

    param_names = ("contestant", "dataset", "rule")
    params = (
        ["its steps", "epoch", "PyTorch eager"],
        ["mnist-5k", "mnist"],
        list(work.PAPER_RULES),
    )
    quick = {"dataset": ["mnist-5k"], "rule": ["backprop"]}  # noqa: RUF012
    bound = "its steps"
    seconds = 24
    peers = ("PyTorch eager",)
    timeout = 600

    def setup(self, contestant, name, rule):
        if name == "mnist" and rule not in ("backprop", "rf-two-phase"):
            raise NotImplementedError("MNIST's epoch is measured for backprop and rf-two-phase alone")
        data = dataset(name)
        config = work.configuration(rule, PAPER_SIZES["mnist"], BATCH, dataset=name)
        if contestant == "epoch":
            self.run = our_epoch(config, data)
        elif contestant == "its steps":
            steps = work.our_steps(config)
            self.run = lambda: steps(-(-len(data.train_labels) // BATCH))
        elif rule == "backprop":
            self.run = torch_epoch(config, data)
        else:
            raise NotImplementedError("PyTorch's epoch is measured for backprop alone")

    def time_epoch(self, *params):
        self.run()


def our_epoch(config, data):
    loop = Loop(config, data)
    epochs = iter(range(1, 10**9))

    def epoch():
        loop.train_epoch(next(epochs))
        loop.evaluate()

    return epoch


def torch_epoch(config, data):
    """PyTorch's fast loop: data resident as float32, batches by one index, no DataLoader."""
    torch = work.torch_module()
    torch.manual_seed(0)
    x, x_test = (torch.tensor(i).to(torch.float32) * (2 / 255) - 1 for i in (data.train_images, data.test_images))
    y, y_test = torch.tensor(data.train_labels), torch.tensor(data.test_labels)
    network = work.torch_network(config.sizes)
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=work.TINY_LR)

    def epoch():
        for index in torch.randperm(len(y)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss(network(x[index]), y[index]).backward()
            optimizer.step()
        with torch.no_grad():
            for part, labels in zip(x_test.split(1000), y_test.split(1000), strict=True):
                (network(part).argmax(-1) == labels).sum().item()

    return epoch


class PapersWay:
    """Test accuracy after one epoch of mnist-5k: W⁺ every 20 steps here, at every step in PyTorch, as the papers' code.

    The same first weights, batches and learning rate.
    """

    param_names = ("contestant", "lr")
    params = (["rf-two-phase", "pinv of every layer"], [1.0])
    peers = ("pinv of every layer",)
    unit = "%"
    timeout = 600

    def setup(self, contestant, lr):
        config = RunConfig(
            rule="rf-two-phase", hidden="identity", negative_slope=0.5, lr=lr, batch_size=BATCH, dataset="mnist-5k"
        )
        self.loop = Loop(config, dataset("mnist-5k"))
        self.torch = None if contestant == "rf-two-phase" else work.torch_module()

    def track_accuracy(self, *params):
        if self.torch is None:
            self.loop.train_epoch(1)
        else:
            self._papers_epoch()
        return float(self.loop.evaluate()[1][0])

    def _papers_epoch(self):
        network = self.loop.network
        # PyTorch trains the loop's own weights: from_numpy shares their memory.
        W = [self.torch.from_numpy(w) for w in network.W[1:]]
        rule = work.TorchFeedback(W, "pinv", self.loop.lr, hidden_slope=1.0)
        for x, y in self.loop.data.batches(self.loop.streams.child("batches", 1), BATCH):
            rule.step(self.torch.from_numpy(x), self.torch.from_numpy(y))


if __name__ == "__main__":
    from rfnumeric.bench.classes import main

    main(__file__)
