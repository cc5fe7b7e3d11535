"""The cache of compiled loops: cold, unwritable or damaged, a run gives its result and says why it waits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOOP = """
from rfnumeric.kernels._jit import compiled

@compiled("float64(float64[::1])")
def total(x):
    s = 0.0
    for i in range(x.shape[0]):
        s += x[i]
    return s

@compiled()
def twice(x):
    return 2 * total(x)
"""
CALL = "import numpy, loop; print(loop.twice(numpy.ones(5)))"


def _run(folder: Path, code: str = CALL, **environment: str) -> tuple[str, str]:
    """Run Python in `folder`; return its standard output and standard error."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout, run.stderr


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two loops and their filled cache."""
    folder = tmp_path_factory.mktemp("loops")
    (folder / "loop.py").write_text(LOOP, encoding="utf-8")
    out, said = _run(folder)
    assert out == "10.0\n"
    assert said.count("rfnumeric: compiling loops for this processor, which takes 20 to 60 seconds") == 1
    assert said.count("\n") == 1
    return folder


def _files(folder: Path) -> list[Path]:
    files = sorted((folder / "cache").rglob("*.nb[ic]"))
    assert len(files) == 4
    return files


def test_a_warm_cache_is_silent(kept: Path) -> None:
    assert _run(kept) == ("10.0\n", "")


def _damage(data: bytes, how: str) -> bytes:
    if how == "cut":
        return data[: len(data) // 2]
    if how == "empty":
        return b""
    if how == "other bytes":
        return b"\x00" * len(data)
    middle = len(data) // 2  # one bit of the machine code, or of the index
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("how", ["cut", "one bit"])
def test_damage_of_every_file_at_once(kept: Path, how: str) -> None:
    for path in _files(kept):
        path.write_bytes(_damage(path.read_bytes(), how))
    out, said = _run(kept)
    assert out == "10.0\n"
    assert said.count("a damaged file of compiled loops") == 1
    assert _run(kept) == ("10.0\n", "")  # replaced by sound ones


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut", "empty", "other bytes", "one bit"])
@pytest.mark.parametrize("which", range(4))
def test_damage_of_each_file(kept: Path, which: int, how: str) -> None:
    path = _files(kept)[which]
    path.write_bytes(_damage(path.read_bytes(), how))
    assert _run(kept)[0] == "10.0\n"
    assert _run(kept) == ("10.0\n", "")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(LOOP, encoding="utf-8")
    (tmp_path / "__pycache__").write_text("")  # a file, so that it is no folder even for root
    nowhere = str(tmp_path / "__pycache__" / "cache")
    out, said = _run(tmp_path, NUMBA_CACHE_DIR=nowhere, HOME=nowhere, XDG_CACHE_HOME=nowhere)
    assert out == "10.0\n"
    assert said.count("\n") == 1
    assert "in each new process" in said
    assert "set NUMBA_CACHE_DIR" in said


def test_standard_error_closed(kept: Path) -> None:
    code = f"import sys; sys.stderr.close(); {CALL}"
    assert _run(kept, code, NUMBA_CACHE_DIR=str(kept / "another"))[0] == "10.0\n"


def test_without_a_compiler_the_reference_runs(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from rfnumeric.linalg import pinv; from rfnumeric import kernels;"
        "A = np.diag([2.0, 4.0]); print(pinv(A).tolist(), kernels.forced_reference())"
    )
    assert _run(tmp_path, code, NUMBA_DISABLE_JIT="1") == ("[[0.5, 0.0], [0.0, 0.25]] True\n", "")
