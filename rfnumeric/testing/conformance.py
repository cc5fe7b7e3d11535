"""Conformance suites for a pseudoinverse, an activation and a backend: plain functions that raise AssertionError."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rfnumeric import kernels
from rfnumeric.backend import Backend, Streams, array_namespace, copy, device_of, eps, get_backend, to_numpy
from rfnumeric.nn import Activation, init_network, reciprocal_diagonal
from rfnumeric.testing.penrose import assert_penrose
from rfnumeric.typing import Array

PINV_SHAPES = ((1, 1), (1, 5), (5, 1), (4, 4), (6, 3), (3, 6), (20, 20), (40, 10), (10, 40))
POINTS = (-7.3, -3.1, -1.7, -0.9, -0.31, -0.07, 0.05, 0.23, 0.61, 1.3, 2.9, 6.1)
"""Where activations are examined by default: no kink of the usual ones lies here."""


def check_pinv(
    function: Callable[[Array], Array],
    backend: str | Backend = "numpy",
    dtype: str = "float64",
    *,
    condition_number: float | None = None,
    rank_deficient: bool = True,
    c: float = 30.0,
) -> None:
    """Check a Moore-Penrose inverse: Penrose conditions, shapes, dtype, device, population axis, input untouched.

    Parameters
    ----------
    function : callable
        A (..., m, n) → A⁺ (..., n, m).
    backend : str or Backend
        What its arrays are made with.
    dtype : {"float32", "float64"}
    condition_number : float, optional
        Of the worst matrices; default eps^(−1/4), which leaves room for methods that go through a Gram matrix.
    rank_deficient : bool
        Whether matrices of less than full rank, and zero, are among the cases.
    c : float
        Largest residual; see `assert_penrose`.

    Raises
    ------
    AssertionError
        Names the case and the property that fails.

    Examples
    --------
    In a test file, one parametrized line:
    ``@pytest.mark.parametrize("dtype", ["float32", "float64"])``
    ``def test_my_pinv(dtype): check_pinv(my_pinv, "numpy", dtype)``

    >>> import numpy as np
    >>> check_pinv(np.linalg.pinv)
    >>> check_pinv(lambda A: np.swapaxes(A, -1, -2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: pinv of a (4, 4) matrix of rank 2, condition number 8.19e+03: X (4, 4) is no ...
    """
    chosen = get_backend(backend, dtype=dtype)
    kappa = eps(chosen.dtype) ** -0.25 if condition_number is None else condition_number
    rng = np.random.default_rng(0)
    for m, n in PINV_SHAPES:
        full = min(m, n)
        for rank in sorted({full, *((0, full // 2) if rank_deficient else ())}):
            for lead in ((), (3,)):
                A = chosen.asarray(_with_spectrum(rng, (*lead, m, n), np.geomspace(1.0, 1 / kappa, rank)))
                case = (
                    f"pinv of a {tuple(A.shape)} matrix of rank {rank}, condition number {kappa if rank > 1 else 1:.3g}"
                )
                _check_one_pinv(function, chosen, A, {0: 0.0, 1: 1.0}.get(rank, kappa), case, c)


def _check_one_pinv(
    function: Callable[[Array], Array], chosen: Backend, A: Array, norm: float, case: str, c: float
) -> None:
    before = to_numpy(A).copy()
    X = function(A)
    _require(np.array_equal(to_numpy(A), before), f"{case}: the argument was written to; work on a copy.")
    _require_like(X, (*A.shape[:-2], A.shape[-1], A.shape[-2]), chosen, case)
    # Without a rank cutoff X has entries near 1/eps; the residuals, relative to ‖X‖, cannot see that.
    largest = float(np.linalg.norm(_host(X), 2, axis=(-2, -1)).max())
    _require(
        largest <= 2 * norm,
        f"{case}: ‖A⁺‖₂ must be {norm:.3g}; got {largest:.3g}. Treat singular values below max(m, n)·eps·σ₁ as zero.",
    )
    try:
        assert_penrose(A, X, c=c)
    except AssertionError as error:
        raise AssertionError(f"{case}: {error}") from None


def _with_spectrum(rng: np.random.Generator, shape: tuple[int, ...], sigma: np.ndarray) -> np.ndarray:
    *lead, m, n = shape
    U, V = (np.linalg.qr(rng.standard_normal((*lead, k, k)))[0][..., : len(sigma)] for k in (m, n))
    return (U * sigma) @ np.swapaxes(V, -1, -2)


def check_activation(
    activation: Activation,
    backend: str | Backend = "numpy",
    dtype: str = "float64",
    *,
    points: Sequence[float] = POINTS,
    bijective: bool = True,
    c: float = 16.0,
) -> None:
    """Check an activation: σ' against central differences, σ⁻¹(σ(a)) = a, D D⁺ D = D, the bias, the population axis.

    Parameters
    ----------
    activation : Activation
        A subclass that implements `evaluate`, and `inverse` if bijective.
    backend : str or Backend
    dtype : {"float32", "float64"}
    points : sequence of float
        Where it is examined; keep eps^(1/3)·max(1, |a|) away from kinks.
    bijective : bool
        Whether σ has an inverse.
    c : float
        Factor of the tolerances: rounding, c·eps·(1 + |a|); differences of step eps^(1/3), c·eps^(2/3)·(1 + |a|), which
        holds for |σ'''| of order one; inverses, c·eps·(1 + |a|)·(1 + 1/|σ'|).

    Raises
    ------
    AssertionError
        Names the property and the point.

    Examples
    --------
    >>> from rfnumeric.nn import LeakyReLU, Tanh
    >>> check_activation(LeakyReLU(0.1))
    >>> class WrongTanh(Tanh):
    ...     def evaluate(self, z, b):
    ...         a, h, d_sigma = super().evaluate(z, b)
    ...         return a, h, d_sigma * d_sigma
    >>> check_activation(WrongTanh())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: WrongTanh(): derivative at a = -7.3 must be ... by central differences; got ...
    """
    chosen = get_backend(backend, dtype=dtype)
    a = chosen.asarray(list(points))
    h, d = activation.forward(a), activation.derivative(a)
    for name, value in (("forward", h), ("derivative", d)):
        _require_like(value, a.shape, chosen, f"{activation!r}: {name}")
    unit = eps(chosen.dtype)
    host = to_numpy(a).astype(np.float64)
    step = chosen.asarray(unit ** (1 / 3) * np.maximum(1.0, np.abs(host)))
    up, down = a + step, a - step
    slope = _host(activation.forward(up) - activation.forward(down)) / _host(up - down)
    _compare(
        activation, "derivative", host, d, slope, c * unit ** (2 / 3) * (1 + np.abs(host)), "by central differences"
    )
    D = _host(d)
    D_pinv = _host(activation.reciprocal_derivative(a))
    _compare(activation, "D D⁺ D", host, D * D_pinv * D, D, c * unit * np.abs(D), "as D")
    for damping in (0.0, 0.1):
        wanted = _host(reciprocal_diagonal(d, damping))
        got = activation.reciprocal_derivative(a, damping)
        what = f"reciprocal_derivative with damping {damping}"
        _compare(activation, what, host, got, wanted, c * unit * np.abs(wanted), "d/(d² + λ)")
    if bijective:
        bound = c * unit * (1 + np.abs(host)) * (1 + 1 / np.abs(np.where(D == 0, unit, D)))
        _compare(activation, "inverse(forward(a))", host, activation.inverse(h), host, bound, "as a")
    _check_evaluate(activation, chosen, a, c * unit)


def _check_evaluate(activation: Activation, chosen: Backend, a: Array, tolerance: float) -> None:
    """Demand that `evaluate` add the bias, take population axes and agree with `forward` and `derivative`."""
    xp = chosen.xp
    z = xp.stack([xp.stack([a, 0.5 * a]), xp.stack([a + 0.125, 0.25 * a])])
    b = xp.stack([0.25 * a, a - 1])
    for bias in (None, b):
        total = z if bias is None else z + bias[:, None, :]
        wanted = (total, activation.forward(total), activation.derivative(total))
        got = activation.evaluate(copy(z), bias)
        for name, value, target in zip(("a", "h", "d_sigma"), got, wanted, strict=True):
            what = f"{activation!r}: {name} of evaluate with{'out' if bias is None else ''} bias"
            _require_like(value, z.shape, chosen, what)
            error = np.abs(_host(value) - _host(target))
            allowed = tolerance * (1 + np.abs(_host(total)))
            _require(
                bool((error <= allowed).all()), f"{what} differs by {error.max():.3g} from forward and derivative."
            )


def _compare(
    activation: Activation, what: str, a: np.ndarray, got: Any, wanted: np.ndarray, bound: np.ndarray, how: str
) -> None:
    got = _host(got)
    bad = ~(np.abs(got - wanted) <= bound)  # true for NaN
    if bad.any():
        i = int(np.argmax(bad))
        raise AssertionError(
            f"{activation!r}: {what} at a = {a[i]:g} must be {wanted[i]:.6g} {how}; got {got[i]:.6g} "
            f"(allowed difference {bound[i]:.2g})."
        )


def check_backend(backend: str | Backend, dtype: str = "float64", *, c: float = 100.0) -> None:
    """Check that a backend computes what NumPy does: transfers, random numbers, linear algebra, kernels, a network.

    Parameters
    ----------
    backend : str or Backend
        A name, or a `Backend` of your own around an array-API namespace.
    dtype : {"float32", "float64"}
        Used where `backend` is a name.
    c : float
        Factor of the tolerances, c·eps·dimension.

    Raises
    ------
    AssertionError
        Names the property that fails.

    Examples
    --------
    >>> check_backend("numpy", "float32")
    """
    chosen = get_backend(backend, dtype=dtype)
    host = get_backend("numpy", dtype=chosen.dtype_name)
    values = np.asarray([[0.5, -1.25, 3.0], [2.0, 0.0, -0.125]])
    for kind in (chosen.dtype_name, "int64", "uint8", "bool"):
        data = np.abs(values).astype(kind)
        data.flags.writeable = False  # as those of a memory-mapped file are
        placed = chosen.asarray(data, kind)
        _require(array_namespace(placed) is chosen.xp, f"{chosen.name}: array_namespace does not find the namespace.")
        _require(device_of(placed) == chosen.device, f"{chosen.name}: asarray placed {kind} on {device_of(placed)}.")
        back = to_numpy(placed)
        same = back.dtype == data.dtype and np.array_equal(back, data)
        _require(same, f"{chosen.name}: {kind} data did not survive the way to the device and back.")
    draws = (Streams([3, 4], b).child("x", 1).normal((5, 6)) for b in (chosen, host))
    _require(np.array_equal(*map(to_numpy, draws)), f"{chosen.name}: the same seed draws other numbers than on NumPy.")
    _check_linear_algebra(chosen, c * eps(chosen.dtype))
    _check_network(chosen, host, c * eps(chosen.dtype))


def _check_linear_algebra(chosen: Backend, tolerance: float) -> None:
    """Try the functions of the namespace that the algorithms use: products, QR, SVD, symmetric eigenvalues."""
    xp = chosen.xp
    A = Streams([0, 1], chosen).child("A").normal((6, 4))
    At = xp.matrix_transpose(A)
    Q, R = xp.linalg.qr(A, mode="reduced")
    U, S, Vh = xp.linalg.svd(A, full_matrices=False)
    values, vectors = xp.linalg.eigh(xp.matmul(At, A))
    pairs = {
        "qr": (xp.matmul(Q, R), A),
        "svd": (xp.matmul(U * S[..., None, :], Vh), A),
        "svdvals": (xp.linalg.svdvals(A), S),
        "eigh": (xp.matmul(vectors * values[..., None, :], xp.matrix_transpose(vectors)), xp.matmul(At, A)),
        "kernels.matmul": (kernels.matmul(At, A), xp.matmul(At, A)),
    }
    size = 6 * float(np.abs(_host(A)).max()) ** 2
    for name, (got, wanted) in pairs.items():
        error = float(np.abs(_host(got) - _host(wanted)).max())
        _require(
            error <= tolerance * size, f"{chosen.name}: {name} is off by {error:.3g}; allowed {tolerance * size:.3g}."
        )


def _check_network(chosen: Backend, host: Backend, tolerance: float) -> None:
    for name in ("identity", "leaky-relu", "leaky-softplus", "sigmoid", "tanh"):
        traces = []
        for b in (chosen, host):
            network = init_network((7, 6, 5, 3), Streams([0, 1], b), hidden=name, output=name, bias=True)
            traces.append(network.forward(Streams([0, 1], b).child("x").normal((4, 7))))
        for l in (1, 2, 3):
            for part in ("a", "h", "d_sigma"):
                got, wanted = (_host(getattr(trace, part)[l]) for trace in traces)
                error, size = np.abs(got - wanted).max(), 7 * (1 + np.abs(wanted).max())
                what = f"{chosen.name}: {part}[{l}] of a {name} network differs by {error:.3g} from NumPy's"
                _require(bool(error <= tolerance * size), f"{what}; allowed {tolerance * size:.3g}.")


def _host(a: Any) -> np.ndarray:
    return to_numpy(a).astype(np.float64)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _require_like(value: Array, shape: tuple[int, ...], chosen: Backend, what: str) -> None:
    """Demand shape, dtype, library and device of a result, and finite entries."""
    _require(tuple(value.shape) == tuple(shape), f"{what}: must have shape {tuple(shape)}; got {tuple(value.shape)}.")
    _require(value.dtype == chosen.dtype, f"{what}: must have dtype {chosen.dtype}; got {value.dtype}.")
    _require(array_namespace(value) is chosen.xp, f"{what}: must be an array of {chosen.name}; got {type(value)}.")
    _require(device_of(value) == chosen.device, f"{what}: must live on {chosen.device}; got {device_of(value)}.")
    bad = int((~np.isfinite(to_numpy(value))).sum())
    _require(not bad, f"{what}: {bad} of {math.prod(value.shape)} entries are not finite.")
