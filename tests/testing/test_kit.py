"""The public test kit: it passes on what is right, and fails on sabotaged inverses, activations, rules, backends."""

from __future__ import annotations

import builtins
import dataclasses
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfnumeric.backend import array_namespace, copy, eps, get_backend, to_numpy
from rfnumeric.linalg import pinv
from rfnumeric.nn import LeakyReLU, LeakySoftplus, Tanh
from rfnumeric.rules import Backprop, RFTwoPhase
from rfnumeric.testing import assert_penrose, check_activation, check_backend, check_pinv, check_rule
from rfnumeric.testing.strategies import SPECTRA, known_matrix, matrices, networks, spectrum

SETTINGS = settings(deadline=None, max_examples=30)


def test_pinv_passes(backend):
    check_pinv(pinv, backend)


def svd_pinv(A, scale_last=1.0, transpose_u=True):
    U, S, Vh = np.linalg.svd(A, full_matrices=False)
    keep = S > 1e-10 * S[..., :1]
    inverse = np.where(keep, 1 / np.where(keep, S, 1), 0)
    inverse[..., -1] *= scale_last
    return np.swapaxes(Vh, -1, -2) * inverse[..., None, :] @ (np.swapaxes(U, -1, -2) if transpose_u else U)


def writes(A):
    X = np.linalg.pinv(A)
    A += 1
    return X


SABOTAGED_PINV = {
    "one singular value off by 1e-8": (lambda A: svd_pinv(A, 1 + 1e-8), "no {1, 2, 3, 4}-inverse"),
    "a right inverse": (
        lambda A: (
            np.linalg.pinv(A) + 0.1 * (np.eye(A.shape[-1]) - np.linalg.pinv(A) @ A)[..., : A.shape[-2]]
            if A.shape[-1] > A.shape[-2]
            else np.linalg.pinv(A)
        ),
        "condition",
    ),
    "transposed": (lambda A: A, "must have shape"),
    "single precision": (lambda A: np.linalg.pinv(A).astype(np.float32), "must have dtype"),
    "a population's first member for all": (
        lambda A: np.linalg.pinv(A[:1] + 0 * A) if A.ndim > 2 else np.linalg.pinv(A),
        "inverse",
    ),
    "writes to its argument": (writes, "was written to"),
    "no rank cutoff": (lambda A: np.linalg.pinv(A, rcond=0), "Treat singular values below"),
    "NaN": (lambda A: np.linalg.pinv(A) * np.nan, "not finite"),
    "damped": (
        lambda A: np.swapaxes(A, -1, -2) @ np.linalg.inv(A @ np.swapaxes(A, -1, -2) + 1e-6 * np.eye(A.shape[-2])),
        "condition",
    ),
}


@pytest.mark.parametrize("name", SABOTAGED_PINV)
def test_pinv_fails(name):
    function, message = SABOTAGED_PINV[name]
    with pytest.raises(AssertionError, match=message):
        check_pinv(function)


def test_honest_svd_passes():
    check_pinv(svd_pinv)


@SETTINGS
@given(known=matrices(max_side=12, full_rank=True, lead=(2,)))
def test_assert_penrose_tells_which_condition_fails(known):
    assert_penrose(known.A, known.pinv, c=100)
    m, n = known.A.shape[-2:]
    if m < n:
        # Adding anything that A maps to zero keeps a right inverse, and loses condition 4.
        off = known.pinv + (np.eye(n) - known.pinv @ known.A)[..., :m] * np.abs(known.pinv).max()
        assert_penrose(known.A, off, (1, 2, 3), c=1000)
        with pytest.raises(AssertionError, match=r"condition 4, \(XA\)ᴴ = XA"):
            assert_penrose(known.A, off)
    with pytest.raises(AssertionError, match="condition 1, AXA = A"):
        assert_penrose(known.A, 2 * known.pinv, (1,))


def test_assert_penrose_rejects_nan_and_unknown_conditions():
    with pytest.raises(AssertionError, match="condition 1"):
        assert_penrose(np.eye(2), np.full((2, 2), np.nan))
    for conditions in ((), (0, 1), (5,)):
        with pytest.raises(ValueError, match="conditions must name some of 1, 2, 3, 4; got"):
            assert_penrose(np.eye(2), np.eye(2), conditions)


