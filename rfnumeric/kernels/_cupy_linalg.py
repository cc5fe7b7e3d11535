"""GPU kernels of `rfnumeric.linalg`: one block a member of a stack of small matrices, and cuSOLVER for the Gram engine.

**Not yet run on a GPU**; see `_cupy` for what is checked without one.

Each member's matrices and scratch lie in global memory, where the first-level cache holds what a small matrix needs, so
that no size is too large to be right. Every thread computes whole entries; no sum depends on timing.
"""

from __future__ import annotations

import math
from typing import Any

import cupy

from rfnumeric.kernels import reference_linalg
from rfnumeric.kernels._cupy import _raw
from rfnumeric.kernels.registry import implements

THREADS = 128  # PENROSE_NORMS has room for as many partial sums
# Above this many entries a member keeps more than one block busy, and cuBLAS is the better tool.
SMALL = 4096

# P = UV, X = PU, Y = VP, then both updates, all steps in one launch.
COUPLED_STEPS = r"""
extern "C" __global__ void coupled_steps(T* Us, T* Vs, T* Ps, T* Xs, T* Ys, const T own_U, const T own_V,
                                         const T rate_U, const T rate_V, const long long a, const long long b,
                                         const long long steps)
{
    const long long member = blockIdx.x, size = a * b;
    T *U = Us + member * size, *V = Vs + member * size, *X = Xs + member * size, *Y = Ys + member * size;
    T* P = Ps + member * a * a;
    for (long long t = 0; t < steps; ++t) {
        for (long long e = threadIdx.x; e < a * a; e += blockDim.x) {
            const long long i = e / a, j = e % a;
            T sum = 0;
            for (long long k = 0; k < b; ++k) sum += U[i * b + k] * V[k * a + j];
            P[e] = sum;
        }
        __syncthreads();
        for (long long e = threadIdx.x; e < size; e += blockDim.x) {
            T sum = 0;
            for (long long k = 0; k < a; ++k) sum += P[(e / b) * a + k] * U[k * b + e % b];
            X[e] = sum;
            sum = 0;
            for (long long k = 0; k < a; ++k) sum += V[(e / a) * a + k] * P[k * a + e % a];
            Y[e] = sum;
        }
        __syncthreads();
        for (long long e = threadIdx.x; e < size; e += blockDim.x) {
            if (rate_U != T(0)) U[e] += own_U * U[e] - rate_U * X[e];
            if (rate_V != T(0)) V[e] += own_V * V[e] - rate_V * Y[e];
        }
        __syncthreads();
    }
}
"""

# R = AX and Y = RBᵀ.
KRONECKER_APPLY = r"""
extern "C" __global__ void kronecker_apply(const T* As, const T* Bs, const T* Xs, T* Rs, T* Ys, const long long m,
                                           const long long n, const long long p, const long long q)
{
    const long long member = blockIdx.x;
    const T *A = As + member * m * n, *B = Bs + member * p * q, *X = Xs + member * n * q;
    T *R = Rs + member * m * q, *Y = Ys + member * m * p;
    for (long long e = threadIdx.x; e < m * q; e += blockDim.x) {
        T sum = 0;
        for (long long k = 0; k < n; ++k) sum += A[(e / q) * n + k] * X[k * q + e % q];
        R[e] = sum;
    }
    __syncthreads();
    for (long long e = threadIdx.x; e < m * p; e += blockDim.x) {
        T sum = 0;
        for (long long k = 0; k < q; ++k) sum += R[(e / p) * q + k] * B[(e % p) * q + k];
        Y[e] = sum;
    }
}
"""

