"""`check_rule`: what the training loop, checkpoints and populations rely on in a learning rule, as assertions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rfnumeric.backend import Backend, Streams, eps, get_backend, to_float, to_numpy
from rfnumeric.linalg import condition_number
from rfnumeric.nn import LOSSES, Network, Trace, init_network
from rfnumeric.rules import Feedback, Rule, training_step
from rfnumeric.testing.conformance import _host, _require, _require_like
from rfnumeric.typing import Array

SIZES = (7, 6, 5, 3)
SEEDS = (0, 1, 2)

Oracle = Callable[[Network, Trace, Array, Feedback], Sequence[Any]]
"""(network, trace, e, feedback) → [None, δ_1, …, δ_L], by another way than the rule's."""


def check_rule(
    rule: Rule,
    backend: str | Backend = "numpy",
    dtype: str = "float64",
    *,
    sizes: Sequence[int] = SIZES,
    hidden: str = "tanh",
    bias: bool = True,
    steps: int = 3,
    oracle: Oracle | None = None,
    c: float = 100.0,
) -> None:
    """Check a learning rule: shapes, determinism, no side effects, descent in the last layer, population, checkpoints.

    Descent means that the last layer's step of a single sample lowers its loss to first order, e·D_L δ_L > 0, which
    holds for every rule whose φ_L is D, D⁺ or the identity. What a rule does in the hidden layers is its own affair;
    give an `oracle` to check that too.

    Parameters
    ----------
    rule : Rule
        A subclass of `rfnumeric.rules.Rule`.
    backend : str or Backend
    dtype : {"float32", "float64"}
    sizes : sequence of int
        Widths of the networks.
    hidden : str
        Hidden activation; the output is the identity.
    bias : bool
    steps : int
        Training steps over which a population is compared with its members.
    oracle : callable, optional
        See `Oracle`; its deltas must equal the rule's, to c·eps·dimension·κ relative to the largest.
    c : float
        Factor of the tolerances c·eps·dimension·κ, with κ the largest condition number of the weights.

    Raises
    ------
    AssertionError
        Names the rule, the property and the layer.

    Examples
    --------
    In a test file, one parametrized line:
    ``@pytest.mark.parametrize("backend", ["numpy", "torch"])``
    ``def test_my_rule(backend): check_rule(MyRule(), backend)``

    >>> from rfnumeric.rules import Backprop
    >>> check_rule(Backprop())
    >>> class Ascent(Backprop):
    ...     def deltas(self, network, trace, e, feedback):
    ...         return [None, *(-d for d in super().deltas(network, trace, e, feedback)[1:])]
    >>> check_rule(Ascent())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: Ascent(): the last layer's step raises the loss of sample 0: e·D_L δ_L = -... must be positive.
    """
    chosen = get_backend(backend, dtype=dtype)
    options = {"hidden": hidden, "output": "identity", "bias": bias}
    for seed in (SEEDS[0], list(SEEDS)):
        setting = _Setting(rule, tuple(sizes), seed, chosen, options)
        _check_structure(setting)
        _check_purity(setting)
        _check_descent(setting)
        _check_round_trip(setting)
        if oracle is not None:
            _check_oracle(setting, oracle, c)
    _check_population(rule, tuple(sizes), chosen, options, steps, c)


class _Setting:
    """A rule with a network, a batch and what came of it: one forward pass, one sleep, the deltas."""

    def __init__(self, rule: Rule, sizes: tuple[int, ...], seed: Any, chosen: Backend, options: dict[str, Any]) -> None:
        self.rule, self.chosen, self.streams = rule, chosen, Streams(seed, chosen)
        self.network = init_network(sizes, self.streams, **options)
        self.x = self.streams.child("x").normal((4, sizes[0]))
        self.labels = chosen.asarray(np.broadcast_to(np.arange(4) % sizes[-1], self.x.shape[:-1]), "int64")
        self.feedback = rule.init(self.network, self.streams.child("feedback"))
        self.trace = self.network.forward(self.x)
        self.e = LOSSES["cross-entropy"]().evaluate(self.trace.h[-1], self.labels)[0]
        self.feedback = rule.sleep(self.network, self.feedback, self.streams.child("sleep", 0), 0)

    def deltas(self, e: Array | None = None) -> list[Array]:
        return self.rule.deltas(self.network, self.trace, self.e if e is None else e, self.feedback)

    def step(self, i: int, lr: float) -> None:
        """Take training step `i`."""
        self.feedback, self.trace, *_ = training_step(
            self.rule,
            self.network,
            self.feedback,
            self.x,
            self.labels,
            loss=LOSSES["cross-entropy"](),
            update=lambda network, trace: network.update(trace, lr),
            streams=self.streams,
            step=i,
        )


def _arrays(setting: _Setting) -> dict[str, Array]:
    """Everything that `deltas` must leave as it is."""
    found = {"e": setting.e}
    lists = {"W": setting.network.W, "b": setting.network.b, "h": setting.trace.h, "a": setting.trace.a}
    for name, values in (lists | {"d_sigma": setting.trace.d_sigma} | setting.feedback).items():
        found |= {f"{name}[{l}]": v for l, v in enumerate(values) if v is not None}
    return found


