"""Generalized inverses: what they are (`penrose`), how to get them (`pinv`, `iterations`), how learning finds them."""

from rfnumeric.linalg.coupled import CoupledRule, coupled_rule, logistic_flow
from rfnumeric.linalg.damped import condition_number, damped_pinv
from rfnumeric.linalg.gram_newton import GramNewton
from rfnumeric.linalg.iteration_result import IterationResult
from rfnumeric.linalg.iterations import Hyperpower, ben_israel_cohen, hyperpower
from rfnumeric.linalg.kronecker import KroneckerOperator, weight_reciprocal_operator
from rfnumeric.linalg.least_squares import Drift, RecursiveLeastSquares, opium_light_step, ridge_solution
from rfnumeric.linalg.online import (
    autoencoder_fixed_point,
    autoencoder_step,
    hinton_mcclelland_step,
    recirculation_step,
)
from rfnumeric.linalg.operator import PinvOperator
from rfnumeric.linalg.penrose import PenroseResiduals, penrose_residuals, satisfied_conditions
from rfnumeric.linalg.pinv import PinvInfo, pinv
from rfnumeric.linalg.tracker import PinvTracker
from rfnumeric.linalg.updates import (
    RankOneUpdate,
    append_column,
    delete_column,
    rank_k_update,
    rank_one_update,
)

__all__ = [
    "CoupledRule",
    "Drift",
    "GramNewton",
    "Hyperpower",
    "IterationResult",
    "KroneckerOperator",
    "PenroseResiduals",
    "PinvInfo",
    "PinvOperator",
    "PinvTracker",
    "RankOneUpdate",
    "RecursiveLeastSquares",
    "append_column",
    "autoencoder_fixed_point",
    "autoencoder_step",
    "ben_israel_cohen",
    "condition_number",
    "coupled_rule",
    "damped_pinv",
    "delete_column",
    "hinton_mcclelland_step",
    "hyperpower",
    "logistic_flow",
    "opium_light_step",
    "penrose_residuals",
    "pinv",
    "rank_k_update",
    "rank_one_update",
    "recirculation_step",
    "ridge_solution",
    "satisfied_conditions",
    "weight_reciprocal_operator",
]
