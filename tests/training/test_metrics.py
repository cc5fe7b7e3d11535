"""What is measured along training, each against its own oracle; and measuring changes no number of the run."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from training_helpers import RULE_OPTIONS, assert_same_run, config, same_bits, tiny_dataset

from rfnumeric.backend import Streams, eps, get_backend, to_numpy
from rfnumeric.calculus.newton import certificate
from rfnumeric.calculus.theorem1 import PAIRS
from rfnumeric.nn import Network, Tanh, get_loss, init_network
from rfnumeric.plotting import metrics_figure
from rfnumeric.rules import get_rule
from rfnumeric.training import METRICS, measure, measure_batch, measure_run, train
from rfnumeric.training.batches import DeviceData
from rfnumeric.training.loop import HISTORY_FILE
from rfnumeric.training.metrics import GAUSS_NEWTON_DAMPING

HOST = get_backend("numpy", dtype="float64")
SIZES = (6, 5, 7, 3)


class Case:
    """A small tanh network with a batch, labels, and a rule's feedback; one member, or a population."""

    def __init__(self, rule, backend=HOST, seed=0, batch=4, bias=True, sizes=SIZES, **network):
        self.streams = Streams(seed, backend)
        self.network = init_network(sizes, self.streams, hidden="tanh", output="identity", bias=bias, **network)
        if bias:
            self.network.b = [None, *(self.streams.child("b", l).normal((n,)) for l, n in enumerate(sizes[1:]))]
        name, options = RULE_OPTIONS[rule]
        self.rule = get_rule(name, **options)
        self.feedback = self.rule.init(self.network, self.streams.child("feedback"))
        if name == "mean-reciprocal-learned":  # which starts at zero
            draw = self.streams.child("R")
            R = [draw.child(l).normal(tuple(X.shape[-2:])) for l, X in enumerate(self.feedback["R"][2:])]
            self.feedback["R"][2:] = R
        self.x = self.streams.child("x").normal((batch, sizes[0]))
        labels = np.broadcast_to(np.arange(batch) % sizes[-1], (*self.streams.population, batch))
        self.y = backend.asarray(labels, "int64")
        self.trace = self.network.forward(self.x)
        self.e = get_loss("cross-entropy").evaluate(self.trace.h[-1], self.y)[0]

    def measure(self):
        return measure(self.rule, self.network, self.trace, self.e, self.feedback)

    def updates(self):
        """What the rule would subtract from W_1, …, W_L at learning rate 1."""
        delta = self.rule.deltas(self.network, self.trace, self.e, self.feedback)
        return [None, *(to_numpy(d).T @ to_numpy(h) for d, h in zip(delta[1:], self.trace.h, strict=False))]


def cosine(u, v):
    return float((u * v).sum() / (np.linalg.norm(u) * np.linalg.norm(v)))


@pytest.mark.parametrize("rule", RULE_OPTIONS)
def test_the_cosine_to_the_gradient_is_that_of_autograd(rule):
    torch = pytest.importorskip("torch")
    case = Case(rule)
    W, b = ([torch.tensor(v, requires_grad=True) for v in values[1:]] for values in (case.network.W, case.network.b))
    h = torch.tensor(case.x)
    for l, (W_l, b_l) in enumerate(zip(W, b, strict=True)):
        h = h @ W_l.T + b_l
        h = torch.tanh(h) if l < len(W) - 1 else h
    torch.nn.functional.cross_entropy(h, torch.tensor(case.y)).backward()
    (found,) = case.measure()
    for l, update in enumerate(case.updates()):
        if l > 0:
            # Two sums of batch·n_l·n_{l−1} products, c = 10.
            expected = cosine(update, W[l - 1].grad.numpy())
            assert found["gradient_cosine"][l] == pytest.approx(expected, abs=10 * 4 * 42 * eps(case.x))
    assert found["gradient_cosine"][0] is None


