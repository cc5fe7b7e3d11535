"""Every accelerated kernel against its array-API reference, over shapes, layouts, dtypes and extreme values."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import image_cases  # noqa: F401 (adds the twins of kernels on images)
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from kernel_cases import TWIN_SETTINGS, TWINS, Case, compare

from rfnumeric.backend import get_backend
from rfnumeric.errors import BackendError
from rfnumeric.kernels import Kernel, accelerated_kernels
from rfnumeric.kernels.registry import ACCELERATED


def numpy_entries() -> list:
    return [
        pytest.param(function, name, dtype, id=f"{name}-{dtype}")
        for name, (function, dtypes) in sorted(accelerated_kernels("numpy").items())
        for dtype in sorted(dtypes)
    ]


@pytest.mark.parametrize(("implementation", "name", "dtype"), numpy_entries())
@TWIN_SETTINGS
@given(data=st.data())
def test_numpy_twin(implementation, name, dtype, data):
    compare(implementation, name, Case(data, np, dtype))


def cupy_entries() -> list:
    return [
        pytest.param(name, dtype, id=f"{name}-{dtype}", marks=pytest.mark.gpu)
        for name, dtypes in sorted(registered_in_source("cupy").items())
        for dtype in dtypes
    ]


def registered_in_source(library: str) -> dict[str, tuple[str, ...]]:
    """Read the registrations of a library from the source, so that they are known where it cannot be imported."""
    found = {}
    for module in ACCELERATED[library]:
        tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "implements":
                name, lib, *rest = node.args
                assert ast.literal_eval(lib) == library
                literal = isinstance(rest[0], ast.Tuple) if rest else False
                found[ast.literal_eval(name)] = ast.literal_eval(rest[0]) if literal else ("float32", "float64")
    return found


@pytest.mark.parametrize(("name", "dtype"), cupy_entries())
@TWIN_SETTINGS
@given(data=st.data())
def test_cupy_twin(name, dtype, data):
    try:
        get_backend("cupy")
    except BackendError as error:
        pytest.skip(str(error))
    import cupy

    compare(accelerated_kernels("cupy")[name][0], name, Case(data, cupy, dtype))


def untested(registered: set[str]) -> set[str]:
    """Return registered names that have no twin test or that no kernel has."""
    return {name for name in registered if name not in TWINS or name not in Kernel.instances}


@pytest.mark.parametrize("library", sorted(ACCELERATED))
def test_every_accelerated_kernel_has_a_twin_test(library):
    registered = set(registered_in_source(library))
    assert registered, f"no kernel found for {library}"
    assert untested(registered) == set()


def test_the_registrations_read_from_source_are_those_of_the_registry():
    assert set(registered_in_source("numpy")) == set(accelerated_kernels("numpy"))


def test_the_meta_test_can_fail():
    assert untested({"matmul", "no_such_kernel"}) == {"no_such_kernel"}
    assert untested(set(TWINS)) == set()


@pytest.mark.parametrize("name", sorted(TWINS))
def test_a_twin_test_can_fail(name):
    """A twin that is off by one part in a hundred, in one place, does not pass."""

    def damaged(*args):
        result = Kernel.instances[name].reference(*args)
        first, *rest = result if isinstance(result, tuple) else (result,)
        first = np.array(first)
        first.reshape(-1)[-1:] += 0.01 * np.abs(first.reshape(-1)[-1:]) + 0.01
        return (first, *rest) if isinstance(result, tuple) else first

    @settings(TWIN_SETTINGS, phases=[Phase.generate])
    @given(data=st.data())
    def run(data):
        compare(damaged, name, Case(data, np, "float64"))

    with pytest.raises(AssertionError):
        run()


def test_kernels_listed_as_not_yet_run_on_a_gpu_exist():
    source = Path(importlib.util.find_spec("rfnumeric.kernels._cupy").origin).read_text(encoding="utf-8")
    values = {node.targets[0].id: node.value for node in ast.parse(source).body if isinstance(node, ast.Assign)}
    listed = set(ast.literal_eval(values["NOT_YET_RUN_ON_A_GPU"]))
    assert listed <= set(registered_in_source("cupy"))
