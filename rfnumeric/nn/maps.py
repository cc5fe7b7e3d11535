"""Layers as linear maps: what every learning rule, Jacobian and reciprocal needs of a layer, and nothing else.

The papers rest on one structure: the pre-activation a = M(W)h + b is linear in the activity, and as a = N(h)W + b it is
linear in the weights. A `Map` knows both. It is frozen and holds no arrays: W, b and h are passed in, with the
population's leading axes, and samples are rows.

========================== ================== ==============================================================
operation                  dense              meaning
========================== ================== ==============================================================
``apply(W, b, h)``         Wh + b             forward
``push(W, v)``             Wv                 M(W)v: Jacobians forward
``pull(W, v)``             Wᵀv                M(W)ᵀv: backpropagation
``grad(h, v)``             ∑ v hᵀ             N(h)ᵀv, the gradient of the weights, summed over the batch
``gram(h, bias)``          (‖h‖² + 1)·I       N(h)N(h)ᵀ of each sample, to multiply and to solve with
``pinv(W)``, ``undo(P,v)`` W⁺, W⁺v            M(W)⁺, as parameters, and its product
``update(W, b, h, δ, λ)``  W − λ mean δhᵀ     the step
``feed(F, v)``             Fv                 feedback through parameters of its own; ``feed(transposed(W), v)`` is pull
========================== ================== ==============================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from rfnumeric import kernels
from rfnumeric.backend import Streams, array_namespace, copy, device_of
from rfnumeric.linalg.cgls import cgls
from rfnumeric.nn.activations import Activation
from rfnumeric.nn.grams import Gram
from rfnumeric.typing import Array

Initializer = Callable[[Streams, int, int], Array]
"""Draws (n_out, n_in) weights, as those of `rfnumeric.nn.init` do."""


@dataclass(frozen=True)
class Map:
    """Base of the layers' maps: a = M(W)h + b = N(h)W + b.

    A subclass gives the sizes and shapes, `push`, `pull`, `grad` and `gram`; the rest follows from them, and is
    overridden where there is a quicker way.

    Attributes
    ----------
    n_in, n_out : int
        Numbers of entries of h and of a.
    weight_shape : tuple of int, or None
        Shape of one network's W; None for a map without weights, such as pooling.
    bias_shape : tuple of int, or None
        Shape of one network's b.
    """

    name: ClassVar[str] = ""

    @property
    def n_in(self) -> int:
        """Number of entries of h."""
        raise NotImplementedError

    @property
    def n_out(self) -> int:
        """Number of entries of a."""
        raise NotImplementedError

    @property
    def weight_shape(self) -> tuple[int, ...] | None:
        """Shape of W, or None for a map without weights."""
        return None

    @property
    def bias_shape(self) -> tuple[int, ...] | None:
        """Shape of b, or None for a map without weights."""
        return None

    def push(self, W: Array, v: Array) -> Array:
        """Return M(W)v of each row.

        Parameters
        ----------
        W : array, shape (..., *weight_shape)
        v : array, shape (..., batch, n_in)

        Returns
        -------
        array, shape (..., batch, n_out)
        """
        raise NotImplementedError

    def pull(self, W: Array, v: Array) -> Array:
        """Return M(W)ᵀv of each row, shape (..., batch, n_in).

        Parameters
        ----------
        W : array, shape (..., *weight_shape)
        v : array, shape (..., batch, n_out)
        """
        raise NotImplementedError

    def grad(self, h: Array, v: Array) -> Array:
        """Return N(h)ᵀv summed over the batch: the gradient of ∑ ⟨v, M(W)h⟩ with respect to W.

        Parameters
        ----------
        h : array, shape (..., batch, n_in)
        v : array, shape (..., batch, n_out)

        Returns
        -------
        array, shape (..., *weight_shape)
        """
        raise NotImplementedError

    def gram(self, h: Array, bias: bool) -> Gram:
        """Return N(h)N(h)ᵀ of each sample, as an object that multiplies and solves.

        Parameters
        ----------
        h : array, shape (..., batch, n_in)
        bias : bool
            Whether the parameters are W and b.
        """
        raise NotImplementedError

    def spread_bias(self, b: Array) -> Array:
        """Return the bias of every entry of a, shape (..., n_out)."""
        return b

    def bias_grad(self, v: Array) -> Array:
        """Return the gradient of ∑ ⟨v, b⟩ with respect to b, summed over the batch, shape (..., *bias_shape)."""
        return array_namespace(v).sum(v, axis=-2, dtype=v.dtype)

    def apply(self, W: Array, b: Array | None, h: Array) -> Array:
        """Return a = M(W)h + b, shape (..., batch, n_out)."""
        a = self.push(W, h)
        return a if b is None else a + self.spread_bias(b)[..., None, :]

    def layer(self, activation: Activation, W: Array, b: Array | None, h: Array) -> tuple[Array, Array, Array]:
        """Return a = M(W)h + b, σ(a) and σ'(a), each of shape (..., batch, n_out)."""
        return activation.evaluate(self.push(W, h), None if b is None else self.spread_bias(b))

    def update(
        self, W: Array, b: Array | None, h: Array, delta: Array, lr: float | Array
    ) -> tuple[Array, Array | None]:
        """Return W − λ mean N(h)ᵀδ and b − λ mean δ. May overwrite `W` and `b`.

        Parameters
        ----------
        W : array, shape (..., *weight_shape)
        b : array, shape (..., *bias_shape), or None
        h : array, shape (..., batch, n_in)
        delta : array, shape (..., batch, n_out)
        lr : float or array of the leading shape of W
            λ.
        """
        return step(W, self.grad(h, delta), lr, h.shape[-2]), (
            None if b is None else step(b, self.bias_grad(delta), lr, h.shape[-2])
        )

    def reciprocal_gate(
        self, g: Array, d: Array, h: Array, bias: bool, *, damping: float, own_layer: str, normalize: bool
    ) -> tuple[Array, Array]:
        """Return δ = (N(h)N(h)ᵀ)⁺ Φ g and s = D⁺g, with Φ the own layer's factor (v1/v2 §4.2).

        Parameters
        ----------
        g : array, shape (..., batch, n_out)
            B_l e, what arrives at the layer.
        d : array, shape (..., batch, n_out)
            Diagonal of D.
        h : array, shape (..., batch, n_in)
        bias : bool
            Whether the parameters are W and b.
        damping : float
            λ of D⁺ = D/(D² + λ), in units of σ'².
        own_layer : {"reciprocal", "derivative", "none"}
            Φ: D⁺, D, or the identity.
        normalize : bool
            Whether to apply (N(h)N(h)ᵀ)⁺.
        """
        s, delta = kernels.reciprocal_derivative(g, d, h, damping, own_layer, False, bias)
        return self.gram(h, bias).solve(delta) if normalize and self.weight_shape else delta, s

    def draw(self, initializer: Initializer, streams: Streams) -> Array:
        """Draw W, shape (..., *weight_shape)."""
        raise NotImplementedError

    def draw_feedback(self, initializer: Initializer, streams: Streams) -> Array:
        """Draw feedback parameters, of the shape of `transposed`, as weights from a to h are drawn."""
        return self.transposed(self.draw(initializer, streams))

    def transposed(self, W: Array) -> Array:
        """Return the feedback parameters F with which `feed` is `pull`: the transpose of W, in this map's own form."""
        return W

    def forward(self, F: Array) -> Array:
        """Return the W with which `pull` is `feed` through F: `transposed`, backwards."""
        return F

    def feed(self, F: Array, v: Array) -> Array:
        """Send v back through feedback parameters F of the shape of `transposed`; shape (..., batch, n_in).

        Parameters
        ----------
        F : array
        v : array, shape (..., batch, n_out)
        """
        return self.pull(F, v)

    def feed_grad(self, v: Array, r: Array) -> Array:
        """Return the gradient of ∑ ⟨r, feed(F, v)⟩ with respect to F, summed over the batch.

        Parameters
        ----------
        v : array, shape (..., batch, n_out)
        r : array, shape (..., batch, n_in)
        """
        return self.grad(r, v)

    def feed_learn(self, F: Array, v: Array, r: Array, scale: float | Array) -> Array:
        """Return F + scale · ∑ of `feed_grad`, one step of a local rule. May overwrite `F`.

        Parameters
        ----------
        F : array
        v, r : array
            See `feed_grad`.
        scale : float or array of the leading shape of F
        """
        return F + along(scale, F) * self.feed_grad(v, r)

    def gated_feed(self, F: Array, v: Array, d: Array) -> Array:
        """Return d · `feed`, the step back of a rule that goes through D."""
        return d * self.feed(F, v)

    def pinv(self, W: Array, engine: Callable[[Array], Array]) -> Array:
        """Return the parameters P of M(W)⁺, which `undo` takes: W⁺ where there is a closed form, else a copy of W.

        Parameters
        ----------
        W : array, shape (..., *weight_shape)
        engine : callable
            From a matrix (..., m, n) to its (damped) inverse (..., n, m).
        """
        return None if W is None else copy(W)

    def undo(self, P: Array, v: Array, damping: float = 0.0) -> Array:
        """Return M⁺v of each row through the parameters that `pinv` gave, shape (..., batch, n_in).

        Parameters
        ----------
        P : array
        v : array, shape (..., batch, n_out)
        damping : float
            λ of Mᵀ(MMᵀ + λI)⁻¹ where it is not in P, relative to the mean squared singular value.

        Notes
        -----
        Without a closed form by conjugate gradients, one push and one pull an iteration; see `rfnumeric.linalg.cgls`
        for when they stop.
        """
        push, pull, scale = self._scaled(P, v)
        return cgls(push, pull, v, damping, smaller_side=min(self.n_in, self.n_out)) / scale

    def gated_undo(self, P: Array, v: Array, d: Array, damping: float = 0.0) -> Array:
        """Return d · `undo`."""
        return d * self.undo(P, v, damping)

    def undo_transposed(self, P: Array, v: Array, damping: float = 0.0) -> Array:
        """Return (M⁺)ᵀv of each row, (..., batch, n_in) → (..., batch, n_out)."""
        push, pull, scale = self._scaled(P, v)
        return cgls(pull, push, v, damping, smaller_side=min(self.n_in, self.n_out)) / scale

    def _scaled(self, W: Array, like: Array) -> tuple[Callable[[Array], Array], Callable[[Array], Array], Array]:
        """Return push and pull of M/s and s, the root of the mean squared singular value, shape (..., 1, 1)."""
        xp = array_namespace(like)
        s = xp.sqrt(self.mean_square(W, like))
        s = xp.where(s == 0, xp.ones_like(s), s)
        if W is None:
            return lambda x: self.push(W, x) / s, lambda y: self.pull(W, y) / s, s
        W = W / along(s, W)
        return lambda x: self.push(W, x), lambda y: self.pull(W, y), s[..., None, None]

    def mean_square(self, W: Array | None, like: Array) -> Array:
        """Return ‖M‖_F²/min(n_in, n_out), which λ is relative to, shape (...).

        Parameters
        ----------
        W : array, or None for a map without weights
        like : array
            Of the dtype and device of the result.
        """
        M = self.matrix(W, like)
        return array_namespace(M).sum(M * M, axis=(-2, -1), dtype=M.dtype) / min(self.n_in, self.n_out)

    def matrix(self, W: Array | None, like: Array) -> Array:
        """Return M(W) as a matrix, shape (..., n_out, n_in), column by column; for small maps and for tests."""
        xp = array_namespace(like)
        eye = xp.eye(self.n_in, dtype=like.dtype, device=device_of(like))
        return xp.matrix_transpose(self.push(W, eye))


def step(value: Array, gradient: Array, lr: float | Array, batch: int) -> Array:
    """Return value − λ/batch · gradient, with one λ or one for each member of a population."""
    return value - along(lr, value) * (gradient / batch) if batch else value


def along(scale: float | Array, like: Array) -> float | Array:
    """Return one number for each member of a population with axes of length 1 behind it, to multiply `like`."""
    if isinstance(scale, int | float) or not scale.ndim:
        return scale
    xp = array_namespace(scale)
    return xp.reshape(scale, (*scale.shape, *(1,) * (like.ndim - scale.ndim)))


def check_positive(of: Any, *names: str) -> None:
    """Raise unless the fields called `names` are positive integers.

    Raises
    ------
    ValueError
        Names the first that is not.
    """
    for name in names:
        value = getattr(of, name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"{name} of {type(of).__name__} must be a positive integer; got {value!r}.")


def flat(shape: tuple[int, ...]) -> int:
    """Return the number of entries of a shape."""
    return math.prod(shape)
