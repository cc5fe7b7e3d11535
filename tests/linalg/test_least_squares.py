"""Recursive least squares in square-root form: against a QR in higher precision, over long runs and odd scales."""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.backend import to_numpy
from rfnumeric.linalg import RecursiveLeastSquares, opium_light_step, ridge_solution


def ridge(H: np.ndarray, Y: np.ndarray, damping: float) -> np.ndarray:
    """The solution by LAPACK's QR of [H; √λ I] in double precision: the oracle."""
    n = H.shape[1]
    A = np.concatenate((H.astype(float), np.sqrt(damping) * np.eye(n)))
    B = np.concatenate((Y.astype(float), np.zeros((n, Y.shape[1]))))
    Q, R = np.linalg.qr(A)
    return np.linalg.solve(R, Q.T @ B).T


def error(M, expected: np.ndarray) -> float:
    return float(np.linalg.norm(to_numpy(M) - expected) / np.linalg.norm(expected))


def bound(H: np.ndarray, damping: float) -> float:
    """eps·(1 + ‖H‖²/λ)^½: no factor S that the run passed has a larger condition number."""
    return float(np.finfo(H.dtype).eps * np.sqrt(1 + np.linalg.norm(H.astype(float), 2) ** 2 / damping))


def draw(seed: int, samples: int, n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    H = np.maximum(rng.standard_normal((samples, n)), 0)  # rectified: a large common part, so a large κ
    return H.astype(dtype), rng.standard_normal((samples, 3)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "damping"), [("float32", 1e-4), ("float32", 1.0), ("float64", 1e-4), ("float64", 1e-9)]
)
def test_the_error_is_that_of_the_root(dtype: str, damping: float) -> None:
    H, Y = draw(0, 400, 40, dtype)
    rls = RecursiveLeastSquares(np.zeros((3, 40), dtype), damping)
    for t, (h, y) in enumerate(zip(H, Y, strict=True), 1):
        rls.step(h, y)
        if t in (1, 39, 40, 41, 80, 400):
            expected = ridge(H[:t], Y[:t], damping)
            assert error(rls.M, expected) <= bound(H[:t], damping)
            P = np.linalg.inv(H[:t].T.astype(np.longdouble).astype(float) @ H[:t] + damping * np.eye(40))
            if dtype == "float32":  # the oracle of P itself loses κ, in double
                assert np.linalg.norm(rls.P - P) <= bound(H[:t], damping) * np.linalg.norm(P)
            assert np.array_equal(rls.P, rls.P.T)
    assert np.linalg.eigvalsh(rls.P.astype(float))[0] > 0
    assert rls.pairs == 400


def test_drift_is_the_true_error(backend) -> None:
    H, Y = draw(1, 120, 12, "float64")
    rls = RecursiveLeastSquares(backend.zeros((3, 12)), 1e-3)
    for h, y in zip(H, Y, strict=True):
        rls.step(backend.asarray(h), backend.asarray(y))
    cast = np.dtype(backend.dtype_name)
    seen_H, seen_Y = H.astype(cast), Y.astype(cast)
    true = error(rls.M, ridge(seen_H, seen_Y, 1e-3))
    # The measurement's own rounding: 2⁻⁵³·κ(HᵀH + λI).
    floor = 4 * 2.0**-53 * (1 + np.linalg.norm(H, 2) ** 2 / 1e-3)
    drift = rls.drift()
    assert float(drift.M) == pytest.approx(true, rel=0.1, abs=floor)
    # Spoil M and S: both are seen for what they are.
    rls.M, rls.S = 1.01 * rls.M, 1.1 * rls.S
    assert float(rls.drift().M) == pytest.approx(0.01 / 1.01 * 1.21, rel=0.01)
    assert float(rls.drift().P) == pytest.approx(0.21, rel=0.01)


def test_a_population_is_its_members(backend64) -> None:
    H, Y = draw(2, 60, 6, "float64")
    both = RecursiveLeastSquares(backend64.zeros((2, 3, 6)), 0.1)
    alone = [RecursiveLeastSquares(backend64.zeros((3, 6)), 0.1) for _ in range(2)]
    for t in range(30):
        both.step(backend64.asarray(H[[t, t + 30]]), backend64.asarray(Y[t]))  # the target is shared
        for k in range(2):
            alone[k].step(backend64.asarray(H[t + 30 * k]), backend64.asarray(Y[t]))
    for k in range(2):
        np.testing.assert_allclose(to_numpy(both.M)[k], to_numpy(alone[k].M), rtol=1e-10)
    assert to_numpy(both.drift().M).shape == (2,)
    assert to_numpy(both.drift().M).max() < 1e-12


