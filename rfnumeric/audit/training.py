"""Claims about training (§5, A.1) and the discussion's outlook (§6), on the embedded digits."""

from __future__ import annotations

import math
from functools import partial

from rfnumeric.audit import claim as verdicts
from rfnumeric.audit.claim import Measured
from rfnumeric.audit.digits import digits, published_network, train_steps
from rfnumeric.audit.figures import Curve, Figure
from rfnumeric.audit.lab import Lab, g
from rfnumeric.backend import to_float
from rfnumeric.calculus import angle
from rfnumeric.linalg import RecursiveLeastSquares, condition_number, rank_k_update, rank_one_update, ridge_solution
from rfnumeric.nn import Network, get_loss
from rfnumeric.rules import Backprop, FeedbackAlignment, RFTwoPhase
from rfnumeric.typing import Array

claim = partial(verdicts.claim, section="training")


@claim(
    "N01",
    place="v1 §5, §5.1; v2 §5",
    statement="The network 784–400–200–100–50–10 with leaky ReLU is trained by reciprocal feedback as derived (v1: "
    "learning rate 0.001, "
    "batches of 40).",
    verdict=verdicts.HOLDS_IF,
    note="Holds if the slope is large (0.5) or the hidden layers are linear. At slope 0.01 the factor $D^+ = 1/α$ on "
    "every inactive unit blows the weights up within a few steps.",
)
def leaky_relu_diverges(lab: Lab) -> Measured:
    """Train for 60 steps at slope 0.01, at slope 0.5, and with identity hidden layers."""
    losses, curves = {}, []
    for name, hidden, slope in (("0.01", "leaky-relu", 0.01), ("0.5", "leaky-relu", 0.5), ("1", "identity", 1.0)):
        network = published_network(lab, hidden, slope=slope)
        losses[name] = train_steps(lab, network, RFTwoPhase(normalize=False), 60, lr=1e-3)
        label = "identity" if name == "1" else f"slope {name}"
        curves.append(Curve(label, list(range(len(losses[name]))), losses[name]))
    first = sum(losses["0.5"][:10]) / 10
    last = sum(losses["0.5"][-10:]) / 10
    linear = sum(losses["1"][-10:]) / sum(losses["1"][:10])
    stopped = len(losses["0.01"])
    final = losses["0.01"][-1]
    diverged = not final < 100 * losses["0.01"][0]
    return Measured(
        not diverged,
        f"Slope 0.01: the loss is {final:.2g} after {stopped} steps. Slope 0.5: from {first:.2f} to {last:.2f} in 60 "
        f"steps; "
        f"identity: to {100 * linear:.0f} % of its start.",
        under_condition=last < first and linear < 1,
        values={"steps": float(stopped), "slope_05": last / first, "identity": linear},
        figure=Figure("Loss of each batch, nats", "step", "loss", curves, log_y=True),
    )


@claim(
    "N02",
    place="v1 §4.2; v2 §4.2",
    statement="The update direction of each layer reduces the error of a batch of inputs.",
    verdict=verdicts.HOLDS_IF,
    note="Holds to first order for one input, where the error falls by $λ‖e‖^2$ whatever the layer. Over a batch the "
    "mean of the "
    "samples' updates is nearly orthogonal to the gradient in the early layers, and moves some samples the wrong way.",
)
def batches_on_digits(lab: Lab) -> Measured:
    """On digits: the change of ½‖e‖² to first order, of each sample alone and of each sample under the batch's step."""
    network = published_network(lab, "leaky-relu", slope=0.1)
    # One layer of the network below the output, where Jacobians of the weights are small enough to apply one by one.
    x, labels = digits(lab, 32)
    trace = network.forward(x)
    e = get_loss("mse").evaluate(trace.h[-1], labels)[0]
    rule = RFTwoPhase()
    deltas = rule.deltas(network, trace, e, rule.init(network, lab.streams))
    gradients = Backprop().deltas(network, trace, e, {})
    worst, wrong, angles = 0.0, 0.0, []
    for l in range(1, network.L + 1):
        h, delta, gradient = trace.h[l - 1], deltas[l], gradients[l]
        # ⟨gradient of sample b, step of sample c⟩ = (g_b · δ_c)(h_b · h_c)
        effect = lab.mm(gradient, lab.t(delta)) * lab.mm(h, lab.t(h))
        size = lab.xp.sum(e * e, axis=-1)
        own = lab.xp.linalg.diagonal(effect) / size
        worst = max(worst, to_float(lab.xp.max(lab.xp.abs(own - 1))))
        together = lab.xp.mean(effect, axis=-1)
        share = to_float(lab.xp.mean(lab.xp.astype(together < 0, lab.backend.dtype)))
        wrong = max(wrong, share)
        angles.append(angle(lab.mm(lab.t(delta), h), lab.mm(lab.t(gradient), h)))
    kappa = max(to_float(condition_number(W)) for W in network.W[2:])
    return Measured(
        wrong == 0,
        f"Alone, each sample's error falls by λ‖e‖² to {g(worst)} in every layer. Under the batch's mean step "
        f"{100 * wrong:.0f} % of the "
        f"samples get worse in the worst layer; angles to the gradient {', '.join(f'{a:.0f}°' for a in angles)}.",
        # Rounding grows with the chain: κ(W) of a layer times 1/α for each of the layers crossed.
        under_condition=worst <= lab.tolerance(math.sqrt(784), kappa * 10),
        values={"alone": worst, "wrong_way": wrong, "first_angle": angles[0]},
    )


