"""What was measured along training, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rfnumeric.plotting._base import save, subplots
from rfnumeric.training.history import EpochRecord

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
    figure, grid = subplots(*shape, size, sharex=True, sharey=False if folded else "col")
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
    save(figure, path)


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
