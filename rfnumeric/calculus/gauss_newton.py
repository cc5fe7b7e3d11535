"""The damped Gauss–Newton step of the whole network and its block-diagonal form (v1 A.4, v2 A.5), as a reference.

Both solve in the space of the batch's outputs, where the Gram matrix of a dense layer's Jacobian needs no Jacobian of
the weights: J_{W_l}J_{W_l}ᵀ between samples s and t is (h_{l−1}(s)·h_{l−1}(t)) · J_{a_l}(s)J_{a_l}(t)ᵀ. Where layers
share W_l, J_{W_l} is the sum of theirs. The Jacobian of another map's weights is formed.
"""

from __future__ import annotations

import math

from rfnumeric import kernels
from rfnumeric.backend import array_namespace, device_of, transpose
from rfnumeric.calculus.jacobians import check_single, output_jacobians
from rfnumeric.calculus.parameters import parameter_rows
from rfnumeric.calculus.sweeps import as_rows
from rfnumeric.linalg import pinv
from rfnumeric.nn import Dense, Network, Trace
from rfnumeric.typing import Array


def gauss_newton_step(
    network: Network, trace: Trace, e: Array, *, damping: float = 0.0, block_diagonal: bool = False
) -> list[Array | None]:
    """Return [None, S_1, …, S_L] with W_l ← W_l − λS_l: S = Jᵀ(JJᵀ + λ_d I)⁻¹e, J the Jacobian of the batch.

    Parameters
    ----------
    network : Network
        A single network; biases, if any, are held.
    trace : Trace
    e : array, shape (batch, n_L)
        Error h_L − h_L* of each sample.
    damping : float
        λ_d ≥ 0, in units of ‖J‖². At 0 the step is J⁺e, the least-squares step of least norm.
    block_diagonal : bool
        Whether each layer solves with its own J_{W_l}, as if it alone moved; else one solve for all layers together.

    Returns
    -------
    list of array, of the shapes of `Network.W`
        By the layer that owns the weights, and None elsewhere.

    Raises
    ------
    ValueError
        If the damping is negative or the network is a population.

    Notes
    -----
    Costs O((batch·n_L)³) a solve. Equation (3) of v1 A.4 (v2 A.5), J⁺e, which equation (2), (JᵀJ)⁻¹Jᵀe, equals
    only where J has full *column* rank (printed: row).

    Examples
    --------
    One linear layer is solved in one step.

    >>> import numpy as np
    >>> from rfnumeric.nn import Identity, Network
    >>> network = Network([None, np.eye(2)], [None, None], Identity(), Identity())
    >>> trace = network.forward(np.asarray([[3.0, 4.0]]))
    >>> S = gauss_newton_step(network, trace, trace.h[1])[1]
    >>> network.W[1] = network.W[1] - S
    >>> bool(np.abs(network.predict(trace.h[0])).max() < 1e-14)
    True
    """
    if not 0 <= damping < math.inf:
        raise ValueError(f"damping must be a finite number ≥ 0; got {damping!r}.")
    check_single(network)
    J = output_jacobians(network, trace)
    grams = {k: parameter_gram(network, trace, J, k, bias=False) for k in network.trained}
    first, *others = grams.values()
    dual = None if block_diagonal else _solve(sum(others, start=first), e, damping)
    steps: list[Array | None] = [None] * (network.L + 1)
    for k in network.trained:
        z = _solve(grams[k], e, damping) if dual is None else dual
        for u in network.users[k]:
            own = network.layers[u].map.grad(network.input(u, trace.h), pulled(J[u], z))
            steps[k] = own if steps[k] is None else steps[k] + own
    return steps


def pulled(J: Array, z: Array) -> Array:
    """Return Jᵀz of each sample, shape (..., batch, n_l), for J (..., batch, n_L, n_l) and z (..., batch, n_L)."""
    return array_namespace(J).matmul(z[..., None, :], J)[..., 0, :]


def parameter_gram(network: Network, trace: Trace, J: list[Array], k: int, *, bias: bool) -> Array:
    """Return J_kJ_kᵀ for the Jacobian of the batch's outputs with respect to W_k, or to W_k and b_k.

    Parameters
    ----------
    network : Network
    trace : Trace
    J : list of array, shape (..., batch, n_L, n_l)
        J_{a_l} of each sample, by layer.
    k : int
        The layer that owns the weights.
    bias : bool
        Whether b_k belongs to the parameters.

    Returns
    -------
    array, shape (..., batch·n_L, batch·n_L)
    """
    if not isinstance(network.layers[k].map, Dense):
        rows = [as_rows(parameter_rows(network, trace, k, J, wrt)) for wrt in (("W", "b") if bias else ("W",))]
        whole = rows[0] if len(rows) == 1 else array_namespace(rows[0]).concat(rows, axis=-1)
        return kernels.matmul(whole, transpose(whole))
    total = None
    users = network.users[k]
    h = {u: network.input(u, trace.h) for u in users}
    for i, u in enumerate(users):
        for v in users[i:]:
            G = batch_gram(J[u], h[u], J[v], h[v], bias)
            G = G if u == v else G + transpose(G)
            total = G if total is None else total + G
    return total


def batch_gram(J: Array, h: Array, J_other: Array, h_other: Array, bias: bool) -> Array:
    """Return J_lJ_mᵀ of two dense layers: between samples s and t (h(s)·h(t)) J_{a_l}(s)J_{a_m}(t)ᵀ.

    Parameters
    ----------
    J, J_other : array, shape (..., batch, n_L, n_l)
        J_{a_l} of each sample; twice the same for J_lJ_lᵀ.
    h, h_other : array, shape (..., batch, n_{l−1})
        The layers' inputs.
    bias : bool
        Whether the parameter is [W b], whose input is [h 1].

    Returns
    -------
    array, shape (..., batch·n_L, batch·n_L)
    """
    xp = array_namespace(J)
    *lead, batch, n_L, _ = J.shape
    outputs = kernels.matmul(as_rows(J), transpose(as_rows(J_other)))
    outputs = xp.reshape(outputs, (*lead, batch, n_L, batch, n_L))
    inputs = kernels.matmul(h, transpose(h_other)) + (1 if bias else 0)
    return xp.reshape(outputs * inputs[..., :, None, :, None], (*lead, batch * n_L, batch * n_L))


def _solve(gram: Array, e: Array, damping: float) -> Array:
    xp = array_namespace(gram)
    v = xp.reshape(e, (-1, 1))
    if damping > 0:
        eye = xp.eye(gram.shape[-1], dtype=gram.dtype, device=device_of(gram))
        z = xp.linalg.solve(gram + damping * eye, v)
    else:
        # (JJᵀ)⁺ e, and Jᵀ of it is J⁺e.
        z = xp.matmul(pinv(gram, method="svd"), v)
    return xp.reshape(z, e.shape)
