"""Every map on every backend: linear, with its transposes, Gram matrices and inverses; planted faults are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rfnumeric.backend import Streams, array_namespace, get_backend, to_numpy
from rfnumeric.linalg import damped_pinv, pinv
from rfnumeric.nn import AvgPool2d, Conv2d, Dense, LocallyConnected2d, Strided2d, get_initializer, init_network
from rfnumeric.testing import check_map

MAPS = [
    Dense(5, 3),
    Conv2d((2, 4, 5), 3, 2),
    Conv2d((2, 5, 4), 2, (3, 2), stride=(2, 1), padding=(1, 0)),
    Conv2d((1, 4, 4), 2, 2, stride=2),  # windows side by side: M⁺ in closed form
    Conv2d((1, 5, 6), 3, (1, 2), stride=(2, 3)),  # with gaps between them
    Conv2d((1, 3, 3), 1, 3, padding=1),  # more positions than entries in a patch that meets the image
    LocallyConnected2d((2, 3, 4), 2, 2),
    LocallyConnected2d((1, 4, 5), 2, (3, 2), stride=(2, 1), padding=(0, 1)),
    LocallyConnected2d((2, 4, 4), 3, 2, stride=2),
    LocallyConnected2d((1, 3, 3), 2, 2, stride=2, padding=1),
    AvgPool2d((2, 4, 6), (2, 3)),
    AvgPool2d((2, 5, 5), 2),  # a row and a column are left over
    AvgPool2d((1, 5, 4), 3, stride=(2, 1)),
    Strided2d((2, 5, 4), (2, 3)),
]


@pytest.mark.parametrize("layer", MAPS, ids=repr)
def test_conformance(layer, backend):
    # Conjugate gradients make many small calls, which array-api-strict takes a millisecond each to check.
    check_map(layer, backend, backend.dtype_name, inverse=backend.name == "numpy" or backend.dtype_name == "float64")


class ShiftedStride(Conv2d):
    def pull(self, W, v):
        return np.roll(super().pull(W, v), 1, axis=-1)


class MissingPadding(Conv2d):
    def grad(self, h, v):
        cut = np.reshape(v, (*v.shape[:-1], *self.out_shape))[..., 1:-1, 1:-1]
        plain = replace(self, padding=0)
        return Conv2d.grad(plain, h, np.reshape(cut, (*v.shape[:-1], plain.n_out)))


class UnsummedBias(Conv2d):
    def bias_grad(self, v):
        return np.sum(v, axis=-2)[..., :: self.window.positions]


class TurnedKernel(Conv2d):
    def pull(self, W, v):
        return super().pull(np.swapaxes(W, -1, -2), v)


class IgnoredPopulation(LocallyConnected2d):
    def push(self, W, v):
        return super().push(W[:1] + 0 * W if W.ndim == 7 and len(W) == 3 else W, v)


class GramOfOneChannel(Conv2d):
    def gram(self, h, bias):
        return super().gram(h, False)


class MeanForSum(LocallyConnected2d):
    def update(self, W, b, h, delta, lr):
        return super().update(W, b, h, delta, lr * len(h))


class ForgottenGate(Conv2d):
    def gated_feed(self, F, v, d):
        return self.feed(F, v)


class WrongShare(AvgPool2d):
    def undo(self, P, v, damping=0.0):
        return self.pull(P, v)


class WritesToItsInput(LocallyConnected2d):
    def push(self, W, v):
        a = super().push(W, v)
        if v.shape[-2] == 3:
            v += 1e-300
            v[..., 0, 0] = 0
        return a


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (ShiftedStride((1, 4, 4), 2, 2, stride=2), "pull must be"),
        (MissingPadding((1, 4, 4), 2, 3, padding=1), "grad must be"),
        (UnsummedBias((1, 3, 3), 2, 2), "bias_grad must be"),
        (TurnedKernel((1, 3, 3), 2, 2), "pull must be"),
        (IgnoredPopulation((1, 3, 3), 2, 2), "must"),
        (GramOfOneChannel((1, 3, 3), 2, 2), "gram must multiply"),
        (MeanForSum((1, 3, 3), 2, 2), "update must be"),
        (ForgottenGate((1, 3, 3), 2, 2), "gated_feed must be"),
        (WrongShare((1, 4, 4), 2), "undo must be"),
        (WritesToItsInput((1, 3, 3), 2, 2), "must|wrote"),
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, str) else "",
)
def test_planted_faults_are_found(fault, told):
    with pytest.raises(AssertionError, match=told):
        check_map(fault)


def test_a_map_too_large_to_be_written_out_is_refused():
    with pytest.raises(ValueError, match="at most 4096 weights"):
        check_map(Dense(100, 100))


def parameters(layer, backend, seed=0):
    return layer.draw(get_initializer("he-normal"), Streams(seed, backend).child("W"))


@pytest.mark.parametrize("layer", [m for m in MAPS if not isinstance(m, Dense)], ids=repr)
@pytest.mark.parametrize("damping", [0.05, 1.0])
def test_damped_inverses(layer, damping):
    """Mᵀ(MMᵀ + λ·mean σ²·I)⁻¹; patch by patch, with each patch's own mean, where it is in the parameters."""
    backend = get_backend("numpy", dtype="float64")
    W = parameters(layer, backend) if layer.weight_shape else None
    v = Streams(1, backend).normal((3, layer.n_out))

    def engine(A):
        scale = np.sum(A * A, axis=(-2, -1), keepdims=True) / min(A.shape[-2:])
        scale = np.where(scale == 0, 1, scale)
        return damped_pinv(A / np.sqrt(scale), damping) / np.sqrt(scale)

    P = layer.pinv(W, engine)
    found = layer.undo(P, v, damping)
    M = layer.matrix(W, v)
    rows = [range(len(M))]
    if layer.window.disjoint and layer.weight_shape and not (isinstance(layer, Conv2d) and layer.window.padded):
        rows = [range(p, len(M), layer.window.positions) for p in range(layer.window.positions)]
    wanted = np.zeros_like(found)
    for some in rows:
        A = M[list(some)]
        count = min(len(A), layer.window.entries) if len(rows) > 1 else min(M.shape)
        G = A @ A.T + damping * np.sum(A * A) / count * np.eye(len(A))
        wanted += v[:, list(some)] @ np.linalg.solve(G, A)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("rank", [1, 3])
