"""What the papers derive of a network, for any map: Jacobians, reciprocals, Gauss–Newton, and Theorem 1."""

from rfnumeric.calculus.gauss_newton import gauss_newton_step
from rfnumeric.calculus.jacobians import (
    activation_jacobians,
    finite_difference_jacobian,
    jacobian,
    pull_back,
    push_forward,
)
from rfnumeric.calculus.newton import Certificate, NewtonResult, certificate, hildebrandt_graves, lipschitz
from rfnumeric.calculus.operators import JacobianOperator, ReciprocalOperator
from rfnumeric.calculus.reciprocals import (
    LayerReciprocal,
    activation_reciprocals,
    angle,
    reciprocal_properties,
    weight_reciprocal,
)
from rfnumeric.calculus.theorem1 import sample_contraction

__all__ = [
    "Certificate",
    "JacobianOperator",
    "LayerReciprocal",
    "NewtonResult",
    "ReciprocalOperator",
    "activation_jacobians",
    "activation_reciprocals",
    "angle",
    "certificate",
    "finite_difference_jacobian",
    "gauss_newton_step",
    "hildebrandt_graves",
    "jacobian",
    "lipschitz",
    "pull_back",
    "push_forward",
    "reciprocal_properties",
    "sample_contraction",
    "weight_reciprocal",
]
