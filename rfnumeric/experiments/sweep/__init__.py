"""The papers' search for learning rates (v2 A.1)."""

from rfnumeric.experiments.sweep.search import SEARCHES, best, hyperopt_search, random_search, train_best
from rfnumeric.experiments.sweep.space import CONFIGURATIONS, Space

__all__ = ["CONFIGURATIONS", "SEARCHES", "Space", "best", "hyperopt_search", "random_search", "train_best"]
