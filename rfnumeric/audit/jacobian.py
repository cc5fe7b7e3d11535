"""Claims of §4 and §4.1: the network, its error, and the Jacobian at each layer, against finite differences."""

from __future__ import annotations

import math
from functools import partial

from rfnumeric.audit import claim as verdicts
from rfnumeric.audit.claim import Measured
from rfnumeric.audit.figures import Curve, Figure
from rfnumeric.audit.lab import Lab, Sample, g
from rfnumeric.backend import to_float
from rfnumeric.calculus import jacobian
from rfnumeric.rules import Backprop

claim = partial(verdicts.claim, section="jacobian")
SIZES = (5, 4, 4, 3)
SMOOTH = {"hidden": "leaky-softplus", "output": "leaky-softplus"}
"""Finite differences need a differentiable σ."""


@claim(
    "J01",
    place="v1 §4; v2 §4",
    statement="With $𝓔 = ½‖h_L - h_L^*‖_2^2$ and $e = h_L - h_L^*$, the gradient with respect to $W_l$ is "
    "$(J_{W_l}^{𝓔})^T e$.",
    verdict=verdicts.FAILS,
    note="The superscript: it is the Jacobian of the vector $e$ that is meant; that of the scalar $𝓔$ is a row and "
    "does not "
    "fit. Corrected: $(J_{W_l}^E)^T e$.",
)
def gradient(lab: Lab) -> Measured:
    """Compare (J^E)ᵀe with central differences of 𝓔 for every layer."""
    s = lab.sample(SIZES, **SMOOTH)
    target = lab.normal(SIZES[-1], 1)
    e = s.h(s.L) - target
    worst = 0.0
    for l in range(1, s.L + 1):
        direction = lab.normal(*s.W(l).shape)
        step = lab.eps ** (1 / 3)
        plus, minus = (_energy(lab, s.with_W(l, s.W(l) + sign * step * direction), target) for sign in (1, -1))
        J = jacobian(s.network, s.trace, l)[0, ...]
        slope = to_float(lab.mm(lab.t(lab.mm(lab.t(J), e)), lab.vec(direction))[0, 0])
        scale = lab.norm(lab.mm(lab.t(J), e)) * lab.norm(direction)
        worst = max(worst, abs((plus - minus) / (2 * step) - slope) / scale)
    l = 1
    scalar_row = lab.mm(lab.t(e), jacobian(s.network, s.trace, l)[0, ...])  # the Jacobian of 𝓔: one row
    printed = lab.fits(lambda: lab.mm(lab.t(scalar_row), e), (SIZES[0] * SIZES[1], 1))
    return Measured(
        printed,
        f"(J^𝓔)ᵀ is a column of {SIZES[0] * SIZES[1]} and takes no e of {SIZES[-1]} entries; (J^E)ᵀe is the slope to "
        f"{g(worst)}.",
        corrected=worst <= lab.difference_tolerance,
        values={"gap": worst},
    )


@claim(
    "J02",
    place="v1 §4; v2 §4",
    statement="Optimizing $e(x, W_l) → 0$, the gradient with respect to $𝓔$ approaches 0 as well; “minimizing the "
    "error vector "
    "minimizes the scalar error”.",
    verdict=verdicts.HOLDS,
    note="$‖J^Te‖ ≤ ‖J‖‖e‖$ and $𝓔 = ½‖e‖^2$. The converse fails: the gradient can vanish where $e$ does not.",
)
def error_to_zero(lab: Lab) -> Measured:
    """Bound the gradient by ‖J‖‖e‖ as e shrinks, and exhibit e ≠ 0 with zero gradient."""
    s = lab.sample((5, 4, 2, 3), **SMOOTH)
    J = jacobian(s.network, s.trace, 1)[0, ...]
    e = lab.normal(3, 1)
    ratios, gradients = [], []
    for k in range(4):
        grad = lab.norm(lab.mm(lab.t(J), e * 10.0**-k))
        ratios.append(grad / (lab.norm2(J) * lab.norm(e) * 10.0**-k))
        gradients.append(grad)
    null = e - lab.mm(J, lab.pinv(J), e)
    stuck = lab.norm(lab.mm(lab.t(J), null)) / (lab.norm2(J) * lab.norm(null))
    return Measured(
        max(ratios) <= 1 + lab.tolerance(8) and gradients[-1] < 2e-3 * gradients[0],
        f"Gradient/(‖J‖‖e‖) is {g(max(ratios))} at most. Converse: past a layer of 2 units an e of norm "
        f"{g(lab.norm(null))} "
        f"has relative gradient {g(stuck)}.",
        values={"ratio": max(ratios), "stuck": stuck},
    )


