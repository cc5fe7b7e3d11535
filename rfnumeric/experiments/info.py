"""What `rfnumeric info` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from rfnumeric.backend import available_backends
from rfnumeric.experiments.report import report, show


def publish(*, out: Path | None, as_json: bool) -> None:
    """Print the environment and which backends can be used; write ``results.json`` into `out`."""
    backends = [{"backend": name, "found": found} for name, found in available_backends().items()]
    document = report(backends, out=out)
    table = Table(show_header=False, title="rfnumeric " + document["environment"]["rfnumeric"], title_justify="left")
    for name, value in document["environment"].items():
        if name != "rfnumeric":
            table.add_row(name, _text(value))
    for entry in backends:
        table.add_row(f"backend {entry['backend']}", entry["found"])
    show(document, *([] if as_json else [table]), as_json=as_json)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(_text, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "–"
    return "–" if value is None else str(value)
