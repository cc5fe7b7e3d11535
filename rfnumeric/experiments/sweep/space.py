"""What a search for learning rates searches: the papers' rates and ranges (v2 A.1, Table 2)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from rfnumeric import published
from rfnumeric.training import RunConfig

CONFIGURATIONS = 20
"""Configurations tried for each algorithm (v2 A.1)."""

FEEDBACK_OPTIONS = {"rf-parallel": "feedback_lr"}
"""Rule → the option that is the papers' feedback learning rate."""


@dataclass(frozen=True)
class Space:
    """What is searched: a forward learning rate and, where the rule has one, a feedback learning rate.

    Attributes
    ----------
    base : RunConfig
        Everything that is not searched; its `lr` is not used, and its `epochs` are the most that a trial gets.
    lr, feedback_lr : (float, float)
        Ends of the rates' domains, within which they are drawn log-uniformly (v2 Table 2).
    configurations : int
        Number of trials.

    Raises
    ------
    ValueError
        If a domain or a number is out of its range, or the base is a population.
    """

    base: RunConfig
    lr: tuple[float, float] = published.SEARCH["forward"]
    feedback_lr: tuple[float, float] = published.SEARCH["feedback"]
    configurations: int = CONFIGURATIONS

    def __post_init__(self) -> None:
        for option, ends in (("--lr-range", self.lr), ("--feedback-lr-range", self.feedback_lr)):
            if len(ends) != 2 or not 0 < ends[0] <= ends[1] < math.inf:
                raise ValueError(
                    f"{option} must be two positive numbers, the smaller first, e.g. 1e-4,1e-2; got {ends}."
                )
        if self.configurations < 1:
            raise ValueError(f"--configurations must be at least 1; got {self.configurations}.")
        if self.base.epochs < 1:
            raise ValueError(f"--epochs must be at least 1; got {self.base.epochs}.")
        if self.base.population is not None:
            raise ValueError("a search trains each configuration once; give one seed, and one value of each option.")

    @property
    def domains(self) -> dict[str, tuple[float, float]]:
        """Name of each rate that is searched → the ends of its domain."""
        feedback = FEEDBACK_OPTIONS.get(self.base.rule)
        return {"lr": self.lr, **({feedback: self.feedback_lr} if feedback else {})}

    def configure(self, rates: dict[str, Any]) -> RunConfig:
        """Return the settings of one trial, or with tuples those of several as one population.

        Parameters
        ----------
        rates : dict
            A value for each name in `domains`.
        """
        options = {name: value for name, value in rates.items() if name != "lr"}
        return replace(self.base, lr=rates["lr"], rule_options={**self.base.rule_options, **options})

    def draw(self) -> dict[str, tuple[float, ...]]:
        """Draw all configurations log-uniformly, from the seed of the runs."""
        rng = np.random.default_rng(self.base.seed)
        ends = np.log(list(self.domains.values()))
        drawn = np.exp(rng.uniform(ends[:, 0], ends[:, 1], (self.configurations, len(ends))))
        return {name: tuple(drawn[:, i].tolist()) for i, name in enumerate(self.domains)}

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON types."""
        return {**asdict(self), "base": self.base.to_json(), "lr": list(self.lr), "feedback_lr": list(self.feedback_lr)}