@claim(
    "N03",
    place="v2 A.1",
    statement="Recalculating the pseudoinverses once every 20 update steps (at learning rate 0.004915, batches of 32) "
    "keeps them "
    "pseudoinverses.",
    verdict=verdicts.HOLDS_IF,
    note="Holds, within 5 %, at a tenth of that rate. Early in training at the published rate the old $W^+$ ends "
    "about 10 % off.",
)
def stale_pseudoinverse(lab: Lab) -> Measured:
    """Train the published network for 20 steps at the published rate and a tenth of it; compare W⁺ before and after."""
    drift = {}
    for name, lr in (("published", 0.004915), ("tenth", 0.0004915)):
        network = published_network(lab, "identity")
        before = [lab.pinv(W) for W in network.W[2:]]
        train_steps(lab, network, Backprop(), 20, lr=lr, batch=32)
        after = [lab.pinv(W) for W in network.W[2:]]
        drift[name] = max(lab.distance(X, Y) for X, Y in zip(before, after, strict=True))
    return Measured(
        drift["published"] < 0.05,
        f"After 20 steps the old W⁺ is {g(drift['published'])} from the new one at the published rate, "
        f"{g(drift['tenth'])} at a tenth.",
        under_condition=drift["tenth"] < 0.05,
        values=drift,
    )


@claim(
    "N04",
    place="v1 abstract, §5; v2 abstract, §5",
    statement="On MNIST the method obtains an asymptotic error similar to backpropagation, in fewer iterations than "
    "feedback alignment.",
    verdict=verdicts.OPEN,
    note="Decided by full runs (the comparison command), not by a check of seconds. Reported here: the loss of the "
    "published, linear network "
    "after 120 steps on the embedded digits.",
)
def asymptotic_error(lab: Lab) -> Measured:
    """Train the published network with three rules for 120 steps at the published learning rates, and report."""
    ends, curves = {}, []
    for rule, lr in (
        (Backprop(), 0.0020118),
        (RFTwoPhase(normalize=False), 0.004915),
        (FeedbackAlignment(), 0.00084333),
    ):
        network = published_network(lab, "identity")
        losses = train_steps(lab, network, rule, 120, lr=lr, batch=32)
        smooth = [sum(losses[max(0, k - 9) : k + 1]) / len(losses[max(0, k - 9) : k + 1]) for k in range(len(losses))]
        ends[rule.name] = smooth[-1]
        curves.append(Curve(rule.name, list(range(len(smooth))), smooth))
    return Measured(
        None,
        "Mean loss (nats) of the last ten of 120 batches: " + ", ".join(f"{n} {v:.2f}" for n, v in ends.items()) + ".",
        open=True,
        values=ends,
        figure=Figure("Loss, mean of ten batches, nats", "step", "loss", curves),
    )


@claim(
    "N05",
    place="v1 §6; v2 §6",
    statement="Given the rank-one structure of forward updates, the pseudoinverse may be updated online by the "
    "Sherman–Morrison formula.",
    verdict=verdicts.HOLDS_IF,
    note="Holds for one sample a step, with Meyer's generalization for rectangular $W$. A batch of $b$ gives an "
    "update of rank $b$, which takes "
    "the Woodbury form with a $b × b$ inverse.",
)
def rank_one_updates(lab: Lab) -> Measured:
    """Follow W⁺ through one sample's update and through a batch's."""
    W = lab.matrix(5, 8)
    X = lab.pinv(W)
    delta, h = 0.2 * lab.normal(4, 5), lab.normal(4, 8)
    one = rank_one_update(W, X, -delta[0, ...], h[0, ...]).value
    single = lab.distance(one, lab.pinv(W - lab.mm(delta[0, ...][:, None], h[0, ...][None, :])))
    whole = W - lab.mm(lab.t(delta), h)
    exact = lab.pinv(whole)
    mean = rank_one_update(W, X, -lab.xp.sum(delta, axis=0), lab.xp.mean(h, axis=0)).value
    batch = lab.distance(mean, exact)
    Z = lab.xp.linalg.inv(lab.mm(W, lab.t(W)))
    woodbury = lab.distance(rank_k_update(W, Z, -lab.t(delta), lab.t(h))[0], exact)
    kappa = max(to_float(condition_number(M)) for M in (W, whole)) ** 2
    return Measured(
        lab.judge(batch, lab.tolerance(8, 16)),
        f"One sample: the update is exact to {g(single)}. A batch of 4: off by {g(batch)} from mean activity, "
        f"{g(woodbury)} by "
        "Woodbury.",
        under_condition=single <= lab.tolerance(8, kappa) and woodbury <= lab.tolerance(8, kappa**2),
        values={"single": single, "batch": batch, "woodbury": woodbury},
    )


