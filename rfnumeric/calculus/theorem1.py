"""Theorem 1 (v1/v2 §4) along training: M‖T‖ of a rule's own map T, for one sample and one layer at a time.

The unknown is y = W_l, the other layers held; F(y) = h_L − h_L* of one sample, A = J_{W_l} its Jacobian, and T the map
from the sample's error e to the update that the rule would take with learning rate 1. With a bias y is [W_l b_l].

In a dense layer all iterates have by R(T) the form W_l + d h_{l−1}ᵀ/‖h_{l−1}‖², which moves a_l by d: so the theorem is
the same for the unknown a_l, with A = J_{a_l} (n_L × n_l) and T = ‖h_{l−1}‖² ∂δ_l/∂e (n_l × n_L), M and 1/‖T‖ both
divided by ‖h_{l−1}‖, and M‖T‖ unchanged. Where N(h)N(h)ᵀ is diagonal with different entries s (local connections), it
is the same for a_l/√s. Where it is not diagonal (convolutions), and where layers share weights, the unknown is W_l, in
coordinates of R(T), of which there are at most n_L.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.calculus.jacobians import output_jacobians
from rfnumeric.calculus.newton import lipschitz
from rfnumeric.calculus.parameters import count, parameter_rows, unvec
from rfnumeric.nn import Network, Trace
from rfnumeric.nn.grams import ScalarGram
from rfnumeric.typing import Array

Deltas = Callable[[Network, Trace, Array], list[Array]]
"""From a network, its trace and e to [None, δ_1, …, δ_L], as a learning rule gives them."""

PAIRS = 8
"""Pairs of points drawn to find M."""


def sample_contraction(
    deltas: Deltas, network: Network, trace: Trace, e: Array, samples: int
) -> dict[str, list[Array | None]]:
    """Return M‖T‖ and ‖TAT − T‖/‖T‖ for each layer: the upper medians over a batch's first samples.

    Parameters
    ----------
    deltas : callable
        The rule's, linear in e. It is called with a network, a trace and an e in float64.
    network : Network
    trace : Trace
    e : array, shape (..., batch, n_L)
    samples : int
        At most so many are taken.

    Returns
    -------
    dict
        ``"contraction"`` and ``"reciprocal_error"``, each a list of float64 arrays of the population's shape by the
        layer that owns the weights; None elsewhere.

    Notes
    -----
    M is the largest quotient over `PAIRS` drawn pairs in the ball of radius ‖T‖‖e‖ around W_l, the smallest that the
    theorem admits (‖T‖‖F(y₀)‖ < r(1 − M‖T‖)). M is thus a lower bound of the M of every ball that it admits: a value of
    1 or more refutes the theorem's hypothesis, one below 1 says that no counterexample was drawn. It is 0 where
    the network is linear over that ball. The theorem also needs TAy = y on R(T), i.e. a ``reciprocal_error`` of 0; for
    T = Aᵀ, backpropagation's, it never is.

    Computed in float64 whatever the run's dtype, since close pairs lose half of the digits.
    """
    samples = min(samples, e.shape[-2])
    double = _double_network(network)
    trace = double.forward(to_double(trace.h[0][..., :samples, :]))
    e = to_double(e[..., :samples, :])
    maps = _update_maps(deltas, double, trace, samples)
    J = output_jacobians(double, trace)
    found: dict[str, list[Array | None]] = {name: [None] * (network.L + 1) for name in RESULTS}
    for k in network.trained:
        gram = double.layers[k].map.gram(double.input(k, trace.h), double.b[k] is not None)
        if len(network.users[k]) == 1 and isinstance(gram, ScalarGram):
            problem = _in_activity(double, trace, k, J[k], maps[k], gram.s)
        else:
            problem = _in_weights(double, trace, k, J, maps)
        for name, value in zip(RESULTS, _solve(problem, e), strict=True):
            found[name][k] = array_namespace(value).sort(value, axis=-1)[..., samples // 2]
    return found


RESULTS = ("contraction", "reciprocal_error")


class Problem(NamedTuple):
    """F, A, T and y₀ of each sample; `finite` tells where A and T are finite, and they are 0 elsewhere."""

    F: Callable[[Array], Array]
    A: Array
    T: Array
    y0: Array
    finite: Array


def _finite(A: Array, T: Array) -> tuple[Array, Array, Array]:
    xp = array_namespace(T)
    finite = xp.all(xp.isfinite(T), axis=(-2, -1)) & xp.all(xp.isfinite(A), axis=(-2, -1))
    A, T = (xp.where(finite[..., None, None], v, xp.zeros_like(v)) for v in (A, T))
    return A, T, finite


def _solve(problem: Problem, e: Array) -> tuple[Array, Array]:
    """Return M‖T‖ and ‖TAT − T‖/‖T‖ of each sample, shape (..., samples); NaN where T or A is not finite."""
    F, A, T, y0, finite = problem
    xp = array_namespace(T)
    norm_T = xp.linalg.matrix_norm(T)
    TAT = xp.matmul(xp.matmul(T, A), T)
    error = xp.linalg.matrix_norm(TAT - T) / norm_T
    # ‖TᵀT‖ = ‖T‖², and TᵀT is small where T is tall.
    spectral = xp.sqrt(xp.linalg.svdvals(xp.matmul(xp.matrix_transpose(T), T))[..., 0])
    r = spectral * xp.linalg.vector_norm(e, axis=-1)
    M = lipschitz(F, A, T, y0, r, samples=PAIRS)
    return xp.where(finite, M * spectral, xp.nan), xp.where(finite, error, xp.nan)


def _in_activity(network: Network, trace: Trace, l: int, J: Array, of_e: Array, s: Array) -> Problem:
    """Pose the problem for a_l, or for a_l√(max s/s) where the entries of s differ.

    Parameters
    ----------
    network : Network
    trace : Trace
    l : int
    J : array, shape (..., samples, n_L, n_l)
        J_{a_l}.
    of_e : array, shape (..., samples, n_l, n_L)
        ∂δ_l/∂e.
    s : array, shape (..., samples, 1) or (..., samples, n_l)
        Diagonal of N(h)N(h)ᵀ.
    """
    xp = array_namespace(J)
    a = trace.a[l]
    w = None
    if s.shape[-1] > 1:
        most = xp.max(s, axis=-1, keepdims=True)
        w = xp.sqrt(s / xp.where(most > 0, most, xp.ones_like(most)))
        J, s = J * w[..., None, :], xp.where(w > 0, s / xp.where(w > 0, w, xp.ones_like(w)), xp.zeros_like(s))
    A, T, finite = _finite(J, s[..., :, None] * of_e)

    def F(y: Array) -> Array:
        """Return h_L, shape (..., samples, pairs, n_L); F's constant h_L* drops out of M."""
        if w is not None:
            y = a[..., None, :] + w[..., None, :] * (y - a[..., None, :])
        below = trace.h if network.is_chain else [_repeated(h, y.shape[-2]) for h in trace.h]
        rows = xp.reshape(y, (*y.shape[:-3], -1, y.shape[-1]))
        return xp.reshape(network.tail(l, below, a=rows), (*y.shape[:-1], -1))

    return Problem(F, A, T, a, finite)


