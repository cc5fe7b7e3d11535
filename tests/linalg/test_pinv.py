"""The pseudoinverse: properties over shape, dtype, rank and spectrum; hard cases; honest status; every backend."""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
import scipy.linalg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linalg_cases import (
    KINDS,
    draw_matrix,
    frobenius_ratio,
    from_spectrum,
    matrices,
    random_matrix,
    spectrum,
    test_ratio,
)

from rfnumeric.backend import get_backend, to_numpy
from rfnumeric.errors import ConvergenceError
from rfnumeric.kernels import _blas_linalg, reference_linalg
from rfnumeric.linalg import (
    KroneckerOperator,
    condition_number,
    damped_pinv,
    penrose_residuals,
    pinv,
    satisfied_conditions,
)

ENGINES = ("auto", "svd", "qr", "cholesky", "newton-schulz", "hyperpower")
LIMIT = 30.0  # LAPACK's
# In its domain an engine converges: largest κ for full rank, by engine and precision. An iteration's limit is where the
# rounding of its last step, κ²·eps, passes the ratio limit 20·max(m, n)·κ·eps at max(m, n) ≥ 1.
DOMAIN = {
    "svd": {"single": 1e6, "double": 1e14},
    "auto": {"single": 1e6, "double": 1e14},
    "qr": {"single": 1e4, "double": 1e12},
    "cholesky": {"single": 1e4, "double": 1e5},
    "newton-schulz": {"single": 20, "double": 20},
    "hyperpower": {"single": 20, "double": 20},
}


def close(actual: np.ndarray, expected: np.ndarray, dtype: str, kappa: float, c: float = 10) -> None:
    """|X − Y| ≤ c·max(m, n)·eps·κ·‖Y‖: the first-order perturbation bound of a pseudoinverse is κ·‖A⁺‖·‖δA‖/‖A‖."""
    size = np.linalg.norm(expected) or 1.0
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) <= c * max(1, *expected.shape) * np.finfo(dtype).eps * kappa * size


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_properties(dtype: str, data: st.DataObject) -> None:
    # κ up to 1/(10·eps) for the Penrose conditions; identities that compare two inverses need the rank to be clear.
    A, kappa, _ = data.draw(matrices(dtype))
    X = pinv(A)
    assert X.dtype == A.dtype
    assert test_ratio(A, X) < LIMIT
    if kappa * max(A.shape) * np.finfo(dtype).eps > 1e-3:
        return
    close(pinv(X), A, dtype, kappa)
    close(pinv(A.conj().T), X.conj().T, dtype, kappa)
    close(X, scipy.linalg.pinv(A.astype(np.complex128 if KINDS[dtype] else np.float64), rtol=0.1 / kappa), dtype, kappa)
    p, q = data.draw(st.permutations(range(A.shape[0]))), data.draw(st.permutations(range(A.shape[1])))
    close(pinv(A[np.ix_(p, q)]), X[np.ix_(q, p)], dtype, kappa)
    block = np.block([[A, np.zeros_like(A)], [np.zeros_like(A), A]])
    close(pinv(block), np.block([[X, np.zeros_like(X)], [np.zeros_like(X), X]]), dtype, kappa)
    if kappa**2 * max(A.shape) * np.finfo(dtype).eps < 1e-3:
        close(pinv(A.conj().T @ A) @ A.conj().T, X, dtype, kappa**2)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("method", ENGINES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_engines_in_their_domain(method: str, dtype: str, data: st.DataObject) -> None:
    kappa_limit = DOMAIN[method]["double" if dtype in ("float64", "complex128") else "single"]
    A, kappa, rank = data.draw(matrices(dtype, full_rank=True, kappa=kappa_limit))
    X, info = pinv(A, method=method, return_info=True)
    assert info.status == "converged"
    assert test_ratio(A, X) < LIMIT
    assert int(info.rank) == rank
    # ‖A‖_F‖A⁺‖_F lies between κ and min(m, n)·κ.
    assert kappa * 0.9 < float(info.condition) * (1 + 1e-3) + (rank < 2)
    assert float(info.condition) <= 1.1 * min(A.shape) * kappa + 1


def honesty(cases: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for k in range(cases):
        A, kappa, rank = draw_matrix(rng, list(KINDS)[k % 4])
        for method in ENGINES:
            X, info = pinv(A, method=method, return_info=True)
            measured = test_ratio(A, X)
            if info.status == "converged":
                assert measured <= LIMIT, (method, A.dtype, A.shape, kappa, rank, measured)
            else:
                assert method not in ("auto", "svd"), (A.dtype, A.shape, kappa, rank, measured)


def test_no_engine_claims_what_is_not_so() -> None:
    honesty(200, seed=0)


@pytest.mark.slow
def test_no_engine_claims_what_is_not_so_in_ten_thousand_cases() -> None:
    honesty(10_000, seed=1)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2)])
