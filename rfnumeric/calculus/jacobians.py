"""The Jacobians of a network's output (v1/v2 §4.1): dense, by recursion, matrix-free and by finite differences.

Every Jacobian is that of h_L, one sample at a time: ∂h_L/∂h_l, ∂h_L/∂a_l, ∂h_L/∂(vec W_l)ᵀ and ∂h_L/∂b_l. Since
e = h_L − h_L*, they are those of the error vector too. vec stacks columns: entry (i, j) of W_l is entry j·n_l + i.
"""

from __future__ import annotations

from typing import Any

from rfnumeric import kernels
from rfnumeric.backend import array_namespace, device_of, eps
from rfnumeric.nn.network import Network
from rfnumeric.nn.trace import Trace
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
    h = trace.h[network.L]
    xp = array_namespace(h)
    n = h.shape[-1]
    J: list[Array] = [None] * (network.L + 1)
    J[network.L] = xp.eye(n, dtype=h.dtype, device=device_of(h)) + xp.zeros_like(h)[..., :, None]
    for l in range(network.L - 1, -1, -1):
        J_a = J[l + 1] * trace.d_sigma[l + 1][..., None, :]
        J[l] = xp.matmul(J_a, network.W[l + 1][..., None, :, :])
    return J


def jacobian(network: Network, trace: Trace, l: int, wrt: str = "W") -> Array:
    """Return the dense Jacobian of h_L with respect to one layer's quantity, for each sample.

    Parameters
    ----------
    network : Network
    trace : Trace
    l : int
        Layer, 1 … L (0 … L for ``"h"``).
    wrt : {"W", "h", "a", "b"}
        ``"h"``: J_{h_l}; ``"a"`` and ``"b"``: J_{h_l} D_l; ``"W"``: h_{l−1}ᵀ ⊗ (J_{h_l} D_l).

    Returns
    -------
    array, shape (..., batch, n_L, n_l), or (..., batch, n_L, n_l·n_{l−1}) for ``"W"``

    Raises
    ------
    ValueError
        If `wrt` is unknown or there is no such layer.

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
    J = _activation_jacobian(network, trace, l)
    if wrt == "h":
        return J
    J = J * trace.d_sigma[l][..., None, :]
    if wrt != "W":
        return J
    # h ⊗ J: block column j is h_j J_a, so that column j·n_l + i belongs to W_ij.
    blocks = trace.h[l - 1][..., None, :, None] * J[..., :, None, :]
    return array_namespace(J).reshape(blocks, (*J.shape[:-1], -1))


def _activation_jacobian(network: Network, trace: Trace, l: int) -> Array:
    """Return J_{h_l} alone, multiplied from the output down, which is the cheap side where n_L is small."""
    h = trace.h[network.L]
    xp = array_namespace(h)
    J = xp.eye(h.shape[-1], dtype=h.dtype, device=device_of(h)) + xp.zeros_like(h)[..., :, None]
    for k in range(network.L, l, -1):
        J = xp.matmul(J * trace.d_sigma[k][..., None, :], network.W[k][..., None, :, :])
    return J


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
    transpose = array_namespace(delta_h).matrix_transpose
    for k in range(l + 1, network.L + 1):
        delta_h = trace.d_sigma[k] * kernels.matmul(delta_h, transpose(network.W[k]))
    return delta_h


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
    for k in range(network.L, l, -1):
        v = kernels.matmul(v * trace.d_sigma[k], network.W[k])
    return v


class MatrixFree:
    """A real matrix known by its two products; ``scipy.sparse.linalg.aslinearoperator`` accepts it as it is.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    """

    shape: tuple[int, int]
    dtype: Any

    def matvec(self, x: Array) -> Array:
        """Return the product with a vector, shape (columns,) or (columns, 1)."""
        raise NotImplementedError

    def rmatvec(self, y: Array) -> Array:
        """Return the transpose's product with a vector, shape (rows,) or (rows, 1)."""
        raise NotImplementedError

    def to_dense(self) -> Array:
        """Return the matrix, column by column; for small ones."""
        xp, like = self._like()
        eye = xp.eye(self.shape[1], dtype=like.dtype, device=device_of(like))
        return xp.stack([self.matvec(eye[:, k]) for k in range(self.shape[1])], axis=-1)

    def _like(self) -> tuple[Any, Array]:
        raise NotImplementedError

    @staticmethod
    def _vector(x: Array, length: int, name: str) -> Array:
        if tuple(x.shape) not in ((length,), (length, 1)):
            raise ValueError(f"{name} must have shape ({length},) or ({length}, 1); got {tuple(x.shape)}.")
        return array_namespace(x).reshape(x, (length,))


