"""The Jacobians of a network's output (v1/v2 §4.1): dense, by recursion, matrix-free and by finite differences.

Every Jacobian is that of h_L, one sample at a time: ∂h_L/∂h_l, ∂h_L/∂a_l, ∂h_L/∂(vec W_l)ᵀ and ∂h_L/∂b_l. Since
e = h_L − h_L*, they are those of the error vector too. vec stacks columns: entry (i, j) of a dense W_l is entry
j·n_l + i, and the first index of any W runs fastest. They are total derivatives: along all paths, where layers have
several readers, and through all the layers that use W_l, where these share it.
"""

from __future__ import annotations

import math

from rfnumeric.backend import array_namespace, device_of, eps
from rfnumeric.calculus.parameters import count, parameter_rows, unvec, users_of
from rfnumeric.calculus.sweeps import by_sample, derivatives, output_units, sweep_down, sweep_up
from rfnumeric.nn import Network, Trace
from rfnumeric.typing import Array

WRT = ("h", "a", "W", "b")


def activation_jacobians(network: Network, trace: Trace) -> list[Array]:
    """Return [J_{h_0}, …, J_{h_L}] by the recursion J_{h_L} = I, J_{h_l} = J_{h_{l+1}} D_{l+1} W_{l+1} (v1/v2 §4.1).

    Parameters
    ----------
    network : Network
    trace : Trace
        Of one forward pass.

    Returns
    -------
    list of array, shape (..., batch, n_L, n_l)

    Examples
    --------
    >>> import numpy as np
    >>> from rfnumeric.nn import Identity, Network
    >>> W = np.asarray([[2.0, 0.0], [1.0, 3.0]])
    >>> network = Network([None, W], [None, None], Identity(), Identity())
    >>> J = activation_jacobians(network, network.forward(np.ones((1, 2))))
    >>> bool((J[0][0] == W).all())
    True
    """
    return _by_layer(network, trace, 0)[0]


def output_jacobians(network: Network, trace: Trace, lowest: int = 1) -> list[Array]:
    """Return [None, J_{a_1}, …, J_{a_L}], J_{a_l} = ∂h_L/∂a_l = J_{h_l} D_l, shape (..., batch, n_L, n_l) each.

    Layers below `lowest` have None.
    """
    return _by_layer(network, trace, lowest)[1]


def _by_layer(network: Network, trace: Trace, lowest: int) -> tuple[list[Array], list[Array]]:
    """Return J_{h_l} and J_{a_l} by layer, all rows of all samples in one sweep."""
    batch = trace.h[-1].shape[-2]
    both = sweep_down(network, derivatives(network, trace), output_units(trace), lowest)
    J_h, J_a = ([None if v is None else by_sample(v, batch) for v in values] for values in both)
    return J_h, [None, *J_a[1:]]


def jacobian(network: Network, trace: Trace, l: int, wrt: str = "W") -> Array:
    """Return the dense Jacobian of h_L with respect to one layer's quantity, for each sample.

    Parameters
    ----------
    network : Network
    trace : Trace
    l : int
        Layer, 1 … L (0 … L for ``"h"``).
    wrt : {"W", "h", "a", "b"}
        ``"h"``: J_{h_l}; ``"a"``: J_{h_l} D_l, as for ``"b"`` of a dense layer; ``"W"``: J_{a_l} N(h_{l−1}), which is
        h_{l−1}ᵀ ⊗ (J_{h_l} D_l) of a dense layer. Parameters that several layers use have the sum over these.

    Returns
    -------
    array, shape (..., batch, n_L, n_l), or (..., batch, n_L, entries of W_l or b_l)

    Raises
    ------
    ValueError
        If `wrt` is unknown, there is no such layer, or it has no such parameter.

    Notes
    -----
    Departs from v1/v2 §4.1, which prints a_{l−1} ⊗ J_{h_l}: the transpose and the own layer's D_l are missing there,
    and h_{l−1} is what multiplies W_l.

    Examples
    --------
    >>> import numpy as np
    >>> from rfnumeric.nn import Identity, Network
    >>> network = Network([None, np.eye(2)], [None, None], Identity(), Identity())
    >>> trace = network.forward(np.asarray([[3.0, 5.0]]))
    >>> print(jacobian(network, trace, 1, "W")[0])
    [[3. 0. 5. 0.]
     [0. 3. 0. 5.]]
    """
    check_layer(network, l, wrt)
    if wrt in ("h", "a"):
        return _by_layer(network, trace, l)[wrt == "a"][l]
    return parameter_rows(network, trace, l, output_jacobians(network, trace, users_of(network, l)[0]), wrt)


