"""The reference kernels: the same on every backend, and right by independent oracles; and which kernel runs when."""

from __future__ import annotations

import ast
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import TWIN_SETTINGS, TWINS, Case, assert_results
from scipy.special import logsumexp

from rfnumeric import kernels
from rfnumeric.backend import Backend, eps, to_numpy
from rfnumeric.kernels import Kernel, _blas, checks, reference

POINTS = np.concatenate([np.linspace(-40, 40, 81), [-1e3, -1e-8, -1e-300, 0.0, 1e-300, 1e-8, 1e3]])
ACTIVATIONS = {
    "bias_identity": ((), lambda t, a: a * 1),
    "bias_leaky_relu": ((0.2,), lambda t, a: t.where(a > 0, a, 0.2 * a)),
    "bias_leaky_softplus": ((0.2,), lambda t, a: 0.2 * a + 0.8 * t.logaddexp(a, t.zeros_like(a))),
    "bias_tanh": ((), lambda t, a: t.tanh(a)),
}


@pytest.mark.parametrize("name", sorted(TWINS))
def test_reference_is_the_same_on_every_backend(name: str, backend: Backend):
    dtype = backend.dtype_name

    def place(value):
        if isinstance(value, np.ndarray):
            return backend.asarray(value.copy(), value.dtype.name)
        return getattr(backend.xp, value.__name__) if isinstance(value, type) else value

    @settings(TWIN_SETTINGS, max_examples=25)
    @given(data=st.data())
    def run(data):
        pristine = TWINS[name].draw(Case(data, np, dtype, backend.library.subnormals))
        pristine = [np.array(a) if isinstance(a, np.ndarray) else a for a in pristine]
        kernel = Kernel.instances[name]
        with np.errstate(all="ignore"):
            expected = kernel.reference(*[a.copy() if isinstance(a, np.ndarray) else a for a in pristine])
            actual = kernel.reference(*[place(a) for a in pristine])
        assert_results(name, dtype, pristine, actual, expected, backend.library.subnormals)

    run()


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation_and_derivative_against_autograd(name: str, backend64: Backend):
    torch = pytest.importorskip("torch")
    parameters, function = ACTIVATIONS[name]
    a = torch.tensor(POINTS[None], dtype=torch.float64, requires_grad=True)
    h = function(torch, a)
    h.sum().backward()
    bias = backend64.asarray(np.full(len(POINTS), 0.5))
    got_a, got_h, got_d = getattr(kernels, name)(backend64.asarray(POINTS[None] - 0.5), bias, *parameters)
    # The kernel sees (z − ½) + ½, which is a to 2 ulp of |a| + ½; the functions are 1-Lipschitz and 8 ulp accurate.
    np.testing.assert_allclose(to_numpy(got_a), POINTS[None], rtol=0, atol=2 * eps("float64") * 1e3)
    away = np.abs(POINTS) > 1e-12  # where rounding cannot move a across the kink
    tolerance = 10 * eps("float64") * (np.abs(POINTS) + 1)
    assert np.all(np.abs(to_numpy(got_h)[0] - h.detach().numpy()[0]) <= tolerance)
    assert np.all(np.abs(to_numpy(got_d)[0] - a.grad.numpy()[0])[away] <= tolerance[away])


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3, 1.0])
def test_leaky_softplus_against_mpmath(slope: float):
    _, h, d = kernels.bias_leaky_softplus(POINTS[None].copy(), None, slope)
    with mpmath.workdps(60):
        for x, got_h, got_d in zip(POINTS, h[0], d[0], strict=True):
            t = mpmath.exp(mpmath.mpf(x))
            want_h = slope * mpmath.mpf(x) + (1 - mpmath.mpf(slope)) * mpmath.log1p(t)
            want_d = slope + (1 - mpmath.mpf(slope)) * t / (1 + t)
            tiny = np.finfo(float).smallest_subnormal
            assert abs(got_h - want_h) <= 8 * eps("float64") * (abs(x) * slope + abs(want_h)) + tiny
            assert abs(got_d - want_d) <= 8 * eps("float64") * abs(want_d) + tiny


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_derivative_against_central_differences(name: str):
    parameters, _ = ACTIVATIONS[name]
    step = 1e-5
    x = np.linspace(-3, 3, 40)[None]  # no point within `step` of the kink at 0

    def forward(values: np.ndarray) -> np.ndarray:
        return getattr(kernels, name)(values.copy(), None, *parameters)[1]

    numeric = (forward(x + step) - forward(x - step)) / (2 * step)
    d = getattr(kernels, name)(x.copy(), None, *parameters)[2]
    # Truncation step²·|σ'''|/6 with |σ'''| ≤ 2, rounding eps·|h|/step.
    np.testing.assert_allclose(d, numeric, rtol=0, atol=step**2 / 3 + 4 * eps("float64") * 4 / step)


