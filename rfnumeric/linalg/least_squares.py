"""Least squares with a damping, pair by pair (RLS, OPIUM, OPIUM-light) and at once."""

from __future__ import annotations

import math
from typing import NamedTuple

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.backend.gate import gate
from rfnumeric.kernels import matmul
from rfnumeric.linalg._common import (
    adjoint,
    check_matrix,
    frobenius,
    identity,
    ratio,
    scale,
    times_power_of_two,
    unscale,
)
from rfnumeric.linalg._shapes import check_leading, check_shape
from rfnumeric.linalg.pinv import pinv
from rfnumeric.typing import Array, Namespace


class Drift(NamedTuple):
    """How far rounding has taken a recursive solution from the one of the pairs that it has seen; dimensionless.

    Attributes
    ----------
    M : float64 array, shape (...)
        Estimate of ‖M − M*‖_F/‖M‖_F.
    P : float64 array, shape (...)
        Estimate of ‖P − P*‖_F/‖P‖_F.
    """

    M: Array
    P: Array


class RecursiveLeastSquares:
    """RLS (OPIUM, Tapson and van Schaik): the ridge solution M = YᵀH(HᵀH + λI)⁻¹, one pair (h_t, y_t) at a time.

    ψ = Ph, P ← P − ψψᵀ/(1 + hᵀψ), M ← M + (y − Mh)ψᵀ/(1 + hᵀψ), from P₀ = I/λ, M₀ = 0.

    P itself is not kept: the difference in its update cancels, and in single precision it soon is not even positive.
    Potter's form keeps a factor S, P = SSᵀ, which makes P symmetric and positive semidefinite whatever rounding does:
    φ = Sᵀh, α = 1 + φᵀφ ≥ 1, S ← S − Sφφᵀ/(α + √α), M ← M + (y − Mh)(Sφ)ᵀ/α, at the same cost of O(n_h²) a pair.
    After every pair M is the ridge solution up to rounding of about eps·κ(HᵀH + λI)^½, where P's own update loses
    eps·κ(HᵀH + λI) in each step; `drift` measures it.

    Parameters
    ----------
    M : array, shape (..., n_y, n_h)
        Zeros, on the backend and of the dtype wanted; a start M₀ ≠ 0 is what λ then shrinks to.
    damping : float
        λ > 0, in units of h².
    measure : bool
        Whether to keep HᵀH and YᵀH in double precision, from which `drift` measures what rounding did: n_h² + n_y·n_h
        numbers, and as many again for the pairs of the last n_h steps.

    Attributes
    ----------
    M : array, shape (..., n_y, n_h)
    S : array, shape (..., n_h, n_h)
        Factor of P. Where 1/λ leaves the range of the dtype, 1/√λ does not.
    pairs : int
        How many were taken in.

    Raises
    ------
    ValueError
        If λ is not positive, or M has no column.

    References
    ----------
    .. [1] J. Tapson, A. van Schaik, "Learning the pseudoinverse solution to network weights", Neural Networks 45 (2013)
       94-100, :doi:`10.1016/j.neunet.2013.02.008`.
    .. [2] G. J. Bierman, "Factorization Methods for Discrete Sequential Estimation", Academic Press (1977), chapter II:
       Potter's square-root algorithm.

    Examples
    --------
    >>> import numpy as np
    >>> rls = RecursiveLeastSquares(np.zeros((1, 1)), damping=1.0)
    >>> rls.step(np.asarray([1.0]), np.asarray([4.0]))
    >>> print(rls.M)
    [[2.]]
    >>> float(rls.drift().M)
    0.0
    """

    @gate(real=True, M=2)
    def __init__(self, M: Array, damping: float, *, measure: bool = True) -> None:
        xp = array_namespace(M)
        check_matrix(xp, M, "M")
        if not M.shape[-1]:
            raise ValueError(f"M must have shape (..., n_y, n_h) with n_h ≥ 1; got {tuple(M.shape)}.")
        if not 0 < damping < math.inf:
            raise ValueError(f"damping must be positive and finite; got {damping!r}. P₀ = I/λ has no limit at 0.")
        self.xp, self.M, self.damping, self.measure = xp, M, damping, measure
        n = M.shape[-1]
        eye = identity(xp, n, M) + xp.zeros((*M.shape[:-2], n, n), dtype=M.dtype, device=device_of(M))
        self.S = eye / math.sqrt(damping)
        self.pairs = 0
        # Moments of h in units of 2^e near √λ, whose squares are then near those of the damping.
        self._unit = math.frexp(damping)[1] // 2
        self._seen: list[tuple[Array, Array]] = []
        if measure:
            self._G = xp.astype(eye, xp.float64) * math.ldexp(damping, -2 * self._unit)
            # With a start M₀ ≠ 0 the solution is that of λ‖M − M₀‖².
            self._C = matmul(self._in_units(M, self._unit), self._G)

    @property
    def P(self) -> Array:
        """(HᵀH + λI)⁻¹ = SSᵀ, shape (..., n_h, n_h), symmetric and positive semidefinite by construction."""
        xp = self.xp
        P = matmul(self.S, xp.matrix_transpose(self.S))
        return (P + xp.matrix_transpose(P)) / 2

    @gate(like="M", h=1, y=1)
    def step(self, h: Array, y: Array) -> None:
        """Take in one pair, h (..., n_h) and y (..., n_y).

        Raises
        ------
        ValueError
            If shapes do not fit.
        """
        xp = self.xp
        _check_pair(self.M, h, y, grow=False)
        column, target = h[..., :, None], y[..., :, None]
        phi = matmul(xp.matrix_transpose(self.S), column)
        # φ and 1, divided by the larger of the two: their squares make α.
        size = xp.max(xp.abs(phi), axis=-2, keepdims=True)
        size = xp.where(size > 1, size, xp.ones_like(size))
        phi, one = phi / size, 1 / size
        row = xp.matrix_transpose(phi)
        norm = matmul(row, phi)
        alpha = one * one + norm
        image = matmul(self.S, phi)
        self.S = self.S - matmul(image, row / (alpha + one * xp.sqrt(alpha)))
        self.M = self.M + matmul(target - matmul(self.M, column), xp.matrix_transpose(image) * (one / alpha))
        self.pairs += 1
        if self.measure:
            # Copies: the caller may fill the same arrays with the next pair.
            self._seen.append((h * 1, y * 1))
            if len(self._seen) >= max(self.M.shape[-1], 16):
                self._fold()

    def drift(self) -> Drift:
        """Measure how far M and P are from the solution of the pairs seen; costs a few products of n_h³.

        A correction step of the normal equations in double precision tells: M* − M = (YᵀH − M(HᵀH + λI))P up to second
        order, and P* − P = P − P(HᵀH + λI)P. It sees errors down to 2⁻⁵³·κ(HᵀH + λI), which is its own rounding.

        Returns
        -------
        Drift

        Raises
        ------
        ValueError
            If `measure` is False.
        """
        if not self.measure:
            raise ValueError("drift needs measure=True: the moments that it compares with were not kept.")
        self._fold()
        xp = self.xp
        S, M = self._in_units(self.S, self._unit), self._in_units(self.M, self._unit)
        Sh = xp.matrix_transpose(S)
        residual = self._C - matmul(M, self._G)
        M, exponent = scale(xp, M)
        error_M = matmul(matmul(times_power_of_two(xp, residual, -exponent[..., None, None]), S), Sh)
        eye = xp.eye(S.shape[-1], dtype=S.dtype, device=device_of(S))
        error_P = matmul(matmul(S, eye - matmul(Sh, matmul(self._G, S))), Sh)
        P = matmul(S, Sh)
        of_M, size_M, of_P, size_P = (frobenius(xp, x) for x in (error_M, M, error_P, P))
        return Drift(ratio(xp, of_M, size_M), ratio(xp, of_P, size_P))

    def _in_units(self, x: Array, power: int) -> Array:
        """Return x·2^power in double precision: S, M or h in the units of the moments."""
        exponent = self.xp.full((), float(power), dtype=self.xp.float64, device=device_of(x))
        return times_power_of_two(self.xp, self.xp.astype(x, self.xp.float64), exponent)

    def _fold(self) -> None:
        """Take the pairs that wait into the moments, all in one product."""
        if not self._seen:
            return
        xp, lead = self.xp, self.M.shape[:-2]
        waiting = zip(*self._seen, strict=True)
        H, Y = (xp.stack([_with_lead(xp, x, lead) for x in rows], axis=-2) for rows in waiting)
        H = self._in_units(H, -self._unit)
        self._G = self._G + matmul(xp.matrix_transpose(H), H)
        self._C = self._C + matmul(xp.matrix_transpose(xp.astype(Y, xp.float64)), H)
        self._seen = []


