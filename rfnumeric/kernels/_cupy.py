"""GPU kernels: CUDA twins of the elementwise and reduction kernels, and cuBLAS for updates in place.

**Not yet run on a GPU**: every kernel of `NOT_YET_RUN_ON_A_GPU`. Their twin tests are marked ``gpu`` and run where CuPy
finds a device. What is checked without one: the CUDA C compiles (nvcc), the bodies of the kernels, compiled for the
host, agree with the reference, and CuPy has the names used here. Products (`matmul`, `gated_product`), `gram_inverse`
and `solve_positive` have no twin here: the reference already calls cuBLAS and cuSOLVER.

Nothing waits for the device, so a label or an index out of range cannot raise as it does on NumPy: it gives NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import cupy

from rfnumeric.kernels.registry import implements

NOT_YET_RUN_ON_A_GPU = (
    "adam_update",
    "add_outer",
    "bias_identity",
    "bias_leaky_relu",
    "bias_leaky_softplus",
    "bias_tanh",
    "coupled_steps",
    "gather_scale",
    "gram_pinv",
    "kronecker_apply",
    "layer_leaky_relu",
    "meyer_update",
    "momentum_update",
    "penrose_norms",
    "reciprocal_derivative",
    "sgd_update",
    "softmax_cross_entropy",
)

# Bodies of elementwise kernels: from the pre-activation a to h and σ'(a) = d. T is the arrays' dtype.
LEAKY_RELU = """
    h = a > T(0) ? a : a * slope;
    d = a > T(0) ? T(1) : slope;
"""
LEAKY_SOFTPLUS = """
    T t = exp(-fabs(a));  // of a non-positive number: cannot overflow
    T sigmoid = (a >= T(0) ? T(1) : t) / (T(1) + t);
    T softplus = (a < T(0) ? T(0) : a) + log1p(t);  // a NaN stays one
    h = slope * a + (T(1) - slope) * softplus;
    d = slope + (T(1) - slope) * sigmoid;
"""
TANH = """
    h = tanh(a);
    d = T(1) - h * h;
"""
GATHER_SCALE = """
    long long row = (long long)index[i / width];
    bool inside = row >= 0 && row < samples;
    out = inside ? T(images[row * width + i % width]) * scale + offset : T(nan(""));
