"""Seconds against sizes, and ratios to peers and bounds."""

from __future__ import annotations

from pathlib import Path

from rfnumeric.plotting._base import COLOURS, save, subplots


def growth_curves(path: Path, panels: dict[str, dict[str, list[tuple[float, float]]]]) -> None:
    """Draw seconds against sizes, both logarithmic.

    Parameters
    ----------
    path : Path
        Of the figure.
    panels : dict
        Quantity → label → (value, seconds) points; one panel a quantity.
    """
    from matplotlib.ticker import NullFormatter

    figure, axes = subplots(1, len(panels), (3.2 * len(panels), 3.2))
    for axis, (quantity, lines) in zip(axes[0], panels.items(), strict=True):
        for i, (label, points) in enumerate(lines.items()):
            axis.loglog(*zip(*sorted(points), strict=True), "o-", color=COLOURS[i % len(COLOURS)], label=label, ms=4)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(quantity)
        axis.grid(alpha=0.3, which="both")
    axes[0][0].set_ylabel("seconds a step")
    axes[0][0].legend(frameon=False)
    save(figure, path)


def ratio_bars(path: Path, panels: dict[str, list[tuple[str, float]]], title: str) -> None:
    """Draw ratios as bars, with a line at 1.

    Parameters
    ----------
    path : Path
        Of the figure.
    panels : dict
        Name → (label, ratio) pairs; one panel a name.
    title : str
    """
    height = sum(0.5 + 0.22 * len(bars) for bars in panels.values())
    figure, axes = subplots(len(panels), 1, (8.0, 0.6 + height))
    for (axis,), (name, bars) in zip(axes, panels.items(), strict=True):
        axis.barh([label for label, _ in bars], [ratio for _, ratio in bars], color=COLOURS[3])
        for i, (_, ratio) in enumerate(bars):
            axis.text(ratio, i, f" {ratio:.2f}", va="center", fontsize=8)
        axis.axvline(1, color=COLOURS[0], lw=0.8)
        axis.invert_yaxis()
        axis.set_title(name, fontsize=9)
    figure.suptitle(title, fontsize=11)
    save(figure, path)
