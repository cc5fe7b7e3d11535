"""The forward pass against a stack of torch.nn.Linear, its trace, the update, populations, and the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfnumeric.backend import Streams, eps, get_backend, to_numpy
from rfnumeric.nn import Identity, LeakyReLU, Network, Tanh, init_network
from rfnumeric.testing import check_backend
from rfnumeric.testing.strategies import known_network, networks

SETTINGS = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMPY64 = get_backend("numpy", dtype="float64")


def torch_stack(network):
    """The same network as torch.nn modules in float64."""
    torch = pytest.importorskip("torch")

    class Activation(torch.nn.Module):
        def __init__(self, activation):
            super().__init__()
            self.name, self.slope = activation.name, getattr(activation, "negative_slope", 0.0)

        def forward(self, a):
            functional = torch.nn.functional
            return {
                "identity": lambda: a,
                "tanh": lambda: torch.tanh(a),
                "sigmoid": lambda: torch.sigmoid(a),
                "leaky-relu": lambda: functional.leaky_relu(a, self.slope),
                "leaky-softplus": lambda: self.slope * a + (1 - self.slope) * functional.softplus(a, threshold=1e9),
            }[self.name]()

    layers = []
    for l in range(1, network.L + 1):
        W = torch.tensor(to_numpy(network.W[l]).astype(np.float64))
        linear = torch.nn.Linear(W.shape[1], W.shape[0], bias=network.has_bias, dtype=torch.float64)
        linear.weight = torch.nn.Parameter(W)
        if network.has_bias:
            linear.bias = torch.nn.Parameter(torch.tensor(to_numpy(network.b[l]).astype(np.float64)))
        layers += [linear, Activation(network.activation(l))]
    return torch.nn.Sequential(*layers)


@SETTINGS
@given(data=st.data())
def test_forward_against_torch(data, backend):
    torch = pytest.importorskip("torch")
    known = data.draw(networks(backend))
    network = known.network
    trace = network.forward(known.x)
    h = torch.tensor(to_numpy(known.x).astype(np.float64))
    # A dot product of n terms errs by n·eps·Σ|w||h|; errors grow by ‖W‖ a layer (slopes are at most 1): c = 4.
    bound = 0.0
    stack = torch_stack(network)
    with torch.no_grad():
        for l in range(1, network.L + 1):
            W = np.abs(to_numpy(network.W[l]).astype(np.float64))
            size = (np.abs(h.numpy()) @ W.T).max() + 1
            bound = 4 * eps(backend.dtype) * (W.shape[1] + 2) * size + bound * W.sum(axis=1).max()
            a = stack[2 * l - 2](h)
            h = stack[2 * l - 1](a)
            np.testing.assert_allclose(to_numpy(trace.a[l]), a.numpy(), rtol=0, atol=bound)
            np.testing.assert_allclose(to_numpy(trace.h[l]), h.numpy(), rtol=0, atol=bound)
    np.testing.assert_array_equal(to_numpy(network.predict(known.x)), to_numpy(trace.h[-1]))


@SETTINGS
@given(data=st.data())
def test_population_is_its_members(data, backend):
    known = data.draw(networks(backend, population=True, max_width=12, inits=("he-normal",)))
    network = known.network
    trace = network.forward(known.x)
    for k in range(network.population[0]):
        W, b = ([None if v is None else v[k, ...] for v in values] for values in (network.W, network.b))
        alone = Network(W, b, network.hidden, network.output).forward(known.x[k, ...])
        for l in range(1, network.L + 1):
            # Each layer's rounding, passed on with gain ≤ 4 a layer here: c = 100 over at most four layers.
            size = 1 + np.abs(to_numpy(alone.a[l])).max()
            error = np.abs(to_numpy(trace.a[l][k, ...]) - to_numpy(alone.a[l])).max()
            assert error <= 100 * eps(backend.dtype) * 12 * size


def test_every_backend_computes_what_numpy_does(backend):
    check_backend(backend)


def test_hidden_and_output_activation():
    known = known_network([3, 4, 2], 5, 0, NUMPY64, hidden="tanh", output="identity")
    trace = known.network.forward(known.x)
    np.testing.assert_allclose(trace.h[1], np.tanh(trace.a[1]), rtol=1e-15)
    np.testing.assert_array_equal(trace.h[2], trace.a[2])
    assert known.network.activation(1) == Tanh()
    assert known.network.activation(2) == Identity()


def test_an_activation_derived_from_a_built_in_one_is_the_one_that_runs():
    class Doubled(LeakyReLU):
        def evaluate(self, z, b):
            a, h, d_sigma = super().evaluate(z, b)
            return a, 2 * h, 2 * d_sigma

    known = known_network([3, 4, 2], 5, 0, NUMPY64, hidden="leaky-relu", output="identity")
    plain = known.network.forward(known.x)
    known.network.hidden = Doubled(known.network.hidden.negative_slope)
    trace = known.network.forward(known.x)
    np.testing.assert_array_equal(trace.h[1], 2 * plain.h[1])
    np.testing.assert_array_equal(trace.d_sigma[1], 2 * plain.d_sigma[1])


@pytest.mark.parametrize("bias", [False, True])
def test_update_is_the_mean_outer_product(bias, backend):
    known = known_network([4, 3, 2], 5, [0, 1], backend, hidden="tanh", bias=bias)
    network = known.network
    trace = network.forward(known.x)
    streams = Streams([2, 3], backend)
    trace.delta = [None, *(streams.child(l).normal((5, network.sizes[l])) for l in (1, 2))]
    before = network.copy()
    lr = np.array([0.5, 0.125])
    network.update(trace, backend.asarray(lr))
    unit = eps(backend.dtype)
    for l in (1, 2):
        W, delta, h = (to_numpy(v).astype(np.float64) for v in (before.W[l], trace.delta[l], trace.h[l - 1]))
        step = np.einsum("kbi,kbj->kij", delta, h) / 5
        # Five products and their sum, then one more rounding: c = 8.
        bound = 8 * unit * (1 + np.abs(W).max() + np.abs(delta).max() * np.abs(h).max())
        np.testing.assert_allclose(to_numpy(network.W[l]), W - lr[:, None, None] * step, rtol=0, atol=bound)
        if bias:
            wanted = to_numpy(before.b[l]).astype(np.float64) - lr[:, None] * delta.mean(axis=1)
            np.testing.assert_allclose(to_numpy(network.b[l]), wanted, rtol=0, atol=bound)
        else:
            assert network.b[l] is None


def test_copy_shares_nothing(backend64):
    known = known_network([3, 2], 4, 0, backend64, bias=True)
    twin = known.network.copy()
    before = to_numpy(twin.W[1]).copy(), to_numpy(twin.b[1]).copy()
    trace = known.network.forward(known.x)
    trace.delta = [None, trace.h[1]]
    known.network.update(trace, 1.0)
    np.testing.assert_array_equal(to_numpy(twin.W[1]), before[0])
    np.testing.assert_array_equal(to_numpy(twin.b[1]), before[1])
    assert np.abs(to_numpy(known.network.W[1]) - before[0]).max() > 1e-3


def test_properties():
    network = init_network([5, 4, 3], Streams([0, 1], NUMPY64), bias=True)
    assert (network.L, network.sizes, network.population, network.has_bias) == (2, (5, 4, 3), (2,), True)
    assert network.backend == NUMPY64
    assert init_network([5, 4], Streams(0, NUMPY64)).population == ()


def test_one_input_for_a_population():
    # Evaluation gives every member the same test images.
    known = known_network([3, 4, 2], 5, [0, 1], NUMPY64)
    shared = known.x[0]
    h = known.network.forward(shared).h[-1]
    assert h.shape == (2, 5, 2)
    np.testing.assert_array_equal(h[0], known.network.forward(known.x).h[-1][0])


def test_errors():
    W1, W2 = np.zeros((3, 4)), np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"W must be \[None, W_1, …, W_L\]"):
        Network([W1, W2], [None, None], Tanh(), Identity())
    with pytest.raises(ValueError, match=r"b must have its length; got 3 and 2 entries"):
        Network([None, W1, W2], [None, None], Tanh(), Identity())
    with pytest.raises(ValueError, match=r"W\[2\] must have 3 columns to match W\[1\]; got \(3, 2\).*transpose"):
        Network([None, W1, W2.T], [None] * 3, Tanh(), Identity())
    network = Network([None, W1, W2], [None] * 3, Tanh(), Identity())
    for x in (np.zeros(4), np.zeros((5, 3))):
        with pytest.raises(ValueError, match=r"x must have shape \(..., batch, 4\); got"):
            network.predict(x)
    for sizes in ([4], [4, 0], []):
        with pytest.raises(ValueError, match="sizes must be at least two positive widths"):
            init_network(sizes, Streams(0, NUMPY64))


@pytest.mark.parametrize("sizes", [[3, 4, 7], [3, 7, 4], [3, 5, 5]], ids=["expanding", "contracting", "square"])
@pytest.mark.parametrize("population", [0, [0, 1]], ids=["", "population"])
def test_equalized_spectra_keep_the_singular_vectors(sizes, population, backend):
    network = init_network(sizes, Streams(population, backend))
    before = [to_numpy(W).astype(float) for W in network.W[1:]]
    network.equalize_spectra(0.1)
    np.testing.assert_array_equal(to_numpy(network.W[1]), before[0])
    U, s, Vt = np.linalg.svd(before[1], full_matrices=False)
    square = (s**2).mean(-1, keepdims=True)
    wanted = (U * (s - 0.1 * (s**2 / square - 1) * s)[..., None, :]) @ Vt
    # Three products of length n ≤ 7, entries at most ‖W‖.
    assert np.abs(to_numpy(network.W[2]) - wanted).max() <= 10 * 3 * 7 * eps(backend.dtype) * np.abs(s).max()


def test_equal_spectra_and_zeros_stay():
    network = init_network([3, 4, 6, 2], Streams(0, get_backend("numpy", dtype="float64")), init="orthogonal", gain=3.0)
    network.W[3] = np.zeros((2, 6))
    before = network.W[2].copy()
    network.equalize_spectra(0.5)
    np.testing.assert_allclose(network.W[2], before, atol=10 * 3 * 6 * np.finfo(float).eps * 3)
    assert not network.W[3].any()
