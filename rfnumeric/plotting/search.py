"""The trials of a search for learning rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rfnumeric.plotting._base import COLOURS, save, subplots

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

    figure, axes = subplots(1, 1, (6.5, 4.2))
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
    save(figure, path)
