"""CPU kernels that are matrix products or factorizations: SciPy's BLAS and LAPACK, and no other, so that one pool of
threads serves the whole hot loop.

NumPy's and SciPy's wheels each bring an OpenBLAS with threads of its own; a loop that alternates between them makes the
two pools fight for the cores. SciPy's is chosen since it exposes ``beta``: ``gemm`` adds an update to W in place.
BLAS is column-major: a C-ordered array's transpose is its column-major view, so C = AB is computed as Cᵀ = BᵀAᵀ.
"""  # noqa: D205

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.linalg import blas, lapack

from rfnumeric.kernels import _stacks
from rfnumeric.kernels._sharing import one_thread_each
from rfnumeric.kernels.registry import check, common_lead, implements

FLOATING = ("float32", "float64", "complex64", "complex128")
GEMM = dict(zip(map(np.dtype, FLOATING), (blas.sgemm, blas.dgemm, blas.cgemm, blas.zgemm), strict=True))
POTRF = dict(zip(FLOATING, (lapack.spotrf, lapack.dpotrf, lapack.cpotrf, lapack.zpotrf), strict=True))
POTRS = dict(zip(FLOATING[:2], (lapack.spotrs, lapack.dpotrs), strict=True))
GESV = dict(zip(FLOATING[:2], (lapack.sgesv, lapack.dgesv), strict=True))
POTRI = dict(zip(FLOATING, (lapack.spotri, lapack.dpotri, lapack.cpotri, lapack.zpotri), strict=True))


INDEXED = 2**31 - 1
"""Entries up to which no size of an array leaves the 32 bits in which BLAS counts; NumPy splits what is larger."""


