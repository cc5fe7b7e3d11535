"""How good the tests are at finding faults: single tokens of the source are changed, one at a time, and the tests run.

    python tests/mutation.py --mutants 200 --out docs/results/mutation

draws mutants at random over the modules of `TARGETS`, in a copy of the tree, and counts those that a test catches. A
mutant that no test catches is a test that is missing, or changes nothing that anyone can see (an equivalent one).
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS: dict[str, tuple[str, ...]] = {
    "rfnumeric/linalg/*.py": ("tests/linalg", "tests/public_cases", "tests/testing"),
    "rfnumeric/nn/*.py": ("tests/nn", "tests/calculus", "tests/rules"),
    "rfnumeric/rules/*.py": ("tests/rules", "tests/nn", "tests/outside", "tests/training"),
    "rfnumeric/kernels/reference*.py": ("tests/kernels", "tests/nn", "tests/rules", "tests/linalg"),
    "rfnumeric/training/optimizers.py": ("tests/training/test_optimizers.py", "tests/training/test_runs.py"),
}
"""Modules → where their tests are, the nearest first. A test file that is named like the module runs before all."""

LEFT_OUT = ("test_first_commands", "test_downloads", "test_terminals", "test_run_folders", "test_data_files")
"""Tests of commands, files and terminals: they run none of these modules' arithmetic on purpose, and take long."""

COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.Pow: "*", ast.FloorDiv: "*", ast.Mod: "*"}
BOOLEANS = {ast.And: "or", ast.Or: "and"}
NAMES = {"max": "min", "min": "max", "any": "all", "all": "any", "maximum": "minimum", "minimum": "maximum"}


@dataclass(frozen=True)
class Mutant:
    """One token of a file, and what takes its place."""

    file: str
    line: int
    column: int
    before: str
    after: str

    def apply(self, source: str) -> str:
        """Return the source with the change."""
        lines = source.splitlines(keepends=True)
        # ast counts columns in bytes of UTF-8.
        line = lines[self.line - 1].encode()
        assert line[self.column :].startswith(self.before.encode()), self
        end = self.column + len(self.before.encode())
        lines[self.line - 1] = (line[: self.column] + self.after.encode() + line[end:]).decode()
        return "".join(lines)


def mutants(path: Path) -> list[Mutant]:
    """Return every mutant of a file."""
    source = path.read_text(encoding="utf-8")
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    file = str(path.relative_to(ROOT))
    found = []

    def between(left: ast.expr, right: ast.expr, before: str, after: str) -> None:
        """Note an operator that stands between two expressions of one line."""
        if left.end_lineno != right.lineno:
            return
        start, stop = left.end_col_offset or 0, right.col_offset
        at = lines[right.lineno - 1].find(before.encode(), start, stop)
        if at >= 0:
            found.append(Mutant(file, right.lineno, at, before, after))

    for node in _code(ast.parse(source)):
        if isinstance(node, ast.Compare):
            for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                between(left, right, _sign(op), COMPARISONS[type(op)])
        elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not isinstance(node.left, ast.JoinedStr):
            between(node.left, node.right, _sign(node.op), OPERATORS[type(node.op)])
        elif isinstance(node, ast.BoolOp):
            for left, right in zip(node.values, node.values[1:], strict=False):
                between(left, right, _sign(node.op), BOOLEANS[type(node.op)])
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            before = ast.get_source_segment(source, node) or ""
            after = {True: "False", False: "True"}[node.value] if isinstance(node.value, bool) else f"({before} + 1)"
            found.append(Mutant(file, node.lineno, node.col_offset, before, after))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            sign = "not " if isinstance(node.op, ast.Not) else "~"
            found.append(Mutant(file, node.lineno, node.col_offset, sign, ""))
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in NAMES and node.func.end_col_offset is not None:
                at = node.func.end_col_offset - len(name)
                found.append(Mutant(file, node.func.end_lineno or node.lineno, at, name, NAMES[name]))
    return found


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk over what runs: not annotations, docstrings, nor what only builds the text of an error."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Raise | ast.JoinedStr) or (isinstance(node, ast.Expr) and _is_text(node.value)):
            continue
        if isinstance(node, ast.FunctionDef):
            parts: list[ast.AST] = [*node.body, *node.args.defaults, *(d for d in node.args.kw_defaults if d)]
            yield from _walk(parts)
        elif isinstance(node, ast.AnnAssign):
            yield from _walk([node.value] if node.value else [])
        else:
            yield node
            yield from _code(node)