def test_conjugate_gradients_find_the_solution_of_smallest_norm_at_any_rank_and_scale(rank, dtype):
    """A convolution whose channels repeat one another has no full rank, on the long side or on the short one."""
    backend = get_backend("numpy", dtype=dtype)
    layer = Conv2d((1, 4, 4), 4, 2) if rank == 1 else Conv2d((3, 4, 4), 2, 2)
    W = parameters(layer, backend)
    W = np.repeat(W[:1], len(W), axis=0) * np.arange(1, 1 + len(W), dtype=dtype)[:, None, None, None]
    v = Streams(1, backend).normal((5, layer.n_out))
    v[2] = 0
    unit = np.finfo(dtype).eps
    for scale in (1.0, 1e-15, 1e15):
        M = layer.matrix(W.astype(np.float64) * scale, v.astype(np.float64))
        values = np.linalg.svd(M, compute_uv=False)
        kappa = values[0] / values[values > 1e-6 * values[0]].min()
        wanted = v @ np.linalg.pinv(M, rcond=1e-6).T
        found = layer.undo(layer.pinv(W * np.dtype(dtype).type(scale), pinv), v)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, wanted, rtol=0, atol=100 * unit * kappa**2 * np.abs(wanted).max())
        assert not found[2].any()


def test_conjugate_gradients_leave_what_is_not_finite_to_its_row():
    backend = get_backend("numpy", dtype="float64")
    layer = Conv2d((1, 4, 4), 2, 2)
    W = parameters(layer, backend)
    v = Streams(1, backend).normal((3, layer.n_out))
    clean = layer.undo(W, v)
    v[1, 4] = np.nan
    found = layer.undo(W, v)
    np.testing.assert_array_equal(found[[0, 2]], clean[[0, 2]])
    assert np.isnan(found[1]).all()
    assert np.isnan(layer.undo(W * np.nan, v)).all()
    np.testing.assert_array_equal(layer.undo(0 * W, clean @ np.zeros((layer.n_in, layer.n_out))), np.zeros((3, 16)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Conv2d((3, 4), 2, 3), r"in_shape of Conv2d must be \(channels, rows, columns\); got \(3, 4\)"),
        (lambda: Conv2d((3, 4, 0), 2, 3), "in_shape of Conv2d must hold integers of at least 1"),
        (lambda: Conv2d((3, 4, 4), 0, 3), "channels of Conv2d must be a positive integer"),
        (lambda: Conv2d((3, 4, 4), 2, 5), "a window of 5 × 5 does not fit on an image of 4 × 4"),
        (lambda: Conv2d((3, 4, 4), 2, (3, 2, 1)), "kernel of Conv2d must be an integer or a pair"),
        (lambda: Conv2d((3, 4, 4), 2, 2.5), "kernel of Conv2d must hold integers"),
        (lambda: LocallyConnected2d((3, 4, 4), 2, 2, stride=0), "stride of LocallyConnected2d must hold integers"),
        (lambda: LocallyConnected2d((3, 4, 4), 2, 2, padding=-1), "padding of LocallyConnected2d must hold integers"),
        (lambda: AvgPool2d((3, 4, 4), True), "kernel of AvgPool2d must hold integers"),
        (lambda: Strided2d((3, 4, 4), "2"), "stride of Strided2d must hold integers"),
    ],
)
def test_shapes_that_make_no_sense_are_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_layers_that_do_not_fit_are_told():
    streams = Streams(0, get_backend("numpy"))
    with pytest.raises(ValueError, match=r"layer 2, .*must read 50 entries; its sources have 32"):
        init_network([Conv2d((1, 5, 5), 2, 2), Conv2d((2, 5, 5), 2, 2)], streams)
    with pytest.raises(ValueError, match="a window of 3 × 3"):
        Conv2d((1, 2, 2), 1, 3)