@claim(
    "J03",
    place="v1 §4 (notation); v2 §4 (notation)",
    statement="$J_X^y = ∂y/∂(\\text{vec} X)^T$.",
    verdict=verdicts.HOLDS,
    note="With vec stacking columns, as in Magnus and Neudecker: column $j n + i$ belongs to entry $(i, j)$.",
)
def jacobian_of_a_matrix(lab: Lab) -> Measured:
    """Compare y(X) = AXb, whose Jacobian is bᵀ ⊗ A, entry by entry."""
    A, X, b = lab.normal(3, 4), lab.normal(4, 5), lab.normal(5, 1)
    J = lab.kron(lab.t(b), A)
    dX = lab.normal(4, 5)
    change = lab.mm(A, X + dX, b) - lab.mm(A, X, b)
    gap = lab.distance(lab.mm(J, lab.vec(dX)), change)
    columns = max(lab.norm(J[:, j * 4 + i][:, None] - A[:, i][:, None] * b[j, 0]) for i in range(4) for j in range(5))
    scale = lab.norm(A) * (lab.norm(X) + lab.norm(dX)) * lab.norm(b) / lab.norm(change)
    tolerance = lab.tolerance(20, scale)
    return Measured(
        gap <= tolerance and columns <= lab.tolerance(1),
        f"Differs from the change of y by {g(gap)}.",
        values={"gap": gap},
    )


@claim(
    "J04",
    place="v1 §4 (notation); v2 §4 (notation)",
    statement="The chain rule for Jacobians is $J_Z^Y = J_X^Y J_Z^X$, in the reverse order from that for gradients.",
    verdict=verdicts.HOLDS,
)
def chain_rule(lab: Lab) -> Measured:
    """Compose two layers' Jacobians, and pull a gradient back through their transposes in the other order."""
    s = lab.sample(SIZES, **SMOOTH)
    outer, inner = s.J_difference(2, "h"), lab.mm(s.D(2), s.W(2))
    whole = s.J_difference(1, "h")
    gap = lab.distance(lab.mm(outer, inner), whole)
    v = lab.normal(3, 1)
    pulled = lab.distance(lab.mm(lab.t(inner), lab.mm(lab.t(outer), v)), lab.mm(lab.t(whole), v))
    cancellation = lab.norm(whole) * lab.norm(v) / lab.norm(lab.mm(lab.t(whole), v))
    return Measured(
        max(gap, pulled / cancellation) <= lab.difference_tolerance,
        f"Product and whole differ by {g(gap)}; gradients pulled back, by {g(pulled)}.",
        values={"gap": gap, "pulled": pulled},
    )


@claim(
    "J05",
    place="v1 §4.1; v2 §4.1",
    statement="$J_{W_l}^E = J_{W_l}^{h_l} J_{h_l}^E$.",
    verdict=verdicts.FAILS,
    note="The factors are in the order of gradients, against the chain rule stated just before (J04). Corrected: "
    "$J_{W_l}^E = J_{h_l}^E J_{W_l}^{h_l}$.",
)
def order_of_factors(lab: Lab) -> Measured:
    """Multiply in both orders."""
    s = lab.sample(SIZES, **SMOOTH)
    l = 2
    inner, outer = lab.kron(lab.t(s.h(l - 1)), s.D(l)), s.J(l)
    truth = s.J_difference(l, "W")
    printed = lab.fits(lambda: lab.mm(inner, outer), tuple(truth.shape))
    gap = lab.distance(lab.mm(outer, inner), truth)
    return Measured(
        printed,
        f"J_W^h is {inner.shape[0]}×{inner.shape[1]} and J_h^E is {outer.shape[0]}×{outer.shape[1]}: no product in "
        f"the printed "
        f"order; in the other it is right to {g(gap)}.",
        corrected=gap <= lab.difference_tolerance,
        values={"gap": gap},
    )


@claim(
    "J06",
    place="v1 §4.1; v2 §4.1",
    statement="$∂E/∂W_{ij}^l = a_j^{l-1} ∂E/∂h_i^l$ (v2: $∂h_j^l$).",
    verdict=verdicts.FAILS,
    note="$∂h_i/∂W_{ij} = σ'(a_i^l)h_j^{l-1}$. Corrected: $∂E/∂W_{ij}^l = h_j^{l-1}σ'(a_i^l) ∂E/∂h_i^l$.",
)
def entry_of_the_jacobian(lab: Lab) -> Measured:
    """Compare both expressions, all entries at once, with finite differences."""
    s = lab.sample(SIZES, **SMOOTH)
    l = 2
    truth = s.J_difference(l, "W")
    printed = lab.kron(lab.t(s.a(l - 1)), s.J(l))
    corrected = lab.kron(lab.t(s.h(l - 1)), lab.mm(s.J(l), s.D(l)))
    bad, good = lab.distance(printed, truth), lab.distance(corrected, truth)
    return _compare(lab, bad, good)


