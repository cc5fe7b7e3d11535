"""The truth of the kernels of convolutions, local connections and pooling, in plain array-API code.

Images are rows of numbers, their channels one behind the other. ``k`` is the number of entries of a window and ``P``
that of windows; see `rfnumeric.kernels.window.Window`. Adjoints write nothing in place.
"""

from __future__ import annotations

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.kernels.reference import bias_leaky_relu
from rfnumeric.kernels.window import Window
from rfnumeric.typing import Array


def image_patches(x: Array, window: Window) -> Array:
    """Gather what every window sees.

    Parameters
    ----------
    x : array, shape (..., batch, n_in)
    window : Window

    Returns
    -------
    array, shape (..., batch, k, P)
    """
    xp, w = array_namespace(x), window
    image = xp.reshape(x, (*x.shape[:-1], w.channels, w.height, w.width))
    image = _around(_around(image, w.pw), w.ph, rows=True)
    down, right = w.sh * (w.out_height - 1) + 1, w.sw * (w.out_width - 1) + 1
    parts = [image[..., i : i + down : w.sh, j : j + right : w.sw] for i in range(w.kh) for j in range(w.kw)]
    return xp.reshape(xp.stack(parts, axis=-3), (*x.shape[:-1], w.entries, w.positions))


def image_from_patches(p: Array, window: Window) -> Array:
    """Add up what the windows hold, each at its place: the transpose of `image_patches`.

    Parameters
    ----------
    p : array, shape (..., batch, k, P)
    window : Window

    Returns
    -------
    array, shape (..., batch, n_in)
    """
    xp, w = array_namespace(p), window
    lead = p.shape[:-2]
    p = xp.reshape(p, (*lead, w.channels, w.kh, w.kw, w.out_height, w.out_width))
    image = None
    for i in range(w.kh):
        rows = None
        for j in range(w.kw):
            part = _placed(p[..., i, j, :, :], j, w.sw, w.width + 2 * w.pw)
            rows = part if rows is None else rows + part
        part = xp.matrix_transpose(_placed(xp.matrix_transpose(rows), i, w.sh, w.height + 2 * w.ph))
        image = part if image is None else image + part
    image = image[..., w.ph : w.ph + w.height, w.pw : w.pw + w.width]  # type: ignore[index]
    return xp.reshape(image, (*lead, w.n_in))


def convolution(x: Array, W: Array, b: Array | None, window: Window) -> Array:
    """Convolve: a = W·patch + b at every position.

    Parameters
    ----------
    x : array, shape (..., batch, n_in)
    W : array, shape (..., C_out, C, kh, kw)
    b : array, shape (..., C_out), or None
    window : Window

    Returns
    -------
    array, shape (..., batch, C_out·P)
    """
    xp = array_namespace(x, W)
    a = xp.matmul(_matrices(W, window)[..., None, :, :], image_patches(x, window))
    a = a if b is None else a + b[..., None, :, None]
    return xp.reshape(a, (*a.shape[:-2], a.shape[-2] * window.positions))


def convolution_leaky_relu(
    x: Array, W: Array, b: Array | None, window: Window, negative_slope: float
) -> tuple[Array, Array, Array]:
    """Convolve, then apply the leaky ReLU: a, h and σ'(a) as `bias_leaky_relu` has them; see `convolution`."""
    return bias_leaky_relu(convolution(x, W, b, window), None, negative_slope)


def convolution_pull(v: Array, W: Array, d: Array | None, window: Window) -> Array:
    """Send v back through a convolution, the transpose of `convolution` in x; times d where that is given.

    Parameters
    ----------
    v : array, shape (..., batch, C_out·P)
    W : array, shape (..., C_out, C, kh, kw)
    d : array, shape (..., batch, n_in), or None
    window : Window

    Returns
    -------
    array, shape (..., batch, n_in)
    """
    xp = array_namespace(v, W)
    patches = xp.matmul(xp.matrix_transpose(_matrices(W, window))[..., None, :, :], _by_channel(v, window))
    return _gated(image_from_patches(patches, window), d)


