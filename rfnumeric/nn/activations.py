"""Elementwise activations σ with their derivative, inverse and reciprocal derivative D⁺."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rfnumeric import kernels
from rfnumeric.backend import array_namespace, copy, eps, quiet, transpose
from rfnumeric.typing import Array


@dataclass(frozen=True)
class Activation:
    """Base of the activations. All methods act elementwise on arrays of any shape and real floating dtype."""

    name: ClassVar[str] = ""

    def evaluate(self, z: Array, b: Array | None) -> tuple[Array, Array, Array]:
        """Add the bias and return a, h = σ(a) and σ'(a) in one pass (a kernel). May overwrite `z`.

        Parameters
        ----------
        z : array, shape (..., batch, n)
        b : array, shape (..., n), or None

        Returns
        -------
        a, h, d_sigma : array, shape (..., batch, n)
        """
        raise NotImplementedError

    def layer(self, x: Array, W: Array, b: Array | None) -> tuple[Array, Array, Array]:
        """Return a = xWᵀ + b, h = σ(a) and σ'(a): `evaluate` for a layer of weights W.

        Parameters
        ----------
        x : array, shape (..., batch, n_in)
        W : array, shape (..., n, n_in)
        b : array, shape (..., n), or None

        Returns
        -------
        a, h, d_sigma : array, shape (..., batch, n)
        """
        return self.evaluate(kernels.matmul(x, transpose(W)), b)

    def forward(self, a: Array) -> Array:
        """Return σ(a)."""
        return self._evaluate_copy(a)[1]

    def derivative(self, a: Array) -> Array:
        """Return σ'(a), the diagonal of D."""
        return self._evaluate_copy(a)[2]

    def inverse(self, h: Array) -> Array:
        """Return the a with σ(a) = h."""
        raise NotImplementedError

    def reciprocal_derivative(self, a: Array, damping: float = 0.0) -> Array:
        """Return the diagonal of D⁺: d/(d² + damping), without damping 1/d, and 0 where d = 0.

        Parameters
        ----------
        a : array
            Pre-activation.
        damping : float
            λ ≥ 0, in units of d².
        """
        return reciprocal_diagonal(self.derivative(a), damping)

    def _evaluate_copy(self, a: Array) -> tuple[Array, Array, Array]:
        # Kernels see (batch, n) matrices and may overwrite them.
        xp = array_namespace(a)
        matrix = copy(a) if a.ndim >= 2 else copy(xp.reshape(a, (1, -1)))
        return tuple(xp.reshape(x, a.shape) for x in self.evaluate(matrix, None))


def reciprocal_diagonal(d: Array, damping: float = 0.0) -> Array:
    """Return the Moore-Penrose pseudoinverse of a diagonal, entry by entry: 1/d, and 0 where d = 0; damped d/(d² + λ).

    Parameters
    ----------
    d : array
        Diagonal entries.
    damping : float
        λ ≥ 0, in units of d².

    Raises
    ------
    ValueError
        If `damping` is negative or NaN.
    """
    if not damping >= 0:
        raise ValueError(f"damping must be at least 0; got {damping}.")
    xp = array_namespace(d)
    if damping > 0:
        return d / (d * d + damping)
    zero = d == 0
    return xp.where(zero, xp.zeros_like(d), 1 / xp.where(zero, xp.ones_like(d), d))


@dataclass(frozen=True)
class Identity(Activation):
    """σ(a) = a."""

    name: ClassVar[str] = "identity"

    def evaluate(self, z: Array, b: Array | None) -> tuple[Array, Array, Array]:
        """See `Activation.evaluate`."""
        return kernels.bias_identity(z, b)

    def inverse(self, h: Array) -> Array:
        """Return h."""
        return copy(h)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """σ(a) = a for a > 0, else αa: continuous, bijective for α > 0, not differentiable at 0 (σ'(0) is taken as α).

    Attributes
    ----------
    negative_slope : float
        α, dimensionless, 0 ≤ α ≤ 1. D⁺ is 1/α on the negative side.
    """

    name: ClassVar[str] = "leaky-relu"
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        _check_slope(self.negative_slope)

    def evaluate(self, z: Array, b: Array | None) -> tuple[Array, Array, Array]:
        """See `Activation.evaluate`."""
        return kernels.bias_leaky_relu(z, b, self.negative_slope)

    def layer(self, x: Array, W: Array, b: Array | None) -> tuple[Array, Array, Array]:
        """See `Activation.layer`; one kernel."""
        if type(self) is not LeakyReLU:  # a class derived from it may evaluate otherwise
            return super().layer(x, W, b)
        return kernels.layer_leaky_relu(x, W, b, self.negative_slope)

    def inverse(self, h: Array) -> Array:
        """Return h for h > 0, else h/α.

        Raises
        ------
        ValueError
            If α = 0: ReLU has no inverse.
        """
        _check_bijective(self)
        return array_namespace(h).where(h > 0, h, h / self.negative_slope)


