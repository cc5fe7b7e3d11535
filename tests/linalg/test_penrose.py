"""Penrose residuals: against extended precision, at any scale, and without the m×m product for tall matrices."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_cases import KINDS, matrices, random_matrix, test_ratio

from rfnumeric.backend import to_numpy
from rfnumeric.linalg import penrose_residuals, satisfied_conditions

# One generic inverse for each set of conditions, of A = [[1, 1], [0, 0]] padded: known by hand.
WIDE = np.asarray([[1.0, 1.0]])


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_residuals_equal_extended_precision(dtype: str, data: st.DataObject) -> None:
    A, _, _ = data.draw(matrices(dtype, kappa=1e3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    X = random_matrix(rng, A.shape[::-1], KINDS[dtype]).astype(dtype)
    found = penrose_residuals(A, X)
    wide = np.clongdouble if KINDS[dtype] else np.longdouble
    a, x = A.astype(wide), X.astype(wide)
    AX, XA = a @ x, x @ a

    def norm(M: np.ndarray) -> float:
        return float(np.sqrt((np.abs(M) ** 2).sum()))

    expected = [
        (norm(AX @ a - a), norm(a)),
        (norm(x @ AX - x), norm(x)),
        (norm(AX - AX.conj().T), norm(AX)),
        (norm(XA - XA.conj().T), norm(XA)),
    ]
    # Each residual is a sum of products of up to three factors: 8·max(m, n)·eps·‖A‖‖X‖ bounds its relative error.
    unit = 8 * max(A.shape) * np.finfo(dtype).eps * (1 + norm(a) * norm(x)) ** 2
    for value, (residual, scale) in zip(found[:4], expected, strict=True):
        if scale > 0:
            assert abs(float(value) - residual / scale) <= unit * max(1.0, 1 / scale)
    # Bounds of the 2-norms where they suffice; exact, or a missing singular value that counts for more, where not.
    expected = test_ratio(A, X)
    assert float(found.test_ratio) >= 0.99 * expected - 2
    assert (float(found.test_ratio) <= 20) == (expected <= 20)


def test_each_condition_is_told_apart() -> None:
    A = np.asarray([[1.0, 0.0], [0.0, 0.0]])
    inverses = {
        (1, 2, 3, 4): [[1.0, 0.0], [0.0, 0.0]],
        (1, 3, 4): [[1.0, 0.0], [0.0, 5.0]],
        (1, 2, 4): [[1.0, 2.0], [0.0, 0.0]],
        (1, 2, 3): [[1.0, 0.0], [2.0, 0.0]],
        (1, 2): [[1.0, 2.0], [3.0, 6.0]],
        (2, 3, 4): [[0.0, 0.0], [0.0, 0.0]],
        (1,): [[1.0, 2.0], [3.0, 5.0]],
        (3, 4): [[2.0, 0.0], [0.0, 1.0]],
    }
    for conditions, X in inverses.items():
        assert satisfied_conditions(A, np.asarray(X)) == set(conditions)


def test_rtol_and_stacks() -> None:
    A = np.asarray([[[2.0]], [[4.0]]])
    X = np.asarray([[[0.5]], [[0.251]]])
    assert satisfied_conditions(A, X) == {3, 4}
    # AXA − A = 0.4 %, XAX − X the same.
    assert satisfied_conditions(A, X, rtol=0.005) == {1, 2, 3, 4}
    assert satisfied_conditions(A, X, rtol=0.003) == {3, 4}
    assert penrose_residuals(A, X).axa.shape == (2,)
    assert penrose_residuals(A, X).ratios.shape == (4, 2)


def test_every_backend(backend) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 4, 6))
    X = np.linalg.pinv(A)
    found = penrose_residuals(backend.asarray(A), backend.asarray(X))
    assert to_numpy(found.test_ratio).max() < 2
    off = penrose_residuals(backend.asarray(A), backend.asarray(1.01 * X))
    # (1.01)² − 1.01 over 1.01 and 0.01 by hand; rounding as in the first test.
    bound = 8 * 6 * np.finfo(backend.dtype_name).eps * 400
    np.testing.assert_allclose(to_numpy(off.axa), 0.01, atol=bound)
    np.testing.assert_allclose(to_numpy(off.xax), 0.01, atol=bound)


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1.0, 1e150, 1e300])
def test_no_square_overflows(scale: float) -> None:
    A = np.random.default_rng(1).standard_normal((5, 3)) * scale
    found = penrose_residuals(A, np.linalg.pinv(A / scale) / scale)
    assert 0 < float(found.test_ratio) < 2
    doubled = penrose_residuals(A, 2 * np.linalg.pinv(A / scale) / scale)
    assert float(doubled.axa) == pytest.approx(1.0)


def test_a_tall_matrix_takes_memory_in_proportion() -> None:
    A = np.random.default_rng(2).standard_normal((400_000, 2))
    X = np.linalg.pinv(A)
    tracemalloc.start()
    found = penrose_residuals(A, X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert float(found.test_ratio) < 2
    assert peak < 20 * A.nbytes
    X[0] += 1e-3 * np.abs(X[1]).max()
    assert float(penrose_residuals(A, X).test_ratio) > 30


def test_tall_shortcut_equals_the_product() -> None:
    rng = np.random.default_rng(3)
    A, X = rng.standard_normal((40, 3)), rng.standard_normal((3, 40))
    AX = A @ X
    skew = np.linalg.norm(AX - AX.T) / np.linalg.norm(AX)
    assert float(penrose_residuals(A, X).ax) == pytest.approx(skew, rel=1e-12)
    assert float(penrose_residuals(X, A).xa) == pytest.approx(skew, rel=1e-12)


def test_nonfinite_and_zero() -> None:
    A, Z = np.eye(2), np.zeros((2, 2))
    assert [float(r) for r in penrose_residuals(Z, Z)[:4]] == [0.0] * 4
    assert float(penrose_residuals(A, np.full((2, 2), np.nan)).test_ratio) != 0
    assert satisfied_conditions(A, np.full((2, 2), np.nan)) == set()
    assert satisfied_conditions(np.zeros((0, 3)), np.zeros((3, 0))) == {1, 2, 3, 4}


def test_errors() -> None:
    with pytest.raises(ValueError, match="Did you pass its transpose"):
        penrose_residuals(WIDE, WIDE)
    with pytest.raises(ValueError, match=r"\(\.\.\., m, n\)"):
        penrose_residuals(np.ones(3), np.ones(3))
    with pytest.raises(TypeError, match="X must be an array of real or complex numbers"):
        penrose_residuals(np.ones((2, 2), dtype=np.int64), np.eye(2).astype(str))
