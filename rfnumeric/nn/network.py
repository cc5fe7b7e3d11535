"""The fully connected network of the papers (v1/v2 §4) and the trace of one forward pass.

Layers are numbered as in the papers: ``W[1]`` … ``W[L]``, with ``W[0]`` None, and ``h[0]`` is the input. Samples are
rows, so the paper's a_l = W_l h_{l−1} reads ``a[l] = h[l-1] @ W[l].T``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rfnumeric import kernels
from rfnumeric.backend import Backend, Streams, array_namespace, copy, transpose
from rfnumeric.nn.activations import Activation, get_activation
from rfnumeric.nn.init import get_initializer
from rfnumeric.typing import Array


@dataclass
class Trace:
    """Everything that one forward pass leaves behind; nothing else carries activations.

    Attributes
    ----------
    h : list of array, shape (..., batch, n_l)
        ``h[0]`` is the input, ``h[l]`` the activation of layer l.
    a : list of array, shape (..., batch, n_l)
        Pre-activations; ``a[0]`` is None.
    d_sigma : list of array, shape (..., batch, n_l)
        σ'(a_l), the diagonal of D_l; ``d_sigma[0]`` is None.
    delta : list of array, shape (..., batch, n_l)
        What multiplies h_{l−1}ᵀ in the update; empty until a rule has filled it.
    """

    h: list[Array]
    a: list[Array] = field(default_factory=lambda: [None])
    d_sigma: list[Array] = field(default_factory=lambda: [None])
    delta: list[Array] = field(default_factory=list)


@dataclass
class Network:
    """Weights and activations of a fully connected network, or of a population of such networks.

    Attributes
    ----------
    W : list of array, shape (..., n_l, n_{l−1})
        ``W[0]`` is None. Leading axes are a population.
    b : list of array, shape (..., n_l), or None
        Biases; None at every layer of a network without bias.
    hidden, output : Activation
        σ of the layers 1 … L − 1, and of layer L.
    """

    W: list[Array]
    b: list[Array | None]
    hidden: Activation
    output: Activation

    def __post_init__(self) -> None:
        if len(self.W) < 2 or len(self.W) != len(self.b) or self.W[0] is not None:
            raise ValueError(
                f"W must be [None, W_1, …, W_L] and b must have its length; got {len(self.W)} and {len(self.b)} "
                "entries. Layers count from 1 as in the papers; W[0] stands for the input."
            )
        for l in range(2, len(self.W)):
            if self.W[l].shape[-1] != self.W[l - 1].shape[-2]:
                raise ValueError(
                    f"W[{l}] must have {self.W[l - 1].shape[-2]} columns to match W[{l - 1}]; got {self.W[l].shape}. "
                    "Did you pass its transpose?"
                )

    @property
    def L(self) -> int:
        """Number of layers of weights."""
        return len(self.W) - 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths n_0, …, n_L."""
        return (self.W[1].shape[-1], *(W.shape[-2] for W in self.W[1:]))

    @property
    def population(self) -> tuple[int, ...]:
        """Leading shape: ``()``, or ``(K,)`` for K networks."""
        return tuple(self.W[1].shape[:-2])

    @property
    def backend(self) -> Backend:
        """Where the weights live."""
        return Backend.of(self.W[1])

    @property
    def has_bias(self) -> bool:
        """Whether layers have biases."""
        return self.b[1] is not None

    def activation(self, l: int) -> Activation:
        """Return σ_l."""
        return self.output if l == self.L else self.hidden

    def forward(self, x: Array) -> Trace:
        """Compute a_l = W_l h_{l−1} + b_l and h_l = σ_l(a_l) for all layers, and keep them.

        Parameters
        ----------
        x : array, shape (..., batch, n_0)

        Returns
        -------
        Trace
        """
        trace = Trace(h=[x])
        for l in range(1, self.L + 1):
            a, h, d_sigma = self.activation(l).layer(trace.h[l - 1], self.W[l], self.b[l])
            trace.a.append(a)
            trace.h.append(h)
            trace.d_sigma.append(d_sigma)
        return trace

    def predict(self, x: Array) -> Array:
        """Return h_L for the rows of `x`, shape (..., batch, n_L).

        Raises
        ------
        ValueError
            If `x` has not n_0 columns.
        """
        if x.ndim < 2 or x.shape[-1] != self.sizes[0]:
            raise ValueError(f"x must have shape (..., batch, {self.sizes[0]}); got {x.shape}.")
        return self.forward(x).h[-1]

    def update(self, trace: Trace, lr: float | Array) -> None:
        """Take the step ΔW_l = −λ · mean_batch δ_l h_{l−1}ᵀ (and Δb_l = −λ · mean_batch δ_l) in every layer.

        Parameters
        ----------
        trace : Trace
            With `delta` filled by a rule.
        lr : float or array of shape `population`
            Learning rate λ.
        """
        for l in range(1, self.L + 1):
            self.W[l], self.b[l] = kernels.sgd_update(self.W[l], self.b[l], trace.delta[l], trace.h[l - 1], lr)

    def equalize_spectra(self, beta: float) -> None:
        """Draw the singular values of W_2 … W_L together: W ← W − β(WWᵀ/s² − I)W, with s² their mean square.

        Maps each singular value σ to σ − β(σ²/s² − 1)σ, towards s, and leaves singular vectors alone: W⁺ → Wᵀ/s².
        W_1 stays as it is: no update uses its reciprocal.

        Parameters
        ----------
        beta : float
            β, dimensionless. Singular values above s√(1 + 1/β) would change sign.
        """
        for l in range(2, self.L + 1):
            W = self.W[l]
            xp = array_namespace(W)
            square = xp.sum(W * W, axis=(-2, -1), keepdims=True, dtype=W.dtype) / min(W.shape[-2:])
            usable = square > 0  # false for NaN as well: the loop reports those
            scaled = W / xp.where(usable, square, xp.ones_like(square))
            wide = W.shape[-2] <= W.shape[-1]
            # The smaller Gram matrix: (WWᵀ)W = W(WᵀW).
            cubed = (
                kernels.matmul(kernels.matmul(scaled, transpose(W)), W)
                if wide
                else kernels.matmul(W, kernels.matmul(transpose(W), scaled))
            )
            self.W[l] = (1 + beta) * W - beta * cubed

    def copy(self) -> Network:
        """Return a network with its own weights."""
        return Network(
            [None if W is None else copy(W) for W in self.W],
            [None if b is None else copy(b) for b in self.b],
            self.hidden,
            self.output,
        )


