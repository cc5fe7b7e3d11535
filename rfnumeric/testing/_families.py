"""Families of matrices that have led pseudoinverses astray, drawn as stacks of any dtype."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Draw = Callable[[np.random.Generator, int, int, int], np.ndarray]
FAMILIES: dict[str, Draw] = {}
"""Functions (rng, k, m, n) → real array (k, m, n) with a largest entry of moderate size, by name."""


def family(draw: Draw) -> Draw:
    """Add a family under its function's name."""
    FAMILIES[draw.__name__] = draw
    return draw


def from_values(rng: np.random.Generator, k: int, m: int, n: int, sigma: np.ndarray) -> np.ndarray:
    """Return matrices of the singular values `sigma`, shape (k, r), with random singular vectors."""
    r = min(m, n)
    U, V = (np.linalg.qr(rng.standard_normal((k, size, r)))[0] for size in (m, n))
    return (U * sigma[:, None, :]) @ np.swapaxes(V, 1, 2)


@family
def gaussian(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw independent normal entries."""
    return rng.standard_normal((k, m, n))


@family
def geometric(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw singular values that fall geometrically to 10^-17 at most."""
    last = rng.uniform(0, 17, (k, 1))
    return from_values(rng, k, m, n, 10.0 ** (-last * np.linspace(0, 1, min(m, n))))


@family
def clustered(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw two clusters of equal singular values."""
    small = 10.0 ** -rng.uniform(0, 16, (k, 1))
    return from_values(rng, k, m, n, np.where(rng.random((k, min(m, n))) < 0.5, 1.0, small))


@family
def near_cutoff(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw one singular value within a factor of a hundred of a cutoff, of double or single precision."""
    sigma = np.ones((k, min(m, n)))
    unit = max(m, n) * np.where(rng.random(k) < 0.5, 2.0**-52, 2.0**-23)
    sigma[:, -1] = unit * 10.0 ** rng.uniform(-2, 2, k)
    return from_values(rng, k, m, n, sigma)


@family
def deficient(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw products of thin factors."""
    r = max(1, min(m, n) // 2)
    return rng.standard_normal((k, m, r)) @ rng.standard_normal((k, r, n))


@family
def graded_rows(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw rows of very different size."""
    return rng.standard_normal((k, m, n)) * 10.0 ** -rng.uniform(0, 12, (k, m, 1))


@family
def graded(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw rows and columns of very different size."""
    return graded_rows(rng, k, m, n) * 10.0 ** -rng.uniform(0, 8, (k, 1, n))


@family
def mixed_scales(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw each entry at a scale of its own."""
    return rng.standard_normal((k, m, n)) * 10.0 ** -rng.uniform(0, 20, (k, m, n))


@family
def diagonal(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw diagonal matrices, whose values range from 1 to 10^-18."""
    A = np.zeros((k, m, n))
    r = min(m, n)
    A[:, range(r), range(r)] = 10.0 ** -rng.uniform(0, 18, (k, r))
    return A


@family
def one_hot(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw rows with a single one."""
    return np.eye(n)[rng.integers(0, n, (k, m))]


@family
def duplicated(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Repeat rows, some of them but for rounding."""
    A = rng.standard_normal((k, m, n))
    A[:, -1] = A[:, 0] * np.where(rng.random((k, 1)) < 0.5, 1, 1 + 10.0 ** -rng.uniform(4, 17, (k, 1)))
    return A


@family
def integers(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw small integers, which are often of low rank."""
    return rng.integers(-2, 3, (k, m, n)).astype(np.float64)


@family
def laplacian(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw Laplacians of random graphs (cut to m×n)."""
    size = max(m, n)
    edges = np.triu(rng.random((k, size, size)) < rng.uniform(0.2, 0.9, (k, 1, 1)), 1).astype(np.float64)
    edges = edges + np.swapaxes(edges, 1, 2)
    return (np.eye(size) * edges.sum(axis=2)[:, None, :] - edges)[:, :m, :n]


@family
def path(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Return the Laplacian of a path, times a number."""
    size = max(m, n)
    A = 2 * np.eye(size) - np.eye(size, k=1) - np.eye(size, k=-1)
    A[0, 0] = A[-1, -1] = 1
    return A[:m, :n] * rng.uniform(0.1, 1, (k, 1, 1))


@family
def hilbert(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Return Hilbert matrices, shifted by a random number."""
    return 1 / (np.arange(m)[:, None] + np.arange(n) + rng.uniform(0.5, 2, (k, 1, 1)))


@family
def vandermonde(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Return powers of random points."""
    return rng.uniform(-1, 1, (k, m, 1)) ** np.arange(n)


@family
def flat(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw orthonormal rows or columns."""
    return from_values(rng, k, m, n, np.ones((k, min(m, n))))


@family
def triangular(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Return Kahan's kind of triangle, whose small singular value no entry shows."""
    c = rng.uniform(0.1, 0.9, (k, 1, 1))
    s = np.sqrt(1 - c * c)
    return np.triu(np.where(np.eye(m, n) == 1, 1.0, -c)) * s ** np.arange(m)[:, None]


@family
def one_large_entry(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Draw one entry far larger than the others."""
    A = rng.standard_normal((k, m, n)) * 10.0 ** -rng.uniform(0, 80, (k, 1, 1))
    A[range(k), rng.integers(0, m, k), rng.integers(0, n, k)] = 1
    return A


@family
def zero(rng: np.random.Generator, k: int, m: int, n: int) -> np.ndarray:
    """Return zeros, and matrices of one entry."""
    A = np.zeros((k, m, n))
    A[::2, 0, 0] = rng.standard_normal(len(A[::2]))
    return A