@pytest.mark.parametrize("kappa", [10.0, 1e4, 1e12])
def test_against_mpmath(shape: tuple[int, int], kappa: float, dtype: str) -> None:
    m, n = shape
    precision = "double" if dtype in ("float64", "complex128") else "single"
    A = from_spectrum(np.random.default_rng(5), m, n, np.geomspace(1, 1 / kappa, min(shape)), KINDS[dtype])
    A = A.astype(dtype)
    with mpmath.workdps(50):
        M = mpmath.matrix(A.tolist())
        exact = M.H * (M * M.H) ** -1 if m <= n else (M.H * M) ** -1 * M.H
        expected = np.asarray(exact.tolist(), dtype=np.complex128)
    for method in ENGINES:
        if kappa <= DOMAIN[method][precision]:
            close(pinv(A, method=method), expected if KINDS[dtype] else expected.real, dtype, kappa)


def test_every_backend(backend) -> None:
    rng = np.random.default_rng(0)
    for shape in ((3, 5), (5, 3), (2, 4, 4), (2, 3, 7, 5), (1, 1), (20, 70), (3, 10, 70)):
        A = rng.standard_normal(shape)
        expected = np.linalg.pinv(A)
        kappa = float(np.linalg.cond(A).max())
        for method in ENGINES:
            if method in ("newton-schulz", "hyperpower") and kappa > 100:
                continue
            X = pinv(backend.asarray(A), method=method)
            assert type(X) is type(backend.asarray(A))
            assert X.dtype == backend.dtype
            close(to_numpy(X), expected, backend.dtype_name, kappa)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_properties_on_every_backend(backend, data: st.DataObject) -> None:
    dtype, xp = backend.dtype_name, backend.xp
    A, kappa, rank = data.draw(matrices(dtype, largest=6))
    X, info = pinv(backend.asarray(A), return_info=True)
    assert info.status == "converged"
    assert test_ratio(A, to_numpy(X)) < LIMIT
    exponent = data.draw(st.integers(-20, 20))
    scaled = pinv(backend.asarray(A * 2.0**exponent), method="svd")
    np.testing.assert_array_equal(to_numpy(scaled), to_numpy(pinv(backend.asarray(A), method="svd")) / 2.0**exponent)
    # Below: identities that compare two inverses need the rank to be clear, and an engine its domain.
    if kappa * max(A.shape) * np.finfo(dtype).eps > 1e-3:
        return
    expected = scipy.linalg.pinv(A.astype(np.float64), rtol=0.1 / kappa)
    assert int(info.rank) == rank
    for method in ENGINES:
        if method in ("auto", "svd") or (rank == min(A.shape) and kappa <= DOMAIN[method]["single"]):
            close(to_numpy(pinv(backend.asarray(A), method=method)), expected, dtype, kappa)
    close(to_numpy(pinv(X)), A, dtype, kappa)
    close(to_numpy(pinv(xp.matrix_transpose(backend.asarray(A)))), expected.T, dtype, kappa)
    p, q = data.draw(st.permutations(range(A.shape[0]))), data.draw(st.permutations(range(A.shape[1])))
    close(to_numpy(pinv(backend.asarray(A[np.ix_(p, q)]))), expected[np.ix_(q, p)], dtype, kappa)
    block = np.kron(np.eye(2), A)
    close(to_numpy(pinv(backend.asarray(block))), np.kron(np.eye(2), expected), dtype, kappa)
    if kappa**2 * max(A.shape) * np.finfo(dtype).eps < 1e-3:
        close(to_numpy(pinv(backend.asarray(A.T @ A))) @ A.T, expected, dtype, kappa**2)
        # Of a product of two factors of this condition number.
        product = KroneckerOperator(backend.asarray(A), backend.asarray(A[::-1]))
        close(to_numpy(product.pinv().to_dense()), np.kron(expected, expected[:, ::-1]), dtype, kappa)
        close(to_numpy(pinv(product.to_dense())), np.kron(expected, expected[:, ::-1]), dtype, kappa**2)