@claim(
    "N06",
    place="v1 §6; v2 §6 (Tapson and van Schaik 2013)",
    statement="Other single-layer algorithms learn a suitable generalized inverse online; for instance that of Tapson "
    "and van Schaik.",
    verdict=verdicts.HOLDS,
    note="It learns $M = YH^T(HH^T + λI)^{-1}$ after every pair. From pairs $(Wy, y)$ that is the data-weighted "
    "inverse, which tends to $W^+$ "
    "for white $y$.",
)
def online_pseudoinverse(lab: Lab) -> Measured:
    """Feed pairs (Wy, y) one by one; compare with the ridge solution, and with W⁺ for exactly white y."""
    W = lab.matrix(5, 7)
    y = lab.orthonormal(30, 7) * math.sqrt(30)
    h = lab.mm(y, lab.t(W))
    damping = 1e-2
    rls = RecursiveLeastSquares(lab.xp.zeros_like(lab.t(W)), damping)
    for t in range(30):
        rls.step(h[t, ...], y[t, ...])
    ridge = lab.distance(rls.M, ridge_solution(h, y, damping))
    near = lab.distance(rls.M, lab.pinv(W))
    # P starts at I/λ and ends at 1/(30σ²): the condition of that range. λ itself shifts M by λ/(30σ²) ≤ 0.13 %.
    return Measured(
        ridge <= lab.tolerance(7, 30 * 4 / damping / 30) and near < 2e-3,
        f"After 30 pairs it is the ridge solution to {g(ridge)} and W⁺ to {g(near)} (λ = {damping:g}).",
        values={"ridge": ridge, "pinv": near},
    )


@claim(
    "N07",
    place="v1 §6; v2 §6",
    statement="The cost of computing the pseudoinverse makes the method significantly more expensive than "
    "backpropagation.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $W^+$ is computed at every step. Every 20 steps, as v2 does, it costs less than the training step "
    "itself. "
    "Counted in multiplications for the papers' MNIST network, with the smaller Gram matrix.",
)
def cost(lab: Lab) -> Measured:
    """Count the multiplications of a step (three products a layer) and of the pseudoinverses of W_2 … W_L."""
    network, batch = published_network(lab, "identity"), 40
    n = network.sizes
    step = sum(3 * batch * n[l] * n[l - 1] for l in range(1, network.L + 1)) - batch * n[0] * n[1]
    inverse = sum(_pinv_cost(network, l) for l in range(2, network.L + 1))
    each, rarely = inverse / step, inverse / step / 20
    return Measured(
        min(each, rarely) > 1,
        f"One step of batch 40 takes {step / 1e6:.0f} million multiplications, the pseudoinverses {inverse / 1e6:.0f} "
        f"million: "
        f"{each:.2g} steps, or {100 * rarely:.0f} % of a step when refreshed every 20.",
        under_condition=each > 1 > rarely,
        values={"each": each, "every_20": rarely},
    )


@claim(
    "N08",
    place="v1 §5; v2 §5",
    statement="Feedback alignment transmits the error through fixed random weights, in place of the weight transpose.",
    verdict=verdicts.HOLDS,
    note="At the start its step is far from the gradient in every layer but the last, where it is the gradient.",
)
def feedback_alignment(lab: Lab) -> Measured:
    """Compare the rule's steps with the gradient on digits, and with backprop's recursion through its own matrices."""
    network = published_network(lab, "leaky-relu", slope=0.1)
    x, labels = digits(lab, 32)
    trace = network.forward(x)
    e = get_loss("cross-entropy").evaluate(trace.h[-1], labels)[0]
    rule = FeedbackAlignment()
    feedback = rule.init(network, lab.streams.child("fa"))
    deltas = rule.deltas(network, trace, e, feedback)
    true = Backprop().deltas(network, trace, e, {})
    angles = [angle(_step(lab, deltas[l], trace.h[l - 1]), _step(lab, true[l], trace.h[l - 1])) for l in range(1, 6)]
    stand_in = Network(
        [None, network.W[1], *(lab.t(B) for B in feedback["B"][2:])], network.b, network.hidden, network.output
    )
    same = Backprop().deltas(stand_in, trace, e, {})
    gap = max(lab.distance(deltas[l], same[l]) for l in range(1, 6))
    return Measured(
        gap <= lab.tolerance(math.sqrt(400), 4) and angles[-1] < 1 and min(angles[:-1]) > 30,
        f"Backprop through the random matrices gives the same steps to {g(gap)}; angles to the gradient "
        f"{', '.join(f'{a:.0f}°' for a in angles)}.",
        values={"gap": gap, "least_angle": min(angles[:-1])},
    )


