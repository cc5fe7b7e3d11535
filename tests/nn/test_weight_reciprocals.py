"""When 𝓑_l = N⁺A⁺ is the exact pseudoinverse of J_W = A N(h), layer by layer, as docs/layers.md derives it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from rfnumeric.backend import get_backend
from rfnumeric.nn import Conv2d, Dense, LocallyConnected2d
from rfnumeric.testing.map_setting import MapSetting

N_L = 3


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("layer", "right", "exact"),
    [
        (Dense(5, 4), True, True),
        (LocallyConnected2d((1, 3, 3), 2, 2), True, False),
        (Conv2d((2, 3, 3), 2, 2), True, False),  # 4 positions, 8 entries
        (Conv2d((1, 5, 5), 1, 2), False, False),  # 16 positions, 4 entries
    ],
    ids=repr,
)
def test_what_the_product_of_inverses_is(layer, right, exact, bias):
    backend = get_backend("numpy", dtype="float64")
    s = MapSetting(layer, backend, 0, 1, bias, 1.0)
    A, N = np.random.default_rng(1).standard_normal((N_L, layer.n_out)), s.N()[0]
    J = A @ N
    wanted = scipy.linalg.pinv(J)
    # N⁺A⁺ by the layer's own gram and grad, column by column.
    A_pinv, gram = scipy.linalg.pinv(A), layer.gram(s.h, bias)
    columns = []
    for column in A_pinv.T:
        solved = gram.solve(column[None, :])
        parts = [layer.grad(s.h, solved).reshape(-1), *([layer.bias_grad(solved)] if bias else [])]
        columns.append(np.concatenate(parts))
    B = np.stack(columns, axis=1)
    size = np.linalg.norm(wanted)
    np.testing.assert_allclose(B, N.T @ scipy.linalg.pinv(N @ N.T, rtol=1e-10) @ A_pinv, rtol=0, atol=1e-10 * size)
    assert np.allclose(J @ B, np.eye(N_L), rtol=0, atol=1e-9) == right
    assert np.allclose(B, wanted, rtol=0, atol=1e-9 * size) == exact
    # The exact one from push, pull and gram alone.
    G = np.stack([gram.multiply(a[None, :])[0] for a in A]) @ A.T
    np.testing.assert_allclose(N.T @ A.T @ np.linalg.inv(G), wanted, rtol=0, atol=1e-10 * size * np.linalg.cond(G))
