"""The reciprocals B_l and 𝓑_l of a network's Jacobians (v1/v2 §4.2), and what each of them satisfies.

B_L = I and B_l = W_{l+1}⁺ D_{l+1}⁺ B_{l+1}; for the weights 𝓑_l = (h_{l−1}/‖h_{l−1}‖²) ⊗ (D_l⁺ B_l). They stand beside
the Jacobians in `nn`, which may use `linalg` for W⁺.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rfnumeric import kernels
from rfnumeric.backend import array_namespace, device_of, to_float, to_numpy
from rfnumeric.calculus.gauss_newton import gauss_newton_step
from rfnumeric.calculus.jacobians import (
    MatrixFree,
    activation_jacobians,
    check_layer,
    check_single,
    jacobian,
    pull_back,
)
from rfnumeric.linalg import condition_number, pinv, satisfied_conditions
from rfnumeric.nn.activations import reciprocal_diagonal
from rfnumeric.nn.network import Network
from rfnumeric.nn.trace import Trace
from rfnumeric.typing import Array


def layer_pinvs(network: Network) -> list[Array | None]:
    """Return [None, None, W_2⁺, …, W_L⁺]; the chain of reciprocals starts at W_2⁺."""
    return [None, None, *(pinv(W) for W in network.W[2:])]


def activation_reciprocals(network: Network, trace: Trace, W_pinv: list[Array | None] | None = None) -> list[Array]:
    """Return [None, B_1, …, B_L], the reciprocals of J_{h_l}, dense.

    Parameters
    ----------
    network : Network
    trace : Trace
    W_pinv : list of array, shape (..., n_{l−1}, n_l), optional
        Stand-ins for W_l⁺, l = 2 … L. Default: the exact pseudoinverses.

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
    W_pinv = layer_pinvs(network) if W_pinv is None else W_pinv
    h = trace.h[network.L]
    xp = array_namespace(h)
    B: list[Array] = [None] * (network.L + 1)
    B[network.L] = xp.eye(h.shape[-1], dtype=h.dtype, device=device_of(h)) + xp.zeros_like(h)[..., :, None]
    for l in range(network.L - 1, 0, -1):
        D_pinv_B = reciprocal_diagonal(trace.d_sigma[l + 1])[..., :, None] * B[l + 1]
        B[l] = xp.matmul(W_pinv[l + 1][..., None, :, :], D_pinv_B)  # type: ignore[index]
    return B


def weight_reciprocal(network: Network, trace: Trace, l: int, W_pinv: list[Array | None] | None = None) -> Array:
    """Return 𝓑_l = (h_{l−1}/‖h_{l−1}‖²) ⊗ (D_l⁺ B_l), the reciprocal of J_{W_l}, dense.

    Parameters
    ----------
    network : Network
    trace : Trace
    l : int
    W_pinv : list of array, optional
        See `activation_reciprocals`.

    Returns
    -------
    array, shape (..., batch, n_l·n_{l−1}, n_L)

    Notes
    -----
    Departs from v1/v2 §4.2 as printed, (1/‖a‖²) a_{l−1}ᵀ ⊗ B_l: h for a, no transpose, and the own layer's D_l⁺.
    It is the exact pseudoinverse of J_{W_l} whenever D_l⁺B_l is that of J_{h_l}D_l.
    """
    check_layer(network, l, "W")
    B = activation_reciprocals(network, trace, W_pinv)[l]
    D_pinv_B = reciprocal_diagonal(trace.d_sigma[l])[..., :, None] * B
    h = trace.h[l - 1]
    xp = array_namespace(h)
    u = h / xp.sum(h * h, axis=-1, keepdims=True, dtype=h.dtype)
    blocks = u[..., :, None, None] * D_pinv_B[..., None, :, :]
    return xp.reshape(blocks, (*h.shape[:-1], -1, B.shape[-1]))