# Letters as in `reference_linalg.meyer_update`. Every thread computes the scalars, so that all take the same case.
MEYER_UPDATE = r"""
static __device__ T dot(const T* x, const T* y, const long long size)
{
    T sum = 0;
    for (long long i = 0; i < size; ++i) sum += x[i] * y[i];
    return sum;
}
static __device__ int exponent(const T* x, const long long size)
{
    const int limit = sizeof(T) == 4 ? 126 : 1022;
    T largest = 0;
    for (long long i = 0; i < size; ++i) largest = fabs(x[i]) > largest ? fabs(x[i]) : largest;
    if (!(largest > T(0)) || largest - largest != T(0)) return 0;
    int e;
    frexp(double(largest), &e);
    return e - 1 < -limit ? -limit : e - 1 > limit ? limit : e - 1;
}
static __device__ T power(const int k) { return T(ldexp(1.0, k)); }
static __device__ void scaled(const T* x, const T scale, T* y, const long long size)
{
    for (long long i = threadIdx.x; i < size; i += blockDim.x) y[i] = x[i] * scale;
    __syncthreads();
}
// The largest magnitude of each row, or its sum of squares.
static __device__ void largest_of_rows(const T* M, T* y, const long long rows, const long long columns)
{
    for (long long i = threadIdx.x; i < rows; i += blockDim.x) {
        T largest = 0;
        for (long long j = 0; j < columns; ++j) {
            const T size = fabs(M[i * columns + j]);
            largest = size > largest ? size : largest;
        }
        y[i] = largest;
    }
    __syncthreads();
}
static __device__ T norm(const T* M, const T scale, T* y, const long long rows, const long long columns)
{
    for (long long i = threadIdx.x; i < rows; i += blockDim.x) {
        T sum = 0;
        for (long long j = 0; j < columns; ++j) {
            const T entry = M[i * columns + j] * scale;
            sum += entry * entry;
        }
        y[i] = sum;
    }
    __syncthreads();
    T sum = 0;
    for (long long i = 0; i < rows; ++i) sum += y[i];
    __syncthreads();
    return sqrt(sum);
}
static __device__ void times(const T* M, const T scale, const T* x, T* y, const long long rows,
                             const long long columns)
{
    for (long long i = threadIdx.x; i < rows; i += blockDim.x) {
        T sum = 0;
        for (long long j = 0; j < columns; ++j) sum += M[i * columns + j] * scale * x[j];
        y[i] = sum;
    }
    __syncthreads();
}
static __device__ void transposed_times(const T* M, const T scale, const T* x, T* y, const long long rows,
                                        const long long columns)
{
    for (long long j = threadIdx.x; j < columns; j += blockDim.x) {
        T sum = 0;
        for (long long i = 0; i < rows; ++i) sum += M[i * columns + j] * scale * x[i];
        y[j] = sum;
    }
    __syncthreads();
}
static __device__ void subtract(const T* x, const T* y, T* difference, const long long size)
{
    for (long long i = threadIdx.x; i < size; i += blockDim.x) difference[i] = x[i] - y[i];
    __syncthreads();
}
extern "C" __global__ void meyer_update(const T* As, const T* Xs, const T* cs, const T* ds, const T* tolerances,
                                        const T noise, T* values, long long* cases, T* scratch, const long long rows,
                                        const long long columns)
{
    const long long member = blockIdx.x, size = rows * columns;
    const T *A = As + member * size, *X = Xs + member * size;
    T* free_place = scratch + member * (6 * rows + 7 * columns);
    T *n = free_place, *w = n + rows, *r = w + rows, *s = r + rows, *b1 = s + rows, *c = b1 + rows, *v = c + rows;
    T *m = v + columns, *p = m + columns, *t = p + columns, *a1 = t + columns, *a2 = a1 + columns, *d = a2 + columns;
    largest_of_rows(A, s, rows, columns);
    const int e = exponent(s, rows), e_c = exponent(cs + member * rows, rows);
    const int e_d = exponent(ds + member * columns, columns), above = e_c + e_d > e ? e_c + e_d - e : 0;
    const T f = power(e), g = power(-e), tau = power(e_c + e_d - e - above), one = power(-above);
    scaled(cs + member * rows, power(-e_c), c, rows);
    scaled(ds + member * columns, power(-e_d), d, columns);
    const T norm_A = norm(A, g, s, rows, columns), norm_X = norm(X, f, t, columns, rows);
    times(X, f, c, v, columns, rows);
    transposed_times(X, f, d, n, columns, rows);
    times(A, g, v, s, rows, columns);
    subtract(c, s, w, rows);
    times(X, f, w, t, columns, rows);
    times(A, g, t, s, rows, columns);
    subtract(w, s, w, rows);
    transposed_times(A, g, n, t, rows, columns);
    subtract(d, t, m, columns);
    transposed_times(X, f, m, s, columns, rows);
    transposed_times(A, g, s, t, rows, columns);
    subtract(m, t, m, columns);
    transposed_times(X, f, v, r, columns, rows);
    times(X, f, n, p, columns, rows);
    const T beta = one + tau * dot(d, v, columns), tolerance = tolerances[member];
    const T vv = dot(v, v, columns), nn = dot(n, n, rows), ww = dot(w, w, rows), mm = dot(m, m, columns);
    const T norm_c = sqrt(dot(c, c, rows)), norm_d = sqrt(dot(d, d, columns)), norm_v = sqrt(vv), norm_n = sqrt(nn);
    const bool no_w = sqrt(ww) <= tolerance * norm_c + noise * norm_A * norm_v;
    const bool no_m = sqrt(mm) <= tolerance * norm_d + noise * norm_A * norm_n;
    const T lost = norm_A * norm_v * norm_n + norm_X * norm_c * norm_d;
    const bool no_beta = fabs(beta) <= tolerance * (one + tau * norm_d * norm_v) + noise * tau * lost;
    const int which = no_w ? (no_beta ? (no_m ? 6 : 2) : 3) : no_m ? (no_beta ? 4 : 5) : 1;
    const T one_v = vv != T(0) ? vv : T(1), one_n = nn != T(0) ? nn : T(1);
    const T left = which < 4 ? mm : nn, right = which < 4 ? vv : ww, *inner = which < 4 ? m : p;
    const T sigma = tau * tau * left * right + beta * beta, share = tau / (sigma != T(0) ? sigma : T(1));
    const T scalar = dot(n, r, rows) / one_v / one_n;
    for (long long i = threadIdx.x; i < rows; i += blockDim.x)
        b1[i] = which == 6 ? scalar * n[i] - r[i] / one_v : which == 1 ? w[i] / ww : which < 4 ? r[i] : w[i];
    for (long long j = threadIdx.x; j < columns; j += blockDim.x) {
        if (which == 6) { a1[j] = v[j]; a2[j] = -p[j] / one_n; }
        else if (which == 1) { a1[j] = beta / tau * m[j] / mm - v[j]; a2[j] = -m[j] / mm; }
        else {
            a1[j] = share * (beta * inner[j] - tau * left * v[j]);
            a2[j] = -share * (tau * right * inner[j] + beta * v[j]);
        }
    }
    __syncthreads();
    for (long long k = threadIdx.x; k < size; k += blockDim.x)
        values[member * size + k] = (X[k] * f + a1[k / rows] * b1[k % rows] + a2[k / rows] * n[k % rows]) * g;
    if (threadIdx.x == 0) cases[member] = which;
}
"""