@pytest.mark.parametrize("method", ENGINES)
def test_empty_and_thin(method: str, backend) -> None:
    for shape in ((0, 3), (3, 0), (0, 0), (4, 0, 3), (0, 2, 3)):
        X = pinv(backend.zeros(shape), method=method)
        assert tuple(X.shape) == (*shape[:-2], shape[-1], shape[-2])
    X, info = pinv(backend.zeros((2, 0, 3)), method=method, return_info=True)
    assert info.status == "converged"
    assert to_numpy(info.rank).tolist() == [0, 0]


def test_known_hard_matrices(backend) -> None:
    a = [[1, 2, 3], [3, 2, 1], [1, 1, 1]]  # float32 with a cutoff of 1e-15 gives entries of 6e7
    X, info = pinv(backend.asarray(a), return_info=True)
    assert to_numpy(X).max() == pytest.approx(0.32407407, rel=1e-5)
    assert int(info.rank) == 2
    magic = backend.asarray([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert int(pinv(magic, return_info=True)[1].rank) == 2
    close(to_numpy(pinv(magic)), np.linalg.pinv(to_numpy(magic).astype(float), rcond=1e-12), backend.dtype_name, 20)
    ladder = backend.asarray(np.arange(35).reshape(7, 5))
    close(to_numpy(pinv(ladder)), np.linalg.pinv(to_numpy(ladder).astype(float), rcond=1e-12), backend.dtype_name, 50)
    for scale in (1e-20, 1.0, 1e20):
        X = to_numpy(pinv(backend.asarray(np.diag([1.0, 1e-10]) * scale)))
        second = 1e10 if backend.dtype_name == "float64" else 0.0  # below eps in float32
        np.testing.assert_allclose(X.astype(float) * scale, np.diag([1.0, second]), rtol=1e-5)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (3, 4, 7), (40, 70), (40, 120)])
def test_scaling_by_powers_of_two_is_exact(dtype: str, shape: tuple[int, ...]) -> None:
    A = random_matrix(np.random.default_rng(4), shape, KINDS[dtype]).astype(dtype)
    single = dtype in ("float32", "complex64")
    for method in ("auto", "svd"):
        X = pinv(A, method=method)
        for exponent in (-100, -30, 7, 100) if single else (-900, -300, 7, 300, 900):
            factor = A.real.dtype.type(2.0) ** exponent
            np.testing.assert_array_equal(pinv(A * factor, method=method), X / factor)


def test_subnormal_and_overflow() -> None:
    X = pinv(np.asarray([[5e-324, 0.0]]))
    assert X[0, 0] == np.inf  # 1/5e-324 is beyond float64
    assert X[1, 0] == 0
    tiny = np.diag([3e-310, 1e-309])
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(pinv(tiny), np.diag(1 / np.diag(tiny)), rtol=1e-12)
    small = pinv(np.asarray([[1e-40, 2e-40]], dtype=np.float32))
    np.testing.assert_array_equal(small, np.inf)  # 2e39 and 4e39 are beyond float32


@pytest.mark.parametrize("method", ENGINES)
def test_layouts_and_read_only_input(method: str) -> None:
    rng = np.random.default_rng(6)
    base = rng.standard_normal((6, 8))
    for A in (base[::-1, ::-1], base[::2, ::2], base.T, np.asfortranarray(base), np.broadcast_to(base, (3, 6, 8))):
        before = A.copy()
        A.flags.writeable = False
        X = pinv(A, method=method)
        close(X, np.linalg.pinv(before), "float64", float(np.linalg.cond(before).max()))
        np.testing.assert_array_equal(A, before)
    row = np.broadcast_to(np.asarray([1.0, 2.0]), (3, 2))  # zero strides: rank 1
    if method in ("auto", "svd"):
        close(pinv(row, method=method), np.linalg.pinv(row.copy()), "float64", 1)