@dataclass(frozen=True)
class LeakySoftplus(Activation):
    """σ(a) = αa + (1 − α) log(1 + eᵃ): smooth, and bijective for α > 0 (v1/v2 §4.2, third assumption).

    Attributes
    ----------
    negative_slope : float
        α, dimensionless, 0 ≤ α ≤ 1; the slope tends to α at −∞ and to 1 at +∞.
    """

    name: ClassVar[str] = "leaky-softplus"
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        _check_slope(self.negative_slope)

    def evaluate(self, z: Array, b: Array | None) -> tuple[Array, Array, Array]:
        """See `Activation.evaluate`."""
        return kernels.bias_leaky_softplus(z, b, self.negative_slope)

    def inverse(self, h: Array) -> Array:
        """Solve σ(a) = h by Newton's method.

        σ is convex and increasing and lies above the leaky ReLU of the same slope, so from that one's inverse, which
        is never below the solution, the iterates fall monotonically to it.

        Raises
        ------
        ValueError
            If α = 0: the softplus then has no inverse for h ≤ 0.
        """
        _check_bijective(self)
        xp = array_namespace(h)
        a = xp.where(h > 0, h, h / self.negative_slope)
        for _ in range(_NEWTON_LIMIT):
            step = (self.forward(a) - h) / self.derivative(a)
            a = a - step
            if not bool(xp.any(xp.abs(step) > 4 * eps(h) * (1 + xp.abs(a)))):
                break
        return a


@dataclass(frozen=True)
class Tanh(Activation):
    """σ(a) = tanh a, bijective onto (−1, 1)."""

    name: ClassVar[str] = "tanh"

    def evaluate(self, z: Array, b: Array | None) -> tuple[Array, Array, Array]:
        """See `Activation.evaluate`."""
        return kernels.bias_tanh(z, b)

    def inverse(self, h: Array) -> Array:
        """Return artanh h; infinite at ±1.

        Raises
        ------
        ValueError
            If |h| > 1 anywhere.
        """
        xp = array_namespace(h)
        if bool(xp.any(xp.abs(h) > 1)):
            raise ValueError("h must lie in [-1, 1], the range of tanh; clip it first.")
        return xp.atanh(h)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """σ(a) = 1/(1 + e⁻ᵃ), bijective onto (0, 1)."""

    name: ClassVar[str] = "sigmoid"

    def evaluate(self, z: Array, b: Array | None) -> tuple[Array, Array, Array]:
        """See `Activation.evaluate`."""
        return kernels.bias_sigmoid(z, b)

    def inverse(self, h: Array) -> Array:
        """Return log(h/(1 − h)); infinite at 0 and 1.

        Raises
        ------
        ValueError
            If h < 0 or h > 1 anywhere.
        """
        xp = array_namespace(h)
        if bool(xp.any((h < 0) | (h > 1))):
            raise ValueError("h must lie in [0, 1], the range of the sigmoid; clip it first.")
        with quiet():
            return xp.log(h) - xp.log1p(-h)


_NEWTON_LIMIT = 100

ACTIVATIONS: dict[str, type[Activation]] = {
    cls.name: cls for cls in (Identity, LeakyReLU, LeakySoftplus, Sigmoid, Tanh)
}
"""Name → class."""


def get_activation(name: str | Activation, negative_slope: float = 0.01) -> Activation:
    """Return the activation called `name`.

    Parameters
    ----------
    name : {"identity", "leaky-relu", "leaky-softplus", "sigmoid", "tanh"} or Activation
    negative_slope : float
        α of the leaky ones; the others ignore it.

    Raises
    ------
    ValueError
        If the name is unknown or the slope is outside [0, 1].

    Examples
    --------
    >>> get_activation("leaky-relu", 0.1)
    LeakyReLU(negative_slope=0.1)
    """
    if isinstance(name, Activation):
        return name
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {name!r}.")
    if name in (LeakyReLU.name, LeakySoftplus.name):
        return ACTIVATIONS[name](negative_slope)  # type: ignore[call-arg]
    return ACTIVATIONS[name]()


def _check_slope(slope: float) -> None:
    if not 0 <= slope <= 1:
        raise ValueError(f"negative_slope must lie in [0, 1]; got {slope}.")


def _check_bijective(activation: LeakyReLU | LeakySoftplus) -> None:
    if activation.negative_slope == 0:
        raise ValueError(f"{activation.name} has no inverse at negative_slope = 0; use a positive slope.")