def test_backpropagation_points_along_the_gradient(backend):
    case = Case("backprop", backend)
    (found,) = case.measure()
    assert found["gradient_cosine"][1:] == pytest.approx([1.0] * 3, abs=4 * eps(backend.dtype))
    assert found["pinv_distance"][:2] == [None, None]


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
def test_a_feedback_turned_by_an_angle_turns_the_update_by_it(degrees):
    """One output, one input, two hidden units: U_1 = D B δ and G_1 = D Wᵀδ, with D = I at a = 0."""
    angle = math.radians(degrees)
    W = [None, np.zeros((2, 1)), np.asarray([[3.0, 0.0]])]
    network = Network(W, [None] * 3, Tanh(), Tanh())
    B = 0.1 * np.asarray([[math.cos(angle)], [math.sin(angle)]])
    trace = network.forward(np.asarray([[2.0]]))
    rule = get_rule("feedback-alignment")
    (found,) = measure(rule, network, trace, np.asarray([[-0.7]]), {"B": [None, None, B]})
    assert found["gradient_cosine"][1] == pytest.approx(math.cos(angle), abs=4 * eps(B))
    assert found["gradient_cosine"][2] is None  # h_1 = 0: neither has a direction


@pytest.mark.parametrize("scale", [1e-35, 1e35])
def test_cosines_survive_what_float32_cannot_square(scale):
    case = Case("feedback-alignment", get_backend("numpy", dtype="float32"))
    one = case.measure()[0]["gradient_cosine"]
    case.e = case.e * np.float32(scale)
    assert case.measure()[0]["gradient_cosine"][1:] == pytest.approx(one[1:], abs=1e3 * eps(case.e))


def network_output(W, b, x):
    for l in range(1, len(W)):
        x = x @ W[l].T + b[l]
        x = np.tanh(x) if l < len(W) - 1 else x
    return x


def complex_step_jacobian(case, l, bias):
    """∂(the batch's h_L)/∂[vec W_l, b_l], exact to rounding: the imaginary part of a step too small to square."""
    W, b = ([None, *(v.astype(complex) for v in values[1:])] for values in (case.network.W, case.network.b))
    columns = []
    for v in (W[l], b[l]) if bias else (W[l],):
        for index in np.ndindex(v.shape):
            v[index] += 1e-40j
            columns.append(network_output(W, b, case.x).imag.ravel() / 1e-40)
            v[index] -= 1e-40j
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("rule", ["backprop", "rf-two-phase", "batch-reciprocal"])
def test_the_cosine_to_gauss_newton_is_that_of_the_dense_step(rule):
    case = Case(rule)
    (found,) = case.measure()
    for l in (1, 2, 3):
        J = complex_step_jacobian(case, l, bias=True)
        damping = GAUSS_NEWTON_DAMPING * np.trace(J @ J.T) / len(J)
        step = J.T @ np.linalg.solve(J @ J.T + damping * np.eye(len(J)), case.e.ravel())
        step = step[: case.network.W[l].size].reshape(case.network.W[l].shape)
        # The condition of the damped matrix is at most len(J)/0.1 + 1; c = 10.
        tolerance = 10 * len(J) * (10 * len(J) + 1) * eps(case.x)
        assert found["gauss_newton_cosine"][l] == pytest.approx(cosine(case.updates()[l], step), abs=tolerance)


def test_gauss_newton_looks_at_the_first_samples_only():
    case, few = Case("rf-two-phase", batch=50), Case("rf-two-phase", batch=50)
    few.x = few.x[:32]
    few.trace, few.e = few.network.forward(few.x), few.e[:32]
    whole, part = case.measure()[0], few.measure()[0]
    # Sums over other blocks; the condition of the damped matrix is at most 96/0.1 + 1; c = 10.
    tolerance = 10 * 96 * 961 * eps(case.x)
    assert whole["gauss_newton_cosine"][1:] == pytest.approx(part["gauss_newton_cosine"][1:], abs=tolerance)
    assert abs(whole["gradient_cosine"][1] - part["gradient_cosine"][1]) > 1e-6


