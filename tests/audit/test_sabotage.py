"""Sabotage: with a formula of the code flipped, the check of the claim that rests on it must notice."""

from __future__ import annotations

import dataclasses

import pytest

from rfnumeric import calculus, linalg, rules
from rfnumeric.audit import (
    coupled,
    gauss_newton,
    hypotheses,
    lab,
    pseudoinverse,
    reciprocal,
    recirculation,
    theorem1,
    training,
    updates,
)
from rfnumeric.audit import jacobian as jacobian_claims
from rfnumeric.audit.run import run_audit
from rfnumeric.nn import reciprocal_diagonal
from rfnumeric.rules import inverses


def recirculation_with_the_wrong_sign(W, X, noise, lr):
    return inverses.recirculate(W, X, noise, -lr)


def autoencoder_with_the_wrong_sign(W_pinv, Wy, y, lr):
    return inverses.autoencoder_step(W_pinv, Wy, y, -lr)


def iteration_with_half_steps_only(A, X0=None, **options):
    result = linalg.ben_israel_cohen(A, X0, **options)
    return dataclasses.replace(result, value=result.value / 2)


def conditions_without_the_fourth(A, X):
    return linalg.satisfied_conditions(A, X) - {4}


class CoupledRuleAsPrinted(linalg.CoupledRule):
    def __init__(self, U, V, rate=0.1, *, form="corrected"):
        super().__init__(U, V, rate, form="printed")


def ones_at(trace, l):
    return [None if d is None else d * 0 + 1 if k == l else d for k, d in enumerate(trace.d_sigma)]


def jacobian_without_own_layer(network, trace, l, wrt="W"):
    return calculus.jacobian(network, dataclasses.replace(trace, d_sigma=ones_at(trace, l)), l, wrt)


def recursion_without_the_last_derivative(network, trace):
    return calculus.activation_jacobians(network, dataclasses.replace(trace, d_sigma=ones_at(trace, network.L)))


def reciprocals_by_transpose(network, trace, W_pinv=None):
    return calculus.activation_reciprocals(network, trace, [None, None, *(W.T for W in network.W[2:])])


def weight_reciprocal_without_own_layer(network, trace, l, W_pinv=None):
    return calculus.weight_reciprocal(network, dataclasses.replace(trace, d_sigma=ones_at(trace, l)), l, W_pinv)


def rule_without_normalization():
    return rules.RFTwoPhase(normalize=False)


def newton_uphill(F, T, y0, **options):
    return calculus.hildebrandt_graves(F, -T, y0, **options)


def newton_without_relaxation(F, T, y0, *, damping=1.0, **options):
    # λ squared: slower than 1 − λ(1 − p) allows.
    return calculus.hildebrandt_graves(F, T, y0, damping=damping**2, **options)


def certificate_that_forgets_the_null_space(*arguments, **options):
    return dataclasses.replace(calculus.certificate(*arguments, **options), null_space=True)


def damped_gauss_newton(network, trace, e, **options):
    return calculus.gauss_newton_step(network, trace, e, damping=1.0, **options)


def rank_one_update_with_the_wrong_sign(A, A_pinv, c, d):
    return linalg.rank_one_update(A, A_pinv, -c, d)


class BackpropThroughPseudoinverses:
    """Backprop with W⁺ in place of Wᵀ."""

    def deltas(self, network, trace, e, feedback):
        rule = rules.PseudoBackprop()
        return rule.deltas(network, trace, e, rule.init(network, None))


SABOTAGE = {
    "P03": (pseudoinverse, "ben_israel_cohen", iteration_with_half_steps_only),
    "P05": (pseudoinverse, "satisfied_conditions", conditions_without_the_fourth),
    "P06": (pseudoinverse, "recirculate", recirculation_with_the_wrong_sign),
    "P10": (recirculation, "autoencoder_step", autoencoder_with_the_wrong_sign),
    "C01": (coupled, "CoupledRule", CoupledRuleAsPrinted),
    "C02": (coupled, "CoupledRule", CoupledRuleAsPrinted),
    "J07": (jacobian_claims, "jacobian", jacobian_without_own_layer),
    "J10": (lab, "activation_jacobians", recursion_without_the_last_derivative),
    "J11": (jacobian_claims, "Backprop", BackpropThroughPseudoinverses),
    "R02": (lab, "activation_reciprocals", reciprocals_by_transpose),
    "R07": (reciprocal, "weight_reciprocal", weight_reciprocal_without_own_layer),
    "R11": (updates, "RFTwoPhase", rule_without_normalization),
    "R12": (updates, "RFTwoPhase", rule_without_normalization),
    "T01": (theorem1, "hildebrandt_graves", newton_uphill),
    "T07": (theorem1, "certificate", certificate_that_forgets_the_null_space),
    "T11": (hypotheses, "hildebrandt_graves", newton_without_relaxation),
    "G06": (gauss_newton, "gauss_newton_step", damped_gauss_newton),
    "N05": (training, "rank_one_update", rank_one_update_with_the_wrong_sign),
}


@pytest.mark.parametrize("claim", SABOTAGE)
def test_a_flipped_formula_is_noticed(claim, monkeypatch):
    (before,) = run_audit([claim])
    assert before.ok
    module, name, replacement = SABOTAGE[claim]
    monkeypatch.setattr(module, name, replacement)
    (after,) = run_audit([claim])
    assert not after.ok, after.measured
    # The measurement itself disagrees; the sabotage did not merely raise.
    assert "raised" not in after.measured.evidence


def test_the_engine_itself_sabotaged_is_noticed(monkeypatch):
    """A wrong D⁺ deep in the engine reaches the claims that rest on it, through no seam of the audit's own."""
    monkeypatch.setattr(calculus.reciprocals, "reciprocal_diagonal", lambda d, damping=0.0: reciprocal_diagonal(d) ** 2)
    wrong = [r.claim.id for r in run_audit(["R02", "R03", "R07", "R08", "R10", "T09"]) if not r.ok]
    assert wrong == ["R02", "R03", "R07", "R08", "R10", "T09"]
