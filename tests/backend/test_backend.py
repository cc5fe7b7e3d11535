"""Namespaces, devices, precision and random streams: the same answers on every backend, and errors that help."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from fixture_backends import FIXTURE

from rfnumeric.backend import (
    BACKENDS,
    Backend,
    Streams,
    array_namespace,
    available_backends,
    copy,
    device_of,
    dtype_name,
    eps,
    get_backend,
    library_of,
    synchronize,
    to_float,
    to_numpy,
)
from rfnumeric.errors import BackendError

ROOT = Path(__file__).parents[2]


def test_namespace_passes_over_none(backend: Backend):
    a = backend.zeros((2,))
    assert array_namespace(None, a, None) is array_namespace(a)
    assert array_namespace(a).__name__ == backend.xp.__name__


def test_mixed_libraries_are_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"one array library; got numpy\.ndarray, torch\.Tensor.*asarray"):
        array_namespace(np.zeros(2), torch.zeros(2))


@pytest.mark.parametrize("arguments", [(), (None,), ([1.0],)])
def test_what_is_no_array_is_refused(arguments):
    with pytest.raises(TypeError, match="one array library"):
        array_namespace(*arguments)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", 2.0**-23), ("float64", 2.0**-52), ("complex64", 2.0**-23), ("complex128", 2.0**-52)],
)
def test_eps_of_array_dtype_and_name(xp_name: str, dtype: str, expected: float):
    xp = get_backend(FIXTURE[xp_name][0]).xp
    kind = getattr(xp, dtype)
    assert {eps(kind), eps(xp.zeros(1, dtype=kind)), eps(dtype), float(np.finfo(dtype).eps)} == {expected}
    assert dtype_name(kind) == dtype


def test_eps_refuses_integers():
    with pytest.raises(TypeError, match=r"dtype must be one of float32.*got int64"):
        eps(np.arange(3))


def test_values_survive_the_way_to_a_device_and_back(backend: Backend):
    for shape in ((), (0,), (3,), (2, 0), (2, 3)):
        host = np.random.default_rng(0).standard_normal(shape).astype(backend.dtype_name)
        a = backend.asarray(host)
        assert a.shape == shape
        assert device_of(a) == backend.device
        back = to_numpy(a)
        assert type(back) is np.ndarray
        assert back.dtype == host.dtype
        np.testing.assert_array_equal(back, host)
    assert to_float(backend.asarray(np.asarray(2.0))).hex() == (2.0).hex()


def test_asarray_takes_views_lists_and_dtypes(backend: Backend):
    base = np.arange(12.0).reshape(3, 4)
    for view in (base[::-1, ::2], base[:1, :1][::-1], base.T, np.broadcast_to(base[0], (2, 4))):
        np.testing.assert_array_equal(to_numpy(backend.asarray(view)), view)
    labels = backend.asarray([1, 2], "int64")
    assert dtype_name(labels.dtype) == "int64"
    assert device_of(labels) == backend.device


def test_copy_is_independent_and_stays_on_its_device(backend: Backend):
    a = backend.zeros((2,))
    b = copy(a)
    if backend.library.writable:
        b[0] = 1
    else:
        with pytest.raises(TypeError, match="immutable"):
            b[0] = 1
    assert to_numpy(a).tolist() == [0.0, 0.0]
    assert device_of(b) == backend.device
    synchronize(b)


def test_backend_of_an_array_is_the_one_that_made_it(backend: Backend):
    assert Backend.of(backend.zeros((1,))) == backend
    assert get_backend(backend) is backend


def test_the_fixture_has_a_strict_backend_on_a_device_that_is_not_the_default():
    name, device = FIXTURE["array-api-strict"]
    backend = get_backend(name, device)
    default = device_of(backend.xp.zeros(1))
    assert backend.device != default
    # An array that was created without `device=` cannot be mixed with the backend's arrays: the fixture sees it.
    with pytest.raises(ValueError, match=r"different devices"):
        backend.xp.zeros((1,)) + backend.zeros((1,))
    with pytest.raises(RuntimeError, match=r"[Dd]evice"):
        np.asarray(backend.zeros((1,)))
    assert to_numpy(backend.zeros((1,))).tolist() == [0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dask",), "backend must be one of numpy, cupy, torch, array-api-strict, jax; got 'dask'"),
        (("numpy", None, "float16"), "dtype must be one of float32, float64; got 'float16'"),
        (("numpy", "cuda:0"), "device 'cuda:0' is not one of backend 'numpy'.*'cpu' only"),
        (("array-api-strict", "nowhere"), "device 'nowhere' is not one of backend 'array-api-strict'"),
        (("torch", "nowhere"), "device 'nowhere' is not one of backend 'torch'"),
        (("jax", "nowhere"), "device 'nowhere' is not one of backend 'jax'"),
        (("jax", "cpu:99"), "device 'cpu:99' is not one of backend 'jax'"),
    ],
)
def test_unknown_names_are_errors(arguments, message):
    if arguments[0] in BACKENDS:
        pytest.importorskip(arguments[0].replace("-", "_"))
    with pytest.raises(ValueError, match=message) as caught:
        get_backend(*arguments)
    assert not isinstance(caught.value, BackendError)


@pytest.mark.parametrize("name", ["cupy", "torch", "jax"])
def test_a_missing_library_tells_how_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch):
    for module in [m for m in sys.modules if m == name or m.startswith((f"{name}.", f"array_api_compat.{name}"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendError, match=rf"backend '{name}' is not usable here.*pip install 'rfnumeric\["):
        get_backend(name)
    assert available_backends()[name].startswith("missing")
    assert not available_backends()["numpy"].startswith("missing")


def test_cupy_without_a_gpu_is_missing(monkeypatch: pytest.MonkeyPatch):
    """CuPy imports where there is no GPU; only its device count tells."""
    import types

    cupy = types.ModuleType("cupy")
    cupy.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=lambda: 0))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", types.ModuleType("array_api_compat.cupy"))
    with pytest.raises(BackendError, match="no CUDA device"):
        get_backend("cupy")


def test_importing_the_package_loads_no_accelerated_library():
    code = "import sys, rfnumeric.kernels; print(sorted({'numba', 'cupy', 'torch', 'jax'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_streams_are_the_same_on_every_backend(backend: Backend):
    here, numpy = (Streams(5, b).child("weights", 2) for b in (backend, get_backend("numpy", None, backend.dtype_name)))
    for draw in (lambda s: s.normal((3, 2)), lambda s: s.uniform((4,), -2.0, 3.0)):
        a = draw(here)
        assert device_of(a) == backend.device
        np.testing.assert_array_equal(to_numpy(a), draw(numpy))
    np.testing.assert_array_equal(here.permutation(9), numpy.permutation(9))


def test_streams_do_not_change_between_versions():
    """The numbers of a published run: NumPy keeps PCG64 and SeedSequence stable, and so must the path's words."""
    child = np.random.SeedSequence(3, spawn_key=(zlib.crc32(b"weights"), 7))
    expected = np.random.Generator(np.random.PCG64(child)).standard_normal(4)
    got = Streams(3, get_backend("numpy", None, "float64")).child("weights", 7).normal((4,))
    np.testing.assert_array_equal(got, expected)


