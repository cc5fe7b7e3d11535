"""Generalized inverses: what they are (`penrose`), how to get them (`pinv`, `iterations`), how learning finds them."""

from rfnumeric.linalg.iterations import IterationResult, ben_israel_cohen
from rfnumeric.linalg.penrose import PenroseResiduals, penrose_residuals, satisfied_conditions
from rfnumeric.linalg.pinv import condition_number, damped_pinv, pinv

__all__ = [
    "IterationResult",
    "PenroseResiduals",
    "ben_israel_cohen",
    "condition_number",
    "damped_pinv",
    "penrose_residuals",
    "pinv",
    "satisfied_conditions",
]
