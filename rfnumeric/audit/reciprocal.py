"""Claims of §4.2 about the reciprocals B_l and 𝓑_l themselves, and the three assumptions that they rest on."""

from __future__ import annotations

import math
from functools import partial

from rfnumeric.audit import claim as verdicts
from rfnumeric.audit.claim import Measured
from rfnumeric.audit.figures import Curve, Figure
from rfnumeric.audit.lab import VIOLATION, Lab, Sample, g
from rfnumeric.backend import to_float
from rfnumeric.calculus import jacobian, weight_reciprocal
from rfnumeric.linalg import satisfied_conditions
from rfnumeric.nn import get_activation

claim = partial(verdicts.claim, section="reciprocal")
SHAPES = {
    "contracting": (9, 8, 6, 4),
    "expanding": (4, 5, 7, 8),
    "square": (6, 6, 6, 6),
    "narrow in the middle": (8, 8, 5, 3, 5, 7),
    "wide in the middle": (5, 4, 8, 4),
}
CONTRACTING = SHAPES["contracting"]


def mixed(lab: Lab, sizes: tuple[int, ...], **options: object) -> Sample:
    """Draw a sample in whose every layer units of both signs occur, so that no D is a multiple of the identity."""
    while True:
        s = lab.sample(sizes, **options)
        spread = [to_float(lab.xp.max(d) - lab.xp.min(d)) for d in s.trace.d_sigma[1:]]
        if min(spread) > 0.1:
            return s


@claim(
    "R01",
    place="v1 §4.2; v2 §4.2",
    statement="$(D_σW_{l+1})^+ = W_{l+1}^+D_σ^+$.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $W_{l+1}$ has full row rank; for a tall $W$ only where $D_σ$ is a multiple of $I$.",
)
def reverse_order_of_one_layer(lab: Lab) -> Measured:
    """Compare both sides for a wide, a square and a tall W."""
    gaps = {}
    for name, sizes in (("wide", (6, 5)), ("square", (5, 5)), ("tall", (5, 6))):
        s = mixed(lab, sizes)
        gaps[name] = lab.distance(lab.mm(lab.pinv(s.W(1)), lab.pinv(s.D(1))), lab.pinv(lab.mm(s.D(1), s.W(1))))
    tolerance = lab.tolerance(6, 8)
    return Measured(
        lab.judge(max(gaps.values()), tolerance),
        "The sides differ by " + ", ".join(f"{g(v)} ({name})" for name, v in gaps.items()) + ".",
        under_condition=max(gaps["wide"], gaps["square"]) <= tolerance,
        values=gaps,
    )


@claim(
    "R02",
    place="v1 §4.2; v2 §4.2, §2.1",
    statement="The recursion $B_l = W_{l+1}^+D_σ^+B_{l+1}$, $B_L = I$, preserves the Penrose conditions 1, 2, 3 for "
    "$J_{h_l}$.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if every layer contracts (full row rank). Expanding: 1, 2, 4. Square: all. Contracting, then "
    "expanding: 1, 2. "
    "A wide layer between narrower ones: none.",
)
def conditions_by_shape(lab: Lab) -> Measured:
    """List the conditions of B_1 for five shapes of network."""
    expected = {
        "contracting": {1, 2, 3},
        "expanding": {1, 2, 4},
        "square": {1, 2, 3, 4},
        "narrow in the middle": {1, 2},
        "wide in the middle": set(),
    }
    found = {name: _conditions(mixed(lab, sizes), 1) for name, sizes in SHAPES.items()}
    text = "; ".join(f"{name}: {', '.join(map(str, sorted(c))) or 'none'}" for name, c in found.items())
    return Measured(
        all(c >= {1, 2, 3} for c in found.values()),
        f"Conditions of B_1: {text}.",
        under_condition=found == expected,
        values={name: float(len(c)) for name, c in found.items()},
    )


@claim(
    "R03",
    place="v1 §4.2; v2 §4.2, §2.1",
    statement="When every $W_l$ has full row rank, $B_l$ is a multiplicative left reciprocal: $B_lJ_{h_l}y = y$.",
    verdict=verdicts.FAILS,
    note="It is a right reciprocal, $J_{h_l}B_l = I$. The left one needs full column rank (no layer narrows).",
)
def left_or_right(lab: Lab) -> Measured:
    """Measure ‖BJ − I‖ and ‖JB − I‖ for contracting and expanding networks."""
    errors = {}
    for name in ("contracting", "expanding"):
        s = mixed(lab, SHAPES[name])
        J, B = s.J(1), s.B(1)
        errors[name] = tuple(
            lab.norm(P - lab.eye(P.shape[0])) / P.shape[0] ** 0.5 for P in (lab.mm(B, J), lab.mm(J, B))
        )
    tolerance = chain_tolerance(lab)
    left, right = errors["contracting"]
    return Measured(
        lab.judge(left, tolerance),
        f"Full row rank: ‖BJ − I‖/√n = {g(left)}, ‖JB − I‖/√n = {g(right)}. Full column rank: "
        f"{g(errors['expanding'][0])} and "
        f"{g(errors['expanding'][1])}.",
        corrected=right <= tolerance and errors["expanding"][0] <= tolerance,
        values={"left": left, "right": right},
    )


