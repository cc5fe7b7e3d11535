"""What one forward pass leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field

from rfnumeric.typing import Array


@dataclass
class Trace:
    """Everything that one forward pass leaves behind; nothing else carries activations.

    Attributes
    ----------
    h : list of array, shape (..., batch, n_l)
        ``h[0]`` is the input, ``h[l]`` the activation of layer l.
    a : list of array, shape (..., batch, n_l)
        Pre-activations; ``a[0]`` is None.
    d_sigma : list of array, shape (..., batch, n_l)
        σ'(a_l), the diagonal of D_l; ``d_sigma[0]`` is None.
    delta : list of array, shape (..., batch, n_l)
        What multiplies h_{l−1}ᵀ in the update; empty until a rule has filled it.
    """

    h: list[Array]
    a: list[Array] = field(default_factory=lambda: [None])
    d_sigma: list[Array] = field(default_factory=lambda: [None])
    delta: list[Array] = field(default_factory=list)