def _walk(nodes: list[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        yield from _code(ast.Module(body=[node] if isinstance(node, ast.stmt) else [ast.Expr(node)], type_ignores=[]))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _sign(op: ast.AST) -> str:
    signs = {
        ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is",
        ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/",
        ast.Pow: "**", ast.FloorDiv: "//", ast.Mod: "%", ast.And: "and", ast.Or: "or", ast.BitAnd: "&", ast.BitOr: "|",
    }  # fmt: skip
    return signs[type(op)]


def all_mutants() -> list[tuple[Mutant, tuple[str, ...]]]:
    """Return every mutant of the targets, with the places of its tests."""
    found = []
    for pattern, tests in TARGETS.items():
        for path in sorted(ROOT.glob(pattern)):
            if path.name != "__init__.py":
                found += [(mutant, tests) for mutant in mutants(path)]
    return found


def test_files(mutant: Mutant, tests: tuple[str, ...]) -> list[str]:
    """Return the test files to run: those named like the module first, then the nearest places."""
    stem = Path(mutant.file).stem.lstrip("_").removeprefix("reference_")
    files = [
        f
        for place in tests
        for f in ([ROOT / place] if place.endswith(".py") else sorted((ROOT / place).glob("test_*.py")))
    ]
    kept = [f for f in files if f.stem not in LEFT_OUT and "cuda" not in f.stem]
    words = {stem, *stem.split("_")}
    near = [f for f in kept if words & set(f.stem.removeprefix("test_").split("_")) or stem.startswith(f.stem[5:-1])]
    return [str(f.relative_to(ROOT)) for f in dict.fromkeys([*near, *kept])]


def copy_tree(target: Path) -> None:
    """Copy what the tests need, and put data and benchmarks where an installation has them."""
    for name in ("rfnumeric", "tests", "benchmarks", "data", "docs", "examples"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "_build", "*.png"))
    for name in ("setup.cfg", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, target / name)
    for name in ("benchmarks", "data"):
        (target / "rfnumeric" / name).symlink_to(target / name)


def survives(mutant: Mutant, tests: tuple[str, ...], tree: Path, limit: float) -> tuple[bool, str]:
    """Run the tests on a mutant; return whether none failed, and the first that did."""
    path = tree / mutant.file
    kept = path.read_text(encoding="utf-8")
    path.write_text(mutant.apply(kept), encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(tree), "RFNUMERIC_TEST_BACKENDS": "numpy,array-api-strict", "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(tree / "numba"), "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *test_files(mutant, tests)]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"took longer than {limit:.0f} s"
    finally:
        path.write_text(kept, encoding="utf-8")
    if done.returncode == 0:
        return True, ""
    told = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return False, (told or done.stdout.splitlines()[-1:] or [done.stderr[-200:]])[0]


def main() -> None:
    """Draw mutants, run the tests on each, and write what survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="skip so many of those drawn, e.g. to share the work")
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds that one mutant's tests may take")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    drawn = random.Random(options.seed).sample(all_mutants(), options.mutants)[options.first :]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        for mutant, tests in drawn:
            started = time.perf_counter()
            alive, why = survives(mutant, tests, tree, options.limit)
            found.append({**asdict(mutant), "killed": not alive, "by": why, "seconds": time.perf_counter() - started})
            mark = "SURVIVED" if alive else "killed"
            print(f"{mark} {mutant.file}:{mutant.line} {mutant.before!r} → {mutant.after!r} {why[:90]}", flush=True)
            if options.out:
                options.out.mkdir(parents=True, exist_ok=True)
                written = {"seed": options.seed, "first": options.first, "mutants": found}
                (options.out / "results.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    killed = sum(m["killed"] for m in found)
    print(f"{killed} of {len(found)} killed ({100 * killed / len(found):.1f} %)")


if __name__ == "__main__":
    main()
