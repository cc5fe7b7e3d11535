"""The truth of the kernels of `rfnumeric.linalg`, in plain array-API code that any backend runs.

Shapes: ``...`` stands for leading axes, each an independent matrix.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from rfnumeric.backend import array_namespace, device_of, eps, to_numpy
from rfnumeric.typing import Array, Namespace

DEFECT = 0.01
"""Largest defect of `gram_pinv` that leaves a good inverse, in units of max(m, n)·eps·‖A‖_F‖A⁺‖_F.

Measured up to κ = 10⁸: the Penrose test ratio passes 1 at about ten times this.
"""


def gram_pinv(A: Array) -> tuple[Array, Array, Array]:
    """Invert through the Cholesky factor of the smaller Gram matrix, finished by one Ben-Israel–Cohen step.

    For m ≤ n: AAᴴ = LLᴴ, P = L⁻¹A has orthonormal rows but for E = I − PPᴴ of size κ²·eps, and A⁺ = P⁺L⁻¹, where
    P⁺ = Pᴴ(I + E) up to E², which is one Ben-Israel–Cohen step from Pᴴ. The step on the well-conditioned P also
    restores condition 4, which a step X(2I − AX) on X = Aᴴ(AAᴴ)⁻¹ cannot. Single precision is computed in double, at
    least where the defect in single would not do. An implementation may leave the step out where κ is so small that
    Aᴴ(AAᴴ)⁻¹ has no larger residuals than the SVD's inverse.

    Parameters
    ----------
    A : array, shape (..., m, n), m, n ≥ 1
        Not written to.

    Returns
    -------
    X : array, shape (..., n, m)
        A⁺, of the dtype of A; NaN for a member whose Gram matrix is not numerically positive definite.
    defect : array, shape (...), float64
        ‖E‖_F², a bound of what the step leaves, or where it is left out (‖G‖_F‖G⁻¹‖_F·eps)²; NaN where X is. See
        `DEFECT`.
    kappa : array, shape (...), float64
        ‖A‖_F‖X‖_F, an upper bound of κ(A) and at most min(m, n) times it; inf where X is NaN or where the squares
        left the range in which G is exact up to rounding: then scale A.
    """
    xp = array_namespace(A)
    if A.shape[-2] > A.shape[-1]:
        # (Aᵀ)⁺ = (A⁺)ᵀ, also for complex A.
        X, defect, kappa = gram_pinv(xp.matrix_transpose(A))
        return xp.matrix_transpose(X), defect, kappa
    is_complex = xp.isdtype(A.dtype, "complex floating")
    D = xp.astype(A, xp.complex128 if is_complex else xp.float64)
    G = xp.matmul(D, _adjoint(xp, D))
    finite = xp.all(xp.isfinite(G), axis=(-2, -1))[..., None]
    I = xp.eye(A.shape[-2], dtype=D.dtype, device=device_of(A))
    # eigh, not cholesky: array libraries disagree on what an indefinite matrix does (raise, NaN or garbage). Any
    # inverse square root of G serves as L⁻¹; this one is Λ^(−½)Vᴴ.
    values, V = xp.linalg.eigh(xp.where(finite[..., None], G, I))
    bad = ~finite | ~(values[..., :1] > 0)
    root = xp.sqrt(xp.where(bad, xp.full_like(values, math.nan), values))
    L_inverse = _adjoint(xp, V) / xp.astype(root, D.dtype)[..., :, None]
    P = xp.matmul(L_inverse, D)
    Ph = _adjoint(xp, P)
    E = I - xp.matmul(P, Ph)
    X = xp.matmul(Ph, xp.matmul(I + E, L_inverse))
    defect = xp.sum(xp.abs(E) ** 2, axis=(-2, -1))
    trace = xp.sum(values, axis=-1)
    norm_X = xp.sqrt(xp.sum(xp.abs(X) ** 2, axis=(-2, -1)))
    safe = ~bad[..., 0] & (trace > 1e-250) & (trace < 1e250) & xp.isfinite(norm_X)
    kappa = xp.where(safe, xp.sqrt(xp.abs(trace)) * norm_X, xp.full_like(trace, math.inf))
    return xp.astype(X, A.dtype), defect, kappa


PROBES = 4
"""Random vectors by which `inverse_ratio` estimates the norms of large products."""
SLACK = 5.0
"""Factor by which it raises its estimates: a norm exceeds that once in 300 cases, and four times that in 80,000."""
EXACT = (32, 64)
"""Largest m ≤ n at which `inverse_ratio` forms the products instead."""


def inverse_ratio(A: Array, X: Array) -> Array:
    """Return how far X is from the inverse of an A of full rank, in units of rounding: a bound of the Penrose ratios.

    For m ≤ n (else of Aᵀ and Xᵀ), with e = max(2‖I − AX‖_F, ‖XA − (XA)ᴴ‖_F) and lower bounds a, x of ‖A‖₂ and ‖X‖₂,
    it is e/(max(m, n)·eps·a·x), no less than any of the four test ratios. Where it is finite,
    ‖X − A⁺‖₂ ≤ 1.12 e ‖A⁺‖₂: see docs/linalg/penrose.md.

    Up to `EXACT`, a is the largest norm of a row of A and x of a column of X. Larger matrices are not multiplied with
    each other but with `PROBES` fixed Gaussian vectors z, since the mean of ‖Mz‖² is ‖M‖_F²; there a² is ‖A‖_F²/m and
    x² is ‖X‖_F²/m.

    Parameters
    ----------
    A : array, shape (..., m, n), m, n ≥ 1
    X : array, shape (..., n, m)

    Returns
    -------
    array, shape (...), float64
        inf where e > ½, so that full rank is not proven, or where something is not finite.
    """
    xp = array_namespace(A, X)
    m, n = A.shape[-2:]
    if m > n:
        return inverse_ratio(xp.matrix_transpose(A), xp.matrix_transpose(X))
    if m <= EXACT[0] and n <= EXACT[1]:
        left = xp.matmul(A, X) - xp.eye(m, dtype=A.dtype, device=device_of(A))
        Q = xp.matmul(X, A)
        skew = Q - _adjoint(xp, Q)
        factor, size = 1.0, xp.sqrt(xp.max(_squares(A, -1), axis=-1) * xp.max(_squares(X, -2), axis=-1))
    else:
        Y, Z = (xp.asarray(probes(k).T, dtype=A.dtype, device=device_of(A)) for k in (m, n))
        left = Y - xp.matmul(A, xp.matmul(X, Y))
        skew = xp.matmul(X, xp.matmul(A, Z)) - xp.matmul(_adjoint(xp, A), xp.matmul(_adjoint(xp, X), Z))
        factor, size = SLACK / math.sqrt(PROBES), xp.sqrt(_squares(A, (-2, -1)) * _squares(X, (-2, -1))) / m
    two, four = 2 * xp.sqrt(_squares(left, (-2, -1))), xp.sqrt(_squares(skew, (-2, -1)))
    e = factor * xp.where(two < four, four, two)
    good = (e <= 0.5) & (size > 0) & xp.isfinite(size)
    unit = n * eps(A) * xp.where(good, size, xp.ones_like(size))
    return xp.where(good, e / unit, xp.full_like(e, math.inf))


@lru_cache(maxsize=32)
def probes(k: int) -> np.ndarray:
    """Return the fixed Gaussian vectors of `inverse_ratio`, shape (PROBES, k)."""
    return np.random.default_rng(1955).standard_normal((PROBES, k))


def _squares(M: Array, axis: int | tuple[int, ...]) -> Array:
    xp = array_namespace(M)
    return xp.sum(xp.astype(xp.abs(M), xp.float64) ** 2, axis=axis)


def _adjoint(xp: Namespace, A: Array) -> Array:
    At = xp.matrix_transpose(A)
    return xp.conj(At) if xp.isdtype(A.dtype, "complex floating") else At


def coupled_steps(
    U: Array, V: Array, rate_U: float, rate_V: float, decay: float, as_printed: bool, steps: int
) -> tuple[Array, Array]:
    """Take simultaneous steps U ← U + η(U − UVU − γU), V ← V + η(V − VUV − γV) for every pair.

    Parameters
    ----------
    U : array, shape (..., a, b)
    V : array, shape (..., b, a)
        Of the leading shape of U.
    rate_U, rate_V : float
        η of each; with rate_V = 0 and γ = 0 this is the damped Ben-Israel–Cohen iteration for V⁺.
    decay : float
        γ.
    as_printed : bool
        Whether to leave out the term ηU, as v1 A.3 and v2 A.4 do: U ← U − η UVU.
    steps : int

    Returns
    -------
    U, V
        New arrays.
    """
    xp = array_namespace(U, V)
    own = 0.0 if as_printed else 1.0 - decay
    U, V = U * 1, V * 1
    for _ in range(steps):
        P = xp.matmul(U, V)
        # A rate of 0 leaves its matrix alone even where the other one overflows.
        new_U = U + rate_U * (own * U - xp.matmul(P, U)) if rate_U else U
        V = V + rate_V * (own * V - xp.matmul(V, P)) if rate_V else V
        U = new_U
    return U, V


def kronecker_apply(A: Array, B: Array, X: Array) -> Array:
    """Apply A ⊗ B to vectors held as matrices: A X Bᵀ, in the cheaper of the two orders.

    Parameters
    ----------
    A : array, shape (..., m, n)
    B : array, shape (..., p, q)
    X : array, shape (..., n, q)
        Its rows, one after the other, are the vector.

    Returns
    -------
    array, shape (..., m, p)
    """
    xp = array_namespace(A, B, X)
    (m, n), (p, q) = A.shape[-2:], B.shape[-2:]
    Bt = xp.matrix_transpose(B)
    if m * q * (n + p) <= n * p * (q + m):
        return xp.matmul(xp.matmul(A, X), Bt)
    return xp.matmul(A, xp.matmul(X, Bt))


def meyer_update(
    A: Array, X: Array, c: Array, d: Array, tolerance: float | Array, noise: float = 0.0
) -> tuple[Array, Array]:
    """Return (A + cdᴴ)⁺ from X = A⁺ by Meyer's theorem, as X + a₁b₁ᴴ + a₂b₂ᴴ, and which case it was.

    Computed for A, c and d scaled by powers of two to entries of size 1, and X with A: the letters below stand for the
    scaled ones, and A + cdᴴ is A + τ cdᴴ. No square of theirs leaves the range of the dtype.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X : array, shape (..., n, m)
    c : array, shape (..., m)
    d : array, shape (..., n)
    tolerance : array, shape (...)
        Size below which w (relative to ‖c‖), m (to ‖d‖) and β (to 1 + ‖d‖‖v‖) count as zero.
    noise : float
        Added to these limits, for the rounding of products: `noise` times ‖A‖_F‖v‖, ‖A‖_F‖n‖, and
        ‖A‖_F‖v‖‖n‖ + ‖X‖_F‖c‖‖d‖.

    Returns
    -------
    value : array, shape (..., n, m)
    case : int64 array, shape (...)
        1…6; see `rfnumeric.linalg.rank_one_update` for the formulas.
    """
    xp = array_namespace(A, X, c, d)
    c, d = c[..., :, None], d[..., :, None]
    e, e_c, e_d = (_exponent(xp, x) for x in (A, c, d))
    A, X, c, d = _scaled(xp, A, -e), _scaled(xp, X, e), _scaled(xp, c, -e_c), _scaled(xp, d, -e_d)
    # τ and β divided by the larger of τ and 1, whose share of β is then `one`.
    size = e_c + e_d - e
    above = xp.where(size > 0, size, xp.zeros_like(size))
    tau, one = 2.0 ** (size - above), 2.0**-above
    Xh, Ah = _adjoint(xp, X), _adjoint(xp, A)
    v, n = xp.matmul(X, c), xp.matmul(Xh, d)
    # Projected twice: what one projection leaves of a c in the range is mostly rounding.
    w, m = c - xp.matmul(A, v), d - xp.matmul(Ah, n)
    w, m = w - xp.matmul(A, xp.matmul(X, w)), m - xp.matmul(Ah, xp.matmul(Xh, m))
    norm_A, norm_X, cc, dd, vv, nn, ww, mm = (_norm(xp, x) for x in (A, X, c, d, v, n, w, m))
    tolerance = xp.astype(tolerance, cc.dtype)[..., None, None]
    kind = X.dtype
    beta = xp.astype(one, kind) + xp.astype(tau, kind) * xp.matmul(_adjoint(xp, d), v)
    no_w, no_m = ww <= tolerance * cc + noise * norm_A * vv, mm <= tolerance * dd + noise * norm_A * nn
    no_beta = xp.abs(beta) <= tolerance * (one + tau * dd * vv) + noise * tau * (norm_A * vv * nn + norm_X * cc * dd)
    # What is in the ranges of A and Aᴴ, what multiplies β, and the coefficients, each of the case that holds.
    six, second, fourth = no_w & no_m & no_beta, no_w, ~no_w & no_m
    tau, vv, nn, ww, mm = (xp.astype(x, kind) for x in (tau, vv * vv, nn * nn, ww * ww, mm * mm))
    r, p, beta_bar = xp.matmul(Xh, v), xp.matmul(X, n), _adjoint(xp, beta)
    inner, left, right = xp.where(second, m, p), xp.where(second, vv, nn), xp.where(second, mm, ww)
    share = tau / _nonzero(xp, tau * tau * left * right + beta * beta_bar)
    apart = beta / _nonzero(xp, tau) * m / _nonzero(xp, mm) - v
    scalar = xp.matmul(_adjoint(xp, n), r) / _nonzero(xp, vv) / _nonzero(xp, nn)

    def choose(in_6: Array, in_2_to_5: Array, in_1: Array) -> Array:
        return xp.where(six, in_6, xp.where(second | fourth, in_2_to_5, in_1))

    a1 = choose(v, share * (beta * inner - tau * xp.where(second, mm, nn) * v), apart)
    b1 = choose(scalar * n - r / _nonzero(xp, vv), xp.where(second, r, w), w / _nonzero(xp, ww))
    a2 = -choose(
        p / _nonzero(xp, nn), share * (tau * xp.where(second, vv, ww) * inner + beta_bar * v), m / _nonzero(xp, mm)
    )
    value = X + xp.matmul(a1, _adjoint(xp, b1)) + xp.matmul(a2, _adjoint(xp, n))
    step = xp.astype(~no_beta, xp.int64)
    case = xp.where(six, 6 + 0 * step, xp.where(second, 2 + step, xp.where(fourth, 4 + step, 1 + 0 * step)))
    return _scaled(xp, value, -e), case[..., 0, 0]


def _exponent(xp: Namespace, A: Array) -> Array:
    """Return ⌊log₂⌋ of the largest magnitude, shape (..., 1, 1), real; 0 where that is no positive finite number."""
    magnitude = xp.abs(A)
    if not math.prod(A.shape[-2:]):
        return xp.sum(magnitude, axis=(-2, -1), keepdims=True)
    largest = xp.max(magnitude, axis=(-2, -1), keepdims=True)
    usable = (largest > 0) & xp.isfinite(largest)
    return xp.floor(xp.log2(xp.where(usable, largest, xp.ones_like(largest))))


def _scaled(xp: Namespace, A: Array, exponent: Array) -> Array:
    """Return A·2^exponent, in two factors, since one may leave the range where the product does not."""
    half = xp.floor(exponent / 2)
    return A * xp.astype(2.0**half, A.dtype) * xp.astype(2.0 ** (exponent - half), A.dtype)


def _norm(xp: Namespace, A: Array) -> Array:
    return xp.sqrt(xp.sum(xp.abs(A) ** 2, axis=(-2, -1), keepdims=True))


def _nonzero(xp: Namespace, x: Array) -> Array:
    return xp.where(x == 0, xp.ones_like(x), x)


def penrose_norms(A: Array, X: Array) -> Array:
    """Return the Frobenius norms that the Penrose conditions are made of.

    Parameters
    ----------
    A : array, shape (..., m, n)
    X : array, shape (..., n, m)

    Returns
    -------
    array, shape (6, ...)
        ‖AXA − A‖, ‖XAX − X‖, ‖AX − (AX)ᴴ‖, ‖XA − (XA)ᴴ‖, ‖AX‖, ‖XA‖; real.
    """
    xp = array_namespace(A, X)
    if A.shape[-2] > A.shape[-1]:
        # The roles of A and X, and with them of AX and XA, change places.
        found = penrose_norms(X, A)
        xax, axa, xa, ax, norm_XA, norm_AX = (found[k, ...] for k in range(6))
        return xp.stack([axa, xax, ax, xa, norm_AX, norm_XA])
    P = xp.matmul(A, X)
    axa, xax = xp.matmul(P, A) - A, xp.matmul(X, P) - X
    m, n = A.shape[-2:]
    if n > 4 * m and m and bool(to_numpy(xp.all(xp.isfinite(A)) & xp.all(xp.isfinite(X)))):
        # With [X Aᴴ] = QS the n×n product XA has the norms of S₁S₂ᴴ: memory in proportion to A.
        S = xp.linalg.qr(xp.concat(xp.broadcast_arrays(X, _adjoint(xp, A)), axis=-1), mode="reduced")[1]
        Q = xp.matmul(S[..., :m], _adjoint(xp, S[..., m:]))
    else:
        Q = xp.matmul(X, A)
    parts = (axa, xax, P - _adjoint(xp, P), Q - _adjoint(xp, Q), P, Q)
    return xp.stack([xp.sqrt(xp.sum(xp.abs(part) ** 2, axis=(-2, -1))) for part in parts])