def test_a_start_is_what_the_damping_shrinks_to() -> None:
    H, Y = draw(3, 30, 5, "float64")
    start = np.random.default_rng(3).standard_normal((3, 5))
    rls = RecursiveLeastSquares(start, 2.0)
    for h, y in zip(H, Y, strict=True):
        rls.step(h, y)
    expected = start + ridge(H, Y - H @ start.T, 2.0)
    np.testing.assert_allclose(rls.M, expected, rtol=1e-10)
    assert float(rls.drift().M) < 1e-13


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_badly_scaled_features(dtype: str) -> None:
    # Features from 1e-6 to 1e6: M has entries from 1e-6 to 1e6 as well.
    H, Y = draw(5, 200, 8, dtype)
    H = H * np.geomspace(1e-3, 1e3, 8).astype(dtype)
    rls = RecursiveLeastSquares(np.zeros((3, 8), dtype), 1e-2)
    for h, y in zip(H, Y, strict=True):
        rls.step(h, y)
    assert error(rls.M, ridge(H, Y, 1e-2)) <= bound(H, 1e-2)
    # Far beyond: nothing overflows, P stays definite.
    huge = RecursiveLeastSquares(np.zeros((3, 8), dtype), 1e-2)
    for h, y in zip(H * dtype_power(dtype), Y, strict=True):
        huge.step(h, y)
    assert np.isfinite(huge.M).all()
    assert np.isfinite(huge.S).all()


def dtype_power(dtype: str) -> np.floating:
    return np.dtype(dtype).type(2.0 ** (100 if dtype == "float32" else 900))


def test_the_caller_may_reuse_its_buffers() -> None:
    H, Y = draw(6, 10, 4, "float64")
    one, two = (RecursiveLeastSquares(np.zeros((3, 4)), 1.0) for _ in range(2))
    h, y = np.empty(4), np.empty(3)
    for t in range(10):
        h[:], y[:] = H[t], Y[t]
        one.step(h, y)
        two.step(H[t], Y[t])
    assert float(one.drift().M) == float(two.drift().M) < 1e-14


def test_without_measuring_nothing_is_kept() -> None:
    rls = RecursiveLeastSquares(np.zeros((1, 2)), 1.0, measure=False)
    rls.step(np.ones(2), np.ones(1))
    assert not rls._seen
    with pytest.raises(ValueError, match="measure=True"):
        rls.drift()


def test_shapes_of_pairs_are_checked() -> None:
    rls = RecursiveLeastSquares(np.zeros((3, 4)), 1.0)
    for h, y in ((np.ones(3), np.ones(3)), (np.ones(4), np.ones(4)), (np.ones((2, 4)), np.ones(3))):
        with pytest.raises(ValueError, match=r"leading axes|must have shape"):
            rls.step(h, y)
        if h.ndim == 1:
            with pytest.raises(ValueError, match="must have shape"):
                opium_light_step(np.zeros((3, 4)), h, y)
    with pytest.raises(ValueError, match="Y must have shape"):
        ridge_solution(np.ones((4, 2)), np.ones((3, 2)), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "damping"), [("float32", 1e-4), ("float32", 1.0), ("float64", 1e-9)])
def test_a_hundred_thousand_pairs(dtype: str, damping: float) -> None:
    H, Y = draw(7, 100_000, 20, dtype)
    rls = RecursiveLeastSquares(np.zeros((3, 20), dtype), damping)
    for t, (h, y) in enumerate(zip(H, Y, strict=True), 1):
        rls.step(h, y)
        if t % 20_000 == 0:
            true = error(rls.M, ridge(H[:t], Y[:t], damping))
            assert true <= bound(H[:t], damping)
            if dtype == "float32":
                assert float(rls.drift().M) == pytest.approx(true, rel=0.01)
    assert np.linalg.eigvalsh(rls.P.astype(float))[0] > 0


def test_ridge_solution_does_not_lose_a_small_damping() -> None:
    # κ(HᵀH) = 10¹²: a Gram matrix in float32 would not know its smallest eigenvalues.
    rng = np.random.default_rng(8)
    U, V = np.linalg.qr(rng.standard_normal((30, 6)))[0], np.linalg.qr(rng.standard_normal((6, 6)))[0]
    H = ((U * np.geomspace(1, 1e-4, 6)) @ V.T).astype(np.float32)
    Y = rng.standard_normal((30, 2)).astype(np.float32)
    for damping in (1e-2, 1e-6, 1e-8):
        expected = ridge(H, Y, damping)
        kappa = np.sqrt((1 + damping) / (1e-8 + damping))
        assert error(ridge_solution(H, Y, damping), expected) <= 4 * np.finfo(np.float32).eps * kappa
