"""The settings of one run, complete enough to repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from rfnumeric.backend import BACKENDS, Streams, get_backend
from rfnumeric.nn import Network, architecture, get_architecture, get_loss, init_network
from rfnumeric.rules import Rule, get_rule, register
from rfnumeric.training.optimizers import SCHEDULES, Optimizer, get_optimizer

PAPER_SIZES = {"mnist": (784, 400, 200, 100, 50, 10), "cifar-10": (3072, 1000, 500, 100, 10)}
"""The papers' networks (v1 §5.1 and §5.2, v2 §5.1)."""

MOST_EPOCHS = 10**9
"""More than anyone trains, and few enough to be counted."""

INPUT_SCALES = {"symmetric": (2 / 255, -1.0), "unit": (1 / 255, 0.0)}
"""Name → (scale, offset) that map a pixel 0…255 to [-1, 1] or [0, 1]."""


@dataclass(frozen=True)
class RunConfig:
    """Settings of a training run; JSON holds them all.

    Attributes
    ----------
    rule : str or Rule
        Learning rule, one of `rfnumeric.rules.rule_names`; or a rule of your own, whose class is then known under its
        name in this process, and whose name and options are kept here. Resuming elsewhere needs that class there.
    rule_options : dict
        Its options by name; none beside a rule object. A tuple, which those named in `Rule.per_member` may be, makes a
        population.
    dataset : str
        Name of the data set.
    sizes : tuple of int
        Widths n_0, …, n_L of dense layers; n_0 and n_L of another network.
    network : str
        ``"mlp"``: dense layers of `sizes`; or a network by name, see `rfnumeric.nn.get_architecture`.
    network_options : dict
        Options of that network by name, and ``in_shape``, (channels, rows, columns), of images of no known shape.
    hidden, output : str
        Activation of the hidden layers and of the last one.
    negative_slope : float
        α of the leaky activations, dimensionless.
    init : str
        Initializer; `gain` multiplies what it draws.
    gain : float
    spectrum_control : float
        β of `Network.equalize_spectra` after each step, 0 ≤ β < 1; 0 leaves the weights alone.
    bias : bool
    loss : {"cross-entropy", "mse"}
    lr : float or tuple of float
        Learning rate; several make a population.
    optimizer : str
        One of `rfnumeric.training.optimizers.OPTIMIZERS`.
    optimizer_options : dict
        Its options by name.
    lr_schedule : {"constant", "linear", "cosine"}
        How the rate falls over the steps of the run.
    batch_size : int
        Samples; the last batch of an epoch may be smaller.
    epochs : int
    seed : int or tuple of int
        Seed; several make a population.
    input_scale : {"symmetric", "unit"}
        Pixels as [-1, 1] or [0, 1].
    backend, device, dtype : str
        Where to run; see `rfnumeric.backend.get_backend`.
    """

    rule: str | Rule = "backprop"
    rule_options: dict[str, Any] = field(default_factory=dict)
    dataset: str = "mnist-5k"
    sizes: tuple[int, ...] = PAPER_SIZES["mnist"]
    network: str = "mlp"
    network_options: dict[str, Any] = field(default_factory=dict)
    hidden: str = "leaky-relu"
    output: str = "leaky-relu"
    negative_slope: float = 0.01
    init: str = "he-normal"
    gain: float = 1.0
    spectrum_control: float = 0.0
    bias: bool = False
    loss: str = "cross-entropy"
    lr: float | tuple[float, ...] = 1e-3
    optimizer: str = "sgd"
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    lr_schedule: str = "constant"
    batch_size: int = 40
    epochs: int = 40
    seed: int | tuple[int, ...] = 0
    input_scale: str = "symmetric"
    backend: str = "numpy"
    device: str | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("sizes", "lr", "seed"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        if isinstance(self.rule, Rule):
            _require(not self.rule_options, "rule_options", "empty beside a rule object", self.rule_options)
            object.__setattr__(self, "rule_options", self.rule.options())
            object.__setattr__(self, "rule", register(type(self.rule)).name)
        options = {name: tuple(v) if isinstance(v, list) else v for name, v in self.rule_options.items()}
        object.__setattr__(self, "rule_options", options)
        sound = len(self.sizes) >= 2 and all(n >= 1 for n in self.sizes)
        _require(
            sound, "sizes", "at least two positive widths, e.g. 784,100,10", ",".join(map(str, self.sizes)) or "none"
        )
        _require(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        _require(0 <= self.epochs <= MOST_EPOCHS, "epochs", f"from 0 to {MOST_EPOCHS}", self.epochs)
        _require(all(0 < v < float("inf") for v in _many(self.lr)), "lr", "positive and finite", self.lr)
        _require(0 < self.gain < float("inf"), "gain", "positive and finite", self.gain)
        _require(0 <= self.spectrum_control < 1, "spectrum_control", "in [0, 1)", self.spectrum_control)
        _require(self.lr_schedule in SCHEDULES, "lr_schedule", f"one of {', '.join(SCHEDULES)}", self.lr_schedule)
        _require(self.input_scale in INPUT_SCALES, "input_scale", f"one of {', '.join(INPUT_SCALES)}", self.input_scale)
        _require(self.backend in BACKENDS, "backend", f"one of {', '.join(BACKENDS)}", self.backend)
        get_loss(self.loss)
        _require(
            self.network != "mlp" or not self.network_options,
            "network_options",
            "empty for mlp, which has sizes",
            self.network_options,
        )
        architecture(self.network)
        self.make_rule()
        several = self._several()
        names = " and ".join(dict.fromkeys(("lr", "seed", *several)))
        lengths = {len(v) for v in several.values()}
        _require(len(lengths) <= 1 and 0 not in lengths, names, "of one length where they are several", lengths)
        self.make_optimizer()

    @property
    def population(self) -> int | None:
        """Number of networks trained side by side, or None for a single one."""
        return next((len(v) for v in self._several().values()), None)

    def _several(self) -> dict[str, tuple[Any, ...]]:
        """Return what has one value for each member."""
        given = {"lr": self.lr, "seed": self.seed, **self.rule_options}
        return {name: value for name, value in given.items() if isinstance(value, tuple)}

    def members(self) -> list[RunConfig]:
        """Return the settings of each member of the population as single runs."""
        if self.population is None:
            return [self]

        def of(k: int, value: Any) -> Any:
            return value[k] if isinstance(value, tuple) else value

        return [
            replace(
                self,
                lr=of(k, self.lr),
                seed=of(k, self.seed),
                rule_options={name: of(k, value) for name, value in self.rule_options.items()},
            )
            for k in range(self.population)
        ]

    def make_rule(self) -> Rule:
        """Return the learning rule."""
        return get_rule(self.rule, **self.rule_options)

    def make_optimizer(self) -> Optimizer:
        """Return the optimizer."""
        return get_optimizer(self.optimizer, **self.optimizer_options)

    def make_streams(self) -> Streams:
        """Return the random streams, placed on the chosen backend."""
        seed = self.seed if self.population is None else _spread(self.seed, self.population)
        return Streams(seed, get_backend(self.backend, self.device, self.dtype))

    def make_network(self, streams: Streams) -> Network:
        """Draw the network, or the population."""
        layers: Sequence[Any] = self.sizes
        if self.network != "mlp":
            options = {name: tuple(v) if isinstance(v, list) else v for name, v in self.network_options.items()}
            in_shape = options.pop("in_shape", self.sizes[0])
            layers = get_architecture(self.network, in_shape, self.sizes[-1], **options)
        return init_network(
            layers,
            streams,
            hidden=self.hidden,
            output=self.output,
            negative_slope=self.negative_slope,
            init=self.init,
            gain=self.gain,
            bias=self.bias,
        )

    @property
    def network_name(self) -> str:
        """The network in a word, for titles: ``"784-100-10"`` or ``"lenet"``."""
        return "-".join(map(str, self.sizes)) if self.network == "mlp" else self.network

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON types."""
        listed = {name: _listed(value) for name, value in asdict(self).items()}
        return {**listed, "rule_options": {name: _listed(value) for name, value in self.rule_options.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RunConfig:
        """Rebuild settings from `to_json`.

        Raises
        ------
        ValueError
            If a setting is unknown.
        """
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"settings hold unknown names {sorted(unknown)}; they come from another version.")
        return cls(**data)


def _many(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _spread(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value] * count


def _require(holds: bool, name: str, requirement: str, got: Any) -> None:
    if not holds:
        raise ValueError(f"{name} must be {requirement}; got {got}.")
