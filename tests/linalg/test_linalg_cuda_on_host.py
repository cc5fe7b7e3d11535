"""The CUDA C of the linear algebra kernels, compiled for the host and compared with the reference: no GPU is needed."""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from linalg_cases import from_spectrum

from rfnumeric.kernels import reference_linalg

COMPILER = shutil.which("g++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the CUDA C for the host")
# 64 threads, two warps, whatever the member's size: entries are dealt out in strides.
LAUNCH = """
typedef long long L;
extern "C" void launch_coupled(T* U, T* V, T* P, T* X, T* Y, T u, T v, T ru, T rv, L members, L a, L b, L steps)
{ launch(members, 64, [=] { coupled_steps(U, V, P, X, Y, u, v, ru, rv, a, b, steps); }); }
extern "C" void launch_kronecker(const T* A, const T* B, const T* X, T* R, T* Y, L members, L m, L n, L p, L q)
{ launch(members, 64, [=] { kronecker_apply(A, B, X, R, Y, m, n, p, q); }); }
extern "C" void launch_meyer(const T* A, const T* X, const T* c, const T* d, const T* tolerance, T noise, T* value,
                             L* cases, T* scratch, L members, L rows, L columns)
{ launch(members, 64, [=] { meyer_update(A, X, c, d, tolerance, noise, value, cases, scratch, rows, columns); }); }
extern "C" void launch_penrose(const T* A, const T* X, T* P, T* Q, T* norms, L members, L m, L n)
{ launch(members, 64, [=] { penrose_norms(A, X, P, Q, norms, members, m, n); }); }
"""


@pytest.fixture(scope="module", params=["float32", "float64"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    path = Path(importlib.util.find_spec("rfnumeric.kernels._cupy_linalg").origin)
    code = [
        node.value.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and "__global__" in str(node.value.value)
    ]
    assert len(code) == 4
    header = (Path(__file__).parent.parent / "kernels" / "cuda_on_host.hpp").read_text(encoding="utf-8")
    real = {"float32": "float", "float64": "double"}[request.param]
    parts = (header, "using std::sqrt;\n#define __device__", f"typedef {real} T;", *code, LAUNCH)
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "kernels.cpp").write_text("\n".join(parts), encoding="utf-8")
    command = [COMPILER, "-std=c++20", "-O1", "-shared", "-fPIC", "-pthread", "kernels.cpp", "-o", "kernels.so"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "kernels.so")), np.dtype(request.param)


def call(function, dtype: np.dtype, *args) -> None:
    """Pass arrays as pointers, Python floats as T and integers as long long."""
    real = ctypes.c_float if dtype == np.float32 else ctypes.c_double
    function.restype = None
    function(
        *(
            a.ctypes.data_as(ctypes.c_void_p)
            if isinstance(a, np.ndarray)
            else real(a)
            if isinstance(a, float)
            else ctypes.c_longlong(a)
            for a in args
        )
    )


def test_coupled_steps(compiled) -> None:
    library, dtype = compiled
    rng = np.random.default_rng(0)
    for a, b in ((3, 5), (5, 3), (9, 9)):
        U, V = (rng.uniform(-0.3, 0.3, s).astype(dtype) for s in ((2, a, b), (2, b, a)))
        for rates in ((0.1, 0.1), (0.1, 0.0)):
            for own in (0.0, 0.8):
                u, v = U.copy(), V.copy()
                scratch = (np.empty((2, a, a), dtype), np.empty_like(u), np.empty_like(v))
                scalars = (rates[0] * own, rates[1] * own, *rates)
                call(library.launch_coupled, dtype, u, v, *scratch, *scalars, 2, a, b, 3)
                decay = 1 - own if own else 0.0
                expected = reference_linalg.coupled_steps(U, V, *rates, decay, own == 0.0, 3)
                # As the twin's bound: three steps of sums of up to 9 + 9 terms below 1.
                for found, want in zip((u, v), expected, strict=True):
                    np.testing.assert_allclose(found, want, atol=3 * 8 * 21 * np.finfo(dtype).eps)