class WrongDerivative(Tanh):
    def evaluate(self, z, b):
        a, h, d = super().evaluate(z, b)
        return a, h, d * (1 + 1e-3)


class WrongInverse(LeakySoftplus):
    def inverse(self, h):
        return h / self.negative_slope


class IgnoresBias(LeakyReLU):
    def evaluate(self, z, b):
        return super().evaluate(z, None)


class WrongReciprocal(LeakyReLU):
    def reciprocal_derivative(self, a, damping=0.0):
        return self.derivative(a)


class ForgetsDamping(LeakyReLU):
    def reciprocal_derivative(self, a, damping=0.0):
        return 1 / self.derivative(a)


class Overflows(LeakyReLU):
    def evaluate(self, z, b):
        a, h, d = super().evaluate(z, b)
        return a, h / 0.0 if h.ndim < 2 else h * np.inf, d


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        (WrongDerivative(), "derivative at a = .* by central differences"),
        (WrongInverse(0.5), r"inverse\(forward\(a\)\) at a ="),
        (IgnoresBias(0.5), "of evaluate with bias differs"),
        (WrongReciprocal(0.5), r"D D⁺ D at a = -.*must be"),
        (ForgetsDamping(0.5), "reciprocal_derivative with damping 0.1"),
        (Overflows(0.5), "entries are not finite"),
    ],
)
def test_activation_fails(activation, message):
    with pytest.raises(AssertionError, match=message):
        check_activation(activation)


class Ascent(Backprop):
    def deltas(self, network, trace, e, feedback):
        return [None, *(-d for d in super().deltas(network, trace, e, feedback)[1:])]


class HiddenAscent(Backprop):
    def deltas(self, network, trace, e, feedback):
        delta = super().deltas(network, trace, e, feedback)
        return [None, *(-d for d in delta[1:-1]), delta[-1]]


class TooShort(Backprop):
    def deltas(self, network, trace, e, feedback):
        return super().deltas(network, trace, e, feedback)[1:]


class WrongShape(Backprop):
    def deltas(self, network, trace, e, feedback):
        delta = super().deltas(network, trace, e, feedback)
        return [None, delta[1][..., :1], *delta[2:]]


class Overwrites(Backprop):
    def deltas(self, network, trace, e, feedback):
        e *= 0.5
        return super().deltas(network, trace, e, feedback)


class Forgetful(Backprop):
    def deltas(self, network, trace, e, feedback):
        object.__setattr__(self, "calls", getattr(self, "calls", 0) + 1)
        delta = super().deltas(network, trace, e, feedback)
        return [None, *(self.calls * d for d in delta[1:])]


class Offset(Backprop):
    def deltas(self, network, trace, e, feedback):
        return [None, *(d + 0.1 for d in super().deltas(network, trace, e, feedback)[1:])]


class MixesMembers(Backprop):
    def deltas(self, network, trace, e, feedback):
        delta = super().deltas(network, trace, e, feedback)
        xp = array_namespace(e)
        return [None, *(xp.flip(d, axis=0) if d.ndim == 3 else d for d in delta[1:-1]), delta[-1]]


class ShrinksFeedback(RFTwoPhase):
    def sleep(self, network, feedback, streams, step):
        return {} if step else feedback


class ShortFeedback(RFTwoPhase):
    def init(self, network, streams):
        return {**super().init(network, streams), "extra": [None]}


class OneStreamForAll(Backprop):
    """A rule whose noise depends on how many networks train together."""

    def learn_feedback(self, network, trace, feedback, streams, step):
        noise = np.random.default_rng(step).normal(size=network.W[1].shape)
        network.W[1] = network.W[1] + 1e-3 * noise
        return feedback


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Ascent(), "the last layer's step raises the loss of sample 0"),
        (TooShort(), r"deltas must return \[None, δ_1, …, δ_3\]"),
        (WrongShape(), r"δ_1: must have shape"),
        (Overwrites(), "deltas wrote to e"),
        (Forgetful(), "of the same arguments differs between calls"),
        (Offset(), "must be zero where the error e is zero"),
        (MixesMembers(), r"W\[1\] of member 0 differs"),
        (ShrinksFeedback(), "sleep changed the feedback's shapes"),
        (ShortFeedback(), "feedback 'extra' must have 4 entries; got 1"),
        (OneStreamForAll(), r"W\[1\] of member 1 differs"),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, str) else "",
)
def test_rule_fails(rule, message):
    with pytest.raises(AssertionError, match=message):
        check_rule(rule)


