"""The autoencoder rule learns a convolution's M⁺ as far as the form of the transpose allows, to a proven fixed point.

It descends E‖feed(F, M y) − y‖² over the kernels F of a transposed convolution: its limit solves linear normal
equations, which are written out densely here.
"""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.backend import Streams, get_backend
from rfnumeric.nn import Conv2d, LocallyConnected2d, get_initializer
from rfnumeric.rules.inverses import autoencoder_step

LAYERS = [Conv2d((1, 4, 4), 3, 2), Conv2d((2, 4, 4), 3, 2, stride=2), LocallyConnected2d((1, 3, 3), 2, 2)]


def drawn(layer):
    streams = Streams(0, get_backend("numpy", dtype="float64"))
    return layer.draw(get_initializer("he-normal"), streams.child("W")), streams


def columns_of_feed(layer, v):
    """The matrix from F to feed(F, v), rows stacked."""
    units = np.eye(int(np.prod(layer.weight_shape))).reshape(-1, *layer.weight_shape)
    return np.stack([layer.feed(unit, v).reshape(-1) for unit in units], axis=1)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_the_autoencoder_rule_goes_to_the_best_transposed_convolution(layer):
    W, streams = drawn(layer)
    y = streams.child("y").normal((60, layer.n_in))
    Wy = layer.push(W, y)
    A = columns_of_feed(layer, Wy)
    wanted = np.linalg.lstsq(A, y.reshape(-1))[0]
    curvature = np.linalg.svd(A, compute_uv=False) ** 2 / len(y)
    # n steps of rate λ leave the factor (1 − λ·curvature)ⁿ of the error in each direction.
    rate, steps = float(1 / curvature[0]), 30
    F = np.zeros(layer.weight_shape)
    for _ in range(steps):
        F = autoencoder_step(F, Wy, y, rate, layer)
    V = np.linalg.svd(A)[2]
    left = V.T @ ((1 - rate * curvature) ** steps * (V @ wanted))
    np.testing.assert_allclose(F.reshape(-1), wanted - left, rtol=0, atol=1e-12 * np.abs(wanted).max())
    assert np.linalg.norm(left) < np.linalg.norm(wanted)
    rest = autoencoder_step(wanted.reshape(F.shape).copy(), Wy, y, rate, layer)
    np.testing.assert_allclose(rest.reshape(-1), wanted, rtol=0, atol=1e-13 * np.abs(wanted).max())
