"""A benchmark's results as tables, Markdown and figures; nothing is written that the results do not hold.

``python -m rfnumeric.bench.report RESULTS.json PAGE.md`` renders a page of the documentation, with its
figures in ``figures/`` beside it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from rfnumeric.bench.timing import CONTESTANT
from rfnumeric.training.files import write_atomically

Results = Sequence[dict[str, Any]]
NOT_MEASURED = "not measured"


def results_tables(results: Results) -> list[Table]:
    """Return all results as tables for the terminal, one a benchmark; what all its rows share stands in the title."""
    tables = []
    for name, rows in _sections(results):
        shared = _shared(rows)
        also = ", ".join(map(str, shared.values()))
        table = Table(title=f"{name} ({also})" if also else name, title_justify="left", box=box.SIMPLE_HEAD)
        head, body = _cells(rows, shared)
        for i, column in enumerate(head):
            table.add_column(column, justify="left" if i < len(rows[0]["params"]) - len(shared) else "right")
        for cells in body:
            table.add_row(*cells)
        tables.append(table)
    return tables


def _cells(rows: Results, shared: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of one benchmark's table: what varies, time with spread, and the ratios that there are."""
    varying = [k for k in rows[0]["params"] if k not in shared]
    if "value" in rows[0]:
        return [*varying, "value"], [
            [*(str(r["params"][k]) for k in varying), _value(r["value"], r["unit"])] for r in rows
        ]
    bound = any(r["ratio_to_bound"] is not None for r in rows)
    peers = list(dict.fromkeys(peer for r in rows for peer in r["ratio_to_peers"]))
    head = [
        *varying,
        "median",
        "spread",
        *(["/ bound"] if bound else []),
        *(f"/ {peer.removeprefix('time_')}" for peer in peers),
    ]
    body = []
    for r in rows:
        ratios = [r["ratio_to_bound"]] * bound + [r["ratio_to_peers"].get(peer) for peer in peers]
        cells = [*(str(r["params"][k]) for k in varying), _time(r["median_s"])]
        spread = 100 * r["spread"] / r["median_s"]
        body.append([*cells, f"{spread:.0f} %", *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)])
    return head, body