@pytest.mark.parametrize("rule", RULE_OPTIONS)
def test_the_feedback_is_compared_with_scipys_pseudoinverse(rule):
    case = Case(rule)
    (found,) = case.measure()
    kept = next((case.feedback[n] for n in ("W_pinv", "R", "B") if n in case.feedback), None)
    norm = np.linalg.norm
    for l in (2, 3):
        W = case.network.W[l]
        X = W.T if kept is None else kept[l]
        W_pinv = scipy.linalg.pinv(W)
        expected = {
            "penrose_1": norm(W @ X @ W - W) / norm(W),
            "penrose_2": norm(X @ W @ X - X) / norm(X),
            "penrose_3": norm((W @ X).T - W @ X) / norm(W @ X),
            "penrose_4": norm((X @ W).T - X @ W) / norm(X @ W),
            "pinv_distance": norm(W_pinv - X) / norm(W_pinv),
            "condition_number": np.linalg.cond(W),
        }
        condition = expected["condition_number"]
        for name, value in expected.items():
            # Dimension 7, the condition number of an inverse, and the size of the value; c = 20.
            scale = 20 * 7 * condition * eps(W) * max(1, value) * (1 + norm(X) / norm(W_pinv))
            assert found[name][l] == pytest.approx(value, abs=scale), (name, l)
    assert all(found[name][:2] == [None, None] for name in expected)


def test_the_feedback_of_another_shape_is_not_taken_for_a_layers():
    case = Case("feedback-alignment")
    direct = {"B": [None, np.ones((5, 3)), np.ones((7, 3)), None]}  # n_l × n_L, as direct feedback has it
    found = case.rule.feedback(case.network, direct)
    assert found[:2] == [None, None]
    assert same_bits(found[2:], [W.T for W in case.network.W[2:]])


def update_map(case, l, s):
    """The rule's map from e of sample s alone to vec [W_l b_l], column by column."""
    trace = case.network.forward(case.x[s : s + 1])
    columns = []
    for unit in np.eye(SIZES[-1]):
        delta = case.rule.deltas(case.network, trace, unit[None, :], case.feedback)[l]
        columns.append(np.concatenate([(delta.T @ trace.h[l - 1]).ravel(), delta[0]]))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("rule", RULE_OPTIONS)
def test_theorem_1_is_that_of_the_weights(rule):
    """The certificate for the unknown vec [W_l b_l] itself, its Jacobian and T formed, draws the same pairs."""
    case = Case(rule, batch=3)
    (found,) = case.measure()
    for l in (1, 2, 3):
        products, errors = [], []
        for s in range(3):
            one = Case(rule, batch=3)
            one.x = case.x[s : s + 1]
            A, T = complex_step_jacobian(one, l, bias=True), update_map(case, l, s)

            def F(y, l=l, one=one):
                W, b = list(one.network.W), list(one.network.b)
                W[l], b[l] = y[: W[l].size].reshape(W[l].shape), y[W[l].size :]
                return network_output(W, b, one.x)[0]

            y0 = np.concatenate([case.network.W[l].ravel(), case.network.b[l]])
            r = np.linalg.norm(T, 2) * np.linalg.norm(case.e[s])
            products.append(certificate(F, A, T, y0, r, samples=PAIRS).p)
            errors.append(np.linalg.norm(T @ A @ T - T) / np.linalg.norm(T))
        # Close pairs divide the rounding of F by eps^(1/3) of the ball; c = 100.
        tolerance = 100 * eps(case.x) ** (2 / 3) * max(1, *products)
        assert found["contraction"][l] == pytest.approx(np.median(products), abs=tolerance)
        assert found["reciprocal_error"][l] == pytest.approx(np.median(errors), abs=1e3 * eps(case.x) * max(1, *errors))


@pytest.mark.parametrize("sizes", [(6, 5, 4, 3), (3, 4, 5, 6)], ids=["contracting", "expanding"])
def test_reciprocal_feedback_is_a_reciprocal_for_one_sample(sizes):
    (found,) = Case("rf-two-phase", sizes=sizes, batch=5).measure()
    worst = max(c for c in found["condition_number"] if c is not None)
    # A chain of three pseudoinverses; c = 100.
    assert max(found["reciprocal_error"][1:]) <= 100 * 6 * worst**3 * eps(np.zeros(1))
    (backprop,) = Case("backprop", sizes=sizes, batch=5).measure()
    assert min(backprop["reciprocal_error"][1:]) > 0.01