def _with_lead(xp: Namespace, x: Array, lead: tuple[int, ...]) -> Array:
    return x if tuple(x.shape[:-1]) == tuple(lead) else xp.broadcast_to(x, (*lead, x.shape[-1]))


def _check_pair(M: Array, h: Array, y: Array, grow: bool = True) -> None:
    """Check a pair, h (..., n_h) and y (..., n_y), for M (..., n_y, n_h), whose leading axes may not `grow`.

    Raises
    ------
    ValueError
        If they do not fit.
    """
    n_y, n_h = M.shape[-2:]
    check_shape(h, "h", (n_h,), "to fit M", M)
    check_shape(y, "y", (n_y,), "to fit M", M)
    lead = check_leading({"M": M.shape[:-2], "h": h.shape[:-1], "y": y.shape[:-1]})
    if not grow and lead != tuple(M.shape[:-2]):
        raise ValueError(
            f"h and y must not have more leading axes than M {tuple(M.shape)}; got {tuple(h.shape)}, "
            f"{tuple(y.shape)}. Take the pairs one by one."
        )


@gate(real=True, M=2, h=1, y=1)
def opium_light_step(M: Array, h: Array, y: Array, *, gain: float = 1.0) -> Array:
    """Take one OPIUM-light step, M ← M + (y − Mh)hᵀ/(1/g + hᵀh): RLS with P frozen at gI, so that no matrix is kept.

    Parameters
    ----------
    M : array, shape (..., n_y, n_h)
    h : array, shape (..., n_h)
    y : array, shape (..., n_y)
    gain : float
        g > 0, in units of 1/h². As g → ∞ the step is Kaczmarz's projection, after which Mh = y.

    Returns
    -------
    array, shape (..., n_y, n_h)

    Raises
    ------
    ValueError
        If the gain is not positive or shapes do not fit.

    Notes
    -----
    Fixed point: any M with Mh = y for every pair; from M₀ = 0 on consistent pairs the limit is the one of least norm,
    Y H⁺ (Kaczmarz), for every g. On inconsistent pairs it hovers around a normalized least-squares solution.

    Examples
    --------
    >>> import numpy as np
    >>> print(opium_light_step(np.zeros((1, 1)), np.asarray([1.0]), np.asarray([4.0]), gain=1.0))
    [[2.]]
    """
    xp = array_namespace(M, h, y)
    if not 0 < gain < math.inf:
        raise ValueError(f"gain must be positive and finite; got {gain!r}.")
    _check_pair(M, h, y)
    column, exponent = scale(xp, h[..., :, None])
    residual = y[..., :, None] - matmul(M, h[..., :, None])
    row = adjoint(xp, column)
    # 1/g in the units of hᵀh, both divided by the larger one.
    mantissa, own = math.frexp(gain)
    size = -own - 2 * exponent[..., None, None]
    above = xp.where(size > 0, size, xp.zeros_like(size))
    sum_of_squares = times_power_of_two(xp, matmul(row, column), -above)
    row = row / (xp.astype(2.0 ** (size - above) / mantissa, M.dtype) + sum_of_squares)
    return M + matmul(residual, times_power_of_two(xp, row, -above - exponent[..., None, None]))


