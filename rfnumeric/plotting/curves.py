"""Loss and accuracy along training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rfnumeric.plotting._base import COLOURS, save, subplots
from rfnumeric.training.history import EpochRecord


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
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    figure, axes = subplots(len(panels), 2, (9.5, 0.6 + 3.1 * len(panels)))
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
        _limit_accuracy(accuracy_axis)
        for axis in (loss_axis, accuracy_axis):
            axis.set_title(name, fontsize=10)
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(alpha=0.3)
    handles = [Line2D([], [], color=COLOURS[i % len(COLOURS)], label=label) for i, label in enumerate(labels)]
    handles += [Line2D([], [], color="grey", label="train"), Line2D([], [], color="grey", ls="--", label="test")]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


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


def _limit_accuracy(axis) -> None:  # type: ignore[no-untyped-def]
    """Start at 0, and end above the curves, at 100 % at the latest."""
    highest = max((max(line.get_ydata(), default=0.0) for line in axis.lines), default=0.0)
    axis.set_ylim(0, 101 if highest > 80 or highest <= 0 else 1.15 * highest)
