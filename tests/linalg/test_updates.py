"""Updates: Meyer's six cases, Woodbury, Greville, and long chains that notice their drift."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_cases import random_matrix, test_ratio

from rfnumeric.backend import to_numpy
from rfnumeric.linalg import PinvTracker, append_column, delete_column, pinv, rank_k_update, rank_one_update


def truncated(A: np.ndarray, floor: float) -> np.ndarray:
    """A⁺ with singular values up to `floor` taken as zero: the oracle, by LAPACK's SVD."""
    U, S, Vh = np.linalg.svd(A, full_matrices=False)
    keep = S > floor
    return (Vh.conj().T[:, keep] / S[keep]) @ U.conj().T[keep]


def draw(rng: np.random.Generator, is_complex: bool) -> tuple[np.ndarray, ...]:
    """A matrix of low rank and a rank-one change in one of the six cases."""
    m, n = (int(x) for x in rng.integers(1, 6, 2))
    r = int(rng.integers(0, min(m, n) + 1))
    A = random_matrix(rng, (m, r), is_complex) @ random_matrix(rng, (r, n), is_complex)
    X = truncated(A, 1e-10 * (1 + np.linalg.norm(A)))
    c = A @ random_matrix(rng, (n,), is_complex) if rng.random() < 0.6 else random_matrix(rng, (m,), is_complex)
    d = (
        A.conj().T @ random_matrix(rng, (m,), is_complex)
        if rng.random() < 0.6
        else random_matrix(rng, (n,), is_complex)
    )
    b = d.conj() @ X @ c
    if rng.random() < 0.4 and abs(b) > 0.05:
        d = d * np.conj(-1 / b)  # β = 0
    return A, X, c, d


@pytest.mark.parametrize("is_complex", [False, True])
def test_meyers_six_cases(is_complex: bool) -> None:
    rng = np.random.default_rng(0)
    errors: dict[int, list[float]] = {case: [] for case in range(1, 7)}
    for _ in range(1200):
        A, X, c, d = draw(rng, is_complex)
        B = A + np.outer(c, d.conj())
        size = 1 + np.linalg.norm(A) + np.linalg.norm(c) * np.linalg.norm(d)
        expected = truncated(B, 1e-9 * size)
        found = rank_one_update(A, X, c, d)
        # Relative to what an error of eps in A, c or d can do: ‖A⁺‖ and ‖B⁺‖ twice.
        scale = (1 + np.linalg.norm(X) + np.linalg.norm(expected)) ** 2 * size
        errors[int(found.case)].append(np.linalg.norm(found.value - expected) / scale)
    for case, values in errors.items():
        assert len(values) > 15, (case, Counter({k: len(v) for k, v in errors.items()}))
        assert np.median(values) <= 2e-15
        assert max(values) <= 200 * np.finfo(float).eps


def test_cases_two_and_three_meet_without_a_jump() -> None:
    # β → 0 with m ≠ 0: Meyer's case 3 divides by β, the joint formula does not.
    rng = np.random.default_rng(1)
    A = rng.standard_normal((3, 5))
    X = pinv(A)
    c = rng.standard_normal(3)
    m = rng.standard_normal(5)
    m -= X @ (A @ m)
    n = rng.standard_normal(3)
    n *= -1 / (n @ c)  # dᵀA⁺c = −1 for d = Aᵀn + m
    for beta in (0.0, 1e-300, 1e-17, 1e-15, 1e-12, 1e-8):
        d = A.T @ (n * (1 - beta)) + m
        found = rank_one_update(A, X, c, d)
        assert test_ratio(A + np.outer(c, d), found.value) < 30
    for tall in (True, False):
        M, Mi = (A.T, X.T) if tall else (A, X)
        u, v = (d, c) if tall else (c, d)
        assert test_ratio(M + np.outer(u, v), rank_one_update(M, Mi, u, v).value) < 30