class JacobianOperator(MatrixFree):
    """The Jacobian of the whole batch's h_L, matrix-free: two sweeps of the network's size a product.

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
        If the network is a population, or `wrt` or the layer is unknown.

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
        check_single(network)
        check_layer(network, l, wrt)
        self.network, self.trace, self.l, self.wrt = network, trace, l, wrt
        batch, n_L = trace.h[network.L].shape
        n = network.sizes
        columns = {"W": n[l] * n[l - 1], "b": n[l]}.get(wrt, batch * n[l])
        self.batch, self.shape, self.dtype = batch, (batch * n_L, columns), trace.h[network.L].dtype

    def _like(self) -> tuple[Any, Array]:
        h = self.trace.h[self.network.L]
        return array_namespace(h), h

    def matvec(self, x: Array) -> Array:
        """Return J x; see `MatrixFree.matvec`."""
        x = self._vector(x, self.shape[1], "x")
        xp, l, trace = array_namespace(x), self.l, self.trace
        n_l = self.network.sizes[l]
        if self.wrt == "W":
            # x = vec X: row j of its reshaping is column j of X.
            delta = kernels.matmul(trace.h[l - 1], xp.reshape(x, (-1, n_l)))
        elif self.wrt == "b":
            delta = x[None, :] + xp.zeros_like(trace.h[l])
        else:
            delta = xp.reshape(x, (self.batch, n_l))
        if self.wrt != "h":
            delta = trace.d_sigma[l] * delta
        return xp.reshape(push_forward(self.network, trace, l, delta), (-1,))

    def rmatvec(self, y: Array) -> Array:
        """Return Jᵀ y; see `MatrixFree.rmatvec`."""
        y = self._vector(y, self.shape[0], "y")
        xp, l, trace = array_namespace(y), self.l, self.trace
        v = pull_back(self.network, trace, l, xp.reshape(y, (self.batch, -1)))
        if self.wrt != "h":
            v = trace.d_sigma[l] * v
        if self.wrt == "W":
            v = kernels.matmul(xp.matrix_transpose(trace.h[l - 1]), v)
        elif self.wrt == "b":
            v = xp.sum(v, axis=0, dtype=v.dtype)
        return xp.reshape(v, (-1,))


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
        If `wrt` or the layer is unknown.
    """
    check_layer(network, l, wrt)
    xp = array_namespace(x)
    size = eps(x) ** (1 / 3) if step is None else step
    at = network.forward(x)
    base = {"h": at.h, "a": at.a, "W": network.W, "b": network.b}[wrt][l]
    if base is None:
        base = xp.zeros((network.sizes[l],), dtype=x.dtype, device=device_of(x))
    columns = []
    unit_shape = base.shape if wrt in ("W", "b") else base.shape[-1:]
    count = 1
    for length in unit_shape:
        count *= length
    for k in range(count):
        flat = xp.astype(xp.arange(count, dtype=xp.int64, device=device_of(x)) == k, x.dtype) * size
        # vec stacks columns, so the unit of a matrix is filled as its transpose.
        unit = xp.matrix_transpose(xp.reshape(flat, unit_shape[::-1])) if wrt == "W" else flat
        plus, minus = (_output(network, at, l, wrt, base + sign * unit) for sign in (1, -1))
        columns.append((plus - minus) / (2 * size))
    return xp.stack(columns, axis=-1)


def _output(network: Network, at: Trace, l: int, wrt: str, value: Array) -> Array:
    """Return h_L with one layer's quantity replaced by `value`."""
    transpose = array_namespace(value).matrix_transpose
    if wrt == "h":
        h = value
    else:
        a = value
        if wrt == "W":
            a = kernels.matmul(at.h[l - 1], transpose(value))
            a = a if network.b[l] is None else a + network.b[l]
        elif wrt == "b":
            a = kernels.matmul(at.h[l - 1], transpose(network.W[l])) + value
        h = network.activation(l).forward(a)
    for k in range(l + 1, network.L + 1):
        h = network.activation(k).layer(h, network.W[k], network.b[k])[1]
    return h


def check_layer(network: Network, l: int, wrt: str) -> None:
    """Check the two arguments that name a Jacobian.

    Raises
    ------
    ValueError
        If `wrt` is unknown or there is no such layer.
    """
    if wrt not in WRT:
        raise ValueError(f"wrt must be one of {', '.join(WRT)}; got {wrt!r}.")
    first = 0 if wrt == "h" else 1
    if not first <= l <= network.L:
        raise ValueError(f"l must lie in {first} … {network.L} for wrt={wrt!r}; got {l}. Layers count from 1.")


def check_single(network: Network) -> None:
    """Refuse a population: a matrix-free operator has two axes.

    Raises
    ------
    ValueError
        If the network has a population axis.
    """
    if network.population:
        raise ValueError(f"network must be a single one; got a population of {network.population}. Pick a member.")
