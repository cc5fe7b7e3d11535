"""Activations against mpmath, PyTorch autograd and central differences; inverses and reciprocal derivatives."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfnumeric.backend import eps, to_numpy
from rfnumeric.nn import (
    ACTIVATIONS,
    Identity,
    LeakyReLU,
    LeakySoftplus,
    Sigmoid,
    Tanh,
    get_activation,
    reciprocal_diagonal,
)
from rfnumeric.testing import check_activation

EVERY = [
    Identity(),
    Sigmoid(),
    Tanh(),
    *(cls(slope) for cls in (LeakyReLU, LeakySoftplus) for slope in (0.0, 0.01, 0.3, 1.0)),
]
GRID = np.array([-30.0, -8.5, -2.25, -0.75, -1e-3, 0.0, 1e-3, 0.5, 1.75, 6.5, 25.0])
SETTINGS = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def exact(activation, a):
    """σ(a) and σ'(a) to 40 digits."""
    with mpmath.workdps(40):
        a = mpmath.mpf(float(a))
        slope = mpmath.mpf(getattr(activation, "negative_slope", 1.0))
        if isinstance(activation, Tanh):
            return mpmath.tanh(a), 1 - mpmath.tanh(a) ** 2
        if isinstance(activation, Sigmoid):
            h = 1 / (1 + mpmath.exp(-a))
            return h, h * (1 - h)
        if isinstance(activation, LeakySoftplus):
            return slope * a + (1 - slope) * mpmath.log1p(mpmath.exp(a)), slope + (1 - slope) / (1 + mpmath.exp(-a))
        if isinstance(activation, LeakyReLU):
            return (a, mpmath.mpf(1)) if a > 0 else (slope * a, slope)
        return a, mpmath.mpf(1)


@pytest.mark.parametrize("activation", EVERY, ids=repr)
def test_values_against_mpmath(activation, backend):
    a = backend.asarray(GRID)
    h, d = to_numpy(activation.forward(a)), to_numpy(activation.derivative(a))
    unit = eps(backend.dtype)
    for i, point in enumerate(to_numpy(a)):
        wanted_h, wanted_d = exact(activation, point)
        # One rounding of the slope and about five operations whose terms are no larger than |a| + 1: c = 4. 1 − h² and
        # α + (1 − α)s are sums of terms at most 1.
        assert abs(float(h[i]) - float(wanted_h)) <= 4 * unit * (1 + abs(point))
        assert abs(float(d[i]) - float(wanted_d)) <= 4 * unit


