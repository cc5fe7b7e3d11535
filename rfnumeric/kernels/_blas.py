"""CPU kernels that are matrix products or factorizations: SciPy's BLAS and LAPACK, and no other, so that one pool of
threads serves the whole hot loop.

NumPy's and SciPy's wheels each bring an OpenBLAS with threads of its own; a loop that alternates between them makes the
two pools fight for the cores. SciPy's is chosen since it exposes ``beta``: ``gemm`` adds an update to W in place.
BLAS is column-major: a C-ordered array's transpose is its column-major view, so C = AB is computed as Cᵀ = BᵀAᵀ.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.linalg import blas, lapack

from rfnumeric.kernels.registry import implements

FLOATING = ("float32", "float64", "complex64", "complex128")
GEMM = dict(zip(FLOATING, (blas.sgemm, blas.dgemm, blas.cgemm, blas.zgemm), strict=True))
POTRF = dict(zip(FLOATING, (lapack.spotrf, lapack.dpotrf, lapack.cpotrf, lapack.zpotrf), strict=True))
POTRI = dict(zip(FLOATING, (lapack.spotri, lapack.dpotri, lapack.cpotri, lapack.zpotri), strict=True))
_gemm_by_dtype = {np.dtype(name): function for name, function in GEMM.items()}


def _operand(X: np.ndarray) -> tuple[np.ndarray, int]:
    """Return X as a column-major array and BLAS's `trans` flag for taking Xᵀ from it."""
    flags = X.flags
    if flags.c_contiguous:
        return X.T, 0
    if flags.f_contiguous:
        return X, 1
    return np.ascontiguousarray(X).T, 0


