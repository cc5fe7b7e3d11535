"""One training step of each rule on the papers' networks, beside its bare matrix products and PyTorch."""

from __future__ import annotations

from rfnumeric.bench import work
from rfnumeric.training import PAPER_SIZES

PEERS = ("PyTorch eager", "PyTorch compiled", "PyTorch feedback alignment", "the same by hand")
"""Backprop by autograd, the same compiled, feedback alignment by an autograd.Function, and without autograd at all."""

BARE = ("bare products", "bare products with feedback")
"""Those of backprop, whose backward pass uses W again, and those of a rule with feedback matrices of its own: as many,
with more memory to fetch.
"""
BACKPROPS = ("backprop", *PEERS[:2])


class Step:
    """A step at batch 32 and more; the sleep phase of the two-phase rules comes once in its 20 steps."""

    param_names = ("contestant", "network", "batch", "backend", "dtype")
    params = (
        [*BARE, *work.PAPER_RULES, *PEERS],
        ["mnist", "cifar-10"],
        [32, 256],
        ["numpy", "cupy", "torch"],
        ["float32", "float64"],
    )
    quick = {"network": ["mnist"], "batch": [32], "backend": ["numpy", "cupy"], "dtype": ["float32"]}  # noqa: RUF012 (asv's way)
    bound = {  # noqa: RUF012
        name: BARE[0] if name in (BARE[0], *BACKPROPS) else BARE[1] for name in (*BARE, *work.PAPER_RULES, *PEERS)
    }
    peers = PEERS
    # The headline, on machines whose clock changes from second to second: three times the usual rounds.
    seconds = 27
    rounds = 45
    # A training step follows others: a sample of several calls, after one that is not timed. One call alone begins with
    # threads asleep and code out of the caches, which is felt for several of its twenty steps.
    sample = 0.05
    timeout = 600

    def setup(self, contestant, network, batch, backend, dtype):
        if (batch, dtype) not in ((32, "float32"), (32, "float64"), (256, "float32")):
            raise NotImplementedError("float64 is measured at batch 32 alone")
        sizes = PAPER_SIZES[network]
        if contestant in BARE:
            products = work.bare_products(sizes, batch, backend, dtype, feedback=contestant == BARE[1])
            self.steps = lambda count: [products() for _ in range(count)]
        elif contestant in PEERS:
            self.steps = self._peer(contestant, sizes, batch, backend, dtype)
        else:
            self.steps = work.our_steps(work.configuration(contestant, sizes, batch, backend=backend, dtype=dtype))
        self.steps(1)

    def _peer(self, contestant, sizes, batch, backend, dtype):
        kind = {"device": work.torch_device(backend), "dtype": dtype}
        if contestant == "the same by hand":
            return work.torch_feedback(sizes, batch, "random", **kind)
        compiled = contestant == "PyTorch compiled"
        if compiled and (batch, dtype) != (32, "float32"):
            raise NotImplementedError("torch.compile is measured at batch 32 in float32 alone")
        alignment = contestant == "PyTorch feedback alignment"
        return work.torch_steps(sizes, batch, alignment=alignment, compiled=compiled, **kind)

    def calls(self, *params):
        return 20

    def time_twenty_steps(self, *params):
        self.steps(20)


class PapersWay:
    """Reciprocal feedback with ``torch.linalg.pinv`` at every step, as the papers' code ran, beside the two-phase rule.

    With the same number of steps an epoch, a step's ratio is an epoch's; `epoch.PapersWay` compares the accuracy.
    """

    param_names = ("contestant", "network", "batch")
    params = (
        ["rf-two-phase", "pinv of every layer", "pinv of the layers that use it"],
        ["mnist"],
        [32],
    )
    peers = ("pinv of every layer", "pinv of the layers that use it")
    timeout = 600

    def setup(self, contestant, network, batch):
        sizes = PAPER_SIZES[network]
        if contestant == "rf-two-phase":
            self.steps = work.our_steps(work.configuration(contestant, sizes, batch))
        else:
            feedback = "pinv" if contestant == "pinv of every layer" else contestant
            self.steps = work.torch_feedback(sizes, batch, feedback)
        self.steps(1)

    def calls(self, contestant, *rest):
        return 20 if contestant == "rf-two-phase" else 1

    def time_steps(self, *params):
        self.steps(self.calls(*params))


class Sleep:
    """The sleep phase alone: W⁺ of every layer that an update uses, by each engine, and one recirculation."""

    param_names = ("contestant", "network", "backend", "dtype")
    params = (
        ["auto", "cholesky", "ben-israel-cohen", "svd", "recirculation"],
        ["mnist", "cifar-10"],
        ["numpy", "cupy", "torch"],
        ["float32"],
    )
    quick = {"network": ["mnist"], "backend": ["numpy", "cupy"]}  # noqa: RUF012

    def setup(self, contestant, network, backend, dtype):
        options = {"rule_options": {"pinv": contestant}, "backend": backend, "dtype": dtype}
        self.sleep = work.our_sleep(work.configuration("rf-two-phase", PAPER_SIZES[network], 32, **options))
        self.sleep()

    def time_sleep(self, *params):
        self.sleep()


if __name__ == "__main__":
    from rfnumeric.bench.classes import main

    main(__file__)
