"""Initializers: moments and distributions within derived bounds, orthonormality, populations, gain, backends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rfnumeric.backend import Streams, eps, get_backend, to_numpy
from rfnumeric.nn import INITIALIZERS, get_initializer, init_network

NUMPY64 = get_backend("numpy", dtype="float64")


@pytest.mark.parametrize(("name", "variance", "kurtosis"), [("he-normal", 2.0, 3.0), ("lecun-uniform", 1.0, 1.8)])
@pytest.mark.parametrize("n_in", [20, 150])
def test_moments(name, variance, kurtosis, n_in):
    n_out = 400
    W = get_initializer(name)(Streams(5, NUMPY64), n_out, n_in)
    count, variance = W.size, variance / n_in
    # Standard errors of the mean and of the second moment; six of them pass for one seed in 5e8.
    assert abs(W.mean()) <= 6 * np.sqrt(variance / count)
    assert abs((W**2).mean() - variance) <= 6 * variance * np.sqrt((kurtosis - 1) / count)


def test_distributions():
    n_in = 50
    normal = get_initializer("he-normal")(Streams(1, NUMPY64), 200, n_in) * np.sqrt(n_in / 2)
    assert stats.kstest(normal.ravel(), "norm").pvalue > 1e-4
    uniform = get_initializer("lecun-uniform")(Streams(1, NUMPY64), 200, n_in)
    bound = np.sqrt(3 / n_in)
    assert abs(uniform).max() <= bound
    assert stats.kstest(uniform.ravel(), "uniform", (-bound, 2 * bound)).pvalue > 1e-4


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (12, 12), (10, 40), (40, 10)])
def test_orthogonal(shape, backend):
    W = get_initializer("orthogonal")(Streams([0, 1], backend), *shape)
    assert tuple(W.shape) == (2, *shape)
    W = to_numpy(W).astype(np.float64)
    W = W if shape[0] <= shape[1] else np.swapaxes(W, 1, 2)
    # Householder QR: ‖QQᵀ − I‖ ≤ c·eps·n with c of order one; 10 here.
    assert np.abs(W @ np.swapaxes(W, 1, 2) - np.eye(min(shape))).max() <= 10 * eps(backend.dtype) * max(shape)


def test_orthogonal_is_haar():
    # In the plane, Haar measure means: angle uniform on the circle, determinant ±1 with equal probability.
    W = get_initializer("orthogonal")(Streams(range(600), NUMPY64), 2, 2)
    angle = np.arctan2(W[:, 1, 0], W[:, 0, 0])
    assert stats.kstest(angle, "uniform", (-np.pi, 2 * np.pi)).pvalue > 1e-4
    assert stats.binomtest(int((np.linalg.det(W) > 0).sum()), 600).pvalue > 1e-4


@pytest.mark.parametrize("name", INITIALIZERS)
def test_member_of_a_population_is_the_single_draw(name, backend):
    draw = get_initializer(name)
    seeds = [3, 0, 11]
    together = to_numpy(draw(Streams(seeds, backend), 6, 9))
    for k, seed in enumerate(seeds):
        alone = to_numpy(draw(Streams(seed, backend), 6, 9))
        # The numbers drawn are the same; only QR may round otherwise when stacked.
        np.testing.assert_allclose(together[k], alone, rtol=0, atol=100 * eps(backend.dtype))
    assert np.abs(together[0] - together[1]).max() > 0.01


@pytest.mark.parametrize("name", ["he-normal", "lecun-uniform"])
def test_every_backend_draws_the_same_numbers(name, backend):
    host = get_backend("numpy", dtype=backend.dtype_name)
    draw = get_initializer(name)
    got, wanted = to_numpy(draw(Streams(4, backend), 5, 6)), draw(Streams(4, host), 5, 6)
    np.testing.assert_allclose(got, wanted, rtol=eps(backend.dtype))


def test_gain_and_bias(backend64):
    one, two = (init_network([5, 4, 3], Streams(0, backend64), gain=gain, bias=True) for gain in (1.0, 2.5))
    for l in (1, 2):
        np.testing.assert_allclose(to_numpy(two.W[l]), 2.5 * to_numpy(one.W[l]), rtol=4 * eps(backend64.dtype))
        assert not to_numpy(one.b[l]).any()
    assert init_network([5, 4], Streams(0, backend64)).b == [None, None]


def test_layers_draw_from_streams_of_their_own():
    W = init_network([6, 6, 6], Streams(0, NUMPY64)).W
    assert np.abs(W[1] - W[2]).max() > 0.1


def test_unknown_name():
    with pytest.raises(ValueError, match="init must be one of he-normal, lecun-uniform, orthogonal; got 'zeros'"):
        get_initializer("zeros")