def _check_structure(s: _Setting) -> None:
    L = s.network.L
    delta = s.deltas()
    got = [None if d is None else "δ" for d in delta]
    _require(got == [None] + ["δ"] * L, f"{s.rule}: deltas must return [None, δ_1, …, δ_{L}]; got {got}.")
    for l in range(1, L + 1):
        _require_like(delta[l], s.trace.a[l].shape, s.chosen, f"{s.rule}: δ_{l}")
    before = {name: [None if v is None else tuple(v.shape) for v in vs] for name, vs in s.feedback.items()}
    for name, shapes in before.items():
        _require(len(shapes) == L + 1, f"{s.rule}: feedback {name!r} must have {L + 1} entries; got {len(shapes)}.")
    s.trace.delta = delta
    for call in ("sleep", "learn_feedback"):
        for i in (0, 20):
            middle = (s.trace,) if call == "learn_feedback" else ()
            after = getattr(s.rule, call)(s.network, *middle, s.feedback, s.streams.child(call, i), i)
            shapes = {name: [None if v is None else tuple(v.shape) for v in vs] for name, vs in after.items()}
            _require(shapes == before, f"{s.rule}: {call} changed the feedback's shapes from {before} to {shapes}.")
            s.feedback = after


def _check_purity(s: _Setting) -> None:
    before = {name: to_numpy(a).copy() for name, a in _arrays(s).items()}
    first = [to_numpy(d).copy() for d in s.deltas()[1:]]
    for name, a in _arrays(s).items():
        _require(np.array_equal(to_numpy(a), before[name]), f"{s.rule}: deltas wrote to {name}; work on a copy.")
    for l, (one, two) in enumerate(zip(first, s.deltas()[1:], strict=True), 1):
        _require(np.array_equal(one, to_numpy(two)), f"{s.rule}: δ_{l} of the same arguments differs between calls.")
    for l, delta in enumerate(s.deltas(0 * s.e)[1:], 1):
        _require(not to_numpy(delta).any(), f"{s.rule}: δ_{l} must be zero where the error e is zero.")


def _check_descent(s: _Setting) -> None:
    L = s.network.L
    for i in range(s.x.shape[-2]):
        trace = s.network.forward(s.x[..., i : i + 1, :])
        e = LOSSES["cross-entropy"]().evaluate(trace.h[-1], s.labels[..., i : i + 1])[0]
        delta = s.rule.deltas(s.network, trace, e, s.feedback)[L]
        product = (_host(e) * _host(trace.d_sigma[L]) * _host(delta)).sum(axis=-1)
        _require(
            bool((product > 0).all()),
            f"{s.rule}: the last layer's step raises the loss of sample {i}: e·D_L δ_L = {product.min():.3g} "
            "must be positive.",
        )


def _check_round_trip(s: _Setting) -> None:
    """Bring the feedback to the host and back, as a checkpoint does: the deltas must stay the same to rounding."""
    before = [to_numpy(d).copy() for d in s.deltas()[1:]]
    s.feedback = {
        name: [None if v is None else s.chosen.asarray(to_numpy(v).copy(), to_numpy(v).dtype.name) for v in values]
        for name, values in s.feedback.items()
    }
    for l, (one, two) in enumerate(zip(before, s.deltas()[1:], strict=True), 1):
        # A copy may lie otherwise in memory than a transposed view did, which changes the order of BLAS's sums.
        bound = 100 * eps(s.chosen.dtype) * max(s.network.sizes) * np.abs(one).max()
        error = np.abs(one.astype(np.float64) - _host(two)).max()
        _require(bool(error <= bound), f"{s.rule}: δ_{l} changes by {error:.3g} when the feedback is saved and loaded.")


def _check_oracle(s: _Setting, oracle: Oracle, c: float) -> None:
    delta = s.deltas()
    wanted = oracle(s.network, s.trace, s.e, s.feedback)
    tolerance = c * eps(s.chosen.dtype) * max(s.network.sizes) * _worst_condition(s.network)
    for l in range(1, s.network.L + 1):
        got, target = _host(delta[l]), _host(wanted[l])
        error = np.abs(got - target).max()
        limit = tolerance * np.abs(target).max()
        _require(
            bool(error <= limit), f"{s.rule}: δ_{l} differs by {error:.3g} from the oracle's; allowed {limit:.3g}."
        )


def _check_population(
    rule: Rule, sizes: tuple[int, ...], chosen: Backend, options: dict[str, Any], steps: int, c: float
) -> None:
    """Compare a population's steps with its members' own."""
    lr = 1e-3
    together = _Setting(rule, sizes, list(SEEDS), chosen, options)
    alone = [_Setting(rule, sizes, seed, chosen, options) for seed in SEEDS]
    tolerance = c * eps(chosen.dtype) * max(sizes) * steps * _worst_condition(together.network)
    for i in range(steps):
        for setting in (together, *alone):
            setting.step(i, lr)
    for l in range(1, together.network.L + 1):
        for k, one in enumerate(alone):
            got, wanted = _host(together.network.W[l][k, ...]), _host(one.network.W[l])
            error, limit = np.abs(got - wanted).max(), tolerance * np.abs(wanted).max()
            _require(
                bool(error <= limit),
                f"{rule}: W[{l}] of member {k} differs by {error:.3g} from the same network trained alone; "
                f"allowed {limit:.3g}.",
            )


def _worst_condition(network: Network) -> float:
    xp = network.backend.xp
    return max(to_float(xp.max(condition_number(W))) for W in network.W[1:])