def test_near_the_boundary_of_the_range() -> None:
    # w small but not zero: A + cdᵀ has a singular value near ‖w‖‖m‖; one projection alone would leave it wrong.
    rng = np.random.default_rng(2)
    A = rng.standard_normal((6, 3)) @ rng.standard_normal((3, 6))
    X = truncated(A, 1e-10)
    outside = rng.standard_normal(6)
    outside -= A @ (X @ outside)
    for small in (1e-2, 1e-5, 1e-8):
        c, d = A @ rng.standard_normal(6) + small * outside, rng.standard_normal(6)
        found = rank_one_update(A, X, c, d)
        assert int(found.case) == 1
        assert test_ratio(A + np.outer(c, d), found.value) < 30


def test_rank_one_on_every_backend_and_stack(backend) -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((4, 5, 5))
    A[2] = np.outer(A[2, 0], A[2, 1])
    X = np.stack([truncated(a, 1e-10) for a in A])
    c, d = rng.standard_normal((2, 4, 5))
    d[1] *= -1 / (d[1] @ X[1] @ c[1])  # singular afterwards: case 6
    found = rank_one_update(*(backend.asarray(a) for a in (A, X, c, d)), rtol=1e-4)
    assert to_numpy(found.case).tolist() == [3, 6, 1, 3]
    expected = np.stack([truncated(a + np.outer(u, v), 1e-5) for a, u, v in zip(A, c, d, strict=True)])
    kappa = max(np.linalg.cond(A[[0, 1, 3]]).max(), np.linalg.norm(expected, axis=(-2, -1)).max() * 10)
    bound = 100 * kappa**2 * np.finfo(backend.dtype_name).eps
    assert np.abs(to_numpy(found.value) - expected).max() < bound


@pytest.mark.parametrize("shape", [(3, 6), (6, 3), (4, 4), (2, 3, 6), (2, 6, 3)])
def test_woodbury(shape: tuple[int, ...], backend) -> None:
    rng = np.random.default_rng(4)
    A = rng.standard_normal(shape)
    At = np.swapaxes(A, -1, -2)
    Z = np.linalg.inv(A @ At if shape[-2] <= shape[-1] else At @ A)
    C, D = rng.standard_normal((*shape[:-1], 2)), rng.standard_normal((*shape[:-2], shape[-1], 2))
    X, Z = rank_k_update(*(backend.asarray(a) for a in (A, Z, C, D)))
    B = A + C @ np.swapaxes(D, -1, -2)
    Bt = np.swapaxes(B, -1, -2)
    G = B @ Bt if shape[-2] <= shape[-1] else Bt @ B
    # Both Gram matrices' conditions enter, A's in Z and B's in the solve.
    kappa = float((np.linalg.cond(A).max() * np.linalg.cond(B).max()) ** 2)
    bound = 10 * 6 * np.finfo(backend.dtype_name).eps * kappa
    np.testing.assert_allclose(to_numpy(X), np.linalg.pinv(B), atol=bound * np.abs(np.linalg.pinv(B)).max())
    np.testing.assert_allclose(to_numpy(Z), np.linalg.inv(G), atol=bound * np.abs(np.linalg.inv(G)).max())


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999),
    m=st.integers(1, 6),
    n=st.integers(1, 6),
    dependent=st.booleans(),
    is_complex=st.booleans(),
)
def test_greville(seed: int, m: int, n: int, dependent: bool, is_complex: bool) -> None:
    rng = np.random.default_rng(seed)
    A = random_matrix(rng, (m, n), is_complex)
    a = A @ random_matrix(rng, (n,), is_complex) if dependent else random_matrix(rng, (m,), is_complex)
    B = np.concatenate((A, a[:, None]), axis=1)
    X = append_column(A, np.linalg.pinv(A), a)
    expected = truncated(B, 1e-10)
    # A⁺ is off by eps·κ(A)‖A⁺‖, where κ(A) ≤ ‖B‖‖A⁺‖, which is up to ‖A⁺‖‖B‖ times that beside ‖B⁺‖ ≥ 1/‖B‖: a column
    # much larger than A makes terms of the size of A⁺ cancel. Near dependence adds the factor ‖B‖‖B⁺‖.
    kappa = (1 + np.linalg.norm(B) * np.linalg.norm(np.linalg.pinv(A))) ** 2 * (
        1 + np.linalg.norm(B) * np.linalg.norm(expected)
    )
    bound = 30 * np.finfo(float).eps * kappa
    assert np.linalg.norm(X - expected) <= bound * np.linalg.norm(expected)
    for index in (0, n, -1):
        rest = np.delete(B, index, axis=1)
        inverse = truncated(rest, 1e-10)
        # The formula divides by what the column leaves of the identity, down to 1/(‖B‖‖rest⁺‖)².
        kappa_rest = kappa * (1 + np.linalg.norm(B) * np.linalg.norm(inverse)) ** 2
        found = delete_column(B, expected, index)
        assert np.linalg.norm(found - inverse) <= 30 * np.finfo(float).eps * kappa_rest * (1 + np.linalg.norm(inverse))


