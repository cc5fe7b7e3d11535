"""The CPU kernel of rank-one updates of pseudoinverses, compiled by Numba at its first call with a dtype."""

# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from rfnumeric.kernels import reference_linalg
from rfnumeric.kernels._jit import compiled
from rfnumeric.kernels._numba_linalg import _members
from rfnumeric.kernels.registry import check, common_lead, implements


@compiled()
def _power(k, like):
    """2^k in the dtype of `like`."""
    like[0] = math.ldexp(1.0, k)
    return like[0]


@compiled()
def _exponent(M, row, limit):
    """⌊log₂⌋ of the largest magnitude of M, in ±limit; 0 where that is no positive finite number."""
    row[:] = 0
    for i in range(M.shape[0]):
        for j in range(M.shape[1]):
            row[j] = max(row[j], abs(M[i, j]))
    largest = 0.0
    for j in range(M.shape[1]):
        largest = max(largest, row[j])
    if not 0 < largest < math.inf:
        return 0
    return min(max(math.frexp(largest)[1] - 1, -limit), limit)


@compiled()
def _norm(M, scale, row):
    """‖scale·M‖_F, summed along columns so that the loop vectorizes."""
    row[:] = 0
    for i in range(M.shape[0]):
        for j in range(M.shape[1]):
            x = M[i, j] * scale
            row[j] += x * x
    total = row[0] - row[0]
    for j in range(M.shape[1]):
        total += row[j]
    return math.sqrt(total)


@compiled()
def _times(M, scale, x, y):
    """Put scale·Mx into y, four rows at a time: their sums do not wait for one another."""
    rows, columns = M.shape
    zero = x[0] - x[0]
    whole = rows - rows % 4
    for i in range(0, whole, 4):
        one, two, three, four = zero, zero, zero, zero
        for j in range(columns):
            one += M[i, j] * scale * x[j]
            two += M[i + 1, j] * scale * x[j]
            three += M[i + 2, j] * scale * x[j]
            four += M[i + 3, j] * scale * x[j]
        y[i], y[i + 1], y[i + 2], y[i + 3] = one, two, three, four
    for i in range(whole, rows):
        one = zero
        for j in range(columns):
            one += M[i, j] * scale * x[j]
        y[i] = one


@compiled()
def _transposed_times(M, scale, x, y):
    """Put scale·Mᵀx into y, along the rows of M."""
    y[:] = 0
    for i in range(M.shape[0]):
        for j in range(M.shape[1]):
            y[j] += M[i, j] * scale * x[i]


@compiled()
def _dot(x, y):
    total = x[0] - x[0]
    for i in range(x.shape[0]):
        total += x[i] * y[i]
    return total


@compiled()
def _project(M, s, X, f, x, image, residual, t, u):
    """Put (I − MX)²x into `residual`, M scaled by s and X by f; `image` is Xx, t and u are room for a vector each."""
    _times(M, s, image, u)
    for i in range(x.shape[0]):
        residual[i] = x[i] - u[i]
    _times(X, f, residual, t)
    _times(M, s, t, u)
    for i in range(x.shape[0]):
        residual[i] -= u[i]


@compiled()
def _project_rows(M, s, X, f, x, image, residual, t, u):
    """Put (I − MᵀXᵀ)²x into `residual`; see `_project`."""
    _transposed_times(M, s, image, u)
    for j in range(x.shape[0]):
        residual[j] = x[j] - u[j]
    _transposed_times(X, f, residual, t)
    _transposed_times(M, s, t, u)
    for j in range(x.shape[0]):
        residual[j] -= u[j]


@compiled()
def _factors(case, x, f, tau, beta, tall, wide):
    """a₁, b₁ and a₂ of the case; see `reference_linalg.meyer_update`."""
    n, w, b1 = tall[0], tall[1], tall[2]
    v, m, p, a1, a2 = wide[0], wide[1], wide[2], wide[3], wide[4]
    vv, nn, ww, mm = _dot(v, v), _dot(n, n), _dot(w, w), _dot(m, m)
    if case == 6 or case == 4 or case == 5:
        _times(x, f, n, p)
    if case == 1:
        for i in range(n.shape[0]):
            b1[i] = w[i] / ww
        for j in range(v.shape[0]):
            a1[j] = beta / tau * m[j] / mm - v[j]
            a2[j] = -m[j] / mm
    elif case == 6:
        _transposed_times(x, f, v, b1)
        one, two = (vv if vv != 0 else 1 + vv), (nn if nn != 0 else 1 + nn)
        scalar = _dot(n, b1) / one / two
        for i in range(n.shape[0]):
            b1[i] = scalar * n[i] - b1[i] / one
        for j in range(v.shape[0]):
            a1[j] = v[j]
            a2[j] = -p[j] / two
    else:
        left, right = (mm, vv) if case < 4 else (nn, ww)
        if case < 4:
            _transposed_times(x, f, v, b1)
            p[:] = m
        else:
            b1[:] = w
        sigma = tau * tau * left * right + beta * beta
        share = tau / (sigma if sigma != 0 else 1 + sigma)
        for j in range(v.shape[0]):
            a1[j] = share * (beta * p[j] - tau * left * v[j])
            a2[j] = -share * (tau * right * p[j] + beta * v[j])


