"""The registry and its options, populations, backends, the conformance suite, and a user's own rule in the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfnumeric.backend import Streams, array_namespace, eps, get_backend, to_numpy
from rfnumeric.datasets import Dataset
from rfnumeric.nn import get_loss
from rfnumeric.rules import RULES, Backprop, FeedbackAlignment, RFTwoPhase, Rule, get_rule
from rfnumeric.testing import check_rule
from rfnumeric.testing.strategies import known_network, networks
from rfnumeric.training import RunConfig, train

SETTINGS = settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])

VARIANTS = {
    **{name: get_rule(name) for name in RULES},
    "rf-two-phase, recirculation": RFTwoPhase(pinv="recirculation", refresh_every=1, sleep_batch=16),
    "rf-two-phase, damped": RFTwoPhase(weight_damping=0.1, derivative_damping=0.1, refresh_every=2),
    "rf-two-phase, as printed": RFTwoPhase(own_layer="none", normalize=False),
    "rf-parallel, random start": get_rule("rf-parallel", start="random", feedback_lr=0.01),
    "feedback-alignment, orthogonal": FeedbackAlignment("orthogonal"),
    "mean-reciprocal, own D": get_rule("mean-reciprocal", derivatives="own", refresh_every=2, moment_decay=0.5),
    "mean-reciprocal-learned, own D": get_rule("mean-reciprocal-learned", derivatives="own", sleep_every=2),
    "batch-reciprocal, undamped": get_rule("batch-reciprocal", damping=0.0),
}


@pytest.mark.parametrize("rule", VARIANTS.values(), ids=VARIANTS)
def test_conformance(rule, backend):
    check_rule(rule, backend)


@pytest.mark.parametrize("rule", VARIANTS.values(), ids=VARIANTS)
def test_without_bias(rule, backend64):
    check_rule(rule, backend64, sizes=(5, 8, 4, 6, 3), hidden="leaky-softplus", bias=False)


@pytest.mark.parametrize("name", RULES)
@SETTINGS
@given(data=st.data())
def test_every_backend_gives_numpys_deltas(name, data, backend):
    """Widths 1 to 40, both dtypes; inverses of orthogonal weights, whose rounding is not amplified."""
    options = {"activations": ("identity", "leaky-softplus"), "inits": ("orthogonal",), "slopes": (0.3, 1.0)}
    known = data.draw(networks(backend, **options))
    results = []
    for b in (backend, get_backend("numpy", dtype="float64")):
        network = known.network.copy()
        network.W = [None, *(b.asarray(to_numpy(W)) for W in network.W[1:])]
        network.b = [None, *(None if v is None else b.asarray(to_numpy(v)) for v in network.b[1:])]
        trace = network.forward(b.asarray(to_numpy(known.x)))
        e = get_loss("mse").evaluate(trace.h[-1], b.asarray(to_numpy(known.labels), "int64"))[0]
        rule = get_rule(name)
        results.append(rule.deltas(network, trace, e, rule.init(network, Streams(3, b))))
    n, L = max(known.network.sizes), known.network.L
    for l in range(1, L + 1):
        got, wanted = (to_numpy(r[l]).astype(np.float64) for r in results)
        # Errors of e relative to |h_L| + 1 pass down L layers with gain at most 1/0.3 (D⁺), twice in δ_l, and the
        # random matrices of feedback alignment amplify by at most 3 a layer; c = 100.
        growth = (1 / 0.3) ** (L - l + 1)
        e_size = 1 + float(np.abs(to_numpy(known.network.predict(known.x))).max())
        inverse = max(1.0, 1 / smallest_square(known)) if name.startswith("rf") else 1.0
        assert np.abs(got - wanted).max() <= 100 * eps(backend.dtype) * n * L * growth * e_size * inverse


def smallest_square(known):
    """Smallest ‖h_{l−1}‖² of a sample, by which normalized rules divide."""
    trace = known.network.forward(known.x)
    extra = 1.0 if known.network.has_bias else 0.0
    return min(float((to_numpy(h).astype(np.float64) ** 2).sum(axis=-1).min()) + extra for h in trace.h[:-1])


def tiny_dataset():
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    images = np.clip(rng.normal(90 + 40 * labels[:, None], 50, (48, 9)), 0, 255).astype(np.uint8)
    return Dataset("tiny", images[:33], labels[:33], images[33:].copy(), labels[33:].copy(), (3, 3), ("a", "b", "c"))


TINY = {"dataset": "tiny", "sizes": (9, 7, 5, 3), "hidden": "tanh", "output": "identity", "batch_size": 8, "epochs": 2}


@pytest.mark.parametrize("rule", VARIANTS.values(), ids=VARIANTS)
def test_population_of_20_is_20_runs(rule):
    # Normalized reciprocal steps amplify by 1/‖h‖² and D⁺; the rates keep them where rounding does not grow.
    options = {**TINY, "rule": rule.name, "rule_options": rule.options(), "bias": True, "dtype": "float64"}
    lr, seed = tuple(np.geomspace(1e-4, 2e-3, 20).tolist()), tuple(range(20))
    together = train(RunConfig(**options, lr=lr, seed=seed), tiny_dataset())
    for k in range(20):
        alone = train(RunConfig(**options, lr=lr[k], seed=seed[k]), tiny_dataset())
        worst = max(np.linalg.cond(W) for W in alone.network.W[1:])
        for l in (1, 2, 3):
            error = np.abs(together.network.W[l][k] - alone.network.W[l]).max()
            # 10 steps, each with an inverse good to c·eps·n·κ², c = 100.
            assert error <= 10 * 100 * 9 * eps(alone.network.W[l]) * worst**2 * np.abs(alone.network.W[l]).max()
        for one, two in zip(together.members[k].records, alone.members[0].records, strict=True):
            assert one.test_accuracy == two.test_accuracy
            assert one.test_loss == pytest.approx(two.test_loss, rel=1e-9)
            assert one.train_loss == pytest.approx(two.train_loss, rel=1e-9, nan_ok=True)
        assert together.members[k].config == alone.config


@pytest.mark.parametrize("rule", RULES)
def test_every_backend_trains_alike(rule, backend64):
    options = {**TINY, "rule": rule, "lr": 1e-3, "seed": 3, "dtype": "float64"}
    here = RunConfig(**options)
    there = RunConfig(**options, backend=backend64.name)
    one, two = (train(c, tiny_dataset()) for c in (here, there))
    worst = max(np.linalg.cond(W) for W in one.network.W[1:])
    for l in (1, 2, 3):
        error = np.abs(one.network.W[l] - to_numpy(two.network.W[l])).max()
        assert error <= 10 * 100 * 9 * eps(one.network.W[l]) * worst**2 * np.abs(one.network.W[l]).max()
    assert [r.test_accuracy for r in one.members[0].records] == [r.test_accuracy for r in two.members[0].records]


@dataclass(frozen=True)
class DirectFeedbackAlignment(Rule):
    """A user's rule, of a kind that the package has not: δ_l = D_l B_l e with fixed random B_l (Nøkland 2016)."""

    name: ClassVar[str] = "user-dfa"
    scale: float = 1.0

    def init(self, network, streams):
        n = network.sizes
        draws = (streams.child(l).normal((n[l], n[-1])) * (self.scale / n[-1] ** 0.5) for l in range(1, network.L))
        return {"B": [None, *draws, None]}

    def deltas(self, network, trace, e, feedback):
        xp = array_namespace(e)
        projected = (xp.matmul(e, xp.matrix_transpose(feedback["B"][l])) for l in range(1, network.L))
        hidden = [d * v for d, v in zip(trace.d_sigma[1:-1], projected, strict=True)]
        return [None, *hidden, trace.d_sigma[-1] * e]