def test_pairs_and_lists_mean_the_same_map():
    assert Conv2d([1, 5, 5], 2, [3, 3], [1, 1], [0, 0]) == Conv2d((1, 5, 5), 2, 3)
    assert AvgPool2d((1, 4, 4), 2) == AvgPool2d((1, 4, 4), 2, 2)
    assert hash(Conv2d((1, 5, 5), 2, 3)) == hash(Conv2d((1, 5, 5), 2, np.int64(3)))


@pytest.mark.parametrize("name", ["he-normal", "lecun-uniform", "orthogonal"])
def test_drawn_weights_keep_the_size_of_activities(name, backend64):
    """Over many draws ‖M h‖² is gain·‖h‖² for the forward weights of a stride-1 map, and so is feedback's, inside."""
    gain = {"he-normal": 2.0, "lecun-uniform": 1.0}.get(name)
    for layer in (Conv2d((4, 9, 9), 8, 3, padding=1), LocallyConnected2d((4, 5, 5), 8, 3, padding=1)):
        streams = Streams(list(range(3)), backend64)
        draw = get_initializer(name)
        W, F = layer.draw(draw, streams), layer.draw_feedback(draw, streams)
        assert tuple(W.shape) == tuple(F.shape) == (3, *layer.weight_shape)
        if gain is not None:
            k = layer.window.entries
            np.testing.assert_allclose(to_numpy(W).var(), gain / k, rtol=0.1)
            np.testing.assert_allclose(to_numpy(F).var(), gain / (8 * 9), rtol=0.1)
        else:
            matrices = to_numpy(W).reshape(-1, 8, layer.window.entries)
            unit = matrices @ matrices.swapaxes(-1, -2)
            np.testing.assert_allclose(unit, np.broadcast_to(np.eye(8), unit.shape), atol=1e-13)
        assert array_namespace(W) is backend64.xp
