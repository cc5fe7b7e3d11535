"""What can be measured on a batch along training: where updates point, what the feedback is, whether Theorem 1 holds.

Measuring changes nothing: it draws from none of the run's random streams and writes to none of its arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rfnumeric.backend import Backend, array_namespace, quiet, to_numpy
from rfnumeric.calculus.theorem1 import first_samples, sample_contraction, to_double
from rfnumeric.datasets import Dataset
from rfnumeric.linalg import condition_number, penrose_residuals, pinv
from rfnumeric.nn import Dense, Network, Trace, get_loss
from rfnumeric.rules import Backprop, BatchReciprocal, Feedback, Rule
from rfnumeric.training.batches import DeviceData
from rfnumeric.training.config import INPUT_SCALES
from rfnumeric.training.run import Run
from rfnumeric.typing import Array

METRICS = {
    "gradient_cosine": "cosine of each layer's update to the gradient",
    "gauss_newton_cosine": "cosine of each layer's update to its damped Gauss–Newton step",
    "penrose_1": "‖WXW − W‖/‖W‖ of the feedback X",
    "penrose_2": "‖XWX − X‖/‖X‖",
    "penrose_3": "‖(WX)ᵀ − WX‖/‖WX‖",
    "penrose_4": "‖(XW)ᵀ − XW‖/‖XW‖",
    "pinv_distance": "‖W⁺ − X‖/‖W⁺‖",
    "condition_number": "σ₁/σ_min of W",
    "contraction": "M‖T‖ of Theorem 1",
    "reciprocal_error": "‖TAT − T‖/‖T‖ of Theorem 1",
    "negative_share": "share of negative pre-activations in hidden layers",
}
"""Name → what it is; all are dimensionless, one number a layer."""

Metrics: TypeAlias = dict[str, list[float | None]]
"""Metric → its values by layer 0 … L, indexed like `Network.W`; None where a layer has none or it is not finite.

