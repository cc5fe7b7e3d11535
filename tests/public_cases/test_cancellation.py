"""Cancellation: what is updated pair by pair stays the solution of all pairs, and says how far it is from it."""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.linalg import RecursiveLeastSquares


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_least_squares_of_rectified_features(dtype: str) -> None:
    # P ← P − ψψᵀ/(1 + hᵀψ) in single precision ends with hᵀPh below −1 on data like these, and M many times too large.
    rng = np.random.default_rng(12)
    H = np.maximum(rng.standard_normal((500, 80)), 0).astype(dtype)
    Y = rng.standard_normal((500, 2)).astype(dtype)
    rls = RecursiveLeastSquares(np.zeros((2, 80), dtype), 1e-4)
    for h, y in zip(H, Y, strict=True):
        rls.step(h, y)
        assert h @ rls.P @ h >= 0
    A = np.concatenate((H.astype(float), 1e-2 * np.eye(80)))
    expected = np.linalg.lstsq(A, np.concatenate((Y, np.zeros((80, 2)))), rcond=None)[0].T
    error = np.linalg.norm(rls.M - expected) / np.linalg.norm(expected)
    assert error <= np.finfo(dtype).eps * np.linalg.norm(H.astype(float), 2) / 1e-2
    assert float(rls.drift().M) == pytest.approx(error, rel=0.01, abs=1e-9)