@claim(
    "R04",
    place="v1 §4.2, A.4; v2 §2.1, A.5",
    statement="The pseudoinverse is not factorizable: in general $(J_L ⋯ J_l)^+ ≠ J_l^+ ⋯ J_L^+$.",
    verdict=verdicts.HOLDS,
    note="So $B_l ≠ J_{h_l}^+$ in general, except at $l = L - 1$ of a contracting network and for square layers.",
)
def not_factorizable(lab: Lab) -> Measured:
    """Compare B_l with the pseudoinverse of J_{h_l}, and plain products of two drawn matrices."""
    s = mixed(lab, CONTRACTING)
    gaps = [lab.distance(s.B(l), lab.pinv(s.J(l))) for l in range(1, s.L)]
    P, Q = lab.matrix(4, 6), lab.matrix(6, 5)
    product = lab.distance(lab.mm(lab.pinv(Q), lab.pinv(P)), lab.pinv(lab.mm(P, Q)))
    return Measured(
        product > VIOLATION and gaps[0] > VIOLATION and gaps[-1] <= chain_tolerance(lab),
        f"Q⁺P⁺ and (PQ)⁺ differ by {g(product)}; B_l and J⁺ by {', '.join(g(v) for v in gaps)} for l = 1 … {s.L - 1}.",
        values={"product": product, "first": gaps[0], "last": gaps[-1]},
    )


@claim(
    "R05",
    place="v1 §4.2; v2 §4.2",
    statement="A weight matrix that is initialized at random is almost certainly of full rank.",
    verdict=verdicts.HOLDS,
    note="With probability one for any density. In floating point the smallest singular value stays far above the "
    "cutoff.",
)
def random_is_full_rank(lab: Lab) -> Measured:
    """Draw 300 normal matrices of each of three shapes and compare the smallest singular value with the cutoff."""
    margins = []
    for m, n in ((10, 20), (12, 12), (20, 10)):
        s = lab.xp.linalg.svdvals(lab.normal(300, m, n))
        margins.append(to_float(lab.xp.min(s[:, -1] / s[:, 0])) / (max(m, n) * lab.eps))
    return Measured(
        min(margins) > 1,
        f"Of 900 matrices the nearest to losing rank is {g(min(margins))} times the cutoff away from it.",
        values={"margin": min(margins)},
    )


@claim(
    "R06",
    place="v1 §4.2, assumption 2; v2 §4.2, assumption 2",
    statement="Each $W_l$ must be of full row rank, which a random initialization almost certainly gives.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if no layer is wider than the one below, $n_l ≤ n_{l-1}$; a taller matrix has full column rank and "
    "never "
    "full row rank.",
)
def full_row_rank(lab: Lab) -> Measured:
    """Count full row rank among 200 random matrices, contracting and expanding."""
    share = {}
    for name, (m, n) in {"contracting": (5, 7), "expanding": (7, 5)}.items():
        s = lab.xp.linalg.svdvals(lab.normal(200, m, n))
        full = s[:, -1] > max(m, n) * lab.eps * s[:, 0]
        rank_is_rows = min(m, n) == m
        share[name] = to_float(lab.xp.mean(lab.xp.astype(full, lab.backend.dtype))) if rank_is_rows else 0.0
    return Measured(
        min(share.values()) > 0.99,
        f"Full row rank: {100 * share['contracting']:.0f} % of 5×7 and {100 * share['expanding']:.0f} % of 7×5 "
        f"matrices.",
        under_condition=share["contracting"] > 0.99,
        values=share,
    )


