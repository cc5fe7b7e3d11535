"""The script that draws mutants: each one changes one token, and is Python."""

from __future__ import annotations

import ast
import random

import mutation


def test_mutants_change_one_token_and_compile():
    drawn = random.Random(1).sample(mutation.all_mutants(), 150)
    for mutant, tests in drawn:
        source = (mutation.ROOT / mutant.file).read_text(encoding="utf-8")
        changed = mutant.apply(source)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source)), mutant
        assert sum(a != b for a, b in zip(source.splitlines(), changed.splitlines(), strict=True)) == 1
        assert mutation.test_files(mutant, tests)


def test_what_runs_is_mutated_and_texts_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    path = tmp_path / "m.py"
    path.write_text(
        "def f(x: int = 3) -> int:\n"
        '    "Add 1."\n'
        "    if not x < 2 and x:\n"
        '        raise ValueError(f"{x + 1}")\n'
        "    return max(x, 1) - 2\n"
    )
    found = {(m.before, m.after) for m in mutation.mutants(path)}
    assert found == {
        ("3", "(3 + 1)"),
        ("not ", ""),
        ("<", "<="),
        ("2", "(2 + 1)"),
        ("and", "or"),
        ("max", "min"),
        ("1", "(1 + 1)"),
        ("-", "+"),
    }
