#!/usr/bin/env bash
# Wherever an NVIDIA GPU is: the GPU tests, then the benchmarks on CPU and GPU; results go to docs/results/<GPU>.json.
# Set PYTHON to the interpreter of an environment with rfnumeric, its test requirements and CuPy; PyTorch with CUDA is
# the peer where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python}"

name="$("$PYTHON" - <<'PY'
import sys

from rfnumeric.backend import available_backends

found = available_backends()["cupy"]
if found.startswith("missing"):
    sys.exit(f"no GPU to measure: {found}")
import cupy

print(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode().lower().replace(" ", "-"))
PY
)"
echo "== GPU tests on $name"
RFNUMERIC_TEST_BACKENDS=numpy,cupy "$PYTHON" -m pytest -q -m gpu
echo "== benchmarks"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
"$PYTHON" -m rfnumeric bench --backend numpy --backend cupy --out "$out"
mkdir -p docs/results
mv "$out/results.json" "docs/results/$name.json"
echo "wrote docs/results/$name.json; render it with"
echo "  $PYTHON -m rfnumeric.bench.report docs/results/$name.json docs/benchmarks-$name.md"
