"""Claims about Theorem 1 applied to the papers' networks: λ, real digits, cross-entropy, other reciprocals."""

from __future__ import annotations

import math
from functools import partial

from rfnumeric.audit import claim as verdicts
from rfnumeric.audit.claim import Measured
from rfnumeric.audit.digits import digits, published_network, train_steps
from rfnumeric.audit.figures import Curve, Figure
from rfnumeric.audit.lab import Lab, Sample, g
from rfnumeric.audit.theorem1 import System
from rfnumeric.backend import to_float
from rfnumeric.calculus import jacobian, weight_reciprocal
from rfnumeric.calculus.newton import RECIPROCAL, certificate, hildebrandt_graves
from rfnumeric.nn import Network, get_loss
from rfnumeric.rules import RFTwoPhase
from rfnumeric.typing import Array

claim = partial(verdicts.claim, section="theorem1")


@claim(
    "T11",
    place="v1 §4.2; v2 §4.2",
    statement="$W_l^{t+1} = W_l^t - λδ_{W_l}$ with a manually determined λ is Theorem 1's iteration.",
    verdict=verdicts.FAILS,
    note="With $T$ replaced by $λT$, $TAy = y$ becomes $λy$. Corrected: the relaxed iteration converges for $0 < λ ≤ "
    "1$ at rate "
    "$1 - λ(1-p)$, slower than Theorem 1's $p$.",
)
def relaxed_iteration(lab: Lab) -> Measured:
    """Certify λT, and compare the relaxed iteration's observed rate with 1 − λ(1 − p)."""
    F, y0 = System(lab, 5, 5, 0.3), lab.xp.zeros_like(lab.normal(5))
    T = lab.pinv(F.A)
    p, r = F.radius(T, y0)
    lam = 0.25
    check = certificate(F, F.A, lam * T, y0, r, samples=8)
    whole = certificate(F, F.A, T, y0, r, samples=8)
    result = hildebrandt_graves(F, T, y0, damping=lam, max_iterations=300)
    bound = 1 - lam * (1 - p)
    observed = max(b / a for a, b in zip(result.steps[:20], result.steps[1:21], strict=True))
    return Measured(
        RECIPROCAL not in check.failed,
        f"λ = {lam}: ‖TAT − T‖/‖T‖ = {g(check.reciprocal_error)} (with λ = 1 {g(whole.reciprocal_error)}); it "
        f"converges at rate "
        f"{observed:.3f} ≤ {bound:.3f}.",
        corrected=result.status == "converged" and observed <= bound + lab.tolerance(10) and whole.holds,
        values={"error": check.reciprocal_error, "rate": observed, "bound": bound},
    )


@claim(
    "T12",
    place="v1 §4.2, §5; v2 §4.2, §5",
    statement="Theorem 1 allows an update direction to be computed for $W_l$ at each layer of the trained networks.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if σ is the identity, for then $M = 0$. With leaky ReLU hidden layers $M‖T‖ > 1$ on real digits, "
    "already at "
    "the smallest radius that hypothesis 2 admits: at slope 0.01 in every layer below the last, at slope 0.5 in the "
    "first "
    "layer at least, before and during training.",
)
def hypotheses_on_digits(lab: Lab) -> Measured:
    """Bound M‖T‖ from below in each layer of the papers' network, on a digit, before and while it trains."""
    curves, lows = [], []
    network = published_network(lab, "leaky-relu", slope=0.5)
    for stage in (0, 60):
        if stage:
            train_steps(lab, network, RFTwoPhase(normalize=False), stage, lr=1e-3)
        values = _contraction_by_layer(lab, network)
        curves.append(Curve(f"slope 0.5, after {stage} steps", list(range(1, len(values) + 1)), values))
        lows.append(max(values[:-1]))
    small = _contraction_by_layer(lab, published_network(lab, "leaky-relu", slope=0.01))
    curves.append(Curve("slope 0.01, untrained", list(range(1, len(small) + 1)), small))
    linear = max(_contraction_by_layer(lab, published_network(lab, "identity")))
    return Measured(
        False if min(lows) >= 1 and min(small[:-1]) >= 1 else None,
        f"M‖T‖ is at least {', '.join(g(v) for v in curves[0].y)} in layers 1 … 5 (slope 0.5; largest after 60 steps "
        f"{g(lows[1])}), {', '.join(g(v) for v in small)} at slope 0.01; with identity at most {g(linear)}.",
        # M is a difference of F over the distance: its rounding is eps·‖F‖/(distance eps^(1/3)·r)·‖T‖.
        under_condition=linear < 100 * lab.eps ** (1 / 3) and linear < 1,
        values={"slope_05": min(lows), "slope_001": min(small[:-1]), "identity": linear},
        figure=Figure("Lower bound of M‖T‖ on a real digit", "layer", "M‖T‖", curves, log_y=True),
    )