def _repeated(h: Array, times: int) -> Array:
    """Repeat every row so many times."""
    xp = array_namespace(h)
    rows = h[..., :, None, :] + xp.zeros((times, 1), dtype=h.dtype, device=device_of(h))
    return xp.reshape(rows, (*h.shape[:-2], -1, h.shape[-1]))


def _in_weights(network: Network, trace: Trace, k: int, J: list[Array], maps: list[Array]) -> Problem:
    """Pose the problem for [vec W_k, b_k] = y₀ + Qy with T = QR, for all the layers that use them."""
    xp = array_namespace(trace.h[-1])
    layer = network.layers[k].map
    kinds = ("W",) if network.b[k] is None else ("W", "b")
    of_e = [None if m is None else xp.matrix_transpose(m) for m in maps]

    def as_parameters(by_layer: list[Array]) -> Array:
        return xp.concat([parameter_rows(network, trace, k, by_layer, kind) for kind in kinds], axis=-1)

    A, T, finite = _finite(as_parameters(J), xp.matrix_transpose(as_parameters(of_e)))
    Q, R = xp.linalg.qr(T, mode="reduced")
    weights = count(layer)

    def F(y: Array) -> Array:
        """Return h_L, shape (..., samples, pairs, n_L), one network a point: its weights are the unknown."""
        moves = xp.matmul(y, xp.matrix_transpose(Q))
        return xp.stack(
            [xp.stack([at(s, moves[..., s, p, :]) for p in range(y.shape[-2])], axis=-2) for s in range(y.shape[-3])],
            axis=-3,
        )

    def at(s: int, move: Array) -> Array:
        W, b = list(network.W), list(network.b)
        W[k] = W[k] + unvec(move[..., :weights], layer.weight_shape)  # type: ignore[arg-type]
        if len(kinds) == 2:
            b[k] = b[k] + unvec(move[..., weights:], layer.bias_shape)  # type: ignore[arg-type]
        one = [h[..., s : s + 1, :] for h in trace.h[:k]]
        return network.with_parameters(W, b).tail(k - 1, one)[..., 0, :]

    return Problem(F, xp.matmul(A, Q), R, xp.zeros_like(R[..., 0]), finite)


def _update_maps(deltas: Deltas, network: Network, trace: Trace, samples: int) -> list[Array | None]:
    """Return ∂δ_l/∂e, shape (..., samples, n_l, n_L), l = 1 … L, column by column from the rule itself.

    One sample at a time, since a rule may look at the batch as a whole.
    """
    h = trace.h[-1]
    xp = array_namespace(h)
    n_L = h.shape[-1]
    eye = xp.eye(n_L, dtype=h.dtype, device=device_of(h)) + xp.zeros_like(h[..., :1, :])
    columns: list[list[list[Array]]] = [[[] for _ in range(samples)] for _ in range(network.L + 1)]
    for s in range(samples):
        one = rows_of(trace, s, s + 1)
        for j in range(n_L):
            delta = deltas(network, one, eye[..., j : j + 1, :])
            for l in range(1, network.L + 1):
                columns[l][s].append(delta[l][..., 0, :])
    stack = xp.stack
    return [None, *(stack([stack(c, axis=-1) for c in of], axis=-3) for of in columns[1:])]


def rows_of(trace: Trace, start: int, stop: int) -> Trace:
    """Return the trace of some samples of a batch, without its deltas."""

    def part(values: list[Array]) -> list[Array]:
        return [None if v is None else v[..., start:stop, :] for v in values]

    return Trace(part(trace.h), part(trace.a), part(trace.d_sigma))


def first_samples(trace: Trace, samples: int) -> Trace:
    """Return the trace of a batch's first samples; the trace itself if these are all."""
    return trace if samples == trace.h[0].shape[-2] else rows_of(trace, 0, samples)


def to_double(v: Array) -> Array:
    """Return `v` in float64."""
    xp = array_namespace(v)
    return xp.astype(v, xp.float64)


def _double_network(network: Network) -> Network:
    W = [None if v is None else to_double(v) for v in network.W]
    b = [None if v is None else to_double(v) for v in network.b]
    return network.with_parameters(W, b)
