"""`check_map`: what networks, rules, Jacobians and reciprocals rely on in a layer's map, as assertions.

The oracles are M(W), N(h) and the bias's matrix, written out column by column on the host from `push` and
`spread_bias` alone, which are linear; everything else must agree with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rfnumeric.backend import Backend, Streams, copy, eps, get_backend
from rfnumeric.linalg import pinv
from rfnumeric.nn import Identity, LeakyReLU, Map, Sigmoid, Tanh, get_initializer
from rfnumeric.testing.conformance import _require, _require_like
from rfnumeric.testing.map_setting import MapSetting, host, norm, times

ACTIVATIONS = (Identity(), LeakyReLU(0.3), Tanh(), Sigmoid())
LIMIT = 4096
"""Most weights of a map that is examined: N(h) is written out."""


def check_map(
    layer: Map,
    backend: str | Backend = "numpy",
    dtype: str = "float64",
    *,
    bias: bool = True,
    inverse: bool = True,
    batch: int = 3,
    c: float = 100.0,
) -> None:
    """Check a layer's map: linear in h and W, pull and grad the transposes, gram, pinv, bias, fused calls, population.

    Parameters
    ----------
    layer : Map
        A small one, of at most a few hundred weights.
    backend : str or Backend
    dtype : {"float32", "float64"}
    bias : bool
        Whether to check with a bias too, if the map has one.
    inverse : bool
        Whether the map has `pinv` and `undo`.
    batch : int
    c : float
        Factor of the tolerances: c·eps·(norms of what is multiplied), times κ² for inverses.

    Raises
    ------
    AssertionError
        Names the map, the operation and the difference.
    ValueError
        If the map has too many weights to be written out.

    Examples
    --------
    In a test file, one parametrized line:
    ``@pytest.mark.parametrize("backend", ["numpy", "torch"])``
    ``def test_my_map(backend): check_map(MyMap(4, 3), backend)``

    >>> from rfnumeric.nn import Conv2d, Dense
    >>> check_map(Conv2d((2, 4, 4), channels=3, kernel=2))
    >>> class NoTranspose(Dense):
    ...     def pull(self, W, v):
    ...         return v @ (2 * W)
    >>> check_map(NoTranspose(2, 3))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: NoTranspose(inputs=2, outputs=3): pull must be M(W)ᵀv, the transpose of push; off by ...
    """
    if np.prod(layer.weight_shape or (0,)) > LIMIT:
        raise ValueError(f"layer must have at most {LIMIT} weights, N(h) being written out; got {layer}.")
    chosen = get_backend(backend, dtype=dtype)
    for seed in (0, [0, 1, 2]):
        s = MapSetting(layer, chosen, seed, batch, bias and layer.bias_shape is not None, c)
        for check in (_check_shapes, _check_linear, _check_transposes, _check_bias, _check_fused, _check_feedback):
            check(s)
        if layer.weight_shape is not None:
            _check_gram(s)
            _check_update(s)
        if inverse:
            _check_inverse(s)
        _check_untouched(s)
        if seed:
            _check_population(s)
    if chosen.name == "torch":
        _check_autograd(layer, chosen, batch, c)


def _check_shapes(s: MapSetting) -> None:
    layer, lead = s.layer, s.lead
    _require_like(layer.push(s.W, s.h), (*lead, s.batch, layer.n_out), s.chosen, f"{layer}: push")
    _require_like(layer.pull(s.W, s.v), (*lead, s.batch, layer.n_in), s.chosen, f"{layer}: pull")
    if layer.weight_shape is not None:
        _require_like(s.W, (*lead, *layer.weight_shape), s.chosen, f"{layer}: draw")
        _require_like(layer.grad(s.h, s.v), (*lead, *layer.weight_shape), s.chosen, f"{layer}: grad")
        like = layer.transposed(s.W).shape
        _require_like(s.F, like, s.chosen, f"{layer}: draw_feedback")
        again = layer.draw(get_initializer("he-normal"), Streams(0, s.chosen).child("W"))
        first = s.W if not lead else s.W[0, ...]
        _require(np.array_equal(host(again), host(first)), f"{layer}: draw must depend on its stream alone.")
    for rows in (0, 1):
        _require_like(
            layer.push(s.W, s.h[..., :rows, :]), (*lead, rows, layer.n_out), s.chosen, f"{layer}: push of {rows} rows"
        )
        _require_like(
            layer.pull(s.W, s.v[..., :rows, :]), (*lead, rows, layer.n_in), s.chosen, f"{layer}: pull of {rows} rows"
        )


def _check_linear(s: MapSetting) -> None:
    layer = s.layer
    s.close(layer.push(s.W, s.h), times(s.M, s.h), norm(s.M, s.h), "push must be linear in h")
    matrix = host(layer.matrix(s.W, s.h))
    matrix = matrix if s.W is not None else np.broadcast_to(matrix, s.M.shape)  # one for all members
    s.close(matrix, s.M, norm(s.M), "matrix must hold push's columns")
    if s.W is None:
        return
    combined = host(layer.push(s.W, s.h)) - 2 * host(layer.push(s.W2, s.h))
    size = norm(s.M, s.h) + 2 * norm(layer.push(s.W2, s.h))
    s.close(layer.push(s.W - 2 * s.W2, s.h), combined, size, "push must be linear in W")


def _check_transposes(s: MapSetting) -> None:
    layer = s.layer
    s.close(
        layer.pull(s.W, s.v),
        times(np.swapaxes(s.M, -1, -2), s.v),
        norm(s.M, s.v),
        "pull must be M(W)ᵀv, the transpose of push",
    )
    if s.W is None:
        return
    N = s.columns(layer.push, layer.weight_shape, s.h)  # type: ignore[arg-type]
    wanted = np.einsum("...bip,...bi->...p", N, host(s.v)).reshape(*s.lead, *layer.weight_shape)  # type: ignore[misc]
    size = norm(s.h, s.v) * max(1.0, float(np.sqrt((N * N).sum((-3, -2, -1))).max()))
    s.close(layer.grad(s.h, s.v), wanted, size, "grad must be N(h)ᵀv summed over the batch")


def _check_bias(s: MapSetting) -> None:
    layer = s.layer
    if s.b is None:
        s.close(layer.apply(s.W, None, s.h), times(s.M, s.h), norm(s.M, s.h), "apply without a bias must be push")
        return
    S = s.columns(layer.spread_bias, layer.bias_shape)  # type: ignore[arg-type]
    spread = (S @ host(s.b)[..., None])[..., 0]
    s.close(layer.spread_bias(s.b), spread, norm(S) * norm(host(s.b)[..., None]), "spread_bias must be linear in b")
    size = norm(s.M, s.h) + norm(spread[..., None])
    s.close(layer.apply(s.W, s.b, s.h), times(s.M, s.h) + spread[..., None, :], size, "apply must be M(W)h + b")
    wanted = np.einsum("...ip,...bi->...p", S, host(s.v))
    s.close(layer.bias_grad(s.v), wanted, norm(S, s.v), "bias_grad must be the sum of v over what b reaches")


def _check_fused(s: MapSetting) -> None:
    layer = s.layer
    for activation in ACTIVATIONS:
        wanted = activation.evaluate(copy(layer.apply(s.W, s.b, s.h)), None)
        got = layer.layer(activation, s.W, s.b, s.h)
        for name, one, two in zip(("a", "σ(a)", "σ'(a)"), got, wanted, strict=True):
            what = f"layer must give {name} = that of apply, with {activation}"
            s.close(one, host(two), norm(s.M, s.h) + s.batch, what)
    d, g = s.h, s.v
    plain = host(layer.feed(s.F, g))
    size = norm(plain) * max(1.0, float(np.abs(host(d)).max()))
    s.close(layer.gated_feed(s.F, g, d), host(d) * plain, size, "gated_feed must be d times feed")


def _check_feedback(s: MapSetting) -> None:
    layer = s.layer
    if s.W is None:
        return
    pulled = host(layer.pull(s.W, s.v))
    F = layer.transposed(s.W)
    s.close(layer.feed(F, s.v), pulled, norm(s.M, s.v), "feed through transposed(W) must be pull")
    s.close(layer.forward(F), host(s.W), float(np.abs(host(s.W)).max()), "forward must turn transposed back")
    wanted = s.columns(layer.feed, tuple(F.shape[len(s.lead) :]), s.v)
    size = norm(s.v, s.h) * max(1.0, float(np.sqrt((wanted * wanted).sum((-3, -2, -1))).max()))
    gradient = np.einsum("...bip,...bi->...p", wanted, host(s.h)).reshape(F.shape)
    s.close(layer.feed_grad(s.v, s.h), gradient, size, "feed_grad must be the gradient of ⟨r, feed(F, v)⟩")
    for scale in _rates(s):
        learned = layer.feed_learn(copy(s.F), s.v, s.h, scale)
        wanted_F = host(s.F) + _along(scale, gradient) * gradient
        s.close(learned, wanted_F, norm(s.v, s.h) + size, "feed_learn must be F + scale·feed_grad")


def _rates(s: MapSetting) -> list[Any]:
    return [0.3, s.chosen.asarray(np.linspace(0.1, 0.5, s.lead[0]))] if s.lead else [0.3]


def _along(rate: Any, like: np.ndarray) -> Any:
    return rate if isinstance(rate, float) else host(rate).reshape(-1, *(1,) * (like.ndim - 1))


def _check_update(s: MapSetting) -> None:
    layer = s.layer
    G, g = host(layer.grad(s.h, s.v)), None if s.b is None else host(layer.bias_grad(s.v))
    for rate in _rates(s):
        W, b = layer.update(copy(s.W), None if s.b is None else copy(s.b), s.h, s.v, rate)
        size = float(np.abs(host(s.W)).max() + np.abs(G).max()) + norm(s.h, s.v)
        s.close(W, host(s.W) - _along(rate, G) * G / s.batch, size, "update must be W − λ·mean grad")
        _require((b is None) == (s.b is None), f"{layer}: update must return a bias as it was given.")
        if g is not None:
            wanted = host(s.b) - _along(rate, g) * g / s.batch
            s.close(b, wanted, size + np.abs(wanted).max(), "update must be b − λ·mean bias_grad")
    none = layer.update(copy(s.W), None, s.h[..., :0, :], s.v[..., :0, :], 0.3)[0]
    _require(np.array_equal(host(none), host(s.W)), f"{layer}: update by an empty batch must change nothing.")


def _check_gram(s: MapSetting) -> None:
    layer, N = s.layer, s.N()
    K = N @ np.swapaxes(N, -1, -2)
    gram = layer.gram(s.h, s.b is not None)
    v = host(s.v)[..., None]
    s.close(gram.multiply(s.v), (K @ v)[..., 0], norm(K) * norm(v), "gram must multiply by N(h)N(h)ᵀ")
    cutoff = max(N.shape[-2:]) * eps(s.chosen.dtype)
    inverse = np.linalg.pinv(N, rcond=cutoff)
    K_pinv = np.swapaxes(inverse, -1, -2) @ inverse
    size = _condition(N, cutoff) ** 2 * norm(K_pinv) * norm(v)
    s.close(gram.solve(s.v), (K_pinv @ v)[..., 0], size, "gram must solve with (N(h)N(h)ᵀ)⁺")
    d = s.v * 0 + 0.5
    delta, sent = layer.reciprocal_gate(
        s.v, d, s.h, s.b is not None, damping=0.0, own_layer="reciprocal", normalize=True
    )
    s.close(sent, 2 * host(s.v), 2 * norm(v), "reciprocal_gate must send on D⁺g")
    s.close(delta, 2 * (K_pinv @ v)[..., 0], 2 * size, "reciprocal_gate must give (N(h)N(h)ᵀ)⁺D⁺g")


def _condition(M: np.ndarray, cutoff: float) -> float:
    values = np.linalg.svd(M, compute_uv=False)
    top = values.max(axis=-1, keepdims=True)
    least = np.where(values > cutoff * top, values, np.inf).min(axis=-1)
    return float((top[..., 0] / least).max())


def _check_inverse(s: MapSetting) -> None:
    layer, cutoff = s.layer, max(s.M.shape[-2:]) * eps(s.chosen.dtype)
    wanted = np.linalg.pinv(s.M, rcond=cutoff)
    P = layer.pinv(s.W, pinv)
    size = _condition(s.M, cutoff) ** 2 * norm(wanted)
    plain = times(wanted, s.v)
    s.close(layer.undo(P, s.v), plain, size * norm(s.v), "undo must be M(W)⁺v")
    back = np.swapaxes(wanted, -1, -2)
    s.close(layer.undo_transposed(P, s.h), times(back, s.h), size * norm(s.h), "undo_transposed must be M(W)⁺ᵀv")
    if not s.lead:
        size *= norm(s.v) * max(1.0, float(np.abs(host(s.h)).max()))
        s.close(layer.gated_undo(P, s.v, s.h), host(s.h) * plain, size, "gated_undo must be d times undo")


def _calls(s: MapSetting) -> dict[str, Callable[..., Any]]:
    """Operations as functions of (W, b, F, h, v); none may write to its arguments."""
    layer = s.layer
    calls: dict[str, Callable[..., Any]] = {
        "push": lambda W, b, F, h, v: layer.push(W, h),
        "pull": lambda W, b, F, h, v: layer.pull(W, v),
        "apply": lambda W, b, F, h, v: layer.apply(W, b, h),
        "layer": lambda W, b, F, h, v: layer.layer(LeakyReLU(0.3), W, b, h)[1],
        "gated_feed": lambda W, b, F, h, v: layer.gated_feed(F, v, h),
    }
    if layer.weight_shape is not None:
        calls["grad"] = lambda W, b, F, h, v: layer.grad(h, v)
        calls["feed"] = lambda W, b, F, h, v: layer.feed(F, v)
        calls["feed_grad"] = lambda W, b, F, h, v: layer.feed_grad(v, h)
        calls["gram"] = lambda W, b, F, h, v: layer.gram(h, b is not None).solve(v)
    if layer.bias_shape is not None:
        calls["bias_grad"] = lambda W, b, F, h, v: layer.bias_grad(v)
    return calls


def _check_untouched(s: MapSetting) -> None:
    given = [s.W, s.b, s.F, s.h, s.v]
    before = [None if x is None else host(x).copy() for x in given]
    for name, call in _calls(s).items():
        call(*given)
        for x, old in zip(given, before, strict=True):
            same = old is None or np.array_equal(host(x), old)
            _require(same, f"{s.layer}: {name} wrote to its arguments; work on a copy.")


def _check_population(s: MapSetting) -> None:
    given = [s.W, s.b, s.F, s.h, s.v]
    for name, call in _calls(s).items():
        together = host(call(*given))
        apart = np.stack([host(call(*(None if x is None else x[k, ...] for x in given))) for k in range(s.lead[0])])
        loose = 1e6 if name == "gram" else 1.0  # κ is another check's affair
        size = loose * (1 + np.abs(apart).max()) * s.layer.n_in**0.5
        s.close(together, apart, size, f"{name} of a population must be that of its members")
    if s.W is None:
        return
    shared = s.h[0, ...]
    wanted = np.stack([host(s.layer.push(s.W[k, ...], shared)) for k in range(s.lead[0])])
    s.close(s.layer.push(s.W, shared), wanted, norm(s.M, s.h), "push of rows that all members share must broadcast")


def _check_autograd(layer: Map, chosen: Backend, batch: int, c: float) -> None:
    """Gradients of ½‖apply‖² by PyTorch, through the map's own forward pass."""
    s = MapSetting(layer, chosen, 0, batch, layer.bias_shape is not None, c)
    leaves = [x.requires_grad_() for x in (s.W, s.b, s.h) if x is not None]
    a = layer.apply(s.W, s.b, s.h)
    (a * a / 2).sum().backward()
    W, b, h, a = (None if x is None else x.detach() for x in (s.W, s.b, s.h, a))
    got = [
        g for g in (None if W is None else layer.grad(h, a), None if b is None else layer.bias_grad(a)) if g is not None
    ]
    for name, leaf, mine in zip(("grad", "bias_grad"), leaves, got, strict=False):
        size = norm(h, a) * max(1.0, layer.n_in**0.5)
        s.close(mine, host(leaf.grad), size, f"{name} must be autograd's")
    s.close(layer.pull(W, a), host(leaves[-1].grad), norm(s.M, a), "pull must be autograd's")
