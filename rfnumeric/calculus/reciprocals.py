"""The reciprocals B_l and 𝓑_l of a network's Jacobians (v1/v2 §4.2), and what each of them satisfies.

B_L = I and B_l = W_{l+1}⁺ D_{l+1}⁺ B_{l+1}; for the weights 𝓑_l = N(h_{l−1})ᵀ(N(h_{l−1})N(h_{l−1})ᵀ)⁺ D_l⁺ B_l, with
a_l = N(h_{l−1})W_l, which is (h_{l−1}/‖h_{l−1}‖²) ⊗ (D_l⁺ B_l) in a dense layer. Where several layers read h_l, what
they send is summed; where they share weights, so are their 𝓑: that is what the learning rules do, and no reciprocal of
the sum of their Jacobians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from rfnumeric.backend import array_namespace, device_of, quiet, to_float, to_numpy
from rfnumeric.calculus.gauss_newton import gauss_newton_step
from rfnumeric.calculus.jacobians import activation_jacobians, check_layer, check_single, jacobian
from rfnumeric.calculus.parameters import parameter_rows, users_of, vec
from rfnumeric.calculus.sweeps import Route, by_sample, derivatives, output_units, sweep_down
from rfnumeric.linalg import condition_number, pinv, satisfied_conditions
from rfnumeric.linalg._common import scale, times_power_of_two
from rfnumeric.nn import Network, Trace, reciprocal_diagonal
from rfnumeric.typing import Array


def layer_pinvs(network: Network) -> list[Array | None]:
    """Return M(W_l)⁺ as `rfnumeric.nn.Map.pinv` has it, by the layer that owns the weights.

    [None, None, W_2⁺, …, W_L⁺] of a chain of dense layers: the recursion starts at W_2⁺.
    """
    return network.fed_by(lambda k: network.layers[k].map.pinv(network.W[k], pinv))


def reciprocals(network: Network, trace: Trace, W_pinv: list[Array | None]) -> Route:
    """Return the route of the reciprocals: D_l⁺, M(W_l)⁺ down and its transpose up."""
    layers, owner = network.layers, network.owner
    return Route(
        [None if d is None else reciprocal_diagonal(d) for d in trace.d_sigma],
        lambda l, s: layers[l].map.undo(W_pinv[owner[l]], s),
        lambda l, v: layers[l].map.undo_transposed(W_pinv[owner[l]], v),
    )


def activation_reciprocals(network: Network, trace: Trace, W_pinv: list[Array | None] | None = None) -> list[Array]:
    """Return [None, B_1, …, B_L], the reciprocals of J_{h_l}, dense.

    Parameters
    ----------
    network : Network
    trace : Trace
    W_pinv : list of array, shape (..., n_{l−1}, n_l) of a dense layer, optional
        Stand-ins for W_l⁺, by the layer that owns the weights, for those of `Network.fed`: l = 2 … L of a chain.
        Default: the exact pseudoinverses.

    Returns
    -------
    list of array, shape (..., batch, n_l, n_L)

    Examples
    --------
    >>> import numpy as np
    >>> from rfnumeric.nn import Identity, Network
    >>> W = np.diag(np.asarray([2.0, 4.0]))
    >>> network = Network([None, np.eye(2), W], [None] * 3, Identity(), Identity())
    >>> B = activation_reciprocals(network, network.forward(np.ones((1, 2))))
    >>> print(B[1][0])
    [[0.5  0.  ]
     [0.   0.25]]
    """
    return _by_layer(network, trace, W_pinv, 1)[0]


def _by_layer(
    network: Network, trace: Trace, W_pinv: list[Array | None] | None, lowest: int
) -> tuple[list[Array], list[Array]]:
    """Return B_l and D_l⁺B_l by layer."""
    W_pinv = layer_pinvs(network) if W_pinv is None else W_pinv
    both = sweep_down(network, reciprocals(network, trace, W_pinv), output_units(trace), lowest)
    batch, transpose = trace.h[-1].shape[-2], array_namespace(trace.h[-1]).matrix_transpose
    B, D_pinv_B = ([None if v is None else transpose(by_sample(v, batch)) for v in values] for values in both)
    return B, D_pinv_B


def unit_inputs(network: Network, trace: Trace, l: int) -> tuple[Trace, Array]:
    """Return the trace with the activities of each sample times 2^k, and k, shape (..., batch, 1).

    The largest input of W_l is then of size 1, so that ‖h‖² is in range; N being linear, 𝓑_l is 2^(−k) times as large.
    """
    xp = array_namespace(trace.h[-1])
    read = xp.concat([network.input(u, trace.h) for u in users_of(network, l)], axis=-1)
    exponent = -scale(xp, read[..., None, :])[1][..., None]
    with quiet():  # other layers' activities may leave the range
        return replace(trace, h=[times_power_of_two(xp, h, exponent) for h in trace.h]), exponent


def weight_reciprocal(network: Network, trace: Trace, l: int, W_pinv: list[Array | None] | None = None) -> Array:
    """Return 𝓑_l = N(h_{l−1})ᵀ(N(h_{l−1})N(h_{l−1})ᵀ)⁺ D_l⁺ B_l, the reciprocal of J_{W_l}, dense.

    (h_{l−1}/‖h_{l−1}‖²) ⊗ (D_l⁺ B_l) of a dense layer; 0 for a silent input, as the pseudoinverse is.

    Parameters
    ----------
    network : Network
    trace : Trace
    l : int
    W_pinv : list of array, optional
        See `activation_reciprocals`.

    Returns
    -------
    array, shape (..., batch, entries of W_l, n_L)
        The sum over the layers that use W_l, as updates are.

    Notes
    -----
    Departs from v1/v2 §4.2 as printed, (1/‖a‖²) a_{l−1}ᵀ ⊗ B_l: h for a, no transpose, and the own layer's D_l⁺.
    It is the exact pseudoinverse of a dense layer's J_{W_l} whenever D_l⁺B_l is that of J_{a_l}. Of another map
    J_{W_l}𝓑_l = J_{a_l}D_l⁺B_l where NNᵀ is regular, since J_{W_l} = J_{a_l}N, so that Penrose conditions 1 to 3 carry
    over; condition 4 does where NNᵀ commutes with D_l⁺B_lJ_{a_l}.
    """
    check_layer(network, l, "W")
    users = users_of(network, l)
    D_pinv_B = _by_layer(network, trace, W_pinv, users[0])[1]
    xp = array_namespace(trace.h[-1])
    trace, exponent = unit_inputs(network, trace, l)
    rows: list[Array] = [None] * (network.L + 1)
    for u in users:
        # One Gram matrix a sample, for all n_L columns.
        gram = network.layers[u].map.gram(network.input(u, trace.h)[..., None, :], False)
        rows[u] = gram.solve(xp.matrix_transpose(D_pinv_B[u]))
    found = xp.matrix_transpose(parameter_rows(network, trace, l, rows))
    return times_power_of_two(xp, found, exponent[..., None])


@dataclass(frozen=True)
class LayerReciprocal:
    """What one layer's reciprocals satisfy; norms over a sample's matrix, the worst over the batch.

    Attributes
    ----------
    layer : int
    conditions : set of int
        Penrose conditions that B_l satisfies for J_{h_l}.
    weight_conditions : set of int
        Penrose conditions that 𝓑_l satisfies for J_{W_l}.
    right_error, left_error : float
        ‖J_{h_l}B_l − I‖_F/√n_L and ‖B_l J_{h_l} − I‖_F/√n_l, dimensionless.
    distance : float
        ‖B_l − J_{h_l}⁺‖_F/‖J_{h_l}⁺‖_F, dimensionless.
    condition_J, condition_B : float
        σ₁/σ_min of J_{h_l} and B_l.
    angle_to_gradient, angle_to_gauss_newton : float
        Degrees between the batch's mean update of W_l by 𝓑_l and by the gradient, or by the block-diagonal
        Gauss–Newton step; NaN, and no `weight_conditions`, for a layer without weights.
    """

    layer: int
    conditions: set[int]
    weight_conditions: set[int]
    right_error: float
    left_error: float
    distance: float
    condition_J: float
    condition_B: float
    angle_to_gradient: float
    angle_to_gauss_newton: float


def reciprocal_properties(network: Network, x: Array, e: Array | None = None) -> list[LayerReciprocal]:
    """Report for every layer which inverse its reciprocals are, and where they point.

    Parameters
    ----------
    network : Network
        A single network of small widths: the Jacobians are formed.
    x : array, shape (batch, n_0)
    e : array, shape (batch, n_L), optional
        Error whose update is compared with the gradient's. Default: h_L, the error of the target 0.

    Returns
    -------
    list of LayerReciprocal
        For l = 1 … L.

    Raises
    ------
    ValueError
        If the network is a population.

    Examples
    --------
    >>> from rfnumeric.backend import Streams, get_backend
    >>> from rfnumeric.nn import init_network
    >>> streams = Streams(0, get_backend("numpy", dtype="float64"))
    >>> network = init_network([6, 5, 4, 3], streams, negative_slope=0.5)
    >>> [sorted(p.conditions) for p in reciprocal_properties(network, streams.normal((1, 6)))]
    [[1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4]]
    """
    check_single(network)
    trace = network.forward(x)
    e = trace.h[network.L] if e is None else e
    W_pinv = layer_pinvs(network)
    J, B = activation_jacobians(network, trace), activation_reciprocals(network, trace, W_pinv)
    newton = gauss_newton_step(network, trace, e, block_diagonal=True)

    def layer(l: int) -> LayerReciprocal:
        step = newton[network.owner[l]]
        weights = (set(), math.nan, math.nan) if step is None else _of_weights(network, trace, e, l, W_pinv, step)
        return LayerReciprocal(l, satisfied_conditions(J[l], B[l]), weights[0], *_activity(J[l], B[l]), *weights[1:])

    return [layer(l) for l in range(1, network.L + 1)]


def _activity(J: Array, B: Array) -> tuple[float, float, float, float, float]:
    """Return the errors, the distance and the condition numbers of `LayerReciprocal`."""
    xp = array_namespace(J)
    J_pinv = pinv(J, method="svd")
    return (
        _identity_error(xp.matmul(J, B)),
        _identity_error(xp.matmul(B, J)),
        _worst(_norm(B - J_pinv) / _norm(J_pinv)),
        _worst(condition_number(J)),
        _worst(condition_number(B)),
    )


def _of_weights(
    network: Network, trace: Trace, e: Array, l: int, W_pinv: list[Array | None], newton: Array
) -> tuple[set[int], float, float]:
    """Return the conditions of 𝓑_l and the angles of its update."""
    xp = array_namespace(e)
    weight = weight_reciprocal(network, trace, l, W_pinv)
    # Σ over the batch of 𝓑_l e, and of the gradient.
    update = xp.sum(xp.matmul(weight, e[..., None])[..., 0], axis=-2, dtype=e.dtype)
    delta = sweep_down(network, derivatives(network, trace), e, users_of(network, l)[0])[1]
    rows = [None if d is None else d[..., None, :] for d in delta]
    gradient = xp.sum(parameter_rows(network, trace, l, rows)[..., 0, :], axis=-2, dtype=e.dtype)
    conditions = satisfied_conditions(jacobian(network, trace, l, "W"), weight)
    return conditions, angle(update, gradient), angle(update, vec(newton, newton.ndim))


def angle(u: Array, v: Array) -> float:
    """Return the angle between two arrays taken as vectors, in degrees.

    By 2 atan2(‖û − v̂‖, ‖û + v̂‖), which keeps its digits near 0 and 180 where the arc cosine loses half of them.

    Examples
    --------
    >>> import numpy as np
    >>> round(angle(np.asarray([1.0, 0.0]), np.asarray([1.0, 1.0])), 10)
    45.0
    """
    xp = array_namespace(u, v)
    u, v = (w / xp.sqrt(xp.sum(w * w)) for w in (u, v))
    difference, total = (xp.sqrt(xp.sum(w * w)) for w in (u - v, u + v))
    return to_float(xp.atan2(difference, total)) * 360 / 3.141592653589793


def _identity_error(P: Array) -> float:
    xp = array_namespace(P)
    n = P.shape[-1]
    return _worst(_norm(P - xp.eye(n, dtype=P.dtype, device=device_of(P)))) / n**0.5


def _norm(A: Array) -> Array:
    xp = array_namespace(A)
    return xp.sqrt(xp.sum(A * A, axis=(-2, -1), dtype=A.dtype))


def _worst(values: Array) -> float:
    return float(to_numpy(values).max())
