"""The Hildebrandt–Graves iteration and its certificate on the worked cases of Theorem 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize

from rfnumeric.backend import Streams, eps, get_backend, to_numpy
from rfnumeric.calculus.newton import CONTRACTION, RADIUS, RECIPROCAL, certificate, hildebrandt_graves, lipschitz

HOST = get_backend("numpy", dtype="float64")


def matvec(A, y):
    return (A @ y[:, None])[:, 0]


def test_linear_system_is_solved_in_one_step(backend):
    streams = Streams(2, backend)
    xp = backend.xp
    A = streams.normal((4, 4)) + 4 * xp.eye(4, dtype=backend.dtype, device=backend.device)
    b = streams.child("b").normal((4,))
    T = xp.linalg.inv(A)
    result = hildebrandt_graves(lambda y: matvec(A, y) - b, T, xp.zeros_like(b), rtol=1e3 * eps(A))
    assert result.status == "converged"
    assert result.iterations <= 2
    expected = np.linalg.solve(to_numpy(A).astype(float), to_numpy(b).astype(float))
    assert np.abs(to_numpy(result.value) - expected).max() < 1e3 * eps(A)


def chandrasekhar(y):
    # A smooth system with a known root: y1 + y2² = 2 and y1·y2 + sin(y1 − y2) = 1 at (1, 1).
    return np.asarray([y[0] + y[1] ** 2 - 2, y[0] * y[1] + math.sin(y[0] - y[1]) - 1])


def test_nonlinear_system_reaches_its_known_root_at_the_certified_rate():
    A = np.asarray([[1.0, 2.0], [2.0, 0.0]])
    y0 = np.asarray([1.02, 0.98])
    T = np.linalg.inv(A)
    check = certificate(chandrasekhar, A, T, y0, 0.2, samples=400)
    assert check.holds, check.failed
    result = hildebrandt_graves(chandrasekhar, T, y0)
    assert result.status == "converged"
    np.testing.assert_allclose(result.value, [1, 1], atol=1e-13)
    np.testing.assert_allclose(scipy.optimize.fsolve(chandrasekhar, y0, xtol=1e-14), [1, 1], atol=1e-12)
    floor = 1e3 * eps(y0)
    assert all(s < check.bound(k) for k, s in enumerate(result.steps) if s > floor)
    assert result.rate <= check.p


def test_least_squares_limit_is_stationary_for_gradient_descent():
    streams = Streams(5, HOST)
    A, b = streams.normal((6, 3)), streams.child("b").normal((6,))
    T = np.linalg.pinv(A)

    def F(y):
        return A @ y - b

    check = certificate(F, A, T, np.zeros(3), 100.0)
    assert check.holds
    assert check.null_space
    result = hildebrandt_graves(F, T, np.zeros(3))
    assert np.linalg.norm(F(result.value)) > 0.1
    assert np.linalg.norm(A.T @ F(result.value)) < 1e-12
    # A left inverse that is not A⁺ has another null space and stops where the gradient is not zero.
    other = T + streams.child("z").normal((3, 6)) @ (np.eye(6) - A @ T)
    check = certificate(F, A, other, np.zeros(3), 100.0)
    assert check.holds
    assert not check.null_space
    result = hildebrandt_graves(F, other, np.zeros(3))
    assert result.status == "converged"
    assert np.linalg.norm(A.T @ F(result.value)) > 0.1


def test_a_failing_hypothesis_is_named_and_the_iteration_fails():
    def F(y):
        return y + 3 * np.sin(y) - 5.0

    y0 = np.asarray([0.0])
    A = np.asarray([[1.0]])
    check = certificate(F, A, 1 / A, y0, 20.0)
    assert check.failed == [CONTRACTION, RADIUS]
    assert check.M == pytest.approx(3, rel=1e-3)
    assert hildebrandt_graves(F, 1 / A, y0).status == "max_iterations"
    check = certificate(lambda y: y, A, 2 * A, y0, 1.0)
    assert RECIPROCAL in check.failed
    assert hildebrandt_graves(lambda y: y - 1, 3 * A, y0).status == "diverged"


def test_estimated_M_is_the_known_constant():
    streams = Streams(1, HOST)
    A = streams.normal((5, 5))
    # F = Ay + 0.3 sin(y): M is 0.3, reached where a cosine is 1, so at the ball's centre y0 = 0.
    check = certificate(lambda y: A @ y + 0.3 * np.sin(y), A, np.linalg.inv(A), np.zeros(5), 0.01)
    assert check.M == pytest.approx(0.3, rel=1e-3)
    assert check.norm_T == pytest.approx(1 / np.linalg.svd(A, compute_uv=False)[-1])


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"r must be positive; got 0"):
        certificate(lambda y: y, np.eye(2), np.eye(2), np.zeros(2), 0)
    with pytest.raises(ValueError, match=r"must fit; got \(2, 3\)"):
        certificate(lambda y: y, np.ones((2, 3)), np.eye(2), np.zeros(2), 1)
    with pytest.raises(ValueError, match=r"T must have shape"):
        hildebrandt_graves(lambda y: y, np.eye(2), np.zeros(3))


def test_m_of_many_problems_is_m_of_each(backend64):
    streams, m = Streams(1, backend64), 0.3
    xp = backend64.xp
    A, y0 = streams.normal((3, 4, 6)), streams.child("y").normal((3, 6))
    T = xp.linalg.pinv(A)
    r = backend64.asarray([0.1, 1.0, 10.0])

    def at(k):
        return lambda y: xp.matmul(y, xp.matrix_transpose(A[k, ...])) + m * xp.sin(y[..., :4])

    def all_of_them(y):
        return xp.matmul(y, xp.matrix_transpose(A)) + m * xp.sin(y[..., :4])

    together = to_numpy(lipschitz(all_of_them, A, T, y0, r, samples=16))
    for k in range(3):
        alone = lipschitz(at(k), A[k, ...], T[k, ...], y0[k, ...], float(r[k]), samples=16)
        # Close pairs divide the rounding by eps^(1/3); c = 100.
        assert together[k] == pytest.approx(float(alone), rel=100 * eps(A) ** (2 / 3))
    assert 0 < together.min() <= together.max() <= m
    still = lipschitz(all_of_them, A, xp.zeros_like(T), y0, r)
    assert (to_numpy(still) == 0).all()  # no ball: y₀ + R(T) is one point