def test_a_long_chain_reports_drift_and_refreshes() -> None:
    rng = np.random.default_rng(5)
    tracker = PinvTracker(rng.standard_normal((8, 12)).astype(np.float32), check_every=10)
    for _ in range(300):
        c, d = rng.standard_normal(8).astype(np.float32), rng.standard_normal(12).astype(np.float32)
        tracker.rank_one(0.3 * c, 0.3 * d)
    assert tracker.updates == 300
    assert len(tracker.drift) == 30
    assert tracker.check() <= 20 or tracker.refreshes > 0
    # Spoil it: the next check sees it and recomputes.
    before = tracker.refreshes
    tracker.X = 1.5 * tracker.X
    assert tracker.check() > 20
    assert tracker.refreshes == before + 1
    assert test_ratio(tracker.A, tracker.X) < 30


def test_drift_grows_without_refresh_and_stays_below_the_limit_with_it() -> None:
    rng = np.random.default_rng(6)
    A = rng.standard_normal((6, 6)).astype(np.float32)
    free, kept = PinvTracker(A, check_every=10, limit=np.inf), PinvTracker(A, check_every=10)
    for _ in range(400):
        c, d = rng.standard_normal((2, 6)).astype(np.float32)
        free.rank_one(c, d)
        kept.rank_one(c, d)
    assert kept.refreshes > 0
    assert free.refreshes == 0
    assert free.check() > 10 * max(1.0, float(np.median(kept.drift)))


def follow(dtype: str, shape: tuple[int, int], updates: int, every: int) -> PinvTracker:
    """Replace random rows, one after the other, and hold A⁺ to a fresh inverse at any time, not only after a check."""
    rng = np.random.default_rng(9)
    tracker = PinvTracker(rng.standard_normal(shape).astype(dtype))
    for t in range(updates):
        i = int(rng.integers(shape[0]))
        row = rng.standard_normal(shape[1]).astype(dtype)
        tracker.rank_one(np.eye(shape[0], dtype=dtype)[i], row - tracker.A[i])
        if t % every == 0:
            fresh = np.linalg.pinv(tracker.A.astype(float))
            unit = max(shape) * np.finfo(dtype).eps * np.linalg.norm(tracker.A) * np.linalg.norm(fresh)
            assert np.linalg.norm(tracker.X - fresh) <= 2 * tracker.limit * unit * np.linalg.norm(fresh)
    return tracker


@pytest.mark.parametrize(("dtype", "shape"), [("float32", (8, 12)), ("float32", (6, 6)), ("float64", (12, 5))])
def test_a_chain_stays_within_its_bound(dtype: str, shape: tuple[int, int]) -> None:
    tracker = follow(dtype, shape, 1500, 3)
    assert tracker.updates == 1500
    assert len(tracker.drift) >= 75
    assert tracker.refreshes == sum(not ratio <= tracker.limit for ratio in tracker.drift)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "shape"), [("float32", (8, 12)), ("float64", (8, 12))])
def test_a_chain_of_a_hundred_thousand_updates(dtype: str, shape: tuple[int, int]) -> None:
    tracker = follow(dtype, shape, 100_000, 50)
    assert 0 < tracker.refreshes < 1000