class ReciprocalOperator(MatrixFree):
    """B_l or 𝓑_l of one sample, matrix-free; a product costs one sweep through the W⁺.

    Parameters
    ----------
    network : Network
        A single network, no population.
    trace : Trace
        Of a batch of one sample.
    l : int
    wrt : {"W", "h"}
        ``"W"``: 𝓑_l, shape (n_l·n_{l−1}, n_L); ``"h"``: B_l, shape (n_l, n_L).
    W_pinv : list of array, optional
        See `activation_reciprocals`.

    Raises
    ------
    ValueError
        If the batch has not one sample: a batch's mean of reciprocals is no reciprocal of its Jacobian.
    """

    def __init__(
        self, network: Network, trace: Trace, l: int, wrt: str = "W", W_pinv: list[Array | None] | None = None
    ) -> None:
        check_single(network)
        check_layer(network, l, wrt)
        if wrt not in ("W", "h"):
            raise ValueError(f"wrt must be 'W' or 'h'; got {wrt!r}.")
        if trace.h[0].shape[-2] != 1:
            raise ValueError(f"trace must be of one sample; got {trace.h[0].shape[-2]}. Take the samples one by one.")
        self.network, self.trace, self.l, self.wrt = network, trace, l, wrt
        self.W_pinv = layer_pinvs(network) if W_pinv is None else W_pinv
        n = network.sizes
        self.shape = (n[l] * n[l - 1] if wrt == "W" else n[l], n[-1])
        self.dtype = trace.h[network.L].dtype

    def _like(self) -> tuple[Any, Array]:
        h = self.trace.h[self.network.L]
        return array_namespace(h), h

    def matvec(self, x: Array) -> Array:
        """Return B_l x, or vec of D_l⁺ B_l x h_{l−1}ᵀ/‖h_{l−1}‖²; see `MatrixFree.matvec`."""
        xp = array_namespace(x)
        v = xp.reshape(self._vector(x, self.shape[1], "x"), (1, -1))
        for k in range(self.network.L, self.l, -1):
            v = kernels.matmul(v * reciprocal_diagonal(self.trace.d_sigma[k]), xp.matrix_transpose(self.W_pinv[k]))
        if self.wrt == "W":
            h = self.trace.h[self.l - 1]
            v = xp.matrix_transpose(h) * (v * reciprocal_diagonal(self.trace.d_sigma[self.l])) / xp.sum(h * h)
        return xp.reshape(v, (-1,))

    def rmatvec(self, y: Array) -> Array:
        """Return the transpose's product; see `MatrixFree.rmatvec`."""
        xp = array_namespace(y)
        v = self._vector(y, self.shape[0], "y")
        if self.wrt == "W":
            h = self.trace.h[self.l - 1]
            v = kernels.matmul(h, xp.reshape(v, (h.shape[-1], -1))) / xp.sum(h * h)
            v = v * reciprocal_diagonal(self.trace.d_sigma[self.l])
        v = xp.reshape(v, (1, -1))
        for k in range(self.l + 1, self.network.L + 1):
            v = kernels.matmul(v, self.W_pinv[k]) * reciprocal_diagonal(self.trace.d_sigma[k])
        return xp.reshape(v, (-1,))


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
        Gauss–Newton step.
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
    return [_layer(network, trace, e, l, J[l], B[l], W_pinv, newton[l]) for l in range(1, network.L + 1)]


def _layer(
    network: Network, trace: Trace, e: Array, l: int, J: Array, B: Array, W_pinv: list[Array | None], newton: Array
) -> LayerReciprocal:
    xp = array_namespace(J)
    transpose = xp.matrix_transpose
    J_pinv = pinv(J, method="svd")
    weight = weight_reciprocal(network, trace, l, W_pinv)
    # Σ over the batch of 𝓑_l e, and of the gradient: both as (n_{l−1}, n_l), the transposes of the updates.
    update = xp.reshape(xp.sum(xp.matmul(weight, e[..., None]), axis=-3, dtype=e.dtype), (-1, J.shape[-1]))
    delta = trace.d_sigma[l] * pull_back(network, trace, l, e)
    gradient = xp.matmul(transpose(trace.h[l - 1]), delta)
    return LayerReciprocal(
        layer=l,
        conditions=satisfied_conditions(J, B),
        weight_conditions=satisfied_conditions(jacobian(network, trace, l, "W"), weight),
        right_error=_identity_error(xp.matmul(J, B)),
        left_error=_identity_error(xp.matmul(B, J)),
        distance=_worst(_norm(B - J_pinv) / _norm(J_pinv)),
        condition_J=_worst(condition_number(J)),
        condition_B=_worst(condition_number(B)),
        angle_to_gradient=angle(update, gradient),
        angle_to_gauss_newton=angle(update, transpose(newton)),
    )


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