def test_a_stack_falls_back_member_by_member(backend) -> None:
    rng = np.random.default_rng(7)
    A = rng.standard_normal((2, 3, 4, 6))
    A[0, 1, 3] = A[0, 1, 2]
    A[1, 2] = 0
    X, info = pinv(backend.asarray(A), return_info=True)
    # Exactly equal rows, so the deficient member is deficient in float32 too.
    assert info.methods == ("cholesky", "svd", "cholesky", "cholesky", "cholesky", "svd")
    assert info.method == "mixed"
    assert to_numpy(info.rank).tolist() == [[4, 3, 4], [4, 4, 0]]
    assert info.status == "converged"
    for index in np.ndindex(2, 3):
        close(to_numpy(X)[index], np.linalg.pinv(A[index], rcond=1e-6), backend.dtype_name, 100)


def test_cutoffs() -> None:
    A = from_spectrum(np.random.default_rng(8), 5, 6, np.asarray([1.0, 0.5, 1e-2, 1e-4, 1e-6]))
    for rtol, atol, rank in ((None, 0.0, 5), (1e-3, 0.0, 3), (0.0, 1e-5, 4), (0.6, 0.0, 1), (0.0, 2.0, 0)):
        X, info = pinv(A, rtol=rtol, atol=atol, return_info=True)
        assert int(info.rank) == rank
        assert np.linalg.matrix_rank(X) == rank
        for scale in (2.0**-600, 2.0**600):
            np.testing.assert_allclose(pinv(A * scale, rtol=rtol, atol=atol * scale) * scale, X, rtol=1e-9, atol=1e-9)


def test_hermitian() -> None:
    rng = np.random.default_rng(9)
    Q = np.linalg.qr(random_matrix(rng, (6, 6), True))[0]
    A = (Q * np.asarray([3.0, -2.0, 1.0, -1e-3, 0.0, 0.0])) @ Q.conj().T
    X, info = pinv(A, method="svd", hermitian=True, return_info=True)
    close(X, scipy.linalg.pinvh(A, rtol=1e-10), "complex128", 3e3)
    assert int(info.rank) == 4
    close(pinv(A, hermitian=True), X, "complex128", 3e3)
    np.testing.assert_array_equal(pinv(np.tril(A), method="svd", hermitian=True), X)  # only the lower triangle is read


def test_errors() -> None:
    for bad in (np.nan, np.inf):
        A = np.eye(3)
        A[1, 2] = bad
        for method in ENGINES:
            with pytest.raises(ValueError, match="1 of its 9 entries"):
                pinv(A, method=method)
    with pytest.raises(ValueError, match="method must be one of"):
        pinv(np.eye(2), method="gauss")
    with pytest.raises(ValueError, match="must not be negative"):
        pinv(np.eye(2), rtol=-1.0)
    with pytest.raises(TypeError, match="A must be an array of real or complex numbers"):
        pinv(np.eye(2, dtype=object))
    for method in ("cholesky", "qr", "newton-schulz"):
        with pytest.raises(ConvergenceError, match="auto"):
            pinv(scipy.linalg.hilbert(12) if method == "newton-schulz" else np.ones((3, 3)), method=method)


def test_no_warning_escapes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for A in (np.zeros((2, 3)), np.full((2, 2), 1e200), np.full((2, 2), 1e-200), np.ones((3, 3))):
            for method in ENGINES:
                pinv(A, method=method, return_info=True)


def test_large_blas_stack_equals_members() -> None:
    A = np.random.default_rng(10).standard_normal((2, 3, 40, 90)).astype(np.float32)
    X = pinv(A)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(X[index], pinv(A[index]))


def test_one_blas_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("NumPy's BLAS in the hot path")

    A = np.random.default_rng(11).standard_normal((50, 100)).astype(np.float32)
    for name in ("matmul", "dot", "linalg.cholesky", "linalg.inv", "linalg.solve"):
        monkeypatch.setattr(f"numpy.{name}", forbidden)
    pinv(A)
    damped_pinv(A, 0.1)


def test_single_precision_is_rescued_by_double() -> None:
    # κ²·eps is 0.01 in float32: the first attempt fails its own check and the second, in double, does not show it.
    A = from_spectrum(np.random.default_rng(12), 40, 80, np.geomspace(1, 1 / 3000, 40)).astype(np.float32)
    first = _blas_linalg._attempt(A, "float32")
    assert not first[1] <= reference_linalg.DEFECT * 80 * np.finfo(np.float32).eps * first[2]
    X, info = pinv(A, return_info=True)
    assert info.method == "cholesky"
    assert test_ratio(A, X) <= 2 * test_ratio(A, scipy.linalg.pinv(A))


