"""The arithmetic of the CUDA kernels, compiled for the host and compared with the reference: no GPU is needed.

This checks formulas, indices, shuffles and edge cases. It says nothing about launches, CuPy's calls or speed.
"""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import assert_results

from rfnumeric.kernels import reference, reference_optimizers

COMPILER = shutil.which("g++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the CUDA C for the host")
ELEMENTWISE = """
extern "C" void relu(const T* z, const T slope, T* hs, T* ds, long long size)
{ for (long long i = 0; i < size; ++i) { T a = z[i]; T& h = hs[i]; T& d = ds[i]; LEAKY_RELU } }
extern "C" void softplus(const T* z, const T slope, T* hs, T* ds, long long size)
{ for (long long i = 0; i < size; ++i) { T a = z[i]; T& h = hs[i]; T& d = ds[i]; LEAKY_SOFTPLUS } }
extern "C" void tanh_layer(const T* z, const T, T* hs, T* ds, long long size)
{ for (long long i = 0; i < size; ++i) { T a = z[i]; T& h = hs[i]; T& d = ds[i]; TANH } }
extern "C" void gather(const unsigned char* images, const long long* index, long long samples, long long width,
                       const T scale, const T offset, T* outs, long long size)
{ for (long long i = 0; i < size; ++i) { T& out = outs[i]; GATHER_SCALE } }
extern "C" void momentum_update(T* W, T* vs, const T* G, const T rate, const T momentum, long long size)
{ for (long long i = 0; i < size; ++i) { T& w = W[i]; T& v = vs[i]; const T g = G[i]; MOMENTUM } }
extern "C" void adam_update(T* W, T* ms, T* vs, const T* G, const T rate, const T beta1, const T rest1, const T beta2,
                            const T rest2, const T root, const T epsilon, long long size)
{ for (long long i = 0; i < size; ++i) { T& w = W[i]; T& m = ms[i]; T& v = vs[i]; const T g = G[i]; ADAM } }
"""
LAUNCH = """
extern "C" void launch_softmax(const T* h, const long long* labels, T* e, T* loss, long long* correct, long long K,
                               long long batch, long long classes)
{ launch(K, 64, [=] { softmax_cross_entropy(h, labels, e, loss, correct, batch, classes); }); }
extern "C" void launch_reciprocal(const T* u, const T* d, const T* h, T* s, T* delta, T damping, T bias, long long rows,
                                  long long n, long long n_in, int own, int normalize)
{ launch(2, 64, [=] { reciprocal_derivative(u, d, h, s, delta, damping, bias, rows, n, n_in, own, normalize); }); }
"""


def sources() -> dict[str, str]:
    """Read the CUDA C from `_cupy.py` without importing it, since CuPy need not be here."""
    path = Path(importlib.util.find_spec("rfnumeric.kernels._cupy").origin)
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found[node.targets[0].id] = node.value.value
    return found


