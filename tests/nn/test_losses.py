"""Losses against SciPy and PyTorch: value, error vector, correct count, labels and targets, populations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from rfnumeric.backend import eps, to_float, to_numpy
from rfnumeric.nn import MeanSquaredError, SoftmaxCrossEntropy, get_loss

SETTINGS = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


def batch(seed, size, classes):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (size, classes)), rng.integers(0, classes, size)


@SETTINGS
@given(seed=st.integers(0, 999), size=st.integers(1, 40), classes=st.integers(1, 40))
def test_cross_entropy_against_scipy(seed, size, classes, backend):
    h, labels = batch(seed, size, classes)
    h = to_numpy(backend.asarray(h)).astype(np.float64)
    e, loss, correct = SoftmaxCrossEntropy().evaluate(backend.asarray(h), backend.asarray(labels, "int64"))
    log_p = log_softmax(h, axis=-1)
    onehot = np.eye(classes)[labels]
    unit = eps(backend.dtype)
    # exp and log err by an ulp of the exponent's magnitude (≤ 20 here), the sum by `classes` roundings: c = 8.
    scale = 8 * unit * (classes + 2 * np.abs(h).max())
    np.testing.assert_allclose(to_numpy(e), np.exp(log_p) - onehot, rtol=0, atol=scale)
    assert abs(to_float(loss) + log_p[np.arange(size), labels].sum()) <= scale * size
    assert int(to_float(correct)) == (h.argmax(-1) == labels).sum()


@pytest.mark.parametrize("name", ["cross-entropy", "mse"])
def test_value_and_error_against_torch(name):
    torch = pytest.importorskip("torch")
    h, labels = batch(0, 7, 5)
    t = torch.tensor(h, requires_grad=True)
    if name == "cross-entropy":
        value = torch.nn.functional.cross_entropy(t, torch.tensor(labels), reduction="sum")
    else:
        onehot = torch.nn.functional.one_hot(torch.tensor(labels), 5).double()
        value = torch.nn.functional.mse_loss(t, onehot, reduction="sum") / 2
    (gradient,) = torch.autograd.grad(value, t)
    e, loss, _ = get_loss(name).evaluate(h, labels)
    np.testing.assert_allclose(float(loss), value.item(), rtol=1e-14)
    np.testing.assert_allclose(e, gradient.numpy(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["cross-entropy", "mse"])
def test_error_is_the_derivative_of_the_loss(name):
    h, labels = batch(1, 4, 3)
    loss = get_loss(name)
    e = loss.evaluate(h, labels)[0]
    step = np.cbrt(np.finfo(float).eps)
    for index in np.ndindex(h.shape):
        up, down = h.copy(), h.copy()
        up[index] += step
        down[index] -= step
        slope = (loss.evaluate(up, labels)[1] - loss.evaluate(down, labels)[1]) / (2 * step)
        # Truncation step²/6·σ''' and rounding eps·loss/step, each about eps^(2/3) times the loss.
        assert abs(slope - e[index]) <= 4 * step**2 * max(1.0, float(loss.evaluate(h, labels)[1]))


def test_mse_takes_labels_or_targets(backend):
    h, labels = batch(2, 6, 4)
    onehot = np.eye(4)[labels]
    by_label = MeanSquaredError().evaluate(backend.asarray(h), backend.asarray(labels, "int64"))
    by_target = MeanSquaredError().evaluate(backend.asarray(h), backend.asarray(onehot))
    for one, two in zip(by_label, by_target, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(two))
    h32 = to_numpy(backend.asarray(h)).astype(np.float64)
    np.testing.assert_allclose(to_numpy(by_label[0]), h32 - onehot, rtol=0, atol=2 * eps(backend.dtype) * 20)
    wanted = ((h32 - onehot) ** 2).sum() / 2
    assert abs(to_float(by_label[1]) - wanted) <= 4 * eps(backend.dtype) * h.size * wanted
    assert int(to_float(by_label[2])) == (h.argmax(-1) == labels).sum()


@pytest.mark.parametrize("name", ["cross-entropy", "mse"])
def test_population_is_its_members(name, backend):
    h, labels = np.stack([batch(k, 6, 4)[0] for k in range(3)]), np.stack([batch(k, 6, 4)[1] for k in range(3)])
    e, loss, correct = get_loss(name).evaluate(backend.asarray(h), backend.asarray(labels, "int64"))
    assert tuple(loss.shape) == tuple(correct.shape) == (3,)
    for k in range(3):
        alone = get_loss(name).evaluate(backend.asarray(h[k]), backend.asarray(labels[k], "int64"))
        for one, two in zip((e[k, ...], loss[k, ...], correct[k, ...]), alone, strict=True):
            # Sums of at most 6·4 terms of size ≤ 100, in another order.
            np.testing.assert_allclose(to_numpy(one), to_numpy(two), rtol=0, atol=24 * 100 * eps(backend.dtype))


def test_shared_labels_of_a_population(backend):
    # The test set has one set of labels for all members.
    h, labels = batch(0, 5, 3)
    stacked = backend.asarray(np.stack([h, 2 * h]))
    for name in ("cross-entropy", "mse"):
        loss = get_loss(name).evaluate(stacked, backend.asarray(labels, "int64"))[1]
        alone = get_loss(name).evaluate(backend.asarray(2 * h), backend.asarray(labels, "int64"))[1]
        assert abs(to_numpy(loss)[1] - to_float(alone)) <= 15 * 200 * eps(backend.dtype)


def test_extreme_scores():
    h = np.array([[1e4, 0.0, -1e4], [-1e4, 0.0, 1e4]])
    e, loss, correct = SoftmaxCrossEntropy().evaluate(h, np.array([0, 0]))
    assert loss.tolist() == 2e4
    assert e.tolist() == [[0.0, 0.0, 0.0], [-1.0, 0.0, 1.0]]
    assert int(correct) == 1


def test_label_out_of_range():
    with pytest.raises(ValueError, match="labels must lie in 0…2"):
        SoftmaxCrossEntropy().evaluate(np.zeros((1, 3)), np.array([3]))


def test_get_loss():
    assert get_loss("mse") == MeanSquaredError()
    assert get_loss(SoftmaxCrossEntropy()) == SoftmaxCrossEntropy()
    with pytest.raises(ValueError, match="loss must be one of cross-entropy, mse; got 'hinge'"):
        get_loss("hinge")