@claim(
    "N09",
    place="v1 §6; v2 §6",
    statement="The convergence properties of the method of Hildebrandt and Graves compared to gradient descent are "
    "still unknown.",
    verdict=verdicts.OPEN,
    note="For networks and batches it is open. For one input it is not: to first order every step takes the same "
    "share of the error, whatever "
    "the condition number, where gradient descent's best step needs a number of iterations in proportion to $κ^2$.",
)
def against_gradient_descent(lab: Lab) -> Measured:
    """Count the iterations that bring a linear system's error to a thousandth, by both methods, as κ grows."""
    kappas = [2, 5, 10, 20]
    counts: dict[str, list[int]] = {"Hildebrandt–Graves": [], "gradient descent": []}
    for kappa in kappas:
        A = lab.matrix(6, 6, 1 / kappa, 1.0)
        e, T, best = lab.normal(6, 1), lab.pinv(A), 2 / (1 + kappa**-2)
        for name, step in (("Hildebrandt–Graves", lab.mm(A, T)), ("gradient descent", best * lab.mm(A, lab.t(A)))):
            left, k = e, 0
            while lab.norm(left) > 1e-3 * lab.norm(e) and k < 20 * kappa**2:
                left, k = left - lab.mm(step, left), k + 1
            counts[name].append(k)
    curves = [Curve(name, [float(k) for k in kappas], [float(v) for v in values]) for name, values in counts.items()]
    said = "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in counts.items())
    return Measured(
        None,
        f"Iterations for κ = {', '.join(map(str, kappas))}, one linear system: {said}.",
        open=True,
        values={name: float(values[-1]) for name, values in counts.items()},
        figure=Figure("Iterations to a thousandth of the error", "κ", "iterations", curves, log_y=True),
    )


@claim(
    "N10",
    place="v1 §2; v2 §2.2 (Akrout et al. 2019)",
    statement="The weight-mirror algorithm trains the feedback weights to approximate the transpose of the forward "
    "weights, from random "
    "noise.",
    verdict=verdicts.HOLDS,
    note="For noise $ξ$ with $E[ξξ^T] = σ^2I$ the step $ξ(Wξ)^T$ is $σ^2W^T$ in expectation, whatever the shape; "
    "through a nonlinear layer "
    "it is $W^T$ with each unit scaled by its mean slope.",
)
def weight_mirror(lab: Lab) -> Measured:
    """Correlate exactly white noise with a linear layer's response, and sampled noise with a leaky layer's."""
    worst = 0.0
    for shape in ((5, 7), (7, 5)):
        W = lab.matrix(*shape)
        noise = lab.orthonormal(16, shape[1]) * 4
        worst = max(worst, lab.distance(lab.mm(lab.t(noise), lab.mm(noise, lab.t(W))) / 16, lab.t(W)))
    W, noise = lab.matrix(5, 7), lab.normal(20000, 7)
    a = lab.mm(noise, lab.t(W))
    slope = 0.1
    response = lab.xp.where(a > 0, a, slope * a)
    step = lab.mm(lab.t(noise), response) / 20000
    # For normal noise E[ξσ(wᵀξ)] = w·E[σ′], and half of the units are active: E[σ′] = (1 + α)/2.
    nonlinear = lab.distance(step, lab.t(W) * (1 + slope) / 2)
    # Each of the 7 entries of a unit's row errs by ‖w‖/√20000, relative to ‖w‖(1 + α)/2; five times that.
    sampling = 5 * math.sqrt(7 / 20000) * 2 / (1 + slope)
    return Measured(
        worst <= lab.tolerance(16, 4) and nonlinear <= sampling,
        f"Linear layer: Wᵀ to {g(worst)}. Leaky layer: Wᵀ times the mean slope to {g(nonlinear)} with 20,000 samples.",
        values={"linear": worst, "nonlinear": nonlinear},
    )


def _step(lab: Lab, delta: Array, h: Array) -> Array:
    return lab.mm(lab.t(delta), h)


def _pinv_cost(network: Network, l: int) -> float:
    """Return multiplications of WᵀZ, Z = (WWᵀ)⁻¹ by Cholesky, and one Ben-Israel–Cohen step after it."""
    k, m = sorted(network.W[l].shape)
    return k * k * m / 2 + k**3 / 2 + k * k * m + 2 * k * k * m
