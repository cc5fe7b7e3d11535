"""How the result of every public function of `linalg` moves with the scale of its arguments; see `test_scaling`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rfnumeric import linalg
from rfnumeric.linalg import KroneckerOperator, PinvOperator, PinvTracker, RecursiveLeastSquares

Weights = dict[str, int]
"""How many powers of 2^k, of 2^j, …: ``{"k": -1}`` moves as 2^(−k) does."""


class Case(NamedTuple):
    """A call, its arguments (arrays or floats) and how they and its results move."""

    call: Callable[..., Any]
    arguments: dict[str, tuple[Any, Weights]]
    results: tuple[Weights, ...]
    edge: int = 0
    """Bits to leave at both ends of the range, where partial sums and products of a linear map leave it first."""


def _matrices() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(20)
    A, B = rng.standard_normal((3, 4)), rng.standard_normal((4, 2))
    low = np.outer(A[:, 0], A[0]) + np.outer(A[:, 1], A[1])  # of rank two
    more = rng.standard_normal((20, 4))
    square = np.eye(3) + 0.2 * rng.standard_normal((3, 3))
    return {"A": A, "B": B, "low": low, "more": more, "square": square, "c": more[0, :3], "d": more[1]}


G = _matrices()
A, B, LOW, MORE, SQUARE, C, D = (G[name] for name in ("A", "B", "low", "more", "square", "c", "d"))
INVERSE = np.linalg.pinv(A)
K, J, NONE = {"k": 1}, {"j": 1}, {}
INV_K: Weights = {"k": -1}


def _of(result: Any) -> tuple[Any, ...]:
    """Return what an iteration or a set tells, as numbers."""
    if isinstance(result, linalg.IterationResult):
        values = result.value if isinstance(result.value, tuple) else (result.value,)
        return (*values, len(result.history), result.status == "converged")
    return (np.asarray(sorted(result)),)


def _learn(M: Any, h: Any, y: Any, damping: float) -> tuple[Any, ...]:
    rls = RecursiveLeastSquares(M, damping)
    for t in range(len(h)):
        rls.step(h[t], y[t])
    return rls.M, rls.S, rls.drift().M


def _track(A: Any, c: Any, d: Any, a: Any) -> tuple[Any, ...]:
    tracker = PinvTracker(A, check_every=1)
    tracker.rank_one(c, d)
    tracker.append_column(a)
    tracker.delete_column(0)
    return tracker.X, tracker.A, tracker.refreshes


def _reciprocal(h: Any, S: Any, e: Any) -> tuple[Any, ...]:
    operator = linalg.weight_reciprocal_operator(h, S)
    return operator.to_dense(), operator @ e


def _rank_k(A: Any, Z: Any, c: Any, d: Any, e: Any, f: Any) -> tuple[Any, ...]:
    return linalg.rank_k_update(A, Z, np.stack((c, e), axis=-1), np.stack((d, f), axis=-1))


def _gram_newton(A: Any, step: Any) -> tuple[Any, ...]:
    inverse = linalg.GramNewton(A)
    return (*_of(inverse.result), *_of(inverse.update(A + step)))


def _pinv(**options: Any) -> Case:
    return Case(lambda A: (linalg.pinv(A, **options),), {"A": (A, K)}, (INV_K,))


def _kronecker(call: Callable[..., Any], result: Weights, x: np.ndarray | None = None) -> Case:
    arguments = {"A": (A, K), "B": (B, J)}
    if x is not None:
        arguments["x"] = (x, {"i": 1})
    return Case(lambda A, B, *x: (call(KroneckerOperator(A, B), *x),), arguments, (result,), EDGE)


EDGE = 12
BOTH = {"k": 1, "j": 1}
APPLIED = {"k": 1, "j": 1, "i": 1}
WIDE = np.concatenate((MORE, MORE))[:16, :2]
METHODS = ("auto", "svd", "qr", "cholesky", "newton-schulz", "hyperpower")
CASES: dict[str, Case] = {
    **{f"pinv {method}": _pinv(method=method) for method in METHODS},
    "pinv hermitian": Case(lambda A: (linalg.pinv(A, hermitian=True),), {"A": (SQUARE + SQUARE.T, K)}, (INV_K,)),
    "pinv of low rank": Case(lambda A: (linalg.pinv(A),), {"A": (LOW, K)}, (INV_K,)),
    "hyperpower": Case(lambda A: _of(linalg.hyperpower(A)), {"A": (A, K)}, (INV_K, NONE, NONE)),
    "ben_israel_cohen": Case(lambda A: _of(linalg.ben_israel_cohen(A)), {"A": (A, K)}, (INV_K, NONE, NONE)),
    **{
        f"Hyperpower {start}": Case(
            lambda A, start=start: _of(linalg.Hyperpower(A, start).run()), {"A": (A, K)}, (INV_K, NONE, NONE)
        )
        for start in ("norms", "frobenius", "spectral")
    },
    "Hyperpower from a start": Case(
        lambda A, X: _of(linalg.Hyperpower(A, X).run()), {"A": (A, K), "X": (0.9 * INVERSE, INV_K)}, (INV_K, NONE, NONE)
    ),
    "GramNewton": Case(
        _gram_newton, {"A": (A, K), "step": (A[::-1] * 2.0**-8, K)}, (INV_K, NONE, NONE, INV_K, NONE, NONE)
    ),
    "condition_number": Case(lambda A: (linalg.condition_number(A),), {"A": (A, K)}, (NONE,)),
    "damped_pinv": Case(
        lambda A, damping: (linalg.damped_pinv(A, damping),), {"A": (A, K), "damping": (0.5, {"k": 2})}, (INV_K,)
    ),
    "penrose_residuals": Case(
        lambda A, X: tuple(linalg.penrose_residuals(A, X)[:5]), {"A": (A, K), "X": (1.1 * INVERSE, INV_K)}, (NONE,) * 5
    ),
    "satisfied_conditions": Case(
        lambda A, X: _of(linalg.satisfied_conditions(A, X)), {"A": (A, K), "X": (INVERSE, INV_K)}, (NONE,)
    ),
    "CoupledRule": Case(
        lambda U, V: _of(linalg.CoupledRule(U, V).run()),
        {"U": (SQUARE, K), "V": (np.linalg.inv(SQUARE) * 0.9, INV_K)},
        (K, INV_K, NONE, NONE),
        EDGE,
    ),
    "coupled_rule": Case(
        lambda U, V: _of(linalg.coupled_rule(U, V, one_sided=True)),
        {"U": (A * 0.1, K), "V": (A.T, INV_K)},
        (K, INV_K, NONE, NONE),
        EDGE,
    ),
    "rank_one_update": Case(
        lambda *a: tuple(linalg.rank_one_update(*a)),
        {"A": (A, K), "X": (INVERSE, INV_K), "c": (C, {"k": 1, "j": 1}), "d": (D, {"j": -1})},
        (INV_K, NONE),
    ),
    "rank_one_update of low rank": Case(
        lambda *a: tuple(linalg.rank_one_update(*a)),
        {"A": (LOW, K), "X": (np.linalg.pinv(LOW), INV_K), "c": (C, {"k": 1, "j": 1}), "d": (D, {"j": -1})},
        (INV_K, NONE),
    ),
    "rank_k_update": Case(
        _rank_k,
        {
            "A": (A, K),
            "Z": (np.linalg.inv(A @ A.T), {"k": -2}),
            "c": (C, {"k": 1, "j": 1}),
            "d": (D, {"j": -1}),
            "e": (MORE[2, :3], {"k": 1, "i": -1}),
            "f": (MORE[3], {"i": 1}),
        },
        (INV_K, {"k": -2}),
    ),
    "append_column": Case(
        lambda A, X, a: np.split(linalg.append_column(A, X, a), [2]),
        {"A": (A[:, :2], K), "X": (np.linalg.pinv(A[:, :2]), INV_K), "a": (C, J)},
        (INV_K, {"j": -1}),
    ),
    "append_column in the range": Case(
        lambda A, X, a: (linalg.append_column(A, X, a),),
        {"A": (A, K), "X": (INVERSE, INV_K), "a": (A @ D, K)},
        (INV_K,),
    ),
    "delete_column": Case(
        lambda A, X: (linalg.delete_column(A, X, 1), linalg.delete_column(A[:, :2], linalg.pinv(A[:, :2]), 0)),
        {"A": (A, K), "X": (INVERSE, INV_K)},
        (INV_K, INV_K),
    ),
    "PinvTracker": Case(
        _track, {"A": (A, K), "c": (C, {"k": 1, "j": 1}), "d": (D, {"j": -1}), "a": (C[::-1], K)}, (INV_K, K, NONE)
    ),
    **{
        f"PinvOperator {method}": Case(
            lambda A, b, c, method=method: (
                PinvOperator(A, method=method).matvec(b),
                PinvOperator(A, method=method).rmatmat(np.stack((c, c[::-1]), axis=-1)),
                PinvOperator(A, method=method).to_dense(),
            ),
            {"A": (A, K), "b": (C, J), "c": (D, {"i": 1})},
            ({"k": -1, "j": 1}, {"k": -1, "i": 1}, INV_K),
        )
        for method in ("auto", "svd")
    },
    "KroneckerOperator.matvec": _kronecker(lambda K, x: K.matvec(x), APPLIED, MORE[:2].ravel()),
    "KroneckerOperator.rmatvec": _kronecker(lambda K, x: K.rmatvec(x), APPLIED, MORE[:3].ravel()),
    "KroneckerOperator.matmat": _kronecker(lambda K, x: K.matmat(x), APPLIED, WIDE[:8]),
    "KroneckerOperator.rmatmat": _kronecker(lambda K, x: K.rmatmat(x), APPLIED, WIDE[:12]),
    "KroneckerOperator.H": _kronecker(lambda K, x: K.H @ x, APPLIED, MORE[:3].ravel()),
    "KroneckerOperator.T": _kronecker(lambda K, x: K.T @ x, APPLIED, MORE[:3].ravel()),
    "KroneckerOperator.to_dense": _kronecker(lambda K: K.to_dense(), BOTH),
    "KroneckerOperator.pinv": _kronecker(lambda K: K.pinv().to_dense(), {"k": -1, "j": -1}),
    "KroneckerOperator.trace": _kronecker(lambda K: KroneckerOperator(K.A[:, :3], K.B[:2]).trace(), BOTH),
    "KroneckerOperator.trace of oblong factors": _kronecker(
        lambda K: KroneckerOperator(K.A, K.A.mT * K.B[0, 0]).trace(), {"k": 2, "j": 1}
    ),
    **{
        f"KroneckerOperator.norm {ord}": _kronecker(lambda K, ord=ord: K.norm(ord), BOTH)
        for ord in (1, 2, "fro", "nuc")
    },
    "KroneckerOperator.@": _kronecker(lambda K: (K @ K.H).to_dense(), {"k": 2, "j": 2}),
    "weight_reciprocal_operator": Case(
        lambda h, S, e: (
            linalg.weight_reciprocal_operator(h, S).to_dense(),
            linalg.weight_reciprocal_operator(h, S) @ e,
        ),
        {"h": (D, K), "S": (A, J), "e": (MORE[5], {"i": 1})},
        ({"k": -1, "j": 1}, {"k": -1, "j": 1, "i": 1}),
        EDGE,
    ),
    "RecursiveLeastSquares": Case(
        _learn,
        {
            "M": (np.zeros((3, 4)), NONE),
            "h": (MORE, K),
            "y": (MORE[:, :3] ** 2, J),
            "damping": (0.25, {"k": 2}),
        },
        ({"k": -1, "j": 1}, INV_K, NONE),
        EDGE,
    ),
    "opium_light_step": Case(
        lambda M, h, y, gain: (linalg.opium_light_step(M, h, y, gain=gain),),
        {"M": (A, {"k": -1, "j": 1}), "h": (D, K), "y": (C, J), "gain": (0.75, {"k": -2})},
        ({"k": -1, "j": 1},),
        EDGE,
    ),
    "ridge_solution": Case(
        lambda H, Y, damping: (linalg.ridge_solution(H, Y, damping),),
        {"H": (MORE, K), "Y": (MORE[:, :2] ** 2, J), "damping": (0.75, {"k": 2})},
        ({"k": -1, "j": 1},),
    ),
    "recirculation_step": Case(
        lambda U, V, y, z, variance: linalg.recirculation_step(U, V, y, 0.1, variance=variance, hidden_noise=z),
        {"U": (A, INV_K), "V": (INVERSE, K), "y": (MORE, J), "z": (MORE[:, :3], J), "variance": (1.5, {"j": 2})},
        (INV_K, K),
        EDGE,
    ),
    "hinton_mcclelland_step": Case(
        lambda U, V, y, rate: linalg.hinton_mcclelland_step(U, V, y, rate, linear=True),
        {"U": (A, NONE), "V": (INVERSE * 1.1, NONE), "y": (MORE, K), "rate": (0.1, {"k": -2})},
        (NONE, NONE),
        EDGE,
    ),
    "autoencoder_step": Case(
        lambda W_pinv, W, y, rate, decay: (linalg.autoencoder_step(W_pinv, W, y, rate, decay=decay),),
        {
            "W_pinv": (INVERSE * 1.1, INV_K),
            "W": (A, K),
            "y": (MORE, J),
            "rate": (0.1, {"k": -2, "j": -2}),
            "decay": (0.5, {"k": 2, "j": 2}),
        },
        (INV_K,),
        EDGE,
    ),
    "autoencoder_fixed_point": Case(
        lambda W, moment, decay, start: (
            linalg.autoencoder_fixed_point(W, moment, decay=decay),
            linalg.autoencoder_fixed_point(W, moment, start=start),
        ),
        {"W": (A, K), "moment": (MORE.T @ MORE, J), "decay": (0.5, {"k": 2, "j": 1}), "start": (INVERSE, INV_K)},
        (INV_K, INV_K),
        EDGE,
    ),
    "autoencoder_fixed_point of white noise": Case(
        lambda W, decay: (linalg.autoencoder_fixed_point(W, decay=decay), linalg.autoencoder_fixed_point(W)),
        {"W": (A, K), "decay": (0.5, {"k": 2})},
        (INV_K, INV_K),
    ),
}