def test_a_passage_near_singular_is_noticed_at_once() -> None:
    # A⁺ grows 10⁶ times and shrinks again: the second update leaves what the first one lost, eps·10¹² of float64.
    tracker = PinvTracker(np.eye(3), check_every=1000)
    e = np.eye(3)[0]
    tracker.rank_one(e, (1e-6 / 3 - 1) * e)
    tracker.rank_one(np.asarray([0.7, 0.1, 0.0]), e)
    assert len(tracker.drift) == 2
    assert test_ratio(tracker.A, tracker.X) < 30


def test_tracker_columns(backend64) -> None:
    rng = np.random.default_rng(7)
    A = rng.standard_normal((2, 5, 3))
    tracker = PinvTracker(backend64.asarray(A), check_every=2)
    tracker.append_column(backend64.asarray(rng.standard_normal((2, 5))))
    tracker.delete_column(1)
    tracker.rank_one(backend64.asarray(rng.standard_normal((2, 5))), backend64.asarray(rng.standard_normal((2, 3))))
    np.testing.assert_allclose(to_numpy(tracker.X), np.linalg.pinv(to_numpy(tracker.A)), atol=1e-10)


def test_update_errors() -> None:
    A = np.ones((2, 3))
    with pytest.raises(ValueError, match="c must have shape"):
        rank_one_update(A, A.T, np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="transposed"):
        rank_one_update(A, A, np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="C must have shape"):
        rank_k_update(A, np.eye(2), np.ones((3, 1)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="index must lie in"):
        delete_column(A, A.T, 3)


@pytest.mark.parametrize("shape", [(60, 60), (50, 90), (90, 50)])
def test_the_case_of_an_ordinary_float32_matrix_is_told(shape: tuple[int, int]) -> None:
    # κ·max(m, n)·16·eps exceeds 1 here: a limit of that size takes everything for zero, and the result is 90 % wrong.
    rng = np.random.default_rng(8)
    A = rng.standard_normal(shape).astype(np.float32)
    c, d = (rng.standard_normal(size).astype(np.float32) for size in shape)
    found = rank_one_update(A, pinv(A), c, d)
    expected = np.linalg.pinv(A.astype(float) + np.outer(c.astype(float), d))
    kappa = np.linalg.norm(A) * np.linalg.norm(np.linalg.pinv(A.astype(float)))
    assert int(found.case) == (5 if shape[0] > shape[1] else 3)
    assert np.linalg.norm(found.value - expected) <= 2.0**-24 * kappa * np.linalg.norm(expected)


def test_shapes_are_checked_before_a_compiled_loop_trusts_them() -> None:
    A = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"c must have shape \(\.\.\., n\); got \(\)"):
        rank_one_update(A, A.T, np.float64(1.0), np.ones(3))
    with pytest.raises(ValueError, match="leading axes"):
        rank_one_update(np.ones((2, 2, 3)), np.ones((3, 3, 2)), np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="leading axes"):
        append_column(np.ones((2, 2, 3)), np.ones((2, 3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="transposed"):
        append_column(A, A, np.ones(2))
    with pytest.raises(ValueError, match="transposed"):
        delete_column(A, A, 0)
    with pytest.raises(ValueError, match="D must have shape"):
        rank_k_update(A, np.eye(2), np.ones((2, 1)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="leading axes"):
        rank_k_update(np.ones((2, 2, 3)), np.eye(2), np.ones((3, 2, 1)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="no column"):
        delete_column(np.ones((2, 0)), np.ones((0, 2)), 0)


def test_updates_of_matrices_without_rows_or_columns() -> None:
    for shape in ((0, 3), (3, 0)):
        A = np.ones(shape)
        found = rank_one_update(A, A.T, np.ones(shape[0]), np.ones(shape[1]))
        assert found.value.shape == shape[::-1]
        assert append_column(A, A.T, np.ones(shape[0])).shape == (shape[1] + 1, shape[0])
    np.testing.assert_allclose(append_column(np.ones((2, 0)), np.ones((0, 2)), np.asarray([3.0, 4.0])), [[0.12, 0.16]])
    X, Z = rank_k_update(np.eye(2), np.eye(2), np.ones((2, 0)), np.ones((2, 0)))
    assert X.tolist() == Z.tolist() == [[1.0, 0.0], [0.0, 1.0]]
