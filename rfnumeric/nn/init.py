"""Weight initializers. Each draws W of shape ``population + (n_out, n_in)`` from a stream."""

from __future__ import annotations

import math
from collections.abc import Callable

from rfnumeric.backend import Streams, array_namespace
from rfnumeric.typing import Array


def he_normal(streams: Streams, n_out: int, n_in: int) -> Array:
    """Draw normal weights of variance 2/n_in (He et al. 2015, doi:10.1109/ICCV.2015.123)."""
    return streams.normal((n_out, n_in)) * math.sqrt(2 / n_in)


def lecun_uniform(streams: Streams, n_out: int, n_in: int) -> Array:
    """Draw weights uniform on ±√(3/n_in), of variance 1/n_in (LeCun et al. 1998, doi:10.1007/3-540-49430-8_2)."""
    bound = math.sqrt(3 / n_in)
    return streams.uniform((n_out, n_in), -bound, bound)


def orthogonal(streams: Streams, n_out: int, n_in: int) -> Array:
    """Draw orthonormal rows (n_out ≤ n_in) or columns, uniformly distributed (Haar), so that W⁺ = Wᵀ.

    The Q factor of a normal matrix, R's diagonal made positive (Mezzadri 2007, arXiv:math-ph/0609050).
    """
    A = streams.normal((max(n_out, n_in), min(n_out, n_in)))
    xp = array_namespace(A)
    Q, R = xp.linalg.qr(A, mode="reduced")
    # 1 or -1, never sign(): a zero on R's diagonal must not empty a column of Q.
    signs = 1 - 2 * xp.astype(xp.linalg.diagonal(R) < 0, Q.dtype)
    Q = Q * signs[..., None, :]
    return Q if n_out >= n_in else xp.matrix_transpose(Q)


INITIALIZERS: dict[str, Callable[[Streams, int, int], Array]] = {
    "he-normal": he_normal,
    "lecun-uniform": lecun_uniform,
    "orthogonal": orthogonal,
}
"""Name → function of (streams, n_out, n_in)."""


def get_initializer(name: str) -> Callable[[Streams, int, int], Array]:
    """Return the initializer called `name`.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name not in INITIALIZERS:
        raise ValueError(f"init must be one of {', '.join(INITIALIZERS)}; got {name!r}.")
    return INITIALIZERS[name]
