"""What the benchmarks time is the same work for all contestants, and every benchmark runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from rfnumeric.backend import get_backend
from rfnumeric.bench import work
from rfnumeric.bench.classes import Settings, classes, groups, load, methods, topics
from rfnumeric.errors import BackendError
from rfnumeric.training.loop import Loop

SIZES = (12, 9, 7, 5)
BATCH = 6
EPS = 2.0**-52


def our_step(rule, lr=0.1, **options):
    """Return W before and after one step of ours in float64, the loop, and the batch."""
    config = work.configuration(rule, SIZES, BATCH, lr=lr, dtype="float64", rule_options=options)
    loop = Loop(config, work.synthetic(SIZES[0], SIZES[-1], BATCH))
    x, y = next(loop.data.batches(loop.streams.child("batches", 1), BATCH))
    before = [W.copy() for W in loop.network.W[1:]]
    loop._step(1, x, y)
    return before, loop.network.W[1:], loop, (x, y)


def close(actual, expected, condition=1.0):
    # Sums of at most 12 products in each of three layers forward, back and in the update: 100 roundings, times what
    # the pseudoinverses amplify.
    for a, b in zip(actual, expected, strict=True):
        assert np.max(np.abs(np.asarray(a) - b)) <= 100 * EPS * condition * max(1.0, np.max(np.abs(b)))


@pytest.mark.parametrize("feedback", ["pinv", "pinv of the layers that use it"])
def test_the_papers_way_in_pytorch_takes_our_two_phase_step(feedback):
    torch = pytest.importorskip("torch")
    before, after, _, (x, y) = our_step("rf-two-phase", refresh_every=1)
    condition = np.prod([np.linalg.cond(W) for W in before[1:]])
    W = [torch.from_numpy(w) for w in before]
    work.TorchFeedback(W, feedback, 0.1).step(torch.from_numpy(x), torch.from_numpy(y))
    close(W, after, condition)


def test_feedback_alignment_by_hand_takes_our_step():
    torch = pytest.importorskip("torch")
    before, after, loop, (x, y) = our_step("feedback-alignment")
    W = [torch.from_numpy(w) for w in before]
    rule = work.TorchFeedback(W, "random", 0.1)
    rule.B = [None, *(torch.from_numpy(np.array(B)) for B in loop.feedback["B"][2:])]
    rule.step(torch.from_numpy(x), torch.from_numpy(y))
    close(W, after)


@pytest.mark.parametrize("rule", ["backprop", "feedback-alignment"])
def test_autograd_takes_our_step(rule):
    torch = pytest.importorskip("torch")
    before, after, loop, (x, y) = our_step(rule)
    network = work.torch_network(SIZES, "float64", rule != "backprop")
    linear = list(network)[::2]
    for l, (module, W) in enumerate(zip(linear, before, strict=True), start=1):
        module.weight.data = torch.from_numpy(W)
        if rule != "backprop" and l > 1:
            module.B = torch.from_numpy(np.array(loop.feedback["B"][l].T))
    torch.nn.CrossEntropyLoss()(network(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    close([module.weight.detach() for module in linear], after)


@pytest.mark.parametrize("feedback", [False, True])
def test_bare_products_are_those_of_a_step(feedback, monkeypatch):
    import scipy.linalg.blas

    products, matrices = [], set()

    def counting(alpha, a, b, trans_a=0, trans_b=0, **keywords):
        m, k = a.shape[::-1] if trans_a else a.shape
        n = b.shape[0] if trans_b else b.shape[1]
        products.append(m * k * n)
        matrices.update(x.ctypes.data for x in (a, b) if BATCH not in x.shape)

    monkeypatch.setattr(scipy.linalg.blas, "sgemm", counting)
    work.bare_products(SIZES, BATCH, feedback=feedback)()
    weights = [n * m for n, m in pairwise(SIZES)]
    # Forward and update in every layer, backward in every layer but the first.
    assert sum(products) == BATCH * (3 * sum(weights) - weights[0])
    assert len(products) == 3 * len(weights) - 1
    # As factors: W of every layer, and B of every layer but the first.
    assert len(matrices) == len(weights) + (len(weights) - 1) * feedback


def test_our_steps_refresh_the_feedback_once_in_twenty(monkeypatch):
    calls = []
    from rfnumeric.rules import sources

    original = sources.weight_pinvs
    monkeypatch.setattr(sources, "weight_pinvs", lambda *a: calls.append(1) or original(*a))
    steps = work.our_steps(work.configuration("rf-two-phase", SIZES, BATCH))
    assert len(calls) == 1  # at the start
    for expected in (2, 3, 4):
        steps(20)
        assert len(calls) == expected


def quick_cases(backend):
    settings = Settings.quickly(peers=False, backends=(backend,))
    return [
        pytest.param(topic, cls, params, id=f"{topic}-{cls.__name__}-{'-'.join(map(str, params.values()))}")
        for topic in topics()
        for cls in classes(load(topic))
        if any(m.startswith("time_") for m in methods(cls))
        for group in groups(cls, settings)
        for params in group
    ]


@pytest.mark.parametrize(("topic", "cls", "params"), quick_cases("numpy"))
def test_every_benchmark_runs(topic, cls, params):
    run_once(cls, params)


@pytest.mark.gpu
@pytest.mark.parametrize(("topic", "cls", "params"), [p for p in quick_cases("cupy") if "backend" in p.values[2]])
def test_every_benchmark_runs_on_a_gpu(topic, cls, params):
    try:
        get_backend("cupy")
    except BackendError as error:
        pytest.skip(str(error))
    run_once(cls, params)


def run_once(cls, params):
    instance = cls()
    try:
        getattr(instance, "setup", lambda *_: None)(*params.values())
    except NotImplementedError as reason:
        pytest.skip(str(reason))
    for method in methods(cls):
        if method.startswith("time_") and method not in getattr(cls, "peers", ()):
            getattr(instance, method)(*params.values())


def test_tracked_memory_of_a_reciprocal_is_of_its_arrays():
    (cls,) = [c for c in classes(load("memory")) if c.__name__ == "Reciprocal"]
    instance = cls()
    instance.setup(1)
    # The update of the layer itself is one layer size; the factors and the product with the adjoint are small.
    assert 1 <= instance.track_peak(1) <= 2


def rfnumeric(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "rfnumeric", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "160"},
    )


def test_the_command_writes_json_report_and_figures(tmp_path):
    done = rfnumeric("scaling", "startup", "--quick", "--no-peers", "--threads", "1", "--json", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert json.loads((tmp_path / "results.json").read_text()) == document
    assert {"name", "params", "median_s", "spread", "ratio_to_bound", "ratio_to_peers"} <= set(document["results"][0])
    assert {"cpu", "blas", "packages", "commit"} <= set(document["environment"])
    assert {pool["threads"] for pool in document["environment"]["blas"]} == {1}
    assert [e["quantity"] for e in document["exponents"]] == ["width"]
    measured = {t["target"]: t["measured"] for t in document["targets"]}
    assert measured["import rfnumeric"] > 0
    assert measured["20 networks in one call / 20 calls, mnist network"] is None
    assert "rfnumeric --help" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "benchmarks-growth.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-topic"], "topic must be one of"),
        (["startup", "--threads", "0"], "--threads must be at least 1"),
        (["startup", "--backend", "dask"], "--backend must be one of"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    done = rfnumeric(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_what_was_measured_before_an_interruption_is_kept(tmp_path, monkeypatch):
    from rfnumeric.bench import run

    def run_topic(topic, settings, skipped):
        yield {"name": f"{topic}.X.track_y", "params": {}, "value": 1.0, "unit": "things"}
        if topic == "steps":
            raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_topic", run_topic)
    chosen = {"backends": ["numpy"], "peers": False, "quick": True, "threads": 1, "out": tmp_path, "as_json": False}
    with pytest.raises(KeyboardInterrupt):
        run.publish(["data", "steps", "startup"], **chosen)
    document = json.loads((tmp_path / "results.json").read_text())
    assert [r["name"] for r in document["results"]] == ["data.X.track_y", "steps.X.track_y"]
    assert document["not_measured"] == {"topic steps": "interrupted", "topic startup": "interrupted"}