@claim(
    "T13",
    place="v1 §5; v2 §5",
    statement="The method derived for $e = h_L - h_L^*$ is applied to the cross-entropy loss.",
    verdict=verdicts.HOLDS_IF,
    note="Holds as a descent direction of the loss for one sample, not as an instance of Theorem 1: for $F = "
    "\\text{softmax}(h_L) - y$ the "
    "Jacobian has the factor $\\text{diag}p - pp^T$, so $TAT ≠ T$. $Δh_L = -λe$ lowers the loss by $λ‖e‖^2$ to first "
    "order.",
)
def cross_entropy(lab: Lab) -> Measured:
    """Test TAT = T with softmax's Jacobian, and the loss's change along the step."""
    s = lab.sample((9, 8, 6, 5), hidden="leaky-softplus", output="identity")
    labels = lab.backend.asarray([2], "int64")
    e, _, _ = get_loss("cross-entropy").evaluate(s.trace.h[s.L], labels)
    p = lab.t(e) + lab.t(lab.eye(5)[2:3, :])
    S = lab.eye(5) * lab.t(p) - lab.mm(p, lab.t(p))
    rule, error, drop = RFTwoPhase(), math.inf, 0.0
    deltas = rule.deltas(s.network, s.trace, e, rule.init(s.network, lab.streams))
    step = lab.eps ** (1 / 3)
    for l in range(1, s.L + 1):
        T, J = weight_reciprocal(s.network, s.trace, l)[0, ...], jacobian(s.network, s.trace, l)[0, ...]
        error = min(error, lab.distance(lab.mm(T, S, J, T), T))
        direction = lab.mm(lab.t(deltas[l]), s.trace.h[l - 1])
        losses = [
            to_float(get_loss("cross-entropy").evaluate(s.with_W(l, s.W(l) - u * direction).trace.h[s.L], labels)[1])
            for u in (step, -step)
        ]
        drop = max(drop, abs((losses[1] - losses[0]) / (2 * step) / lab.norm(e) ** 2 - 1))
    return Measured(
        lab.judge(error, lab.tolerance(9, 32)),
        f"‖TAT − T‖/‖T‖ is {g(error)} or more with softmax in F; the loss falls by λ‖e‖² to {g(drop)}.",
        under_condition=drop <= 10 * lab.difference_tolerance,
        values={"error": error, "drop": drop},
    )


@claim(
    "T14",
    place="v1 §6; v2 §6",
    statement="Any suitable left multiplicative reciprocal of the Jacobian may be used, not only the recursion's.",
    verdict=verdicts.HOLDS,
    note="Any $T$ with $TAT = T$ and a small $M‖T‖$ gives $TF → 0$; where $N(T) ⊄ N(A^T)$ the limit need not be "
    "stationary for gradient "
    "descent (T07).",
)
def any_reciprocal(lab: Lab) -> Measured:
    """Draw {2}-inverses T = X(YAX)⁻¹Y of three ranks, and iterate with them."""
    worst, hypotheses = 0.0, True
    F, y0 = System(lab, 6, 6, 0.02), lab.xp.zeros_like(lab.normal(6))
    for rank in (2, 4, 6):
        X, Y = lab.pinv(F.A)[:, :rank] + 0.1 * lab.normal(6, rank), lab.eye(6)[:rank, :]
        T = lab.mm(X, lab.xp.linalg.inv(lab.mm(Y, F.A, X)), Y)
        p, r = F.radius(T, y0)
        check = certificate(F, F.A, T, y0, r, samples=8)
        result = hildebrandt_graves(F, T, y0)
        hypotheses &= p >= 1 or (check.holds and result.status == "converged")
        if p < 1:
            worst = max(worst, result.residual / r)
    return Measured(
        hypotheses and 0 < worst <= lab.tolerance(10, 8),
        f"Three reciprocals other than A⁺ converge; ‖TF‖/r is {g(worst)} at most.",
        values={"residual": worst},
    )


def _contraction_by_layer(lab: Lab, network: Network) -> list[float]:
    """Return a lower bound of M‖T‖ for each layer, at the smallest radius that hypothesis 2 admits, ‖T‖‖F(y₀)‖.

    R(𝓑_l) holds u h_{l−1}ᵀ only, and W_l acts on this sample through a_l alone: in the coordinates y = a_l/‖h_{l−1}‖
    norms are those of W_l, with n_l unknowns. M grows with the radius, so a value ≥ 1 excludes every radius.
    """
    x, labels = digits(lab, 1)
    s = Sample(lab, network, x)
    e = get_loss("mse").evaluate(s.trace.h[s.L], labels)[0]
    target = s.trace.h[s.L] - e
    return [_layer_contraction(lab, s, target, l) for l in range(1, s.L + 1)]


def _layer_contraction(lab: Lab, s: Sample, target: Array, l: int) -> float:
    size = lab.norm(s.h(l - 1))
    A = size * lab.mm(s.J(l), s.D(l))
    T = lab.mm(lab.pinv(s.D(l)), s.B(l)) / size

    def F(y: Array) -> Array:
        h = s.network.tail(l, s.trace.h, a=size * y[None, :])
        return (h - target)[0, ...]

    y0 = s.trace.a[l][0, ...] / size
    start = lab.norm2(T) * lab.norm(F(y0))
    return certificate(F, A, T, y0, start, samples=12).p
