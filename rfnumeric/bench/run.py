"""What `rfnumeric bench` does: run topics, hold the results to their targets, write JSON, report and figures."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rfnumeric.backend import BACKENDS, available_backends
from rfnumeric.bench.classes import Settings, run_topic, topics
from rfnumeric.bench.report import draw, markdown, results_tables, skipped_table, targets_table
from rfnumeric.bench.targets import TARGETS, exponents
from rfnumeric.terminal import Screen
from rfnumeric.training.environment import command, environment
from rfnumeric.training.files import plain, write_atomically, write_json
from rfnumeric.training.folder import begin

RESULTS_FILE = "results.json"
FAILED = "failed: "
"""How the reason of what raised an error begins, among those of ``not_measured``."""


def publish(
    names: Sequence[str],
    *,
    backends: Sequence[str],
    peers: bool,
    quick: bool,
    threads: int | None,
    out: Path | None,
    as_json: bool,
) -> dict[str, Any]:
    """Run benchmarks and print their table and targets; write ``results.json``, ``report.md`` and figures into `out`.

    Parameters
    ----------
    names : sequence of str
        Topics; none stands for all.
    backends : sequence of str
        None stands for all that can be used here.
    peers, quick : bool
        See `classes.Settings`.
    threads : int or None
        Of every library; None stands for one a core that this process may use.
    out : Path or None
    as_json : bool

    Returns
    -------
    dict
        ``command``, ``environment``, ``settings``, ``results``, ``targets``, ``exponents``, ``not_measured``.

    Raises
    ------
    ValueError
        If a topic or backend is unknown, or `threads` not positive.
    KeyboardInterrupt
        After Ctrl-C, once what was measured until then is written.
    """
    chosen = list(dict.fromkeys(names)) or list(topics())
    unknown = [name for name in chosen if name not in topics()]
    if unknown:
        raise ValueError(f"topic must be one of {', '.join(topics())}; got {', '.join(unknown)}.")
    threads = usable_cores() if threads is None else threads
    if threads < 1:
        raise ValueError(f"--threads must be at least 1; got {threads}.")
    skipped: dict[str, str] = {}
    usable = _backends(backends, skipped)
    settings = (Settings.quickly if quick else Settings)(peers=peers, backends=usable)
    results: list[dict[str, Any]] = []
    said = {"topics": chosen, "threads": threads, "peers": peers, "quick": quick, "backends": list(usable)}
    begin(out)
    with fixed_threads(threads):
        here = environment()

        def kept() -> dict[str, Any]:
            document = _document({**said, "gpus": _gpus()}, here, results, skipped)
            if out is not None:
                write_json(out / RESULTS_FILE, document)
            return document

        interrupted = not _run(chosen, settings, results, skipped, kept)
    document = kept()
    _show(document, out, as_json)
    if interrupted:
        raise KeyboardInterrupt
    return document


def _document(
    settings: dict[str, Any], here: dict[str, Any], results: list[dict[str, Any]], skipped: dict[str, str]
) -> dict[str, Any]:
    """Return what ``results.json`` holds."""
    return {
        "command": command(),
        "environment": here,
        "settings": settings,
        "results": results,
        "targets": [target.evaluate(results) for target in TARGETS],
        "exponents": exponents(results),
        "not_measured": skipped,
    }


def _run(
    chosen: Sequence[str],
    settings: Settings,
    results: list[dict[str, Any]],
    skipped: dict[str, str],
    after_topic: Callable[[], object],
) -> bool:
    """Run the topics one after the other and add to `results`; return False after Ctrl-C, which keeps what there is.

    A topic that fails is noted in `skipped`, and the others go on.
    """
    screen = Screen(stderr=True)
    for i, topic in enumerate(chosen):
        started, before = time.perf_counter(), len(results)
        try:
            with screen.status(f"{topic} ({i + 1} of {len(chosen)})"):
                for result in run_topic(topic, settings, skipped):
                    results.append(result)
        except KeyboardInterrupt:
            skipped.update({f"topic {name}": "interrupted" for name in chosen[i:]})
            return False
        except Exception as error:
            skipped[f"topic {topic}"] = f"{FAILED}{type(error).__name__}: {error}"
        after_topic()
        seconds = time.perf_counter() - started
        screen.print(f"{topic}: {len(results) - before} results in {seconds:.0f} s")
    return True


def _show(document: dict[str, Any], out: Path | None, as_json: bool) -> None:
    if out is not None:
        figures = [(caption, file.name) for caption, file in draw(document, out)]
        write_atomically(out / "report.md", markdown(document, figures).encode())
    if as_json:
        json.dump(plain(document), sys.stdout, indent=2)
        sys.stdout.write("\n")
    screen = Screen(stderr=as_json)  # standard output is the JSON's
    screen.print(*results_tables(document["results"]), *skipped_table(document["not_measured"]))
    # Some topics alone leave most targets without a number; only a whole run says "not measured".
    whole = set(document["settings"]["topics"]) == set(topics())
    shown = [t for t in document["targets"] if whole or t["measured"] is not None]
    if shown:
        screen.print(targets_table(shown))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def fixed_threads(threads: int) -> Generator[None]:
    """Give every BLAS, and PyTorch, that many threads while the ``with`` block lasts."""
    import numpy  # noqa: F401 (loads its BLAS, so that the limit reaches it)
    import scipy.linalg.blas  # noqa: F401
    import threadpoolctl

    try:
        import torch
    except ImportError:
        torch = None
    before = torch.get_num_threads() if torch else 0
    with threadpoolctl.threadpool_limits(threads):
        if torch:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def _backends(asked: Sequence[str], skipped: dict[str, str]) -> tuple[str, ...]:
    """Return the backends to run; what is missing is noted as not measured.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    unknown = [name for name in asked if name not in BACKENDS]
    if unknown:
        raise ValueError(f"--backend must be one of {', '.join(BACKENDS)}; got {', '.join(unknown)}.")
    found = available_backends()
    for name in asked or ("numpy", "cupy", "torch"):
        if found[name].startswith("missing"):
            skipped[f"backend {name}"] = found[name].removeprefix("missing: ")
    return tuple(n for n in asked or ("numpy", "cupy", "torch") if not found[n].startswith("missing"))


def _gpus() -> list[str]:
    """Return the names of the GPUs that CuPy can use."""
    if available_backends()["cupy"].startswith("missing"):
        return []
    runtime = sys.modules["cupy"].cuda.runtime
    driver = runtime.driverGetVersion()
    count = runtime.getDeviceCount()
    return [f"{runtime.getDeviceProperties(i)['name'].decode()} (driver API {driver})" for i in range(count)]
