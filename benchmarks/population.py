"""A population of networks in one call beside as many calls of one network."""

from __future__ import annotations

from rfnumeric.bench import work
from rfnumeric.training import PAPER_SIZES

SIZES = {"mnist": PAPER_SIZES["mnist"], "narrow": (784, 64, 64, 10)}


class Population:
    """One step of K networks, each with its own weights, batch and learning rate."""

    param_names = ("contestant", "K", "network", "rule", "backend")
    params = (
        ["bare products", "one call", "K calls", "one network"],
        [1, 20],
        list(SIZES),
        ["backprop", "rf-two-phase"],
        ["numpy", "cupy"],
    )
    quick = {"K": [20], "network": ["narrow"], "rule": ["backprop"]}  # noqa: RUF012
    bound = "bare products"
    seconds = 20
    settle = 0.15  # the members' threads are OpenMP's, the others' BLAS's
    timeout = 600

    def setup(self, contestant, K, network, rule, backend):
        def steps(seed):
            return work.our_steps(work.configuration(rule, SIZES[network], 32, seed=seed, backend=backend))

        if contestant == "bare products":
            products = work.bare_products(SIZES[network], 32, backend, copies=K)
            self.steps = lambda count: [products() for _ in range(count)]
        elif contestant == "one call":
            self.steps = steps(tuple(range(K)))
        else:
            each = [steps(k) for k in range(1 if contestant == "one network" else K)]
            # Step by step, as one call takes them; the networks' weights compete for the caches in both.
            self.steps = lambda count: [one(1) for _ in range(count) for one in each]
        self.steps(1)

    def calls(self, *params):
        return 20

    def time_twenty_steps(self, *params):
        self.steps(20)


if __name__ == "__main__":
    from rfnumeric.bench.classes import main

    main(__file__)