"""


@cache
def _activation(name: str, body: str, parameters: str, with_bias: bool) -> cupy.ElementwiseKernel:
    if with_bias:
        return cupy.ElementwiseKernel(f"T z, T b{parameters}", "T a, T h, T d", "a = z + b;" + body, f"{name}_bias")
    return cupy.ElementwiseKernel(f"T a{parameters}", "T h, T d", body, name)


def _bias_activation(name: str, body: str, z: Any, b: Any, *slope: float) -> tuple:
    parameters = ", T slope" if slope else ""
    if b is None:
        return (z, *_activation(name, body, parameters, False)(z, *slope))
    return _activation(name, body, parameters, True)(z, b[..., None, :], *slope)


@implements("bias_identity", "cupy")
def bias_identity(z: Any, b: Any) -> tuple:
    """See `reference.bias_identity`; writes into nothing."""
    a = z if b is None else z + b[..., None, :]
    return a, a, cupy.ones_like(a)


@implements("bias_leaky_relu", "cupy")
def bias_leaky_relu(z: Any, b: Any, negative_slope: float) -> tuple:
    """See `reference.bias_leaky_relu`; writes into nothing."""
    return _bias_activation("leaky_relu", LEAKY_RELU, z, b, float(negative_slope))


@implements("layer_leaky_relu", "cupy")
def layer_leaky_relu(x: Any, W: Any, b: Any, negative_slope: float) -> tuple:
    """See `reference.layer_leaky_relu`."""
    return bias_leaky_relu(cupy.matmul(x, cupy.swapaxes(W, -1, -2)), b, negative_slope)


@implements("bias_leaky_softplus", "cupy")
def bias_leaky_softplus(z: Any, b: Any, negative_slope: float) -> tuple:
    """See `reference.bias_leaky_softplus`; writes into nothing."""
    return _bias_activation("leaky_softplus", LEAKY_SOFTPLUS, z, b, float(negative_slope))


@implements("bias_tanh", "cupy")
def bias_tanh(z: Any, b: Any) -> tuple:
    """See `reference.bias_tanh`; writes into nothing."""
    return _bias_activation("tanh_layer", TANH, z, b)


# One block a member of the population, one warp a row, so that loss and correct are summed in an order that does not
# depend on timing; the sum over rows is in double precision.
SOFTMAX_CROSS_ENTROPY = r"""
extern "C" __global__ void softmax_cross_entropy(const T* scores, const long long* labels, T* errors, T* loss,
                                                 long long* correct, const long long batch, const long long classes)
{
    __shared__ double losses[32];
    __shared__ long long rights[32];
    const unsigned every = 0xffffffffu;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const long long member = blockIdx.x;
    double loss_of_warp = 0.0;
    long long right_of_warp = 0;
    for (long long i = warp; i < batch; i += warps) {
        const T* h = scores + (member * batch + i) * classes;
        T* e = errors + (member * batch + i) * classes;
        const long long label = labels[member * batch + i];
        // The largest score and its first place. NaN never compares larger; it comes back through the sum.
        T top = -__int_as_float(0x7f800000);
        long long place = classes;
        for (long long j = lane; j < classes; j += 32)
            if (h[j] > top) { top = h[j]; place = j; }
        for (int step = 16; step > 0; step >>= 1) {
            const T other = __shfl_xor_sync(every, top, step);
            const long long at = __shfl_xor_sync(every, place, step);
            if (other > top || (other == top && at < place)) { top = other; place = at; }
        }
        T total = 0;
        for (long long j = lane; j < classes; j += 32) {
            const T t = exp(h[j] - top);
            e[j] = t;
            total += t;
        }
        for (int step = 16; step > 0; step >>= 1) total += __shfl_xor_sync(every, total, step);
        for (long long j = lane; j < classes; j += 32)  // each lane reads back only what it wrote
            e[j] = e[j] / total - (j == label ? T(1) : T(0));
        if (lane == 0) {
            const bool inside = label >= 0 && label < classes;
            const T loss_of_row = inside ? log(total) - (h[label] - top) : T(__int_as_float(0x7fc00000));
            loss_of_warp += loss_of_row;
            right_of_warp += (place == label && loss_of_row == loss_of_row) ? 1 : 0;
        }
    }
    if (lane == 0) { losses[warp] = loss_of_warp; rights[warp] = right_of_warp; }
    __syncthreads();
    if (threadIdx.x == 0) {
        double sum = 0.0;
        long long right = 0;
        for (int w = 0; w < warps; ++w) { sum += losses[w]; right += rights[w]; }
        loss[member] = T(sum);
        correct[member] = right;
    }
}
"""

# One warp a row: 32 lanes share the sum of squares, then the row's entries.
RECIPROCAL_DERIVATIVE = r"""
extern "C" __global__ void reciprocal_derivative(const T* u, const T* d, const T* h, T* s, T* delta, const T damping,
                                                 const T bias, const long long rows, const long long n,
                                                 const long long n_in, const int own_layer, const int normalize)
{
    const int lane = threadIdx.x & 31;
    const long long warps = (long long)gridDim.x * (blockDim.x >> 5);
    for (long long i = (long long)blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); i < rows; i += warps) {
        T squared = 0;
        if (normalize) {
            for (long long j = lane; j < n_in; j += 32) squared += h[i * n_in + j] * h[i * n_in + j];
            for (int step = 16; step > 0; step >>= 1) squared += __shfl_xor_sync(0xffffffffu, squared, step);
            squared += bias;
        }
        for (long long j = lane; j < n; j += 32) {
            const T v = u[i * n + j], slope = d[i * n + j];
            T reciprocal;
            if (damping > T(0)) reciprocal = v * slope / (slope * slope + damping);
            else reciprocal = slope == T(0) ? T(0) : v / slope;
            T own = own_layer == 0 ? reciprocal : own_layer == 1 ? v * slope : v;
            if (normalize) own = squared == T(0) ? T(0) : own / squared;
            s[i * n + j] = reciprocal;
            delta[i * n + j] = own;
        }
    }
}
"""

_CUDA_TYPES = {"float32": "float", "float64": "double"}
_OWN_LAYER = {"reciprocal": 0, "derivative": 1, "none": 2}


@cache
def _raw(source: str, name: str, dtype: str) -> Callable[..., None]:
    return cupy.RawKernel(f"typedef {_CUDA_TYPES[dtype]} T;\n{source}", name)


def _dense(X: Any, shape: tuple[int, ...]) -> Any:
    return cupy.ascontiguousarray(X if X.shape == shape else cupy.broadcast_to(X, shape))


@implements("softmax_cross_entropy", "cupy")
def softmax_cross_entropy(h: Any, labels: Any) -> tuple:
    """See `reference.softmax_cross_entropy`; a label out of range makes its member's loss NaN."""
    rows = cupy.broadcast_shapes(h.shape[:-1], labels.shape) if h.shape[:-1] != labels.shape else labels.shape
    lead, batch, classes = rows[:-1], rows[-1], h.shape[-1]
    members = math.prod(lead)
    scores = _dense(h, (*rows, classes))
    targets = _dense(labels.astype(cupy.int64, copy=False), rows)
    e = cupy.empty(scores.shape, dtype=h.dtype)
    loss, correct = cupy.empty(lead, dtype=h.dtype), cupy.empty(lead, dtype=cupy.int64)
    if members:
        kernel = _raw(SOFTMAX_CROSS_ENTROPY, "softmax_cross_entropy", h.dtype.name)
        threads = 32 * min(32, max(batch, 1))
        kernel((members,), (threads,), (scores, targets, e, loss, correct, cupy.int64(batch), cupy.int64(classes)))
    return e, loss, correct