def test_softmax_cross_entropy_against_scipy_and_autograd(backend64: Backend):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    scores, labels = rng.normal(0, 20, (3, 17, 10)), rng.integers(0, 10, (3, 17))
    e, loss, correct = kernels.softmax_cross_entropy(backend64.asarray(scores), backend64.asarray(labels, "int64"))
    t = torch.tensor(scores.reshape(-1, 10), requires_grad=True)
    torch.nn.functional.cross_entropy(t, torch.tensor(labels.reshape(-1)), reduction="sum").backward()
    at_label = np.take_along_axis(scores, labels[..., None], -1)[..., 0]
    per_row = logsumexp(scores, axis=-1) - at_label
    # Scores up to 100 are rounded by 100·eps in the shift; sums of 10 and of 17 numbers.
    np.testing.assert_allclose(to_numpy(e), t.grad.numpy().reshape(scores.shape), rtol=0, atol=200 * eps("float64"))
    np.testing.assert_allclose(
        to_numpy(loss), per_row.sum(-1), rtol=40 * eps("float64"), atol=17 * 200 * eps("float64")
    )
    np.testing.assert_array_equal(to_numpy(correct), (scores.argmax(-1) == labels).sum(-1))


@pytest.mark.parametrize("dtype_name", ["float64", "complex128"])
@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5)])
def test_gram_inverse_against_mpmath(shape: tuple[int, int], dtype_name: str):
    rng = np.random.default_rng(5)
    A = rng.standard_normal(shape).astype(dtype_name)
    if dtype_name == "complex128":
        A = A + 1j * rng.standard_normal(shape)
    A[:, 0] *= 100
    damping = 0.01
    with mpmath.workdps(50):
        M = mpmath.matrix(A.tolist())
        G = (M * M.H if shape[0] <= shape[1] else M.H * M) + damping * mpmath.eye(min(shape))
        want = np.array((G**-1).tolist()).astype(complex)
        condition = np.linalg.cond(np.array(G.tolist()).astype(complex))
    # Forming G and inverting it: 10·max(m, n)·eps·cond(G), relative to ‖G⁻¹‖.
    tolerance = 10 * max(shape) * eps("float64") * condition * np.linalg.norm(want, 2)
    for function in (kernels.gram_inverse, reference.gram_inverse):
        got = function(A, damping)
        assert np.abs(got - want).max() <= tolerance
        np.testing.assert_allclose(got, got.conj().T, rtol=0, atol=tolerance)


@pytest.mark.parametrize("function", [kernels.gram_inverse, reference.gram_inverse])
def test_gram_inverse_of_a_zero_member_is_nan_and_leaves_the_others_alone(function):
    A = np.stack([np.eye(2, 3), np.zeros((2, 3)), 1e-170 * np.eye(2, 3)])
    inverse = function(A, 0.0)
    np.testing.assert_array_equal(inverse[0], np.eye(2))
    assert np.isnan(inverse[1:]).all()


def test_an_empty_batch_changes_nothing(backend64: Backend):
    zeros = backend64.zeros
    W, b = kernels.sgd_update(zeros((2, 3)) + 1, zeros((2,)) + 1, zeros((0, 2)), zeros((0, 3)), 0.1)
    assert to_numpy(W).tolist() == [[1.0] * 3] * 2
    assert to_numpy(b).tolist() == [1.0] * 2


def test_a_label_out_of_range_is_an_error_or_nan_never_a_number(backend64: Backend):
    h, labels = backend64.zeros((2, 3)), backend64.asarray([1, 3], "int64")
    if checks.waits(h):
        assert np.isnan(to_numpy(kernels.softmax_cross_entropy(h, labels)[1]))
    else:
        with pytest.raises(ValueError, match=r"labels must lie in 0…2.*sample 1"):
            kernels.softmax_cross_entropy(h, labels)


