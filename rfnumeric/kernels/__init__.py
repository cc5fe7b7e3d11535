"""The hot loops. `reference` is the truth, in array-API code; faster twins are picked by the registry.

Call ``kernels.matmul(A, B)`` and so on: NumPy arrays get SciPy's BLAS and Numba, CuPy arrays get CUDA kernels, and any
other library, dtype or ``RFNUMERIC_KERNELS=reference`` gets the reference. A kernel *may* write into the arguments
that its docstring names and returns the result in any case, so callers always use what is returned.
"""

from rfnumeric.kernels import reference, reference_convolution, reference_linalg, reference_optimizers
from rfnumeric.kernels.registry import Kernel, accelerated_kernels, forced_reference, use_reference
from rfnumeric.kernels.window import Window

adam_update = Kernel(reference_optimizers.adam_update)
add_outer = Kernel(reference.add_outer)
average_pool = Kernel(reference_convolution.average_pool)
average_pool_pull = Kernel(reference_convolution.average_pool_pull)
bias_identity = Kernel(reference.bias_identity)
bias_leaky_relu = Kernel(reference.bias_leaky_relu)
bias_leaky_softplus = Kernel(reference.bias_leaky_softplus)
bias_sigmoid = Kernel(reference.bias_sigmoid)
bias_tanh = Kernel(reference.bias_tanh)
convolution = Kernel(reference_convolution.convolution)
convolution_grad = Kernel(reference_convolution.convolution_grad)
convolution_leaky_relu = Kernel(reference_convolution.convolution_leaky_relu)
convolution_pull = Kernel(reference_convolution.convolution_pull)
coupled_steps = Kernel(reference_linalg.coupled_steps)
gated_product = Kernel(reference.gated_product)
gather_scale = Kernel(reference.gather_scale)
gram_inverse = Kernel(reference.gram_inverse)
gram_pinv = Kernel(reference_linalg.gram_pinv)
image_patches = Kernel(reference_convolution.image_patches)
inverse_ratio = Kernel(reference_linalg.inverse_ratio)
kronecker_apply = Kernel(reference_linalg.kronecker_apply)
layer_leaky_relu = Kernel(reference.layer_leaky_relu)
local_add_outer = Kernel(reference_convolution.local_add_outer)
local_grad = Kernel(reference_convolution.local_grad)
local_product = Kernel(reference_convolution.local_product)
local_pull = Kernel(reference_convolution.local_pull)
matmul = Kernel(reference.matmul)
meyer_update = Kernel(reference_linalg.meyer_update)
momentum_update = Kernel(reference_optimizers.momentum_update)
penrose_norms = Kernel(reference_linalg.penrose_norms)
reciprocal_derivative = Kernel(reference.reciprocal_derivative)
sgd_update = Kernel(reference.sgd_update)
softmax_cross_entropy = Kernel(reference.softmax_cross_entropy)
solve_positive = Kernel(reference.solve_positive)

__all__ = [
    "Kernel",
    "Window",
    "accelerated_kernels",
    "adam_update",
    "add_outer",
    "average_pool",
    "average_pool_pull",
    "bias_identity",
    "bias_leaky_relu",
    "bias_leaky_softplus",
    "bias_sigmoid",
    "bias_tanh",
    "convolution",
    "convolution_grad",
    "convolution_leaky_relu",
    "convolution_pull",
    "coupled_steps",
    "forced_reference",
    "gated_product",
    "gather_scale",
    "gram_inverse",
    "gram_pinv",
    "image_patches",
    "inverse_ratio",
    "kronecker_apply",
    "layer_leaky_relu",
    "local_add_outer",
    "local_grad",
    "local_product",
    "local_pull",
    "matmul",
    "meyer_update",
    "momentum_update",
    "penrose_norms",
    "reciprocal_derivative",
    "sgd_update",
    "softmax_cross_entropy",
    "solve_positive",
    "use_reference",
]
