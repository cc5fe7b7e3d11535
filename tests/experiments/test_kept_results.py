"""The kept results: pages include tables that are those of the JSON beside them, and the README quotes its numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rfnumeric.experiments import ablation, initialization_map, stability, table1

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
WRITERS = {"ablation": ablation, "initialization-map": initialization_map, "stability": stability, "table1": table1}


def results(name):
    return json.loads((RESULTS / name / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", sorted(p.parent.name for p in RESULTS.glob("*/table.md")))
def test_tables_are_those_of_the_results(folder, tmp_path):
    job = next(job for name, job in WRITERS.items() if folder.startswith(name))
    job.write_table(tmp_path / "table.md", results(folder)["results"])
    assert (RESULTS / folder / "table.md").read_text(encoding="utf-8") == (tmp_path / "table.md").read_text(
        encoding="utf-8"
    )


def row_of(text, beginning):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {beginning}")]
    return line


V1_ROWS = {"Backprop": "backprop", "Reciprocal": "reciprocal", "Random": "feedback alignment"}
V2_ROWS = {
    "Backprop": "backprop",
    "Reciprocal, parallel": "parallel",
    "Reciprocal, two-phase": "two-phase",
    "Random": "feedback alignment",
}
README_TABLES = {
    "table1-v1-mnist": V1_ROWS,
    "table1-v1-cifar": V1_ROWS,
    "table1-v1-mnist-described": V1_ROWS,
    "table1-v2-mnist": V2_ROWS,
    "table1-v2-cifar": V2_ROWS,
}


def quoted(r, with_epochs):
    if r["accuracy_mean"] is None:
        return "diverged"
    text = f"{r['accuracy_mean']:.2f}" + (f" ± {r['accuracy_std']:.2f}" if r["accuracy_std"] is not None else "")
    return f"{text} ({r['epochs_to_90_median']:g})" if with_epochs else text


def test_the_readme_quotes_the_kept_numbers():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for table, names in README_TABLES.items():
        rows = {r["row"]: r for r in results(table)["results"]}
        # v1's table and v2's, one after the other, share names of rows.
        tables = readme.split("| v2, Table 1")
        text = tables["v2" in table]
        for name, row in names.items():
            assert quoted(rows[row], "v1" in table) in row_of(text, f"{name} |")
    trials = {(r["group"], r["name"]): r for r in results("ablation")["results"]}
    for line, trial in (
        ("backprop | 0.01", ("yardsticks", "backprop")),
        ("reciprocal feedback as derived", ("as derived", "slope 0.01")),
        ("as derived | 0.3", ("as derived", "slope 0.3")),
        ("as derived, D⁺ damped", ("as derived", "D⁺ damped, λ = 1")),
        ("D in place of D⁺", ("D in place of D⁺", "slope 0.01")),
        ("`mean-reciprocal`, λ = 1", ("mean reciprocal", "λ = 1")),
        ("`mean-reciprocal-learned`, γ = 0.1", ("mean reciprocal", "learned, γ = 0.1")),
        ("feedback alignment |", ("yardsticks", "feedback alignment")),
    ):
        r = trials[trial]
        cosine = f"{r['gradient_cosine'][1]:.2f}".replace("-", "−")
        assert f"| {r['accuracy_mean']:.2f} ± {r['accuracy_std']:.2f} | {cosine} |" in row_of(readme, line)


def test_no_results_name_a_machines_folders():
    for path in RESULTS.rglob("*.json*"):
        text = path.read_text(encoding="utf-8")
        assert not any(f'"{root}/' in text or f" {root}/" in text for root in ("/home", "/root", "/tmp", "/Users")), (
            path
        )


def test_the_readme_quotes_the_benchmarks():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = {t["target"]: t for t in json.loads((RESULTS / "cpu.json").read_text(encoding="utf-8"))["targets"]}
    pinv = [
        [t["measured"] for name, t in targets.items() if "scipy" in name and d in name] for d in ("float32", "float64")
    ]
    ranges = " / ".join(f"{min(ratios):.1f} to {max(ratios):.1f}" for ratios in pinv)
    assert f"| {ranges} |" in row_of(readme, "`scipy.linalg.pinv`")
    coupled = [
        targets[f"coupled rule, 100 pairs: batched matmul / ours, {d}"]["measured"] for d in ("float32", "float64")
    ]
    assert f"| {coupled[0]:.1f} / {coupled[1]:.1f} |" in row_of(readme, "the coupled rule")
    eager = 1 / targets["backprop step / PyTorch eager, cifar-10 network"]["measured"]
    assert f"| {eager:.1f} |" in row_of(readme, "PyTorch eager")
    population = [
        1 / targets[f"20 networks in one call / 20 calls, {n} network"]["measured"] for n in ("mnist", "narrow")
    ]
    assert f"| {population[0]:.1f} / {population[1]:.1f} |" in row_of(readme, "twenty networks as twenty calls")
    papers = next(t["measured"] for name, t in targets.items() if name.startswith("papers' way"))
    assert f"| {papers:.1f} |" in row_of(readme, "two-phase feedback as the papers' code had it")
    missed = [t for t in targets.values() if t["met"] is False]
    assert len(missed) == 1
    for t in missed:
        assert any(f"{t['measured']:.2f}" in line for line in readme.splitlines())
    assert f"of {sum(t['met'] is not None for t in targets.values())} targets" in readme


def test_the_page_quotes_the_long_runs():
    page = (ROOT / "docs" / "nonlinear.md").read_text(encoding="utf-8")
    backprop = {r["lr"]: r["accuracy"] for r in results("described-mnist/backprop")["results"]}
    assert backprop[0.2] is None
    for lr in (0.05, 0.1):
        assert any(f"constant {lr}," in line and f"| {backprop[lr]:.2f} |" in line for line in page.splitlines())
    means = {}
    for name in ("backprop-adam", "mean-reciprocal", "mean-reciprocal-learned"):
        found = [r["accuracy"] for r in results(f"described-mnist/{name}")["results"]]
        assert f"| {', '.join(f'{a:.2f}' for a in found)} |" in page
        means[name] = sum(found) / 3
    best = means["backprop-adam"]
    assert f"(means {means['mean-reciprocal']:.2f} and {best:.2f} %" in page
    assert f"{best - means['mean-reciprocal']:.2f} points below backprop" in page
    assert f"any weight transport, {best - means['mean-reciprocal-learned']:.2f} points" in page
    for name in ("backprop", "mean-reciprocal", "mean-reciprocal-learned"):
        (r,) = results(f"described-cifar-10/{name}")["results"]
        assert any(
            f"described-cifar-10/{name}/" in line and f"| {r['accuracy']:.2f} |" in line for line in page.splitlines()
        )


def test_the_page_quotes_the_search_for_feedback_alignment():
    page = (ROOT / "docs" / "nonlinear.md").read_text(encoding="utf-8")
    runs = sorted((RESULTS / "feedback-alignment-search").glob("*/results.json"))
    assert page.count("results/feedback-alignment-search/") == len(runs)
    for path in runs:
        found = json.loads(path.read_text(encoding="utf-8"))["results"]
        (line,) = [line for line in page.splitlines() if f"/{path.parent.name}/results.json" in line]
        reached = ", ".join(f"{r['accuracy']:.2f} at {r['lr']:g}" for r in found if r["status"] == "completed")
        lost = ", ".join(f"{r['lr']:g}" for r in found if r["status"] == "diverged")
        assert reached in line
        assert not lost or f"diverged at {lost} |" in line


def test_the_page_quotes_the_coupled_rules_counts():
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    for r in results("figure1")["results"]:
        counts = (r["inverse"], r["not_finite"], r["predicted"], r["as_predicted"])
        cells = " | ".join("–" if c is None else str(c) for c in counts)
        assert f"| {r['form']} | {r['radius']:g} | {cells} |" in page


def test_the_page_quotes_how_backprop_overfits():
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    lines = (RESULTS / "table1-v2-cifar" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    records = [r for r in map(json.loads, lines) if r["record"] == "epoch" and r["row"] == "backprop"]

    def mean(epoch, quantity):
        values = [r[quantity] for r in records if r["epoch"] == epoch]
        assert len(values) == 3
        return sum(values) / 3

    test, train = ([mean(epoch, f"{part}_accuracy") for epoch in (14, 50, 100)] for part in ("test", "train"))
    assert max(abs(mean(epoch, "test_accuracy") - 40.76) for epoch in range(14, 51)) < 0.6  # the README's words
    assert f"is {test[0]:.2f} % after 14 epochs and {test[1]:.2f} % after 50, and falls to {test[2]:.2f} %" in page
    assert f"rises from {train[0]:.1f} to\n{train[1]:.1f} and {train[2]:.1f} %" in page


def test_the_maps_page_says_where_the_unbiased_reciprocal_is_worse():
    page = (ROOT / "docs" / "initialization-map.md").read_text(encoding="utf-8")
    kept = results("initialization-map-beta2")["results"]
    found = [d for d in initialization_map.differences(kept) if d["rule"] == "unbiased"]
    worse = sorted((d for d in found if d["difference"] < -1), key=lambda d: -d["difference"])
    rest = [d["difference"] for d in found if d["difference"] >= -1]
    assert f"at {len(rest)} of the {len(found)} places" in page
    assert f"at worst {-min(rest):.1f} points behind" in page
    assert f"up to {max(rest):.1f} points ahead" in page
    text = " ".join(page.split())
    behind = [f"{-d['difference']:.1f}" for d in worse]
    assert [(d["activation"], d["depth"], d["gain"]) for d in worse] == [("leaky-relu", n, g) for n, g in WORSE]
    (a, b), (c, d), (e, f) = WORSE
    assert f"{behind[0]} points behind with {a} layers at gain {b:g}, {behind[1]} with {c} layers at gain {d:g}" in text
    assert f"and {behind[2]} with {e} layers at gain {f:g}" in text
    spread = [f"{d['error'] * 5**0.5:.1f}" for d in worse]
    assert f"{spread[0]}, {spread[1]} and {spread[2]} points over five seeds" in text


WORSE = ((15, 2.0), (30, 1.4), (30, 2.0))
