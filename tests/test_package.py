"""The package as it is installed: what a wheel holds, what an import loads, what may import what."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rfnumeric

ROOT = Path(__file__).parents[1]


def test_setup_cfg_lists_every_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split()) - {"rfnumeric.benchmarks", "rfnumeric.data"}
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "rfnumeric").rglob("__init__.py")}
    assert listed == found


def test_import_loads_no_compiler_and_no_gpu_library():
    heavy = ("numba", "cupy", "torch", "jax", "matplotlib", "pooch")
    code = f"import sys, rfnumeric, rfnumeric.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_compiled_loops_leave_nothing_in_the_package():
    """Files that pip does not know of would keep a folder in site-packages that hides an editable install."""
    from rfnumeric.kernels import _numba

    package = Path(rfnumeric.__file__).parent
    assert package not in Path(_numba.leaky_relu_loop._cache.cache_path).parents


def test_import_contract():
    lint = pytest.importorskip("importlinter.cli", reason="import-linter is not installed")
    if not (ROOT / "rfnumeric").samefile(Path(rfnumeric.__file__).parent):
        pytest.skip("the contract is checked on a clone")
    assert lint.lint_imports(config_filename=str(ROOT / "setup.cfg"), no_cache=True) == 0


def test_readme_commands_are_single_lines():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    assert all(len(block.strip().splitlines()) == 1 for block in blocks[:2])


def test_docs_list_the_kernels_that_no_gpu_has_run():
    source = (ROOT / "rfnumeric" / "kernels" / "_cupy.py").read_text(encoding="utf-8")
    (assignment,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NOT_YET_RUN_ON_A_GPU"
    ]
    section = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8").split("## Not yet run on a GPU")[1]
    assert set(re.findall(r"`(\w+)`", section)) - {"gpu"} == set(ast.literal_eval(assignment.value))


def test_docs_list_every_kernel_and_the_file_of_its_twins():
    from rfnumeric.kernels import Kernel, accelerated_kernels

    page = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:4] for line in page.splitlines() if line.startswith("| `")]
    listed = {name: row[2] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert set(listed) == set(Kernel.instances)
    for name, (function, _) in accelerated_kernels("numpy").items():
        assert f"`{function.__module__.rpartition('.')[2]}`" in listed[name], name
    files = {path.stem for path in (ROOT / "rfnumeric" / "kernels").glob("_*.py")} - {"__init__", "_jit"}
    assert files <= set(re.findall(r"`(\w+?)(?:\.py)?`", page))


def test_readme_example_prints_what_it_says():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code, output = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, flags=re.DOTALL).groups()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Another processor's rounding may move an accuracy by a sample or two.
    said, printed = ([float(n) for n in re.findall(r"[\d.]+", part)] for part in (output, done.stdout))
    assert re.sub(r"[\d.]+", "#", done.stdout) == re.sub(r"[\d.]+", "#", output)
    assert max(abs(a - b) for a, b in zip(said, printed, strict=True)) <= 2
