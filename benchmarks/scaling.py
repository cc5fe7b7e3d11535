"""How the time of a step grows with width, depth, batch and population; the report fits exponents to it."""

from __future__ import annotations

from rfnumeric.bench import work


class Growth:
    """One step of backprop, and of two-phase reciprocal feedback with its share of the sleep; one quantity varies."""

    param_names = ("case", "rule")
    params = (
        [
            *(f"width {n}" for n in (64, 128, 256, 512, 1024)),
            *(f"depth {n}" for n in (2, 4, 8, 16, 32)),
            *(f"batch {n}" for n in (32, 64, 128, 256, 512, 1024, 2048)),
            *(f"population {n}" for n in (2, 4, 8, 16, 32)),
        ],
        ["backprop", "rf-two-phase"],
    )
    quick = {"case": ["width 64", "width 128", "width 256"], "rule": ["backprop"]}  # noqa: RUF012
    timeout = 600

    def setup(self, case, rule):
        vary, text = case.split()
        value = int(text)
        width = value if vary == "width" else 256
        depth = value if vary == "depth" else 4
        batch = value if vary == "batch" else 64
        seed = tuple(range(value)) if vary == "population" else 0
        self.steps = work.our_steps(work.configuration(rule, [width] * (depth + 1), batch, seed=seed))
        self.steps(1)

    def calls(self, *params):
        return 20

    def time_twenty_steps(self, *params):
        self.steps(20)


if __name__ == "__main__":
    from rfnumeric.bench.classes import main

    main(__file__)