def init_network(
    sizes: Sequence[int],
    streams: Streams,
    *,
    hidden: str | Activation = "leaky-relu",
    output: str | Activation = "identity",
    negative_slope: float = 0.01,
    init: str = "he-normal",
    gain: float = 1.0,
    bias: bool = False,
) -> Network:
    """Draw a network, or a population of networks if `streams` has several seeds.

    Parameters
    ----------
    sizes : sequence of int
        Widths n_0, …, n_L, at least two.
    streams : Streams
        Seeds and backend; weights come from its children ``("weights", l)``.
    hidden, output : str or Activation
        Activation of the hidden layers and of the last one; see `rfnumeric.nn.activations.ACTIVATIONS`.
    negative_slope : float
        Slope α of the leaky activations, dimensionless.
    init : {"he-normal", "lecun-uniform", "orthogonal"}
        Initializer.
    gain : float
        Factor on the drawn weights, dimensionless.
    bias : bool
        Whether layers have biases, which start at zero. The papers' equations have none.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        If a size is not positive, or a name is unknown.

    Examples
    --------
    >>> from rfnumeric.backend import Streams, get_backend
    >>> network = init_network([4, 3, 2], Streams(0, get_backend("numpy")))
    >>> network.predict(network.backend.zeros((5, 4))).shape
    (5, 2)
    """
    sizes = [int(n) for n in sizes]
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must be at least two positive widths, e.g. 784,100,10; got {sizes}.")
    draw = get_initializer(init)
    W: list[Array] = [None]
    b: list[Array | None] = [None]
    for l, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        W.append(draw(streams.child("weights", l), n_out, n_in) * gain)
        b.append(streams.backend.zeros((*streams.population, n_out)) if bias else None)
    return Network(W, b, get_activation(hidden, negative_slope), get_activation(output, negative_slope))
