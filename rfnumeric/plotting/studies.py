"""Figures of the studies: maps of differences, and accuracy against the update's angle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rfnumeric.plotting._base import COLOURS, save, subplots

CLIP = 20.0
"""Points of accuracy at which the colour of a map saturates."""


def difference_map(path: Path, found: Sequence[dict[str, Any]], optimizer: str) -> None:
    """Draw accuracy minus backprop's over depth and gain, a row of panels a rule, a column an activation.

    Parameters
    ----------
    path : Path
        Of the figure.
    found : sequence of dict
        As `rfnumeric.experiments.initialization_map.differences` returns them, for one optimizer.
    optimizer : str
        For the title.
    """
    rules, activations, depths, gains = (
        list(dict.fromkeys(d[key] for d in found)) for key in ("rule", "activation", "depth", "gain")
    )
    size = (1.6 + 0.78 * len(gains) * len(activations), 1.2 + (0.9 + 0.62 * len(depths)) * len(rules))
    figure, axes = subplots(len(rules), len(activations), size)
    image = None
    for i, rule in enumerate(rules):
        for j, activation in enumerate(activations):
            axis = axes[i][j]
            places = {(d["depth"], d["gain"]): d for d in found if (d["rule"], d["activation"]) == (rule, activation)}
            grid = [[places.get((n, g), {}).get("difference", float("nan")) for g in gains] for n in depths]
            image = axis.imshow(grid, cmap="RdBu", vmin=-CLIP, vmax=CLIP, origin="lower", aspect="auto")
            for (n, g), d in places.items():
                dark = abs(d["difference"]) > 0.6 * CLIP
                text = f"{d['difference']:+.1f}\n({d['backprop']:.0f})"
                where = (gains.index(g), depths.index(n))
                axis.text(*where, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
            axis.set_xticks(range(len(gains)), [f"{g:g}" for g in gains])
            axis.set_yticks(range(len(depths)), [str(n) for n in depths])
            axis.set_title(f"{rule}, {activation}", fontsize=9)
            axis.set_xlabel("initial gain (orthogonal)")
            axis.set_ylabel("hidden layers")
    bar = figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.8, extend="both")
    bar.set_label("accuracy minus backprop's (points)")
    figure.suptitle(f"{optimizer}, each rule at its own best rate\n(backprop's accuracy in %)", fontsize=9)
    save(figure, path)


def stability_map(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Draw the accuracy over slope and learning rate, a panel for each optimizer and batch size.

    Parameters
    ----------
    path : Path
        Of the figure.
    results : sequence of dict
        As `rfnumeric.experiments.stability.measure` returns them.
    """
    panels = list(dict.fromkeys((r["optimizer"], r["batch_size"]) for r in results))
    slopes = sorted({r["slope"] for r in results})
    most = max(len(r["rates"]) for r in results)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    size = (1.6 + (0.7 + 0.72 * most) * columns, 0.6 + (0.9 + 0.42 * len(slopes)) * rows)
    figure, axes = subplots(rows, columns, size)
    image = None
    for axis, (optimizer, batch_size) in zip(axes.ravel(), panels, strict=False):
        own = {r["slope"]: r["rates"] for r in results if (r["optimizer"], r["batch_size"]) == (optimizer, batch_size)}
        rates = [rate["lr"] for rate in next(iter(own.values()))]
        grid = [[rate["accuracy_mean"] for rate in own[a]] if a in own else [float("nan")] * len(rates) for a in slopes]
        image = axis.imshow(grid, cmap="viridis", vmin=10, vmax=100, origin="lower", aspect="auto")
        for i, slope in enumerate(slopes):
            for j, rate in enumerate(own.get(slope, ())):
                text = f"{rate['accuracy_mean']:.1f}"
                if lost := len(rate["diverged_in_epoch"]):
                    text = "diverged" if lost == len(rate["accuracies"]) else f"{text}\n({lost} div.)"
                colour = "white" if rate["accuracy_mean"] < 65 else "black"
                axis.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
        axis.set_xticks(range(len(rates)), [f"{lr:g}" for lr in rates])
        axis.set_yticks(range(len(slopes)), [f"{slope:g}" for slope in slopes])
        axis.set_title(f"{optimizer}, batch {batch_size}", fontsize=9)
        axis.set_xlabel("learning rate")
        axis.set_ylabel("negative slope α")
    for axis in axes.ravel()[len(panels) :]:
        axis.set_visible(False)
    bar = figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.8)
    bar.set_label("test accuracy (%)")
    figure.suptitle("Reciprocal feedback as derived", fontsize=10)
    save(figure, path)


def accuracy_against_cosine(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Draw each trial's accuracy against the cosine of its first layer's update to the gradient, and cosines by layer.

    Parameters
    ----------
    path : Path
        Of the figure.
    results : sequence of dict
        As `rfnumeric.experiments.ablation.result` returns them.
    """
    from matplotlib.ticker import FixedLocator, NullFormatter

    groups = list(dict.fromkeys(r["group"] for r in results))
    figure, ((scatter, layers),) = subplots(1, 2, (10.5, 5.2))
    for i, group in enumerate(groups):
        shown = [r for r in results if r["group"] == group and None not in r["gradient_cosine"][1:]]
        shown = [r for r in shown if r["gradient_cosine"]]
        colour = COLOURS[i % len(COLOURS)]
        first = [r["gradient_cosine"][1] for r in shown]
        error = [100 - r["accuracy_mean"] for r in shown]
        scatter.errorbar(
            first, error, [r["accuracy_std"] or 0 for r in shown], fmt="o", color=colour, label=group, ms=5
        )
        for r in shown:
            cosines = r["gradient_cosine"][1:]
            layers.plot(range(1, len(cosines) + 1), cosines, "o-", color=colour, lw=1, ms=3, alpha=0.7)
    scatter.set_yscale("log")
    scatter.yaxis.set_major_locator(FixedLocator([1, 2, 3, 5, 10, 20, 50, 90]))
    scatter.yaxis.set_major_formatter("{x:g}")
    scatter.yaxis.set_minor_formatter(NullFormatter())
    scatter.set_xlabel("cosine of the first layer's update to the gradient")
    scatter.set_ylabel("test error (%), mean ± standard deviation")
    scatter.legend(frameon=False, fontsize=8)
    layers.set_xlabel("layer")
    layers.set_ylabel("cosine of the update to the gradient")
    layers.set_xticks(range(1, max(len(r["gradient_cosine"]) for r in results)))
    for axis in (scatter, layers):
        axis.grid(alpha=0.3, which="both")
    figure.suptitle("Test error and the update's angle to the gradient", fontsize=11)
    save(figure, path)