@pytest.mark.parametrize("activation", EVERY, ids=repr)
def test_derivative_against_torch_autograd(activation):
    torch = pytest.importorskip("torch")
    slope = getattr(activation, "negative_slope", 1.0)
    functions = {
        "identity": lambda a: a,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "leaky-relu": lambda a: torch.nn.functional.leaky_relu(a, slope),
        "leaky-softplus": lambda a: slope * a + (1 - slope) * torch.nn.functional.softplus(a, threshold=1e9),
    }
    a = torch.tensor(GRID, requires_grad=True)
    h = functions[activation.name](a)
    (d,) = torch.autograd.grad(h.sum(), a)
    np.testing.assert_allclose(activation.forward(GRID), h.detach().numpy(), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(activation.derivative(GRID), d.numpy(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("activation", EVERY, ids=repr)
def test_conformance(activation, xp_name, backend):
    # Central differences, D D⁺ D = D, σ⁻¹(σ(a)) = a, bias, population, on this backend and dtype.
    bijective = getattr(activation, "negative_slope", 1.0) > 0
    # Their inverses amplify rounding by 1/σ', 1e10 for tanh at the ends of the default points.
    points = np.linspace(-2.9, 2.8, 12) if isinstance(activation, Tanh | Sigmoid) else None
    options = {} if points is None else {"points": points.tolist()}
    check_activation(activation, backend, bijective=bijective, **options)


@SETTINGS
@given(a=st.floats(-50, 50), slope=st.floats(0.001, 1))
def test_inverse_of_forward_leaky(a, slope, backend64):
    for activation in (LeakyReLU(slope), LeakySoftplus(slope)):
        x = backend64.asarray([a])
        h = activation.forward(x)
        # Rounding of h by 4·eps·(1 + |a|) (see above) comes back divided by the slope, at least α; c = 16.
        error = abs(float(to_numpy(activation.inverse(h))[0]) - a)
        assert error <= 16 * eps(backend64.dtype) * (1 + abs(a)) / slope


@pytest.mark.parametrize("slope", [1e-3, 0.01, 0.5, 1.0])
def test_leaky_softplus_inverse_against_mpmath(slope, backend):
    h = backend.asarray([-5.0, -0.25, -1e-3, 0.0, 1e-3, 0.5, 3.0, 60.0])
    a = to_numpy(LeakySoftplus(slope).inverse(h))
    for value, point in zip(to_numpy(h), a, strict=True):
        with mpmath.workdps(40):
            start = mpmath.mpf(float(point))
            solution = mpmath.findroot(lambda t, v=value: exact_softplus(slope, t) - mpmath.mpf(float(v)), start)
            size = 1 + abs(float(solution))
            assert abs(float(solution) - float(point)) <= 16 * eps(backend.dtype) * size / slope


def exact_softplus(slope, a):
    return mpmath.mpf(slope) * a + (1 - mpmath.mpf(slope)) * mpmath.log1p(mpmath.exp(a))


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.5, 1.0])
def test_reciprocal_derivative(slope, backend):
    a = backend.asarray(GRID)
    for activation in (LeakyReLU(slope), LeakySoftplus(slope)):
        d = to_numpy(activation.derivative(a)).astype(np.float64)
        got = to_numpy(activation.reciprocal_derivative(a))
        wanted = np.divide(1, d, out=np.zeros_like(d), where=d != 0)
        np.testing.assert_allclose(got, wanted, rtol=4 * eps(backend.dtype))
        damped = to_numpy(activation.reciprocal_derivative(a, 0.25))
        np.testing.assert_allclose(damped, d / (d * d + 0.25), rtol=8 * eps(backend.dtype))


def test_reciprocal_of_zero_is_zero_and_of_leaky_side_is_one_over_alpha():
    assert LeakyReLU(0.0).reciprocal_derivative(np.array([-1.0, 1.0])).tolist() == [0.0, 1.0]
    assert LeakyReLU(0.25).reciprocal_derivative(np.array([-1.0, 1.0])).tolist() == [4.0, 1.0]


def test_extreme_arguments_stay_finite(backend):
    a = backend.asarray([-1e4, -750.0, 750.0, 1e4])
    for activation in EVERY:
        for value in (activation.forward(a), activation.derivative(a)):
            assert np.isfinite(to_numpy(value)).all(), activation
    for activation in (Tanh(), Sigmoid()):
        assert to_numpy(activation.derivative(a)).tolist()[::3] == [0.0] * 2
    assert to_numpy(Sigmoid().forward(a)).tolist()[::3] == [0.0, 1.0]


def test_leaky_relu_at_zero_takes_the_slope():
    # The papers' D⁺ needs a value there; σ'(0) = α is stated in the docstring.
    assert LeakyReLU(0.3).derivative(np.array([0.0, -0.0])).tolist() == [0.3, 0.3]


@pytest.mark.parametrize("activation", EVERY, ids=repr)
def test_arguments_are_not_written_to(activation):
    a = np.linspace(-2, 2, 6).reshape(2, 3)
    before = a.copy()
    activation.forward(a), activation.derivative(a), activation.reciprocal_derivative(a, 0.1)
    np.testing.assert_array_equal(a, before)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3), (0,), (0, 4)])
def test_shapes(shape):
    a = np.full(shape, 0.5)
    for activation in EVERY:
        assert activation.forward(a).shape == shape
        assert activation.derivative(a).shape == shape


def test_tanh_inverse_range():
    assert Tanh().inverse(np.array([0.0])).tolist() == [0.0]
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\].*clip"):
        Tanh().inverse(np.array([1.5]))


def test_sigmoid_keeps_its_small_derivatives_and_inverts_its_range():
    a = np.array([-700.0, -40.0, 40.0, 700.0])
    np.testing.assert_allclose(Sigmoid().derivative(a), np.exp(-np.abs(a)), rtol=1e-14)
    np.testing.assert_array_equal(Sigmoid().inverse(np.array([0.0, 0.5, 1.0])), [-np.inf, 0.0, np.inf])
    for h in (-1e-9, 1.5):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\].*clip"):
            Sigmoid().inverse(np.array([h]))


@pytest.mark.parametrize("cls", [LeakyReLU, LeakySoftplus])
def test_errors_of_the_slope(cls):
    for slope in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"negative_slope must lie in \[0, 1\]; got"):
            cls(slope)
    with pytest.raises(ValueError, match="no inverse at negative_slope = 0; use a positive slope"):
        cls(0.0).inverse(np.array([1.0]))


def test_get_activation():
    assert get_activation("leaky-relu", 0.2) == LeakyReLU(0.2)
    assert get_activation("tanh", 0.2) == Tanh()
    assert get_activation(LeakySoftplus(0.5)) == LeakySoftplus(0.5)
    assert all(cls.name == name for name, cls in ACTIVATIONS.items())
    with pytest.raises(ValueError, match=r"activation must be one of identity.*got 'relu6'"):
        get_activation("relu6")


def test_negative_damping_is_an_error():
    for damping in (-1e-9, float("nan")):
        with pytest.raises(ValueError, match="damping must be at least 0; got"):
            reciprocal_diagonal(np.ones(2), damping)
