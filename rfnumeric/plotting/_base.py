"""What all figures share: colours, and panels drawn straight to files, without a window or global state."""

from __future__ import annotations

import io
from pathlib import Path

from rfnumeric.training.files import write_atomically

# Okabe and Ito's palette, which colour-blind readers can tell apart; the order is that of the rules.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#E69F00")


def subplots(rows: int, columns: int, size: tuple[float, float], **shared):  # type: ignore[no-untyped-def]
    """Return a figure and its axes, shape (rows, columns); `size` in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def save(figure, path: Path) -> None:  # type: ignore[no-untyped-def]
    """Write the figure to `path`, whose suffix chooses the format, whole or not at all."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=130, format=path.suffix.removeprefix("."))
    write_atomically(path, drawn.getvalue())