def push_forward(network: Network, trace: Trace, l: int, delta_h: Array) -> Array:
    """Return J_{h_l} δh_l without forming J_{h_l}.

    Parameters
    ----------
    network : Network
    trace : Trace
    l : int
    delta_h : array, shape (..., batch, n_l)

    Returns
    -------
    array, shape (..., batch, n_L)
    """
    return sweep_up(network, derivatives(network, trace), trace, h={l: delta_h})


def pull_back(network: Network, trace: Trace, l: int, v: Array) -> Array:
    """Return J_{h_l}ᵀ v without forming J_{h_l}: backpropagation (v1/v2 §4.1, "but transposed").

    Parameters
    ----------
    network : Network
    trace : Trace
    l : int
    v : array, shape (..., batch, n_L)

    Returns
    -------
    array, shape (..., batch, n_l)
    """
    return sweep_down(network, derivatives(network, trace), v, l)[0][l]


def finite_difference_jacobian(network: Network, x: Array, l: int, wrt: str = "W", step: float | None = None) -> Array:
    """Return the Jacobian by central differences: an oracle that knows only the forward pass.

    Parameters
    ----------
    network : Network
    x : array, shape (batch, n_0)
    l : int
    wrt : {"W", "h", "a", "b"}
    step : float, optional
        Length of the difference, in units of the entry that moves. Default: eps^(1/3), whose error is of order
        eps^(2/3) for a smooth σ.

    Returns
    -------
    array, shape as `jacobian`'s

    Raises
    ------
    ValueError
        If `wrt` is unknown, there is no such layer, or it has no such parameter.
    """
    check_layer(network, l, wrt)
    xp = array_namespace(x)
    size = eps(x) ** (1 / 3) if step is None else step
    at = network.forward(x)
    if wrt in ("h", "a"):
        base = {"h": at.h, "a": at.a}[wrt][l]
        shape: tuple[int, ...] = base.shape[-1:]
    else:
        layer = network.layers[l].map
        shape = layer.weight_shape if wrt == "W" else layer.bias_shape  # type: ignore[assignment]
        base = {"W": network.W, "b": network.b}[wrt][network.owner[l]]
    if base is None:
        base = xp.zeros(shape, dtype=x.dtype, device=device_of(x))
    columns = []
    entries = math.prod(shape)
    for j in range(entries):
        unit = xp.astype(xp.arange(entries, dtype=xp.int64, device=device_of(x)) == j, x.dtype) * size
        plus, minus = (_output(network, at, l, wrt, base + sign * unvec(unit, shape)) for sign in (1, -1))
        columns.append((plus - minus) / (2 * size))
    return xp.stack(columns, axis=-1)


def _output(network: Network, at: Trace, l: int, wrt: str, value: Array) -> Array:
    """Return h_L with one layer's quantity replaced by `value`."""
    if wrt == "h":
        return network.tail(l, [*at.h[:l], value])
    if wrt == "a":
        return network.tail(l, at.h, a=value)
    k = network.owner[l]
    W, b = list(network.W), list(network.b)
    (W if wrt == "W" else b)[k] = value
    return network.with_parameters(W, b).tail(k - 1, at.h)


def check_layer(network: Network, l: int, wrt: str) -> None:
    """Check the two arguments that name a Jacobian.

    Raises
    ------
    ValueError
        If `wrt` is unknown, there is no such layer, or it has no such parameter.
    """
    if wrt not in WRT:
        raise ValueError(f"wrt must be one of {', '.join(WRT)}; got {wrt!r}.")
    first = 0 if wrt == "h" else 1
    if not first <= l <= network.L:
        raise ValueError(f"l must lie in {first} … {network.L} for wrt={wrt!r}; got {l}. Layers count from 1.")
    if wrt in ("W", "b") and not count(network.layers[l].map, wrt):
        raise ValueError(f"layer {l}, {network.layers[l].map}, has no {wrt}; take wrt='h' or 'a'.")


def check_single(network: Network) -> None:
    """Refuse a population: a matrix-free operator has two axes.

    Raises
    ------
    ValueError
        If the network has a population axis.
    """
    if network.population:
        raise ValueError(f"network must be a single one; got a population of {network.population}. Pick a member.")