def targets_table(targets: Results) -> Table:
    """Return the targets as a table for the terminal."""
    table = Table(title="Targets", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("Target", overflow="fold")
    for name in ("Limit", "Measured", "Met"):
        table.add_column(name, justify="right")
    for target in targets:
        table.add_row(target["target"], *_target(target))
    return table


def skipped_table(not_measured: dict[str, str]) -> list[Table]:
    """Return what was not measured, and why, as a table for the terminal; none where all was."""
    table = Table(title="Not measured", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("What")
    table.add_column("Why")
    for names, reason in _by_reason(not_measured):
        table.add_row(names, reason if reason.startswith("failed: ") else f"skipped: {reason}")
    return [table] if not_measured else []


def _by_reason(not_measured: dict[str, str]) -> list[tuple[str, str]]:
    """Return each reason once, behind the first benchmark that it is of and the number of the others."""
    reasons: dict[str, list[str]] = {}
    for name, reason in not_measured.items():
        reasons.setdefault(reason, []).append(name)
    return [(f"{n[0]}{f', and {len(n) - 1} more' if len(n) > 1 else ''}", reason) for reason, n in reasons.items()]


def missed(targets: Results) -> list[str]:
    """Return lines that count the targets and name each one that is missed, with its number and its limit."""
    counts = [sum(t["met"] is met for t in targets) for met in (True, False, None)]
    lines = ["{} met, {} missed, {} not measured.".format(*counts)]
    for target in targets:
        if target["met"] is False:
            limit, measured, _ = _target(target)
            lines.append(f"- Missed: {target['target']}: {measured}, not {limit}.")
    return lines if len(lines) == 1 else [lines[0], "", *lines[1:]]


def _params(result: dict[str, Any], without: Iterable[str] = ()) -> str:
    return ", ".join(f"{k}={v}" for k, v in result["params"].items() if k not in without)


def _value(value: float, unit: str) -> str:
    return f"{value / 2**20:.0f} MiB" if unit == "bytes" else f"{value:.4g} {unit}".strip()


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _target(target: dict[str, Any]) -> tuple[str, str, str]:
    limit = f"{'≤' if target['at_most'] else '≥'} {target['limit']:g}{target['unit']}"
    if target["measured"] is None:
        return limit, NOT_MEASURED, "–"
    return limit, f"{target['measured']:.3g}{target['unit']}", "yes" if target["met"] else "no"


def markdown(document: dict[str, Any], figures: Sequence[tuple[str, str]] = ()) -> str:
    """Return a report as Markdown.

    Parameters
    ----------
    document : dict
        What ``rfnumeric bench`` writes into ``results.json``.
    figures : sequence of (caption, path)
        Relative to the page.
    """
    lines = ["# Benchmarks", "", *_how(document), "", "## Targets", ""]
    rows = [(t["target"], *_target(t)) for t in document["targets"]]
    lines += [*missed(document["targets"]), ""]
    lines += _table(("target", "limit", "measured", "met"), rows)
    if document["exponents"]:
        lines += ["", "## Growth of a step's time", ""]
        lines += [
            "Time ∝ value^p: p over all values, p between the two largest, and the exponent of the number of",
            "operations. Hidden layers of one width have square weights, which are ill-conditioned when drawn from a",
            "normal distribution; from some hundred rows on `pinv` takes the SVD for some, which rf-two-phase shows.",
            "",
        ]
        head = ("rule", "quantity", "values", "p", "p, largest", "operations")
        lines += _table(head, [_exponent(e) for e in document["exponents"]])
    for caption, path in figures:
        lines += ["", f"![{caption}]({path})"]
    lines += ["", "## All results", ""]
    lines += [
        "*Bound*: the time of the bare matrix products that the work needs, or of its bytes at the bandwidth of a copy",
        "of that size; 1.0 is the limit. The columns behind it: time over a peer's for the same work; below 1 is",
        "faster. *Spread*: interquartile range of the rounds over their median.",
    ]
    for name, rows in _sections(document["results"]):
        shared = _shared(rows)
        also = ", ".join(f"{k} {v}" for k, v in shared.items())
        lines += ["", f"### {name}" + (f" ({also})" if also else ""), ""]
        lines += _table(*_cells(rows, shared))
    if document["not_measured"]:
        lines += ["", "## Not measured", ""]
        lines += [f"- {reason}: {names}" for names, reason in _by_reason(document["not_measured"])]
    return "\n".join(lines) + "\n"


def _how(document: dict[str, Any]) -> list[str]:
    here, settings = document["environment"], document["settings"]
    packages = ", ".join(f"{name} {version}" for name, version in here["packages"].items())
    pools = sorted({f"{p['library']} {p['version']} ({p['architecture']})" for p in here["blas"]})
    gpus = ", ".join(settings["gpus"]) or "none; every GPU number is “not measured”"
    return [
        f"Rendered from the JSON of `{document['command']}`; no number here was typed.",
        "Medians over rounds in which the contestants take turns in one process; a ratio is the median of the",
        "rounds' ratios, in which what slows a whole round cancels. `rfnumeric bench` measures (with",
        "`--quick` in a minute or two); `benchmarks/` holds the work in asv's shape; `benchmarks/gpu.sh` runs the GPU",
        "tests and the benchmarks wherever an NVIDIA GPU is. A step cannot be captured in a CUDA graph: CuPy refuses",
        "every call of cuBLAS during a capture ([cupy#6290](https://github.com/cupy/cupy/issues/6290)).",
        "",
        f"- {here['cpu']}, {here['cores']} cores, {settings['threads']} threads for every library; {here['platform']}",
        f"- Python {here['python']}, {packages}; {'; '.join(pools)}",
        f"- GPU: {gpus}",
        f"- rfnumeric {here['rfnumeric']}, commit {here['commit']}{'; a quick run' if settings['quick'] else ''}",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _exponent(e: dict[str, Any]) -> tuple[str, ...]:
    values = f"{e['values'][0]:g} … {e['values'][-1]:g}"
    return e["rule"], e["quantity"], values, f"{e['exponent']:.2f}", f"{e['last']:.2f}", f"{e['operations']:g}"


def _sections(results: Results) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        found.setdefault(result["name"], []).append(result)
    return list(found.items())


def _shared(rows: Results) -> dict[str, Any]:
    """Return the parameters that have one value in all rows."""
    first = rows[0]["params"] if len(rows) > 1 else {}
    return {k: v for k, v in first.items() if all(r["params"].get(k) == v for r in rows)}


def draw(document: dict[str, Any], folder: Path) -> list[tuple[str, Path]]:
    """Draw what the results hold and return (caption, file) of each figure.

    Parameters
    ----------
    document : dict
        What ``rfnumeric bench`` writes into ``results.json``.
    folder : Path
    """
    from rfnumeric.plotting import growth_curves, ratio_bars

    results = document["results"]
    drawn = []
    growth: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for result in results:
        if result["name"] == "scaling.Growth.time_twenty_steps":
            quantity, value = result["params"]["case"].split()
            lines = growth.setdefault(quantity, {})
            lines.setdefault(result["params"]["rule"], []).append((float(value), result["median_s"]))
    if growth:
        growth_curves(folder / "benchmarks-growth.png", growth)
        drawn.append(("Time of a step against width, depth, batch and population", folder / "benchmarks-growth.png"))
    steps = [r for r in results if r["name"] == "steps.Step.time_twenty_steps" and CONTESTANT in r["params"]]
    for what, key in (("the bare products", "ratio_to_bound"), ("PyTorch eager", "ratio_to_peers")):
        panels: dict[str, list[tuple[str, float]]] = {}
        for r in steps:
            ratio = r[key] if key == "ratio_to_bound" else r[key].get(what)
            if ratio is not None:
                panels.setdefault(_params(r, (CONTESTANT,)), []).append((r["params"][CONTESTANT], ratio))
        if panels:
            file = folder / f"benchmarks-{'bound' if key == 'ratio_to_bound' else 'peers'}.png"
            ratio_bars(file, panels, f"time of a step / time of {what}")
            drawn.append((f"Time of a step over that of {what}", file))
    return drawn


def render(source: Path, page: Path) -> None:
    """Render a page of the documentation from a results file, with its figures in ``figures/`` beside it."""
    document = json.loads(source.read_text(encoding="utf-8"))
    drawn = draw(document, page.parent / "figures")
    figures = [(caption, Path(os.path.relpath(file, page.parent)).as_posix()) for caption, file in drawn]
    write_atomically(page, markdown(document, figures).encode())


if __name__ == "__main__":
    render(Path(sys.argv[1]), Path(sys.argv[2]))