def convolution_grad(v: Array, x: Array, window: Window) -> Array:
    """Sum ∑ v·patchᵀ over positions and batch: the gradient of ∑ ⟨v, convolution(x, W)⟩ with respect to W.

    Parameters
    ----------
    v : array, shape (..., batch, C_out·P)
    x : array, shape (..., batch, n_in)
    window : Window

    Returns
    -------
    array, shape (..., C_out, C, kh, kw)
    """
    xp, w = array_namespace(v, x), window
    G = xp.matmul(_by_channel(v, w), xp.matrix_transpose(image_patches(x, w)))
    G = xp.sum(G, axis=-3, dtype=v.dtype)
    return xp.reshape(G, (*G.shape[:-1], w.channels, w.kh, w.kw))


def local_product(x: Array, W: Array, b: Array | None, window: Window) -> Array:
    """Apply local connections: a = W_p·patch_p + b at every position p.

    Parameters
    ----------
    x : array, shape (..., batch, n_in)
    W : array, shape (..., H_out, W_out, C_out, C, kh, kw)
    b : array, shape (..., C_out·P), or None
    window : Window

    Returns
    -------
    array, shape (..., batch, C_out·P)
    """
    xp = array_namespace(x, W)
    a = xp.matmul(_positions_first(image_patches(x, window)), xp.matrix_transpose(_local_matrices(W, window)))
    a = _positions_last(a)
    a = xp.reshape(a, (*a.shape[:-2], a.shape[-2] * window.positions))
    return a if b is None else a + b[..., None, :]


def local_pull(v: Array, W: Array, d: Array | None, window: Window) -> Array:
    """Send v back through local connections, the transpose of `local_product` in x; times d where that is given.

    Parameters
    ----------
    v : array, shape (..., batch, C_out·P)
    W : array, shape (..., H_out, W_out, C_out, C, kh, kw)
    d : array, shape (..., batch, n_in), or None
    window : Window

    Returns
    -------
    array, shape (..., batch, n_in)
    """
    xp = array_namespace(v, W)
    patches = xp.matmul(_positions_first(_by_channel(v, window)), _local_matrices(W, window))
    return _gated(image_from_patches(_positions_last(patches), window), d)


def local_grad(v: Array, x: Array, window: Window) -> Array:
    """Sum v_p·patch_pᵀ over the batch: the gradient of ∑ ⟨v, local_product(x, W)⟩ with respect to W.

    Parameters
    ----------
    v : array, shape (..., batch, C_out·P)
    x : array, shape (..., batch, n_in)
    window : Window

    Returns
    -------
    array, shape (..., H_out, W_out, C_out, C, kh, kw)
    """
    xp, w = array_namespace(v, x), window
    v, x = _positions_first(_by_channel(v, w)), _positions_first(image_patches(x, w))
    G = xp.matmul(xp.matrix_transpose(v), x)
    return xp.reshape(G, (*G.shape[:-3], w.out_height, w.out_width, G.shape[-2], w.channels, w.kh, w.kw))


def local_add_outer(W: Array, v: Array, x: Array, scale: float | Array, window: Window) -> Array:
    """Accumulate W + scale · `local_grad`. May write into `W`.

    Parameters
    ----------
    W : array, shape (..., H_out, W_out, C_out, C, kh, kw)
    v : array, shape (..., batch, C_out·P)
    x : array, shape (..., batch, n_in)
    scale : float or array of shape ``W.shape[:-6]``
        One factor, or one for each member of the population.
    window : Window

    Returns
    -------
    array, of the shape of W
    """
    if not isinstance(scale, int | float):
        xp = array_namespace(W)
        scale = xp.asarray(scale, dtype=W.dtype, device=device_of(W))
        scale = xp.reshape(scale, (*scale.shape, *(1,) * 6))
    return W + scale * local_grad(v, x, window)