# P = AX and Q = XA; then each thread sums the squares of whole rows, and the first one adds the threads up in order.
PENROSE_NORMS = r"""
extern "C" __global__ void penrose_norms(const T* As, const T* Xs, T* Ps, T* Qs, T* norms, const long long members,
                                         const long long m, const long long n)
{
    __shared__ double sums[6][128];
    const long long member = blockIdx.x;
    const T *A = As + member * m * n, *X = Xs + member * m * n;
    T *P = Ps + member * m * m, *Q = Qs + member * n * n;
    for (int k = 0; k < 6; ++k) sums[k][threadIdx.x] = 0.0;
    for (long long e = threadIdx.x; e < m * m; e += blockDim.x) {
        T sum = 0;
        for (long long k = 0; k < n; ++k) sum += A[(e / m) * n + k] * X[k * m + e % m];
        P[e] = sum;
    }
    for (long long e = threadIdx.x; e < n * n; e += blockDim.x) {
        T sum = 0;
        for (long long k = 0; k < m; ++k) sum += X[(e / n) * m + k] * A[k * n + e % n];
        Q[e] = sum;
    }
    __syncthreads();
    for (long long e = threadIdx.x; e < m * n; e += blockDim.x) {
        T one = 0, two = 0;
        for (long long k = 0; k < m; ++k) one += P[(e / n) * m + k] * A[k * n + e % n];
        for (long long k = 0; k < m; ++k) two += X[(e / m) * m + k] * P[k * m + e % m];
        one -= A[e];
        two -= X[e];
        sums[0][threadIdx.x] += double(one) * one;
        sums[1][threadIdx.x] += double(two) * two;
    }
    for (long long e = threadIdx.x; e < m * m; e += blockDim.x) {
        const T skew = P[e] - P[(e % m) * m + e / m];
        sums[2][threadIdx.x] += double(skew) * skew;
        sums[4][threadIdx.x] += double(P[e]) * P[e];
    }
    for (long long e = threadIdx.x; e < n * n; e += blockDim.x) {
        const T skew = Q[e] - Q[(e % n) * n + e / n];
        sums[3][threadIdx.x] += double(skew) * skew;
        sums[5][threadIdx.x] += double(Q[e]) * Q[e];
    }
    __syncthreads();
    if (threadIdx.x < 6) {
        double total = 0.0;
        for (unsigned s = 0; s < blockDim.x; ++s) total += sums[threadIdx.x][s];
        norms[threadIdx.x * members + member] = T(sqrt(total));
    }
}
"""


