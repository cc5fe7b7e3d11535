"""Whatever the terminal's encoding, width and patience: commands end with their usual status and keep their results."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

import rfnumeric
from rfnumeric.errors import DataError
from rfnumeric.spelling import spell, visible
from rfnumeric.terminal import Screen

QUICK = ("train", "--sizes", "784,6,10", "--epochs", "1", "--batch-size", "2000")
TERMINALS = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii, strict": {"PYTHONIOENCODING": "ascii:strict"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
    "dumb": {"TERM": "dumb", "COLUMNS": "40"},
    "80 columns": {"COLUMNS": "80", "FORCE_COLOR": "1"},
}
HELP = """
def walk(command, path):
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, [*path, name])
lines = [[*path, "--help"] for path in walk(cli.typer.main.get_command(cli.app), [])]
"""
# Several command lines in one process, since starting one takes longer than most of them.
RUN = """
import sys
from rfnumeric import cli
%s
for line in lines:
    try:
        cli.main(line)
    except SystemExit as end:
        assert not end.code, (line, end.code)
        sys.stdout.flush()
"""


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, **options.pop("env", {})}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, timeout=300, env=environment, **options)


@pytest.mark.parametrize("terminal", TERMINALS.values(), ids=TERMINALS)
def test_help_of_every_command(terminal):
    done = run("-c", RUN % HELP, env=terminal)
    assert done.returncode == 0, done.stderr.decode("ascii", "replace")
    encoding = terminal.get("PYTHONIOENCODING", "utf-8").partition(":")[0] or "ascii"
    text = done.stdout.decode(encoding)
    for command in ("compare", "train", "sweep", "table1", "figure1", "ablation", "list"):
        assert f"rfnumeric {command}" in text or f" {command}" in text
    assert not re.search(r"\\[ux][0-9a-f]", text)
    if encoding == "ascii":
        assert "<- W -" in text  # W ← W − β(…)W


@pytest.mark.parametrize("name", ["cp1252", "C locale"])
def test_results_and_tables_are_printed_and_kept(name, tmp_path):
    out = tmp_path / "results"
    lines = [[*QUICK, "--out", str(out)], ["audit", "J05"], ["datasets", "list"], ["info"]]
    done = run("-c", RUN % f"lines = {lines!a}", env=TERMINALS[name])
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in (b"completed", b"J05", b"mnist-5k", b"numpy"))
    assert json.loads((out / "results.json").read_text("utf-8"))["results"][0]["status"] == "completed"


@pytest.mark.parametrize("name", ["ascii, strict", "cp1252", "80 columns"])
def test_an_error_about_what_no_encoding_has(name):
    done = run("-m", "rfnumeric", "train", "--rule", "W⁺\x1b[2J☃", env=TERMINALS[name])
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert b"\x1b[2J" not in done.stderr


@pytest.mark.parametrize("ending", ["| head -1", ">&- 2>&-", ">/dev/full"])
def test_nobody_listens(ending, tmp_path):
    """The reader leaves, or there is none: files are whole; only a full disk is worth a word and a status."""
    command = " ".join([sys.executable, "-m", "rfnumeric", *QUICK, "--json", "--out", str(tmp_path)])
    done = run("-c", f"import subprocess; raise SystemExit(subprocess.call({f'set -o pipefail; {command} {ending}'!r},"
               " shell=True, executable='/bin/bash'))")  # fmt: skip
    assert done.returncode == (2 if "full" in ending else 0), done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert (b"No space left" in done.stderr) == ("full" in ending)
    assert json.loads((tmp_path / "results.json").read_text())["results"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "history.jsonl").read_text().endswith("}\n")


def test_a_file_opened_after_a_closed_output_is_not_written_to(tmp_path):
    """The first file that is opened would be descriptor 1, and get the table in its midst."""
    command = f"{sys.executable} -m rfnumeric info --out {tmp_path} >&- 2>&- <&-"
    assert subprocess.run(command, shell=True).returncode == 0
    assert json.loads((tmp_path / "results.json").read_text())["results"]


def test_square_brackets_and_escapes_in_names(tmp_path):
    out = tmp_path / "a[/b] [red]:smile:"
    lines = [["info", "--out", str(out)], ["datasets", "list", "--data-dir", f"{out}\x1b[31m\udcff"]]
    done = run("-c", RUN % f"lines = {lines!a}", env={"COLUMNS": "500"})
    assert done.returncode == 0, done.stderr
    assert f"{out}\\x1b[31m\\xff".encode() in done.stdout
    assert str(DataError("gone\x1b[2J\u202e\x9b")) == "gone\\x1b[2J\\u202e\\x9b"


def test_every_character_that_the_package_uses_has_a_spelling():
    package = Path(rfnumeric.__file__).parent
    used = set().union(*(path.read_text("utf-8") for path in package.rglob("*.py")))
    assert len({c for c in used if not c.isascii()}) > 50
    assert [c for c in sorted(used) if not c.isascii() and "\\" in spell(c)] == []


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("V⁺ ≥ 3·10⁻⁷", "V+ >= 3*10^-7"),
        ("∥x∥₂ → ½μ", "||x||_2 -> 1/2mu"),
        ("γA, γ", "gamma A, gamma"),
        ("Åse — naïve", "Ase - naive"),
        ("├──┤", "+--+"),
    ],
)
def test_spellings(text, spelled):
    assert spell(text) == spelled


@given(st.text(), st.sampled_from(["ascii", "latin-1", "cp1252", "cp437", "utf-8", "koi8-r"]))
def test_any_text_can_be_shown(text, encoding):
    shown = spell(visible(text), encoding)
    shown.encode(encoding)
    assert not any(unicodedata.category(c) == "Cc" and c not in "\t\n" for c in shown)
    if not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text):
        assert spell(visible(text), "utf-8") == text  # what can be shown is shown as it is


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4), st.sampled_from(["ascii", "latin-1", "utf-8"]))
def test_tables_keep_their_lines(cells, encoding):
    """In a narrow encoding every line of a table ends where the others do, whatever the cells hold."""

    class Recorder(list):
        def write(self, text):
            text.encode(encoding)
            self.append(text)

        def flush(self):
            pass

    recorder = Recorder()
    recorder.encoding = encoding
    screen = Screen()
    screen.file, screen._width = recorder, 100
    table = Table()
    for k in range(len(cells)):
        table.add_column(str(k))
    table.add_row(*cells)
    table.add_row(*(Text(cell, style="bold") for cell in cells))
    screen.print(table)
    lines = "".join(recorder).rstrip("\n").split("\n")
    assert len({Text(line).cell_len for line in lines}) == 1
