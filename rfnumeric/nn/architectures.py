"""Networks of the literature by name, as lists of maps for `init_network`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from rfnumeric import plugins
from rfnumeric.nn.convolution import Conv2d
from rfnumeric.nn.dense import Dense
from rfnumeric.nn.layer import Layer
from rfnumeric.nn.local import LocallyConnected2d
from rfnumeric.nn.maps import Map
from rfnumeric.nn.pooling import AvgPool2d

Shape = tuple[int, int, int]
"""(channels, rows, columns)."""

IMAGES: dict[int, Shape] = {784: (1, 28, 28), 3072: (3, 32, 32)}
"""Shapes of the images that data sets give as rows of so many numbers: MNIST's and CIFAR's."""


def image_shape(n_0: int) -> Shape:
    """Return (channels, rows, columns) of images that come as rows of `n_0` numbers.

    Raises
    ------
    ValueError
        If no known data set has images of that size.
    """
    if n_0 not in IMAGES:
        known = ", ".join(f"{n} ({' × '.join(map(str, shape))})" for n, shape in IMAGES.items())
        raise ValueError(
            f"images of {n_0} numbers have no known shape; known are {known}. "
            "Give in_shape = (channels, rows, columns)."
        )
    return IMAGES[n_0]


def mlp(in_shape: Shape | int, classes: int, sizes: Sequence[int] = (400,)) -> list[Map]:
    """Return dense layers with hidden widths `sizes`.

    Parameters
    ----------
    in_shape : tuple of int, or int
        Shape of the images, or their number of entries.
    classes : int
    sizes : sequence of int
        Hidden widths.

    Examples
    --------
    >>> mlp(784, 10, [100])
    [Dense(inputs=784, outputs=100), Dense(inputs=100, outputs=10)]
    """
    n_0 = in_shape if isinstance(in_shape, int) else math.prod(in_shape)
    return [Dense(n, m) for n, m in pairwise([n_0, *sizes, classes])]


def papers(in_shape: Shape | int, classes: int) -> list[Map]:
    """Return the dense network of the papers' Table 1: hidden layers 1000, 500, 100 for CIFAR, else 400, 200, 100, 50.

    Parameters
    ----------
    in_shape : tuple of int, or int
        Shape of the images, or their number of entries.
    classes : int
    """
    n_0 = in_shape if isinstance(in_shape, int) else math.prod(in_shape)
    return mlp(n_0, classes, (1000, 500, 100) if n_0 == 3072 else (400, 200, 100, 50))


def lenet(
    in_shape: Shape | int, classes: int, channels: tuple[int, int] = (20, 50), kernel: int = 5, hidden: int = 500
) -> list[Map]:
    """Return the LeNet of Phaseless Alignment Learning: 5×5×20, pool 2, 5×5×50, pool 2, dense 500, dense.

    Their pooling takes the maximum. Here it averages, as in the first LeNet, because reciprocals need linear maps.

    Parameters
    ----------
    in_shape : tuple of int, or int
        (C, H, W), or the number of entries of a known data set's images.
    classes : int
    channels : tuple of int
        Of the two convolutions.
    kernel : int
    hidden : int
        Width of the dense layer.

    References
    ----------
    K. Max et al., Learning efficient backprojections across cortical hierarchies in real time, Nature Machine
    Intelligence 6 (2024) 619, doi:10.1038/s42256-024-00845-3.
    Y. LeCun et al., Proceedings of the IEEE 86 (1998) 2278, doi:10.1109/5.726791.

    Examples
    --------
    >>> [layer.n_out for layer in lenet((3, 32, 32), 10)]
    [15680, 3920, 5000, 1250, 500, 10]
    """
    layers: list[Map] = []
    shape = _shape(in_shape)
    for n in channels:
        convolution = Conv2d(shape, n, kernel)
        pool = AvgPool2d(convolution.out_shape, 2)
        layers += [convolution, pool]
        shape = pool.out_shape
    return [*layers, Dense(layers[-1].n_out, hidden), Dense(hidden, classes)]


def local(
    in_shape: Shape | int,
    classes: int,
    layers: Sequence[tuple[int, int, int]] = ((5, 64, 2), (5, 128, 2), (3, 256, 1)),
    hidden: int = 1024,
) -> list[Map]:
    """Return Bartunov et al.'s locally connected network for CIFAR: 5×5×64/2, 5×5×128/2, 3×3×256, dense 1024, dense.

    Images are padded by half a kernel, so that strides alone make them smaller.

    Parameters
    ----------
    in_shape : tuple of int, or int
        (C, H, W), or the number of entries of a known data set's images.
    classes : int
    layers : sequence of (kernel, channels, stride)
    hidden : int
        Width of the dense layer.

    References
    ----------
    S. Bartunov et al., Assessing the scalability of biologically-motivated deep learning algorithms and architectures,
    NeurIPS 2018, arXiv:1807.04587.

    Examples
    --------
    >>> [layer.n_out for layer in local((3, 32, 32), 10)]
    [16384, 8192, 16384, 1024, 10]
    """
    shape, maps = _shape(in_shape), []
    for kernel, channels, stride in layers:
        layer = LocallyConnected2d(shape, channels, kernel, stride, kernel // 2)
        maps.append(layer)
        shape = layer.out_shape
    return [*maps, Dense(maps[-1].n_out, hidden), Dense(hidden, classes)]


def vgg(
    in_shape: Shape | int, classes: int, blocks: Sequence[tuple[int, ...]] = ((32, 32), (64, 64), (128, 128))
) -> list[Map]:
    """Return a small network in VGG's manner: blocks of 3×3 convolutions, average pooling by 2 behind each.

    Parameters
    ----------
    in_shape : tuple of int, or int
        (C, H, W), or the number of entries of a known data set's images.
    classes : int
    blocks : sequence of tuple of int
        Channels of each block's convolutions.

    References
    ----------
    K. Simonyan and A. Zisserman, Very deep convolutional networks for large-scale image recognition, ICLR 2015,
    arXiv:1409.1556.

    Examples
    --------
    >>> [layer.n_out for layer in vgg((3, 32, 32), 10)]
    [32768, 32768, 8192, 16384, 16384, 4096, 8192, 8192, 2048, 256, 10]
    """
    shape = _shape(in_shape)
    maps: list[Map] = []
    for block in blocks:
        for channels in block:
            convolution = Conv2d(shape, channels, 3, padding=1)
            pool = AvgPool2d(convolution.out_shape, 2)
            maps.append(convolution)
            shape = convolution.out_shape
        maps.append(pool)
        shape = pool.out_shape
    hidden = 2 * blocks[-1][-1]
    return [*maps, Dense(maps[-1].n_out, hidden), Dense(hidden, classes)]


def _shape(in_shape: Shape | int) -> Shape:
    return image_shape(in_shape) if isinstance(in_shape, int) else in_shape


ARCHITECTURES: dict[str, Callable[..., list[Map]]] = {f.__name__: f for f in (papers, mlp, lenet, local, vgg)}
"""Name → function of the images' shape (or size), the number of classes and options of its own."""


