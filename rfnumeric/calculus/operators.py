"""Jacobians and reciprocals of a layer as operators: a product costs one sweep through the network."""

from __future__ import annotations

from collections.abc import Callable

from rfnumeric.backend import array_namespace
from rfnumeric.calculus.jacobians import check_layer, check_single
from rfnumeric.calculus.parameters import count, unvec, users_of, vec
from rfnumeric.calculus.reciprocals import layer_pinvs, reciprocals, unit_inputs
from rfnumeric.calculus.sweeps import Route, derivatives, sweep_down, sweep_up
from rfnumeric.linalg._common import times_power_of_two
from rfnumeric.linalg.matrix_free import MatrixFree
from rfnumeric.nn import Network, Trace
from rfnumeric.typing import Array


class _LayerOperator(MatrixFree):
    """Both ways between one layer's quantity, vec W_l, b_l, or all h_l or a_l of the batch, and all outputs h_L."""

    def __init__(self, network: Network, trace: Trace, l: int, wrt: str, route: Route) -> None:
        check_single(network)
        check_layer(network, l, wrt)
        self.network, self.trace, self.l, self.wrt, self.route = network, trace, l, wrt, route
        self.dtype = trace.h[-1].dtype
        self._batch = trace.h[-1].shape[-2]
        own = count(network.layers[l].map, wrt) if wrt in ("W", "b") else self._batch * network.sizes[l]
        self._sizes = (own, self._batch * network.sizes[-1])

    @property
    def _like(self) -> Array:
        return self.trace.h[-1]

    def _solved(self, l: int, s: Array) -> Array:
        """Multiply what belongs to a_l on the way to or from the weights."""
        return s

    def _each(self, go: Callable[[Array], Array], x: Array) -> Array:
        """Go with each vector of a stack."""
        if x.ndim == 1:
            return go(x)
        return array_namespace(x).stack([self._each(go, x[i, ...]) for i in range(x.shape[0])])

    def _up(self, x: Array) -> Array:
        """Go from the layer's quantity, one vector, to the outputs."""
        network, trace, l = self.network, self.trace, self.l
        xp = array_namespace(x)
        h, a = {}, {}
        if self.wrt == "h":
            h[l] = xp.reshape(x, (self._batch, -1))
        elif self.wrt == "a":
            a[l] = xp.reshape(x, (self._batch, -1))
        for u in users_of(network, l) if self.wrt in ("W", "b") else ():
            layer = network.layers[u].map
            if self.wrt == "W":
                move = layer.push(unvec(x, layer.weight_shape), network.input(u, trace.h))  # type: ignore[arg-type]
            else:
                spread = layer.spread_bias(unvec(x, layer.bias_shape))  # type: ignore[arg-type]
                move = spread[None, :] + xp.zeros_like(trace.a[u])
            a[u] = self._solved(u, move)
        return xp.reshape(sweep_up(network, self.route, trace, h, a), (-1,))

    def _down(self, y: Array) -> Array:
        """Go from the outputs, one vector, to the layer's quantity: the transpose of `_up`."""
        network, l = self.network, self.l
        xp = array_namespace(y)
        users = users_of(network, l) if self.wrt in ("W", "b") else (l,)
        arrived, passed = sweep_down(network, self.route, xp.reshape(y, (self._batch, -1)), users[0])
        if self.wrt in ("h", "a"):
            return xp.reshape((arrived if self.wrt == "h" else passed)[l], (-1,))
        total: Array = None
        for u in users:
            layer, s = network.layers[u].map, self._solved(u, passed[u])
            own = layer.grad(network.input(u, self.trace.h), s) if self.wrt == "W" else layer.bias_grad(s)
            total = own if total is None else total + own
        return vec(total, total.ndim)


class JacobianOperator(_LayerOperator):
    """The Jacobian of the whole batch's h_L, matrix-free: a product costs one sweep of the network's size.

    The rows are (sample, output); the columns are vec W_l, b_l, or (sample, unit) for the block-diagonal Jacobians with
    respect to h_l and a_l.

    Parameters
    ----------
    network : Network
        A single network, no population.
    trace : Trace
    l : int
    wrt : {"W", "h", "a", "b"}

    Raises
    ------
    ValueError
        If the network is a population, `wrt` or the layer is unknown, or the layer has no such parameter.

    Examples
    --------
    >>> import numpy as np
    >>> from rfnumeric.nn import Identity, Network
    >>> network = Network([None, np.eye(2)], [None, None], Identity(), Identity())
    >>> J = JacobianOperator(network, network.forward(np.asarray([[3.0, 5.0]])), 1)
    >>> print(J.shape, J.matvec(np.asarray([1.0, 0.0, 0.0, 1.0])))
    (2, 4) [3. 5.]
    """

    def __init__(self, network: Network, trace: Trace, l: int, wrt: str = "W") -> None:
        super().__init__(network, trace, l, wrt, derivatives(network, trace))
        self.shape = (self._sizes[1], self._sizes[0])

    def _vector(self, x: Array, adjoint: bool) -> Array:
        return self._each(self._down if adjoint else self._up, x)


class ReciprocalOperator(_LayerOperator):
    """B_l or 𝓑_l of one sample, matrix-free; a product costs one sweep through the M(W)⁺.

    Parameters
    ----------
    network : Network
        A single network, no population.
    trace : Trace
        Of a batch of one sample.
    l : int
    wrt : {"W", "h"}
        ``"W"``: 𝓑_l, shape (entries of W_l, n_L); ``"h"``: B_l, shape (n_l, n_L).
    W_pinv : list of array, optional
        See `rfnumeric.calculus.activation_reciprocals`.

    Raises
    ------
    ValueError
        If the batch has not one sample: a batch's mean of reciprocals is no reciprocal of its Jacobian.
    """

    def __init__(
        self, network: Network, trace: Trace, l: int, wrt: str = "W", W_pinv: list[Array | None] | None = None
    ) -> None:
        if wrt not in ("W", "h"):
            raise ValueError(f"wrt must be 'W' or 'h'; got {wrt!r}.")
        if trace.h[0].shape[-2] != 1:
            raise ValueError(f"trace must be of one sample; got {trace.h[0].shape[-2]}. Take the samples one by one.")
        check_single(network)
        W_pinv = layer_pinvs(network) if W_pinv is None else W_pinv
        route = reciprocals(network, trace, W_pinv)
        super().__init__(network, trace, l, wrt, route)
        self.shape = self._sizes
        if wrt == "W":
            # What is in units of a weight carries the power of two that the inputs were scaled by.
            self.trace, exponent = unit_inputs(network, trace, l)
            self._exponent = exponent[0, 0]

    def _solved(self, l: int, s: Array) -> Array:
        layer = self.network.layers[l].map
        return layer.gram(self.network.input(l, self.trace.h), False).solve(s)

    def _vector(self, x: Array, adjoint: bool) -> Array:
        found = self._each(self._up if adjoint else self._down, x)
        return times_power_of_two(array_namespace(x), found, self._exponent) if self.wrt == "W" else found