def test_the_reference_gives_nan_where_a_label_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, backend64: Backend):
    monkeypatch.setattr(checks, "waits", lambda a: True)  # as on a GPU
    h, labels = backend64.zeros((2, 3)), backend64.asarray([1, 3], "int64")
    assert np.isnan(to_numpy(reference.softmax_cross_entropy(h, labels)[1]))


def test_numpy_kernels_refuse_what_would_read_past_an_array():
    images = np.zeros((4, 2), dtype=np.uint8)
    for index in (4, -1):
        with pytest.raises(IndexError, match=r"index must lie in 0…3"):
            kernels.gather_scale(images, np.array([0, index]), 1.0, 0.0, np.float32)
    with pytest.raises(ValueError, match=r"b must have shape \(\.\.\., n\) with n = 3 to match z \(2, 3\); got \(1,\)"):
        kernels.bias_tanh(np.zeros((2, 3)), np.zeros(1))
    u = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"d_sigma must have shape \(\.\.\., n\) with n = 3"):
        kernels.reciprocal_derivative(u, np.zeros((2, 1)), u, 0.0, "reciprocal", True, False)
    with pytest.raises(ValueError, match="broadcast"):
        kernels.reciprocal_derivative(u, u, np.zeros((3, 3)), 0.0, "reciprocal", True, False)
    with pytest.raises(ValueError, match=r"labels must have shape .* with batch = 2"):
        kernels.softmax_cross_entropy(u, np.zeros(5, dtype=int))


def test_hot_loops_use_one_blas(monkeypatch: pytest.MonkeyPatch):
    """No product of the NumPy path reaches NumPy's own BLAS."""
    rng = np.random.default_rng(0)
    W, delta, h = rng.standard_normal((4, 6)), rng.standard_normal((8, 4)), rng.standard_normal((8, 6))
    stacked = [np.stack([X, X]) for X in (W, delta, h)]

    def refuse(*args, **kwargs):
        raise AssertionError("NumPy's BLAS was called")

    for name in ("matmul", "dot", "einsum", "tensordot", "vdot", "inner"):
        monkeypatch.setattr(np, name, refuse)
    with pytest.raises(AssertionError, match="NumPy's BLAS"):
        np.matmul(W, W.T)
    for w, d, x in ((W, delta, h), stacked):
        kernels.matmul(x, w.swapaxes(-1, -2))
        kernels.add_outer(w.copy(), d, x, 0.1)
        kernels.sgd_update(w.copy(), w[..., 0].copy(), d, x, 0.1)
        kernels.gram_inverse(w, 0.1)
    # The operator @ does not look np.matmul up, so the source must not use it.
    for path in Path(_blas.__file__).parent.glob("_[bn]*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not any(isinstance(node, ast.MatMult) for node in ast.walk(tree)), path.name


def test_the_registry_picks_by_library_and_dtype():
    W = np.zeros((2, 2))
    assert kernels.matmul.select(W) is _blas.matmul
    assert kernels.add_outer.select(W) is _blas.add_outer
    assert kernels.add_outer.select(W.astype(complex)) is reference.add_outer
    assert kernels.matmul.select(W.astype(int)) is reference.matmul


def test_reference_can_be_forced(monkeypatch: pytest.MonkeyPatch):
    W = np.zeros((2, 2))
    for kernel in Kernel.instances.values():
        monkeypatch.setattr(kernel, "_chosen", {})
    monkeypatch.setenv("RFNUMERIC_KERNELS", "reference")
    assert all(kernel.select(W) is kernel.reference for kernel in Kernel.instances.values())
    before = W.copy()
    kernels.add_outer(W, np.ones((1, 2)), np.ones((1, 2)), 1.0)
    np.testing.assert_array_equal(W, before)  # the reference writes into nothing; the BLAS twin would have
    monkeypatch.setenv("RFNUMERIC_KERNELS", "fast")
    with pytest.raises(ValueError, match="RFNUMERIC_KERNELS must be 'auto' or 'reference'; got 'fast'"):
        kernels.matmul(W, W)


def test_use_reference_holds_inside_its_block_only():
    W = np.zeros((2, 2))
    with kernels.use_reference():
        assert kernels.matmul.select(W) is reference.matmul
    assert kernels.matmul.select(W) is _blas.matmul
