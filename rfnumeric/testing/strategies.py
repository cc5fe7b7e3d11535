"""Hypothesis strategies: matrices whose singular values are known, and networks with a batch to feed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rfnumeric.backend import Backend, Streams, get_backend
from rfnumeric.nn import ACTIVATIONS, INITIALIZERS, Network, init_network
from rfnumeric.typing import Array

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "rfnumeric.testing.strategies needs Hypothesis, which is not installed. To get it: "
        "pip install 'rfnumeric[test]'."
    ) from error

MAX_WIDTH = 40
SPECTRA = ("geometric", "one-small", "one-large", "uniform")


@dataclass(frozen=True, repr=False)
class KnownMatrix:
    """A matrix together with what it was built from, A = U diag(σ) Vᵀ.

    Attributes
    ----------
    A : array, shape (..., m, n)
        On the backend, rounded to its dtype.
    singular_values : numpy.ndarray, shape (rank,)
        The σ that are not zero, descending, float64; the same for every member of the leading axes.
    pinv : numpy.ndarray, shape (..., n, m)
        V diag(1/σ) Uᵀ in float64: A⁺ up to κ·‖A⁺‖·eps(dtype of A), what rounding A once changes.
    backend : Backend
    """

    A: Array
    singular_values: np.ndarray
    pinv: np.ndarray
    backend: Backend

    @property
    def rank(self) -> int:
        """Number of singular values that are not zero."""
        return len(self.singular_values)

    @property
    def condition_number(self) -> float:
        """σ₁/σ_rank, over the singular values that are not zero; 1 for the zero matrix."""
        return float(self.singular_values[0] / self.singular_values[-1]) if self.rank else 1.0

    def __repr__(self) -> str:
        return (
            f"KnownMatrix({self.backend.name} {self.backend.dtype_name} {tuple(self.A.shape)}, rank {self.rank}, "
            f"condition number {self.condition_number:.3g}, σ₁ = {self.singular_values[:1]})"
        )


def spectrum(kind: str, rank: int, condition_number: float, scale: float = 1.0) -> np.ndarray:
    """Return `rank` descending singular values with σ₁ = scale and σ₁/σ_rank = condition_number.

    Parameters
    ----------
    kind : {"geometric", "one-small", "one-large", "uniform"}
        How they fall: by a constant factor; all large but the last; all small but the first; by a constant step.
    rank : int
        How many, at least 0.
    condition_number : float
        At least 1; for rank 1 it has no effect.
    scale : float
        σ₁.

    Raises
    ------
    ValueError
        If the kind is unknown or the condition number is below 1.

    Examples
    --------
    >>> spectrum("geometric", 3, 100.0)
    array([1.  , 0.1 , 0.01])
    """
    if kind not in SPECTRA or not condition_number >= 1:
        raise ValueError(
            f"kind must be one of {', '.join(SPECTRA)}, condition_number at least 1; got {kind!r}, {condition_number}."
        )
    smallest = 1 / condition_number
    if rank < 2:
        values = np.ones(rank)
    elif kind == "geometric":
        values = condition_number ** -(np.arange(rank) / (rank - 1))
    elif kind == "uniform":
        values = np.linspace(1.0, smallest, rank)
    else:
        values = np.full(rank, 1.0 if kind == "one-small" else smallest)
        values[0], values[-1] = 1.0, smallest
    return scale * values


def known_matrix(
    shape: tuple[int, ...], singular_values: Sequence[float], seed: int = 0, backend: Backend | None = None
) -> KnownMatrix:
    """Build U diag(σ) Vᵀ with U, V from the Haar measure.

    Parameters
    ----------
    shape : tuple of int
        (..., m, n); each member of the leading axes gets its own U and V.
    singular_values : sequence of float
        At most min(m, n) positive numbers, descending; the rest are zero.
    seed : int
        Of U and V.
    backend : Backend, optional
        Where A is placed and in which dtype; default NumPy, float64.

    Raises
    ------
    ValueError
        If there are more singular values than min(m, n), or they do not descend or are not positive.

    Examples
    --------
    >>> known = known_matrix((4, 6), [2.0, 1.0])
    >>> known.A.shape, known.rank, known.condition_number
    ((4, 6), 2, 2.0)
    """
    *lead, m, n = shape
    sigma = np.asarray(singular_values, dtype=np.float64)
    if sigma.ndim != 1 or len(sigma) > min(m, n) or (sigma <= 0).any() or (np.diff(sigma) > 0).any():
        raise ValueError(
            f"singular_values must be at most {min(m, n)} positive numbers in descending order; got {singular_values}."
        )
    rng = np.random.default_rng(seed)
    U, V = (_orthonormal(rng, (*lead, k, len(sigma))) for k in (m, n))
    backend = get_backend("numpy", dtype="float64") if backend is None else backend
    A = backend.asarray((U * sigma) @ np.swapaxes(V, -1, -2))
    return KnownMatrix(A, sigma, (V / sigma) @ np.swapaxes(U, -1, -2), backend)


def _orthonormal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    Q, R = np.linalg.qr(rng.standard_normal(shape))
    return Q * np.where(np.diagonal(R, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[..., None, :]


@st.composite
def matrices(
    draw: st.DrawFn,
    backend: Backend | None = None,
    *,
    min_side: int = 1,
    max_side: int = MAX_WIDTH,
    max_condition_number: float = 1e3,
    full_rank: bool = False,
    lead: tuple[int, ...] = (),
) -> KnownMatrix:
    """Draw matrices by shape, rank, singular spectrum and seed, so that the condition number is known.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    backend : Backend, optional
        Where A is placed and in which dtype; default NumPy, float64.
    min_side, max_side : int
        Bounds of m and n.
    max_condition_number : float
        Bound of σ₁/σ_rank. Stay well below 1/eps of the dtype, or the rank is lost to rounding.
    full_rank : bool
        Whether the rank is always min(m, n); else it is drawn from 0.
    lead : tuple of int
        Leading axes.

    Returns
    -------
    strategy of KnownMatrix

    Examples
    --------
    >>> from hypothesis import given
    >>> from rfnumeric.linalg import pinv
    >>> from rfnumeric.testing import assert_penrose
    >>> @given(matrices(max_side=5))
    ... def test_pinv(known):
    ...     assert_penrose(known.A, pinv(known.A))
    """
    side = st.integers(min_side, max_side)
    m, n = draw(side), draw(side)
    rank = min(m, n) if full_rank else draw(st.integers(0, min(m, n)))
    exponent = draw(st.floats(0.0, float(np.log10(max_condition_number))))
    scale = draw(st.sampled_from((1.0, 1e-3, 1e3)))
    sigma = spectrum(draw(st.sampled_from(SPECTRA)), rank, 10.0**exponent, scale)
    return known_matrix((*lead, m, n), sigma, draw(st.integers(0, 2**32 - 1)), backend)


@dataclass(frozen=True, repr=False)
class KnownNetwork:
    """A network with a batch for it.

    Attributes
    ----------
    network : Network
    x : array, shape (..., batch, n_0)
        Standard normal inputs.
    labels : int64 array, shape (..., batch)
    streams : Streams
        The seeds that all of it was drawn from.
    """

    network: Network
    x: Array
    labels: Array
    streams: Streams

    def __repr__(self) -> str:
        net = self.network
        return (
            f"KnownNetwork(sizes {net.sizes}, population {net.population}, hidden {net.hidden}, output {net.output}, "
            f"bias {net.has_bias}, batch {self.x.shape[-2]}, seed {self.streams.seed}, {net.backend.name} "
            f"{net.backend.dtype_name})"
        )


def known_network(
    sizes: Sequence[int], batch: int, seed: int | Sequence[int], backend: Backend, **options: object
) -> KnownNetwork:
    """Draw a network with `init_network` (its biases too are random here) and a batch of inputs and labels.

    Parameters
    ----------
    sizes : sequence of int
        Widths n_0, …, n_L.
    batch : int
        Samples.
    seed : int or sequence of int
        Several make a population.
    backend : Backend
    **options
        Of `rfnumeric.nn.init_network`.

    Examples
    --------
    >>> from rfnumeric.backend import get_backend
    >>> known = known_network([4, 3, 2], 5, 0, get_backend("numpy"), hidden="tanh", bias=True)
    >>> known.network.forward(known.x).h[-1].shape
    (5, 2)
    """
    streams = Streams(seed, backend)
    network = init_network(sizes, streams, **options)  # type: ignore[arg-type]
    if network.has_bias:
        network.b = [None, *(streams.child("bias", l).normal((n,)) * 0.5 for l, n in enumerate(network.sizes[1:], 1))]
    # Uniform on [0, n_L), rounded down, is a label; drawn on the host like all random numbers.
    labels = backend.xp.astype(streams.child("labels").uniform((batch,), 0.0, float(sizes[-1])), backend.xp.int64)
    # float32 may round up to n_L itself.
    labels = backend.xp.where(labels < sizes[-1], labels, labels - 1)
    return KnownNetwork(network, streams.child("x").normal((batch, sizes[0])), labels, streams)


@st.composite
def networks(
    draw: st.DrawFn,
    backend: Backend | None = None,
    *,
    max_width: int = MAX_WIDTH,
    max_layers: int = 4,
    max_batch: int = 5,
    activations: Sequence[str] = tuple(ACTIVATIONS),
    slopes: tuple[float, float] = (0.01, 1.0),
    inits: Sequence[str] = tuple(INITIALIZERS),
    population: bool = False,
) -> KnownNetwork:
    """Draw networks by widths, activations, slope, initializer, bias and seed, with a batch of inputs and labels.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    backend : Backend, optional
        Default NumPy, float64.
    max_width, max_layers, max_batch : int
        Widths are 1 to `max_width`, layers of weights 1 to `max_layers`, samples 1 to `max_batch`.
    activations : sequence of str
        Names to draw the hidden and the output activation from.
    slopes : (float, float)
        Bounds of the leaky activations' negative slope.
    inits : sequence of str
        Initializers to draw from.
    population : bool
        Whether the network is a population of 1 to 3.

    Returns
    -------
    strategy of KnownNetwork
    """
    backend = get_backend("numpy", dtype="float64") if backend is None else backend
    sizes = draw(st.lists(st.integers(1, max_width), min_size=2, max_size=max_layers + 1))
    seeds = st.integers(0, 2**32 - 1)
    return known_network(
        sizes,
        draw(st.integers(1, max_batch)),
        draw(st.lists(seeds, min_size=1, max_size=3)) if population else draw(seeds),
        backend,
        hidden=draw(st.sampled_from(tuple(activations))),
        output=draw(st.sampled_from(tuple(activations))),
        negative_slope=draw(st.floats(*slopes)),
        init=draw(st.sampled_from(tuple(inits))),
        bias=draw(st.booleans()),
    )