def test_qr_looks_at_the_other_side() -> None:
    # Substitution makes RX − Qᵀ small; for this matrix XA − I is 25 times the limit, and the test ratio 35.
    rng = np.random.default_rng(161)
    A = from_spectrum(rng, 8, 7, spectrum(rng, 7, 1e12, "random"))
    X, info = pinv(A, method="qr", return_info=True)
    if test_ratio(A, X) > LIMIT:  # on a machine whose rounding agrees
        assert info.status != "converged"
        with pytest.raises(ConvergenceError):
            pinv(A, method="qr")
    assert test_ratio(A, pinv(A)) < LIMIT


@pytest.mark.parametrize("shape", [(40, 80), (80, 40), (70, 70)])
@pytest.mark.parametrize("dtype", KINDS)
def test_blas_path_with_large_condition_numbers(shape: tuple[int, int], dtype: str) -> None:
    # Without the Ben-Israel–Cohen step the ratio would be κ²·eps/(max(m, n)·eps): 10 in float32, 10⁶ in float64.
    kappa = 30 if dtype in ("float32", "complex64") else 1e4
    rng = np.random.default_rng(18)
    A = from_spectrum(rng, *shape, np.geomspace(1, 1 / kappa, min(shape)), KINDS[dtype]).astype(dtype)
    X, info = pinv(A, return_info=True)
    assert info.method == "cholesky"
    assert test_ratio(A, X) < 0.1
    fortran = pinv(np.asfortranarray(A))
    assert test_ratio(A, fortran) < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(200, 400), (400, 784), (100, 10, 10), (50, 100)])
def test_residuals_no_worse_than_svd(dtype: str, shape: tuple[int, ...]) -> None:
    A = np.random.default_rng(13).standard_normal(shape).astype(dtype)
    ours = penrose_residuals(A, pinv(A)).test_ratio
    theirs = penrose_residuals(A, scipy.linalg.pinv(A)).test_ratio
    assert np.median(ours) <= np.median(theirs)


