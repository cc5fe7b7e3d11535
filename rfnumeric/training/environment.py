"""What a result depends on besides its settings: versions, BLAS and threads, GPU, commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from rfnumeric._version import __version__
from rfnumeric.backend import BACKENDS

PACKAGES = ("scipy", "numba", "array-api-compat", *(name for lib in BACKENDS.values() for name in lib.distributions))


def environment() -> dict[str, Any]:
    """Return the environment of this process as JSON types.

    Returns
    -------
    dict
        ``rfnumeric``, ``python``, ``platform``, ``cpu``, ``cores``, ``packages`` (those installed), ``blas`` (library,
        version, architecture, threads; one entry a loaded pool), ``threads`` (environment variables that are set),
        ``kernels`` and ``commit`` (None outside a clone).
    """
    return {
        "rfnumeric": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "packages": _versions(),
        "blas": blas_pools(),
        "threads": {n: os.environ[n] for n in _THREAD_VARIABLES if n in os.environ},
        "kernels": os.environ.get("RFNUMERIC_KERNELS", "auto"),
        "commit": commit(),
    }


_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def blas_pools() -> list[dict[str, Any]]:
    """Return the BLAS libraries loaded now, NumPy's and SciPy's among them."""
    import numpy  # noqa: F401 (loads its BLAS)
    import scipy.linalg.blas  # noqa: F401 (loads SciPy's)
    import threadpoolctl

    return [
        {
            "library": Path(pool["filepath"]).name,
            "version": pool.get("version"),
            "architecture": pool.get("architecture"),
            "threads": pool["num_threads"],
        }
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    ]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the git commit of the clone this package runs from, ``-dirty`` if changed, or None."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def command() -> str:
    """Return the command line of this process, with the program's name in place of its path."""
    name = Path(sys.argv[0]).name
    return shlex.join([*(["python", "-m", "rfnumeric"] if name == "__main__.py" else [name]), *sys.argv[1:]])