@claim(
    "J07",
    place="v1 §4.1; v2 §4.1",
    statement="$J_{W_l}^E = a_{l-1} ⊗ J_{h_l}^E$.",
    verdict=verdicts.FAILS,
    note="A column times a matrix has $n_{l-1}n_L$ rows; the Jacobian has $n_L$. Corrected: "
    "$J_{W_l}^E = h_{l-1}^T ⊗ (J_{h_l}^E D_l)$.",
)
def kronecker_form(lab: Lab) -> Measured:
    """Form both products."""
    s = lab.sample(SIZES, **SMOOTH)
    worst, shapes = 0.0, True
    for l in range(2, s.L + 1):
        truth = s.J_difference(l, "W")
        printed = lab.kron(s.a(l - 1), s.J(l))
        shapes &= tuple(printed.shape) == tuple(truth.shape)
        worst = max(worst, lab.distance(jacobian(s.network, s.trace, l)[0, ...], truth))
    return Measured(
        shapes,
        f"The printed product is {printed.shape[0]}×{printed.shape[1]}, the Jacobian "
        f"{truth.shape[0]}×{truth.shape[1]}; the "
        f"corrected one is right to {g(worst)}.",
        corrected=worst <= lab.difference_tolerance,
        values={"gap": worst},
    )


@claim(
    "J08",
    place="v1 §4.1; v2 §4.1",
    statement="$J_{W_l}^E$ needs no derivative of its own layer, $J_{W_l}^{h_l}$ being made of activity alone.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $σ_l$ is the identity. Otherwise the own layer's $D_l$ is missing: $J_{W_l}^{h_l} = h_{l-1}^T ⊗ "
    "D_l$.",
)
def own_layer(lab: Lab) -> Measured:
    """Leave D_l out in a nonlinear and in a linear network."""
    gaps = {}
    for name, options in (("nonlinear", SMOOTH), ("linear", {"hidden": "identity", "output": "identity"})):
        s = lab.sample(SIZES, **options)
        gaps[name] = max(
            lab.distance(lab.kron(lab.t(s.h(l - 1)), s.J(l)), s.J_difference(l, "W")) for l in range(1, s.L + 1)
        )
    return _conditional(lab, gaps["nonlinear"], gaps["linear"], "nonlinear layers", "identity")


@claim(
    "J09",
    place="v1 §4.1, §4.2, Algorithm 1; v2 §4.1, §4.2, A.6",
    statement="What multiplies the error in the update of $W_l$ is the pre-activation $a_{l-1}$.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $σ_{l-1}$ is the identity. $a_l = W_lh_{l-1}$ makes it $h_{l-1}$, and $a_0$ does not exist.",
)
def activity_or_preactivity(lab: Lab) -> Measured:
    """Put a_{l−1} in place of h_{l−1} in a nonlinear and in a linear network."""
    gaps, right = {}, 0.0
    for name, options in (("nonlinear", SMOOTH), ("linear", {"hidden": "identity", "output": "identity"})):
        s = lab.sample(SIZES, **options)
        gaps[name] = 0.0
        for l in range(2, s.L + 1):
            truth, J = s.J_difference(l, "W"), lab.mm(s.J(l), s.D(l))
            gaps[name] = max(gaps[name], lab.distance(lab.kron(lab.t(s.a(l - 1)), J), truth))
            right = max(right, lab.distance(lab.kron(lab.t(s.h(l - 1)), J), truth))
    good = max(gaps["linear"], right)
    return _conditional(lab, gaps["nonlinear"], good, "nonlinear layers", "identity, or with h")


@claim(
    "J10",
    place="v1 §4.1; v2 §4.1",
    statement="$J_{h_l}^E = J_{h_{l+1}}^E J_{a_{l+1}}^{h_{l+1}} J_{h_l}^{a_{l+1}} = J_{h_{l+1}}^E D_σ W_{l+1}$.",
    verdict=verdicts.HOLDS,
    note="$D_σ$ is that of layer $l+1$.",
)
def recursion(lab: Lab) -> Measured:
    """Compare the recursion with finite differences in every layer."""
    s = lab.sample((5, 6, 4, 4, 3), **SMOOTH)
    worst = max(lab.distance(s.J(l), s.J_difference(l, "h")) for l in range(s.L))
    return Measured(
        lab.judge(worst, lab.difference_tolerance),
        f"Differs from central differences by {g(worst)}.",
        values={"gap": worst},
    )


