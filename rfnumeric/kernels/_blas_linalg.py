"""CPU kernels of `rfnumeric.linalg` that are factorizations: SciPy's BLAS and LAPACK, as in `_blas`.

Only one triangle of a Hermitian matrix is ever computed: ``syrk`` makes it, ``potrf`` factors it in place and ``symm``
multiplies by it. BLAS is column-major, so a C-ordered A is seen as Aᵀ.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import blas, lapack

from rfnumeric.kernels import reference_linalg
from rfnumeric.kernels._blas import FLOATING, POTRF
from rfnumeric.kernels._numba_linalg import small_gram_pinv
from rfnumeric.kernels.registry import implements

# LAPACK costs a few µs a call; below this size compiled loops over the whole stack are quicker.
SMALL = 32

_RANK_K = dict(zip(FLOATING, (blas.ssyrk, blas.dsyrk, blas.cherk, blas.zherk), strict=True))
_SYMM = dict(zip(FLOATING, (blas.ssymm, blas.dsymm, blas.chemm, blas.zhemm), strict=True))
_TRMM = dict(zip(FLOATING, (blas.strmm, blas.dtrmm, blas.ctrmm, blas.ztrmm), strict=True))
_TRTRI = dict(zip(FLOATING, (lapack.strtri, lapack.dtrtri, lapack.ctrtri, lapack.ztrtri), strict=True))
_DOUBLE = {"float32": "float64", "complex64": "complex128"}
# Squares of norms outside these have lost terms to underflow, or are about to overflow.
_RANGE = {"float32": 1e-25, "complex64": 1e-25, "float64": 1e-250, "complex128": 1e-250}


@implements("gram_pinv", "numpy", FLOATING)
def gram_pinv(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `reference_linalg.gram_pinv`."""
    if A.shape[-2] > A.shape[-1]:
        X, defect, kappa = gram_pinv(np.swapaxes(A, -1, -2))
        return np.swapaxes(X, -1, -2), defect, kappa
    lead = A.shape[:-2]
    m, n = A.shape[-2:]
    # By size alone: a member of a stack gives the same bits as the matrix by itself.
    if n <= 2 * SMALL and m <= SMALL:
        return small_gram_pinv(A)
    if A.ndim == 2:
        X, defect, kappa = _gram_pinv(A)
        return X, np.asarray(defect), np.asarray(kappa)
    X = np.empty((*lead, m, n), dtype=A.dtype)
    defect, kappa = np.empty(lead), np.empty(lead)
    for k in np.ndindex(lead):
        member, defect[k], kappa[k] = _gram_pinv(A[k])
        X[k] = member.T
    return np.swapaxes(X, -1, -2), defect, kappa


def _gram_pinv(A: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return the inverse of one matrix with m ≤ n: in its own precision, or in double where that does not do."""
    name = A.dtype.name
    X, defect, kappa, in_range = _attempt(A, name)
    # Out of range, the caller has to scale: the result must not depend on the scale.
    if (
        name in _DOUBLE
        and in_range
        and not defect <= reference_linalg.DEFECT * max(A.shape) * 2.0**-23 * kappa < math.inf
    ):
        X, defect, kappa, _ = _attempt(A, _DOUBLE[name])
    return X, defect, kappa


def _attempt(A: np.ndarray, work: str) -> tuple[np.ndarray, float, float, bool]:
    """Return A⁺, ‖E‖_F², ‖A‖_F‖A⁺‖_F, and whether ‖A‖_F² is in range, computed with the dtype `work`."""
    name = A.dtype.name
    is_complex = A.dtype.kind == "c"
    by_rows = not (A.flags.f_contiguous and not A.flags.c_contiguous)
    # B is column-major: Aᵀ (n×m) of a C-ordered A, and then every line below holds for conj(A); or A itself (m×n).
    B = (np.ascontiguousarray(A).T if by_rows else A).astype(work, order="F", copy=False)
    adjoint = 2 if is_complex else 1
    side, gram = (1, adjoint) if by_rows else (0, 0)
    L = _RANK_K[work](1.0, B, trans=gram, lower=1)
    trace = float(np.add.reduce(L.diagonal().real))
    in_range = _RANGE[work] < trace < 1 / _RANGE[work]
    L, info = POTRF[work](L, lower=1, clean=0, overwrite_a=1) if in_range else (L, 1)
    if info == 0:
        M, info = _TRTRI[work](L, lower=1)
    if info != 0:
        return np.full(A.shape[::-1], np.nan, dtype=A.dtype), math.nan, math.inf, in_range
    # P = MA with M = L⁻¹, or its adjoint BMᴴ. A⁺ = (MA)⁺M for any invertible M, so that M need not be exact; and trmm
    # takes half the time of trsm.
    P = _TRMM[work](1.0, M, B, side=side, lower=1, trans_a=adjoint if by_rows else 0)
    # E = I − PPᴴ, and Pᴴ(I + E) in place of P⁺: the Ben-Israel–Cohen step.
    E = _RANK_K[work](-1.0, P, beta=1.0, c=_identity(len(L), work), trans=gram, lower=1, overwrite_c=1)
    defect = _squared(E)
    np.einsum("ii->i", E)[...] += 1
    P = _SYMM[work](1.0, E, P, side=side, lower=1)
    # X = P⁺M, or its adjoint MᴴP.
    X = _TRMM[work](1.0, M, P, side=side, lower=1, trans_a=0 if by_rows else adjoint, overwrite_b=1)
    X = X.astype(name, order="F", copy=False)
    flat = X.ravel(order="K")
    squared = float(np.vdot(flat, flat).real)
    kappa = math.sqrt(trace) * math.sqrt(squared) if squared < math.inf else math.inf
    # In both cases a complex X comes out as its conjugate.
    X = np.conjugate(X) if is_complex else X
    return X if by_rows else X.T, defect, kappa, in_range


def _identity(k: int, dtype: str) -> np.ndarray:
    return np.eye(k, dtype=dtype, order="F")


def _squared(E: np.ndarray) -> float:
    """Return ‖E‖_F² of a Hermitian matrix of which the lower triangle is given and the upper one is zero."""
    flat, diagonal = E.ravel(order="K"), E.diagonal()
    return max(0.0, 2 * float(np.vdot(flat, flat).real) - float(np.vdot(diagonal, diagonal).real))