def architecture(name: str) -> Callable[..., Sequence[Map | Layer]]:
    """Return the function that describes the network called `name`, of this package or of another one.

    Raises
    ------
    ValueError
        If there is none.
    PluginError
        If another package's cannot be imported.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    others = plugins.found(plugins.NETWORKS)
    if name not in others:
        raise ValueError(f"network must be one of {', '.join((*ARCHITECTURES, *others))}; got {name!r}.")
    return plugins.load(plugins.NETWORKS, name)


def get_architecture(name: str, in_shape: Shape | int, classes: int, **options: Any) -> Sequence[Map | Layer]:
    """Return the layers of the network called `name`, for `init_network`.

    Parameters
    ----------
    name : {"papers", "mlp", "lenet", "local", "vgg"}, or str
        Or the name that another package declares as an entry point ``rfnumeric.networks``.
    in_shape : tuple of int, or int
        (C, H, W), or the number of entries of a known data set's images.
    classes : int
    **options
        Of the function of that name.

    Raises
    ------
    ValueError
        If the name or an option is unknown, or the images' shape is and the network needs it, or layers do not fit on
        them.

    Examples
    --------
    >>> [layer.n_out for layer in get_architecture("papers", 784, 10)]
    [400, 200, 100, 50, 10]
    """
    function = architecture(name)
    known = [p.name for p in inspect.signature(function).parameters.values() if p.default is not p.empty]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"network {name!r} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}. Leave it out."
        )
    return function(in_shape, classes, **options)