def test_a_users_own_rule_runs_in_the_loop(monkeypatch, tmp_path):
    check_rule(DirectFeedbackAlignment())
    monkeypatch.setitem(RULES, "user-dfa", DirectFeedbackAlignment)
    config = RunConfig(**{**TINY, "epochs": 5}, rule="user-dfa", rule_options={"scale": 0.5}, lr=0.05)
    run = train(config, tiny_dataset(), out=tmp_path)
    records = run.members[0].records
    assert run.members[0].status == "completed"
    assert records[-1].train_loss < records[1].train_loss
    again = train(config, tiny_dataset(), out=tmp_path, resume=True)
    np.testing.assert_array_equal(run.feedback["B"][1], again.feedback["B"][1])


def test_the_interface_order_sleep_deltas_learn(monkeypatch):
    calls = []

    @dataclass(frozen=True)
    class Spy(Backprop):
        name: ClassVar[str] = "spy"

        def init(self, network, streams):
            calls.append(("init", streams.path))
            return {}

        def sleep(self, network, feedback, streams, step):
            calls.append(("sleep", step, streams.path))
            return feedback

        def deltas(self, network, trace, e, feedback):
            calls.append(("deltas",))
            return super().deltas(network, trace, e, feedback)

        def learn_feedback(self, network, trace, feedback, streams, step):
            # The step's own deltas are there, and the weights are those of the forward pass.
            recomputed = network.forward(trace.h[0]).h[-1]
            same = np.array_equal(recomputed, trace.h[-1])
            calls.append(("learn", step, len(trace.delta), same))
            return feedback

    monkeypatch.setitem(RULES, "spy", Spy)
    train(RunConfig(**{**TINY, "epochs": 1}, rule="spy"), tiny_dataset())
    assert calls[0] == ("init", ("feedback",))
    expected = [c for i in range(5) for c in (("sleep", i, ("sleep", i)), ("deltas",), ("learn", i, 4, True))]
    assert calls[1:] == expected


