"""Mutated checkpoints: each ends in the right data or in one clear error, within 10 s and 500 MB of memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and reads memory as Linux does")


@pytest.mark.parametrize(("first", "count"), [(0, 200), pytest.param(200, 10_000, marks=pytest.mark.slow)])
def test_mutated_checkpoints(first, count, tmp_path):
    script = Path(__file__).with_name("checkpoint_mutants.py")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, str(script), str(tmp_path), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert sum(found["counts"].values()) == count
    assert found["slowest"] < 10
    assert found["peak_mb"] < 500
    # The mutations reach both ends: most are refused, and some change nothing that counts.
    assert sum(n for kind, n in found["counts"].items() if kind.endswith("refused")) > 0.7 * count
    assert found["counts"].get("swap right", 0) > 0