@pytest.mark.parametrize("dtype", KINDS)
def test_the_step_is_left_out_only_where_residuals_stay_below_those_of_svd(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []
    corrected = _blas_linalg._corrected
    monkeypatch.setattr(_blas_linalg, "_corrected", lambda *a: (taken.append(True), corrected(*a))[1])
    rng = np.random.default_rng(19)
    left_out = 0
    for shape in ((33, 34), (40, 80), (100, 70), (60, 500)):
        for kind in ("geometric", "one small", "one large", "random"):
            for kappa in (2.0, 4.0, 6.0, 10.0, 30.0):
                A = from_spectrum(rng, *shape, spectrum(rng, min(shape), kappa, kind), KINDS[dtype]).astype(dtype)
                taken.clear()
                X = pinv(A)
                if not taken:
                    left_out += 1
                    assert kappa**2 <= 5 * min(shape)
                    assert frobenius_ratio(A, X) <= frobenius_ratio(A, scipy.linalg.pinv(A))
                else:
                    assert kappa > 2
    assert 20 <= left_out <= 60


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("m", [1, 64, 65, 129, 300])
def test_triangular_inverse_by_halves(m: int, dtype: str) -> None:
    L = np.tril(random_matrix(np.random.default_rng(m), (m, m), KINDS[dtype])) + 3 * m**0.5 * np.eye(m)
    L = np.asfortranarray(L.astype(dtype))
    M = _blas_linalg._inverse(L, dtype)
    assert not np.triu(M, 1).any()
    # |LM − I| ≤ c·m·eps·|L||M|, as for every stable inversion (Higham, ch. 14); c = 4 leaves room for complex products.
    error = np.abs(L.astype(np.clongdouble) @ M - np.eye(m))
    assert (error <= 4 * m * np.finfo(dtype).eps * (np.abs(L) @ np.abs(M)) + np.finfo(dtype).tiny).all()


def test_correction_step_on_x_cannot_restore_condition_four() -> None:
    # Why the step is taken on L⁻¹A: with X = Aᴴ(AAᴴ)⁻¹, X(2I − AX) repairs 1–3 and leaves the null space of A in X.
    A = from_spectrum(np.random.default_rng(14), 10, 20, np.geomspace(1, 1e-5, 10))
    X = A.T @ np.linalg.inv(A @ A.T)
    X = X + X @ (np.eye(10) - A @ X)
    ratios = penrose_residuals(A, X).ratios
    assert ratios[:3].max() < 1
    assert ratios[3] > 30
    assert test_ratio(A, pinv(A, method="cholesky")) < 1


def test_damped_inverse(backend) -> None:
    rng = np.random.default_rng(15)
    for shape in ((4, 7), (7, 4), (3, 5, 5)):
        A = rng.standard_normal(shape)
        for damping in (0.0, 1e-2, 3.0):
            G = np.swapaxes(A, -1, -2) @ A + damping * np.eye(shape[-1])
            if shape == (4, 7) and not damping:
                continue
            expected = np.linalg.solve(G, np.swapaxes(A, -1, -2))
            kappa = float(np.linalg.cond(G).max())
            close(to_numpy(damped_pinv(backend.asarray(A), damping)), expected, backend.dtype_name, kappa)
    with pytest.raises(ValueError, match="damping"):
        damped_pinv(backend.asarray(A), -1.0)
    assert np.isnan(to_numpy(damped_pinv(backend.asarray([[np.nan, 1.0]]), 1.0))).all()
    assert tuple(damped_pinv(backend.zeros((0, 3)), 1.0).shape) == (3, 0)


def test_condition_number(backend) -> None:
    A = np.stack([np.diag([8.0, 2.0]), np.diag([1.0, 0.0]), np.asarray([[np.nan, 0], [0, 1.0]])])
    kappa = to_numpy(condition_number(backend.asarray(A)))
    assert kappa[0] == pytest.approx(4.0)
    assert kappa[1] == np.inf
    assert np.isnan(kappa[2])
    assert to_numpy(condition_number(backend.zeros((2, 0, 3)))).tolist() == [0.0, 0.0]


def test_info_is_measured() -> None:
    A = np.random.default_rng(16).standard_normal((3, 5))
    X, info = pinv(A, return_info=True)
    assert info.method == "cholesky"
    assert info.iterations == 1
    assert float(info.residuals.test_ratio) == float(penrose_residuals(A, X).test_ratio)
    assert float(info.condition) == pytest.approx(np.linalg.norm(A) * np.linalg.norm(X))
    assert satisfied_conditions(A, X) == {1, 2, 3, 4}
    slow = pinv(A, method="hyperpower", order=4, return_info=True)[1]
    assert slow.iterations > 1


@pytest.mark.parametrize("shape", [(60, 4000), (4000, 60)])
def test_a_moderate_condition_number_does_not_send_a_large_matrix_to_the_svd(shape: tuple[int, int], backend) -> None:
    # ‖A‖_F‖A⁺‖_F·rtol is 2.9 in single precision, while κ·rtol is 0.1.
    kappa = 200.0 if backend.dtype_name == "float32" else 3e3
    singular = np.concatenate((np.ones(30), np.full(30, 1 / kappa)))
    A = backend.asarray(from_spectrum(np.random.default_rng(20), *shape, singular))
    bound = 30 * kappa * 4000 * np.finfo(backend.dtype_name).eps
    assert (bound > 1) == (backend.dtype_name == "float32")
    X, info = pinv(A, return_info=True)
    assert info.method == "cholesky"
    assert info.status == "converged"
    assert float(info.residuals.test_ratio) < 1
    close(to_numpy(X), np.linalg.pinv(to_numpy(A).astype(np.float64)), backend.dtype_name, kappa)
    # And where the cutoff is near, it is respected.
    for cutoff in ({"rtol": 0.9 / kappa}, {"rtol": 0.0, "atol": 0.9 / kappa}):
        assert int(pinv(A, return_info=True, **cutoff)[1].rank) == 60
    for cutoff in ({"rtol": 1.1 / kappa}, {"rtol": 0.0, "atol": 1.1 / kappa}):
        assert int(pinv(A, return_info=True, **cutoff)[1].rank) == 30


def test_a_very_tall_matrix() -> None:
    A = np.random.default_rng(17).standard_normal((400_000, 2))
    X, info = pinv(A, return_info=True)
    assert info.method == "cholesky"
    assert float(info.residuals.test_ratio) < 1
    np.testing.assert_allclose(X @ A, np.eye(2), atol=1e-13)


def test_mixed_libraries() -> None:
    strict = get_backend("array-api-strict", dtype="float64").asarray(np.eye(2))
    with pytest.raises(TypeError, match="one array library"):
        penrose_residuals(strict, np.eye(2))
