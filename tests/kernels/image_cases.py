"""Arguments and bounds for the twin tests of kernels on images; importing it adds them to `kernel_cases.TWINS`."""

from __future__ import annotations

from typing import Any

import numpy as np
from kernel_cases import SPECIAL_IN_PRODUCTS, TWINS, Case, Twin, absolute, draw_rate, rate_size

from rfnumeric.kernels import Window
from rfnumeric.kernels import reference_convolution as reference

# Sizes of what was added up come from the reference itself, on absolute values in double precision.


def draw_window(c: Case, padded: bool = True) -> Window:
    kh, kw = c.size(1, 3), c.size(1, 3)
    ph, pw = (c.size(0, 2), c.size(0, 2)) if padded else (0, 0)
    height, width = c.size(max(1, kh - 2 * ph), 6), c.size(max(1, kw - 2 * pw), 6)
    return Window(c.size(1, 3), height, width, kh, kw, c.size(1, 3), c.size(1, 3), ph, pw)


def rows(c: Case, lead: tuple[int, ...], batch: int, n: int) -> Any:
    return c.array(*lead, batch, n, special=SPECIAL_IN_PRODUCTS)


def kernel_shape(w: Window, channels: int) -> tuple[int, ...]:
    return channels, w.channels, w.kh, w.kw


def local_shape(w: Window, channels: int) -> tuple[int, ...]:
    return w.out_height, w.out_width, channels, w.channels, w.kh, w.kw


def draw_forward(c: Case, shape: Any, one_bias_a_channel: bool) -> list:
    lead, w, channels = c.lead(), draw_window(c), c.size(1, 4)
    x = rows(c, c.shared(lead), c.size(0, 20), w.n_in)
    lead_W = c.shared(lead)
    W = c.array(*lead_W, *shape(w, channels), special=SPECIAL_IN_PRODUCTS)
    b = c.array(*lead_W, channels if one_bias_a_channel else channels * w.positions, special=SPECIAL_IN_PRODUCTS)
    return [x, W, c.choice(None, b), w]


def draw_back(c: Case, shape: Any) -> list:
    lead, w, channels, batch = c.lead(), draw_window(c), c.size(1, 4), c.size(0, 20)
    lead_v, lead_W = c.shared(lead), c.shared(lead)
    v = rows(c, lead_v, batch, channels * w.positions)
    W = c.array(*lead_W, *shape(w, channels), special=SPECIAL_IN_PRODUCTS)
    d = c.array(*np.broadcast_shapes(lead_v, lead_W), batch, w.n_in, special=(0.0, -0.0))
    return [v, W, c.choice(None, d), w]


def draw_grad(c: Case) -> list:
    lead, w, batch = c.lead(), draw_window(c), c.size(0, 40)
    v = rows(c, c.shared(lead), batch, c.size(1, 4) * w.positions)
    return [v, rows(c, c.shared(lead), batch, w.n_in), w]


def draw_add_outer(c: Case) -> list:
    lead, w, batch, channels = c.lead(), draw_window(c), c.size(0, 20), c.size(1, 4)
    W = c.array(*lead, *local_shape(w, channels), special=SPECIAL_IN_PRODUCTS)
    v = rows(c, c.shared(lead), batch, channels * w.positions)
    return [W, v, rows(c, c.shared(lead), batch, w.n_in), draw_rate(c, lead), w]


def draw_patches(c: Case) -> list:
    w = draw_window(c)
    return [c.array(*c.lead(), c.size(0, 9), w.n_in), w]


def draw_pool(c: Case) -> list:
    w = draw_window(c, padded=False)
    return [rows(c, c.lead(), c.size(0, 20), w.n_in), w]


def draw_pool_pull(c: Case) -> list:
    w, lead, batch = draw_window(c, padded=False), c.lead(), c.size(0, 20)
    v = rows(c, lead, batch, w.channels * w.positions)
    return [v, c.choice(None, c.array(*lead, batch, w.n_in, special=(0.0, -0.0))), w]


def sizes(*arrays: Any) -> list:
    return [None if a is None else absolute(a) for a in arrays]


def bound_convolution(e: float, x: Any, W: Any, b: Any, w: Window) -> list:
    return [2 * (w.entries + 4) * e * reference.convolution(*sizes(x, W, b), w)]


def bound_convolution_leaky_relu(e: float, x: Any, W: Any, b: Any, w: Window, slope: float) -> list:
    of_a = bound_convolution(e, x, W, b, w)[0]
    a = reference.convolution(*(None if v is None else v.astype(np.float64) for v in (x, W, b)), w)
    # σ' is anything where the sign of a is below rounding.
    return [of_a, of_a + 2 * e * absolute(a), np.where(np.abs(a) <= of_a, 1.0, 0.0)]


def bound_convolution_pull(e: float, v: Any, W: Any, d: Any, w: Window) -> list:
    terms = v.shape[-1] // w.positions * w.kh * w.kw
    return [2 * (terms + 4) * e * reference.convolution_pull(*sizes(v, W, d), w)]


def bound_convolution_grad(e: float, v: Any, x: Any, w: Window) -> list:
    return [2 * (v.shape[-2] * w.positions + 4) * e * reference.convolution_grad(*sizes(v, x), w)]


def bound_local_product(e: float, x: Any, W: Any, b: Any, w: Window) -> list:
    return [2 * (w.entries + 4) * e * reference.local_product(*sizes(x, W, b), w)]


def bound_local_pull(e: float, v: Any, W: Any, d: Any, w: Window) -> list:
    terms = v.shape[-1] // w.positions * w.kh * w.kw
    return [2 * (terms + 4) * e * reference.local_pull(*sizes(v, W, d), w)]


def bound_local_grad(e: float, v: Any, x: Any, w: Window) -> list:
    return [2 * (v.shape[-2] + 4) * e * reference.local_grad(*sizes(v, x), w)]


def bound_local_add_outer(e: float, W: Any, v: Any, x: Any, scale: Any, w: Window) -> list:
    size = rate_size(scale, W) * reference.local_grad(*sizes(v, x), w)
    return [2 * (v.shape[-2] + 6) * e * (absolute(W) + size)]


def bound_image_patches(e: float, x: Any, w: Window) -> list:
    return [0.0]


def bound_average_pool(e: float, x: Any, w: Window) -> list:
    return [2 * (w.kh * w.kw + 3) * e * reference.average_pool(absolute(x), w)]


def bound_average_pool_pull(e: float, v: Any, d: Any, w: Window) -> list:
    return [2 * (w.kh * w.kw + 4) * e * reference.average_pool_pull(*sizes(v, d), w)]


TWINS.update(
    average_pool=Twin(draw_pool, bound_average_pool),
    average_pool_pull=Twin(draw_pool_pull, bound_average_pool_pull),
    convolution=Twin(lambda c: draw_forward(c, kernel_shape, True), bound_convolution),
    convolution_grad=Twin(draw_grad, bound_convolution_grad),
    convolution_leaky_relu=Twin(
        lambda c: [*draw_forward(c, kernel_shape, True), c.choice(0.0, 0.01, 0.3, 1.0)], bound_convolution_leaky_relu
    ),
    convolution_pull=Twin(lambda c: draw_back(c, kernel_shape), bound_convolution_pull),
    image_patches=Twin(draw_patches, bound_image_patches),
    local_add_outer=Twin(draw_add_outer, bound_local_add_outer, (0,)),
    local_grad=Twin(draw_grad, bound_local_grad),
    local_product=Twin(lambda c: draw_forward(c, local_shape, False), bound_local_product),
    local_pull=Twin(lambda c: draw_back(c, local_shape), bound_local_pull),
)