@compiled()
def _meyer_update(A, X, cs, ds, tolerance, noise, limit, value, case, tall, wide):
    K, rows, columns = A.shape
    # Vectors of length `rows` and `columns`; the names are those of the theorem.
    n, w, c, s = tall[0], tall[1], tall[3], tall[4]
    v, m, d, t = wide[0], wide[1], wide[5], wide[6]
    for k in range(K):
        a, x, room, bound = A[k], X[k], tolerance[k : k + 1].copy(), tolerance[k]
        e, e_c, e_d = _exponent(a, t, limit), _exponent(cs[k : k + 1], s, limit), _exponent(ds[k : k + 1], t, limit)
        f, g = _power(e, room), _power(-e, room)
        by_c, by_d = _power(-e_c, room), _power(-e_d, room)
        for i in range(rows):
            c[i] = cs[k, i] * by_c
        for j in range(columns):
            d[j] = ds[k, j] * by_d
        above = max(e_c + e_d - e, 0)
        tau, one = _power(e_c + e_d - e - above, room), _power(-above, room)
        _times(x, f, c, v)
        _transposed_times(x, f, d, n)
        _project(a, g, x, f, c, v, w, t, s)
        _project_rows(a, g, x, f, d, n, m, s, t)
        beta = one + tau * _dot(d, v)
        norm_A, norm_X = _norm(a, g, t), _norm(x, f, s)
        cc, dd = math.sqrt(_dot(c, c)), math.sqrt(_dot(d, d))
        vv, nn = math.sqrt(_dot(v, v)), math.sqrt(_dot(n, n))
        no_w = math.sqrt(_dot(w, w)) <= bound * cc + noise * norm_A * vv
        no_m = math.sqrt(_dot(m, m)) <= bound * dd + noise * norm_A * nn
        lost = norm_A * vv * nn + norm_X * cc * dd
        no_beta = abs(beta) <= bound * (one + tau * dd * vv) + noise * tau * lost
        if no_w:
            case[k] = (6 if no_m else 2) if no_beta else 3
        elif no_m:
            case[k] = 4 if no_beta else 5
        else:
            case[k] = 1
        _factors(case[k], x, f, tau, beta, tall, wide)
        b1, a1, a2 = tall[2], wide[3], wide[4]
        for j in range(columns):
            for i in range(rows):
                value[k, j, i] = (x[j, i] * f + a1[j] * b1[i] + a2[j] * n[i]) * g


@implements("meyer_update", "numpy")
def meyer_update(
    A: np.ndarray, X: np.ndarray, c: np.ndarray, d: np.ndarray, tolerance: np.ndarray, noise: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """See `reference_linalg.meyer_update`."""
    if (
        np.asarray(tolerance).dtype.kind != "f"
        or A.ndim < 2
        or X.shape[-2:] != A.shape[:-3:-1]
        or (c.shape[-1:], d.shape[-1:]) != (A.shape[-2:-1], A.shape[-1:])
    ):
        check("meyer_update", A, X, c, d, tolerance)
    rows, columns = A.shape[-2:]
    lead = common_lead(
        "meyer_update",
        (A.shape[:-2], X.shape[:-2], c.shape[:-1], d.shape[:-1], np.shape(tolerance)),
        A,
        X,
        c,
        d,
        tolerance,
    )
    if not rows * columns:
        return reference_linalg.meyer_update(A, X, c, d, np.asarray(tolerance), noise)
    members = math.prod(lead)
    operands = [_members(np.broadcast_to(M, lead + M.shape[-2:])) for M in (A, X)]
    operands += [_members(np.broadcast_to(x, lead + x.shape[-1:])[..., None, :])[:, 0] for x in (c, d)]
    limits = np.array(np.broadcast_to(tolerance, lead), dtype=A.dtype).reshape(members)
    value, case = np.empty((members, columns, rows), dtype=A.dtype), np.empty(members, dtype=np.int64)
    tall, wide = np.empty((5, rows), dtype=A.dtype), np.empty((7, columns), dtype=A.dtype)
    # Both 2^limit and 2^(−limit) are normal numbers.
    limit = -np.finfo(A.dtype).minexp
    _meyer_update(*operands, limits, A.dtype.type(noise), limit, value, case, tall, wide)
    return value.reshape(*lead, columns, rows), case.reshape(lead)
