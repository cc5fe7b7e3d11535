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


METRIC_PANELS = (
    ("cosine to the gradient", ("gradient_cosine",), "linear"),
    ("cosine to the damped\nGauss–Newton step", ("gauss_newton_cosine",), "linear"),
    ("condition number of W", ("condition_number",), "log"),
    ("‖W⁺ − feedback‖ / ‖W⁺‖", ("pinv_distance",), "log"),
    ("largest Penrose residual\nof the feedback", ("penrose_1", "penrose_2", "penrose_3", "penrose_4"), "log"),
    ("M‖T‖ of Theorem 1\n(above 1: it does not apply)", ("contraction",), "log"),
    ("negative units (%)", ("negative_share",), "percent"),
)
"""Title, metrics of which the largest is drawn, and scale."""

CONTRACTION_FLOOR = 1e-3
"""M‖T‖ below this is not drawn: a network that is linear over the ball has rounding there."""


def metrics_figure(path: Path, rows: Sequence[tuple[str, Sequence[Sequence[EpochRecord]]]], *, title: str) -> None:
    """Draw what `rfnumeric.training.metrics` measured against epochs, one line a layer.

    Parameters
    ----------
    path : Path
        Of the figure.
    rows : sequence of (name, histories)
        One row of the figure each, e.g. a rule; the members' histories are drawn into the same panels. A single row is
        folded into two.
    title : str

    Raises
    ------
    ValueError
        If no record holds metrics.
    """
    from matplotlib.lines import Line2D

    values = [record.metrics for _, histories in rows for records in histories for record in records if record.metrics]
    if not values:
        raise ValueError("rows must hold records with metrics; got none. Train with metrics_every=1.")
    colours = _layer_colours(len(values[0]["gradient_cosine"]) - 1)
    folded, count = len(rows) == 1, len(METRIC_PANELS)
    shape = (2, -(-count // 2)) if folded else (len(rows), count)
    size = (13.0, 6.6) if folded else (2.35 * count, 1.3 + 1.75 * len(rows))
    figure, grid = _panels(*shape, size, sharex=True, sharey=False if folded else "col")
    lines = [grid.ravel()[:count]] if folded else list(grid)
    for axis in grid.ravel()[count:] if folded else ():
        axis.set_visible(False)
    for i, (axes, (name, histories)) in enumerate(zip(lines, rows, strict=True)):
        for axis, (panel, metrics, scale) in zip(axes, METRIC_PANELS, strict=True):
            for records in histories:
                for l, colour in colours.items():
                    _metric_line(axis, records, metrics, l, scale, colour)
            if folded or i == 0:
                axis.set_title(panel, fontsize=9)
            if folded or i == len(rows) - 1:
                axis.set_xlabel("epoch")
                axis.tick_params(labelbottom=True)
        if not folded:
            axes[0].set_ylabel(name, fontsize=9)
    for axes in lines:  # rows share their limits, so that all must be drawn first
        for axis, (_, metrics, scale) in zip(axes, METRIC_PANELS, strict=True):
            _metric_axis(axis, metrics, scale)
    handles = [Line2D([], [], color=c, label=f"layer {l}") for l, c in colours.items()]
    shown = handles if len(handles) <= 10 else handles[:: -(-len(handles) // 10)]
    figure.legend(handles=shown, loc="outside lower center", ncols=min(len(shown), 10), frameon=False)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def _layer_colours(L: int) -> dict[int, tuple[float, ...]]:
    """Return a colour for each layer, from dark at the input to light at the output."""
    from matplotlib import colormaps

    return {l: colormaps["viridis"](0.9 * (l - 1) / max(L - 1, 1)) for l in range(1, L + 1)}


def _metric_line(axis, records, metrics, l, scale, colour) -> None:  # type: ignore[no-untyped-def]
    points = []
    for record in records:
        found = [record.metrics[name][l] for name in metrics] if record.metrics else [None]
        value = None if None in found else max(found) * (100 if scale == "percent" else 1)
        # A logarithm has no place for 0.
        if value is not None and (scale != "log" or value > 0):
            points.append((record.epoch, value))
    style = "o-" if len(points) <= 12 else "-"
    axis.plot([p[0] for p in points], [p[1] for p in points], style, color=colour, lw=1.4, ms=3)


def _metric_axis(axis, metrics, scale) -> None:  # type: ignore[no-untyped-def]
    from matplotlib.ticker import LogFormatter, MaxNLocator

    axis.grid(alpha=0.3)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if scale == "log":
        axis.set_yscale("log")
    elif scale == "percent":
        axis.set_ylim(0, 100)
    else:
        axis.set_ylim(min(axis.get_ylim()[0], -0.05), 1.05)
    if metrics == ("condition_number",):
        axis.yaxis.set_major_formatter(LogFormatter())
        axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    if metrics == ("contraction",):
        axis.axhline(1, color="grey", lw=0.8, ls=":")
        axis.set_ylim(max(axis.get_ylim()[0], CONTRACTION_FLOOR))


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


def _panels(rows: int, columns: int, size: tuple[float, float], **shared):  # type: ignore[no-untyped-def]
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def _save(figure, path: Path) -> None:  # type: ignore[no-untyped-def]
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


MARKERS = {"completed": "o", "stopped": "v", "interrupted": "s", "diverged": "x", "failed": "+"}


def search_points(
    path: Path, points: Sequence[tuple[float, float, float, str, bool]], *, colour_label: str, title: str
) -> None:
    """Draw the held-out accuracy of a search's trials against their forward rate.

    Parameters
    ----------
    path : Path
        Of the figure.
    points : sequence of (rate, accuracy, colour, status, best)
        Accuracy in percent; a trial without one (NaN) stands at the bottom. `colour` is positive and drawn on a
        logarithmic scale; `best` marks the chosen trial.
    colour_label, title : str
    """
    from matplotlib.colors import LogNorm
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogFormatter, LogLocator, NullFormatter

    figure, axes = _panels(1, 1, (6.5, 4.2))
    axis = axes[0][0]
    sound = [p[1] for p in points if math.isfinite(p[1])]
    floor = min(sound, default=0.0) - 0.06 * (max(sound, default=100.0) - min(sound, default=0.0) + 1)
    low, high = min(p[2] for p in points), max(p[2] for p in points)
    norm = LogNorm(low, high if high > low else low * 10)
    for status in dict.fromkeys(p[3] for p in points):
        of_status = [(x, y if math.isfinite(y) else floor, c) for x, y, c, s, _ in points if s == status]
        x, y, colour = zip(*of_status, strict=True)
        shown = axis.scatter(x, y, c=colour, norm=norm, cmap="viridis", marker=MARKERS[status], s=45, zorder=3)
    for rate, accuracy, *_, chosen in points:
        if chosen:
            axis.scatter(rate, accuracy, marker="o", s=190, facecolors="none", edgecolors=COLOURS[1], lw=2, zorder=4)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(9, 9)))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("forward learning rate")
    axis.set_ylabel("accuracy on the held-out fifth (%)")
    axis.grid(alpha=0.3)
    handles = [
        Line2D([], [], ls="", marker=MARKERS[s], color="grey", label=s) for s in dict.fromkeys(p[3] for p in points)
    ]
    handles.append(Line2D([], [], ls="", marker="o", ms=11, mfc="none", mec=COLOURS[1], mew=2, label="chosen"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    bar = figure.colorbar(shown, ax=axis, label=colour_label, format="%g")
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    axis.set_title(title, fontsize=10)
    _save(figure, path)