def test_m_is_below_its_true_value_and_not_far():
    """One tanh unit: y = a, F′(y) = 1 − tanh², so M = sup |F′(a) − F′(a₀)| over the ball |a − a₀| < ‖T‖|e|."""
    network = Network([None, np.asarray([[0.4]])], [None, None], Tanh(), Tanh())
    trace = network.forward(np.asarray([[1.0]]))
    (found,) = measure(get_rule("rf-two-phase"), network, trace, np.asarray([[0.5]]), {"W_pinv": [None, None]})
    slope = 1 - math.tanh(0.4) ** 2
    ball = np.linspace(-1, 1, 2001) * 0.5 / slope + 0.4
    true = np.abs(1 - np.tanh(ball) ** 2 - slope).max() / slope
    assert 0.3 * true < found["contraction"][1] <= true
    assert found["reciprocal_error"][1] <= 10 * eps(network.W[1])


def test_a_linear_network_has_no_m(backend):
    streams = Streams(0, backend)
    network = init_network([5, 4, 3], streams, hidden="identity", output="identity")
    rule = get_rule("rf-two-phase")
    x = streams.normal((4, 5))
    y = backend.asarray(np.arange(4) % 3, "int64")
    (found,) = measure_batch(rule, network, rule.init(network, streams), x, y)
    # Rounding of F over a close pair: eps^(2/3) in float64, whatever the network's dtype; c = 100.
    assert max(found["contraction"][1:]) < 100 * 2.0 ** (-52 * 2 / 3)


def test_the_share_of_negative_units_is_counted():
    case = Case("backprop", batch=9)
    (found,) = case.measure()
    a = case.trace.a
    assert found["negative_share"] == [None, *(pytest.approx((a[l] < 0).mean(), abs=eps(a[1])) for l in (1, 2)), None]


