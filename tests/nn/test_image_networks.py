"""Networks of convolutions, local connections and pooling: gradients against autograd and differences; every rule."""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.backend import Streams, get_backend, to_numpy
from rfnumeric.nn import (
    ARCHITECTURES,
    AvgPool2d,
    Conv2d,
    Dense,
    LocallyConnected2d,
    Strided2d,
    get_activation,
    get_architecture,
    init_network,
)
from rfnumeric.rules import RULES, get_rule
from rfnumeric.training.config import PAPER_SIZES

BATCH = 4


def convolutional():
    first = Conv2d((2, 7, 6), 3, 3, padding=1)
    pool = AvgPool2d(first.out_shape, 2)
    second = Conv2d(pool.out_shape, 4, (2, 3), stride=(1, 2), padding=(0, 1))
    return [first, pool, second, Dense(second.n_out, 5)]


def locally_connected():
    first = LocallyConnected2d((1, 6, 6), 2, 3, stride=2, padding=1)
    second = LocallyConnected2d(first.out_shape, 3, 2)
    pool = Strided2d(second.out_shape, (1, 2))
    return [first, second, pool, Dense(pool.n_out, 4)]


def drawn(maps, backend, seed=0, hidden="tanh"):
    network = init_network(maps, Streams(seed, backend), hidden=hidden, negative_slope=0.3, bias=True)
    for k in network.trained:
        network.b[k] = Streams(seed, backend).child("b", k).normal(network.layers[k].map.bias_shape) * 0.3
    return network


def gradients(network, x, e):
    trace = network.forward(x)
    trace.delta = get_rule("backprop").deltas(network, trace, e, {})
    return {k: network.direction(trace, k) for k in network.trained}


def torch_layer(torch, layer, W, b, h):
    """The same layer by PyTorch's own operations on (batch, channels, rows, columns)."""
    F = torch.nn.functional
    if isinstance(layer, Dense):
        return F.linear(h, W, b)
    image = h.reshape(len(h), *layer.in_shape)
    w = layer.window
    if isinstance(layer, Conv2d):
        return F.conv2d(image, W, b, (w.sh, w.sw), (w.ph, w.pw)).reshape(len(h), -1)
    if isinstance(layer, LocallyConnected2d):
        patches = F.unfold(image, (w.kh, w.kw), padding=(w.ph, w.pw), stride=(w.sh, w.sw))
        matrices = W.reshape(w.positions, layer.channels, w.entries)
        return torch.einsum("bkp,pck->bcp", patches, matrices).reshape(len(h), -1) + b
    if isinstance(layer, Strided2d):
        return image[:, :, :: w.sh, :: w.sw].reshape(len(h), -1)
    return F.avg_pool2d(image, (w.kh, w.kw), (w.sh, w.sw)).reshape(len(h), -1)


