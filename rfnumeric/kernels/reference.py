"""The truth of every kernel, in plain array-API code that any backend runs.

Shapes: ``...`` stands for leading population axes, which broadcast. Samples are rows.
"""

from __future__ import annotations

from rfnumeric.backend import array_namespace, device_of
from rfnumeric.kernels.checks import check_index, check_labels
from rfnumeric.typing import Array, DType, IntegerArray


def matmul(A: Array, B: Array) -> Array:
    """Multiply matrices: every product of the hot loops, so that all of them use one BLAS.

    Parameters
    ----------
    A : array, shape (..., m, k)
    B : array, shape (..., k, n)
        Either may be a transposed view (``xp.matrix_transpose``); no copy is made of it.

    Returns
    -------
    array, shape (..., m, n)
    """
    return array_namespace(A, B).matmul(A, B)


def add_outer(W: Array, U: Array, V: Array, scale: float | Array) -> Array:
    """Accumulate outer products of rows: W + scale · UᵀV. May write into `W`.

    Parameters
    ----------
    W : array, shape (..., m, n)
    U : array, shape (..., batch, m)
    V : array, shape (..., batch, n)
    scale : float or array of shape ``W.shape[:-2]``
        One factor, or one for each member of the population.

    Returns
    -------
    array, shape (..., m, n)
    """
    xp = array_namespace(W, U, V)
    return W + _per_member(xp, scale, W, 2) * xp.matmul(xp.matrix_transpose(U), V)


def sgd_update(W: Array, b: Array | None, delta: Array, h: Array, lr: float | Array) -> tuple[Array, Array | None]:
    """Take one step of stochastic gradient descent, W − lr · mean_batch δ hᵀ and b − lr · mean_batch δ.

    May write into `W` and `b`.

    Parameters
    ----------
    W : array, shape (..., n_out, n_in)
    b : array, shape (..., n_out), or None
    delta : array, shape (..., batch, n_out)
    h : array, shape (..., batch, n_in)
        What the layer received.
    lr : float or array of shape ``W.shape[:-2]``
        Learning rate, one or one for each member of the population.

    Returns
    -------
    W, b
        The updated parameters.
    """
    xp = array_namespace(W, delta, h)
    step = lr / max(delta.shape[-2], 1)  # an empty batch changes nothing
    if b is not None:
        b = b - _per_member(xp, step, b, 1) * xp.sum(delta, axis=-2, dtype=delta.dtype)
    return add_outer(W, delta, h, -step), b


def bias_identity(z: Array, b: Array | None) -> tuple[Array, Array, Array]:
    """Identity layer: a = z + b, h = a, σ'(a) = 1. See `bias_leaky_relu`."""
    a = _add_bias(z, b)
    return a, a, array_namespace(z).ones_like(a)


def bias_leaky_relu(z: Array, b: Array | None, negative_slope: float) -> tuple[Array, Array, Array]:
    """Leaky ReLU layer: a = z + b, h = max(a, αa), and σ'(a) = 1 where a > 0, else α, in one pass.

    Parameters
    ----------
    z : array, shape (..., batch, n)
        The product h_{l−1} Wᵀ. May be overwritten.
    b : array, shape (..., n), or None
        Bias.
    negative_slope : float
        α, dimensionless, 0 ≤ α ≤ 1.

    Returns
    -------
    a, h, d_sigma : array, shape (..., batch, n)
        Pre-activation, activation and derivative. They may share memory where they are equal.
    """
    xp = array_namespace(z)
    a = _add_bias(z, b)
    positive = a > 0
    slope = xp.full_like(a, negative_slope)
    d_sigma = xp.where(positive, xp.ones_like(a), slope)
    return a, xp.where(positive, a, a * negative_slope), d_sigma


def layer_leaky_relu(x: Array, W: Array, b: Array | None, negative_slope: float) -> tuple[Array, Array, Array]:
    """Leaky ReLU layer from its input on: the product x Wᵀ, then `bias_leaky_relu`.

    Parameters
    ----------
    x : array, shape (..., batch, n_in)
    W : array, shape (..., n, n_in)
    b : array, shape (..., n), or None
    negative_slope : float
        α, dimensionless, 0 ≤ α ≤ 1.

    Returns
    -------
    a, h, d_sigma : array, shape (..., batch, n)
    """
    return bias_leaky_relu(matmul(x, array_namespace(W).matrix_transpose(W)), b, negative_slope)


def gated_product(delta: Array, M: Array, d_sigma: Array) -> Array:
    """Carry δ one layer back and gate it: δ Mᵀ ⊙ σ'(a), which is D_l M δ for samples in rows.

    Parameters
    ----------
    delta : array, shape (..., batch, n_out)
    M : array, shape (..., n, n_out)
        May be a transposed view, as backpropagation's Wᵀ is; no copy is made of it.
    d_sigma : array, shape (..., batch, n)

    Returns
    -------
    array, shape (..., batch, n)
    """
    return matmul(delta, array_namespace(M).matrix_transpose(M)) * d_sigma


