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
from rfnumeric.kernels.registry import implements


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
    (m, n), (p, q) = A.shape[-2:], B.shape[-2:]
    lead = np.broadcast_shapes(A.shape[:-2], B.shape[:-2], X.shape[:-2])
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
def _times(M, x, y):
    """Y = Mx."""
    for i in range(M.shape[0]):
        total = x[0] - x[0]
        for j in range(M.shape[1]):
            total += M[i, j] * x[j]
        y[i] = total


@compiled()
def _transposed_times(M, x, y):
    """Y = Mᵀx, along the rows of M."""
    y[:] = 0
    for i in range(M.shape[0]):
        for j in range(M.shape[1]):
            y[j] += M[i, j] * x[i]


@compiled()
def _dot(x, y):
    total = x[0] - x[0]
    for i in range(x.shape[0]):
        total += x[i] * y[i]
    return total


@compiled()
def _meyer_update(A, X, c, d, tolerance, value, case, tall, wide):
    K, rows, columns = A.shape
    # Vectors of length `rows` and `columns`; the names are those of the theorem.
    n, w, r, s, b1 = tall[0], tall[1], tall[2], tall[3], tall[4]
    v, m, p, t, a1, a2 = wide[0], wide[1], wide[2], wide[3], wide[4], wide[5]
    for k in range(K):
        a, x = A[k], X[k]
        _times(x, c[k], v)
        _transposed_times(x, d[k], n)
        beta = 1 + _dot(d[k], v)
        _times(a, v, s)
        for i in range(rows):
            w[i] = c[k, i] - s[i]
        _times(x, w, t)
        _times(a, t, s)
        for i in range(rows):
            w[i] -= s[i]
        _transposed_times(a, n, t)
        for j in range(columns):
            m[j] = d[k, j] - t[j]
        _transposed_times(x, m, s)
        _transposed_times(a, s, t)
        for j in range(columns):
            m[j] -= t[j]
        cc, dd = _dot(c[k], c[k]), _dot(d[k], d[k])
        vv, nn, ww, mm = _dot(v, v), _dot(n, n), _dot(w, w), _dot(m, m)
        no_w = math.sqrt(ww) <= tolerance[k] * math.sqrt(cc)
        no_m = math.sqrt(mm) <= tolerance[k] * math.sqrt(dd)
        no_beta = abs(beta) <= tolerance[k] * (1 + math.sqrt(dd) * math.sqrt(vv))
        if no_w and no_m and no_beta:
            case[k] = 6
            _transposed_times(x, v, r)
            _times(x, n, p)
            f, g = (vv if vv != 0 else 1 + vv), (nn if nn != 0 else 1 + nn)
            scalar = _dot(n, r) / (f * g)
            for i in range(rows):
                b1[i] = scalar * n[i] - r[i] / f
            for j in range(columns):
                a1[j] = v[j]
                a2[j] = -p[j] / g
        elif no_w:
            case[k] = 2 if no_beta else 3
            _transposed_times(x, v, b1)
            sigma = vv * mm + beta * beta
            sigma = sigma if sigma != 0 else 1 + sigma
            for j in range(columns):
                a1[j] = (beta * m[j] - mm * v[j]) / sigma
                a2[j] = -(vv * m[j] + beta * v[j]) / sigma
        elif no_m:
            case[k] = 4 if no_beta else 5
            _times(x, n, p)
            sigma = nn * ww + beta * beta
            sigma = sigma if sigma != 0 else 1 + sigma
            b1[:] = w
            for j in range(columns):
                a1[j] = (beta * p[j] - nn * v[j]) / sigma
                a2[j] = -(ww * p[j] + beta * v[j]) / sigma
        else:
            case[k] = 1
            for i in range(rows):
                b1[i] = w[i] / ww
            for j in range(columns):
                a1[j] = beta * m[j] / mm - v[j]
                a2[j] = -m[j] / mm
        for j in range(columns):
            for i in range(rows):
                value[k, j, i] = x[j, i] + a1[j] * b1[i] + a2[j] * n[i]


@implements("meyer_update", "numpy")
def meyer_update(
    A: np.ndarray, X: np.ndarray, c: np.ndarray, d: np.ndarray, tolerance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """See `reference_linalg.meyer_update`."""
    rows, columns = A.shape[-2:]
    lead = np.broadcast_shapes(A.shape[:-2], X.shape[:-2], c.shape[:-1], d.shape[:-1], np.shape(tolerance))
    if not rows * columns:
        return reference_linalg.meyer_update(A, X, c, d, np.asarray(tolerance))
    members = math.prod(lead)
    operands = [_members(np.broadcast_to(M, lead + M.shape[-2:])) for M in (A, X)]
    operands += [_members(np.broadcast_to(x, lead + x.shape[-1:])[..., None, :])[:, 0] for x in (c, d)]
    limits = np.array(np.broadcast_to(tolerance, lead), dtype=A.dtype).reshape(members)
    value, case = np.empty((members, columns, rows), dtype=A.dtype), np.empty(members, dtype=np.int64)
    tall, wide = np.empty((5, rows), dtype=A.dtype), np.empty((6, columns), dtype=A.dtype)
    _meyer_update(*operands, limits, value, case, tall, wide)
    return value.reshape(*lead, columns, rows), case.reshape(lead)


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
    m, n = A.shape[-2:]
    if not 0 < m * n <= 1024:
        return reference_linalg.penrose_norms(A, X)
    lead = np.broadcast_shapes(A.shape[:-2], X.shape[:-2])
    a, x = (_members(np.broadcast_to(M, lead + M.shape[-2:])) for M in (A, X))
    norms = np.empty((6, len(a)), dtype=A.dtype)
    scratch = (np.empty(shape, dtype=A.dtype) for shape in ((m, m), (n, n), max(m, n)))
    _penrose_norms(a, x, *scratch, norms)
    return norms.reshape(6, *lead)