@claim(
    "R07",
    place="v1 §4.2; v2 §4.2",
    statement="$𝓑_l = ‖a_{l-1}‖^{-2} a_{l-1}^T ⊗ B_l$ is a reciprocal of $J_{W_l}$.",
    verdict=verdicts.FAILS,
    note="Corrected: $𝓑_l = ‖h_{l-1}‖^{-2} h_{l-1} ⊗ (D_l^+B_l)$, which satisfies the conditions that $D_l^+B_l$ "
    "satisfies "
    "for $J_{h_l}D_l$.",
)
def weight_reciprocals(lab: Lab) -> Measured:
    """Compare dimensions, and the conditions of the corrected 𝓑_l with those of D_l⁺B_l."""
    s = mixed(lab, CONTRACTING)
    l = 2
    J = jacobian(s.network, s.trace, l)[0, ...]
    printed = lab.kron(lab.t(s.a(l - 1)), s.B(l)) / lab.norm(s.a(l - 1)) ** 2
    same = True
    for k in range(1, s.L + 1):
        J_k, cal = jacobian(s.network, s.trace, k)[0, ...], weight_reciprocal(s.network, s.trace, k)[0, ...]
        inner = satisfied_conditions(lab.mm(s.J(k), s.D(k)), lab.mm(lab.pinv(s.D(k)), s.B(k)))
        same &= satisfied_conditions(J_k, cal) == inner and inner >= {1, 2, 3}
    last = weight_reciprocal(s.network, s.trace, s.L)[0, ...]
    exact = lab.distance(last, lab.pinv(jacobian(s.network, s.trace, s.L)[0, ...]))
    return Measured(
        tuple(printed.shape) == tuple(J.shape)[::-1],
        f"J_W is {J.shape[0]}×{J.shape[1]}, the printed 𝓑 {printed.shape[0]}×{printed.shape[1]}; corrected, every "
        f"layer has its "
        f"conditions, and at l = L it is J⁺ to {g(exact)}.",
        corrected=same and exact <= lab.tolerance(40, 16),
        values={"last_layer": exact},
    )


@claim(
    "R08",
    place="v1 §4.2; v2 §4.2",
    statement="$𝓑_lJ_{W_l} = B_lJ_{h_l}$, so $B_lJ_{h_l}y = y$ implies $𝓑_lJ_{W_l}y = y$.",
    verdict=verdicts.FAILS,
    note="The two act on different spaces. Corrected: $𝓑_lJ_{W_l} = (hh^T/‖h‖^2) ⊗ (D_l^+B_lJ_{h_l}D_l)$, the "
    "identity on "
    "$R(𝓑_l)$ alone, which is what Theorem 1 needs.",
)
def product_of_weight_reciprocal(lab: Lab) -> Measured:
    """Form 𝓑J_W, compare it with both sides, and apply it to vectors inside and outside R(𝓑)."""
    s = mixed(lab, CONTRACTING)
    l = 2
    J, cal = jacobian(s.network, s.trace, l)[0, ...], weight_reciprocal(s.network, s.trace, l)[0, ...]
    product, BJ = lab.mm(cal, J), lab.mm(s.B(l), s.J(l))
    u = s.h(l - 1) / lab.norm(s.h(l - 1))
    formula = lab.kron(lab.mm(u, lab.t(u)), lab.mm(lab.pinv(s.D(l)), s.B(l), s.J(l), s.D(l)))
    inside = lab.mm(cal, lab.normal(J.shape[0], 1))
    outside = lab.normal(J.shape[1], 1)
    kept, lost = lab.distance(lab.mm(product, inside), inside), lab.distance(lab.mm(product, outside), outside)
    gap, tolerance = lab.distance(product, formula), chain_tolerance(lab)
    return Measured(
        tuple(product.shape) == tuple(BJ.shape),
        f"𝓑J_W is {product.shape[0]}×{product.shape[0]}, BJ {BJ.shape[0]}×{BJ.shape[0]}. It is the formula to "
        f"{g(gap)}, keeps "
        f"R(𝓑) to {g(kept)} and moves another y by {g(lost)}.",
        corrected=gap <= tolerance and kept <= tolerance and lost > 0.01,
        values={"formula": gap, "inside": kept, "outside": lost},
    )


@claim(
    "R16",
    place="v1 §4.2, assumption 3; v2 §4.2, assumption 3",
    statement="σ must be bijective and continuous; for instance a leaky softplus.",
    verdict=verdicts.HOLDS,
    note="Leaky softplus with slope α in (0, 1] is bijective and smooth with $α ≤ σ' ≤ 1$. Continuity is not enough "
    "for "
    "Theorem 1's differentiability (J12).",
)
def leaky_softplus(lab: Lab) -> Measured:
    """Invert it, and bound its difference quotients."""
    worst, low, high = 0.0, 1.0, 0.0
    for slope in (0.01, 0.1, 0.5):
        sigma = get_activation("leaky-softplus", slope)
        a = lab.uniform(-8.0, 8.0, 400)
        worst = max(worst, lab.norm(sigma.inverse(sigma.forward(a)) - a) * slope / lab.norm(a))
        b = a + 0.5
        quotient = (sigma.forward(b) - sigma.forward(a)) / (b - a)
        low = min(low, to_float(lab.xp.min(quotient)) / slope)
        high = max(high, to_float(lab.xp.max(quotient)))
    return Measured(
        worst <= lab.tolerance(16) and low >= 1 - lab.tolerance(64) and high <= 1 + lab.tolerance(64),
        f"σ⁻¹(σ(a)) = a to {g(worst)}·(1/α); difference quotients between {low:.3g}·α and {high:.3g}.",
        values={"inverse": worst, "low": low, "high": high},
    )


