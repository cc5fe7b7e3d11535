"""Benchmarks in asv's shape: ``params``, ``setup``, ``time_*``, ``peakmem_*``, ``track_*``; found, and run without asv.

Beyond asv's names, a class may have:

``bound``
    Contestant that does nothing but the matrix products that the work cannot do without; or a dict from contestant to
    such a one, where they need different ones.
``peers``
    Contestants that run another library's code; they run only when peers are asked for.
``traffic(*params)``
    Bytes that the work must read and write at least: divided by the measured bandwidth, another bound.
``calls(*params)``
    Units of work in one call (e.g. training steps); times are reported for one of them.
``quick``
    Parameter → values for a quick run; ``unit``: of what ``track_*`` returns; ``seconds`` for the rounds of one
    combination, ``rounds`` at most, ``sample`` (seconds of one) and ``settle`` between contestants, where the usual
    ones do not do.

Contestants are the values of the parameter called ``contestant``, or the ``time_*`` methods of a class without one.
Those of one combination of the other parameters are timed in interleaved rounds. ``setup`` raises NotImplementedError
for a combination that cannot run here.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rfnumeric.bench.timing import CONTESTANT, MOST_ROUNDS, SETTLE, Call, bandwidth, clock, measure, paired_ratio

KINDS = ("time", "peakmem", "track")


@dataclass(frozen=True)
class Settings:
    """How much to run.

    Attributes
    ----------
    peers : bool
        Whether other libraries' code runs too.
    quick : bool
        Small sizes, few rounds.
    backends : tuple of str
        Values of the parameter ``backend`` to keep.
    budget, sample : float
        Seconds for one combination of parameters, and for one sample; see `timing.measure`.
    """

    peers: bool = True
    quick: bool = False
    backends: tuple[str, ...] = ("numpy",)
    budget: float = 3.0
    sample: float = 0.01

    @classmethod
    def quickly(cls, **keywords: Any) -> Settings:
        """Return settings for a quick run."""
        return cls(quick=True, budget=0.3, sample=0.003, **keywords)


def directory() -> Path:
    """Return the folder of the benchmarks: in an installed package ``rfnumeric.benchmarks``, else beside the package.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    spec = importlib.util.find_spec("rfnumeric.benchmarks")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    root = Path(__file__).resolve().parents[2]
    if (root / "setup.cfg").exists() and (root / "benchmarks").is_dir():
        return root / "benchmarks"
    raise FileNotFoundError("the benchmarks are not installed; install rfnumeric anew, or run from a clone.")


def topics() -> dict[str, Path]:
    """Return topic → file, one file of the benchmarks a topic."""
    return {path.stem: path for path in sorted(directory().glob("*.py")) if not path.stem.startswith("_")}


