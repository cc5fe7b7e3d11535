"""What `rfnumeric datasets` prints: which data sets are at hand, what was fetched, whether files are genuine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from rfnumeric import datasets
from rfnumeric.experiments.report import report, show


def publish_list(data_dir: Path | None, *, out: Path | None, as_json: bool) -> None:
    """Print every data set's name, whether it is present, and where."""
    table = Table()
    for name in ("Data set", "Present", "Folder", "Missing"):
        table.add_column(name)
    results = []
    for name in datasets.names():
        found = datasets.status(name, data_dir)
        missing = list(found.missing)
        results.append({
            "dataset": name,
            "present": found.present,
            "directory": str(found.directory),
            "missing": missing,
        })
        table.add_row(name, "yes" if found.present else "no", str(found.directory), ", ".join(missing))
    show(report(results, out=out), table, as_json=as_json)


def publish_fetch(name: str, data_dir: Path | None, *, out: Path | None, as_json: bool) -> None:
    """Download what is missing and print where the files lie."""
    files = [str(path) for path in datasets.fetch(name, data_dir, progress=True)]
    document = report([{"dataset": name, "file": file} for file in files], out=out)
    where = ", ".join(files) or f"{datasets.status(name, data_dir).directory} (nothing was missing)"
    show(document, f"{name} is at {where}", as_json=as_json)


def publish_verify(name: str, data_dir: Path | None, *, out: Path | None, as_json: bool) -> bool:
    """Print expected and found checksums of each file; return whether all agree."""
    checks = datasets.verify(name, data_dir)
    table = Table()
    for column in ("File", "Expected", "Found", "OK"):
        table.add_column(column, overflow="fold")
    for check in checks:
        table.add_row(str(check.file), str(check.expected), str(check.found), "yes" if check.ok else "NO")
    results = [{**{key: str(v) for key, v in asdict(check).items()}, "ok": check.ok} for check in checks]
    show(report(results, out=out), table, as_json=as_json)
    return all(check.ok for check in checks)
