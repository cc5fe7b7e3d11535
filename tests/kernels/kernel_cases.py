"""What a twin test needs: arguments of every kernel in difficult shapes, layouts and values, and derived bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from rfnumeric.backend import eps, to_numpy
from rfnumeric.kernels import Kernel

SPECIAL = (0.0, -0.0, 1e30, -1e30, float("inf"), float("-inf"), float("nan"), 1e-310, 1e-42)
# Products and sums of ±1e30 overflow in float32 at a place that depends on the order of the sum, which BLAS may choose.
SPECIAL_IN_PRODUCTS = (0.0, -0.0, 1e15, -1e15, float("inf"), float("-inf"), float("nan"), 1e-310, 1e-42)
LAYOUTS = ("C", "Fortran", "negative strides", "gaps", "zero strides", "read-only", "unaligned")


def laid_out(lib: Any, X: np.ndarray, layout: str) -> Any:
    """Return X as an array of `lib` with a difficult memory layout (zero strides repeat X's first part)."""
    A = lib.asarray(X)
    if layout == "Fortran":
        return lib.asfortranarray(A)
    if layout == "negative strides":
        return lib.flip(lib.ascontiguousarray(lib.flip(A)))
    if layout == "gaps" and A.ndim:
        wide = lib.zeros((*A.shape[:-1], 2 * A.shape[-1]), dtype=A.dtype)
        wide[..., ::2] = A
        return wide[..., ::2]
    if layout == "zero strides" and A.ndim and A.shape[0] > 0:
        return lib.broadcast_to(A[:1], A.shape)
    if layout == "read-only" and lib is np:
        A = A.copy()
        A.flags.writeable = False
    if layout == "unaligned" and lib is np:
        buffer = np.zeros(A.nbytes + 1, dtype=np.uint8)[1:].view(A.dtype).reshape(A.shape)
        buffer[...] = A
        return buffer
    return A


def is_array(a: Any) -> bool:
    return hasattr(a, "strides") and not isinstance(a, type)


class Case:
    """Draws the arguments of one call; without subnormal numbers for a library that takes them for zero."""

    def __init__(self, data: st.DataObject, lib: Any, dtype: str, subnormals: bool = True) -> None:
        self.data, self.lib, self.dtype = data, lib, dtype
        self.smallest = 0.0 if subnormals else float(np.finfo(dtype).smallest_normal)
        self.rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
        self.special = data.draw(st.booleans(), label="special values")

    def size(self, low: int = 0, high: int = 9) -> int:
        return self.data.draw(st.integers(low, high))

    def lead(self) -> tuple[int, ...]:
        return self.data.draw(st.sampled_from([(), (1,), (3,), (2, 2), (0,)]), label="population")

    def choice(self, *options: Any) -> Any:
        return self.data.draw(st.sampled_from(options))

    def shared(self, lead: tuple[int, ...]) -> tuple[int, ...]:
        return self.choice(lead, ())

    def array(self, *shape: int, special: tuple[float, ...] = SPECIAL, low: float = -3.0) -> Any:
        X = self.rng.uniform(low, 3.0, shape)
        if self.dtype.startswith("complex"):
            X = X + 1j * self.rng.uniform(low, 3.0, shape)
        if self.special and X.size:
            kept = [v for v in special if not 0 < abs(v) < self.smallest]
            X.reshape(-1)[self.rng.integers(0, X.size, self.size(1, 3))] = self.choice(*kept)
        return self.place(X.astype(self.dtype))

    def place(self, X: np.ndarray) -> Any:
        return laid_out(self.lib, X, self.choice(*LAYOUTS))

    def place_matrices(self, X: np.ndarray) -> Any:
        """Place without repeating rows, which would make a matrix singular to rounding; members may repeat."""
        options = LAYOUTS if X.ndim > 2 else [layout for layout in LAYOUTS if layout != "zero strides"]
        return laid_out(self.lib, X, self.choice(*options))


def absolute(X: Any) -> np.ndarray:
    """|X| in float64 with 0 where it is not finite: those places are compared by kind, not by size."""
    X = np.abs(np.asarray(X).astype(np.complex128))
    return np.where(np.isfinite(X), X, 0.0)


def transposed(X: np.ndarray) -> np.ndarray:
    return np.swapaxes(X, -1, -2)


def bound_matmul(e: float, A: Any, B: Any) -> list:
    # Two summations of k products: |error| ≤ 2·(k + 2)·eps·|A||B|, and √2 times that for complex numbers.
    return [3 * (A.shape[-1] + 2) * e * (absolute(A) @ absolute(B))]


def bound_add_outer(e: float, W: Any, U: Any, V: Any, scale: Any) -> list:
    size = absolute(scale)[..., None, None] * (transposed(absolute(U)) @ absolute(V))
    return [2 * (U.shape[-2] + 3) * e * (absolute(W) + size)]


def bound_sgd_update(e: float, W: Any, b: Any, delta: Any, h: Any, lr: Any) -> list:
    batch = max(delta.shape[-2], 1)
    step = absolute(lr) / batch
    of_W = bound_add_outer(e, W, delta, h, step)
    if b is None:
        return [*of_W, None]
    return [*of_W, 2 * (batch + 3) * e * (absolute(b) + step[..., None] * absolute(delta).sum(-2))]


def bound_bias_identity(e: float, z: Any, b: Any) -> list:
    return [0.0, 0.0, 0.0]  # one rounding on both sides: equal to the bit


def bound_bias_leaky_relu(e: float, z: Any, b: Any, slope: float) -> list:
    return [0.0, 0.0, 0.0]


def pre_activation(z: Any, b: Any) -> np.ndarray:
    return absolute(z if b is None else z + b[..., None, :])


def bound_bias_leaky_softplus(e: float, z: Any, b: Any, slope: float) -> list:
    # exp, log1p and 1 − α are each within 4 ulp on both sides; softplus ≤ |a| + log 2.
    return [0.0, 8 * e * (pre_activation(z, b) + 1), 8 * e]


def bound_bias_tanh(e: float, z: Any, b: Any) -> list:
    # tanh within 4 ulp on each side, twice that in 1 − h².
    return [0.0, 8 * e * np.minimum(pre_activation(z, b), 1), 16 * e]


def bound_layer_leaky_relu(e: float, x: Any, W: Any, b: Any, slope: float) -> list:
    size = absolute(x) @ transposed(absolute(W))
    a = x.astype(np.float64) @ transposed(W.astype(np.float64))
    of_a = bound_matmul(e, x, transposed(W))[0]
    if b is not None:
        a, of_a = a + b[..., None, :], of_a + 2 * e * (size + absolute(b)[..., None, :])
    # |h| ≤ |a|, rounded once more; and σ' is anything where the sign of a is below rounding.
    return [of_a, of_a + 2 * e * absolute(a), np.where(np.abs(a) <= of_a, 1.0, 0.0)]


def bound_gated_product(e: float, delta: Any, M: Any, d_sigma: Any) -> list:
    size = absolute(delta) @ transposed(absolute(M))
    return [(bound_matmul(e, delta, transposed(M))[0] + 2 * e * size) * absolute(d_sigma)]


def bound_softmax_cross_entropy(e: float, h: Any, labels: Any) -> list:
    # exp within 4 ulp on each side, a sum of `classes` numbers; a softmax entry is at most 1.
    classes, batch = h.shape[-1], h.shape[-2]
    spread = absolute(np.ptp(np.where(np.isfinite(h), h, 0).astype(float), axis=-1))
    return [(8 + 2 * classes) * e, 2 * (8 + classes + batch) * e * (spread + 1 + np.log(classes)).sum(-1), 0.0]


def bound_reciprocal_derivative(e: float, u: Any, d: Any, h: Any, damping: float, own: str, normalize: bool, _: bool):
    # s is the same few operations on both sides; δ is divided by a sum of n_in squares, all non-negative.
    with np.errstate(all="ignore"):
        reference = Kernel.instances["reciprocal_derivative"].reference(u, d, h, damping, own, normalize, _)
    return [4 * e * absolute(reference[0]), 2 * (h.shape[-1] + 4) * e * absolute(reference[1])]


def bound_gather_scale(e: float, images: Any, index: Any, scale: float, offset: float, dtype: Any) -> list:
    return [4 * eps(dtype) * (255 * abs(scale) + abs(offset))]


def bound_gram_inverse(e: float, A: Any, damping: float) -> list:
    # The drawn A has singular values in [1, 4] or is rejected whole, so cond(G) ≤ 16 and ‖G⁻¹‖ ≤ 1: forming G costs
    # max(m, n)·eps·‖A‖², inverting it 10·k·eps·cond(G).
    return [10 * (sum(A.shape[-2:]) + 1) * e * 16]


def bound_solve_positive(e: float, G: Any, B: Any) -> list:
    # Eigenvalues in [1, 4]: κ ≤ 4 and ‖G⁻¹‖ ≤ 1.
    m, k = B.shape[-2:]
    return [10 * (m + 1) * e * 4 * math.sqrt(m * k)]


def bound_coupled_steps(e: float, U: Any, V: Any, *parameters: Any) -> list:
    # Entries up to 0.3, rates up to 0.5 and three steps keep every entry below 2 and every row sum of UV below
    # k; a step's rounding is at most 8·(k + 3)·eps then, and three steps amplify it by less than 4 each.
    k = sum(U.shape[-2:])
    return [3 * 8 * (k + 3) * e * 4**3] * 2


def bound_gram_pinv(e: float, A: Any) -> list:
    # κ ≤ 4 and ‖A⁺‖ ≤ 1 by the drawn spectrum; the Gram matrix squares κ. The defect is itself rounding, of that size.
    error = 10 * sum(A.shape[-2:]) * e * 16
    return [error, error, 10 * sum(A.shape[-2:]) * e * 16 * 4 * min(A.shape[-2:])]


def rate_size(lr: Any, W: Any) -> np.ndarray:
    size = absolute(lr)
    return size.reshape(*size.shape, *(1,) * (np.ndim(W) - size.ndim))


def bound_momentum_update(e: float, W: Any, v: Any, G: Any, lr: Any, momentum: float) -> list:
    size = momentum * absolute(v) + absolute(G)  # two roundings a side in v, two more in W
    return [4 * e * (absolute(W) + 2 * rate_size(lr, W) * size), 4 * e * size]


def bound_adam_update(e: float, W: Any, m: Any, v: Any, G: Any, lr: Any, b1: float, b2: float, epsilon, step) -> list:
    # m and v are sums of two terms, three roundings each; the root halves what v brings, the quotient adds two.
    first, second = b1 * absolute(m) + (1 - b1) * absolute(G), b2 * absolute(v) + (1 - b2) * absolute(G) ** 2
    ratio = first / (np.sqrt(second) / np.sqrt(1 - b2**step) + epsilon)
    change = rate_size(lr, W) / (1 - b1**step) * ratio
    return [4 * e * absolute(W) + 24 * e * change, 8 * e * first, 8 * e * second]


def draw_optimizer(c: Case, means: int) -> list:
    lead = c.lead()
    shape = (*lead, c.size(), c.size()) if c.choice(True, False) else (*lead, c.size())  # a matrix or a bias
    W, *rest = (c.array(*shape) for _ in range(1 + means))
    return [W, *rest, c.array(*shape), draw_rate(c, lead)]


def draw_momentum_update(c: Case) -> list:
    return [*draw_optimizer(c, 1), c.choice(0.0, 0.5, 0.9)]


def draw_adam_update(c: Case) -> list:
    W, m, _, G, lr = draw_optimizer(c, 2)
    # No special values in v: −1e30 plus 1e30² of G would cancel.
    v = c.place(c.rng.uniform(0, 3, W.shape).astype(c.dtype))
    return [W, m, v, G, lr, c.choice(0.0, 0.9), c.choice(0.5, 0.999), c.choice(1e-8, 1e-3), c.size(1, 40)]


def draw_matmul(c: Case) -> list:
    lead, m, k, n = c.lead(), c.size(), c.size(), c.size()
    A = c.array(*c.shared(lead), m, k, special=SPECIAL_IN_PRODUCTS)
    B = c.array(*c.shared(lead), n, k, special=SPECIAL_IN_PRODUCTS)
    return [A, B.swapaxes(-1, -2)]


def draw_add_outer(c: Case) -> list:
    lead, m, n, batch = c.lead(), c.size(), c.size(), c.size()
    U = c.array(*lead, batch, m, special=SPECIAL_IN_PRODUCTS)
    V = c.array(*c.shared(lead), batch, n, special=SPECIAL_IN_PRODUCTS)
    W = c.array(*c.shared(lead), m, n, special=SPECIAL_IN_PRODUCTS)
    return [W, U, V, draw_rate(c, W.shape[:-2])]


def draw_rate(c: Case, lead: tuple[int, ...]) -> Any:
    if lead and c.choice(True, False):
        return c.lib.asarray(c.rng.uniform(-1, 1, lead).astype(c.choice("float32", "float64")))
    return c.choice(-0.7, 1.0, 2)


def draw_sgd_update(c: Case) -> list:
    lead, m, n, batch = c.lead(), c.size(), c.size(), c.size()
    W = c.array(*lead, m, n, special=SPECIAL_IN_PRODUCTS)
    delta = c.array(*lead, batch, m, special=SPECIAL_IN_PRODUCTS)
    h = c.array(*c.shared(lead), batch, n, special=SPECIAL_IN_PRODUCTS)
    b = c.choice(None, c.array(*lead, m, special=SPECIAL_IN_PRODUCTS))
    return [W, b, delta, h, draw_rate(c, lead)]


def draw_bias(c: Case) -> list:
    lead, batch, n = c.lead(), c.size(), c.size()
    z = c.array(*c.shared(lead), batch, n)
    return [z, c.choice(None, c.array(*c.shared(lead), n))]


def draw_bias_slope(c: Case) -> list:
    return [*draw_bias(c), c.choice(0.0, 0.01, 0.3, 1.0)]


def draw_layer_leaky_relu(c: Case) -> list:
    lead, batch, n, k = c.lead(), c.size(), c.size(), c.size()
    x = c.array(*c.shared(lead), batch, k, special=SPECIAL_IN_PRODUCTS)
    W = c.array(*c.shared(lead), n, k, special=SPECIAL_IN_PRODUCTS)
    b = c.choice(None, c.array(*c.shared(lead), n, special=SPECIAL_IN_PRODUCTS))
    return [x, W, b, c.choice(0.0, 0.01, 0.3, 1.0)]


def draw_gated_product(c: Case) -> list:
    lead, batch, n, k = c.lead(), c.size(), c.size(), c.size()
    delta = c.array(*c.shared(lead), batch, k, special=SPECIAL_IN_PRODUCTS)
    M = c.array(*c.shared(lead), n, k, special=SPECIAL_IN_PRODUCTS)
    if c.choice(True, False):  # backpropagation's view of W
        M = c.array(*c.shared(lead), k, n, special=SPECIAL_IN_PRODUCTS).swapaxes(-1, -2)
    # Not infinite: times a product that rounding takes to 0 on one side alone it would be NaN there.
    d_sigma = c.array(*c.shared(lead), batch, n, special=(0.0, -0.0, 1e15))
    return [delta, M, d_sigma]


def draw_softmax_cross_entropy(c: Case) -> list:
    lead, batch, classes = c.lead(), c.size(), c.size(1, 12)
    h = c.array(*c.shared(lead), batch, classes)
    labels = c.rng.integers(0, classes, (*c.shared(lead), batch)).astype(c.choice("int64", "int32", "uint8"))
    if c.choice(True, False) and batch and h.size:  # ties: the first of the largest counts
        h = c.place(np.round(to_numpy(h)))
    return [h, c.place(labels)]


def draw_reciprocal_derivative(c: Case) -> list:
    lead, batch, n, n_in = c.lead(), c.size(), c.size(), c.size()
    u = c.array(*lead, batch, n)
    d = c.array(*c.shared(lead), batch, n, low=0.0)
    h = c.array(*c.shared(lead), batch, n_in)
    if c.choice(True, False):  # a row that is 0 throughout
        h = c.place(np.zeros(h.shape, c.dtype))
    own = c.choice("reciprocal", "derivative", "none")
    return [u, d, h, c.choice(0.0, 0.1), own, c.choice(True, False), c.choice(True, False)]


def draw_gather_scale(c: Case) -> list:
    images = c.rng.integers(0, 256, (c.size(1), c.size())).astype(np.uint8)
    shape = c.choice((0,), (1,), (7,), (3, 5), (0, 2), ())
    index = c.rng.integers(0, images.shape[0], shape).astype(c.choice("int64", "int32"))
    kind = getattr(c.lib, c.choice("float32", "float64"))
    return [c.place(images), c.place(index), *c.choice((2 / 255, -1.0), (1.0, 0.0)), kind]


def draw_gram_inverse(c: Case) -> list:
    lead, m, n = c.lead(), c.size(), c.size()
    complex_part = 1j * c.rng.standard_normal((*lead, m, n)) if c.dtype.startswith("complex") else 0
    U, _, Vh = np.linalg.svd(c.rng.standard_normal((*lead, m, n)) + complex_part, full_matrices=False)
    A = (U * c.rng.uniform(1, 4, (*lead, 1, min(m, n)))) @ Vh
    if c.special and A.size:  # each makes its member's Gram matrix unusable
        A[..., :, :] = A if c.choice(True, False) else 0 * A
        A[..., -1, -1] = c.choice(np.nan, np.inf, 1e30 if c.dtype in ("float32", "complex64") else 1e300)
    return [c.place_matrices(A.astype(c.dtype)), c.choice(0.0, 0.5)]


def draw_solve_positive(c: Case) -> list:
    lead, m, k = c.lead(), c.size(1), c.size(1)
    Q = np.linalg.qr(c.rng.standard_normal((*lead, m, m)))[0]
    G = (Q * c.rng.uniform(1, 4, (*lead, 1, m))) @ np.swapaxes(Q, -1, -2)
    B = c.rng.uniform(-1, 1, (*lead, m, k))
    return [c.place_matrices(X.astype(c.dtype)) for X in ((G + np.swapaxes(G, -1, -2)) / 2, B)]


def draw_coupled_steps(c: Case) -> list:
    lead, a, b = c.lead(), c.size(1, 5), c.size(1, 5)
    U = c.place(c.rng.uniform(-0.3, 0.3, (*lead, a, b)).astype(c.dtype))
    V = c.place(c.rng.uniform(-0.3, 0.3, (*lead, b, a)).astype(c.dtype))
    return [U, V, c.choice(0.0, 0.1, 0.5), c.choice(0.0, 0.5), c.choice(0.0, 0.1), c.choice(True, False), c.size(0, 3)]


def draw_gram_pinv(c: Case) -> list:
    lead, m, n = c.lead(), c.size(1), c.size(1)
    complex_part = 1j * c.rng.standard_normal((*lead, m, n)) if c.dtype.startswith("complex") else 0
    U, _, Vh = np.linalg.svd(c.rng.standard_normal((*lead, m, n)) + complex_part, full_matrices=False)
    A = (U * c.rng.uniform(1, 4, (*lead, 1, min(m, n)))) @ Vh
    if c.special and A.size:  # the last member has no inverse
        A[(-1,) * len(lead)] = c.choice(0.0, np.nan, np.inf)
    return [c.place_matrices(A.astype(c.dtype))]


def bound_inverse_ratio(e: float, A: Any, X: Any) -> list:
    # Both norms carry up to some (m + n)·eps·‖A‖‖X‖ of rounding, ‖A‖ ≤ 4 and ‖X‖ ≤ 1 as drawn; in units of
    # max(m, n)·eps·ax, ax ≥ ‖A‖_F‖X‖_F/min(m, n), that is of order min(m, n). The ratio itself is near 0.1/eps.
    return [10 * sum(A.shape[-2:])]


def draw_inverse_ratio(c: Case) -> list:
    A = draw_gram_pinv(c)[0]
    host = to_numpy(A)
    X = np.linalg.pinv(np.where(np.isfinite(host), host, 0))
    return [A, c.place_matrices((0.95 * X).astype(c.dtype))]


def bound_kronecker_apply(e: float, A: Any, B: Any, X: Any) -> list:
    # Two products of numbers up to 1: n terms, then q of them, and each rounding is passed on by the other factor.
    n, q = A.shape[-1], B.shape[-1]
    return [2 * (n + q + 2) * e * n * q]


def draw_kronecker_apply(c: Case) -> list:
    lead, m, n, p, q = c.lead(), c.size(), c.size(), c.size(), c.size()
    shapes = ((*c.shared(lead), m, n), (*c.shared(lead), p, q), (*lead, n, q))
    return [c.place(c.rng.uniform(-1, 1, shape).astype(c.dtype)) for shape in shapes]


def bound_meyer_update(e: float, A: Any, X: Any, c: Any, d: Any, tolerance: Any, noise: float) -> list:
    # κ ≤ 4, ‖A‖, ‖A⁺‖ ≤ 4, ‖c‖, ‖d‖ ≤ 3 as drawn, and the case is clear. Each of a dozen products of vectors up to
    # 100 loses (m + n)·eps; the divisions by ‖w‖², ‖m‖² and σ, at least 0.01, amplify that.
    return [12 * (sum(A.shape[-2:]) + 2) * e * 100 / 0.01, 0]


def draw_meyer_update(c: Case) -> list:
    lead, m, n = c.lead(), c.size(1, 6), c.size(1, 6)
    rank = c.size(1, min(m, n))
    U, V = (np.linalg.qr(c.rng.standard_normal((*lead, s, rank)))[0] for s in (m, n))
    S = c.rng.uniform(0.5, 2, (*lead, 1, rank))
    A, X = (U * S) @ V.swapaxes(-1, -2), (V / S) @ U.swapaxes(-1, -2)

    def vector(basis: np.ndarray, size: int) -> np.ndarray:
        x = (basis @ c.rng.uniform(-1, 1, (*lead, rank, 1)))[..., 0]
        if c.choice(True, False) and size > rank:  # and a part outside the range, of size 1
            y = c.rng.standard_normal((*lead, size, 1))
            y = y - basis @ (basis.swapaxes(-1, -2) @ y)
            x = x + y[..., 0] / np.linalg.norm(y, axis=-2)
        return x

    left, right = vector(U, m), vector(V, n)
    beta = 1 + np.sum(right * (X @ left[..., None])[..., 0], axis=-1, keepdims=True)
    # β away from zero: at zero the case itself is decided by rounding.
    right = np.where(np.abs(beta) < 0.2, -right, right)
    operands = [c.place(a.astype(c.dtype)) for a in (A, X, left, right)]
    return [*operands, c.place(np.full(lead, 1e-2).astype(c.dtype)), c.choice(0.0, 1e-6)]


def bound_penrose_norms(e: float, A: Any, X: Any) -> list:
    # Entries up to 1: three-fold products sum m·n terms of size 1, m·n such sums.
    m, n = A.shape[-2:]
    return [4 * (m + n + 2) ** 3 * e]


def draw_penrose_norms(c: Case) -> list:
    lead, m, n = c.lead(), c.size(0, 7), c.size(0, 7)
    shapes = ((*c.shared(lead), m, n), (*c.shared(lead), n, m))
    return [c.place(c.rng.uniform(-1, 1, shape).astype(c.dtype)) for shape in shapes]


@dataclass
class Twin:
    """How to draw a kernel's arguments, how far its results may be from the reference, and what it may overwrite."""

    draw: Callable[[Case], list]
    bound: Callable[..., list]
    overwritable: tuple[int, ...] = ()


TWINS = {
    "adam_update": Twin(draw_adam_update, bound_adam_update, (0, 1, 2)),
    "add_outer": Twin(draw_add_outer, bound_add_outer, (0,)),
    "bias_identity": Twin(draw_bias, bound_bias_identity, (0,)),
    "bias_leaky_relu": Twin(draw_bias_slope, bound_bias_leaky_relu, (0,)),
    "bias_leaky_softplus": Twin(draw_bias_slope, bound_bias_leaky_softplus, (0,)),
    "bias_tanh": Twin(draw_bias, bound_bias_tanh, (0,)),
    "coupled_steps": Twin(draw_coupled_steps, bound_coupled_steps),
    "gather_scale": Twin(draw_gather_scale, bound_gather_scale),
    "gated_product": Twin(draw_gated_product, bound_gated_product),
    "gram_inverse": Twin(draw_gram_inverse, bound_gram_inverse),
    "gram_pinv": Twin(draw_gram_pinv, bound_gram_pinv),
    "inverse_ratio": Twin(draw_inverse_ratio, bound_inverse_ratio),
    "kronecker_apply": Twin(draw_kronecker_apply, bound_kronecker_apply),
    "layer_leaky_relu": Twin(draw_layer_leaky_relu, bound_layer_leaky_relu),
    "matmul": Twin(draw_matmul, bound_matmul),
    "meyer_update": Twin(draw_meyer_update, bound_meyer_update),
    "momentum_update": Twin(draw_momentum_update, bound_momentum_update, (0, 1)),
    "penrose_norms": Twin(draw_penrose_norms, bound_penrose_norms),
    "reciprocal_derivative": Twin(draw_reciprocal_derivative, bound_reciprocal_derivative),
    "solve_positive": Twin(draw_solve_positive, bound_solve_positive),
    "sgd_update": Twin(draw_sgd_update, bound_sgd_update, (0, 1)),
    "softmax_cross_entropy": Twin(draw_softmax_cross_entropy, bound_softmax_cross_entropy),
}


def assert_within(actual: Any, expected: Any, bound: Any, subnormals: bool = True) -> None:
    """Same shape and dtype; equal to `bound` where finite; the same NaNs and infinities elsewhere."""
    assert (actual is None) == (expected is None)
    if expected is None:
        return
    actual, expected = to_numpy(actual), to_numpy(expected)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(expected))
    finite = np.isfinite(expected)
    if not np.iscomplexobj(expected):
        np.testing.assert_array_equal(actual[~finite], expected[~finite])
    if actual.dtype.kind in "iu":
        np.testing.assert_array_equal(actual, expected)
        return
    # Where a result is subnormal its rounding is absolute: four of the smallest steps, or all of it.
    info = np.finfo(expected.dtype)
    floor = (4 * info.smallest_subnormal if np.any(bound) else 0.0) if subnormals else info.smallest_normal
    bound = np.broadcast_to(np.asarray(bound, dtype=np.float64) + float(floor), expected.shape)
    difference = np.abs(np.where(finite, actual, 0) - np.where(finite, expected, 0))
    assert np.all(difference <= bound), f"off by {difference.max()}, allowed {bound[difference > bound].min()}"