@claim(
    "R17",
    place="v1 §5; v2 §5",
    statement="The leaky ReLU is noncontinuous.",
    verdict=verdicts.FAILS,
    note="It is Lipschitz with constant 1; its derivative is what jumps at 0, by $1 - α$.",
)
def leaky_relu_continuity(lab: Lab) -> Measured:
    """Measure the jump of σ and of σ' across ever smaller intervals around 0."""
    sigma = get_activation("leaky-relu", 0.01)
    widths = [10.0**-k for k in range(1, 6)]
    ends = [lab.array([-w, w]) for w in widths]
    jumps = [abs(to_float(sigma.forward(x)[1] - sigma.forward(x)[0])) for x in ends]
    slopes = [to_float(sigma.derivative(x)[1] - sigma.derivative(x)[0]) for x in ends]
    curves = [Curve("σ", [-k for k in range(1, 6)], jumps), Curve("σ′", [-k for k in range(1, 6)], slopes)]
    return Measured(
        jumps[-1] > 0.5 * jumps[0],
        f"Across ±{widths[-1]:g} σ changes by {g(jumps[-1])}, σ′ by {g(slopes[-1])}.",
        corrected=jumps[-1] <= 2 * widths[-1] and slopes[-1] > 0.98,
        values={"jump": jumps[-1], "slope_jump": slopes[-1]},
        figure=Figure("Change across [−10ᵏ, 10ᵏ]", "k", "change", curves, log_y=True),
    )


@claim(
    "R18",
    place="v1 §4.2, assumption 1; v2 §4.2, assumption 1",
    statement="The condition number of the Jacobian and of the reciprocal must be kept low.",
    verdict=verdicts.HOLDS,
    note="The reciprocal of a chain grows with the product of the condition numbers, and $D^+ = 1/α$ on every "
    "inactive unit adds "
    "a factor $1/α$ a layer: low condition of the weights alone is not enough.",
)
def condition_numbers(lab: Lab) -> Measured:
    """Measure ‖B_1‖‖J_1‖ as the weights' condition number and the slope change."""
    sizes, by_condition, by_slope = (8, 8, 8, 8), [], []
    kappas, slopes = [1, 3, 10, 30], [1.0, 0.3, 0.1, 0.03]
    for kappa in kappas:
        s = lab.sample(sizes, spectrum=(1 / kappa, 1.0), slope=0.99)
        by_condition.append(lab.norm2(s.B(1)) * lab.norm2(s.J(1)))
    for slope in slopes:
        s = lab.sample(sizes, spectrum=(1.0, 1.0), slope=slope)
        by_slope.append(lab.norm2(s.B(1)) * lab.norm2(s.J(1)))
    return Measured(
        by_condition[-1] > 10 * by_condition[0] and by_slope[-1] > 10 * by_slope[0],
        f"‖B_1‖‖J_1‖ rises from {g(by_condition[0])} to {g(by_condition[-1])} as κ(W) goes from 1 to 30, and from "
        f"{g(by_slope[0])} to "
        f"{g(by_slope[-1])} with orthogonal W as α falls from 1 to 0.03.",
        values={"kappa_30": by_condition[-1], "slope_003": by_slope[-1]},
        figure=Figure(
            "‖B_1‖‖J_1‖ over three layers",
            "log₁₀ of κ(W), or of 1/α",
            "‖B‖‖J‖",
            [
                Curve("κ(W), slope 0.99", [math.log10(k) for k in kappas], by_condition),
                Curve("1/α, orthogonal W", [-math.log10(a) for a in slopes], by_slope),
            ],
            log_y=True,
        ),
    )


def chain_tolerance(lab: Lab) -> float:
    """Return the tolerance of three layers of width 9 at most, each W and D of condition 2: 2⁵ with own D."""
    return lab.tolerance(9, 32)


def _conditions(s: Sample, l: int) -> set[int]:
    return satisfied_conditions(s.J(l), s.B(l))
