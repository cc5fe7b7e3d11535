"""What users pass: every public function of linalg computes it as it would the plain float64 arrays, or refuses it."""

from __future__ import annotations

import inspect
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

from rfnumeric import linalg
from rfnumeric.backend import get_backend, to_numpy
from rfnumeric.linalg import (
    CoupledRule,
    GramNewton,
    Hyperpower,
    KroneckerOperator,
    PinvOperator,
    PinvTracker,
    RecursiveLeastSquares,
)

# Integers that every precision holds exactly, so that all ways to write them mean the same numbers.
A = np.asarray([[3.0, 1.0, 0.0], [1.0, 2.0, 1.0]])
X = np.linalg.pinv(A)
S = np.asarray([[4.0, 1.0], [1.0, 3.0]])
ROWS = np.asarray([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]])
TALL, WIDE = np.asarray([1.0, 2.0]), np.asarray([1.0, 0.0, 2.0])


def _value(result: Any) -> Any:
    return getattr(result, "value", result)


def _update_gram_newton(B: Any) -> Any:
    inverse = GramNewton(A)
    return inverse.update(B).value


def _track(c: Any, d: Any) -> Any:
    return PinvTracker(A).rank_one(c, d)


def _append(a: Any) -> Any:
    return PinvTracker(A).append_column(a)


def _learn(M: Any, h: Any, y: Any) -> Any:
    rls = RecursiveLeastSquares(M, 0.5)
    rls.step(h, y)
    return rls.M


# Name → (call, its arrays in float64, whether they may be complex). One entry at least for each function or class of
# `rfnumeric.linalg.__all__` that takes arrays: `test_every_public_name_has_a_case`.
CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...], bool]] = {
    "CoupledRule": (lambda U, V: CoupledRule(U, V).run().value, (A, X), True),
    "GramNewton": (lambda A: GramNewton(A).result.value, (A,), True),
    "GramNewton.update": (_update_gram_newton, (A + 1,), False),
    "Hyperpower": (lambda A, X0: Hyperpower(A, X0).run().value, (S, S / 32), True),
    "KroneckerOperator": (lambda A, B: KroneckerOperator(A, B).to_dense(), (A, S), True),
    "KroneckerOperator.matvec": (lambda x: KroneckerOperator(S, S).matvec(x), (np.arange(4.0),), True),
    "KroneckerOperator.rmatvec": (lambda x: KroneckerOperator(S, A).rmatvec(x), (np.arange(4.0),), True),
    "KroneckerOperator.matmat": (lambda B: KroneckerOperator(S, S).matmat(B), (np.eye(4, 2),), True),
    "KroneckerOperator.rmatmat": (lambda B: KroneckerOperator(S, S).rmatmat(B), (np.eye(4, 2),), True),
    "KroneckerOperator.@": (lambda x: KroneckerOperator(S, S) @ x, (np.arange(4.0),), True),
    "PinvOperator": (lambda A: PinvOperator(A).to_dense(), (A,), True),
    "PinvOperator.matvec": (lambda b: PinvOperator(A).matvec(b), (TALL,), True),
    "PinvOperator.rmatvec": (lambda c: PinvOperator(A).rmatvec(c), (WIDE,), True),
    "PinvOperator.matmat": (lambda B: PinvOperator(A).matmat(B), (S,), True),
    "PinvOperator.rmatmat": (lambda C: PinvOperator(A).rmatmat(C), (ROWS.T,), True),
    "PinvOperator.@": (lambda B: PinvOperator(A) @ B, (S,), True),
    "PinvTracker": (lambda A: PinvTracker(A).X, (A,), True),
    "PinvTracker.rank_one": (_track, (TALL, WIDE), False),
    "PinvTracker.append_column": (_append, (TALL,), False),
    "RecursiveLeastSquares": (_learn, (np.zeros((1, 2)), TALL, np.ones(1)), False),
    "append_column": (linalg.append_column, (A, X, TALL), True),
    "autoencoder_fixed_point": (linalg.autoencoder_fixed_point, (A, np.diag([1.0, 2.0, 3.0])), True),
    "autoencoder_step": (lambda *arrays: linalg.autoencoder_step(*arrays, 0.25), (X, A, ROWS), False),
    "ben_israel_cohen": (lambda A: linalg.ben_israel_cohen(A).value, (A,), True),
    "condition_number": (linalg.condition_number, (A,), True),
    "coupled_rule": (lambda U, V: linalg.coupled_rule(U, V).value, (A, X), True),
    "damped_pinv": (lambda A: linalg.damped_pinv(A, 0.5), (A,), True),
    "delete_column": (lambda A, X: linalg.delete_column(A, X, 1), (A, X), True),
    "hinton_mcclelland_step": (lambda *arrays: linalg.hinton_mcclelland_step(*arrays, 0.25), (A, X, ROWS), False),
    "hyperpower": (lambda A: linalg.hyperpower(A).value, (A,), True),
    "logistic_flow": (lambda P: linalg.logistic_flow(P, 0.5), (S,), True),
    "opium_light_step": (linalg.opium_light_step, (np.zeros((1, 2)), TALL, np.ones(1)), False),
    "penrose_residuals": (lambda A, X: linalg.penrose_residuals(A, X)[:4], (A, X), True),
    "pinv": (linalg.pinv, (A,), True),
    "rank_k_update": (linalg.rank_k_update, (A, np.linalg.inv(A @ A.T), TALL[:, None], WIDE[:, None]), True),
    "rank_one_update": (lambda *arrays: linalg.rank_one_update(*arrays).value, (A, X, TALL, WIDE), True),
    "recirculation_step": (lambda *arrays: linalg.recirculation_step(*arrays, 0.25), (A, X, ROWS), True),
    "ridge_solution": (lambda H, Y: linalg.ridge_solution(H, Y, 0.5), (ROWS, S), False),
    "satisfied_conditions": (linalg.satisfied_conditions, (A, X), True),
    "weight_reciprocal_operator": (lambda h, S: linalg.weight_reciprocal_operator(h, S).to_dense(), (WIDE, A), True),
}
STATEFUL = {"PinvTracker.rank_one", "RecursiveLeastSquares"}  # a later array takes the dtype of the first one
RESULTS = {
    "Drift",
    "IterationResult",
    "PenroseResiduals",
    "PinvInfo",
    "RankOneUpdate",
}  # made by the library, not by users