def load(topic: str) -> ModuleType:
    """Import a topic's file.

    Raises
    ------
    ValueError
        If there is no such topic.
    """
    known = topics()
    if topic not in known:
        raise ValueError(f"topic must be one of {', '.join(known)}; got {topic!r}.")
    spec = importlib.util.spec_from_file_location(f"rfnumeric_benchmark_{topic}", known[topic])
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def run_topic(topic: str, settings: Settings, skipped: dict[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Run the benchmarks of one file.

    Parameters
    ----------
    topic : str
    settings : Settings
    skipped : dict, optional
        Takes name → reason of what cannot run here.

    Yields
    ------
    dict
        One result: ``name``, ``params``, ``median_s``, ``spread`` (interquartile range, seconds), ``rounds``,
        ``samples_s`` (the rounds'), ``ratio_to_bound`` (None without one), ``ratio_to_peers`` (peer → ratio); or
        ``name``, ``params``, ``value`` and ``unit`` for memory and tracked numbers.
    """
    skipped = {} if skipped is None else skipped
    for cls in classes(load(topic)):
        by_kind = {kind: [m for m in methods(cls) if m.startswith(f"{kind}_")] for kind in KINDS}
        for group in groups(cls, settings):
            if by_kind["time"]:
                entries = [(m, p) for p in group for m in by_kind["time"] if _wanted(cls, m, settings)]
                yield from _timed(cls, f"{topic}.{cls.__name__}", entries, settings, skipped)
            for kind, run in (("peakmem", _peak_memory), ("track", _tracked)):
                for method, params in ((m, p) for m in by_kind[kind] for p in group):
                    name = f"{topic}.{cls.__name__}.{method}"
                    try:
                        value, unit = run(topic, cls, method, params)
                    except (NotImplementedError, ImportError) as reason:
                        skipped[f"{name} ({_text(params)})"] = str(reason)
                        continue
                    yield {"name": name, "params": params, "value": value, "unit": unit}


def classes(module: ModuleType) -> list[Any]:
    """Return the benchmark classes that a module defines, in the order of its text."""
    return [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__ and methods(c)]


def methods(cls: type) -> list[str]:
    """Return the names of a class's benchmarks."""
    return [name for name in vars(cls) if name.partition("_")[0] in KINDS and callable(getattr(cls, name))]


def groups(cls: Any, settings: Settings) -> list[list[dict[str, Any]]]:
    """Return combinations of parameters; those of one group differ in their contestant alone."""
    names = list(getattr(cls, "param_names", []))
    values = [list(v) for v in _params(cls)]
    for i, name in enumerate(names):
        if settings.quick and name in getattr(cls, "quick", {}):
            values[i] = [v for v in values[i] if v in cls.quick[name]]
        if name == "backend":
            values[i] = [v for v in values[i] if v in settings.backends]
        if name == CONTESTANT:
            values[i] = [v for v in values[i] if _wanted(cls, v, settings)]
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for combination in itertools.product(*values):
        params = dict(zip(names, combination, strict=True))
        found.setdefault(tuple(v for n, v in params.items() if n != CONTESTANT), []).append(params)
    return list(found.values())


def _params(cls: Any) -> list[Any]:
    """Return asv's ``params`` as a list of lists; a class with one parameter may give its values alone."""
    params = list(getattr(cls, "params", []))
    return params if not params or isinstance(params[0], list | tuple) else [params]


def _wanted(cls: Any, contestant: str, settings: Settings) -> bool:
    return settings.peers or contestant not in getattr(cls, "peers", ())


def _timed(
    cls: Any, label: str, entries: list[tuple[str, dict[str, Any]]], settings: Settings, skipped: dict[str, str]
) -> list[dict[str, Any]]:
    """Set up the contestants of one group, time them in turns, and return their results."""
    ready: dict[str, tuple[str, dict[str, Any], Any]] = {}
    try:
        for method, params in entries:
            instance = cls()
            try:
                getattr(instance, "setup", _nothing)(*params.values())
            except (NotImplementedError, ImportError) as reason:
                skipped[f"{label}.{method} ({_text(params)})"] = str(reason)
                continue
            ready[params.get(CONTESTANT, method)] = (method, params, instance)
        budget = settings.budget if settings.quick else getattr(cls, "seconds", settings.budget)
        calls = {name: _call(*entry) for name, entry in ready.items()}
        settle, rounds = getattr(cls, "settle", SETTLE), getattr(cls, "rounds", MOST_ROUNDS)
        sample = settings.sample if settings.quick else getattr(cls, "sample", settings.sample)
        missing: dict[str, str] = {}
        samples = measure(calls, budget, sample, settle, rounds, missing)
        for name, reason in missing.items():
            skipped[f"{label}.{ready[name][0]} ({_text(ready[name][1])})"] = reason
        each = {name: _per_unit(samples[name], *ready[name][1:]) for name in samples}
        return [_result(cls, f"{label}.{ready[name][0]}", name, ready, each) for name in each]
    finally:
        for _, params, instance in ready.values():
            getattr(instance, "teardown", _nothing)(*params.values())


def _nothing(*params: Any) -> None:
    pass


def _call(method: str, params: dict[str, Any], instance: Any) -> Call:
    function, values = getattr(instance, method), tuple(params.values())
    return Call(lambda: function(*values), clock(params.get("backend", "numpy")))


def _per_unit(seconds: list[float], params: dict[str, Any], instance: Any) -> list[float]:
    units = instance.calls(*params.values()) if hasattr(instance, "calls") else 1
    return [s / units for s in seconds]


def _result(
    cls: Any, label: str, name: str, ready: dict[str, tuple[str, dict[str, Any], Any]], each: dict[str, list[float]]
) -> dict[str, Any]:
    _, params, instance = ready[name]
    median = statistics.median(each[name])
    bound = getattr(cls, "bound", None)
    bounds = bound if isinstance(bound, dict) else dict.fromkeys(each, bound)
    limits = [paired_ratio(each[name], each[bounds[name]])] if bounds.get(name) in each else []
    peers = [peer for peer in getattr(cls, "peers", ()) if peer in each]
    own = name not in peers and name not in bounds.values()
    return {
        "name": label,
        "params": params,
        "median_s": median,
        "spread": _interquartile_range(each[name]),
        "rounds": len(each[name]),
        "samples_s": [float(f"{s:.5g}") for s in each[name]],
        "ratio_to_bound": min([*limits, *_traffic_ratio(median, instance, params)], default=None),
        "ratio_to_peers": {peer: paired_ratio(each[name], each[peer]) for peer in peers if own},
    }


def _traffic_ratio(seconds: float, instance: Any, params: dict[str, Any]) -> list[float]:
    """Return the time over that of the traffic at the measured bandwidth, where the benchmark says what its is."""
    backend = params.get("backend", "numpy")
    if not hasattr(instance, "traffic") or backend not in ("numpy", "cupy"):
        return []
    nbytes = instance.traffic(*params.values())
    return [seconds * bandwidth(nbytes, backend) / nbytes]


def _interquartile_range(values: list[float]) -> float:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def _tracked(topic: str, cls: Any, method: str, params: dict[str, Any]) -> tuple[float, str]:
    instance = cls()
    getattr(instance, "setup", _nothing)(*params.values())
    return float(getattr(instance, method)(*params.values())), getattr(cls, "unit", "")


def _peak_memory(topic: str, cls: Any, method: str, params: dict[str, Any]) -> tuple[float, str]:
    """Run one benchmark in a process of its own and return its peak resident memory.

    Raises
    ------
    NotImplementedError
        If it cannot run here.
    RuntimeError
        If it fails.
    """
    code = "import sys; from rfnumeric.bench.classes import peak_memory; peak_memory(*sys.argv[1:])"
    arguments = [topic, cls.__name__, method, json.dumps(list(params.values()))]
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode:
        raise RuntimeError(f"{topic}.{cls.__name__}.{method} failed in its own process: {done.stderr.strip()[-400:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if "skipped" in answer:
        raise NotImplementedError(answer["skipped"])
    return answer["bytes"], "bytes"


def peak_memory(topic: str, cls: str, method: str, values: str) -> None:
    """Run one benchmark and print the peak resident memory of this process as JSON."""
    instance = getattr(load(topic), cls)()
    params = json.loads(values)
    try:
        getattr(instance, "setup", _nothing)(*params)
        getattr(instance, method)(*params)
    except (NotImplementedError, ImportError) as reason:
        print(json.dumps({"skipped": str(reason)}))
        return
    print(json.dumps({"bytes": _peak_resident()}))


def _peak_resident() -> int:
    """Return the most bytes of memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's ru_maxrss outlives exec: a process that starts from a large one would report that one's memory.
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _text(params: dict[str, Any]) -> str:
    return ", ".join(str(v) for v in params.values())


def main(file: str) -> None:
    """Run the benchmarks of one file and print their table: ``python benchmarks/<topic>.py [--quick] [--no-peers]``."""
    import argparse

    from rfnumeric.backend import available_backends
    from rfnumeric.bench.report import results_tables
    from rfnumeric.terminal import Screen, open_streams

    open_streams()
    parser = argparse.ArgumentParser(description=f"Run the benchmarks of {Path(file).name}.")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--no-peers", action="store_true", help="leave other libraries out")
    arguments = parser.parse_args()
    usable = tuple(n for n, found in available_backends().items() if not found.startswith("missing"))
    make = Settings.quickly if arguments.quick else Settings
    skipped: dict[str, str] = {}
    settings = make(peers=not arguments.no_peers, backends=usable)
    screen = Screen()
    screen.print(*results_tables(list(run_topic(Path(file).stem, settings, skipped))))
    for name, reason in skipped.items():
        screen.print(f"not measured: {name}: {reason}")