def _gemm(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    gemm = GEMM[A.dtype]
    if few_rows(A, B):
        C = np.empty((A.shape[0], B.shape[1]), dtype=A.dtype)
        _stacks.copy_columns(gemm(1.0, A.T, B, 0.0, None, 1, 0).T, C)
        return C
    b, trans_b = (B.T, 0) if B.flags.c_contiguous else (B, 1)
    a, trans_a = (A.T, 0) if A.flags.c_contiguous else (A, 1)
    # By position: keywords double the time that a call takes. Anything but a column-major view would be copied.
    return gemm(1.0, b, a, 0.0, None, trans_b, trans_a).T


def few_rows(A: np.ndarray, B: np.ndarray) -> bool:
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
    if A.ndim < 2 or B.ndim < 2 or A.shape[-1] != B.shape[-2]:
        check("matmul", A, B)
    if not 0 < A.size <= INDEXED or not 0 < B.size <= INDEXED:
        return np.matmul(A, B)
    if A.ndim == B.ndim == 2:
        return _gemm(A, B)
    lead = A.shape[:-2]
    if B.shape[:-2] != lead:
        lead = common_lead("matmul", (lead, B.shape[:-2]), A, B)
        A, B = np.broadcast_to(A, lead + A.shape[-2:]), np.broadcast_to(B, lead + B.shape[-2:])
    C = np.empty((*lead, A.shape[-2], B.shape[-1]), dtype=A.dtype)
    if C.size:
        A, B = members(A), members(B)
        _stacks.multiply(A, B, members(C), 1.0, 0.0, few_rows(A[0], B[0]))
    return C


def members(X: np.ndarray) -> np.ndarray:
    """View (..., m, n) as (members, m, n)."""
    return X if X.ndim == 3 else X.reshape(-1, *X.shape[-2:])


@implements("add_outer", "numpy")
def add_outer(W: np.ndarray, U: np.ndarray, V: np.ndarray, scale: Any) -> np.ndarray:
    """See `reference.add_outer`; writes into a C-contiguous `W`."""
    if (
        min(U.ndim, V.ndim) < 2
        or W.shape[-2:] != (U.shape[-1], V.shape[-1])
        or U.shape[-2] != V.shape[-2]
        or type(scale) is not float
    ):
        check("add_outer", W, U, V, scale)
    return _add_outer(W, U, V, scale)


def _add_outer(W: np.ndarray, U: np.ndarray, V: np.ndarray, scale: Any) -> np.ndarray:
    if not W.ndim == U.ndim == V.ndim == 2:
        lead = common_lead("add_outer", (W.shape[:-2], U.shape[:-2], V.shape[:-2]), W, U, V)
        W = W if W.shape[:-2] == lead else np.broadcast_to(W, lead + W.shape[-2:])
    if not W.flags.carray:
        W = np.array(W, order="C")
    if not W.size or not U.shape[-2]:
        return W
    if W.ndim == 2:
        v, trans_v = (V.T, 0) if V.flags.c_contiguous else (V, 1)
        u, trans_u = (U.T, 1) if U.flags.c_contiguous else (U, 0)
        return GEMM[W.dtype](scale, v, u, 1.0, W.T, trans_v, trans_u, 1).T
    lead = W.shape[:-2]
    U, V = (members(X if X.shape[:-2] == lead else np.broadcast_to(X, lead + X.shape[-2:])) for X in (U, V))
    _stacks.multiply(np.swapaxes(U, 1, 2), V, members(W), np.broadcast_to(scale, lead).ravel(), 1.0)
    return W


@implements("sgd_update", "numpy")
def sgd_update(W: np.ndarray, b: np.ndarray | None, delta: np.ndarray, h: np.ndarray, lr: Any) -> tuple:
    """See `reference.sgd_update`; writes into `W` and `b`."""
    m, n = W.shape[-2:] if W.ndim > 1 else (-1, -1)
    if (
        delta.shape[-1:] != (m,)
        or h.shape[-1:] != (n,)
        or delta.shape[-2:-1] != h.shape[-2:-1]
        or (b is not None and b.shape != W.shape[:-1])
        or type(lr) is not float
        or not W.ndim == delta.ndim == h.ndim == 2
    ):
        check("sgd_update", W, b, delta, h, lr)
    step = lr / delta.shape[-2] if delta.shape[-2] else lr * 0
    if b is not None:
        if not b.flags.writeable:
            b = b.copy()
        # A row of ones times δ: the sum over the batch.
        total = np.add.reduce(delta, axis=-2)
        if b.shape != total.shape:
            b = np.array(np.broadcast_to(b, np.broadcast_shapes(b.shape, total.shape)))
        b -= (step if np.ndim(step) == 0 else np.asarray(step, dtype=b.dtype)[..., None]) * total
    return _add_outer(W, delta, h, -step), b


@implements("gram_inverse", "numpy", FLOATING)
def gram_inverse(A: np.ndarray, damping: float) -> np.ndarray:
    """See `reference.gram_inverse`; Cholesky factorization (potrf) and inversion from it (potri)."""
    if A.ndim < 2:
        check("gram_inverse", A)
    m, n = A.shape[-2:]
    Ah = np.conjugate(np.swapaxes(A, -1, -2)) if np.iscomplexobj(A) else np.swapaxes(A, -1, -2)
    G = matmul(A, Ah) if m <= n else matmul(Ah, A)
    k = min(m, n)
    if not G.size:
        return G
    diagonal = np.arange(k)
    G[..., diagonal, diagonal] += np.asarray(damping, dtype=G.real.dtype)
    with one_thread_each(math.prod(G.shape[:-2])):
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


@implements("solve_positive", "numpy")
def solve_positive(G: np.ndarray, B: np.ndarray) -> np.ndarray:
    """See `reference.solve_positive`; Cholesky factorization, and elimination where rounding has left G indefinite."""
    check("solve_positive", G, B)
    lead = np.broadcast_shapes(G.shape[:-2], B.shape[:-2])
    G, B = np.broadcast_to(G, lead + G.shape[-2:]), np.broadcast_to(B, lead + B.shape[-2:])
    X = np.empty(B.shape, dtype=B.dtype)
    if not X.size:
        return X
    name = G.dtype.name
    with one_thread_each(math.prod(lead)):
        for index in np.ndindex(lead):
            factor, info = POTRF[name](G[index].T, lower=1, clean=0)
            X[index] = POTRS[name](factor, B[index], lower=1)[0] if info == 0 else GESV[name](G[index], B[index])[2]
    return X
