"""CPU kernels of `rfnumeric.linalg` that are loops over many small matrices, compiled by Numba as in `_numba`.

Inner loops run along contiguous rows, so that they vectorize without reordering a sum. Each is compiled at its first
call with a dtype and then cached: few programs use all of them.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rfnumeric.kernels import reference_linalg
from rfnumeric.kernels._blas import matmul
from rfnumeric.kernels._jit import compiled
from rfnumeric.kernels.registry import check, common_lead, implements


@compiled()
def _gram_pinv(A, X, P, Ph, L, E, x, defect, kappa):
    K, m, n = A.shape
    for s in range(K):
        trace = 0.0
        for i in range(m):
            for l in range(n):
                P[i, l] = A[s, i, l]
                Ph[l, i] = np.conj(P[i, l])
        L[:] = 0
        for i in range(m):
            for l in range(n):
                a = P[i, l]
                for j in range(i + 1):
                    L[i, j] += a * Ph[l, j]
            trace += L[i, i].real
        definite = trace < math.inf
        # Cholesky by rows, and P = L⁻¹A along with it.
        for i in range(m):
            for j in range(i):
                f = L[i, j]
                for k in range(j):
                    f -= L[i, k] * np.conj(L[j, k])
                f /= L[j, j]
                L[i, j] = f
                L[i, i] -= f * np.conj(f)
                for l in range(n):
                    P[i, l] -= f * P[j, l]
            pivot = L[i, i].real
            if not pivot > 0:
                definite = False
                break
            pivot = math.sqrt(pivot)
            L[i, i] = pivot
            for l in range(n):
                P[i, l] /= pivot
        if not definite:
            X[s] = math.nan
            defect[s] = math.nan
            kappa[s] = math.inf
            continue
        E[:] = 0
        for i in range(m):
            E[i, i] = 1
            for l in range(n):
                Ph[l, i] = np.conj(P[i, l])
        for i in range(m):
            for l in range(n):
                a = P[i, l]
                for j in range(m):
                    E[i, j] -= a * Ph[l, j]
        left = 0.0
        for i in range(m):
            for j in range(m):
                left += E[i, j].real ** 2 + E[i, j].imag ** 2
        for i in range(m):
            E[i, i] += 1
        squared = 0.0
        # Row by row: x = p(I + E), then x ← xL⁻¹.
        for l in range(n):
            x[:] = 0
            for i in range(m):
                a = Ph[l, i]
                for j in range(m):
                    x[j] += a * E[i, j]
            for j in range(m - 1, -1, -1):
                x[j] /= L[j, j]
                a = x[j]
                for i in range(j):
                    x[i] -= a * L[j, i]
            for j in range(m):
                X[s, l, j] = x[j]
                squared += x[j].real ** 2 + x[j].imag ** 2
        defect[s] = left
        safe = 1e-250 < trace < 1e250 and squared < math.inf
        kappa[s] = math.sqrt(trace) * math.sqrt(squared) if safe else math.inf


def small_gram_pinv(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `reference_linalg.gram_pinv` does for a stack with m ≤ n, all of it in one compiled loop."""
    lead, (m, n) = A.shape[:-2], A.shape[-2:]
    double: Any = np.complex128 if np.iscomplexobj(A) else np.float64
    flat = _members(A)
    X = np.empty((len(flat), n, m), dtype=A.dtype)
    defect, kappa = np.empty(len(flat)), np.empty(len(flat))
    P, Ph, L, E, x = (np.empty(shape, dtype=double) for shape in ((m, n), (n, m), (m, m), (m, m), (m,)))
    _gram_pinv(flat, X, P, Ph, L, E, x, defect, kappa)
    return X.reshape(*lead, n, m), defect.reshape(lead), kappa.reshape(lead)


@compiled()
def _inverse_ratio(A, X, Q, row, columns, unit, found):
    K, m, n = A.shape
    for k in range(K):
        a, x = A[k], X[k]
        left = skew = rows = 0.0
        columns[:] = 0
        for i in range(m):
            squared = 0.0
            row[:] = 0
            row[i] = -1
            for l in range(n):
                f = a[i, l]
                squared += f.real * f.real + f.imag * f.imag
                for j in range(m):
                    row[j] += f * x[l, j]
            rows = max(rows, squared)
            for j in range(m):
                left += row[j].real * row[j].real + row[j].imag * row[j].imag
        for i in range(n):
            Q[i, :] = 0
            for l in range(m):
                f = x[i, l]
                columns[l] += f.real * f.real + f.imag * f.imag
                for j in range(n):
                    Q[i, j] += f * a[l, j]
        for i in range(n):
            for j in range(i):
                f = Q[i, j] - np.conj(Q[j, i])
                skew += 2 * (f.real * f.real + f.imag * f.imag)
            skew += 4 * Q[i, i].imag ** 2
        e = max(2 * math.sqrt(left), math.sqrt(skew))
        size = math.sqrt(rows * columns.max())
        found[k] = e / (unit * size) if e <= 0.5 and 0 < size < math.inf else math.inf


