"""Networks whose layers read several others, add residuals or share weights: every operation against an oracle.

The oracle of a shared or recurrent network is the same network with the weights written out by hand in NumPy, and its
gradient by central differences of that, in float64: the error of a difference is of order ε^(2/3).
"""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.backend import Streams, get_backend, to_numpy
from rfnumeric.nn import Dense, Identity, Layer, Network, Source, Tanh, get_loss, init_network, unroll
from rfnumeric.rules import RULES, get_rule, training_step

T, N_X, N_H, N_OUT, BATCH = 4, 3, 5, 2, 6


def recurrent(backend, bias=True, seed=0):
    layers = unroll(T, N_X, N_H, Tanh(), [Layer(Dense(N_H, N_OUT), Identity())])
    network = init_network(layers, Streams(seed, backend), bias=bias)
    if bias:
        network.b[1] = Streams(7, backend).normal((N_H,))
    return network


def by_hand(W, b, V, c, x):
    h = np.zeros((len(x), N_H))
    for t in range(T):
        h = np.tanh(np.concatenate([x[:, t * N_X : (t + 1) * N_X], h], axis=1) @ W.T + b)
    return h @ V.T + c


def arrays(network):
    return [to_numpy(v).copy() for v in (network.W[1], network.b[1], network.W[T + 1], network.b[T + 1])]