def _stack(X: Any, lead: tuple[int, ...], trailing: int) -> Any:
    """Return X as a contiguous (members, …) array of its own."""
    shape = X.shape[X.ndim - trailing :]
    return cupy.array(cupy.broadcast_to(X, lead + shape), order="C").reshape(math.prod(lead), *shape)


def _sizes(*sizes: int) -> tuple[Any, ...]:
    return tuple(cupy.int64(size) for size in sizes)


@implements("coupled_steps", "cupy")
def coupled_steps(
    U: Any, V: Any, rate_U: float, rate_V: float, decay: float, as_printed: bool, steps: int
) -> tuple[Any, Any]:
    """See `reference_linalg.coupled_steps`; all steps of a stack of small pairs in one launch."""
    a, b = U.shape[-2:]
    lead = U.shape[:-2]
    if not 0 < a * b <= SMALL or not math.prod(lead) or not steps:
        return reference_linalg.coupled_steps(U, V, rate_U, rate_V, decay, as_printed, steps)
    u, v = _stack(U, lead, 2), _stack(V, lead, 2)
    scratch = (cupy.empty((len(u), a, a), dtype=U.dtype), cupy.empty_like(u), cupy.empty_like(v))
    own = 0.0 if as_printed else 1.0 - decay
    scalars = (U.dtype.type(x) for x in (rate_U * own, rate_V * own, rate_U, rate_V))
    kernel = _raw(COUPLED_STEPS, "coupled_steps", U.dtype.name)
    kernel((len(u),), (THREADS,), (u, v, *scratch, *scalars, *_sizes(a, b, steps)))
    return u.reshape(U.shape), v.reshape(V.shape)


@implements("kronecker_apply", "cupy")
def kronecker_apply(A: Any, B: Any, X: Any) -> Any:
    """See `reference_linalg.kronecker_apply`; many small factors in one launch, others by cuBLAS."""
    (m, n), (p, q) = A.shape[-2:], B.shape[-2:]
    lead = cupy.broadcast_shapes(A.shape[:-2], B.shape[:-2], X.shape[:-2])
    members = math.prod(lead)
    if members < 2 or not 0 < max(m * n, p * q, n * q, m * p) <= SMALL or not min(m, n, p, q):
        return reference_linalg.kronecker_apply(A, B, X)
    operands = [_stack(M, lead, 2) for M in (A, B, X)]
    R, Y = cupy.empty((members, m, q), dtype=A.dtype), cupy.empty((members, m, p), dtype=A.dtype)
    kernel = _raw(KRONECKER_APPLY, "kronecker_apply", A.dtype.name)
    kernel((members,), (THREADS,), (*operands, R, Y, *_sizes(m, n, p, q)))
    return Y.reshape(*lead, m, p)


