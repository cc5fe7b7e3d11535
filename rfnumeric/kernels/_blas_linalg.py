"""CPU kernels of `rfnumeric.linalg` that are factorizations: SciPy's BLAS and LAPACK, as in `_blas`.

Only one triangle of a Hermitian matrix is ever computed: ``syrk`` makes G, ``potrf`` and ``potri`` invert it in place and
``symm`` multiplies by it. BLAS is column-major, so a C-ordered A is seen as Aᵀ.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import blas, lapack

from rfnumeric.kernels._blas import FLOATING, GEMM
from rfnumeric.kernels.registry import implements

# LAPACK costs a few µs a call; below this size compiled loops over the whole stack are quicker.
SMALL = 32

_RANK_K = {"float64": blas.dsyrk, "complex128": blas.zherk}
_SYMM = {"float64": blas.dsymm, "complex128": blas.zhemm}
_POTRF = {"float64": lapack.dpotrf, "complex128": lapack.zpotrf}
_POTRI = {"float64": lapack.dpotri, "complex128": lapack.zpotri}
_DOUBLE = {"float32": "float64", "float64": "float64", "complex64": "complex128", "complex128": "complex128"}


@implements("gram_pinv", "numpy", FLOATING)
def gram_pinv(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `reference_linalg.gram_pinv`."""
    if A.shape[-2] > A.shape[-1]:
        X, defect, kappa = gram_pinv(np.swapaxes(A, -1, -2))
        return np.swapaxes(X, -1, -2), defect, kappa
    if A.ndim == 2:
        return _gram_pinv(A)
    lead = A.shape[:-2]
    m, n = A.shape[-2:]
    if n <= 2 * SMALL and m <= SMALL:
        from rfnumeric.kernels._numba_linalg import small_gram_pinv

        return small_gram_pinv(A)
    X = np.empty((*lead, m, n), dtype=A.dtype)
    defect, kappa = np.empty(lead, dtype=A.real.dtype), np.empty(lead)
    for k in np.ndindex(lead):
        member, defect[k], kappa[k] = _gram_pinv(A[k])
        X[k] = member.T
    return np.swapaxes(X, -1, -2), defect, kappa


def _gram_pinv(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the inverse of one matrix with m ≤ n."""
    name = A.dtype.name
    double = _DOUBLE[name]
    by_rows = not (A.flags.f_contiguous and not A.flags.c_contiguous)
    # B is column-major: Aᵀ (n×m) of a C-ordered A, else A itself (m×n). For complex A the former gives conj(G).
    B = np.ascontiguousarray(A).T if by_rows else A
    D = B.astype(double, order="F", copy=False)
    trans = (1 if double == "float64" else 2) if by_rows else 0
    G = _RANK_K[double](1.0, D, trans=trans, lower=1)
    trace_G = float(G.diagonal().real.sum())
    factor, info = _POTRF[double](G, lower=1, clean=0, overwrite_a=1)
    if info == 0:
        Z, info = _POTRI[double](factor, lower=1, overwrite_c=1)
    if info != 0:
        X = np.full((A.shape[1], A.shape[0]), np.nan, dtype=A.dtype)
        return X, np.asarray(np.nan, dtype=A.real.dtype), np.asarray(np.inf)
    kappa = _frobenius_condition(trace_G, float(Z.diagonal().real.sum()))
    # Y is X (or its conjugate) seen by columns in the first case, Xᴴ in the second.
    Y = _SYMM[double](1.0, Z, D, side=1 if by_rows else 0, lower=1)
    Y, size = _finish(B, Y.astype(name, order="F", copy=False), by_rows)
    X = Y if by_rows else Y.T
    # X̄ stands where X should in both complex cases.
    X = np.conjugate(X) if name != A.real.dtype.name else X
    defect = size if name != double else size * size
    return X, np.asarray(defect, dtype=A.real.dtype), np.asarray(kappa)


def _finish(B: np.ndarray, Y: np.ndarray, by_rows: bool) -> tuple[np.ndarray, float]:
    """Return Y after X ← X + X(I − AX) in double precision, unchanged in single, and ‖I − AX‖_F before."""
    gemm = GEMM[B.dtype.name]
    k = min(B.shape)
    R = np.eye(k, dtype=B.dtype, order="F")
    if by_rows:
        R = gemm(-1.0, B, Y, trans_a=2, beta=1.0, c=R, overwrite_c=1)
    else:
        R = gemm(-1.0, B, Y, trans_b=2, beta=1.0, c=R, overwrite_c=1)
    flat = R.ravel(order="K")
    size = math.sqrt(float(np.vdot(flat, flat).real))
    if B.dtype.itemsize == R.real.dtype.itemsize * (1 + np.iscomplexobj(B)) and B.real.dtype == np.float64:
        R.ravel(order="K")[:: k + 1] += 1.0
        Y = gemm(1.0, Y, R) if by_rows else gemm(1.0, R, Y, trans_a=2)
    return Y, size


def _frobenius_condition(trace_G: float, trace_Z: float) -> float:
    if not (1e-250 < trace_G < 1e250 and 1e-250 < trace_Z < 1e250):
        return math.inf
    return math.sqrt(trace_G) * math.sqrt(trace_Z)
