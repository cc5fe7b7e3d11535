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
from rfnumeric.nn.build import init_network, unroll
from rfnumeric.nn.dense import Dense
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
from rfnumeric.nn.layer import Layer, Source
from rfnumeric.nn.losses import LOSSES, Loss, MeanSquaredError, SoftmaxCrossEntropy, get_loss
from rfnumeric.nn.maps import Map
from rfnumeric.nn.network import Network
from rfnumeric.nn.reciprocals import (
    LayerReciprocal,
    ReciprocalOperator,
    activation_reciprocals,
    angle,
    reciprocal_properties,
    weight_reciprocal,
)
from rfnumeric.nn.sweep import backward
from rfnumeric.nn.trace import Trace

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LOSSES",
    "Activation",
    "Dense",
    "Identity",
    "JacobianOperator",
    "Layer",
    "LayerReciprocal",
    "LeakyReLU",
    "LeakySoftplus",
    "Loss",
    "Map",
    "MatrixFree",
    "MeanSquaredError",
    "Network",
    "ReciprocalOperator",
    "SoftmaxCrossEntropy",
    "Source",
    "Tanh",
    "Trace",
    "activation_jacobians",
    "activation_reciprocals",
    "angle",
    "backward",
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
    "unroll",
    "weight_reciprocal",
]