def small_inverse_ratio(A: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return what `reference_linalg.inverse_ratio` does for a stack with m ≤ n, all of it in one compiled loop."""
    m, n = A.shape[-2:]
    lead = A.shape[:-2]
    if lead != X.shape[:-2]:
        lead = common_lead("inverse_ratio", (lead, X.shape[:-2]), A, X)
    if lead:
        A, X = (np.broadcast_to(M, lead + M.shape[-2:]) for M in (A, X))
    a, x = _members(A), _members(X)
    found = np.empty(len(a))
    scratch = (np.empty((n, n), dtype=A.dtype), np.empty(m, dtype=A.dtype), np.empty(m))
    _inverse_ratio(a, x, *scratch, n * float(np.finfo(A.dtype).eps), found)
    return found.reshape(lead)


def _members(A: np.ndarray) -> np.ndarray:
    """View (..., m, n) as (members, m, n), copied where it is not contiguous or, as signatures tell, read-only."""
    A = A if A.flags.carray else np.array(A, order="C")
    return A.reshape(math.prod(A.shape[:-2]), *A.shape[-2:])


@compiled()
def _kronecker_apply(A, Bt, X, Y, row):
    members, m, n = A.shape
    q, p = Bt.shape[1:]
    for s in range(members):
        for i in range(m):
            # One row of AX, then of AXBᵀ: no temporary of matrix size.
            row[:] = 0
            for k in range(n):
                a = A[s, i, k]
                for j in range(q):
                    row[j] += a * X[s, k, j]
            for j in range(p):
                Y[s, i, j] = 0
            for k in range(q):
                a = row[k]
                for j in range(p):
                    Y[s, i, j] += a * Bt[s, k, j]


@implements("kronecker_apply", "numpy")
def kronecker_apply(A: np.ndarray, B: np.ndarray, X: np.ndarray) -> np.ndarray:
    """See `reference_linalg.kronecker_apply`; many small factors in one compiled loop, large ones through BLAS."""
    if min(A.ndim, B.ndim) < 2 or X.shape[-2:] != (A.shape[-1], B.shape[-1]):
        check("kronecker_apply", A, B, X)
    (m, n), (p, q) = A.shape[-2:], B.shape[-2:]
    lead = common_lead("kronecker_apply", (A.shape[:-2], B.shape[:-2], X.shape[:-2]), A, B, X)
    members = math.prod(lead)
    if members > 1 and 0 < m * q * (n + p) <= 20000:
        Bt = np.swapaxes(B, -1, -2)
        operands = (_members(np.broadcast_to(M, lead + M.shape[-2:])) for M in (A, Bt, X))
        Y = np.empty((members, m, p), dtype=A.dtype)
        _kronecker_apply(*operands, Y, np.empty(q, dtype=A.dtype))
        return Y.reshape(*lead, m, p)
    Bt = np.swapaxes(B, -1, -2)
    if m * q * (n + p) <= n * p * (q + m):
        return matmul(matmul(A, X), Bt)
    return matmul(A, matmul(X, Bt))


@compiled()
def _penrose_norms(A, X, P, Q, row, norms):
    K, m, n = A.shape
    for k in range(K):
        a, x = A[k], X[k]
        s0 = s1 = s2 = s3 = s4 = s5 = 0.0
        for i in range(m):
            P[i, :] = 0
            for l in range(n):
                f = a[i, l]
                for j in range(m):
                    P[i, j] += f * x[l, j]
        for i in range(n):
            Q[i, :] = 0
            for l in range(m):
                f = x[i, l]
                for j in range(n):
                    Q[i, j] += f * a[l, j]
        for i in range(m):
            for j in range(n):
                row[j] = -a[i, j]
            for l in range(m):
                f = P[i, l]
                for j in range(n):
                    row[j] += f * a[l, j]
                s2 += (f - P[l, i]) ** 2
                s4 += f**2
            for j in range(n):
                s0 += row[j] ** 2
        for i in range(n):
            for j in range(m):
                row[j] = -x[i, j]
            for l in range(m):
                f = x[i, l]
                for j in range(m):
                    row[j] += f * P[l, j]
            for j in range(m):
                s1 += row[j] ** 2
            for l in range(n):
                s3 += (Q[i, l] - Q[l, i]) ** 2
                s5 += Q[i, l] ** 2
        norms[0, k], norms[1, k], norms[2, k] = math.sqrt(s0), math.sqrt(s1), math.sqrt(s2)
        norms[3, k], norms[4, k], norms[5, k] = math.sqrt(s3), math.sqrt(s4), math.sqrt(s5)


@implements("penrose_norms", "numpy")
def penrose_norms(A: np.ndarray, X: np.ndarray) -> np.ndarray:
    """See `reference_linalg.penrose_norms`; small matrices in one compiled loop without temporaries, others by BLAS."""
    if A.ndim < 2 or X.shape[-2:] != A.shape[:-3:-1]:
        check("penrose_norms", A, X)
    m, n = A.shape[-2:]
    if not 0 < m * n <= 1024:
        return reference_linalg.penrose_norms(A, X)
    lead = common_lead("penrose_norms", (A.shape[:-2], X.shape[:-2]), A, X)
    a, x = (_members(np.broadcast_to(M, lead + M.shape[-2:])) for M in (A, X))
    norms = np.empty((6, len(a)), dtype=A.dtype)
    scratch = (np.empty(shape, dtype=A.dtype) for shape in ((m, m), (n, n), max(m, n)))
    _penrose_norms(a, x, *scratch, norms)
    return norms.reshape(6, *lead)