@pytest.fixture(scope="module", params=["float32", "float64"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The kernels as functions of the host, and their dtype."""
    code = sources()
    elementwise = ELEMENTWISE
    for name in ("LEAKY_RELU", "LEAKY_SOFTPLUS", "TANH", "GATHER_SCALE", "MOMENTUM", "ADAM"):
        elementwise = elementwise.replace(name, code[name])
    header = (Path(__file__).parent / "cuda_on_host.hpp").read_text(encoding="utf-8")
    real = {"float32": "float", "float64": "double"}[request.param]
    parts = (header, f"typedef {real} T;", elementwise, code["SOFTMAX_CROSS_ENTROPY"], code["RECIPROCAL_DERIVATIVE"])
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "kernels.cpp").write_text("\n".join((*parts, LAUNCH)), encoding="utf-8")
    command = [COMPILER, "-std=c++20", "-O1", "-shared", "-fPIC", "-pthread", "kernels.cpp", "-o", "kernels.so"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "kernels.so")), np.dtype(request.param)


def call(function, dtype: np.dtype, *args) -> None:
    """Pass arrays as pointers, Python floats as T, integers as long long (and booleans as int)."""
    real = ctypes.c_float if dtype == np.float32 else ctypes.c_double
    converted = []
    for a in args:
        if isinstance(a, np.ndarray):
            converted.append(a.ctypes.data_as(ctypes.c_void_p))
        elif isinstance(a, float):
            converted.append(real(a))
        else:
            converted.append(ctypes.c_int(a) if isinstance(a, np.int32) else ctypes.c_longlong(a))
    function.restype = None
    function(*converted)


def extreme(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    X = rng.normal(0, 5, shape)
    for row, value in enumerate((np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-42, 0.0)):
        X.reshape(-1, shape[-1])[row, row % shape[-1]] = value
    return X.astype(dtype)


@pytest.mark.parametrize("classes", [1, 10, 31, 32, 33, 70])
def test_softmax_cross_entropy(compiled, classes: int):
    library, dtype = compiled
    rng = np.random.default_rng(classes)
    h = extreme(rng, (2, 9, classes), dtype)
    h[1, 3] = 1.0  # all equal: the first one counts
    h[1, 4] = -np.inf
    labels = rng.integers(0, classes, (2, 9))
    labels[1, 3] = 0
    for scores in (h, np.ascontiguousarray(h[:, 7:])):
        targets = np.ascontiguousarray(labels[:, -scores.shape[1] :])
        e, loss, correct = np.empty_like(scores), np.empty(2, dtype), np.empty(2, np.int64)
        call(library.launch_softmax, dtype, scores, targets, e, loss, correct, 2, scores.shape[1], classes)
        with np.errstate(all="ignore"):
            expected = reference.softmax_cross_entropy(scores, targets)
        assert_results("softmax_cross_entropy", dtype.name, [scores, targets], (e, loss, correct), expected)


def test_softmax_cross_entropy_of_a_label_out_of_range_is_nan(compiled):
    library, dtype = compiled
    h, e = np.zeros((2, 3, 4), dtype), np.empty((2, 3, 4), dtype)
    labels, loss, correct = np.array([[0, 1, 4], [0, 1, 2]]), np.empty(2, dtype), np.empty(2, np.int64)
    call(library.launch_softmax, dtype, h, labels, e, loss, correct, 2, 3, 4)
    assert np.isnan(loss).tolist() == [True, False]
    assert correct.tolist() == [1, 1]


@pytest.mark.parametrize("own", ["reciprocal", "derivative", "none"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("damping", "has_bias"), [(0.0, False), (0.1, True)])
def test_reciprocal_derivative(compiled, own: str, normalize: bool, damping: float, has_bias: bool):
    library, dtype = compiled
    rng = np.random.default_rng(1)
    u, d, h = (extreme(rng, (9, n), dtype) for n in (33, 33, 40))
    h[8] = 0
    d[8, ::2] = 0
    s, delta = np.empty_like(u), np.empty_like(u)
    flags = np.int32({"reciprocal": 0, "derivative": 1, "none": 2}[own]), np.int32(normalize)
    call(library.launch_reciprocal, dtype, u, d, h, s, delta, damping, float(has_bias), 9, 33, 40, *flags)
    args = [u, d, h, damping, own, normalize, has_bias]
    with np.errstate(all="ignore"):
        expected = reference.reciprocal_derivative(*args)
    assert_results("reciprocal_derivative", dtype.name, args, (s, delta), expected)


@pytest.mark.parametrize(
    ("function", "name", "slope"),
    [
        ("relu", "bias_leaky_relu", (0.2,)),
        ("softplus", "bias_leaky_softplus", (0.0,)),
        ("softplus", "bias_leaky_softplus", (0.2,)),
        ("tanh_layer", "bias_tanh", ()),
    ],
)
def test_activations(compiled, function: str, name: str, slope: tuple[float, ...]):
    library, dtype = compiled
    z = extreme(np.random.default_rng(2), (9, 12), dtype)
    h, d = np.empty_like(z), np.empty_like(z)
    call(getattr(library, function), dtype, z, *(slope or (0.0,)), h, d, z.size)
    with np.errstate(all="ignore"):
        expected = getattr(reference, name)(z, None, *slope)
    assert_results(name, dtype.name, [z, None, *slope], (z, h, d), expected)


def test_gather_scale(compiled):
    library, dtype = compiled
    images = np.random.default_rng(3).integers(0, 256, (6, 5)).astype(np.uint8)
    index, out = np.array([5, 0, 6, 3, -1]), np.empty((5, 5), dtype)
    call(library.gather, dtype, images, index, 6, 5, 2 / 255, -1.0, out, out.size)
    assert np.isnan(out[[2, 4]]).all()
    inside = index[[0, 1, 3]]
    expected = reference.gather_scale(images, inside, 2 / 255, -1.0, dtype.type)
    assert_results("gather_scale", "uint8", [images, inside, 2 / 255, -1.0, dtype.type], out[[0, 1, 3]], expected)


def test_momentum_update(compiled):
    library, dtype = compiled
    W, v, G = (extreme(np.random.default_rng(seed), (9, 12), dtype) for seed in (4, 5, 6))
    got = W.copy(), v.copy()
    call(library.momentum_update, dtype, *got, G, 0.3, 0.9, W.size)
    with np.errstate(all="ignore"):
        expected = reference_optimizers.momentum_update(W, v, G, 0.3, 0.9)
    assert_results("momentum_update", dtype.name, [W, v, G, 0.3, 0.9], got, expected)


def test_adam_update(compiled):
    library, dtype = compiled
    W, m, G = (extreme(np.random.default_rng(seed), (9, 12), dtype) for seed in (4, 5, 6))
    v = np.random.default_rng(7).uniform(0, 3, W.shape).astype(dtype)
    got = W.copy(), m.copy(), v.copy()
    numbers = (0.3 / (1 - 0.9**3), 0.9, 1 - 0.9, 0.999, 1 - 0.999, float(np.sqrt(1 - 0.999**3)), 1e-8)
    call(library.adam_update, dtype, *got, G, *numbers, W.size)
    args = [W, m, v, G, 0.3, 0.9, 0.999, 1e-8, 3]
    with np.errstate(all="ignore"):
        expected = reference_optimizers.adam_update(*args)
    assert_results("adam_update", dtype.name, args, got, expected)
