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
from rfnumeric.nn.init import INITIALIZERS, get_initializer
from rfnumeric.nn.losses import LOSSES, Loss, MeanSquaredError, SoftmaxCrossEntropy, get_loss
from rfnumeric.nn.network import Network, Trace, init_network

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LOSSES",
    "Activation",
    "Identity",
    "LeakyReLU",
    "LeakySoftplus",
    "Loss",
    "MeanSquaredError",
    "Network",
    "SoftmaxCrossEntropy",
    "Tanh",
    "Trace",
    "get_activation",
    "get_initializer",
    "get_loss",
    "init_network",
    "reciprocal_diagonal",
]
