"""The command: table, JSON, page, exit codes, and an audit that can fail."""

from __future__ import annotations

import dataclasses
import json

import pytest

from rfnumeric import cli
from rfnumeric.audit import CLAIMS, Measured, all_claims


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["audit", *arguments])
    captured = capsys.readouterr()
    return stopped.value.code, captured.out, captured.err


def test_json_has_the_stated_fields(capsys):
    code, out, err = run(["J05", "w01", "--json", "--seed", "3"], capsys)
    found = json.loads(out)
    assert code == 0
    assert set(found) >= {"command", "environment", "results"}
    assert [r["id"] for r in found["results"]] == ["J05", "W01"]
    for r in found["results"]:
        assert r.keys() >= {"id", "place", "statement", "verdict", "evidence", "ok"}
        assert r["ok"] is True
        assert r["command"] == f"rfnumeric audit {r['id']} --seed 3"
    assert "Contradicted by their evidence: 0" in err.replace("\n", " ")


def test_files_are_written_whole(tmp_path, capsys):
    code, out, _ = run(["J05", "--html", str(tmp_path / "a" / "audit.html"), "--out", str(tmp_path / "b")], capsys)
    assert code == 0
    assert "J05" in out
    assert (tmp_path / "a" / "audit.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads((tmp_path / "b" / "results.json").read_text())["results"][0]["id"] == "J05"
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["audit.html", "results.json"]


def test_a_table_for_many_and_details_for_few(capsys):
    _, few, _ = run(["W01"], capsys)
    assert "hidden: 4" in few
    code, many, _ = run(["W01", "W02", "W03", "W04", "W05", "W06"], capsys)
    assert code == 0
    assert "Counts, tables" in many
    assert "6 claims:" in many


def contradict(monkeypatch, check):
    all_claims()
    monkeypatch.setitem(CLAIMS, "W01", dataclasses.replace(CLAIMS["W01"], check=check))


def test_contradicting_evidence_exits_with_1(monkeypatch, capsys):
    contradict(monkeypatch, lambda lab: Measured(True, "five after all"))
    code, out, _ = run(["W01", "W02"], capsys)
    assert code == 1
    assert "CONTRADICTED: measured “holds”" in out
    assert "Contradicted by their evidence: 1" in out.replace("\n", " ")


def test_a_check_that_raises_is_reported_and_fails(monkeypatch, capsys):
    def broken(lab):
        raise ZeroDivisionError("no layers")

    contradict(monkeypatch, broken)
    code, out, _ = run(["W01", "W02", "--json"], capsys)
    first, second = json.loads(out)["results"]
    assert code == 1
    assert first["evidence"] == "The check raised ZeroDivisionError: no layers"
    assert (first["ok"], second["ok"]) == (False, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Q99"], "ID must be one of the"),
        (["W01", "--backend", "abacus"], "backend must be one of"),
        (["W01", "--dtype", "float8"], "dtype must be one of"),
        (["W01", "--seed", "-1"], "seed must be"),
    ],
)
def test_wrong_options_are_one_line_and_exit_2(arguments, said, capsys):
    code, out, err = run(arguments, capsys)
    assert code == 2
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1
