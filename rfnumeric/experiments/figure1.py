"""v1 Figure 1A, v2 Figure 2A: ‖U⁺ − V‖ under the coupled rule, as printed and corrected, by the starts' radius."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from rfnumeric.backend import quiet
from rfnumeric.experiments.report import report, show
from rfnumeric.linalg import CoupledRule
from rfnumeric.plotting import convergence_curves

ETA = 0.1
"""1 − λ with the papers' λ = 0.9 (v1 A.3, v2 A.4)."""

RADII = (1.0, 0.5, 0.3, 0.1)
"""E is uniform on ±radius; the papers' is 1."""

REACHED = 1e-3
"""‖UV − I‖/√n below which a pair counts as inverse to one another; the others end at order one or diverge."""


def starts(radius: float, count: int, seed: int, n: int = 10, condition: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs U, V = I − E, E uniform on ±radius, each with a condition number of at most `condition`.

    Parameters
    ----------
    radius : float
    count : int
        Number of pairs.
    seed : int
    n : int
    condition : float

    Returns
    -------
    U, V : array, shape (count, n, n), float64
    """
    rng, kept = np.random.default_rng(seed), np.empty((0, n, n))
    while len(kept) < 2 * count:
        drawn = np.eye(n) - rng.uniform(-radius, radius, (4 * count, n, n))
        kept = np.concatenate([kept, drawn[np.linalg.cond(drawn) <= condition]])
    return kept[:count].copy(), kept[count : 2 * count].copy()


def in_basin(U: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Tell which pairs the flow Ṗ = 2(P − P²), P = UV, takes to P = I: those without a real eigenvalue ≤ 0."""
    values = np.linalg.eigvals(U @ V)
    real = np.abs(values.imag) <= 1e-9 * np.abs(values)
    return ~np.any(real & (values.real <= 0), axis=-1)


def run(form: str, radius: float, *, count: int, iterations: int, every: int, seed: int) -> dict[str, Any]:
    """Follow `count` starts for `iterations` steps; return distances every `every` steps, counts and predictions."""
    U, V = starts(radius, count, seed)
    predicted, rule = in_basin(U, V), CoupledRule(U, V, ETA, form=form)
    distances = [_distance(rule.U, rule.V)]
    for _ in range(iterations // every):
        rule.step(every)
        distances.append(_distance(rule.U, rule.V))
    with quiet():
        error = np.linalg.norm(rule.U @ rule.V - np.eye(U.shape[-1]), axis=(-2, -1)) / U.shape[-1] ** 0.5
    reached = error < REACHED  # false for NaN
    return {
        "form": form,
        "radius": radius,
        "starts": count,
        "inverse": int(reached.sum()),
        "not_finite": int((~np.isfinite(error)).sum()),
        "predicted": int(predicted.sum()) if form == "corrected" else None,
        "as_predicted": int((reached == predicted).sum()) if form == "corrected" else None,
        "iterations": [every * k for k in range(len(distances))],
        "distances": np.stack(distances, axis=1).tolist(),
    }


def _distance(U: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Return ‖U⁺ − V‖_F of each pair, NaN where it has run away."""
    finite = np.isfinite(U).all(axis=(-2, -1)) & np.isfinite(V).all(axis=(-2, -1))
    safe = np.where(finite[:, None, None], U, 0.0)
    with quiet():
        distance = np.linalg.norm(np.linalg.pinv(safe) - V, axis=(-2, -1))
    return np.where(finite & np.isfinite(distance), distance, np.nan)


def run_all(*, count: int, iterations: int, every: int, seed: int) -> list[dict[str, Any]]:
    """Run the printed form at the papers' radius and at the smallest, and the corrected one at every radius."""
    plan = [("printed", RADII[0]), ("printed", RADII[-1]), *(("corrected", radius) for radius in RADII)]
    return [run(form, r, count=count, iterations=iterations, every=every, seed=seed) for form, r in plan]


def publish(results: Sequence[dict[str, Any]], *, out: Path, as_json: bool) -> None:
    """Write ``results.json``, its distances to four digits, and ``figure1.png`` into `out`; print a table."""
    short = [{**r, "distances": [[float(f"{d:.4g}") for d in pair] for pair in r["distances"]]} for r in results]
    document = report(short, out=out)
    table = Table(title="The coupled rule, η = 0.1", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Form", "Radius", "Starts", "Inverse", "Ran away", "Basin\n(flow)", "As the flow\npredicts"):
        table.add_column(name, justify="right")
    for r in results:
        cells = (r["form"], r["radius"], r["starts"], r["inverse"], r["not_finite"], r["predicted"], r["as_predicted"])
        table.add_row(*("–" if cell is None else str(cell) for cell in cells))
    convergence_curves(out / "figure1.png", results)
    show(document, table, f"Wrote results.json and figure1.png to {out}", as_json=as_json)