def average_pool(x: Array, window: Window) -> Array:
    """Average each channel over every window.

    Parameters
    ----------
    x : array, shape (..., batch, n_in)
    window : Window
        Without padding.

    Returns
    -------
    array, shape (..., batch, C·P)
    """
    xp, w = array_namespace(x), window
    p = xp.reshape(image_patches(x, w), (*x.shape[:-1], w.channels, w.kh * w.kw, w.positions))
    mean = xp.sum(p, axis=-2, dtype=x.dtype) / (w.kh * w.kw)
    return xp.reshape(mean, (*x.shape[:-1], w.channels * w.positions))


def average_pool_pull(v: Array, d: Array | None, window: Window) -> Array:
    """Share each entry among its window: the transpose of `average_pool`; times d where that is given.

    Parameters
    ----------
    v : array, shape (..., batch, C·P)
    d : array, shape (..., batch, n_in), or None
    window : Window
        Without padding.

    Returns
    -------
    array, shape (..., batch, n_in)
    """
    xp, w = array_namespace(v), window
    p = xp.reshape(v / (w.kh * w.kw), (*v.shape[:-1], w.channels, 1, w.positions))
    p = xp.broadcast_to(p, (*v.shape[:-1], w.channels, w.kh * w.kw, w.positions))
    return _gated(image_from_patches(xp.reshape(p, (*v.shape[:-1], w.entries, w.positions)), w), d)


def _matrices(W: Array, window: Window) -> Array:
    """Return a convolution's W as (..., C_out, k)."""
    return array_namespace(W).reshape(W, (*W.shape[:-3], window.entries))


def _local_matrices(W: Array, window: Window) -> Array:
    """Return a local layer's W as (..., P, C_out, k)."""
    return array_namespace(W).reshape(W, (*W.shape[:-6], window.positions, W.shape[-4], window.entries))


def _by_channel(v: Array, window: Window) -> Array:
    """Return rows (..., C·P) as (..., C, P)."""
    return array_namespace(v).reshape(v, (*v.shape[:-1], v.shape[-1] // window.positions, window.positions))


def _positions_first(X: Array) -> Array:
    """From (..., batch, m, P) to (..., P, batch, m)."""
    n = X.ndim
    return array_namespace(X).permute_dims(X, (*range(n - 3), n - 1, n - 3, n - 2))


def _positions_last(X: Array) -> Array:
    """From (..., P, batch, m) to (..., batch, m, P)."""
    n = X.ndim
    return array_namespace(X).permute_dims(X, (*range(n - 3), n - 2, n - 1, n - 3))


def _gated(x: Array, d: Array | None) -> Array:
    return x if d is None else x * d


def _zeros(like: Array, length: int) -> Array:
    xp = array_namespace(like)
    return xp.zeros((*like.shape[:-1], length), dtype=like.dtype, device=device_of(like))


def _around(image: Array, padding: int, rows: bool = False) -> Array:
    """Return the image with columns (or rows) of zeros on both sides."""
    if not padding:
        return image
    xp = array_namespace(image)
    if rows:
        return xp.matrix_transpose(_around(xp.matrix_transpose(image), padding))
    zeros = _zeros(image, padding)
    return xp.concat([zeros, image, zeros], axis=-1)


def _placed(v: Array, start: int, stride: int, length: int) -> Array:
    """Return rows of `length` zeros with the entries of v at start, start + stride, and so on."""
    xp = array_namespace(v)
    if stride > 1:
        between = xp.stack([v, *[xp.zeros_like(v)] * (stride - 1)], axis=-1)
        v = xp.reshape(between, (*v.shape[:-1], v.shape[-1] * stride))[..., : (v.shape[-1] - 1) * stride + 1]
    after = length - start - v.shape[-1]
    parts = [*([_zeros(v, start)] if start else []), v, *([_zeros(v, after)] if after else [])]
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)
