"""Optimizers and learning-rate schedules: how far a step goes along the direction that a rule gives.

The direction of layer l is mean_batch δ_l h_{l−1}ᵀ, the gradient for backprop and whatever a rule puts in its place, so
that every optimizer serves every rule.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeAlias

from rfnumeric import kernels
from rfnumeric.backend import array_namespace
from rfnumeric.nn import Network, Trace
from rfnumeric.typing import Array

OptimizerState: TypeAlias = dict[str, list[Array | None]]
"""Running means by name, each a list indexed by layer 0 … L like `Network.W`; None where a layer has none."""


@dataclass(frozen=True)
class Optimizer:
    """Base of the optimizers; an optimizer's fields are its options, and hold no state."""

    name: ClassVar[str] = ""
    means: ClassVar[tuple[str, ...]] = ()
    """Names of the running means that each parameter has."""

    def init(self, network: Network) -> OptimizerState:
        """Return the state before the first step: zeros, under ``W_<mean>`` and ``b_<mean>``."""
        parameters = {"W": network.W, "b": network.b} if network.has_bias else {"W": network.W}
        return {f"{p}_{mean}": [_zeros(v) for v in values] for mean in self.means for p, values in parameters.items()}

    def update(
        self, network: Network, trace: Trace, lr: float | Array, state: OptimizerState, step: int
    ) -> OptimizerState:
        """Change the weights of `network`, and return the state after that.

        Parameters
        ----------
        network : Network
        trace : Trace
            With `delta` filled by a rule.
        lr : float or array of shape `network.population`
            Learning rate λ of this step.
        state : OptimizerState
            May be overwritten.
        step : int
            Number of this step, counted from 0 over the whole run.
        """
        for k in network.trained:
            G, g = network.direction(trace, k)
            network.W[k] = self._step("W", k, network.W[k], G, lr, state, step)
            if g is not None:
                network.b[k] = self._step("b", k, network.b[k], g, lr, state, step)
        return state

    def _step(
        self, name: str, l: int, value: Array, G: Array, lr: float | Array, state: OptimizerState, step: int
    ) -> Array:
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Return the optimizer's options by name."""
        return asdict(self)


@dataclass(frozen=True)
class SGD(Optimizer):
    """W ← W − λG: stochastic gradient descent, without state; one product accumulates it into W."""

    name: ClassVar[str] = "sgd"

    def update(
        self, network: Network, trace: Trace, lr: float | Array, state: OptimizerState, step: int
    ) -> OptimizerState:
        """See `Optimizer.update`."""
        network.update(trace, lr)
        return state


@dataclass(frozen=True)
class Momentum(Optimizer):
    """v ← μv + G, W ← W − λv: heavy-ball momentum (Polyak 1964, doi:10.1016/0041-5553(64)90137-5).

    Attributes
    ----------
    momentum : float
        μ, dimensionless, 0 ≤ μ < 1. A constant direction ends up 1/(1 − μ) times as long.
    """

    name: ClassVar[str] = "momentum"
    means: ClassVar[tuple[str, ...]] = ("velocity",)
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _check_decay("momentum", self.momentum)

    def _step(
        self, name: str, l: int, value: Array, G: Array, lr: float | Array, state: OptimizerState, step: int
    ) -> Array:
        v = state[f"{name}_velocity"]
        value, v[l] = kernels.momentum_update(value, v[l], G, lr, self.momentum)
        return value


@dataclass(frozen=True)
class Adam(Optimizer):
    """W ← W − λ m̂/(√v̂ + ε) with running means m̂, v̂ of G and G² (Kingma and Ba 2015, arXiv:1412.6980).

    Attributes
    ----------
    beta1, beta2 : float
        Decay of the running means for each step, dimensionless, 0 ≤ β < 1.
    epsilon : float
        ε > 0, in units of G.
    """

    name: ClassVar[str] = "adam"
    means: ClassVar[tuple[str, ...]] = ("mean", "square")
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_decay("beta1", self.beta1)
        _check_decay("beta2", self.beta2)
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be positive and finite; got {self.epsilon}.")

    def _step(
        self, name: str, l: int, value: Array, G: Array, lr: float | Array, state: OptimizerState, step: int
    ) -> Array:
        m, v = state[f"{name}_mean"], state[f"{name}_square"]
        numbers = (self.beta1, self.beta2, self.epsilon, step + 1)
        value, m[l], v[l] = kernels.adam_update(value, m[l], v[l], G, lr, *numbers)
        return value


OPTIMIZERS: dict[str, type[Optimizer]] = {cls.name: cls for cls in (SGD, Momentum, Adam)}
"""Name → class."""

SCHEDULES = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}
"""Name → factor on the learning rate, by the share of the run's steps that are done (0 at the first, below 1)."""


def get_optimizer(name: str, **options: Any) -> Optimizer:
    """Return the optimizer called `name` with its options.

    Raises
    ------
    ValueError
        If the optimizer or one of the options is unknown, or an option is out of range.

    Examples
    --------
    >>> get_optimizer("adam", beta1=0.8).options()
    {'beta1': 0.8, 'beta2': 0.999, 'epsilon': 1e-08}
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}; got {name!r}.")
    known = [field.name for field in fields(OPTIMIZERS[name])]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(
            f"optimizer {name!r} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}. Leave it out."
        )
    return OPTIMIZERS[name](**options)


def scheduled_rate(lr: float | Array, schedule: str, step: int, total: int) -> float | Array:
    """Return the learning rate of one step.

    Parameters
    ----------
    lr : float or array
        Rate of the first step.
    schedule : {"constant", "linear", "cosine"}
        Linear and cosine fall from `lr` to 0 over the run, which the step after the last one would reach.
    step : int
        From 0.
    total : int
        Steps of the whole run.

    Examples
    --------
    >>> [scheduled_rate(1.0, "linear", step, 4) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    return lr if schedule == "constant" else lr * SCHEDULES[schedule](step / total)


def _zeros(value: Array | None) -> Array | None:
    return None if value is None else array_namespace(value).zeros_like(value)


def _check_decay(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1); got {value}.")
