"""Run every command that README.md or a --help names, quickly and twice into the same folder.

``python .ci/first_commands.py`` needs an installed rfnumeric, and is meant for one without extras. Commands are found
in the README and in the tree of commands, not listed: one that has no quick form below is a failure.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import typer

from rfnumeric.cli import app

SMALL = ["--sizes", "784,8,10", "--epochs", "1", "--batch-size", "500"]
SEARCH = ["--search", "random", "--configurations", "2"]  # HyperOpt is an extra
QUICK: dict[str, list[str]] = {
    "compare": SMALL,
    "train": SMALL,
    "sweep": [*SEARCH, *SMALL],
    "audit": ["J05", "W01"],
    "bench": ["--quick", "startup"],
    "info": [],
    "rules": ["rf-two-phase"],
    "reproduce table1": ["--quick", "--epochs", "1", "--seeds", "1"],
    "reproduce figure4": ["--quick", "--epochs", "1"],
    "reproduce figure1": ["--starts", "2", "--iterations", "20"],
    "datasets list": [],
    "datasets verify": ["mnist-5k"],
    "datasets fetch": ["mnist-5k"],
    "study map": ["--quick", "--epochs", "1", "--seeds", "1", "--gains", "1"],
    "study ablation": ["--quick", "--seeds", "1", "--trials", "backprop"],
    "study stability": ["--quick", "--seeds", "1", "--slopes", "0.5"],
}
"""Command → the options with which it takes seconds and needs neither the network nor an extra."""


def leaves(command: Any = None, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return every command that --help names, groups left out: its words → itself."""
    command = typer.main.get_command(app) if command is None else command
    below = getattr(command, "commands", None)
    if below is None:
        return {" ".join(path): command}
    return {name: leaf for word, one in below.items() for name, leaf in leaves(one, (*path, word)).items()}


def of_readme(text: str) -> list[list[str]]:
    """Return the command lines of a Markdown text, in backquotes or in blocks of sh, without the program's name."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [part for piece in (*blocks, *spans) for part in re.split(r"&&|;|\n", piece)]
    found = []
    for line in lines:
        words = shlex.split(line.replace("[TOPIC …]", ""))
        if words and words[0].rpartition("/")[2] == "rfnumeric" and words[1:]:
            found.append(words[1:])
    return found


def leaf(words: list[str]) -> Any:
    """Return the command that a line runs, or None; for the options that stand before any command, all commands."""
    if words[0].startswith("--"):
        return typer.main.get_command(app)
    known = leaves()
    name = next((n for n in (" ".join(words[:2]), words[0]) if n in known), None)
    return None if name is None else known[name]


def unknown_options(words: list[str]) -> list[str]:
    """Return the options of a line that its command does not have."""
    known = {"--help", *(o for p in leaf(words).params for o in (*p.opts, *p.secondary_opts))}
    return [w for w in (word.partition("=")[0] for word in words) if w.startswith("--") and w not in known]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess:
    """Run one command in a folder."""
    command = [sys.executable, "-m", "rfnumeric", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def main() -> int:
    """Check and run everything; return how many failed."""
    failures = []
    commands = leaves()
    failures += [f"no quick form of {name}: add it to QUICK in {__file__}" for name in commands if name not in QUICK]
    for line in of_readme(Path("README.md").read_text(encoding="utf-8")):
        if leaf(line) is None or unknown_options(line):
            failures.append(f"README.md names what does not exist: rfnumeric {shlex.join(line)}")
    tasks = [(name, [*name.split(), *QUICK[name]]) for name in commands if name in QUICK]
    for words in (["--version"], ["--help"], *([*name.split(), "--help"] for name in commands)):
        tasks.append((" ".join(words), words))
    with tempfile.TemporaryDirectory() as folder:
        for name, words in tasks:
            takes_out = name in commands and any(p.name == "out" for p in commands[name].params)
            given = [*words, *(["--out", name.replace(" ", "-")] if takes_out else [])]
            for time in ("first", "second") if takes_out else ("first",):
                done = run(given, Path(folder))
                # A second run may refuse a folder that holds another's results, in one line.
                refused = time == "second" and done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
                sound = (done.returncode == 0 or refused) and "Traceback" not in done.stderr
                print(
                    f"{'ok ' if sound else 'BAD'} {done.returncode} {time}: rfnumeric {shlex.join(given)}", flush=True
                )
                if not sound:
                    failures.append(f"rfnumeric {shlex.join(given)}: {done.stderr.strip()[-1000:]}")
    print(*failures, sep="\n", file=sys.stderr)
    return len(failures)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