def _flat(result: Any) -> list[np.ndarray]:
    if isinstance(result, set):
        return [np.asarray(sorted(result))]
    if isinstance(result, tuple | list):
        return [part for piece in result for part in _flat(piece)]
    return [to_numpy(result)]


def _call(name: str, arrays: tuple[Any, ...]) -> list[np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return _flat(CASES[name][0](*arrays))


def _equal(got: list[np.ndarray], expected: list[np.ndarray], e: float) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert type(one) is np.ndarray or np.isscalar(one) or one.ndim == 0
        # Up to 30 iterations of products of ten numbers, of matrices with κ < 10.
        np.testing.assert_allclose(one, other, rtol=3000 * e, atol=3000 * e)


def test_every_public_name_has_a_case() -> None:
    named = {name.split(".")[0] for name in CASES}
    assert set(linalg.__all__) - RESULTS == named & set(linalg.__all__)


def test_every_public_function_passes_through_the_gate() -> None:
    for name in set(linalg.__all__) - RESULTS:
        public = getattr(linalg, name)
        if not inspect.isclass(public):
            assert public.gated_axes, name
            continue
        for method, function in inspect.getmembers(public, inspect.isfunction):
            if method != "__init__" and method.startswith("_"):
                continue
            if any("Array" in str(p.annotation) for p in inspect.signature(function).parameters.values()):
                assert function.gated_axes, f"{name}.{method}"


def swapped(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder())


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a: np.ndarray) -> np.ndarray:
    memory = np.zeros(a.nbytes + 1, dtype=np.uint8)[1:].view(a.dtype).reshape(a.shape)
    memory[...] = a
    return memory


class Labelled(np.ndarray):
    """A subclass with ideas of its own about arithmetic."""

    def __mul__(self, other: Any) -> Any:
        raise AssertionError("the subclass's own arithmetic was used")

    __matmul__ = __add__ = __sub__ = __rmul__ = __mul__


class Lazy:
    """An object of another package that NumPy can read."""

    def __init__(self, a: np.ndarray) -> None:
        self.a = a

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.a


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "nested lists": np.ndarray.tolist,
    "tuples": lambda a: tuple(map(tuple, a)) if a.ndim > 1 else tuple(a.tolist()),
    "other byte order": swapped,
    "subclass": lambda a: a.view(Labelled),
    "masked without a mask": np.ma.asarray,
    "read-only": read_only,
    "Fortran order": np.asfortranarray,
    "negative strides": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "unaligned": unaligned,
    "from a pickle": lambda a: pickle.loads(pickle.dumps(a)),
    "object that NumPy reads": Lazy,
    "rows of scalars": lambda a: [np.float64(x) for x in a] if a.ndim == 1 else list(a),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_forms(name: str, form: str) -> None:
    arrays = CASES[name][1]
    _equal(_call(name, tuple(map(FORMS[form], arrays))), _call(name, arrays), 2.0**-52)