def bias_leaky_softplus(z: Array, b: Array | None, negative_slope: float) -> tuple[Array, Array, Array]:
    """Leaky softplus layer: h = αa + (1 − α) log(1 + eᵃ), σ'(a) = α + (1 − α)/(1 + e⁻ᵃ), a = z + b.

    Smooth and, for α > 0, bijective: the papers' third assumption (v1/v2 §4.2). Arguments as `bias_leaky_relu`.
    """
    xp = array_namespace(z)
    a = _add_bias(z, b)
    # exp of a non-positive number only: neither branch can overflow.
    t = xp.exp(-xp.abs(a))
    softplus = xp.maximum(a, xp.zeros_like(a)) + xp.log1p(t)
    sigmoid = xp.where(a >= 0, 1 / (1 + t), t / (1 + t))
    return a, negative_slope * a + (1 - negative_slope) * softplus, negative_slope + (1 - negative_slope) * sigmoid


def bias_sigmoid(z: Array, b: Array | None) -> tuple[Array, Array, Array]:
    """Sigmoid layer: h = 1/(1 + e⁻ᵃ), σ'(a) = h(1 − h), a = z + b. Arguments as `bias_leaky_relu`."""
    xp = array_namespace(z)
    a = _add_bias(z, b)
    # exp of a non-positive number only, and σ' from it: neither can overflow nor cancel.
    t = xp.exp(-xp.abs(a))
    h = xp.where(a >= 0, 1 / (1 + t), t / (1 + t))
    return a, h, t / ((1 + t) * (1 + t))


def bias_tanh(z: Array, b: Array | None) -> tuple[Array, Array, Array]:
    """Tanh layer: h = tanh a, σ'(a) = 1 − h², a = z + b. Arguments as `bias_leaky_relu`."""
    a = _add_bias(z, b)
    h = array_namespace(z).tanh(a)
    return a, h, 1 - h * h


def softmax_cross_entropy(h: Array, labels: IntegerArray) -> tuple[Array, Array, Array]:
    """Softmax cross-entropy: the error e = softmax(h) − onehot = ∂loss/∂h, the loss and the correct count in one pass.

    Parameters
    ----------
    h : array, shape (..., batch, classes)
        Scores: the network's last activation.
    labels : integer array, shape (..., batch)
        Class of each sample, 0 ≤ label < classes. Another value raises ValueError, except on a GPU, where it makes its
        member's loss NaN: a step must not wait for the device.

    Returns
    -------
    e : array, shape (..., batch, classes)
        Error of each sample (not divided by the batch).
    loss : array, shape (...)
        Sum over the batch of −log softmax(h)[label], in nats.
    correct : int64 array, shape (...)
        Samples whose largest score, the first one among equals, is the label's. A row with a NaN counts as wrong.
    """
    xp = array_namespace(h, labels)
    check_labels(labels, h.shape[-1])
    classes = xp.arange(h.shape[-1], dtype=labels.dtype, device=device_of(h))
    onehot = labels[..., None] == classes
    onehot_float = xp.astype(onehot, h.dtype)
    shifted = h - xp.max(h, axis=-1, keepdims=True)
    exponentials = xp.exp(shifted)
    total = xp.sum(exponentials, axis=-1, keepdims=True, dtype=h.dtype)
    # where, not a product: 0 · (−inf) would be NaN.
    at_label = xp.sum(xp.where(onehot, shifted, xp.zeros_like(shifted)), axis=-1, dtype=h.dtype)
    loss = xp.log(total[..., 0]) - at_label
    loss = xp.where(xp.any(onehot, axis=-1), loss, xp.full_like(loss, float("nan")))
    correct = (xp.argmax(h, axis=-1) == xp.astype(labels, xp.int64)) & ~xp.isnan(loss)
    return (
        exponentials / total - onehot_float,
        xp.sum(loss, axis=-1, dtype=h.dtype),
        xp.sum(xp.astype(correct, xp.int64), axis=-1, dtype=xp.int64),
    )