def _gemm(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    if _few_rows(A, B):
        return np.ascontiguousarray(blas.sgemm(1.0, A.T, B, trans_a=1))
    b, trans_b = _operand(B)
    a, trans_a = _operand(A)
    return _gemm_by_dtype[A.dtype](1.0, b, a, trans_a=trans_b, trans_b=trans_a).T


def _few_rows(A: np.ndarray, B: np.ndarray) -> bool:
    """Tell whether C = AB is quicker computed as it stands and copied to row-major order than as Cᵀ = BᵀAᵀ.

    So it is for a batch times a transposed weight matrix in single precision: OpenBLAS took 0.7 to 0.8 of the time at
    32 rows, on one thread and on two, and as long or longer outside these limits and in double precision.
    """
    return (
        8 <= A.shape[0] <= 64
        and B.size >= 2**14
        and A.dtype == np.float32
        and B.flags.f_contiguous
        and A.flags.c_contiguous
        and not B.flags.c_contiguous
    )


@implements("matmul", "numpy", FLOATING)
def matmul(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """See `reference.matmul`."""
    if A.ndim < 2 or B.ndim < 2 or A.shape[-1] != B.shape[-2] or A.dtype != B.dtype or not A.size or not B.size:
        return np.matmul(A, B)
    if A.ndim == B.ndim == 2:
        return _gemm(A, B)
    lead = A.shape[:-2]
    if B.shape[:-2] != lead:
        lead = np.broadcast_shapes(lead, B.shape[:-2])
        A, B = np.broadcast_to(A, lead + A.shape[-2:]), np.broadcast_to(B, lead + B.shape[-2:])
    C = np.empty((*lead, A.shape[-2], B.shape[-1]), dtype=A.dtype)
    gemm = _gemm_by_dtype[A.dtype]
    for a, b, c in zip(_members(A), _members(B), _members(C), strict=True):
        if _few_rows(a, b):
            c[...] = blas.sgemm(1.0, a.T, b, trans_a=1)
            continue
        # cᵀ = bᵀaᵀ, written where it belongs.
        (b, trans_b), (a, trans_a) = _operand(b), _operand(a)
        gemm(1.0, b, a, beta=0.0, c=c.T, trans_a=trans_b, trans_b=trans_a, overwrite_c=1)
    return C


def _members(X: np.ndarray) -> Iterable[np.ndarray]:
    """Give the matrices of a stack one after the other, as views."""
    return X if X.ndim == 3 else (X[k] for k in np.ndindex(X.shape[:-2]))


@implements("add_outer", "numpy")
def add_outer(W: np.ndarray, U: np.ndarray, V: np.ndarray, scale: Any) -> np.ndarray:
    """See `reference.add_outer`; writes into a C-contiguous `W`."""
    if not W.ndim == U.ndim == V.ndim == 2:
        lead = np.broadcast_shapes(W.shape[:-2], U.shape[:-2], V.shape[:-2])
        W = W if W.shape[:-2] == lead else np.broadcast_to(W, lead + W.shape[-2:])
    if not W.flags.carray:
        W = np.array(W, order="C")
    if not W.size or not U.shape[-2]:
        return W
    if W.ndim == 2:
        _accumulate(W, U, V, float(scale))
        return W
    lead = W.shape[:-2]
    scales = np.broadcast_to(scale, lead).ravel().tolist()
    U, V = (X if X.shape[:-2] == lead else np.broadcast_to(X, lead + X.shape[-2:]) for X in (U, V))
    for w, u, v, factor in zip(_members(W), _members(U), _members(V), scales, strict=True):
        _accumulate(w, u, v, factor)
    return W


def _accumulate(W: np.ndarray, U: np.ndarray, V: np.ndarray, scale: float) -> None:
    # Wᵀ ← Wᵀ + scale · VᵀU; Vᵀ is V's column-major view.
    v, trans_v = _operand(V)
    u, trans_u = _operand(U)
    _gemm_by_dtype[W.dtype](scale, v, u, beta=1.0, c=W.T, trans_a=trans_v, trans_b=1 - trans_u, overwrite_c=1)


@implements("sgd_update", "numpy")
def sgd_update(W: np.ndarray, b: np.ndarray | None, delta: np.ndarray, h: np.ndarray, lr: Any) -> tuple:
    """See `reference.sgd_update`; writes into `W` and `b`."""
    step = lr / delta.shape[-2] if delta.shape[-2] else lr * 0
    if b is not None:
        if not b.flags.writeable:
            b = b.copy()
        # A row of ones times δ: the sum over the batch.
        total = np.add.reduce(delta, axis=-2)
        b -= (step if np.ndim(step) == 0 else np.asarray(step, dtype=b.dtype)[..., None]) * total
    return add_outer(W, delta, h, -step), b


@implements("gram_inverse", "numpy", FLOATING)
def gram_inverse(A: np.ndarray, damping: float) -> np.ndarray:
    """See `reference.gram_inverse`; Cholesky factorization (potrf) and inversion from it (potri)."""
    m, n = A.shape[-2:]
    Ah = np.conjugate(np.swapaxes(A, -1, -2)) if np.iscomplexobj(A) else np.swapaxes(A, -1, -2)
    G = matmul(A, Ah) if m <= n else matmul(Ah, A)
    k = min(m, n)
    if not G.size:
        return G
    diagonal = np.arange(k)
    G[..., diagonal, diagonal] += np.asarray(damping, dtype=G.real.dtype)
    for index in np.ndindex(G.shape[:-2]):
        G[index] = _cholesky_inverse(G[index])
    return G


def _cholesky_inverse(G: np.ndarray) -> np.ndarray:
    name = G.dtype.name
    if not np.isfinite(G.diagonal()).all():  # an infinite pivot would pass for a large one
        return np.full_like(G, np.nan)
    factor, info = POTRF[name](G.T, lower=1, clean=0)
    if info == 0:
        inverse, info = POTRI[name](factor, lower=1)
    if info != 0 or not np.isfinite(inverse.diagonal()).all():
        return np.full_like(G, np.nan)
    # potri fills one triangle; G.T is the conjugate of a Hermitian G, hence the conjugate comes back out.
    lower = np.tril(inverse)
    full = lower + np.conjugate(np.tril(inverse, -1)).T
    return full.T
