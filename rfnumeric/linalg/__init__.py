"""Generalized inverses: what they are (`penrose`), how to get them (`pinv`, `iterations`), how learning finds them."""

from rfnumeric.linalg.damped import condition_number, damped_pinv
from rfnumeric.linalg.iterations import GramNewton, Hyperpower, IterationResult, ben_israel_cohen, hyperpower
from rfnumeric.linalg.penrose import PenroseResiduals, penrose_residuals, satisfied_conditions
from rfnumeric.linalg.pinv import PinvInfo, pinv

__all__ = [
    "GramNewton",
    "Hyperpower",
    "IterationResult",
    "PenroseResiduals",
    "PinvInfo",
    "ben_israel_cohen",
    "condition_number",
    "damped_pinv",
    "hyperpower",
    "penrose_residuals",
    "pinv",
    "satisfied_conditions",
]