def test_a_population_member_is_the_single_run(backend: Backend):
    many = Streams([4, 9, 4], backend).child("noise")
    assert many.population == (3,)
    draws = to_numpy(many.normal((2, 5)))
    assert draws.shape == (3, 2, 5)
    for k, seed in enumerate((4, 9, 4)):
        single = Streams(seed, backend).child("noise")
        assert single.population == ()
        np.testing.assert_array_equal(draws[k], to_numpy(single.normal((2, 5))))
    assert Streams([4, 9], backend).permutation(6).shape == (2, 6)


def test_a_path_always_starts_from_its_beginning_and_paths_are_independent():
    streams = Streams(1, get_backend("numpy", None, "float64"))
    first = streams.child("batches", 3).normal((1000,))
    streams.child("batches", 4).normal((10,))
    np.testing.assert_array_equal(streams.child("batches", 3).normal((1000,)), first)
    np.testing.assert_array_equal(streams.child("batches").child(3).normal((1000,)), first)
    for other in (streams.child("batches", 4), streams.child("noise", 3), streams.child("batches"), streams):
        # The correlation of 1,000 independent pairs has standard deviation 0.032; five of them.
        assert abs(np.corrcoef(first, other.normal((1000,)))[0, 1]) < 0.16


@pytest.mark.parametrize("seed", [-1, [], [3, -2]])
def test_seeds_are_checked(seed):
    with pytest.raises(ValueError, match="seed must be a non-negative integer"):
        Streams(seed, get_backend("numpy"))


def run_pytest(tmp_path: Path, backends: str) -> subprocess.CompletedProcess:
    """Run a file with one trivial test of the fixture, with RFNUMERIC_TEST_BACKENDS set."""
    shutil.copy(ROOT / "tests" / "fixture_backends.py", tmp_path)
    (tmp_path / "conftest.py").write_text(
        (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu: x\n    slow: x\n", encoding="utf-8")
    (tmp_path / "test_one.py").write_text("def test_one(backend64):\n    backend64.zeros((1,))\n", encoding="utf-8")
    environment = os.environ | {"RFNUMERIC_TEST_BACKENDS": backends, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)


def test_a_backend_that_is_asked_for_and_missing_fails(tmp_path: Path):
    try:
        get_backend("cupy")
    except BackendError:
        done = run_pytest(tmp_path, "cupy")
        assert done.returncode == 1, done.stdout
        assert "skipped" not in done.stdout
        assert "backend 'cupy' is not usable here" in done.stdout
    else:
        pytest.skip("CuPy and a GPU are here")


def test_backends_are_selected_by_name(tmp_path: Path):
    done = run_pytest(tmp_path, "numpy, array-api-strict")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert "RFNUMERIC_TEST_BACKENDS must name some of" in run_pytest(tmp_path, "dask").stderr


def test_only_a_librarys_own_file_names_it():
    """Adding a backend touches one file and its line in the registry: no other code asks which library it has."""
    package = ROOT / "rfnumeric"
    folders = ("backend", "linalg", "nn", "calculus", "rules", "training")
    names = {name for name in BACKENDS if name != "numpy"} | {p for b in BACKENDS.values() for p in b.packages[:1]}
    found = []
    for path in (path for folder in folders for path in (package / folder).rglob("*.py")):
        if path.name.startswith("on_"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            told = isinstance(node, ast.Constant) and node.value in names - {"numpy"}
            asked = isinstance(node, ast.Attribute) and node.attr in {f"is_{name}_array" for name in names}
            if told or asked:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found


def test_each_library_is_one_file_and_is_found_by_its_arrays(backend: Backend):
    library = backend.library
    assert type(library).__module__.startswith("rfnumeric.backend.on_")
    assert library is BACKENDS[backend.name]
    assert library_of(backend.zeros((1,))) is library
    assert len({type(b).__module__ for b in BACKENDS.values()}) == len(BACKENDS)


def test_an_array_of_a_subclass_belongs_to_its_library():
    class Mine(np.ndarray):
        pass

    assert library_of(np.zeros(2).view(Mine)) is BACKENDS["numpy"]
    assert library_of(object()).name == ""