@pytest.mark.parametrize("name", CASES)
def test_matrix(name: str) -> None:
    arrays = CASES[name][1]
    given = tuple(a.view(np.matrix) if a.ndim == 2 else a for a in arrays)
    _equal(_call(name, given), _call(name, arrays), 2.0**-52)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "bool"])
@pytest.mark.parametrize("name", CASES)
def test_integers_count_as_float64(name: str, dtype: str) -> None:
    arrays = tuple(np.round(a).astype(dtype) for a in CASES[name][1])
    expected = _call(name, tuple(a.astype(float) for a in arrays))
    for one, other in zip(_call(name, arrays), expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", CASES)
def test_half_precision_counts_as_single(name: str) -> None:
    arrays = tuple(a.astype(np.float16) for a in CASES[name][1])
    expected = _call(name, tuple(a.astype(np.float32) for a in arrays))
    for one, other in zip(_call(name, arrays), expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name][1]) > 1 and name not in STATEFUL])
def test_mixed_precision_is_double(name: str) -> None:
    """The first array of a call does not decide for the others, whichever is the single one."""
    arrays = CASES[name][1]
    for single in range(len(arrays)):
        given = tuple(a.astype(np.float32) if i == single else a for i, a in enumerate(arrays))
        expected = _call(name, tuple(a.astype(np.float64) for a in given))
        for one, other in zip(_call(name, given), expected, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", CASES)
def test_complex_among_real(name: str) -> None:
    """Computed as if all were complex, or refused where the mathematics is of real numbers."""
    arrays, allowed = CASES[name][1:]
    given = (*arrays[:-1], arrays[-1] * (1 + 0.5j))
    if not allowed:
        with pytest.raises(TypeError, match=r"must be real here; got complex128"):
            _call(name, given)
        return
    if "." in name:  # an operator that is linear in its one argument
        real, imaginary = _call(name, (given[0].real,)), _call(name, (given[0].imag,))
        _equal(_call(name, given), [r + 1j * i for r, i in zip(real, imaginary, strict=True)], 2.0**-52)
        return
    everything = tuple(a.astype(np.complex128) for a in given)
    _equal(_call(name, given), _call(name, everything), 2.0**-52)


def masked(a: np.ndarray) -> Any:
    mask = np.zeros(a.shape, dtype=bool)
    mask.reshape(-1)[0] = True
    return np.ma.masked_array(a, mask)


REFUSED: dict[str, tuple[Callable[[np.ndarray], Any], type[Exception]]] = {
    "masked": (masked, TypeError),
    "list of masked rows": (lambda a: [masked(np.atleast_1d(row)) for row in a], TypeError),
    "long double": (lambda a: a.astype(np.longdouble), TypeError),
    "complex long double": (lambda a: a.astype(np.clongdouble), TypeError),
    "objects": (lambda a: a.astype(object), TypeError),
    "strings": (lambda a: a.astype(str).tolist(), TypeError),
    "dates": (lambda a: a.astype("datetime64[s]"), TypeError),
    "structured": (lambda a: np.zeros(a.shape, dtype=[("x", float)]), TypeError),
    "sparse": (lambda a: scipy.sparse.csr_array(np.atleast_2d(a)), TypeError),
    "None": (lambda a: None, TypeError),
    "a dictionary": (lambda a: {"A": a}, TypeError),
    "ragged": (lambda a: [[1.0, 2.0], [3.0]], ValueError),
    "a number": (lambda a: 3.0, ValueError),
    "no axes": (lambda a: np.asarray(3), ValueError),
}
NONE_IS_A_DEFAULT = {"autoencoder_fixed_point"}


@pytest.mark.skipif(np.longdouble is np.float64, reason="long double is double here")
@pytest.mark.parametrize("form", REFUSED)
@pytest.mark.parametrize("name", CASES)
def test_refused_in_one_line(name: str, form: str) -> None:
    arrays = CASES[name][1]
    make, error = REFUSED[form]
    if name in NONE_IS_A_DEFAULT and form == "None":
        return
    for place in range(len(arrays)):
        given = tuple(make(a) if i == place else a for i, a in enumerate(arrays))
        with pytest.raises(error) as raised:
            _call(name, given)
        message = str(raised.value)
        assert "\n" not in message
        assert "must" in message
        assert len(message) < 300


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][1][0].ndim == 2 and "." not in name])
def test_vector_for_a_matrix(name: str) -> None:
    arrays = CASES[name][1]
    with pytest.raises(ValueError, match=r"must have shape \(\.\.\., m, n\); got \(2,\)"):
        _call(name, (TALL, *arrays[1:]))


