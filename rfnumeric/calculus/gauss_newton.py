"""The damped Gauss–Newton step of the whole network and its block-diagonal form (v1 A.4, v2 A.5), as a reference.

Both solve in the space of the batch's outputs, where the Gram matrix of the Jacobian needs no Jacobian of the weights:
J_{W_l}J_{W_l}ᵀ between samples s and t is (h_{l−1}(s)·h_{l−1}(t)) · J_{a_l}(s)J_{a_l}(t)ᵀ.
"""

from __future__ import annotations

import math

from rfnumeric import kernels
from rfnumeric.backend import array_namespace, device_of, transpose
from rfnumeric.calculus.jacobians import check_single
from rfnumeric.linalg import pinv
from rfnumeric.nn.network import Network
from rfnumeric.nn.trace import Trace
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
    list of array, shape (n_l, n_{l−1})

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
    xp = array_namespace(e)
    J_a = dict(output_jacobians(network, trace))
    grams = [None, *(batch_gram(J_a[l], trace.h[l - 1], has_bias=False) for l in range(1, network.L + 1))]
    steps: list[Array | None] = [None]
    dual = None if block_diagonal else _solve(sum(grams[2:], start=grams[1]), e, damping)
    for l in range(1, network.L + 1):
        z = _solve(grams[l], e, damping) if dual is None else dual
        # Σ_s J_a(s)ᵀ z(s) h(s)ᵀ
        delta = xp.matmul(xp.matrix_transpose(J_a[l]), z[..., None])[..., 0]
        steps.append(xp.matmul(xp.matrix_transpose(delta), trace.h[l - 1]))
    return steps


def output_jacobians(network: Network, trace: Trace) -> list[tuple[int, Array]]:
    """Return (l, J_{a_l} = ∂h_L/∂a_l of each sample, shape (..., batch, n_L, n_l)) for l = L … 1.

    J_{a_L} = D_L and J_{a_l} = J_{a_{l+1}} W_{l+1} D_l (v1/v2 §4.1).
    """
    d = trace.d_sigma[network.L]
    xp = array_namespace(d)
    J = d[..., :, None] * xp.eye(d.shape[-1], dtype=d.dtype, device=device_of(d))
    found = [(network.L, J)]
    for l in range(network.L - 1, 0, -1):
        d = trace.d_sigma[l]
        rows = xp.reshape(J, (*J.shape[:-3], -1, J.shape[-1]))
        J = xp.reshape(kernels.matmul(rows, network.W[l + 1]), (*J.shape[:-1], d.shape[-1])) * d[..., None, :]
        found.append((l, J))
    return found


def batch_gram(J: Array, h: Array, has_bias: bool) -> Array:
    """Return J_lJ_lᵀ, shape (..., batch·n_L, batch·n_L): between samples s and t (h(s)·h(t)) J_{a_l}(s)J_{a_l}(t)ᵀ.

    Parameters
    ----------
    J : array, shape (..., batch, n_L, n_l)
        J_{a_l} of each sample.
    h : array, shape (..., batch, n_{l−1})
        The layer's input.
    has_bias : bool
        Whether the parameter is [W b], whose input is [h 1].
    """
    xp = array_namespace(J)
    *lead, batch, n_L, _ = J.shape
    rows = xp.reshape(J, (*lead, batch * n_L, J.shape[-1]))
    outputs = xp.reshape(kernels.matmul(rows, transpose(rows)), (*lead, batch, n_L, batch, n_L))
    inputs = kernels.matmul(h, transpose(h)) + (1 if has_bias else 0)
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
