"""Metrics of networks with residuals and shared weights: cosines, and Theorem 1 in the weights themselves."""

from __future__ import annotations

import numpy as np
import pytest
from fixture_graphs import BATCH, GRAPHS
from training_helpers import RULE_OPTIONS

from rfnumeric.backend import get_backend
from rfnumeric.calculus import certificate, jacobian
from rfnumeric.calculus.theorem1 import PAIRS
from rfnumeric.nn import get_loss
from rfnumeric.rules import Backprop, get_rule
from rfnumeric.training import METRICS, measure

HOST = get_backend("numpy", dtype="float64")
EPS = np.finfo(float).eps


CASES = [
    *((rule, graph) for rule in RULE_OPTIONS for graph in ("recurrent", "residual")),
    # Rules in closed form need dense layers.
    *((rule, graph) for rule in ("backprop", "rf-two-phase", "batch-reciprocal") for graph in ("convolution", "local")),
]


class Case:
    """A network of `GRAPHS` with a batch, labels, and a rule's feedback."""

    def __init__(self, graph, rule, backend=HOST, seed=0):
        self.network, x, self.streams = GRAPHS[graph](backend, seed)
        name, options = RULE_OPTIONS[rule]
        self.rule = get_rule(name, **options)
        self.feedback = self.rule.init(self.network, self.streams.child("feedback"))
        if name == "mean-reciprocal-learned":  # which starts at zero
            R = self.feedback["R"]
            draws = [None if X is None else self.streams.child("R", k).normal(X.shape[-2:]) for k, X in enumerate(R)]
            self.feedback["R"] = draws
        self.trace = self.network.forward(x)
        shape = self.trace.h[-1].shape[:-1]
        y = backend.asarray(np.broadcast_to(np.arange(BATCH) % 2, shape), "int64")
        self.e = get_loss("cross-entropy").evaluate(self.trace.h[-1], y)[0]

    def measure(self):
        return measure(self.rule, self.network, self.trace, self.e, self.feedback)

    def updates(self, rule, e, s=slice(None)):
        """vec [W_k b_k] of the rule's updates at learning rate 1, summed over the samples."""
        x = self.trace.h[0][s, :]
        trace = self.network.forward(x)
        trace.delta = rule.deltas(self.network, trace, e, self.feedback)
        found = {k: self.network.direction(trace, k) for k in self.network.trained}
        return {k: len(x) * np.concatenate([v.T.ravel() for v in both]) for k, both in found.items()}


def cosine(u, v):
    return float(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))


@pytest.mark.parametrize(("rule", "graph"), CASES)
def test_cosines_are_those_of_the_summed_updates(rule, graph):
    case = Case(graph, rule)
    (found,) = case.measure()
    update, gradient = case.updates(case.rule, case.e), case.updates(Backprop(), case.e)
    assert [k for k, c in enumerate(found["gradient_cosine"]) if c is not None] == list(case.network.trained)
    for k in case.network.trained:
        weights = case.network.W[k].size
        expected = cosine(update[k][:weights], gradient[k][:weights])
        assert found["gradient_cosine"][k] == pytest.approx(expected, abs=1e3 * EPS)
        J = np.hstack([jacobian(case.network, case.trace, k, w).reshape(2 * BATCH, -1) for w in ("W", "b")])
        G = J @ J.T
        step = J.T @ np.linalg.solve(G + 0.1 * np.trace(G) / len(G) * np.eye(len(G)), case.e.ravel())
        expected = cosine(update[k][:weights], step[:weights])
        assert found["gauss_newton_cosine"][k] == pytest.approx(expected, abs=1e4 * EPS)


@pytest.mark.parametrize(("rule", "graph"), CASES)
def test_theorem_1_is_that_of_the_parameters(rule, graph):
    """The certificate for the unknown vec [W_k b_k] itself, its Jacobian and T formed, draws the same pairs."""
    case = Case(graph, rule)
    network = case.network
    (found,) = case.measure()
    for k in network.trained:
        products, errors = [], []
        for s in range(BATCH):
            one = slice(s, s + 1)
            T = np.stack([case.updates(case.rule, unit[None, :], one)[k] for unit in np.eye(2)], axis=1)
            trace = network.forward(case.trace.h[0][one, :])
            A = np.hstack([jacobian(network, trace, k, wrt)[0] for wrt in ("W", "b")])

            def F(y, k=k, x=trace.h[0]):
                W, b = list(network.W), list(network.b)
                W[k], b[k] = (
                    v.reshape(like[k].shape[::-1]).T for v, like in zip(np.split(y, [W[k].size]), (W, b), strict=True)
                )
                return network.with_parameters(W, b).predict(x)[0]

            y0 = np.concatenate([network.W[k].T.ravel(), network.b[k].T.ravel()])
            r = np.linalg.norm(T, 2) * np.linalg.norm(case.e[s])
            products.append(certificate(F, A, T, y0, r, samples=PAIRS).p)
            errors.append(np.linalg.norm(T @ A @ T - T) / np.linalg.norm(T))
        # Close pairs divide the rounding of F by eps^(1/3) of the ball; c = 100.
        tolerance = 100 * EPS ** (2 / 3) * max(1, *products)
        assert found["contraction"][k] == pytest.approx(np.median(products), abs=tolerance)
        assert found["reciprocal_error"][k] == pytest.approx(np.median(errors), abs=1e4 * EPS * max(1, *errors))


@pytest.mark.parametrize("rule", ["rf-two-phase", "mean-reciprocal-learned", "batch-reciprocal"])
def test_a_recurrent_population_is_measured_as_its_members_are(rule, backend64):
    together = Case("recurrent", rule, backend64, seed=[3, 4]).measure()
    tolerance = 1e3 * EPS ** (2 / 3)  # the close pairs of Theorem 1 lose a third of the digits
    for found, seed in zip(together, (3, 4), strict=True):
        (alone,) = Case("recurrent", rule, HOST, seed=seed).measure()
        for name in METRICS:
            for one, two in zip(found[name], alone[name], strict=True):
                assert one == (None if two is None else pytest.approx(two, rel=tolerance, abs=tolerance)), name
    assert together[0]["contraction"][1] > 0