def reciprocal_derivative(
    u: Array, d_sigma: Array, h: Array, damping: float, own_layer: str, normalize: bool, has_bias: bool
) -> tuple[Array, Array]:
    """Apply D⁺ and the own layer's factor with 1/‖h‖²: s = D⁺u and δ = Φu/‖h‖² (v1/v2 §4.2), row by row, in one pass.

    D⁺ is the diagonal with entries d/(d² + damping); without damping 1/d, and 0 where d = 0, as the pseudoinverse has.

    Parameters
    ----------
    u : array, shape (..., batch, n)
        B_l e, what arrives at the layer.
    d_sigma : array, shape (..., batch, n)
        Diagonal of D_l.
    h : array, shape (..., batch, n_in)
        The layer's input h_{l−1}.
    damping : float
        λ ≥ 0, in units of d².
    own_layer : {"reciprocal", "derivative", "none"}
        Φ: D⁺ (the exact reciprocal of J_{W_l}), D, or the identity.
    normalize : bool
        Whether δ carries the factor 1/‖h‖² of 𝓑_l; a row with h = 0 then gives δ = 0, as the pseudoinverse does, and so
        does a row whose ‖h‖² is below the smallest number of the dtype, since 1/‖h‖² is then above the largest.
    has_bias : bool
        Whether the parameter is [W b], whose input is [h 1], so that ‖h‖² + 1 takes the place of ‖h‖².

    Returns
    -------
    s : array, shape (..., batch, n)
        D_l⁺ B_l e, which the next lower layer multiplies by W_l⁺.
    delta : array, shape (..., batch, n)
    """
    xp = array_namespace(u, d_sigma, h)
    if damping > 0:
        s = u * d_sigma / (d_sigma * d_sigma + damping)
    else:
        zero = d_sigma == 0
        s = xp.where(zero, xp.zeros_like(u), u / xp.where(zero, xp.ones_like(d_sigma), d_sigma))
    delta = {"reciprocal": s, "derivative": u * d_sigma, "none": u}[own_layer]
    if normalize:
        squared = xp.sum(h * h, axis=-1, keepdims=True, dtype=h.dtype) + (1 if has_bias else 0)
        zero = squared == 0
        delta = xp.where(zero, xp.zeros_like(delta), delta / xp.where(zero, xp.ones_like(squared), squared))
    return s, delta


def gather_scale(images: Array, index: IntegerArray, scale: float, offset: float, dtype: DType) -> Array:
    """Gather rows of uint8 images and scale them: images[index] · scale + offset.

    Parameters
    ----------
    images : uint8 array, shape (samples, n)
    index : integer array, shape (...)
        Rows to take, 0 ≤ index < samples.
    scale, offset : float
        E.g. 2/255 and −1 map 0…255 to [−1, 1].
    dtype : dtype
        Floating dtype of the result.

    Returns
    -------
    array, shape (..., n)
    """
    xp = array_namespace(images, index)
    check_index(index, images.shape[0])
    rows = xp.take(images, xp.reshape(index, (-1,)), axis=0)
    return xp.reshape(xp.astype(rows, dtype) * scale + offset, (*index.shape, images.shape[-1]))


def gram_inverse(A: Array, damping: float) -> Array:
    """Invert the smaller Gram matrix, (AAᴴ + λI)⁻¹ or (AᴴA + λI)⁻¹, by Cholesky.

    Parameters
    ----------
    A : array, shape (..., m, n)
    damping : float
        λ ≥ 0, in units of ‖A‖².

    Returns
    -------
    array, shape (..., k, k), k = min(m, n)
        Of the Gram matrix of the rows if m ≤ n, else of the columns. All NaN for a member whose Gram matrix is not
        numerically positive definite; check with ``isnan``.
    """
    xp = array_namespace(A)
    Ah = _adjoint(xp, A)
    G = xp.matmul(A, Ah) if A.shape[-2] <= A.shape[-1] else xp.matmul(Ah, A)
    identity = xp.eye(G.shape[-1], dtype=A.dtype, device=device_of(A))
    G = G + damping * identity
    # eigh, not cholesky: array libraries disagree on what an indefinite matrix does (raise, NaN or garbage).
    values, vectors = xp.linalg.eigh(xp.where(xp.isfinite(G), G, xp.zeros_like(G)))
    tiny = xp.finfo(values.dtype).smallest_normal  # the reciprocal of anything smaller may be infinite
    good = xp.all(values >= tiny, axis=-1) & xp.all(xp.isfinite(G), axis=(-2, -1))
    safe = xp.where(~good[..., None], xp.full_like(values, float("nan")), values)
    return xp.matmul(vectors / xp.astype(safe, A.dtype)[..., None, :], _adjoint(xp, vectors))


def solve_positive(G: Array, B: Array) -> Array:
    """Solve GX = B for a symmetric positive definite G.

    Parameters
    ----------
    G : array, shape (..., m, m)
        A twin may read one triangle alone.
    B : array, shape (..., m, k)

    Returns
    -------
    array, shape (..., m, k)
    """
    return array_namespace(G, B).linalg.solve(G, B)


def _adjoint(xp: Array, A: Array) -> Array:
    At = xp.matrix_transpose(A)
    return xp.conj(At) if xp.isdtype(A.dtype, "complex floating") else At


def _add_bias(z: Array, b: Array | None) -> Array:
    return z if b is None else z + b[..., None, :]


def _per_member(xp: Array, factor: float | Array, like: Array, trailing: int) -> float | Array:
    """Give a factor for each member of a population the trailing axes of `like`; leave a number as it is."""
    if isinstance(factor, float | int):
        return factor
    return xp.astype(factor, like.dtype)[..., *(None,) * trailing]
