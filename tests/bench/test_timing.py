"""Interleaved timing, asv-shaped classes, targets and reports, on made-up benchmarks whose times are known."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rfnumeric.bench import classes as bench_classes
from rfnumeric.bench import report as bench_report
from rfnumeric.bench import targets as bench_targets
from rfnumeric.bench.classes import Settings, run_topic
from rfnumeric.bench.timing import FEWEST_ROUNDS, MOST_ROUNDS, Call, bandwidth, clock, measure

ROOT = Path(__file__).parents[2]

MADE_UP = """
class Work:
    param_names = ("contestant", "n", "backend")
    params = (["bare", "ours", "theirs"], [1, 2], ["numpy", "torch"])
    quick = {"n": [2]}
    bound = "bare"
    peers = ("theirs",)

    def setup(self, contestant, n, backend):
        if (contestant, n) == ("theirs", 2):
            raise NotImplementedError("too large for them")
        self.cost = {"bare": 1, "ours": 3, "theirs": 6}[contestant]

    def calls(self, *params):
        return 4

    def time_work(self, *params):
        spend(self.cost)


class ByMethod:
    params = [1]
    param_names = ("n",)
    bound = "time_bare"

    def time_ours(self, n):
        spend(2)

    def time_bare(self, n):
        spend(1)


class TwoBounds:
    params = (["bare", "bare too", "ours", "theirs"],)
    param_names = ("contestant",)
    bound = {"bare": "bare", "ours": "bare", "theirs": "bare too"}

    def time_work(self, contestant):
        spend({"bare": 1, "bare too": 2, "ours": 3, "theirs": 8}[contestant])


class Tracked:
    unit = "things"

    def track_number(self):
        return 7


class Hungry:
    def peakmem_list(self):
        self.block = bytearray(300 * 2**20)


spent = 0


def spend(seconds):
    global spent
    spent += seconds