@pytest.mark.parametrize("rule", RULE_OPTIONS)
def test_every_backend_measures_alike(rule, backend64):
    (here,), (host,) = (Case(rule, backend).measure() for backend in (backend64, HOST))
    assert list(here) == list(METRICS)
    for name in METRICS:
        for one, two in zip(here[name], host[name], strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                # The close pairs of Theorem 1 lose a third of the digits; c = 1000.
                tolerance = 1e3 * eps(backend64.dtype) ** (2 / 3)
                assert one == pytest.approx(two, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("rule", RULE_OPTIONS)
def test_a_population_is_measured_as_its_members_are(rule, backend64):
    together = Case(rule, backend64, seed=[3, 4]).measure()
    assert len(together) == 2
    tolerance = 1e3 * eps(backend64.dtype) ** (2 / 3)  # as above
    for found, seed in zip(together, (3, 4), strict=True):
        (alone,) = Case(rule, backend64, seed=seed).measure()
        for name in METRICS:
            for one, two in zip(found[name], alone[name], strict=True):
                assert one == (None if two is None else pytest.approx(two, rel=tolerance, abs=tolerance)), name


def test_what_is_not_finite_is_none():
    case = Case("backprop")
    case.network.W[3] = np.zeros_like(case.network.W[3])  # no finite condition number, no W⁺ but 0, no gradient below
    found = case.measure()[0]
    assert found["condition_number"][3] is None
    assert found["pinv_distance"][3] is None
    assert found["gradient_cosine"][1] is None
    assert found["gradient_cosine"][3] == pytest.approx(1)
    case.network.W[2][0, 0] = math.nan
    case.trace = case.network.forward(case.x)
    found = case.measure()[0]
    assert found["condition_number"][2] is None
    assert found["contraction"][1:] == [None] * 3
    assert "NaN" not in json.dumps(found)


# Along a run.


@pytest.mark.parametrize("several", [{}, {"seed": (0, 1), "lr": (1e-3, 2e-3)}], ids=["", "population"])
@pytest.mark.parametrize("rule", RULE_OPTIONS)
def test_measuring_changes_no_bit_of_the_run(rule, several):
    name, options = RULE_OPTIONS[rule]
    settings = config(rule=name, rule_options=options, bias=True, sizes=(12, 37, 41, 3), batch_size=5, **several)
    settings = replace(settings, epochs=2)
    without, measured = train(settings, tiny_dataset()), train(settings, tiny_dataset(), metrics_every=1)
    assert all(set(r.metrics) == set(METRICS) for m in measured.members for r in m.records)
    for member in measured.members:
        member.records = [replace(r, metrics=None) for r in member.records]
    assert_same_run(measured, without)


@pytest.mark.parametrize("rule", ["rf-parallel", "mean-reciprocal-learned"])
def test_resumed_metrics_are_those_of_the_uninterrupted_run(rule, tmp_path):
    name, options = RULE_OPTIONS[rule]
    settings = config(rule=name, rule_options=options, seed=(0, 1), sizes=(12, 37, 41, 3), batch_size=5)
    whole = train(settings, tiny_dataset(), metrics_every=2)
    assert [r.metrics is not None for r in whole.members[0].records] == [True, False, True, False, True]
    train(replace(settings, epochs=3), tiny_dataset(), out=tmp_path, metrics_every=2)
    resumed = train(settings, tiny_dataset(), out=tmp_path, resume=True, metrics_every=2)
    assert_same_run(resumed, whole)
    lines = [json.loads(line) for line in (tmp_path / HISTORY_FILE).read_text().splitlines()]
    kept = [line["metrics"] for line in lines if line["record"] == "epoch" and "metrics" in line]
    assert kept == [r.metrics for m in whole.members for r in m.records if r.metrics]


def test_a_run_may_be_resumed_with_metrics_and_without(tmp_path):
    whole = train(config(), tiny_dataset(), metrics_every=1)
    train(config(epochs=2), tiny_dataset(), out=tmp_path)
    half = train(config(epochs=3), tiny_dataset(), out=tmp_path, resume=True, metrics_every=1)
    last = train(config(), tiny_dataset(), out=tmp_path, resume=True)
    assert same_bits(last.network.W, whole.network.W)
    assert [r.metrics for r in half.members[0].records] == [None, None, None, whole.members[0].records[3].metrics]


def test_a_finished_run_is_measured_as_its_last_epoch_was():
    settings = config(rule="rf-two-phase", seed=(0, 1), epochs=2)
    run = train(settings, tiny_dataset(), metrics_every=1)
    assert measure_run(run, tiny_dataset()) == [m.records[-1].metrics for m in run.members]
    assert measure_run(run, tiny_dataset(), batch_size=1000)[0] is not None  # all there are


def test_a_member_that_diverged_has_none():
    settings = config(lr=(1e-3, 1e30), output="identity", epochs=2)
    run = train(settings, tiny_dataset(), metrics_every=1)
    assert [m.status for m in run.members] == ["completed", "diverged"]
    assert run.members[0].records[-1].metrics is not None
    assert run.members[1].records[-1].metrics is None
    assert measure_run(run, tiny_dataset())[1] is None


def test_the_measured_batch_is_spread_over_the_training_set(xp_name):
    data, backend = tiny_dataset(), get_backend(xp_name)
    x, y = DeviceData(data, backend, (1.0, 0.0)).spread(13, (2,))
    chosen = np.arange(13) * 10
    for k in range(2):
        assert (to_numpy(x)[k] == data.train_images[chosen].reshape(13, -1)).all()
        assert (to_numpy(y)[k] == data.train_labels[chosen]).all()


def test_the_period_must_be_positive():
    with pytest.raises(ValueError, match="metrics_every must be at least 1"):
        train(config(), tiny_dataset(), metrics_every=0)


def test_the_figure_draws_deep_networks_and_runs_without_metrics(tmp_path):
    deep = train(config(sizes=(12, *[5] * 13, 3), epochs=1), tiny_dataset(), metrics_every=1).members[0].records
    bare = train(config(epochs=1), tiny_dataset()).members[0].records
    metrics_figure(tmp_path / "one.png", [("deep", [deep])], title="one")
    metrics_figure(tmp_path / "two.png", [("deep", [deep]), ("bare", [bare])], title="two")
    assert all((tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in ("one", "two"))
    with pytest.raises(ValueError, match="Train with metrics_every=1"):
        metrics_figure(tmp_path / "none.png", [("bare", [bare])], title="none")
    assert not (tmp_path / "none.png").exists()