def differences(f, value, step=1e-5):
    found = np.zeros_like(value)
    for index in np.ndindex(value.shape):
        moved = [value.copy(), value.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        found[index] = (f(moved[0]) - f(moved[1])) / (2 * step)
    return found


def test_an_unrolled_network_is_the_recurrence(backend64):
    network = recurrent(backend64)
    x = Streams(1, backend64).normal((BATCH, T * N_X))
    got = to_numpy(network.predict(x))
    np.testing.assert_allclose(got, by_hand(*arrays(network), to_numpy(x)), rtol=0, atol=1e-13)


def test_backprop_through_it_is_backprop_through_time(backend64):
    network = recurrent(backend64)
    x, target = Streams(1, backend64).normal((BATCH, T * N_X)), Streams(2, backend64).normal((BATCH, N_OUT))
    trace = network.forward(x)
    trace.delta = get_rule("backprop").deltas(network, trace, trace.h[-1] - target, {})
    values, host, wanted = arrays(network), to_numpy(x), to_numpy(target)

    def loss(k):
        return lambda v: 0.5 * ((by_hand(*values[:k], v, *values[k + 1 :], host) - wanted) ** 2).sum() / BATCH

    found = [*network.direction(trace, 1), *network.direction(trace, T + 1)]
    for k, gradient in enumerate(found):
        np.testing.assert_allclose(to_numpy(gradient), differences(loss(k), values[k]), rtol=0, atol=1e-8)
    assert [list(users) for users in network.users] == [[], [1, 2, 3, 4], [], [], [], [5]]
    # The update moves the shared weights once, by the sum over time.
    network.update(trace, 0.5)
    np.testing.assert_allclose(to_numpy(network.W[1]), values[0] - 0.5 * to_numpy(found[0]), rtol=0, atol=1e-14)
    np.testing.assert_allclose(to_numpy(network.b[1]), values[1] - 0.5 * to_numpy(found[1]), rtol=0, atol=1e-14)


def test_one_step_of_recurrence_is_a_dense_network(backend64):
    streams = Streams(3, backend64)
    layers = unroll(1, N_X, N_H, Tanh(), [Layer(Dense(N_H, N_OUT), Identity())])
    network = init_network(layers, streams)
    W = to_numpy(network.W[1])[:, :N_X]
    plain = Network([None, backend64.asarray(W), network.W[2]], [None] * 3, Tanh(), Identity())
    x = streams.child("x").normal((BATCH, N_X))
    np.testing.assert_allclose(to_numpy(network.predict(x)), to_numpy(plain.predict(x)), rtol=0, atol=1e-14)


def residual(backend, seed=0):
    """h_3 reads parts of h_1 and of the input, and adds h_2; h_4 reads h_3 and h_1 behind one another."""
    layers = [
        Layer(Dense(4, 6), Tanh()),
        Layer(Dense(6, 3), Tanh()),
        Layer(Dense(5, 3), Tanh(), (Source(1, 2, 5), Source(0, 1, 3)), skips=(2,)),
        Layer(Dense(9, 2), Identity(), (3, 1)),
    ]
    return init_network(layers, Streams(seed, backend), bias=True)


def residual_by_hand(W, b, x):
    h1 = np.tanh(x @ W[1].T + b[1])
    h2 = np.tanh(h1 @ W[2].T + b[2])
    h3 = np.tanh(np.concatenate([h1[:, 2:5], x[:, 1:3]], axis=1) @ W[3].T + b[3] + h2)
    return np.concatenate([h3, h1], axis=1) @ W[4].T + b[4]


def test_residual_connections_and_parts_of_layers(backend64):
    network = residual(backend64)
    x, e = Streams(1, backend64).normal((BATCH, 4)), Streams(2, backend64).normal((BATCH, 2))
    trace = network.forward(x)
    W, b = ([None if v is None else to_numpy(v) for v in values] for values in (network.W, network.b))
    np.testing.assert_allclose(to_numpy(trace.h[-1]), residual_by_hand(W, b, to_numpy(x)), rtol=0, atol=1e-14)
    trace.delta = get_rule("backprop").deltas(network, trace, e, {})
    for k in range(1, 5):

        def of_weights(v, k=k):
            changed = [*W[:k], v, *W[k + 1 :]]
            return (to_numpy(e) * residual_by_hand(changed, b, to_numpy(x))).sum() / BATCH

        G, _ = network.direction(trace, k)
        np.testing.assert_allclose(to_numpy(G), differences(of_weights, W[k]), rtol=0, atol=1e-9)
    assert network.fed == (2, 3, 4)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("make", [recurrent, residual])
def test_every_rule_runs_and_learns(name, make):
    backend = get_backend("numpy", dtype="float64")
    network, rule = make(backend), get_rule(name)
    streams = Streams(5, backend)
    x = streams.child("x").normal((8, network.sizes[0]))
    target = streams.child("y").normal((8, 2)) * 0.1
    feedback = rule.init(network, streams.child("init"))
    rate = {"rf-two-phase": 0.1, "rf-parallel": 0.1}.get(name, 0.02)
    losses = []

    def update(network, trace):
        network.update(trace, rate)

    for step in range(300):
        done = training_step(
            rule, network, feedback, x, target, loss=get_loss("mse"), update=update, streams=streams, step=step
        )
        feedback = done.feedback
        losses.append(float(done.loss))
    assert losses[-1] < 0.5 * losses[0]


def test_a_chain_by_the_general_way_is_the_chain_to_the_bit(backend64):
    network = init_network([6, 5, 4, 3], Streams(0, backend64), bias=True, negative_slope=0.3)
    general = network.copy()
    general.is_chain = False
    x, e = Streams(1, backend64).normal((BATCH, 6)), Streams(2, backend64).normal((BATCH, 3))
    for name in ("backprop", "rf-two-phase", "mean-reciprocal"):
        rule = get_rule(name)
        found = []
        for net in (network, general):
            trace = net.forward(x)
            found.append(rule.deltas(net, trace, e, rule.init(net, Streams(3, backend64))))
        for one, other in zip(found[0][1:], found[1][1:], strict=True):
            np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (
            [Layer(Dense(4, 3), Tanh()), Layer(Dense(4, 2), Tanh())],
            "layer 2, .* must read 4 entries; its sources have 3",
        ),
        ([Layer(Dense(4, 3), Tanh()), Layer(Dense(4, 2), Tanh(), (0,))], "layers \\[1\\] are not"),
        ([Layer(Dense(4, 3), Tanh(), (1,))], "first layer must read the input"),
        ([Layer(Dense(4, 3), Tanh()), Layer(Dense(3, 2), Tanh(), skips=(1,))], "cannot add the 3 of layer 1"),
        ([Layer(Dense(4, 3), Tanh()), Layer(Dense(3, 3), Tanh(), shares=1)], "share the weights of a lower layer"),
        ([Layer(Dense(4, 3), Tanh()), Layer(Dense(3, 2), Tanh(), (2,))], "layer 2 must read layers 0 … 1; got \\[2\\]"),
        ([Layer(Dense(2, 3), Tanh(), (Source(0, 1, 9),)), Layer(Dense(3, 2), Tanh())], "must read 2 entries"),
        ([Layer(Dense(4, 3), Tanh(), (Source(0), Source(None)))], "need a width"),
    ],
)
def test_layers_that_do_not_fit_are_told(layers, told):
    with pytest.raises(ValueError, match=told):
        init_network(layers, Streams(0, get_backend("numpy")))