def test_drop_in_for_scipy() -> None:
    for given in ([[1.0, 2.0], [3.0, 4.0]], ((1, 2), (3, 4)), [[1j, 2], [3, 4]]):
        ours, theirs = linalg.pinv(given), scipy.linalg.pinv(given)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


@pytest.mark.parametrize("bad", ["0.1", None, [0.1], 1j, np.ones(3), b"1"])
def test_numbers(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"damping must be a real number; got ") as raised:
        linalg.damped_pinv(A, bad)
    assert "\n" not in str(raised.value)


def test_numbers_of_numpy() -> None:
    expected = linalg.damped_pinv(A, 0.5)
    for given in (np.float32(0.5), np.asarray(0.5), np.float16(0.5), np.ma.asarray(0.5)):
        np.testing.assert_array_equal(linalg.damped_pinv(A, given), expected)
    np.testing.assert_array_equal(linalg.delete_column(A, X, np.int8(1)), linalg.delete_column(A, X, 1))
    with pytest.raises(TypeError, match=r"index must be an integer; got float 1\.0"):
        linalg.delete_column(A, X, 1.0)


@pytest.mark.parametrize("name", CASES)
def test_other_libraries(name: str, xp_name: str) -> None:
    """Lists and scalars join the arrays of a library; arrays of two libraries do not mix."""
    library, device = {"array-api-strict": ("array-api-strict", "device1")}.get(xp_name, (xp_name, None))
    backend = get_backend(library, device, "float64")
    arrays = CASES[name][1]
    if "." in name:  # its object is NumPy's
        if library != "numpy":
            with pytest.raises(TypeError, match="one array library"):
                _call(name, (*map(backend.asarray, arrays),))
        return
    placed = tuple(map(backend.asarray, arrays))
    expected = _call(name, arrays)
    _equal(_call(name, placed), expected, 2.0**-52)
    for place in range(1, len(arrays)):
        mixed = tuple(a.tolist() if i == place else b for i, (a, b) in enumerate(zip(arrays, placed, strict=True)))
        _equal(_call(name, mixed), expected, 2.0**-52)
        if library != "numpy":
            mixed = tuple(a if i == place else b for i, (a, b) in enumerate(zip(arrays, placed, strict=True)))
            with pytest.raises(TypeError, match="one array library"):
                _call(name, mixed)
    halves = tuple(backend.asarray(np.round(a), dtype="int32") for a in arrays)
    for one, other in zip(_call(name, halves), _call(name, tuple(np.round(a) for a in arrays)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_torch_gradients_and_views() -> None:
    torch = pytest.importorskip("torch")
    B = torch.tensor(A)
    parameter = torch.nn.Parameter(B)
    with pytest.raises(TypeError, match=r"A must not require a gradient.*A\.detach\(\)"):
        linalg.pinv(parameter)
    with torch.no_grad():
        inverse = linalg.pinv(parameter)
    assert type(inverse) is torch.Tensor
    np.testing.assert_allclose(inverse.numpy(), X, rtol=1e-13)
    with pytest.raises(TypeError, match=r"dense tensor; got layout torch\.sparse_coo"):
        linalg.pinv(B.to_sparse())
    conjugate = torch.tensor(A * 1j).conj()
    np.testing.assert_allclose(linalg.pinv(conjugate).numpy(), np.linalg.pinv(-1j * A), rtol=1e-13)
    assert linalg.pinv(B.to(torch.bfloat16)).dtype == torch.float32


def test_an_operator_keeps_its_precision() -> None:
    operator = PinvOperator(A.astype(np.float32))
    assert operator.matvec(TALL).dtype == np.float32
    assert operator.matvec(TALL * 1j).dtype == np.complex64
    with pytest.raises(ValueError, match=r"x must fit the range of float32; got entries up to 2e\+300"):
        operator.matvec(TALL * 1e300)