@implements("reciprocal_derivative", "cupy")
def reciprocal_derivative(
    u: Any, d_sigma: Any, h: Any, damping: float, own_layer: str, normalize: bool, has_bias: bool
) -> tuple:
    """See `reference.reciprocal_derivative`."""
    lead = u.shape[:-1]
    if not lead == d_sigma.shape[:-1] == h.shape[:-1]:
        lead = cupy.broadcast_shapes(lead, d_sigma.shape[:-1], h.shape[:-1])
    n, n_in, rows = u.shape[-1], h.shape[-1], math.prod(lead)
    u, d_sigma, h = _dense(u, (*lead, n)), _dense(d_sigma, (*lead, n)), _dense(h, (*lead, n_in))
    s, delta = cupy.empty((*lead, n), dtype=u.dtype), cupy.empty((*lead, n), dtype=u.dtype)
    if s.size:
        kind = u.dtype.type
        counts = (cupy.int64(rows), cupy.int64(n), cupy.int64(n_in))
        flags = (cupy.int32(_OWN_LAYER[own_layer]), cupy.int32(normalize))
        kernel = _raw(RECIPROCAL_DERIVATIVE, "reciprocal_derivative", u.dtype.name)
        blocks = min((rows + 7) // 8, 65535)  # eight warps a block
        kernel((blocks,), (256,), (u, d_sigma, h, s, delta, kind(damping), kind(1 if has_bias else 0), *counts, *flags))
    return s, delta


# y is read and written: y ← y + scale·x. S is a dtype of its own, since learning rates may come in another precision.
ADD_SCALED = "y = y + T(scale) * x;"


@cache
def _add_scaled() -> cupy.ElementwiseKernel:
    return cupy.ElementwiseKernel("T x, S scale", "T y", ADD_SCALED, "add_scaled")


def _per_member(scale: Any, trailing: int) -> Any:
    return scale[..., *(None,) * trailing] if isinstance(scale, cupy.ndarray) else float(scale)


@implements("add_outer", "cupy")
def add_outer(W: Any, U: Any, V: Any, scale: Any) -> Any:
    """See `reference.add_outer`; writes into a C-contiguous `W`: cuBLAS accumulates (beta = 1), or one pass adds."""
    if not W.ndim == U.ndim == V.ndim == 2:
        lead = cupy.broadcast_shapes(W.shape[:-2], U.shape[:-2], V.shape[:-2])
        W = W if W.shape[:-2] == lead else cupy.broadcast_to(W, lead + W.shape[-2:])
    if not W.flags.c_contiguous:  # a copy also where strides are 0 and members would share their weights
        W = cupy.array(W, order="C")
    if not W.size or not U.shape[-2]:
        return W
    if W.ndim == 2:
        from cupy import cublas

        # A strided operand would make gemm copy W out and back.
        cublas.gemm("T", "N", cupy.ascontiguousarray(U), cupy.ascontiguousarray(V), out=W, alpha=scale, beta=1.0)
        return W
    _add_scaled()(cupy.matmul(U.swapaxes(-1, -2), V), _per_member(scale, 2), W)
    return W


@implements("sgd_update", "cupy")
def sgd_update(W: Any, b: Any, delta: Any, h: Any, lr: Any) -> tuple:
    """See `reference.sgd_update`; writes into `W` and `b`."""
    step = -lr / max(delta.shape[-2], 1)
    if b is not None:
        if not b.flags.c_contiguous:
            b = cupy.array(b, order="C")
        _add_scaled()(delta.sum(axis=-2), _per_member(step, 1), b)
    return add_outer(W, delta, h, step), b


@cache
def _gather() -> cupy.ElementwiseKernel:
    return cupy.ElementwiseKernel(
        "raw uint8 images, raw I index, int64 samples, int64 width, T scale, T offset",
        "T out",
        GATHER_SCALE,
        "gather_scale",
    )


@implements("gather_scale", "cupy", ("uint8",))
def gather_scale(images: Any, index: Any, scale: float, offset: float, dtype: Any) -> Any:
    """See `reference.gather_scale`; an index out of range makes its row NaN."""
    samples, width = images.shape
    out = cupy.empty((*index.shape, width), dtype=dtype)
    if out.size:
        _gather()(images, index, samples, width, float(scale), float(offset), out)
    return out


# W and the running means are read and written, in one pass. S is a dtype of its own, as in ADD_SCALED.
MOMENTUM = """
    v = momentum * v + g;
    w -= T(rate) * v;
"""
ADAM = """
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * (g * g);
    w -= T(rate) * (m / (sqrt(v) / root + epsilon));
"""


@cache
def _optimizer(name: str, body: str, numbers: str, means: str) -> cupy.ElementwiseKernel:
    return cupy.ElementwiseKernel(f"T g, S rate{numbers}", f"T w{means}", body, name)


def _writable(X: Any) -> Any:
    return X if X.flags.c_contiguous else cupy.array(X, order="C")


def _rate(lr: Any, W: Any) -> Any:
    return _per_member(lr, W.ndim - lr.ndim if isinstance(lr, cupy.ndarray) else 0)


@implements("momentum_update", "cupy")
def momentum_update(W: Any, v: Any, G: Any, lr: Any, momentum: float) -> tuple:
    """See `reference_optimizers.momentum_update`; writes into `W` and `v`."""
    W, v = _writable(W), _writable(v)
    if W.size:
        _optimizer("momentum_update", MOMENTUM, ", T momentum", ", T v")(G, _rate(lr, W), momentum, W, v)
    return W, v


@implements("adam_update", "cupy")
def adam_update(
    W: Any, m: Any, v: Any, G: Any, lr: Any, beta1: float, beta2: float, epsilon: float, step: int
) -> tuple:
    """See `reference_optimizers.adam_update`; writes into `W`, `m` and `v`."""
    W, m, v = _writable(W), _writable(m), _writable(v)
    if W.size:
        numbers = (beta1, 1 - beta1, beta2, 1 - beta2, math.sqrt(1 - beta2**step), epsilon)
        kernel = _optimizer(
            "adam_update", ADAM, ", T beta1, T rest1, T beta2, T rest2, T root, T epsilon", ", T m, T v"
        )
        kernel(G, _rate(lr / (1 - beta1**step), W), *numbers, W, m, v)
    return W, m, v
