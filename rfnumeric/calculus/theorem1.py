"""Theorem 1 (v1/v2 §4) along training: M‖T‖ of a rule's own map T, for one sample and one layer at a time.

The unknown is y = W_l, the other layers held; F(y) = h_L − h_L* of one sample, A = J_{W_l} its Jacobian, and T the map
from the sample's error e to the update that the rule would take with learning rate 1. By R(T) all iterates have
the form W_l + d h_{l−1}ᵀ/‖h_{l−1}‖², which moves a_l by d: so the theorem is the same for the unknown a_l, with
A = J_{a_l} (n_L × n_l) and T = ‖h_{l−1}‖² ∂δ_l/∂e (n_l × n_L), M and 1/‖T‖ both divided by ‖h_{l−1}‖, and M‖T‖
unchanged. With a bias ‖h_{l−1}‖² + 1 takes the place of ‖h_{l−1}‖².
"""

from __future__ import annotations

from collections.abc import Callable

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.calculus.gauss_newton import output_jacobians
from rfnumeric.calculus.newton import lipschitz
from rfnumeric.nn import Network, Trace
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
        ``"contraction"`` and ``"reciprocal_error"``, each a list of float64 arrays of the population's shape by layer.

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
    found: dict[str, list[Array | None]] = {name: [None] * (network.L + 1) for name in RESULTS}
    for l, A in output_jacobians(double, trace):
        h = trace.h[l - 1]
        xp = array_namespace(h)
        squared = xp.sum(h * h, axis=-1) + (1 if network.has_bias else 0)
        T = squared[..., None, None] * maps[l]
        for name, value in zip(RESULTS, _one_layer(double, trace, l, A, T, e), strict=True):
            found[name][l] = xp.sort(value, axis=-1)[..., samples // 2]
    return found


RESULTS = ("contraction", "reciprocal_error")


def _one_layer(network: Network, trace: Trace, l: int, A: Array, T: Array, e: Array) -> tuple[Array, Array]:
    """Return M‖T‖ and ‖TAT − T‖/‖T‖ of each sample, shape (..., samples); NaN where T or A is not finite."""
    xp = array_namespace(T)
    finite = xp.all(xp.isfinite(T), axis=(-2, -1)) & xp.all(xp.isfinite(A), axis=(-2, -1))
    A, T = (xp.where(finite[..., None, None], v, xp.zeros_like(v)) for v in (A, T))
    norm_T = xp.linalg.matrix_norm(T)
    TAT = xp.matmul(xp.matmul(T, A), T)
    error = xp.linalg.matrix_norm(TAT - T) / norm_T

    def F(a: Array) -> Array:
        """Return h_L, shape (..., samples, pairs, n_L), at a_l; F's constant h_L* drops out of M."""
        rows = xp.reshape(a, (*a.shape[:-3], -1, a.shape[-1]))
        return xp.reshape(network.tail(l, trace.h, a=rows), (*a.shape[:-1], -1))

    # ‖TᵀT‖ = ‖T‖², and TᵀT is small where T is tall.
    spectral = xp.sqrt(xp.linalg.svdvals(xp.matmul(xp.matrix_transpose(T), T))[..., 0])
    r = spectral * xp.linalg.vector_norm(e, axis=-1)
    M = lipschitz(F, A, T, trace.a[l], r, samples=PAIRS)
    return xp.where(finite, M * spectral, xp.nan), xp.where(finite, error, xp.nan)


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
