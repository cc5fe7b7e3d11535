"""What a run reports: losses and accuracies against an independent evaluation, divergence, epochs to 90 %, settings."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax
from training_helpers import assert_same_run, config, tiny_dataset, untimed

from rfnumeric.backend import to_numpy
from rfnumeric.training import EpochRecord, RunConfig, best_accuracy, epochs_to_90, history_lines, train


def evaluate(network, images, labels, scale, offset):
    """Test loss and accuracy in plain NumPy, for leaky ReLU hidden layers and identity output."""
    h = images * scale + offset
    for l in range(1, network.L + 1):
        h = h @ network.W[l].T + (0 if network.b[l] is None else network.b[l])
        if l < network.L:
            h = np.where(h > 0, h, network.hidden.negative_slope * h)
    log_p = log_softmax(h, axis=1)
    return -log_p[np.arange(len(labels)), labels].mean(), 100 * (h.argmax(1) == labels).mean(), h


@pytest.mark.parametrize("input_scale", ["symmetric", "unit"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_test_loss_and_accuracy(input_scale, bias):
    data = tiny_dataset(test=1100)  # more than one batch of evaluation
    settings = config(input_scale=input_scale, bias=bias, epochs=2, dtype="float64")
    scale = {"symmetric": (2 / 255, -1.0), "unit": (1 / 255, 0.0)}[input_scale]
    for epochs in (0, 2):
        run = train(replace(settings, epochs=epochs), data)
        record = run.members[0].records[-1]
        loss, accuracy, _ = evaluate(run.network, data.test_images, data.test_labels, *scale)
        assert record.epoch == epochs
        assert record.test_loss == pytest.approx(loss, rel=1e-12)
        assert record.test_accuracy == pytest.approx(accuracy, abs=1e-9)


def test_train_loss_is_measured_before_each_step():
    data = tiny_dataset()
    settings = config(dtype="float64", epochs=1, batch_size=len(data.train_labels))
    start = train(replace(settings, epochs=0), data)
    record = train(settings, data).members[0].records[1]
    loss, accuracy, _ = evaluate(start.network, data.train_images, data.train_labels, 2 / 255, -1.0)
    assert record.train_loss == pytest.approx(loss, rel=1e-12)
    assert record.train_accuracy == pytest.approx(accuracy, abs=1e-9)


def test_every_sample_is_seen_once_an_epoch():
    # With a vanishing rate the epoch's train loss is the mean over the set, whatever the order and the batches.
    data = tiny_dataset()
    for batch_size in (1, 7, 130, 1000):
        run = train(config(dtype="float64", epochs=1, batch_size=batch_size, lr=1e-300), data)
        loss, accuracy, _ = evaluate(run.network, data.train_images, data.train_labels, 2 / 255, -1.0)
        assert run.members[0].records[1].train_loss == pytest.approx(loss, rel=1e-12)
        assert run.members[0].records[1].train_accuracy == pytest.approx(accuracy, abs=1e-9)


def test_mse_runs_and_learns():
    run = train(config(loss="mse", lr=0.01, epochs=5), tiny_dataset())
    records = run.members[0].records
    assert records[-1].test_loss < records[0].test_loss
    assert records[-1].test_accuracy > 80  # three well separated classes, 33 % by chance


def test_record_zero_is_the_untrained_network():
    record = train(config(epochs=0), tiny_dataset()).members[0].records[0]
    assert (record.epoch, record.seconds) == (0, 0.0)
    assert math.isnan(record.train_loss)
    assert math.isnan(record.train_accuracy)
    assert math.isfinite(record.test_loss)


def test_history_lines_are_json_without_nan():
    run = train(config(epochs=1), tiny_dataset())
    lines = list(history_lines(run.members, network="described"))
    assert [line["record"] for line in lines] == ["run", "epoch", "epoch", "end"]
    assert all(line["network"] == "described" for line in lines)
    assert RunConfig.from_json(json.loads(json.dumps(lines[0]["config"]))) == run.config
    assert {"rfnumeric", "python", "packages", "blas", "threads", "commit"} <= lines[0]["environment"].keys()
    kept = {k: lines[2][k] for k in run.members[0].records[1].to_json()}
    assert EpochRecord.from_json(json.loads(json.dumps(kept))) == run.members[0].records[1]


def test_results():
    run = train(config(epochs=2, seed=(3, 4)), tiny_dataset())
    for seed, result, member in zip((3, 4), run.results(), run.members, strict=True):
        assert (result["seed"], result["status"], result["epochs"]) == (seed, "completed", 2)
        assert result["accuracy"] == member.records[-1].test_accuracy
        assert result["best_accuracy"] == max(r.test_accuracy for r in member.records[1:])
        assert result["seconds"] == sum(r.seconds for r in member.records)
        json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_is_a_result(dtype, xp_name):
    run = train(config(lr=1e6, dtype=dtype, backend=xp_name), tiny_dataset())
    member = run.members[0]
    assert member.status == "diverged"
    for told in ("at step ", "layer ", "condition number was ", "Try a smaller learning rate (--lr)"):
        assert told in member.diagnosis
    result = run.results()[0]
    assert (result["accuracy"], result["epochs_to_90"], result["status"]) == (None, None, "diverged")
    assert [r.epoch for r in member.records] == [0, 1]
    assert math.isnan(member.records[1].test_accuracy)
    assert not run.interrupted


def test_small_slopes_diverge_and_the_advice_names_the_options():
    settings = config(rule="rf-two-phase", negative_slope=0.001, lr=0.1, epochs=3)
    member = train(settings, tiny_dataset()).members[0]
    assert member.status == "diverged"
    assert all(option in member.diagnosis for option in ("--negative-slope", "--derivative-damping", "--own-layer"))


@pytest.mark.parametrize("rule", ["backprop", "rf-two-phase", "rf-parallel", "feedback-alignment"])
def test_a_diverged_member_leaves_the_others_alone(rule, xp_name):
    check_others(rule, 1, xp_name)


@pytest.mark.parametrize("place", [0, 2])
def test_a_diverged_member_anywhere(place):
    check_others("rf-two-phase", place, "numpy")


def check_others(rule, place, backend):
    """Let the member at `place` diverge; the others must end as they do alone."""
    lr = [1e-3, 5e-4, 2e-3]
    lr[place] = 1e7
    several = {"lr": tuple(lr), "seed": (5, 6, 7), "batch_size": 10, "epochs": 3}
    settings = config(rule=rule, dtype="float64", bias=True, backend=backend, **several)
    run = train(settings, tiny_dataset())
    for k, member in enumerate(run.members):
        assert member.status == ("diverged" if k == place else "completed")
        if k == place:
            continue
        alone = train(replace(settings, lr=lr[k], seed=5 + k), tiny_dataset())
        worst = max(np.linalg.cond(to_numpy(W)) for W in alone.network.W[1:])
        for l in (1, 2, 3):
            one, two = to_numpy(run.network.W[l])[k], to_numpy(alone.network.W[l])
            # 39 steps whose rounding c·eps·n·κ² adds up; c = 10.
            assert np.abs(one - two).max() <= 39 * 10 * 12 * 2.0**-52 * worst**2 * np.abs(two).max()
        assert [r.test_accuracy for r in member.records] == [r.test_accuracy for r in alone.members[0].records]
    assert np.isfinite(to_numpy(run.network.W[1])).all()


def test_a_population_all_of_which_diverges_stops():
    run = train(config(lr=(1e6, 1e7), epochs=4), tiny_dataset())
    assert [m.status for m in run.members] == ["diverged", "diverged"]
    assert [[r.epoch for r in m.records] for m in run.members] == [[0, 1], [0, 1]]


def at(accuracies):
    return [EpochRecord(t, 0.0, 0.0, 0.0, accuracy, 1.0) for t, accuracy in enumerate(accuracies)]


@pytest.mark.parametrize(
    ("accuracies", "wanted"),
    [
        ([10.0, 80.0, 89.0, 90.0], 2),  # ε: 90 → 10, goal 18: 20 is not enough, 11 is
        ([10.0, 82.0, 90.0], 1),  # exactly on the goal
        ([92.0, 98.3, 99.0], 1),  # on it, where the subtractions round to just above
        ([10.0, 90.0], 1),
        ([10.0, 95.0, 90.0], 1),  # better on the way
        ([50.0, 50.0], None),  # nothing learned
        ([50.0, 40.0], None),  # worse than untrained
        ([10.0], None),
        ([], None),
        ([10.0, math.nan, 90.0], None),
        ([10.0, 90.0, math.nan], None),
        ([0.0, 100.0], 1),
    ],
)
def test_epochs_to_90(accuracies, wanted):
    assert epochs_to_90(at(accuracies)) == wanted


def test_best_accuracy():
    assert best_accuracy(at([99.0, 50.0, 70.0, 60.0])) == 70.0  # epoch 0 is not training
    assert best_accuracy(at([99.0])) is None
    assert best_accuracy([]) is None
    assert best_accuracy(at([10.0, math.nan])) is None


def test_epoch_record_round_trip():
    record = EpochRecord(0, math.nan, math.nan, 2.3, 11.0, 0.0)
    # JSON has no NaN: null comes back as NaN.
    data = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.to_json().items()}
    assert untimed(EpochRecord.from_json(json.loads(json.dumps(data)))) == untimed(record)


def test_config_round_trip():
    settings = config(rule="rf-two-phase", rule_options={"refresh_every": 5}, lr=(1e-3, 2e-3), seed=(1, 2), bias=True)
    back = RunConfig.from_json(json.loads(json.dumps(settings.to_json())))
    assert back == settings
    assert back.make_rule().refresh_every == 5
    with pytest.raises(ValueError, match=r"settings hold unknown names \['momentum'\]; they come from another version"):
        RunConfig.from_json(settings.to_json() | {"momentum": 0.9})


def test_members_of_a_population():
    settings = config(lr=(1e-3, 2e-3), seed=7)
    assert settings.population == 2
    assert [(m.lr, m.seed, m.population) for m in settings.members()] == [(1e-3, 7, None), (2e-3, 7, None)]
    assert [(m.lr, m.seed) for m in config(seed=(1, 2)).members()] == [(2e-3, 1), (2e-3, 2)]
    assert config().members() == [config()]
    one = config(seed=(4,), lr=1e-3)
    assert one.population == 1
    assert_same_run(train(replace(one, epochs=1), tiny_dataset()), train(replace(one, epochs=1), tiny_dataset()))


def test_after_epoch_finds_the_checkpoint_written(tmp_path):
    seen = []

    def after_epoch(members):
        with np.load(tmp_path / "checkpoint.npz") as file:
            saved = json.loads(file["meta.json"].tobytes())["progress"]["epoch"]
        seen.append((saved, [m.records[-1].epoch for m in members]))

    train(config(seed=(0, 1), epochs=2), tiny_dataset(), out=tmp_path, after_epoch=after_epoch)
    assert seen == [(1, [1, 1]), (2, [2, 2])]


def test_members_may_differ_in_the_feedback_rate(tmp_path):
    rates = (0.0, 1e-3, 3e-2)
    settings = config(rule="rf-parallel", rule_options={"feedback_lr": rates}, dtype="float64", epochs=2)
    assert settings.population == 3
    assert RunConfig.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    together = train(settings, tiny_dataset())
    for k, rate in enumerate(rates):
        alone = train(replace(settings, rule_options={"feedback_lr": rate}), tiny_dataset())
        assert together.members[k].config == alone.config
        assert alone.config.population is None
        for name, part in (("W", together.network.W), ("W_pinv", together.feedback["W_pinv"])):
            for l, one in enumerate(alone.network.W if name == "W" else alone.feedback["W_pinv"]):
                if one is not None:
                    # 130 steps, each with rounding of c·n·eps, c = 100; the rates are far below instability.
                    bound = 130 * 100 * 12 * np.finfo(float).eps * np.abs(one).max()
                    assert np.abs(part[l][k] - one).max() <= bound, (name, l)
    # The rate matters, and the checkpoint keeps all of them.
    assert not np.array_equal(together.feedback["W_pinv"][2][0], together.feedback["W_pinv"][2][1])
    train(replace(settings, epochs=1), tiny_dataset(), out=tmp_path)
    assert_same_run(train(settings, tiny_dataset(), out=tmp_path, resume=True), together)


def test_an_option_of_the_whole_population_takes_one_value():
    with pytest.raises(ValueError, match=r"'rf-two-phase' takes one value of refresh_every for the whole population"):
        config(rule="rf-two-phase", rule_options={"refresh_every": (5, 10)})
    with pytest.raises(ValueError, match="lr and seed and feedback_lr must be of one length"):
        config(rule="rf-parallel", rule_options={"feedback_lr": (1e-3, 1e-4)}, seed=(0, 1, 2))
    with pytest.raises(ValueError, match="feedback_lr must be at least 0"):
        config(rule="rf-parallel", rule_options={"feedback_lr": (1e-3, -1.0)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"epochs": -1}, "epochs must be from 0 to 1000000000; got -1"),
        ({"lr": 0.0}, "lr must be positive and finite; got 0.0"),
        ({"lr": math.nan}, "lr must be positive and finite; got nan"),
        ({"lr": (1e-3, math.inf)}, "lr must be positive and finite"),
        ({"lr": (1e-3, 2e-3), "seed": (1, 2, 3)}, "lr and seed must be of one length"),
        ({"seed": ()}, "lr and seed must be of one length"),
        ({"input_scale": "raw"}, r"input_scale must be one of symmetric, unit; got raw"),
        ({"backend": "dask"}, "backend must be one of"),
        ({"loss": "hinge"}, "loss must be one of cross-entropy, mse; got 'hinge'"),
        ({"rule": "adam"}, "rule must be one of"),
        ({"rule_options": {"k": 1}}, "rule 'backprop' has no option k"),
    ],
)
def test_config_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": (13, 9, 3)}, r"sizes must begin with 12 \(pixels\).*for tiny; got 13,9,3. Set --sizes"),
        ({"sizes": (12, 9, 2)}, r"end with at least 3 \(classes\)"),
        ({"hidden": "relu6"}, "activation must be one of"),
        ({"init": "ones"}, "init must be one of"),
        ({"negative_slope": 2.0}, r"negative_slope must lie in \[0, 1\]"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"seed": -1}, "seed must be a non-negative integer"),
    ],
)
def test_errors_before_training(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(config(**changes), tiny_dataset(), out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_progress_reports_every_epochs_end():
    seen = []
    train(config(epochs=2), tiny_dataset(), progress=lambda *a: seen.append(a))
    assert [(e, done, of) for e, done, of, _ in seen] == [(1, 50, 65), (1, 65, 65), (2, 50, 65), (2, 65, 65)]


def test_spectrum_control_keeps_singular_values_together():
    free, controlled = (train(config(spectrum_control=beta), tiny_dataset()) for beta in (0.0, 0.05))
    for l in (2, 3):
        spread = [np.ptp(np.linalg.svd(run.network.W[l], compute_uv=False)) for run in (free, controlled)]
        assert spread[1] < 0.1 * spread[0]
    with pytest.raises(ValueError, match=r"spectrum_control must be in \[0, 1\); got 1.5"):
        config(spectrum_control=1.5)
