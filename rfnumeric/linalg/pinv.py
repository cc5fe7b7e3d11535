"""The Moore–Penrose inverse by several engines, and the cheapest of them that is safe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, overload

from rfnumeric.backend import array_namespace, device_of, quiet, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.errors import ConvergenceError
from rfnumeric.linalg import _engines as engines
from rfnumeric.linalg._common import (
    all_true,
    any_true,
    check_finite,
    check_matrix,
    default_rtol,
    real_dtype,
    scale,
    times_power_of_two,
    unscale,
)
from rfnumeric.linalg.iterations import Hyperpower
from rfnumeric.linalg.penrose import RATIO_LIMIT, PenroseResiduals, complaint, judge
from rfnumeric.typing import Array, Namespace

METHODS = ("auto", "svd", "qr", "cholesky", "newton-schulz", "ben-israel-cohen", "hyperpower")


@dataclass(frozen=True)
class PinvInfo:
    """How a pseudoinverse was found, and how good it is.

    Attributes
    ----------
    method : str
        The engine that gave the result: ``"cholesky"``, ``"qr"``, ``"svd"``, …, or ``"mixed"`` for a stack whose
        members needed different ones; see `methods`.
    methods : tuple of str
        The engine of each member, in C order of the leading axes.
    reason : str
        Why `method` was taken, in words.
    rank : int64 array, shape (...)
        Singular values of A above the cutoff, for every engine: where the engine and a proof of full rank do not tell,
        they are computed.
    condition : array, shape (...)
        Estimate ‖A‖_F‖A⁺‖_F of the condition number, at least κ(A) of the singular values kept and at most rank times
        it.
    residuals : PenroseResiduals
        Measured on the result.
    iterations : int
        Steps of an iterative engine; 1 for Cholesky's finishing step, even where it is left out; 0 for a direct
        engine.
    status : str
        ``"converged"`` if every member's Penrose test ratio is at most 20: X is then A⁺ at the cutoff, up to
        100·max(m, n)·eps·κ(A)·‖A⁺‖₂, see `penrose_residuals`. Otherwise ``"diverged"`` (not finite) or ``"stagnated"``
        (finite, but not A⁺).
    """

    method: str
    methods: tuple[str, ...]
    reason: str
    rank: Array
    condition: Array
    residuals: PenroseResiduals
    iterations: int
    status: str


@overload
def pinv(
    A: Array,
    *,
    method: str = ...,
    rtol: float | Array | None = ...,
    atol: float | Array = ...,
    hermitian: bool = ...,
    order: int = ...,
    return_info: Literal[False] = ...,
) -> Array: ...
@overload
def pinv(
    A: Array,
    *,
    method: str = ...,
    rtol: float | Array | None = ...,
    atol: float | Array = ...,
    hermitian: bool = ...,
    order: int = ...,
    return_info: Literal[True],
) -> tuple[Array, PinvInfo]: ...
@gate(A=2)
def pinv(
    A: Array,
    *,
    method: str = "auto",
    rtol: float | Array | None = None,
    atol: float | Array = 0.0,
    hermitian: bool = False,
    order: int = 3,
    return_info: bool = False,
) -> Any:
    """Return the Moore–Penrose inverse A⁺ over leading axes.

    Parameters
    ----------
    A : array, shape (..., m, n)
        Real or complex, float32/64 or complex64/128, of any library; not written to.
    method : str
        ``"auto"`` (default)
            The cheapest engine that is safe for each member of a stack: Cholesky, and where its result is not measured
            to meet the criterion of `penrose_residuals` or a singular value may be near the cutoff, QR, then the SVD.
        ``"cholesky"``
            Cholesky factor L of the smaller Gram matrix, finished by one Ben-Israel–Cohen step on the nearly
            orthonormal L⁻¹A, which is left out where the residuals are at rounding level without it. Full rank and κ(A)
            below about 10⁶ (float64) or 1/(max(m, n)·eps) (float32).
        ``"qr"``
            Householder QR without pivoting; full rank and κ(A) < 1/(max(m, n)·eps).
        ``"svd"``
            Any matrix.
        ``"newton-schulz"``, ``"ben-israel-cohen"`` (two names of one iteration), ``"hyperpower"``
            Matrix products alone, about 2 log₂ κ(A) steps; see `iterations`.
    rtol : float or array of shape (...), optional
        Singular values up to atol + rtol·σ₁ count as zero. Default: max(m, n)·eps(dtype), on every backend.
    atol : float or array of shape (...)
        Absolute part of that cutoff, in the units of A.
    hermitian : bool
        Whether A is Hermitian; ``"svd"`` then uses the eigenvalue decomposition of its lower triangle.
    order : int
        Order p ≥ 2 of ``"hyperpower"``.
    return_info : bool
        Whether to return a `PinvInfo` as well. Costs the six products of `penrose_residuals`, and a singular value
        decomposition where A is not of full rank.

    Returns
    -------
    X : array, shape (..., n, m)
        An entry of A⁺ beyond the range of the dtype is infinite.
    info : PinvInfo
        If `return_info`.

    Raises
    ------
    ValueError
        If an entry is not finite, the method unknown or a cutoff negative.
    ConvergenceError
        If the method was named, its result would not be called ``"converged"``, and `return_info` is not there to say
        so. The message names the condition that fails, by how much, and for which member.

    Notes
    -----
    On a GPU, ``"auto"`` and ``"cholesky"`` wait once for the device, to read whether a member failed its check, and
    again where one did.

    References
    ----------
    .. [1] R. Penrose, "A generalized inverse for matrices", Proc. Cambridge Philos. Soc. 51 (1955) 406-413,
       :doi:`10.1017/S0305004100030401`.
    .. [2] A. Ben-Israel, D. Cohen, SIAM J. Numer. Anal. 3 (1966) 410-419, :doi:`10.1137/0703035`.
    .. [3] Y. Yamamoto et al., "Roundoff error analysis of the CholeskyQR2 algorithm", Electron. Trans. Numer. Anal. 44
       (2015) 306-326: why a second pass over L⁻¹A restores what squaring the condition number lost.

    Examples
    --------
    >>> import numpy as np
    >>> print(pinv(np.asarray([[3.0, 4.0]])))
    [[0.12]
     [0.16]]
    >>> X, info = pinv(np.asarray([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]), return_info=True)
    >>> info.method, int(info.rank), info.status
    ('svd', 2, 'converged')
    """
    xp = array_namespace(A)
    check_matrix(xp, A)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    rtol, atol = _cutoff(xp, A, "rtol", default_rtol(A) if rtol is None else rtol), _cutoff(xp, A, "atol", atol)
    if not math.prod(A.shape):
        X = xp.matrix_transpose(A) * 1
        none = ("none",) * math.prod(A.shape[:-2])
        return (X, _info(xp, A, X, *judge(A, X), none, "A is empty", 0)) if return_info else X
    with quiet():
        X, methods, reason, rank, iterations = _find(xp, A, method, rtol, atol, hermitian, order)
        # "auto" and "svd" choose by what implies the criterion; any other engine is held to it here.
        if not return_info and method in ("auto", "svd"):
            return X
        residuals, measured = judge(A, X, rtol, atol)
        if return_info:
            return X, _info(xp, A, X, residuals, measured if rank is None else rank, methods, reason, iterations)
        if not all_true(residuals.test_ratio <= RATIO_LIMIT):
            raise ConvergenceError(
                f"method {method!r} does not give A⁺: {complaint(residuals)}. {_cause(A, measured)} "
                "Use method='auto', which falls back to the SVD, or return_info=True for the result and its residuals."
            )
    return X


def _find(
    xp: Namespace,
    A: Array,
    method: str,
    rtol: float | Array,
    atol: float | Array,
    hermitian: bool,
    order: int,
) -> tuple[Array, tuple[str, ...], str, Array | None, int]:
    """Return X, the engine of each member, why it was taken, the rank if the engine knows it, and its iterations."""
    count = math.prod(A.shape[:-2])
    if method != "auto":
        check_finite(xp, A)
        scaled, exponent = scale(xp, A)
        floor = times_power_of_two(xp, atol + xp.zeros_like(exponent), -exponent)
        if method in ("newton-schulz", "ben-israel-cohen", "hyperpower"):
            iteration = Hyperpower(scaled, order=order if method == "hyperpower" else 2)
            iteration.iterate()
            found = engines.Outcome(iteration.X, None, None, iteration.iterations)
        elif method == "svd":
            found = engines.svd(xp, scaled, rtol, floor, hermitian)
        else:
            found = (engines.qr if method == "qr" else engines.cholesky)(xp, scaled, rtol, floor)
        X = unscale(xp, found.X, exponent)
        return X, (method,) * count, "it was asked for", found.rank, found.iterations
    found = engines.cholesky(xp, A, rtol, atol)
    # The one place where a GPU is waited for, unless a member fails.
    passed = all_true(found.good)
    if not passed and found.accurate is not None and any_true(xp, found.accurate & ~found.good):  # type: ignore[operator]
        found = engines.look_closer(xp, A, found, rtol, atol)
        passed = all_true(found.good)
    if passed:
        rank = xp.full(A.shape[:-2], min(A.shape[-2:]), dtype=xp.int64, device=device_of(A))
        return found.X, ("cholesky",) * count, "it is the cheapest, and its result was measured to be A⁺", rank, 1
    check_finite(xp, A)
    X, methods, rank = engines.fall_back(xp, A, found, rtol, atol, hermitian)
    reason = "the Gram matrix is too ill-conditioned, rank-deficient or out of range for Cholesky"
    return X, methods, reason, rank, 1


def _cutoff(xp: Namespace, A: Array, name: str, value: Any) -> float | Array:
    """Return a cutoff as a number, or as an array that broadcasts over the leading axes.

    Raises
    ------
    ValueError
        If it is negative or has another shape.
    """
    if getattr(value, "shape", ()) == ():
        value = float(value)
        valid = value >= 0
    else:
        value = xp.asarray(value, dtype=real_dtype(xp, A), device=device_of(A))
        if len(value.shape) > A.ndim - 2 or any(
            k not in (1, wanted) for k, wanted in zip(value.shape[::-1], A.shape[:-2][::-1], strict=False)
        ):
            raise ValueError(
                f"{name} must be a number or have the leading shape {tuple(A.shape[:-2])} of A; got shape "
                f"{tuple(value.shape)}."
            )
        valid = all_true(value >= 0)
    if not valid:
        raise ValueError(f"rtol and atol must not be negative; got {name}={value!r}.")
    return value


def _cause(A: Array, rank: Array) -> str:
    smallest, full = int(to_numpy(rank).min()), min(A.shape[-2:])
    return f"A has rank {smallest} of {full}." if smallest < full else "A is too ill-conditioned for it."


def _info(
    xp: Namespace,
    A: Array,
    X: Array,
    residuals: PenroseResiduals,
    rank: Array,
    methods: tuple[str, ...],
    reason: str,
    iterations: int,
) -> PinvInfo:
    with quiet():
        condition = engines.kappa_frobenius(xp, A, X)
    status = "converged"
    if not all_true(residuals.test_ratio <= RATIO_LIMIT):
        status = "stagnated" if all_true(xp.isfinite(X)) else "diverged"
    used = set(methods)
    method = methods[0] if len(used) == 1 else "mixed" if used else "none"
    return PinvInfo(method, methods, reason, rank, condition, residuals, iterations, status)