def assert_results(name: str, dtype: str, pristine: list, actual: Any, expected: Any, subnormals: bool = True) -> None:
    """Each of a kernel's results is within its bound for these arguments."""
    with np.errstate(all="ignore"):
        bounds = TWINS[name].bound(eps(dtype) if dtype != "uint8" else 0.0, *pristine)
    if not isinstance(expected, tuple):
        actual, expected = (actual,), (expected,)
    for got, want, bound in zip(actual, expected, bounds, strict=True):
        assert_within(got, want, bound, subnormals)


def compare(implementation: Callable[..., Any], name: str, case: Case) -> None:
    """Call a kernel and its reference with the same values; check results, bounds and what was left alone."""
    twin = TWINS[name]
    args = twin.draw(case)
    pristine = [to_numpy(a).copy() if is_array(a) else a for a in args]
    device = [case.lib.asarray(a) if is_array(a) else a for a in pristine]
    with np.errstate(all="ignore"):
        expected = Kernel.instances[name].reference(*[a.copy() if is_array(a) else a for a in device])
        actual = implementation(*args)
    assert_results(name, case.dtype, pristine, actual, expected)
    for position, (argument, before) in enumerate(zip(args, pristine, strict=True)):
        if isinstance(before, np.ndarray) and (
            position not in twin.overwritable or (case.lib is np and not argument.flags.writeable)
        ):
            np.testing.assert_array_equal(to_numpy(argument), before, err_msg=f"argument {position} was modified")


TWIN_SETTINGS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
