"""Online rules, each against the fixed point it is proven to have, and where it fails, against how it fails."""

from __future__ import annotations

import numpy as np
import pytest
from linalg_cases import from_spectrum

from rfnumeric.backend import to_numpy
from rfnumeric.linalg import (
    RecursiveLeastSquares,
    autoencoder_fixed_point,
    autoencoder_step,
    hinton_mcclelland_step,
    opium_light_step,
    pinv,
    recirculation_step,
    ridge_solution,
    satisfied_conditions,
)


def white_batch(rng: np.random.Generator, n: int, size: int = 64) -> np.ndarray:
    """Noise whose sample second moment is exactly I: the rules' expectation, in one batch."""
    y = rng.standard_normal((size, n))
    y = np.concatenate((y, -y))
    L = np.linalg.cholesky(y.T @ y / len(y))
    return np.linalg.solve(L, y.T).T


def test_recirculation_is_in_expectation_the_iteration(backend) -> None:
    rng = np.random.default_rng(0)
    U, V = rng.standard_normal((3, 5)), rng.standard_normal((5, 3))
    y, z = 2.0 * white_batch(rng, 5), 2.0 * white_batch(rng, 3)
    found = recirculation_step(
        *(backend.asarray(a) for a in (U, V, y)), 0.1, variance=4.0, hidden_noise=backend.asarray(z)
    )
    # Sums of 128 samples, three products deep.
    bound = 50 * np.finfo(backend.dtype_name).eps * (np.linalg.norm(U) * np.linalg.norm(V)) ** 2
    np.testing.assert_allclose(to_numpy(found.U), U + 0.1 * (U - U @ V @ U), atol=bound)
    np.testing.assert_allclose(to_numpy(found.V), V + 0.1 * (V - V @ U @ V), atol=bound)
    one = recirculation_step(*(backend.asarray(a) for a in (U, V, y)), 0.1, variance=4.0)
    np.testing.assert_array_equal(to_numpy(one.V), to_numpy(backend.asarray(V)))


