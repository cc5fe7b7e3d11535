"""Matrices of known singular values, drawn by shape, kind, rank and spectrum; and an oracle in higher precision."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

KINDS = {"float32": False, "float64": False, "complex64": True, "complex128": True}


def random_matrix(rng: np.random.Generator, shape: tuple[int, ...], is_complex: bool = False) -> np.ndarray:
    A = rng.standard_normal(shape)
    return A + 1j * rng.standard_normal(shape) if is_complex else A


def from_spectrum(
    rng: np.random.Generator, m: int, n: int, singular: np.ndarray, is_complex: bool = False
) -> np.ndarray:
    """A = U diag(singular) Vᴴ with random orthonormal U and V, in double precision."""
    r = len(singular)
    U = np.linalg.qr(random_matrix(rng, (m, max(r, 1)), is_complex))[0][:, :r]
    V = np.linalg.qr(random_matrix(rng, (n, max(r, 1)), is_complex))[0][:, :r]
    return (U * singular) @ V.conj().T


def spectrum(rng: np.random.Generator, r: int, kappa: float, kind: str) -> np.ndarray:
    """r singular values from 1 down to 1/kappa."""
    if r < 2:
        return np.ones(r)
    if kind == "geometric":
        return np.geomspace(1, 1 / kappa, r)
    if kind == "one small":
        return np.concatenate((np.ones(r - 1), [1 / kappa]))
    if kind == "one large":
        return np.concatenate(([1.0], np.full(r - 1, 1 / kappa)))
    inner = np.exp(rng.uniform(-np.log(kappa), 0, r - 2))
    return np.concatenate(([1.0], np.sort(inner)[::-1], [1 / kappa]))


def draw_matrix(
    rng: np.random.Generator, dtype: str, largest: int = 12, kappa_limit: float | None = None
) -> tuple[np.ndarray, float, int]:
    """Return a random matrix of `dtype`, its condition number (of the nonzero singular values) and its rank."""
    m, n = (int(x) for x in rng.integers(1, largest + 1, 2))
    limit = 1 / (10 * np.finfo(dtype).eps) if kappa_limit is None else kappa_limit
    kappa = float(np.exp(rng.uniform(0, np.log(limit))))
    full = min(m, n)
    rank = full if rng.random() < 0.7 else int(rng.integers(0, full + 1))
    kind = rng.choice(["geometric", "one small", "one large", "random"])
    A = from_spectrum(rng, m, n, spectrum(rng, rank, kappa, kind), KINDS[dtype])
    return (A * 10.0 ** rng.integers(-3, 4)).astype(dtype), kappa if rank > 1 else 1.0, rank


def test_ratio(A: np.ndarray, X: np.ndarray) -> float:
    """The largest Penrose test ratio in the 2-norm, products in extended precision: the oracle.

    The unit of rounding has ‖A‖₂‖X‖₂, or twice the condition number of the singular values above the cutoff if that is
    less, since a wrong X may have any norm.
    """
    eps = float(np.finfo(A.dtype).eps)
    unit = max(A.shape) * eps
    wide = np.clongdouble if np.iscomplexobj(A) else np.longdouble
    A, X = A.astype(wide), X.astype(wide)

    def norm(M: np.ndarray) -> float:
        largest = np.abs(M).max(initial=0)
        if not 0 < largest < np.inf:
            return float(largest)
        M = (M / largest).astype(np.complex128 if np.iscomplexobj(M) else np.float64)
        return float(largest * np.linalg.norm(M, 2))

    if not np.isfinite(norm(X)):
        return np.inf
    a, x = norm(A), norm(X)
    S = np.linalg.svd((A / (a or 1)).astype(np.complex128), compute_uv=False)
    kept = S[S > unit]
    kappa = min(a * x, 2 * (kept.max() / kept.min() if kept.size else 0.0))
    AX, XA = A @ X, X @ A
    parts = (
        (norm(AX @ A - A), unit * kappa * a),
        (norm(X @ AX - X), unit * kappa * x),
        (norm(AX - AX.conj().T), unit * kappa),
        (norm(XA - XA.conj().T), unit * kappa),
    )
    return max(0.0 if r == 0 else r / u if u else np.inf for r, u in parts)


test_ratio.__test__ = False  # type: ignore[attr-defined]


def frobenius_ratio(A: np.ndarray, X: np.ndarray) -> float:
    """The largest residual of X in Frobenius norms, over max(m, n)·eps·‖A‖_F‖X‖_F times that of the right side.

    Not a criterion, since a wrong X can be large; it compares two good inverses of one matrix.
    """
    eps = float(np.finfo(A.dtype).eps)
    wide = np.complex128 if np.iscomplexobj(A) else np.float64
    A, X = A.astype(wide), X.astype(wide)
    norm, AX, XA = np.linalg.norm, A @ X, X @ A
    a, x = norm(A), norm(X)
    residuals = (norm(AX @ A - A) / a, norm(X @ AX - X) / x, norm(AX - AX.conj().T), norm(XA - XA.conj().T))
    return float(max(residuals) / (max(A.shape) * eps * a * x))


@st.composite
def matrices(draw: st.DrawFn, dtype: str, largest: int = 8, full_rank: bool = False, kappa: float | None = None):
    """Hypothesis: (A, κ, rank) of `dtype`, drawn by shape, rank and singular spectrum."""
    m, n = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    limit = 1 / (10 * np.finfo(dtype).eps) if kappa is None else kappa
    k = float(10 ** draw(st.floats(0, np.log10(limit))))
    rank = min(m, n) if full_rank else draw(st.integers(0, min(m, n)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["geometric", "one small", "one large", "random"]))
    A = from_spectrum(rng, m, n, spectrum(rng, rank, k, kind), KINDS[dtype])
    return A.astype(dtype), k if rank > 1 else 1.0, rank
