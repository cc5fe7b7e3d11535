"""Layers and networks: activations, losses, initializers, and the forward pass that leaves a trace."""

from rfnumeric.nn.activations import (
    ACTIVATIONS,
    Activation,
    Identity,
    LeakyReLU,
    LeakySoftplus,
    Sigmoid,
    Tanh,
    get_activation,
    reciprocal_diagonal,
)
from rfnumeric.nn.architectures import ARCHITECTURES, architecture, get_architecture
from rfnumeric.nn.build import init_network, unroll
from rfnumeric.nn.convolution import Conv2d
from rfnumeric.nn.dense import Dense
from rfnumeric.nn.grams import Gram, ScalarGram
from rfnumeric.nn.init import INITIALIZERS, get_initializer
from rfnumeric.nn.layer import Layer, Source
from rfnumeric.nn.local import LocallyConnected2d
from rfnumeric.nn.losses import LOSSES, Loss, MeanSquaredError, SoftmaxCrossEntropy, get_loss
from rfnumeric.nn.maps import Map
from rfnumeric.nn.network import Network
from rfnumeric.nn.pooling import AvgPool2d, Strided2d
from rfnumeric.nn.sweep import backward
from rfnumeric.nn.trace import Trace

__all__ = [
    "ACTIVATIONS",
    "ARCHITECTURES",
    "INITIALIZERS",
    "LOSSES",
    "Activation",
    "AvgPool2d",
    "Conv2d",
    "Dense",
    "Gram",
    "Identity",
    "Layer",
    "LeakyReLU",
    "LeakySoftplus",
    "LocallyConnected2d",
    "Loss",
    "Map",
    "MeanSquaredError",
    "Network",
    "ScalarGram",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Source",
    "Strided2d",
    "Tanh",
    "Trace",
    "architecture",
    "backward",
    "get_activation",
    "get_architecture",
    "get_initializer",
    "get_loss",
    "init_network",
    "reciprocal_diagonal",
    "unroll",
]