def recirculate(n: int, m: int, steps: int, rate: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Run the one-sided rule with sampled noise from U₀ = αVᵀ; V is n×m."""
    rng = np.random.default_rng(n * 100 + m)
    V = rng.standard_normal((n, m)) / np.sqrt(max(n, m))
    U = V.T / np.linalg.norm(V) ** 2
    for _ in range(steps):
        U, V = recirculation_step(U, V, rng.standard_normal((256, n)), rate)
    return U, V


@pytest.mark.parametrize(("n", "m"), [(4, 8), (5, 5)])
def test_sampled_recirculation_is_exact_for_n_up_to_m(n: int, m: int) -> None:
    U, V = recirculate(n, m, 3000 if n < m else 6000)
    np.testing.assert_allclose(U, np.linalg.pinv(V), atol=1e-6 * np.linalg.norm(np.linalg.pinv(V)))


def test_sampled_recirculation_drifts_along_the_left_inverses_for_n_above_m() -> None:
    U, V = recirculate(8, 4, 3000)
    np.testing.assert_allclose(U @ V, np.eye(4), atol=1e-9)  # a left inverse, exactly
    distance = np.linalg.norm(U - np.linalg.pinv(V)) / np.linalg.norm(np.linalg.pinv(V))
    assert 0.005 < distance < 0.3  # but not the pseudoinverse
    assert satisfied_conditions(V, U, rtol=1e-6) == {1, 2, 4}  # VU is no longer symmetric


def test_every_left_inverse_is_a_fixed_point_of_recirculation() -> None:
    rng = np.random.default_rng(8)
    V = rng.standard_normal((8, 4))
    V_pinv = np.linalg.pinv(V)
    U = V_pinv + rng.standard_normal((4, 8)) @ (np.eye(8) - V @ V_pinv)
    y = rng.standard_normal((256, 8))
    moved = recirculation_step(U, V, y, 0.05).U - U
    # UV − I is rounding: U and U S, S = yᵀy/256 with ‖S‖ < 3, amplify it.
    assert np.linalg.norm(moved) <= 0.05 * 3 * 8 * 2.0**-52 * np.linalg.norm(U) ** 2 * np.linalg.norm(V)
    # The same noise moves what is no inverse of V.
    assert np.linalg.norm(recirculation_step(1.1 * U, V, y, 0.05).U - 1.1 * U) > 1e-3


def test_recirculation_from_a_random_start_never_ends_at_the_pseudoinverse() -> None:
    ends = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        V, U = rng.standard_normal((8, 4)) / np.sqrt(8), rng.standard_normal((4, 8)) / np.sqrt(8)
        for _ in range(3000):
            U, _ = recirculation_step(U, V, rng.standard_normal((256, 8)), 0.05)
            if not np.linalg.norm(U) < 1e6:
                ends.append("diverged")
                break
        else:
            wrong = np.linalg.norm(U - np.linalg.pinv(V)) > 0.01 * np.linalg.norm(U)
            ends.append("wrong" if wrong else "pseudoinverse")
    assert set(ends) == {"diverged", "wrong"}


def test_hinton_mcclelland_fixed_points() -> None:
    rng = np.random.default_rng(1)
    # Perfect reconstruction is a fixed point: data made by V from the hidden states that U gives them.
    U, V = np.asarray([[1.5, -0.5]]), np.asarray([[2.0], [1.0]])
    h = 0.6
    for _ in range(200):  # a state with σ(U σ(V h)) = h
        y = 1 / (1 + np.exp(-V[:, 0] * h))
        h = float(1 / (1 + np.exp(-U[0] @ y)))
    y = 1 / (1 + np.exp(-V[:, 0] * h))
    new = hinton_mcclelland_step(U, V, y[None, :], 0.5)
    np.testing.assert_allclose(new.U, U, atol=1e-14)
    np.testing.assert_allclose(new.V, V, atol=1e-14)
    # Linear, U held: V goes to the data-weighted inverse of U.
    U = rng.standard_normal((2, 4))
    y = rng.standard_normal((50, 4)) * np.asarray([2.0, 1.0, 0.5, 1.0])
    V = np.zeros((4, 2))
    rate = 1.0 / np.linalg.norm(U @ (y.T @ y / 50) @ U.T, 2) / 0.25
    for _ in range(2000):
        V = hinton_mcclelland_step(U, V, y, rate, regression=0.75, linear=True).V
    np.testing.assert_allclose(V, autoencoder_fixed_point(U, y.T @ y / 50), atol=1e-10)


def test_hinton_mcclelland_learns_to_reconstruct(backend) -> None:
    # The published setting: four-bit one-hot patterns through two hidden units. Reconstruction improves many times.
    rng = np.random.default_rng(2)
    y = backend.asarray(np.eye(4))
    U = V0 = None
    U, V0 = backend.asarray(rng.standard_normal((3, 4))), backend.asarray(rng.standard_normal((4, 3)))
    V = V0

    def error(U, V) -> float:
        h = 1 / (1 + np.exp(-np.eye(4) @ to_numpy(U).T))
        return float(((1 / (1 + np.exp(-h @ to_numpy(V).T)) - np.eye(4)) ** 2).sum())

    first = error(U, V)
    for _ in range(600):
        U, V = hinton_mcclelland_step(U, V, y, 4.0, regression=0.75)
    assert error(U, V) < 0.5 * first


@pytest.mark.parametrize("shape", [(3, 6), (4, 4)])
def test_autoencoder_rule_finds_the_pseudoinverse_from_any_start(shape: tuple[int, int], backend) -> None:
    rng = np.random.default_rng(3)
    W = from_spectrum(rng, *shape, np.geomspace(1, 1 / 3, shape[0]))
    W_pinv = backend.asarray(rng.standard_normal(shape[::-1]))
    y = backend.asarray(white_batch(rng, shape[1]))
    # The slowest component shrinks by 1 − 1/κ² a step: 0.889²⁰⁰ = 6e-11.
    for _ in range(200):
        W_pinv = autoencoder_step(W_pinv, backend.asarray(W), y, 1.0)
    expected = np.linalg.pinv(W)
    bound = 100 * max(shape) * np.finfo(backend.dtype_name).eps * 3**2 + 1e-9
    assert np.linalg.norm(to_numpy(W_pinv) - expected) < bound * np.linalg.norm(expected)


def test_autoencoder_rule_on_a_tall_matrix() -> None:
    rng = np.random.default_rng(4)
    W = rng.standard_normal((6, 3))
    y = white_batch(rng, 3)
    rate = 1 / np.linalg.norm(W, 2) ** 2

    def run(start: np.ndarray, decay: float = 0.0) -> np.ndarray:
        M = start
        for _ in range(4000):
            M = autoencoder_step(M, W, y, rate / (1 + decay), decay=decay)
        return M

    wrong = rng.standard_normal((3, 6))
    np.testing.assert_allclose(run(np.zeros((3, 6))), np.linalg.pinv(W), atol=1e-10)
    np.testing.assert_allclose(run(wrong), autoencoder_fixed_point(W, start=wrong), atol=1e-10)
    assert np.linalg.norm(run(wrong) - np.linalg.pinv(W)) > 0.1
    for decay in (1.0, 0.1):
        limit = W.T @ np.linalg.inv(W @ W.T + decay * np.eye(6))
        np.testing.assert_allclose(run(wrong, decay), limit, atol=1e-8)
        np.testing.assert_allclose(autoencoder_fixed_point(W, decay=decay), limit, atol=1e-10)
    far = np.linalg.norm(autoencoder_fixed_point(W, decay=1e-2) - np.linalg.pinv(W))
    near = np.linalg.norm(autoencoder_fixed_point(W, decay=1e-3) - np.linalg.pinv(W))
    assert far / near == pytest.approx(10, rel=0.1)  # → W⁺ as γ → 0, to first order


def test_autoencoder_rule_on_real_activity_is_data_weighted() -> None:
    rng = np.random.default_rng(5)
    W = rng.standard_normal((3, 5))
    y = rng.standard_normal((200, 5)) @ rng.standard_normal((5, 5))  # correlated, like a layer's activity
    Gamma = y.T @ y / 200
    M = rng.standard_normal((5, 3))
    rate = 1 / np.linalg.norm(W @ Gamma @ W.T, 2)
    for _ in range(20000):
        M = autoencoder_step(M, W, y, rate)
    target = Gamma @ W.T @ np.linalg.inv(W @ Gamma @ W.T)
    np.testing.assert_allclose(autoencoder_fixed_point(W, Gamma), target, atol=1e-10)
    np.testing.assert_allclose(M, target, atol=1e-6)
    assert np.linalg.norm(M - np.linalg.pinv(W)) > 0.1 * np.linalg.norm(M)
    assert satisfied_conditions(W, target, rtol=1e-9) == {1, 2, 3}


def test_recursive_least_squares_is_ridge_regression(backend) -> None:
    rng = np.random.default_rng(6)
    H, Y = rng.standard_normal((2, 30, 4)), rng.standard_normal((2, 30, 3))
    rls = RecursiveLeastSquares(backend.zeros((2, 3, 4)), damping=0.5)
    for t in range(30):
        rls.step(backend.asarray(H[:, t]), backend.asarray(Y[:, t]))
        if t in (0, 3, 29):  # exact after every pair, not only in the limit
            h, y = H[:, : t + 1], Y[:, : t + 1]
            G = np.swapaxes(h, -1, -2) @ h + 0.5 * np.eye(4)
            expected = np.swapaxes(y, -1, -2) @ h @ np.linalg.inv(G)
            bound = 100 * 30 * np.finfo(backend.dtype_name).eps * np.linalg.cond(G).max()
            np.testing.assert_allclose(to_numpy(rls.M), expected, atol=bound)
    np.testing.assert_allclose(ridge_solution(H, Y, 0.5), expected, atol=1e-12)
    np.testing.assert_allclose(ridge_solution(H, Y, 0.0), np.swapaxes(np.linalg.pinv(H) @ Y, -1, -2), atol=1e-12)


def test_opium_light_reaches_the_least_norm_solution() -> None:
    rng = np.random.default_rng(7)
    H, M_true = rng.standard_normal((4, 7)), rng.standard_normal((2, 7))
    Y = H @ M_true.T  # four consistent pairs in seven dimensions
    for gain in (0.1, 10.0):
        M = np.zeros((2, 7))
        for t in range(6000):
            M = opium_light_step(M, H[t % 4], Y[t % 4], gain=gain)
        np.testing.assert_allclose(M, (pinv(H) @ Y).T, atol=1e-6)
    step = opium_light_step(np.zeros((2, 7)), H[0], Y[0], gain=1e12)
    np.testing.assert_allclose(step @ H[0], Y[0], rtol=1e-10)


def test_online_errors() -> None:
    A = np.ones((2, 2))
    with pytest.raises(ValueError, match="rate"):
        recirculation_step(A, A, A, -1.0)
    with pytest.raises(ValueError, match="regression"):
        hinton_mcclelland_step(A, A, A, 0.1, regression=1.0)
    with pytest.raises(ValueError, match="decay"):
        autoencoder_step(A, A, A, 0.1, decay=-1.0)
    with pytest.raises(ValueError, match="damping"):
        RecursiveLeastSquares(A, 0.0)
    with pytest.raises(ValueError, match="gain"):
        opium_light_step(A, A[0], A[0], gain=0.0)