def test_rule_oracle_sees_the_hidden_layers():
    def oracle(network, trace, e, feedback):
        return Backprop().deltas(network, trace, e, feedback)

    check_rule(HiddenAscent())  # hidden layers are a rule's own affair …
    with pytest.raises(AssertionError, match=r"δ_1 differs by .* from the oracle's"):
        check_rule(HiddenAscent(), oracle=oracle)  # … unless one says what they should be
    check_rule(Backprop(), oracle=oracle)


def test_backend_passes(backend):
    check_backend(backend)


def test_backend_fails():
    real = get_backend("numpy", dtype="float64")

    class Wrong:
        def __getattr__(self, name):
            return getattr(real.xp, name)

    class LowPrecision(type(real)):
        def asarray(self, a, dtype=None):
            a = np.asarray(a)
            return super().asarray(a.astype(np.float32) if a.dtype == np.float64 else a, dtype)

    lossy = LowPrecision(real.name, real.xp, real.device, real.dtype)
    with pytest.raises(AssertionError, match="the same seed draws other numbers"):
        check_backend(lossy)
    with pytest.raises(AssertionError, match="array_namespace does not find"):
        check_backend(dataclasses.replace(real, xp=Wrong()))


@SETTINGS
@given(known=matrices())
def test_matrices_have_the_spectrum_they_say(known):
    S = np.linalg.svd(known.A, compute_uv=False)
    top = known.singular_values[0] if known.rank else 0.0
    # The product U diag(σ) Vᵀ is rounded to c·eps·n·σ₁, and by Weyl's theorem so are singular values; c = 10.
    limit = 10 * eps(known.A) * 40 * top
    assert np.abs(S[: known.rank] - known.singular_values).max(initial=0) <= limit
    assert S[known.rank :].max(initial=0) <= limit
    assert known.condition_number <= 1e3 * (1 + 1e-12)
    assert_penrose(known.A, known.pinv, c=100)


@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_strategies_on_every_backend(data):
    for name in ("numpy", "array-api-strict"):
        for dtype in ("float32", "float64"):
            backend = get_backend(name, dtype=dtype)
            known = data.draw(matrices(backend, max_side=8, lead=(2,)))
            assert (known.A.dtype, known.A.shape[0]) == (backend.dtype, 2)
            drawn = data.draw(networks(backend, population=True, max_width=5))
            assert drawn.network.backend == backend
            assert drawn.network.population == drawn.x.shape[:1] == drawn.labels.shape[:1]
            labels = to_numpy(drawn.labels)
            assert (labels >= 0).all()
            assert (labels < drawn.network.sizes[-1]).all()
            drawn.network.forward(copy(drawn.x))


@pytest.mark.parametrize("kind", SPECTRA)
def test_spectrum(kind):
    sigma = spectrum(kind, 5, 100.0, 3.0)
    assert (sigma[0], len(sigma)) == (3.0, 5)
    assert sigma[0] / sigma[-1] == pytest.approx(100)
    assert (np.diff(sigma) <= 0).all()
    assert spectrum(kind, 0, 10.0).shape == (0,)
    assert spectrum(kind, 1, 10.0, 2.0).tolist() == [2.0]


def test_errors_of_the_builders():
    with pytest.raises(ValueError, match="kind must be one of geometric"):
        spectrum("flat", 3, 10.0)
    with pytest.raises(ValueError, match="condition_number at least 1"):
        spectrum("geometric", 3, 0.5)
    for sigma in ([1.0, 2.0], [1.0, 0.0], [3.0, 2.0, 1.0]):
        with pytest.raises(ValueError, match="at most 2 positive numbers in descending order"):
            known_matrix((2, 3), sigma)


def test_without_hypothesis_the_message_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.split(".")[0] == "hypothesis":
            raise ImportError("No module named 'hypothesis'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "rfnumeric.testing.strategies")
    with pytest.raises(ImportError, match=r"pip install 'rfnumeric\[test\]'"):
        import rfnumeric.testing.strategies  # noqa: F401
    # The rest of the kit does without.
    for name in [n for n in sys.modules if n.startswith("rfnumeric.testing")]:
        monkeypatch.delitem(sys.modules, name)
    import rfnumeric.testing as kit

    kit.assert_penrose(np.eye(2), np.eye(2))
