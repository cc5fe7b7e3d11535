"""Iterations: their limits, orders and honest statuses, and each statement about the coupled rule that can be false."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_cases import KINDS, draw_matrix, from_spectrum, matrices, random_matrix, test_ratio

from rfnumeric.backend import to_numpy
from rfnumeric.linalg import (
    CoupledRule,
    GramNewton,
    Hyperpower,
    ben_israel_cohen,
    coupled_rule,
    hyperpower,
    logistic_flow,
    pinv,
    satisfied_conditions,
)


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_limit_is_the_pseudoinverse(dtype: str, data: st.DataObject) -> None:
    A, _, _ = data.draw(matrices(dtype, full_rank=True, kappa=20))
    for start in ("norms", "frobenius", "spectral"):
        result = ben_israel_cohen(A, start)
        assert result.status == "converged"
        assert result.conditions == {1, 2, 3, 4}
        assert test_ratio(A, result.value) < 30
        assert float(result.residual) <= 20


@pytest.mark.parametrize("order", [2, 3, 4, 7])
def test_order_of_convergence(order: int) -> None:
    # One step takes R = I − AX to R^p exactly; in the history the order shows as a slope.
    A = from_spectrum(np.random.default_rng(0), 6, 9, np.geomspace(1, 0.2, 6))
    iteration = Hyperpower(A, order=order)
    for _ in range(3):
        R = np.eye(6) - A @ iteration.X
        iteration.step()
        expected = np.linalg.matrix_power(R, order)
        # p products of matrices of norm ≤ 1, each with 9 eps of rounding, through κ = 5.
        assert np.linalg.norm(np.eye(6) - A @ iteration.X - expected) < 4 * order * 9 * 5 * np.finfo(float).eps * 6
    result = hyperpower(A, order=order)
    assert result.theory == order
    if order < 4:
        assert result.measured == pytest.approx(order, rel=0.35)


def test_every_backend(backend) -> None:
    A = from_spectrum(np.random.default_rng(1), 4, 6, np.geomspace(1, 0.1, 4))
    stack = np.stack([A, 2 * A])
    for result in (ben_israel_cohen(backend.asarray(stack)), hyperpower(backend.asarray(stack), order=5)):
        assert result.status == "converged"
        assert result.statuses == ("converged", "converged")
        np.testing.assert_allclose(
            to_numpy(result.value), np.linalg.pinv(stack), atol=100 * 10 * np.finfo(backend.dtype_name).eps
        )


def test_a_wide_warm_start_ends_at_another_inverse() -> None:
    # Yesterday's pseudoinverse has yesterday's range: {1, 2, 3} and not 4; the Gram form is exact.
    rng = np.random.default_rng(2)
    W = rng.standard_normal((4, 7))
    moved = W + 0.02 * rng.standard_normal((4, 7))
    result = ben_israel_cohen(moved, np.linalg.pinv(W))
    assert result.status == "stagnated"
    assert result.conditions == {1, 2, 3}
    assert result.iterations < 15
    tracker = GramNewton(W)
    warm = tracker.update(moved)
    assert warm.status == "converged"
    assert warm.iterations < GramNewton(moved).result.iterations
    np.testing.assert_allclose(warm.value, np.linalg.pinv(moved), atol=1e-12)


def test_gram_newton_restarts_after_a_jump(backend64) -> None:
    rng = np.random.default_rng(3)
    tracker = GramNewton(backend64.asarray(rng.standard_normal((2, 7, 4))))
    far = 100 * rng.standard_normal((2, 7, 4))
    result = tracker.update(backend64.asarray(far))
    assert result.status == "converged"
    np.testing.assert_allclose(to_numpy(result.value), np.linalg.pinv(far), atol=1e-12)


def test_wrong_range_of_lower_rank_is_a_two_inverse() -> None:
    A = np.diag([1.0, 2.0, 4.0])
    result = ben_israel_cohen(A, np.diag([0.1, 0.1, 0.0]))
    assert result.status == "stagnated"
    assert result.conditions == {2, 3, 4}
    np.testing.assert_allclose(result.value, np.diag([1.0, 0.5, 0.0]), atol=1e-15)


def test_divergence_and_budget_are_reported() -> None:
    A = np.diag([1.0, 0.5])
    assert ben_israel_cohen(A, 3.0 * A.T).status == "diverged"  # α > 2/σ₁²
    assert ben_israel_cohen(A, 1.9 * A.T).status == "converged"
    cut = ben_israel_cohen(A, 1e-3 * A.T, max_iterations=4)
    assert cut.status == "max_iterations"
    assert cut.iterations == 4
    mixed = ben_israel_cohen(np.stack([A, A]), np.stack([3.0 * A.T, A.T]))
    assert mixed.statuses == ("diverged", "converged")
    assert mixed.status == "diverged"


def test_an_iteration_never_claims_what_is_not_so() -> None:
    rng = np.random.default_rng(7)
    seen = set()
    for k in range(80):
        A, kappa, rank = draw_matrix(rng, list(KINDS)[k % 4])
        result = hyperpower(A, order=2 + k % 3)
        seen.add(result.status)
        if result.status == "converged":
            assert test_ratio(A, result.value) <= 30, (kappa, rank)
            assert result.conditions == {1, 2, 3, 4}
    assert "converged" in seen
    assert seen - {"converged"}


def test_iteration_errors() -> None:
    A = np.ones((2, 3))
    with pytest.raises(ValueError, match="Did you pass its transpose"):
        ben_israel_cohen(A, A)
    with pytest.raises(ValueError, match="order"):
        hyperpower(A, order=1)
    with pytest.raises(ValueError, match="X0 must be an array or one of"):
        hyperpower(A, "zeros")
    with pytest.raises(ValueError, match="finite"):
        ben_israel_cohen(A * np.nan)


def papers_starts(spread: float, count: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """v1 A.3: I − E, E uniform on [−spread, spread], 10×10, condition numbers above 20 rejected."""
    rng = np.random.default_rng(seed)

    def draw() -> np.ndarray:
        while True:
            M = np.eye(10) - rng.uniform(-spread, spread, (10, 10))
            if np.linalg.cond(M) <= 20:
                return M

    return np.stack([draw() for _ in range(count)]), np.stack([draw() for _ in range(count)])


def test_rule_as_printed_never_finds_an_inverse() -> None:
    U, V = papers_starts(0.3)
    result = coupled_rule(U, V, form="printed", max_iterations=1000)
    assert "converged" not in result.statuses
    U, V = result.value
    # The flow ṗ = −2p² decays as 1/(2t): after 1000 steps of η = 0.1, eigenvalues of UV are near 1/200.
    P = np.linalg.norm(U @ V, 2, axis=(-2, -1))
    assert P.max() < 0.02
    later = np.linalg.norm(np.matmul(*coupled_rule(U, V, form="printed", max_iterations=1000).value), 2, axis=(-2, -1))
    np.testing.assert_allclose(later / P, 0.5, rtol=0.15)


@pytest.mark.parametrize(("spread", "low", "high"), [(1.0, 75, 100), (0.5, 3, 25), (0.3, 0, 0)])
def test_share_of_the_papers_starts_that_diverge(spread: float, low: int, high: int) -> None:
    result = coupled_rule(*papers_starts(spread), max_iterations=3000)
    diverged = result.statuses.count("diverged")
    assert low <= diverged <= high
    assert result.statuses.count("converged") == 100 - diverged


def test_a_small_step_converges_without_a_negative_real_eigenvalue_and_only_then() -> None:
    U, V = papers_starts(1.0, count=242, seed=1)
    eigenvalues = np.linalg.eigvals(U @ V)
    real = np.abs(eigenvalues.imag) < 1e-12 * np.abs(eigenvalues)
    negative = (real & (eigenvalues.real < 0)).any(axis=-1)
    # What comes within a step's length of the negative axis is decided by the step, not by the flow.
    angle = np.abs(np.angle(-eigenvalues)).min(axis=-1)
    clear = negative | (angle > 0.1)
    result = coupled_rule(U, V, 0.01, max_iterations=4000)
    converged = np.asarray([s == "converged" for s in result.statuses])
    assert clear.sum() > 200
    assert (~negative & clear).sum() > 20
    np.testing.assert_array_equal(converged[clear], ~negative[clear])


def test_eigenvalues_follow_the_logistic_equation() -> None:
    rng = np.random.default_rng(4)
    P = np.eye(4) + 0.3 * rng.standard_normal((4, 4))

    def flow(_: float, p: np.ndarray) -> np.ndarray:
        M = p.reshape(4, 4)
        return (2 * (M - M @ M)).ravel()

    exact = scipy.integrate.solve_ivp(flow, (0, 1.5), P.ravel(), rtol=1e-11, atol=1e-12).y[:, -1].reshape(4, 4)
    np.testing.assert_allclose(logistic_flow(P, 1.5), exact, atol=1e-8)
    # The rule is the flow's Euler scheme: halving η halves the distance.
    errors = []
    for rate in (0.01, 0.005):
        rule = CoupledRule(P, np.eye(4), rate)
        rule.step(round(1.5 / rate))
        errors.append(np.linalg.norm(rule.U @ rule.V - exact))
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("shape", [(3, 6), (6, 3)])
def test_limit_of_rectangular_pairs(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    for _ in range(5):
        U = rng.standard_normal(shape)
        V = 0.5 * np.linalg.pinv(U) + 0.02 * rng.standard_normal(shape[::-1])
        result = coupled_rule(U, V)
        assert result.status == "stagnated"
        assert {1, 2} < result.conditions < {1, 2, 3, 4}
        assert len(result.conditions) == 3


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_linear_rate(rate: float) -> None:
    result = CoupledRule(*papers_starts(0.2, count=5), rate).run(check_every=2)
    assert result.theory == pytest.approx(1 - 2 * rate)
    assert result.measured == pytest.approx(1 - 2 * rate, rel=0.03)
    one = CoupledRule(*papers_starts(0.2, count=5), rate, one_sided=True).run(check_every=2)
    assert one.theory == pytest.approx(1 - rate)
    assert one.measured == pytest.approx(1 - rate, rel=0.03)


def test_damped_form_and_one_side() -> None:
    U, V = papers_starts(0.2, count=4)
    result = coupled_rule(U, V, decay=0.2)
    np.testing.assert_allclose(np.matmul(*result.value), np.broadcast_to(0.8 * np.eye(10), U.shape), atol=1e-12)
    assert result.status == "stagnated"
    result = coupled_rule(U, V, one_sided=True)
    np.testing.assert_array_equal(result.value[1], V)
    np.testing.assert_allclose(result.value[0], np.linalg.inv(V), atol=1e-11)


def test_coupled_rule_on_every_backend(backend) -> None:
    U, V = papers_starts(0.2, count=2)
    result = coupled_rule(backend.asarray(U), backend.asarray(V), 0.4, max_iterations=100)
    assert result.status == "converged"
    np.testing.assert_allclose(
        np.matmul(*(to_numpy(x) for x in result.value)),
        np.broadcast_to(np.eye(10), U.shape),
        atol=100 * 10 * np.finfo(backend.dtype_name).eps,
    )


def test_coupled_errors() -> None:
    A = np.ones((2, 3))
    with pytest.raises(ValueError, match="Did you pass its transpose"):
        coupled_rule(A, A)
    with pytest.raises(ValueError, match="form must be"):
        coupled_rule(A, A.T, form="as meant")
    with pytest.raises(ValueError, match="rate"):
        coupled_rule(A, A.T, -0.1)
    with pytest.raises(ValueError, match="finite"):
        coupled_rule(A * np.inf, A.T)


def test_satisfied_by_every_engine_alike() -> None:
    A = random_matrix(np.random.default_rng(6), (5, 8))
    np.testing.assert_allclose(ben_israel_cohen(A).value, pinv(A), atol=1e-12)
    assert satisfied_conditions(A, ben_israel_cohen(A).value) == {1, 2, 3, 4}