@pytest.mark.parametrize("make", [convolutional, locally_connected])
@pytest.mark.parametrize("hidden", ["tanh", "sigmoid", "leaky-relu", "leaky-softplus"])
def test_gradients_against_torch_autograd(make, hidden):
    torch = pytest.importorskip("torch")
    functions = {
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "leaky-relu": lambda a: torch.nn.functional.leaky_relu(a, 0.3),
        "leaky-softplus": lambda a: 0.3 * a + 0.7 * torch.nn.functional.softplus(a, threshold=1e9),
    }
    backend = get_backend("numpy", dtype="float64")
    network = drawn(make(), backend, hidden=hidden)
    x, e = (Streams(1, backend).child(n).normal((BATCH, network.sizes[i])) for n, i in (("x", 0), ("e", -1)))
    W, b = ([None if v is None else torch.tensor(v, requires_grad=True) for v in vs] for vs in (network.W, network.b))
    h = torch.tensor(x)
    for l in range(1, network.L + 1):
        a = torch_layer(torch, network.layers[l].map, W[l], b[l], h)
        pooled = network.W[l] is None
        h = a if pooled or l == network.L else functions[hidden](a)
    np.testing.assert_allclose(network.predict(x), h.detach().numpy(), rtol=0, atol=1e-13)
    (h * torch.tensor(e)).sum().backward()
    for k, (G, g) in gradients(network, x, e).items():
        for mine, leaf in ((G, W[k]), (g, b[k])):
            wanted = leaf.grad.numpy() / BATCH
            np.testing.assert_allclose(mine, wanted, rtol=0, atol=1e-12 * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("make", [convolutional, locally_connected])
def test_gradients_against_central_differences(make, backend64):
    """The error of a difference of step 1e-5 is of order 1e-10, and of rounding 1e-11."""
    network = drawn(make(), backend64)
    x, e = (Streams(1, backend64).child(n).normal((BATCH, network.sizes[i])) for n, i in (("x", 0), ("e", -1)))
    rng = np.random.default_rng(0)
    found = gradients(network, x, e)
    for k in network.trained:
        for kind, gradient in zip(("W", "b"), found[k], strict=True):
            base = to_numpy(getattr(network, kind)[k])
            direction = rng.standard_normal(base.shape)
            loss = []
            for step in (1e-5, -1e-5):
                moved = network.copy()
                getattr(moved, kind)[k] = backend64.asarray(base + step * direction)
                loss.append(float((to_numpy(moved.predict(x)) * to_numpy(e)).sum()) / BATCH)
            wanted = (loss[0] - loss[1]) / 2e-5
            assert abs(float((to_numpy(gradient) * direction).sum()) - wanted) <= 1e-8, (kind, k)


@pytest.mark.parametrize("name", [name for name in RULES if name not in ("batch-reciprocal",)])
@pytest.mark.parametrize("make", [convolutional, locally_connected])
def test_rules_train_them_or_say_that_they_need_dense_layers(name, make):
    backend = get_backend("numpy", dtype="float64")
    streams = Streams(5, backend)
    network, rule = drawn(make(), backend, 1, hidden="leaky-relu"), get_rule(name)
    x = streams.child("x").normal((8, network.sizes[0]))
    target = streams.child("y").normal((8, network.sizes[-1])) * 0.1
    try:
        feedback = rule.init(network, streams.child("init"))
    except ValueError as error:
        assert "need dense layers; layer 3" in str(error) or "need dense layers; layer 2" in str(error)  # noqa: PT017
        return
    rate = {"rf-two-phase": 0.05, "rf-parallel": 0.05, "feedback-alignment": 0.04}.get(name, 0.01)
    losses = []
    for step in range(100):
        trace = network.forward(x)
        e = trace.h[-1] - target
        losses.append(float((e * e).sum()))
        feedback = rule.sleep(network, feedback, streams.child("sleep", step), step)
        trace.delta = rule.deltas(network, trace, e, feedback)
        feedback = rule.learn_feedback(network, trace, feedback, streams.child("learn", step), step)
        network.update(trace, rate)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("n_0", [784, 3072])
def test_architectures_fit_together(name, n_0):
    options = {"local": {"layers": ((5, 4, 2), (3, 5, 1)), "hidden": 7}}.get(name, {})
    maps = get_architecture(name, n_0, 10, **options)
    network = init_network(maps, Streams(0, get_backend("numpy")))
    assert network.sizes[0] == n_0
    assert network.sizes[-1] == 10
    assert network.predict(np.zeros((2, n_0), np.float32)).shape == (2, 10)


def test_the_published_shapes():
    for n_0, data in ((784, "mnist"), (3072, "cifar-10")):
        sizes = init_network(get_architecture("papers", n_0, 10), Streams(0, get_backend("numpy"))).sizes
        assert sizes == PAPER_SIZES[data]
    lenet = get_architecture("lenet", 3072, 10)
    assert [m.weight_shape for m in lenet] == [(20, 3, 5, 5), None, (50, 20, 5, 5), None, (500, 1250), (10, 500)]
    local = get_architecture("local", 3072, 10)
    assert [m.weight_shape for m in local[:3]] == [
        (16, 16, 64, 3, 5, 5),
        (8, 8, 128, 64, 5, 5),
        (8, 8, 256, 128, 3, 3),
    ]
    assert all(layer.is_plain for layer in init_network(lenet, Streams(0, get_backend("numpy"))).layers[1:])
    assert get_activation("sigmoid").name == "sigmoid"


def test_unknown_networks_and_images_are_told():
    with pytest.raises(ValueError, match="network must be one of papers, mlp, lenet, local, vgg; got 'resnet'"):
        get_architecture("resnet", 784, 10)
    with pytest.raises(ValueError, match=r"images of 100 numbers have no known shape; known are 784 \(1 × 28 × 28\)"):
        get_architecture("lenet", 100, 10)
    with pytest.raises(ValueError, match="a window of 5 × 5 does not fit on an image of 2 × 2"):
        get_architecture("lenet", (1, 8, 8), 10)