Metrics of weights that several layers share stand at the layer that owns them.
"""

GAUSS_NEWTON_DAMPING = 0.1
"""λ_d of the Gauss–Newton step, relative to the mean eigenvalue of J_lJ_lᵀ."""

GAUSS_NEWTON_SAMPLES, GAUSS_NEWTON_ROWS = 32, 320
"""At most so many samples, and so many of their outputs, enter the Gauss–Newton step: its cost grows with the cube."""

THEOREM_SAMPLES = 5
"""Samples on which Theorem 1 is looked at, one at a time."""


def measure(rule: Rule, network: Network, trace: Trace, e: Array, feedback: Feedback) -> list[Metrics]:
    """Measure `METRICS` on one batch.

    Parameters
    ----------
    rule : Rule
        Its update must be linear in e for the two metrics of Theorem 1.
    network : Network
        Single or a population.
    trace : Trace
        Of a forward pass of the batch; its `delta` is not used.
    e : array, shape (..., batch, n_L)
        Error ∂loss/∂h_L of each sample.
    feedback : Feedback
        The rule's.

    Returns
    -------
    list of dict
        One for each member of the population, or one alone; see `Metrics`.

    Notes
    -----
    ``gradient_cosine``
        ⟨U, G⟩/‖U‖‖G‖ of the update U_l = mean_batch δ_l h_{l−1}ᵀ by the rule and the gradient G_l, the same with
        backpropagation's δ_l, both on the whole batch; summed over the layers that share W_l. Biases are left out, here
        and in the next.
    ``gauss_newton_cosine``
        Likewise with the block-diagonal Gauss–Newton step J_lᵀ(J_lJ_lᵀ + λ_dI)⁻¹e (v1 A.4, v2 A.5) of the batch's
        first samples, up to `GAUSS_NEWTON_SAMPLES`, with the rule's update on the same; λ_d is
        `GAUSS_NEWTON_DAMPING` times the mean eigenvalue of J_lJ_lᵀ.
    ``penrose_1`` … ``penrose_4``, ``pinv_distance``, ``condition_number``
        Of W_l and its feedback X_l for dense layers l ≥ 2, in float64; X is the rule's `Rule.feedback`. No update uses
        the feedback of layer 1.
    ``contraction``, ``reciprocal_error``
        M‖T‖ and ‖TAT − T‖/‖T‖ of Theorem 1 (v1/v2 §4) for y = W_l, F(y) = h_L − h_L* and T the rule's own map
        from e to its update, one sample at a time as the papers have it, in float64: the (upper) median over the
        batch's first samples, up to `THEOREM_SAMPLES`. See `rfnumeric.calculus.theorem1`.
    ``negative_share``
        Share of a_l < 0 over the batch and the layer's units, l < L.

    Examples
    --------
    >>> from rfnumeric.backend import Streams, get_backend
    >>> from rfnumeric.nn import init_network
    >>> from rfnumeric.rules import get_rule
    >>> streams, rule = Streams(0, get_backend("numpy", dtype="float64")), get_rule("backprop")
    >>> network = init_network([5, 4, 3], streams)
    >>> trace = network.forward(streams.normal((8, 5)))
    >>> (found,) = measure(rule, network, trace, trace.h[2], {})
    >>> [None if c is None else round(c, 12) for c in found["gradient_cosine"]]
    [None, 1.0, 1.0]
    """
    with quiet():
        found = {
            **_cosines(rule, network, trace, e, feedback),
            **_feedback_quality(rule, network, feedback),
            **_contraction(rule, network, trace, e, feedback),
            "negative_share": _negative_shares(network, trace),
        }
        return _on_host({name: found[name] for name in METRICS}, network)


def measure_batch(
    rule: Rule, network: Network, feedback: Feedback, x: Array, y: Array, loss: str = "cross-entropy"
) -> list[Metrics]:
    """Measure on inputs and labels: a forward pass, the loss's e, and `measure`.

    Parameters
    ----------
    rule : Rule
    network : Network
    feedback : Feedback
    x : array, shape (..., batch, n_0)
    y : array, shape (..., batch)
        Labels, or targets for ``"mse"``.
    loss : str
        See `rfnumeric.nn.get_loss`.

    Returns
    -------
    list of dict
        See `measure`.
    """
    with quiet():
        trace = network.forward(x)
        e, _, _ = get_loss(loss).evaluate(trace.h[-1], y)
        return measure(rule, network, trace, e, feedback)


def measure_run(run: Run, dataset: Dataset, *, batch_size: int | None = None) -> list[Metrics | None]:
    """Measure the trained network of a run on one batch, spread evenly over the training set.

    Parameters
    ----------
    run : Run
        As `train` returned it.
    dataset : Dataset
        The one it was trained on.
    batch_size : int, optional
        Samples. Default: the run's own batch size, since an average over a batch is what the cosines measure.

    Returns
    -------
    list of dict
        One for each member; None for one that diverged, whose weights are gone.
    """
    config = run.config
    data = DeviceData(dataset, Backend.of(run.network.W[1]), INPUT_SCALES[config.input_scale])
    x, y = data.spread(batch_size or config.batch_size, run.network.population)
    found = measure_batch(config.make_rule(), run.network, run.feedback, x, y, config.loss)
    return [None if m.status == "diverged" else f for m, f in zip(run.members, found, strict=True)]


def _on_host(found: dict[str, list[Array | None]], network: Network) -> list[Metrics]:
    """Bring all numbers to the host at once, and deal them out to the members."""
    members = network.population[0] if network.population else 1
    present = [v for values in found.values() for v in values if v is not None]
    xp = array_namespace(*present)
    table = to_numpy(xp.stack([xp.astype(v, xp.float64) for v in present])).reshape(len(present), members)

    def of_member(column: np.ndarray) -> Metrics:
        numbers = iter(float(v) if math.isfinite(v) else None for v in column)
        return {name: [None if v is None else next(numbers) for v in values] for name, values in found.items()}

    return [of_member(table[:, k]) for k in range(members)]


def _cosines(rule: Rule, network: Network, trace: Trace, e: Array, feedback: Feedback) -> dict[str, list[Array | None]]:
    delta = rule.deltas(network, trace, e, feedback)
    gradient = Backprop().deltas(network, trace, e, {})
    samples = max(1, min(GAUSS_NEWTON_SAMPLES, GAUSS_NEWTON_ROWS // e.shape[-1], e.shape[-2]))
    few, few_e = first_samples(trace, samples), e[..., :samples, :]
    few_delta = delta if samples == e.shape[-2] else rule.deltas(network, few, few_e, feedback)
    newton = BatchReciprocal(damping=GAUSS_NEWTON_DAMPING).deltas(network, few, few_e, {})
    return {
        "gradient_cosine": _by_owner(network, lambda k: _update_cosine(network, trace, k, delta, gradient)),
        "gauss_newton_cosine": _by_owner(network, lambda k: _update_cosine(network, few, k, few_delta, newton)),
    }


def _by_owner(network: Network, value: Callable[[int], Array]) -> list[Array | None]:
    return [value(k) if k in network.trained else None for k in range(network.L + 1)]


def _update_cosine(network: Network, trace: Trace, k: int, delta: list[Array], other: list[Array]) -> Array:
    """Return the cosine of two updates of W_k; NaN if one of them is zero or not finite."""
    u, v = (_scaled_update(network, trace, k, d) for d in (delta, other))
    xp = array_namespace(u)
    axes = _weight_axes(network, k)
    uv, uu, vv = (xp.sum(a * b, axis=axes, dtype=u.dtype) for a, b in ((u, v), (u, u), (v, v)))
    # √uu √vv and not √(uu vv): the cosine of an array to itself is then 1 to an ulp.
    return uv / (xp.sqrt(uu) * xp.sqrt(vv))


def _scaled_update(network: Network, trace: Trace, k: int, delta: list[Array]) -> Array:
    """Return Σ N(h)ᵀδ over the batch and the layers that use W_k, times a number that keeps squares in range."""
    users = network.users[k]
    most = _largest(delta[users[0]], (-2, -1))
    for l in users[1:]:
        most = array_namespace(most).maximum(most, _largest(delta[l], (-2, -1)))
    total: Array = None
    for l in users:
        own = network.layers[l].map.grad(network.input(l, trace.h), delta[l] / most)
        total = own if total is None else total + own
    return total / _largest(total, _weight_axes(network, k))


def _weight_axes(network: Network, k: int) -> tuple[int, ...]:
    return tuple(range(-len(network.layers[k].map.weight_shape), 0))


def _largest(u: Array, axes: tuple[int, ...]) -> Array:
    """Return the size of the largest entry, whose square might be too large or too small for the dtype."""
    xp = array_namespace(u)
    return xp.max(xp.abs(u), axis=axes, keepdims=True)


def _feedback_quality(rule: Rule, network: Network, feedback: Feedback) -> dict[str, list[Array | None]]:
    names = ("penrose_1", "penrose_2", "penrose_3", "penrose_4", "pinv_distance", "condition_number")
    found: dict[str, list[Array | None]] = {name: [None] * (network.L + 1) for name in names}
    kept = rule.feedback(network, feedback)
    for k in network.fed:
        if not isinstance(network.layers[k].map, Dense):
            continue  # no matrix of this size is formed
        xp = array_namespace(network.W[k])
        W, X = to_double(network.W[k]), to_double(kept[k])
        # pinv refuses what is not finite; a network that has overflowed gets NaN.
        finite = xp.all(xp.isfinite(W), axis=(-2, -1))
        W_pinv = pinv(xp.where(finite[..., None, None], W, xp.zeros_like(W)))
        distance = xp.linalg.matrix_norm(W_pinv - X) / xp.linalg.matrix_norm(W_pinv)
        values = (*penrose_residuals(W, X)[:4], xp.where(finite, distance, xp.nan), condition_number(W))
        for name, value in zip(names, values, strict=True):
            found[name][k] = value
    return found


def _contraction(rule: Rule, network: Network, trace: Trace, e: Array, feedback: Feedback) -> dict[str, list[Array]]:
    double = {name: [None if v is None else to_double(v) for v in values] for name, values in feedback.items()}

    def deltas(network: Network, trace: Trace, e: Array) -> list[Array]:
        return rule.deltas(network, trace, e, double)

    return sample_contraction(deltas, network, trace, e, THEOREM_SAMPLES)


def _negative_shares(network: Network, trace: Trace) -> list[Array | None]:
    xp = array_namespace(trace.h[-1])
    dtype = trace.h[-1].dtype
    shares = [xp.mean(xp.astype(trace.a[l] < 0, dtype), axis=(-2, -1)) for l in range(1, network.L)]
    return [None, *shares, None]