def test_registry():
    of_the_papers = ["backprop", "feedback-alignment", "rf-two-phase", "rf-parallel", "pseudo-backprop"]
    assert list(RULES) == [*of_the_papers, "mean-reciprocal", "mean-reciprocal-learned", "batch-reciprocal"]
    for name, cls in RULES.items():
        rule = get_rule(name)
        assert isinstance(rule, cls)
        assert get_rule(name, **rule.options()) == rule
        assert "--lr" in rule.advice()


def test_registry_errors():
    with pytest.raises(ValueError, match=r"rule must be one of backprop.*got 'adam'"):
        get_rule("adam")
    with pytest.raises(ValueError, match=r"rule 'backprop' has no option refresh_every; it has none. Leave it out"):
        get_rule("backprop", refresh_every=3)
    with pytest.raises(ValueError, match="'rf-two-phase' has no option momentum; it has refresh_every, pinv"):
        get_rule("rf-two-phase", momentum=0.9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rf-two-phase", {"pinv": "qr"}, "pinv must be one of auto, svd, cholesky, ben-israel-cohen, recirculation"),
        (
            "pseudo-backprop",
            {"pinv": "recirculation"},
            "pinv must be one of auto, svd, cholesky, ben-israel-cohen; got",
        ),
        ("rf-two-phase", {"refresh_every": 0}, r"refresh_every must be at least 1 \(steps\); got 0"),
        ("pseudo-backprop", {"refresh_every": -1}, r"refresh_every must be at least 1 \(steps\); got -1"),
        ("rf-two-phase", {"weight_damping": -0.1}, "weight_damping must be at least 0; got -0.1"),
        ("pseudo-backprop", {"weight_damping": float("nan")}, "weight_damping must be at least 0; got nan"),
        ("rf-two-phase", {"derivative_damping": -1.0}, "derivative_damping must be at least 0; got -1.0"),
        ("rf-parallel", {"derivative_damping": float("nan")}, "derivative_damping must be at least 0; got nan"),
        ("rf-two-phase", {"own_layer": "both"}, "own_layer must be one of reciprocal, derivative, none; got 'both'"),
        ("rf-two-phase", {"sleep_lr": 0.0}, r"sleep_lr must lie in \(0, 1\]"),
        ("rf-two-phase", {"sleep_lr": 1.5}, r"sleep_lr must lie in \(0, 1\]"),
        ("rf-two-phase", {"sleep_batch": 0}, "sleep_batch be at least 1"),
        ("rf-two-phase", {"pinv": "recirculation", "weight_damping": 0.1}, "recirculation takes none. Leave it at 0"),
        ("rf-parallel", {"start": "zeros"}, "start must be one of pinv, random; got 'zeros'"),
        ("rf-parallel", {"feedback_lr": -1e-3}, "feedback_lr must be at least 0; got -0.001"),
        ("mean-reciprocal", {"damping": 0.0}, "damping must be positive and finite; got 0.0"),
        ("mean-reciprocal", {"derivatives": "none"}, "derivatives must be one of all, own; got 'none'"),
        ("mean-reciprocal", {"refresh_every": 0}, r"refresh_every must be at least 1 \(steps\); got 0"),
        ("mean-reciprocal", {"moment_decay": 1.0}, r"moment_decay must lie in \[0, 1\); got 1.0"),
        ("mean-reciprocal-learned", {"damping": float("nan")}, "damping must be positive and finite; got nan"),
        ("mean-reciprocal-learned", {"reciprocal_lr": 1.5}, r"reciprocal_lr must lie in \(0, 1\]; got 1.5"),
        ("mean-reciprocal-learned", {"noise": 0.0}, "noise must be positive and finite; got 0.0"),
        ("mean-reciprocal-learned", {"sleep_every": 0}, r"sleep_every must be at least 1 \(steps\); got 0"),
        ("batch-reciprocal", {"damping": -1.0}, "damping must be a finite number ≥ 0; got -1.0"),
        ("feedback-alignment", {"feedback_init": "ones"}, "init must be one of he-normal"),
    ],
)
def test_option_errors(name, options, message):
    with pytest.raises(ValueError, match=message):
        get_rule(name, **options)


def test_known_network_of_a_population_has_its_axis():
    known = known_network([4, 3], 2, [0, 1], get_backend("numpy"))
    assert known.x.shape == (2, 2, 4)
    assert known.labels.shape == (2, 2)