@claim(
    "J11",
    place="v1 §4.1; v2 §4.1",
    statement="“All of the derivations so far are the same as those used in backpropagation, but transposed.”",
    verdict=verdicts.HOLDS,
    note="Backpropagation's $δ_l$ is $(J_{h_l}D_l)^Te$.",
)
def backpropagation_transposed(lab: Lab) -> Measured:
    """Compare the backprop rule's deltas with the transposed Jacobians."""
    s = lab.sample((6, 5, 4, 3), hidden="tanh", output="identity")
    e = lab.normal(1, 3)
    deltas = Backprop().deltas(s.network, s.trace, e, {})
    worst = max(lab.distance(lab.t(deltas[l]), lab.mm(s.D(l), lab.t(s.J(l)), lab.t(e))) for l in range(1, s.L + 1))
    return Measured(lab.judge(worst, lab.tolerance(20, 8)), f"They differ by {g(worst)}.", values={"gap": worst})


@claim(
    "J12",
    place="v1 §4; v2 §4",
    statement="The error is in $C'$: $E(W^1) - E(W^0) - J\\text{vec}(W^1 - W^0) = r ‖\\text{vec}(W^1 - W^0)‖$ with $r "
    "→ 0$.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $σ$ is differentiable (leaky softplus), or away from its kinks. At a kink of the leaky ReLU, "
    "which the papers train with, $r$ does not shrink.",
)
def differentiability(lab: Lab) -> Measured:
    """Shrink a step of W_1 for leaky softplus, and for leaky ReLU with one pre-activation at its kink."""
    sizes, curves, last, allowed = (5, 4, 3), [], {}, {}
    base = lab.eps ** (1 / 3)
    steps = [1e-1 * (10 * base) ** (k / 4) for k in range(5)]
    for name in ("leaky-softplus", "leaky-relu"):
        s = lab.sample(sizes, hidden=name, output="identity", slope=0.3)
        x = s.h(0)
        direction = lab.normal(*s.W(1).shape)
        if name == "leaky-relu":
            # W_1 is shifted so that the first hidden unit sits at its kink, and the step moves it to the positive side.
            row = lab.array([[1.0], [0.0], [0.0], [0.0]])
            W = s.W(1) - row * lab.mm(s.W(1), x)[0, 0] * lab.t(x) / lab.norm(x) ** 2
            s, direction = s.with_W(1, W), direction + row * lab.t(x) * 3
        J = jacobian(s.network, s.trace, 1)[0, ...]
        direction = direction / lab.norm(direction)
        r = []
        for t in steps:
            # Both ways: the derivative that stands for one at a kink may be right on one side.
            moves = [(u, s.with_W(1, s.W(1) + u * direction).h(2) - s.h(2)) for u in (t, -t)]
            r.append(max(lab.norm(change - u * lab.mm(J, lab.vec(direction))) / t for u, change in moves))
        last[name] = r[-1] / r[0]
        # Rounding of h_2 over the step, relative to the first r.
        rounding = 100 * lab.eps * (1 + lab.norm(s.h(2))) / (steps[-1] * r[0])
        allowed[name] = 3 * steps[-1] / steps[0] + rounding
        exponents = [math.log10(t) for t in steps]
        curves.append(Curve(name + (" at its kink" if name == "leaky-relu" else ""), exponents, r))
    return Measured(
        last["leaky-relu"] < 0.1,
        f"As the step shrinks {g(steps[0] / steps[-1])}-fold, r falls to {g(last['leaky-softplus'])} of itself with "
        f"leaky softplus, to "
        f"{g(last['leaky-relu'])} at a kink of leaky ReLU.",
        # r is of order t: it falls by the ratio of the steps, within a factor of three, down to rounding.
        under_condition=last["leaky-softplus"] < allowed["leaky-softplus"],
        values=last,
        figure=Figure("r against the length of the step", "log₁₀ ‖vec(W¹ − W⁰)‖", "r", curves, log_y=True),
    )


def _energy(lab: Lab, s: Sample, target: object) -> float:
    return 0.5 * lab.norm(s.h(s.L) - target) ** 2


def _compare(lab: Lab, bad: float, good: float) -> Measured:
    return Measured(
        lab.judge(bad, lab.difference_tolerance),
        f"As printed off by {g(bad)}; corrected, by {g(good)}.",
        corrected=good <= lab.difference_tolerance,
        values={"printed": bad, "corrected": good},
    )


def _conditional(lab: Lab, bad: float, good: float, where: str, condition: str) -> Measured:
    return Measured(
        lab.judge(bad, lab.difference_tolerance),
        f"Off by {g(bad)} ({where}), by {g(good)} ({condition}).",
        under_condition=good <= lab.difference_tolerance,
        values={"outside": bad, "inside": good},
    )