"""


@pytest.fixture
def topic(tmp_path, monkeypatch):
    """A made-up topic whose clock shows what its functions say that they spend."""
    (tmp_path / "made_up.py").write_text(MADE_UP, encoding="utf-8")
    monkeypatch.setattr(bench_classes, "directory", lambda: tmp_path)
    module = bench_classes.load("made_up")
    monkeypatch.setattr(bench_classes, "load", lambda _: module)

    def reading(function, number):
        before = module.spent
        for _ in range(number):
            function()
        return float(module.spent - before)

    monkeypatch.setattr(bench_classes, "clock", lambda _: reading)
    monkeypatch.setattr(bench_classes, "_peak_memory", lambda *_: (1.0, "bytes"))
    monkeypatch.setattr("rfnumeric.bench.timing.SETTLE", 0.0)
    return "made_up"


def test_rounds_are_interleaved_and_alternate():
    order = []

    def call(name):
        return Call(lambda: order.append(name), lambda function, number: number * float(function() is None))

    seconds = measure({"a": call("a"), "b": call("b")}, budget=8.0, sample=0.5)
    # Two untimed calls each, then rounds of one call each: a call that fills a sample needs no waking.
    assert order[:4] == ["a", "a", "b", "b"]
    assert order[4:] == (["a", "b", "b", "a"] * MOST_ROUNDS)[: len(order) - 4]
    assert seconds["a"] == [1.0] * len(seconds["b"])
    assert len(seconds["a"]) == 3  # 8 s of budget for rounds of 2.06 s


@pytest.mark.parametrize(
    ("budget", "limit", "rounds"),
    [(0.0, {}, FEWEST_ROUNDS), (1e9, {}, MOST_ROUNDS), (1e9, {"most": 45}, 45), (0.0, {"most": 45}, FEWEST_ROUNDS)],
)
def test_rounds_stay_between_their_limits(budget, limit, rounds):
    seconds = measure({"a": Call(lambda: None, lambda function, number: 1.0)}, budget, 0.1, **limit)
    assert len(seconds["a"]) == rounds


def test_the_host_clock_counts_calls():
    calls = []
    assert clock("numpy")(lambda: calls.append(1), 5) > 0
    assert len(calls) == 5


def test_bandwidth_is_that_of_a_copy():
    # Any machine of this century moves more than 0.1 GB/s, and none 100 TB/s.
    assert 1e8 < bandwidth(2**16) < 1e14


def test_times_ratios_and_what_is_skipped(topic):
    skipped = {}
    results = list(run_topic(topic, Settings(budget=0.0, backends=("numpy",)), skipped))
    work = {(r["params"]["contestant"], r["params"]["n"]): r for r in results if r["name"] == "made_up.Work.time_work"}
    assert set(work) == {("bare", 1), ("ours", 1), ("theirs", 1), ("bare", 2), ("ours", 2)}
    ours = work["ours", 1]
    assert ours["median_s"] == 3 / 4  # four units a call
    assert ours["spread"] == 0
    assert ours["rounds"] == FEWEST_ROUNDS
    assert ours["ratio_to_bound"] == 3
    assert ours["ratio_to_peers"] == {"theirs": 0.5}
    assert work["theirs", 1]["ratio_to_peers"] == work["bare", 1]["ratio_to_peers"] == {}
    assert work["ours", 2]["ratio_to_peers"] == {}
    assert skipped == {"made_up.Work.time_work (theirs, 2, numpy)": "too large for them"}


def test_each_contestant_has_its_own_bound(topic):
    results = [r for r in run_topic(topic, Settings(budget=0.0)) if r["name"] == "made_up.TwoBounds.time_work"]
    found = {r["params"]["contestant"]: r["ratio_to_bound"] for r in results}
    assert found == {"bare": 1, "bare too": None, "ours": 3, "theirs": 4}


def test_methods_without_a_contestant_are_timed_together(topic):
    results = {r["name"]: r for r in run_topic(topic, Settings(budget=0.0))}
    assert results["made_up.ByMethod.time_ours"]["ratio_to_bound"] == 2
    assert results["made_up.ByMethod.time_bare"]["ratio_to_bound"] == 1
    assert results["made_up.Tracked.track_number"]["value"] == 7
    assert results["made_up.Tracked.track_number"]["unit"] == "things"


def test_quick_runs_and_runs_without_peers_are_smaller(topic):
    names = [
        (r["params"]["contestant"], r["params"]["n"], r["params"]["backend"])
        for r in run_topic(topic, Settings.quickly(peers=False, backends=("numpy", "torch")))
        if r["name"] == "made_up.Work.time_work"
    ]
    assert names == [(c, 2, b) for b in ("numpy", "torch") for c in ("bare", "ours")]


def test_peak_memory_is_that_of_a_process_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "made_up.py").write_text(MADE_UP, encoding="utf-8")
    monkeypatch.setattr(bench_classes, "directory", lambda: tmp_path)
    capture = []
    monkeypatch.setattr("builtins.print", capture.append)
    bench_classes.peak_memory("made_up", "Hungry", "peakmem_list", "[]")
    assert 300 * 2**20 < json.loads(capture[0])["bytes"]


def test_a_large_parent_does_not_count():
    ballast = b"x" * (700 * 2**20)
    code = "from rfnumeric.bench.classes import _peak_resident; print(_peak_resident())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert 2**20 < int(done.stdout) < len(ballast)


def test_an_unknown_topic_is_named():
    with pytest.raises(ValueError, match=r"topic must be one of .*steps.*; got 'step'"):
        bench_classes.load("step")


def growth(exponent):
    return [
        {"name": "scaling.Growth.time_twenty_steps", "params": {"case": f"width {n}", "rule": "r"}, "median_s": s}
        for n, s in ((64, 64**exponent), (256, 256**exponent), (128, 128**exponent))
    ]


def test_exponents_are_fitted():
    (fit,) = bench_targets.exponents(growth(1.5))
    # Three logarithms and a quotient of sums of three products: a few roundings.
    assert fit["exponent"] == pytest.approx(1.5, abs=30 * 2**-52)
    assert fit["last"] == pytest.approx(1.5, abs=30 * 2**-52)
    assert (fit["quantity"], fit["operations"], fit["values"]) == ("width", 2.0, [64, 128, 256])


def test_targets_are_met_missed_or_not_measured():
    def timed(contestant, seconds):
        params = {"contestant": contestant, "network": "mnist", "batch": 32, "backend": "numpy", "dtype": "float32"}
        return {"name": "steps.Step.time_twenty_steps", "params": params, "samples_s": seconds}

    # Round by round; the medians of the times themselves, 0.9 and 1.2, would give another ratio.
    results = [timed("backprop", [0.9, 9.0, 0.85]), timed("PyTorch eager", [1.0, 10.0, 1.2])]
    results += [timed("bare products", [0.8, 8.0, 0.8])]
    found = {t.text: t.evaluate(results) for t in bench_targets.TARGETS}
    eager = found["backprop step / PyTorch eager, mnist network"]
    assert (eager["measured"], eager["met"]) == (0.9, False)
    bare = found["backprop step / bare products, mnist network"]
    assert (bare["measured"], bare["met"]) == (0.9 / 0.8, True)
    assert found["GPU: PyTorch eager / a step, batch 32"]["measured"] is None
    assert found["GPU: PyTorch eager / a step, batch 32"]["met"] is None


def test_a_target_of_the_worst_takes_the_worst():
    name = "memory.Reciprocal.track_peak"
    results = [{"name": name, "params": {"layer": l}, "value": v} for l, v in ((1, 0.5), (2, 2.5), (3, 1.0))]
    (target,) = [t for t in bench_targets.TARGETS if "Kronecker" in t.text]
    assert target.evaluate(results)["measured"] == 2.5


def test_the_slowest_kernel_is_found_among_those_of_the_cpu():
    def timed(contestant, kernel, seconds, backend="numpy"):
        params = {"contestant": contestant, "kernel": kernel, "batch": 32, "n": 400, "backend": backend}
        return {"name": "kernels.Kernels.time_call", "params": params, "samples_s": [seconds] * 3}

    results = [timed("kernel", "quick", 1.0), timed("reference", "quick", 4.0), timed("kernel", "alone", 9.0)]
    results += [timed("kernel", "slow", 3.0), timed("reference", "slow", 2.0)]
    results += [timed("kernel", "slow", 5.0, "cupy"), timed("reference", "slow", 1.0, "cupy")]
    (target,) = [t for t in bench_targets.TARGETS if "slowest" in t.text]
    assert target.evaluate(results)["measured"] == 1.5
    assert target.evaluate([])["measured"] is None


def test_target_names_are_benchmarks_that_exist():
    known = {
        f"{topic}.{cls.__name__}.{method}"
        for topic in bench_classes.topics()
        for cls in bench_classes.classes(bench_classes.load(topic))
        for method in bench_classes.methods(cls)
    }
    source = Path(bench_targets.__file__).read_text(encoding="utf-8")
    named = set(re.findall(r'"(\w+\.\w+\.(?:time|track|peakmem)_\w+)"', source))
    assert len(named) >= 7
    assert named <= known


def document(results):
    return {
        "command": "rfnumeric bench",
        "environment": {
            "rfnumeric": "0",
            "python": "3",
            "platform": "p",
            "cpu": "c",
            "cores": 2,
            "packages": {"numpy": "2"},
            "blas": [{"library": "b", "version": "1", "architecture": "a", "threads": 2}],
            "commit": None,
        },
        "settings": {"threads": 2, "gpus": [], "quick": False},
        "results": results,
        "targets": [t.evaluate(results) for t in bench_targets.TARGETS],
        "exponents": bench_targets.exponents(results),
        "not_measured": {"backend cupy": "no module", "x (1)": "no module"},
    }


def test_missed_targets_are_named_one_by_one():
    def target(name, measured, met):
        return {"target": name, "limit": 0.9, "at_most": True, "unit": " s", "measured": measured, "met": met}

    targets = [target("a", 0.5, True), target("b", 1.25, False), target("c", None, None), target("d", 2.0, False)]
    assert bench_report.missed(targets) == [
        "1 met, 2 missed, 1 not measured.",
        "",
        "- Missed: b: 1.25 s, not ≤ 0.9 s.",
        "- Missed: d: 2 s, not ≤ 0.9 s.",
    ]
    assert bench_report.missed(targets[:1]) == ["1 met, 0 missed, 0 not measured."]


def test_the_page_holds_the_numbers_and_no_others(topic, tmp_path):
    results = list(run_topic(topic, Settings(budget=0.0)))
    page = bench_report.markdown(document(results))
    assert "| ours | 1 | 750 ms | 0 % | 3.00 | 0.50 |" in page
    assert "| GPU: 20 networks / one network | ≤ 2 | not measured | – |" in page
    assert "- no module: backend cupy, and 1 more" in page
    assert "7 things" in page


def test_figures_are_drawn_and_linked(tmp_path):
    timed = {"rounds": 3, "spread": 0.0, "ratio_to_bound": None, "ratio_to_peers": {}}
    source = tmp_path / "results.json"
    source.write_text(json.dumps(document([{**timed, **r} for r in growth(1.0)])), encoding="utf-8")
    bench_report.render(source, tmp_path / "docs" / "page.md")
    assert "(figures/benchmarks-growth.png)" in (tmp_path / "docs" / "page.md").read_text(encoding="utf-8")
    assert (tmp_path / "docs" / "figures" / "benchmarks-growth.png").read_bytes().startswith(b"\x89PNG")


def test_the_documentation_is_what_its_results_render():
    source, page = ROOT / "docs" / "results" / "cpu.json", ROOT / "docs" / "benchmarks.md"
    if not source.exists():
        pytest.skip("no results are published yet")
    text = page.read_text(encoding="utf-8")
    figures = [line for line in text.splitlines() if line.startswith("![")]
    links = [tuple(line[2:-1].split("](")) for line in figures]
    assert text == bench_report.markdown(json.loads(source.read_text(encoding="utf-8")), links)
    assert all((page.parent / path).exists() for _, path in links)


@pytest.mark.parametrize("kind", [tuple, list], ids=["in memory", "from JSON"])
def test_shapes_are_found_in_either_form(kind):
    results = [{"name": "a.B.time_c", "params": {"shape": kind((4, 7))}, "median_s": 2.0}]
    assert bench_targets.seconds(results, "a.B.time_c", shape=(4, 7)) == 2.0
    assert bench_targets.seconds(results, "a.B.time_c", shape=(4, 8)) is None


def test_inverses_are_held_to_their_speed():
    def timed(name, seconds, **params):
        return {"name": f"linalg.{name}", "params": params, "median_s": seconds, "samples_s": [seconds]}

    results = [
        timed("Pinv.time_auto", 0.25, shape=[400, 784], dtype="float32"),
        timed("Pinv.time_scipy", 1.0, shape=[400, 784], dtype="float32"),
        timed("Coupled.time_auto", 1.0, dtype="float32"),
        timed("Coupled.time_plain_loop", 10.0, dtype="float32"),
        timed("Refresh.time_auto", 0.006, dtype="float32"),
        timed("Product.time_product", 0.16, n=2000),
    ]
    found = {t.text: t.evaluate(results) for t in bench_targets.TARGETS}
    pinv = found["scipy.linalg.pinv / pinv, 400×784, float32"]
    assert (pinv["measured"], pinv["met"]) == (4.0, False)
    assert found["scipy.linalg.pinv / pinv, 400×784, float64"]["measured"] is None
    coupled = found["coupled rule, 100 pairs: plain loop / ours, float32"]
    assert (coupled["measured"], coupled["met"]) == (10.0, True)
    # 16 GFLOP in 0.16 s are 100 GFLOP/s: half as fast as the machine of the target.
    assert found["pinv of W_2 … W_5, float32, scaled to 200 GFLOP/s"]["measured"] == pytest.approx(3.0)