@implements("meyer_update", "cupy")
def meyer_update(A: Any, X: Any, c: Any, d: Any, tolerance: Any, noise: float = 0.0) -> tuple[Any, Any]:
    """See `reference_linalg.meyer_update`."""
    rows, columns = A.shape[-2:]
    lead = cupy.broadcast_shapes(A.shape[:-2], X.shape[:-2], c.shape[:-1], d.shape[:-1], tolerance.shape)
    members = math.prod(lead)
    if not 0 < rows * columns <= SMALL or not members:
        return reference_linalg.meyer_update(A, X, c, d, tolerance, noise)
    operands = [_stack(A, lead, 2), _stack(X, lead, 2), _stack(c, lead, 1), _stack(d, lead, 1)]
    limits = _stack(tolerance.astype(A.dtype), lead, 0)
    value, case = cupy.empty((members, columns, rows), dtype=A.dtype), cupy.empty(members, dtype=cupy.int64)
    scratch = cupy.empty((members, 6 * rows + 7 * columns), dtype=A.dtype)
    kernel = _raw(MEYER_UPDATE, "meyer_update", A.dtype.name)
    scalars = (limits, A.dtype.type(noise))
    kernel((members,), (THREADS,), (*operands, *scalars, value, case, scratch, *_sizes(rows, columns)))
    return value.reshape(*lead, columns, rows), case.reshape(lead)


@implements("penrose_norms", "cupy")
def penrose_norms(A: Any, X: Any) -> Any:
    """See `reference_linalg.penrose_norms`; many small matrices in one launch, others by cuBLAS."""
    m, n = A.shape[-2:]
    lead = cupy.broadcast_shapes(A.shape[:-2], X.shape[:-2])
    members = math.prod(lead)
    if not members or not 0 < max(m, n) ** 2 <= SMALL or not min(m, n):
        return reference_linalg.penrose_norms(A, X)
    P, Q = cupy.empty((members, m, m), dtype=A.dtype), cupy.empty((members, n, n), dtype=A.dtype)
    norms = cupy.empty((6, members), dtype=A.dtype)
    kernel = _raw(PENROSE_NORMS, "penrose_norms", A.dtype.name)
    kernel((members,), (THREADS,), (_stack(A, lead, 2), _stack(X, lead, 2), P, Q, norms, *_sizes(members, m, n)))
    return norms.reshape(6, *lead)


@implements("gram_pinv", "cupy", ("float32", "float64", "complex64", "complex128"))
def gram_pinv(A: Any) -> tuple[Any, Any, Any]:
    """See `reference_linalg.gram_pinv`; Cholesky in place of its eigenvalues, and nothing waits for the device."""
    from cupyx import errstate

    if A.shape[-2] > A.shape[-1]:
        X, defect, kappa = gram_pinv(A.swapaxes(-1, -2))
        return X.swapaxes(-1, -2), defect, kappa
    double = cupy.complex128 if A.dtype.kind == "c" else cupy.float64
    D = A.astype(double, copy=False)
    Dh = D.conj().swapaxes(-1, -2)
    G = cupy.matmul(D, Dh)
    identity = cupy.eye(G.shape[-1], dtype=double)
    finite = cupy.isfinite(G).all(axis=(-2, -1))
    # An indefinite G gives some other L, infinities or NaN: whatever it is, the defect of the result tells.
    with errstate(linalg="ignore"):
        L = cupy.linalg.cholesky(cupy.where(finite[..., None, None], G, identity))
        M = cupy.linalg.inv(cupy.tril(L))
    P = cupy.matmul(M, D)
    Ph = P.conj().swapaxes(-1, -2)
    E = identity - cupy.matmul(P, Ph)
    X = cupy.matmul(Ph, cupy.matmul(identity + E, M))
    defect = (cupy.abs(E) ** 2).sum(axis=(-2, -1))
    trace = cupy.trace(G, axis1=-2, axis2=-1).real
    norm_X = cupy.sqrt((cupy.abs(X) ** 2).sum(axis=(-2, -1)))
    # Far beyond any defect that is used, X is no inverse at all: the reference says NaN there.
    bad = ~finite | ~(defect < 1e6)
    safe = ~bad & (trace > 1e-250) & (trace < 1e250) & cupy.isfinite(norm_X)
    kappa = cupy.where(safe, cupy.sqrt(cupy.abs(trace)) * norm_X, math.inf)
    X = cupy.where(bad[..., None, None], math.nan, X).astype(A.dtype, copy=False)
    return X, cupy.where(bad, math.nan, defect), kappa
