"""Figures, drawn with matplotlib straight to files; a file a kind of figure."""

from rfnumeric.plotting._base import COLOURS
from rfnumeric.plotting.bench import growth_curves, ratio_bars
from rfnumeric.plotting.coupled import convergence_curves
from rfnumeric.plotting.curves import learning_curves
from rfnumeric.plotting.metrics import metrics_figure
from rfnumeric.plotting.search import search_points
from rfnumeric.plotting.studies import accuracy_against_cosine, difference_map, stability_map

__all__ = [
    "COLOURS",
    "accuracy_against_cosine",
    "convergence_curves",
    "difference_map",
    "growth_curves",
    "learning_curves",
    "metrics_figure",
    "ratio_bars",
    "search_points",
    "stability_map",
]
