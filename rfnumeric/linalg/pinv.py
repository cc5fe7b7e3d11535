"""The Moore–Penrose inverse by several engines, and the cheapest of them that is safe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, overload

from rfnumeric.backend import array_namespace, quiet, to_numpy
from rfnumeric.backend.gate import gate
from rfnumeric.errors import ConvergenceError
from rfnumeric.linalg import _engines as engines
from rfnumeric.linalg._common import any_true, check_finite, check_matrix, default_rtol
from rfnumeric.linalg.iterations import hyperpower
from rfnumeric.linalg.penrose import RATIO_LIMIT, PenroseResiduals, penrose_residuals
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
        Singular values above the cutoff.
    condition : array, shape (...)
        Estimate ‖A‖_F‖A⁺‖_F of the condition number, at least κ(A) of the singular values kept and at most rank times
        it.
    residuals : PenroseResiduals
        Measured on the result.
    iterations : int
        Steps of an iterative engine; 1 for Cholesky's finishing step, even where it is left out; 0 for a direct
        engine.
    status : str
        ``"converged"`` if every member's Penrose test ratio is below 20; otherwise ``"diverged"`` (not finite) or
        ``"stagnated"`` (finite, but not A⁺).
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
    rtol: float | None = ...,
    atol: float = ...,
    hermitian: bool = ...,
    order: int = ...,
    return_info: Literal[False] = ...,
) -> Array: ...
@overload
def pinv(
    A: Array,
    *,
    method: str = ...,
    rtol: float | None = ...,
    atol: float = ...,
    hermitian: bool = ...,
    order: int = ...,
    return_info: Literal[True],
) -> tuple[Array, PinvInfo]: ...
@gate(A=2)
def pinv(
    A: Array,
    *,
    method: str = "auto",
    rtol: float | None = None,
    atol: float = 0.0,
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
            The cheapest engine that is safe for each member of a stack: Cholesky, and where its own check or the
            condition number forbid it, QR, then the SVD.
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
    rtol : float, optional
        Singular values up to atol + rtol·σ₁ count as zero. Default: max(m, n)·eps(dtype), on every backend.
    atol : float
        Absolute part of that cutoff, in the units of A.
    hermitian : bool
        Whether A is Hermitian; ``"svd"`` then uses the eigenvalue decomposition of its lower triangle.
    order : int
        Order p ≥ 2 of ``"hyperpower"``.
    return_info : bool
        Whether to return a `PinvInfo` as well. Costs the four products of `penrose_residuals`.

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
        If the method was named, cannot invert this A, and `return_info` is not there to say so.

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
    rtol = default_rtol(A) if rtol is None else float(rtol)
    if not (rtol >= 0 and atol >= 0):
        raise ValueError(f"rtol and atol must not be negative; got rtol={rtol!r}, atol={atol!r}.")
    if not math.prod(A.shape):
        X = xp.matrix_transpose(A) * 1
        return (X, _info(xp, A, X, ("none",) * math.prod(A.shape[:-2]), "A is empty", 0, None)) if return_info else X
    with quiet():
        if method in ("newton-schulz", "ben-israel-cohen", "hyperpower"):
            result = hyperpower(A, order=order if method == "hyperpower" else 2)
            outcome = engines.Outcome(result.value, result.residual <= RATIO_LIMIT, None, result.iterations)
        elif method == "svd":
            check_finite(xp, A)
            outcome = engines.svd(xp, A, rtol, atol, hermitian)
        elif method == "qr":
            check_finite(xp, A)
            outcome = engines.qr(xp, A, rtol, atol)
        else:
            outcome = engines.cholesky(xp, A, rtol, atol)
        # The one place where a GPU is waited for, unless a member fails.
        passed = method == "svd" or bool(to_numpy(xp.all(outcome.good)))
        if not passed and outcome.accurate is not None and any_true(xp, outcome.accurate & ~outcome.good):
            outcome = engines.look_closer(xp, A, outcome, rtol, atol)
            passed = bool(to_numpy(xp.all(outcome.good)))
        if passed:
            if not return_info:
                return outcome.X
            used = "cholesky" if method == "auto" else method
            reason = "it is the cheapest, and its checks passed" if method == "auto" else "it was asked for"
            return outcome.X, _info(
                xp, A, outcome.X, (used,) * math.prod(A.shape[:-2]), reason, outcome.iterations, outcome.rank
            )
        check_finite(xp, A)
        if method == "auto":
            X, methods, rank = engines.fall_back(xp, A, outcome, rtol, atol, hermitian)
            reason = "the Gram matrix is too ill-conditioned, rank-deficient or out of range for Cholesky"
            return (X, _info(xp, A, X, methods, reason, 1, rank)) if return_info else X
    if not return_info:
        raise ConvergenceError(
            f"method {method!r} cannot invert this matrix: it is rank-deficient or too ill-conditioned, or its entries "
            "are too large or small to square. Use method='auto', which falls back to the SVD, or return_info=True."
        )
    info = _info(
        xp, A, outcome.X, (method,) * math.prod(A.shape[:-2]), "it was asked for", outcome.iterations, outcome.rank
    )
    return outcome.X, info


def _info(
    xp: Namespace, A: Array, X: Array, methods: tuple[str, ...], reason: str, iterations: int, rank: Array | None
) -> PinvInfo:
    with quiet():
        residuals = penrose_residuals(A, X)
        condition = engines.kappa_frobenius(xp, A, X)
    test_ratio = to_numpy(residuals.test_ratio)
    finite = bool(to_numpy(xp.all(xp.isfinite(X))))
    status = "converged" if (test_ratio <= RATIO_LIMIT).all() else "stagnated" if finite else "diverged"
    if rank is None:
        rank = xp.full(A.shape[:-2], min(A.shape[-2:]), dtype=xp.int64, device=engines.device_of(A))
    used = set(methods)
    method = methods[0] if len(used) == 1 else "mixed" if used else "none"
    return PinvInfo(method, methods, reason, rank, condition, residuals, iterations, status)
