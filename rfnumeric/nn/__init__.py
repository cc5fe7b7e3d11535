"""Layers and networks: activations, losses, initializers, and the forward pass that leaves a trace."""

from rfnumeric.nn.activations import (
    ACTIVATIONS,
    Activation,
    Identity,
    LeakyReLU,
    LeakySoftplus,
    Tanh,
    get_activation,
    reciprocal_diagonal,
)
from rfnumeric.nn.gauss_newton import gauss_newton_step
from rfnumeric.nn.init import INITIALIZERS, get_initializer
from rfnumeric.nn.jacobians import (
    JacobianOperator,
    MatrixFree,
    activation_jacobians,
    finite_difference_jacobian,
    jacobian,
    pull_back,
    push_forward,
)
from rfnumeric.nn.losses import LOSSES, Loss, MeanSquaredError, SoftmaxCrossEntropy, get_loss
from rfnumeric.nn.network import Network, Trace, init_network
from rfnumeric.nn.reciprocals import (
    LayerReciprocal,
    ReciprocalOperator,
    activation_reciprocals,
    angle,
    reciprocal_properties,
    weight_reciprocal,
)

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LOSSES",
    "Activation",
    "Identity",
    "JacobianOperator",
    "LayerReciprocal",
    "LeakyReLU",
    "LeakySoftplus",
    "Loss",
    "MatrixFree",
    "MeanSquaredError",
    "Network",
    "ReciprocalOperator",
    "SoftmaxCrossEntropy",
    "Tanh",
    "Trace",
    "activation_jacobians",
    "activation_reciprocals",
    "angle",
    "finite_difference_jacobian",
    "gauss_newton_step",
    "get_activation",
    "get_initializer",
    "get_loss",
    "init_network",
    "jacobian",
    "pull_back",
    "push_forward",
    "reciprocal_diagonal",
    "reciprocal_properties",
    "weight_reciprocal",
]
