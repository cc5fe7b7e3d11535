"""How far the coupled rule's pairs are from being inverse to one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rfnumeric.plotting._base import COLOURS, save, subplots

RANGE = (1e-16, 1e3)
"""Distances are drawn within it: those that ran away end at its top."""


def convergence_curves(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Draw ‖U⁺ − V‖ of each pair over the iterations, a panel for each form and radius, as v1's Figure 1A.

    Parameters
    ----------
    path : Path
        Of the figure.
    results : sequence of dict
        As `rfnumeric.experiments.figure1.run` returns them.
    """
    columns = -(-len(results) // 2)
    figure, axes = subplots(2, columns, (10, 6), sharex=True)
    for i, r in enumerate(results):
        axis = axes[i // columns][i % columns]
        for distances in r["distances"]:
            shown = [min(max(d, RANGE[0]), RANGE[1]) for d in distances if d == d]  # NaN once it has run away
            axis.semilogy(r["iterations"][: len(shown)], shown, color=COLOURS[2], lw=0.6, alpha=0.5)
        axis.set_title(f"{r['form']}, ±{r['radius']:g}: {r['inverse']} of {r['starts']}", fontsize=9)
        axis.set_xlabel("iteration")
        if i % columns == 0:
            axis.set_ylabel("‖U⁺ − V‖")
    save(figure, path)