@gate(real=True, H=2, Y=2)
def ridge_solution(H: Array, Y: Array, damping: float) -> Array:
    """Return M = YᵀH(HᵀH + λI)⁻¹, the minimizer of Σ‖y − Mh‖² + λ‖M‖², to which `RecursiveLeastSquares` is equal.

    Parameters
    ----------
    H : array, shape (..., samples, n_h)
    Y : array, shape (..., samples, n_y)
    damping : float
        λ ≥ 0; with 0 the solution of least norm.

    Returns
    -------
    array, shape (..., n_y, n_h)
        By the singular values of H, so that the error grows with κ(HᵀH + λI)^½ and not with its square; λ is not lost
        beside ‖H‖², however small.

    Raises
    ------
    ValueError
        If λ is negative or shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> print(ridge_solution(np.asarray([[1.0]]), np.asarray([[4.0]]), 1.0))
    [[2.]]
    """
    xp = array_namespace(H, Y)
    if not 0 <= damping < math.inf:
        raise ValueError(f"damping must be a finite number ≥ 0; got {damping!r}.")
    check_matrix(xp, H, "H")
    if Y.ndim < 2 or Y.shape[-2] != H.shape[-2]:
        raise ValueError(
            f"Y must have shape (..., {H.shape[-2]}, n_y) to fit H {tuple(H.shape)}; got {tuple(Y.shape)}."
        )
    check_leading({"H": H.shape[:-2], "Y": Y.shape[:-2]})
    return matmul(xp.matrix_transpose(Y), tikhonov(xp, xp.matrix_transpose(H), damping))


def tikhonov(xp: Namespace, A: Array, damping: float) -> Array:
    """Return Aᴴ(AAᴴ + λI)⁻¹ from the singular values σ of A, each as σ/(σ² + λ); A⁺ for λ = 0.

    Scaled by the larger of ‖A‖ and √λ, so that neither square leaves the range of the dtype.
    """
    if not damping or not math.prod(A.shape[-2:]):
        return pinv(A)
    exponent = scale(xp, A)[1]
    mantissa, own = math.frexp(damping)
    half = own // 2
    exponent = xp.where(exponent < half, xp.full_like(exponent, half), exponent)
    U, S, Vh = xp.linalg.svd(times_power_of_two(xp, A, -exponent[..., None, None]), full_matrices=False)
    floor = xp.astype(mantissa * 2.0 ** (own - 2 * exponent), S.dtype)[..., None]
    total = S * S + floor
    weight = S / xp.where(total > 0, total, xp.ones_like(total))
    X = matmul(adjoint(xp, Vh) * xp.astype(weight, A.dtype)[..., None, :], adjoint(xp, U))
    return unscale(xp, X, exponent)
