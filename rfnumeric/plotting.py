"""Figures, drawn with matplotlib straight to files; no window, no global state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rfnumeric.training.history import EpochRecord

# Okabe and Ito's palette, which colour-blind readers can tell apart; the order is that of the rules.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#E69F00")


def learning_curves(
    path: Path, panels: Sequence[tuple[str, Sequence[tuple[str, Sequence[EpochRecord]]]]], *, title: str
) -> None:
    """Draw loss and accuracy against epochs, train solid and test dashed, as the papers' Figure 3 (v1) and 4 (v2).

    Parameters
    ----------
    path : Path
        Of the figure; its suffix chooses the format, e.g. ``.png``.
    panels : sequence of (name, curves)
        One row of the figure each; `curves` are (label, records) pairs.
    title : str
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(9.5, 0.6 + 3.1 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 2, squeeze=False)
    labels: list[str] = []
    for (loss_axis, accuracy_axis), (name, curves) in zip(axes, panels, strict=True):
        for label, records in curves:
            if label not in labels:
                labels.append(label)
            colour = COLOURS[labels.index(label) % len(COLOURS)]
            # Later curves are thinner, so that one which lies on an earlier one does not hide it.
            width = max(2.6 - 0.4 * labels.index(label), 1.0)
            _curve(loss_axis, records, "loss", colour, width)
            _curve(accuracy_axis, records, "accuracy", colour, width)
        _limit_loss(loss_axis, [records for _, records in curves])
        loss_axis.set_ylabel("loss (nats, cross-entropy)")
        accuracy_axis.set_ylabel("accuracy (%)")
        accuracy_axis.set_ylim(0, 101)
        for axis in (loss_axis, accuracy_axis):
            axis.set_title(name, fontsize=10)
            axis.set_xlabel("epoch")
            axis.grid(alpha=0.3)
    handles = [Line2D([], [], color=COLOURS[i % len(COLOURS)], label=label) for i, label in enumerate(labels)]
    handles += [Line2D([], [], color="grey", label="train"), Line2D([], [], color="grey", ls="--", label="test")]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(title, fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _curve(axis, records: Sequence[EpochRecord], what: str, colour: str, width: float) -> None:  # type: ignore[no-untyped-def]
    for part, style in (("train", "-"), ("test", "--")):
        points = [(r.epoch, getattr(r, f"{part}_{what}")) for r in records]
        points = [(epoch, value) for epoch, value in points if math.isfinite(value)]
        axis.plot([p[0] for p in points], [p[1] for p in points], style, color=colour, lw=width)
        if len(points) == 1:  # a run that diverged in its first epoch has one point, which a line does not show
            axis.plot(*points[0], "x", color=colour)


def _limit_loss(axis, histories: Sequence[Sequence[EpochRecord]]) -> None:  # type: ignore[no-untyped-def]
    """Keep one exploding run from flattening all others: the axis ends at twice the largest untrained loss."""
    first = [records[0].test_loss for records in histories if records and math.isfinite(records[0].test_loss)]
    if first:
        axis.set_ylim(0, 1.25 * max(first))


def growth_curves(path: Path, panels: dict[str, dict[str, list[tuple[float, float]]]]) -> None:
    """Draw seconds against sizes, both logarithmic.

    Parameters
    ----------
    path : Path
        Of the figure.
    panels : dict
        Quantity → label → (value, seconds) points; one panel a quantity.
    """
    figure, axes = _panels(1, len(panels), (3.2 * len(panels), 3.2))
    for axis, (quantity, lines) in zip(axes[0], panels.items(), strict=True):
        for i, (label, points) in enumerate(lines.items()):
            axis.loglog(*zip(*sorted(points), strict=True), "o-", color=COLOURS[i % len(COLOURS)], label=label, ms=4)
        axis.set_xlabel(quantity)
        axis.grid(alpha=0.3, which="both")
    axes[0][0].set_ylabel("seconds a step")
    axes[0][0].legend(frameon=False)
    _save(figure, path)


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
    figure, axes = _panels(len(panels), 1, (8.0, 0.6 + height))
    for (axis,), (name, bars) in zip(axes, panels.items(), strict=True):
        axis.barh([label for label, _ in bars], [ratio for _, ratio in bars], color=COLOURS[3])
        for i, (_, ratio) in enumerate(bars):
            axis.text(ratio, i, f" {ratio:.2f}", va="center", fontsize=8)
        axis.axvline(1, color=COLOURS[0], lw=0.8)
        axis.invert_yaxis()
        axis.set_title(name, fontsize=9)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def _panels(rows: int, columns: int, size: tuple[float, float]):  # type: ignore[no-untyped-def]
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure, path: Path) -> None:  # type: ignore[no-untyped-def]
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