def test_kronecker_apply(compiled) -> None:
    library, dtype = compiled
    rng = np.random.default_rng(1)
    m, n, p, q = 3, 4, 11, 9
    A, B, X = (rng.uniform(-1, 1, s).astype(dtype) for s in ((2, m, n), (2, p, q), (2, n, q)))
    R, Y = np.empty((2, m, q), dtype), np.empty((2, m, p), dtype)
    call(library.launch_kronecker, dtype, A, B, X, R, Y, 2, m, n, p, q)
    bound = 2 * (n + q + 2) * np.finfo(dtype).eps * n * q
    np.testing.assert_allclose(Y, reference_linalg.kronecker_apply(A, B, X), atol=bound)


def test_meyer_update(compiled) -> None:
    library, dtype = compiled
    rng = np.random.default_rng(2)
    A = np.stack([from_spectrum(rng, 4, 6, np.asarray([2.0, 1.0, 0.5])) for _ in range(6)])
    X = np.linalg.pinv(A, rcond=1e-8)
    # One member a case: c and d inside or outside the ranges, β zero or not.
    inside_c, inside_d = A @ rng.standard_normal((6, 6, 1)), np.swapaxes(A, -1, -2) @ rng.standard_normal((6, 4, 1))
    out_c, out_d = rng.standard_normal((6, 4, 1)), rng.standard_normal((6, 6, 1))
    c = np.where(np.asarray([0, 1, 1, 0, 0, 1])[:, None, None] == 1, inside_c, out_c)[..., 0]
    d = np.where(np.asarray([0, 0, 0, 1, 1, 1])[:, None, None] == 1, inside_d, out_d)[..., 0]
    for k in (1, 3, 5):  # β = 0
        d[k] *= -1 / (d[k] @ X[k] @ c[k])
    A, X, c, d = (a.astype(dtype) for a in (A, X, c, d))
    tolerance = np.full(6, 1e-3, dtype)
    value, case, scratch = np.empty((6, 6, 4), dtype), np.empty(6, np.int64), np.empty((6, 6 * 4 + 7 * 6), dtype)
    # A dozen products of vectors, divided by ‖w‖², ‖m‖² or σ.
    noise = 16 * float(np.finfo(dtype).eps)
    expected, cases = reference_linalg.meyer_update(A, X, c, d, tolerance, noise)
    scale = np.abs(expected).max() * np.abs(d).max() ** 2 * 100
    far = -np.finfo(dtype).minexp - 20
    for k, j in ((0, 0), (far, 0), (-far, -far), (0, far)):
        s, s_c, s_d = (dtype.type(2.0**power) for power in (k, j, k - j))
        call(
            library.launch_meyer, dtype, A * s, X / s, c * s_c, d * s_d, tolerance, noise, value, case, scratch, 6, 4, 6
        )
        assert case.tolist() == cases.tolist() == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(value * s, expected, atol=12 * 12 * np.finfo(dtype).eps * scale)


def test_penrose_norms(compiled) -> None:
    library, dtype = compiled
    rng = np.random.default_rng(3)
    for m, n in ((3, 5), (9, 2), (11, 11)):
        A, X = rng.uniform(-1, 1, (2, m, n)).astype(dtype), rng.uniform(-1, 1, (2, n, m)).astype(dtype)
        P, Q, norms = np.empty((2, m, m), dtype), np.empty((2, n, n), dtype), np.empty((6, 2), dtype)
        call(library.launch_penrose, dtype, A, X, P, Q, norms, 2, m, n)
        expected = reference_linalg.penrose_norms(A, X)
        np.testing.assert_allclose(norms, expected, atol=4 * (m + n + 2) ** 3 * np.finfo(dtype).eps)
