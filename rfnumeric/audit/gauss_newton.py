"""Claims about Gauss–Newton (v1 A.4, v2 A.5) and target propagation with exact inverses (v2 §2.1)."""

from __future__ import annotations

from functools import partial

from rfnumeric.audit import claim as verdicts
from rfnumeric.audit.claim import Measured
from rfnumeric.audit.figures import Curve, Figure
from rfnumeric.audit.lab import VIOLATION, Lab, Sample, g
from rfnumeric.audit.reciprocal import CONTRACTING, SHAPES, mixed
from rfnumeric.backend import to_float
from rfnumeric.calculus import activation_jacobians, gauss_newton_step, jacobian, weight_reciprocal
from rfnumeric.typing import Array

claim = partial(verdicts.claim, section="gauss-newton")
SQUARE = SHAPES["square"]


@claim(
    "G01",
    place="v1 A.4 (1); v2 A.5 (1)",
    statement="The optimal Newton direction is $δ_{W_l} = (H_{W_l})^{-1}∇_{W_l}e$.",
    verdict=verdicts.HOLDS_IF,
    note="Holds, with $∇𝓔$ for $∇e$, if $H_{W_l}$ is invertible, which takes at least $n_{l-1}$ samples. For the "
    "single sample of §4 the "
    "Hessian of $W_l$ has rank $n_l$ at most of $n_ln_{l-1}$ and no inverse.",
)
def newton_direction(lab: Lab) -> Measured:
    """Take the Newton step of one linear layer with twelve samples and with one."""
    condition, left = {}, {}
    for name, batch in (("twelve samples", 12), ("one sample", 1)):
        W, x, target = lab.matrix(3, 4), lab.normal(batch, 4), lab.normal(batch, 3)
        if batch > 1:
            x = lab.orthonormal(12, 4) * lab.uniform(1.0, 2.0, 4)
        H = lab.kron(lab.mm(lab.t(x), x), lab.eye(3))
        s = lab.xp.linalg.svdvals(H)
        condition[name] = to_float(s[-1] / s[0])
        if batch > 1:
            e = lab.mm(x, lab.t(W)) - target
            gradient = lab.vec(lab.mm(lab.t(e), x))
            step = lab.xp.linalg.solve(H, gradient)
            after = lab.mm(x, lab.t(W - lab.t(lab.xp.reshape(step, (4, 3))))) - target
            left[name] = lab.norm(lab.mm(lab.t(after), x)) / lab.norm(gradient)
    tolerance = lab.tolerance(12, 4)
    invertible = condition["one sample"] > tolerance
    return Measured(
        invertible,
        f"1/κ(H) is {g(condition['one sample'])} for one sample, {g(condition['twelve samples'])} for twelve; there "
        f"one step leaves "
        f"{g(left['twelve samples'])} of the gradient.",
        under_condition=left["twelve samples"] <= tolerance and condition["twelve samples"] > 0.1,
        values={"one": condition["one sample"], "left": left["twelve samples"]},
    )


@claim(
    "G02",
    place="v1 A.4; v2 A.5",
    statement="$H_{W_l} ≈ (J_{W_l}^e)^TJ_{W_l}^e$.",
    verdict=verdicts.HOLDS_IF,
    note="Holds near $e = 0$, or if $e$ is linear in $W_l$: the difference is $∑_k e_k∇^2e_k$, of first order in $e$.",
)
def gauss_newton_hessian(lab: Lab) -> Measured:
    """Compare second differences of 𝓔 with ‖Jv‖² as the error grows."""
    s = lab.sample((4, 4, 3), hidden="tanh", output="identity")
    v = lab.normal(4, 4)
    J, step = jacobian(s.network, s.trace, 1)[0, ...], lab.eps**0.25
    # The error that the second derivative along v feels most.
    outputs = [s.with_W(1, s.W(1) + u * step * v).h(2) for u in (1, 0, -1)]
    curvature = (outputs[0] - 2 * outputs[1] + outputs[2]) / step**2
    unit = curvature / lab.norm(curvature)
    product = lab.norm(lab.mm(J, lab.vec(v))) ** 2
    # Differences err in proportion to the curvature as well.
    scale = product + lab.norm(curvature)
    sizes, gaps = [0.0, 0.1, 1.0, 10.0], []
    for size in sizes:
        target = s.h(2) - size * unit
        # The differences of outputs, not of energies, keep the digits.
        errors = [h - target for h in outputs]
        second = sum(0.5 * w * lab.norm(e) ** 2 for w, e in zip((1, -2, 1), errors, strict=True)) / step**2
        gaps.append(abs(second - product) / scale)
    linear = abs(gaps[3] / gaps[2] - 10) / 10
    # Second differences of step eps^(1/4) err by eps^(1/2).
    rounding = 20 * lab.eps**0.5
    return Measured(
        lab.judge(gaps[2], rounding),
        f"Relative to ‖Jv‖² + ‖∂²h‖, vᵀHv and ‖Jv‖² differ by {g(gaps[0])} at e = 0, by {g(gaps[2])} at ‖e‖ = 1, "
        f"{g(gaps[3])} at 10.",
        under_condition=gaps[0] <= rounding and linear < 0.1,
        values={"zero": gaps[0], "one": gaps[2], "ten": gaps[3]},
        figure=Figure("Relative difference of H and JᵀJ", "‖e‖", "difference", [Curve("along one v", sizes, gaps)]),
    )


@claim(
    "G03",
    place="v1 A.4 (2); v2 A.5 (2)",
    statement="$δ_{W_l} = ((J^e)^TJ^e)^{-1}(J^e)^Te$.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $J$ has full column rank: at least $n_ln_{l-1}$ outputs over the batch. For one sample $J^TJ$ is "
    "singular; then $J^+e$ "
    "(3) is what exists.",
)
def normal_equations(lab: Lab) -> Measured:
    """Look at JᵀJ for one sample and for a batch, and solve with the batch's."""
    network = lab.network((3, 2, 4), hidden="tanh", output="identity")
    x = lab.xp.concat((lab.orthonormal(8, 3) * 2, lab.orthonormal(8, 3)), axis=0)
    trace = network.forward(x)
    J = jacobian(network, trace, 1)
    whole, one = lab.xp.reshape(J, (-1, 6)), J[0, ...]
    inverse_condition = [_inverse_condition(lab, lab.mm(lab.t(A), A)) for A in (whole, one)]
    e = lab.normal(64, 1)
    solved = lab.xp.linalg.solve(lab.mm(lab.t(whole), whole), lab.mm(lab.t(whole), e))
    gap = lab.distance(solved, lab.mm(lab.pinv(whole), e))
    kappa = inverse_condition[0] ** -1
    return Measured(
        inverse_condition[1] > lab.tolerance(6),
        f"1/κ(JᵀJ) is {g(inverse_condition[1])} for one sample, {g(inverse_condition[0])} for 16, where (2) is J⁺e to "
        f"{g(gap)}.",
        under_condition=gap <= lab.tolerance(6, kappa),
        values={"one": inverse_condition[1], "batch": inverse_condition[0], "gap": gap},
    )


@claim(
    "G04",
    place="v1 A.4 (3); v2 A.5 (3)",
    statement="If $J$ has full row rank, $(J^TJ)^{-1}J^T = J^+$.",
    verdict=verdicts.FAILS,
    note="It takes full column rank. For full row rank $J^TJ$ is singular and $J^+ = J^T(JJ^T)^{-1}$.",
)
def row_or_column(lab: Lab) -> Measured:
    """Form both expressions for a wide and a tall matrix."""
    wide, tall = lab.matrix(4, 7), lab.matrix(7, 4)
    singular = _inverse_condition(lab, lab.mm(lab.t(wide), wide))
    inv = lab.xp.linalg.inv
    row = lab.distance(lab.mm(lab.t(wide), inv(lab.mm(wide, lab.t(wide)))), lab.pinv(wide))
    column = lab.distance(lab.mm(inv(lab.mm(lab.t(tall), tall)), lab.t(tall)), lab.pinv(tall))
    tolerance = lab.tolerance(7, 16)
    return Measured(
        singular > tolerance,
        f"Full row rank: 1/κ(JᵀJ) = {g(singular)}, Jᵀ(JJᵀ)⁻¹ is J⁺ to {g(row)}. Full column rank: (JᵀJ)⁻¹Jᵀ is J⁺ to "
        f"{g(column)}.",
        corrected=row <= tolerance and column <= tolerance,
        values={"singular": singular, "row": row, "column": column},
    )


@claim(
    "G05",
    place="v1 A.4 (4); v2 A.5 (4)",
    statement="$(J_{W_l}^e)^+ = (W_l^TD_σ^T(J_{W_{l+1}}^e)^TJ_{W_{l+1}}^eD_σW_l)^{-1}W_l^TD_σ^T(J_{W_{l+1}}^e)^T$.",
    verdict=verdicts.FAILS,
    note="The right side has the dimensions of an activation's Jacobian. Corrected: it is $J_{h_l}^+$ with "
    "$J_{h_l} = J_{h_{l+1}}D_σW_{l+1}$, if that has full column rank (rows for full row rank).",
)
def equation_4(lab: Lab) -> Measured:
    """Evaluate the right side with both kinds of Jacobian in an expanding network."""
    s = mixed(lab, SHAPES["expanding"])
    l = 1
    J_W = jacobian(s.network, s.trace, l)[0, ...]
    J_W_next = jacobian(s.network, s.trace, l + 1)[0, ...]
    printed = lab.fits(lambda: _formula_4(lab, J_W_next, s.D(l), s.W(l)), (J_W.shape[1], J_W.shape[0]))
    good = lab.distance(_formula_4(lab, s.J(l + 1), s.D(l + 1), s.W(l + 1)), lab.pinv(s.J(l)))
    # Two layers of condition 4 each, squared by the normal equations.
    tolerance = lab.tolerance(8, 16**2)
    return Measured(
        printed,
        f"J_(W_l+1) is {J_W_next.shape[0]}×{J_W_next.shape[1]} and D_σW_l {s.n[l]}×{s.n[l - 1]}: no product. With J_h "
        f"the formula is "
        f"J_h⁺ to {g(good)}.",
        corrected=good <= tolerance,
        values={"gap": good},
    )


@claim(
    "G06",
    place="v1 A.4; v2 A.5",
    statement="If the pseudoinverse of the product were the product of the pseudoinverses, reciprocal feedback would "
    "be block-diagonal "
    "Gauss–Newton.",
    verdict=verdicts.HOLDS,
    note="Layer by layer and for one sample: in square networks everywhere, in contracting ones in the last layer "
    "only.",
)
def equals_gauss_newton(lab: Lab) -> Measured:
    """Compare 𝓑_l e with the block-diagonal Gauss–Newton step for square and contracting networks."""
    gaps = {}
    for name in ("square", "contracting"):
        s = mixed(lab, SHAPES[name])
        e = lab.normal(1, s.n[-1])
        newton = gauss_newton_step(s.network, s.trace, e, block_diagonal=True)
        gaps[name] = [
            lab.distance(lab.mm(weight_reciprocal(s.network, s.trace, l)[0, ...], lab.t(e)), lab.vec(newton[l]))
            for l in range(1, s.L + 1)
        ]
    # The dual solves with JJᵀ, whose condition is that of the chain squared.
    tolerance = lab.tolerance(9, 32) * 8
    return Measured(
        max(gaps["square"]) <= tolerance
        and gaps["contracting"][-1] <= tolerance
        and min(gaps["contracting"][:-1]) > VIOLATION,
        f"Relative difference by layer: square {', '.join(map(g, gaps['square']))}; contracting "
        f"{', '.join(map(g, gaps['contracting']))}.",
        values={"square": max(gaps["square"]), "first": gaps["contracting"][0], "last": gaps["contracting"][-1]},
    )


@claim(
    "G07",
    place="v1 §6; v2 §6",
    statement="Gauss–Newton needs the chain rule for Hessians, followed by the pseudoinverse of the result.",
    verdict=verdicts.HOLDS,
    note="$J_{h_l}^TJ_{h_l} = W_{l+1}^TD_{l+1}(J_{h_{l+1}}^TJ_{h_{l+1}})D_{l+1}W_{l+1}$ recurses; its inverse does "
    "not.",
)
def hessian_recursion(lab: Lab) -> Measured:
    """Run the recursion of JᵀJ, and the one of its pseudoinverses."""
    s = mixed(lab, CONTRACTING)
    M, R = lab.eye(s.n[s.L]), lab.eye(s.n[s.L])
    gap = inverse_gap = 0.0
    for l in range(s.L - 1, 0, -1):
        P = lab.mm(s.D(l + 1), s.W(l + 1))
        M, R = lab.mm(lab.t(P), M, P), lab.mm(lab.pinv(P), R, lab.t(lab.pinv(P)))
        truth = lab.mm(lab.t(s.J(l)), s.J(l))
        gap = max(gap, lab.distance(M, truth))
        inverse_gap = max(inverse_gap, lab.distance(R, lab.mm(lab.pinv(s.J(l)), lab.t(lab.pinv(s.J(l))))))
    return Measured(
        gap <= lab.tolerance(9, 32) and inverse_gap > VIOLATION,
        f"The recursion of JᵀJ is right to {g(gap)}, that of pseudoinverses off by {g(inverse_gap)}.",
        values={"gap": gap, "inverse": inverse_gap},
    )


@claim(
    "G08",
    place="v2 §2.1",
    statement="If the network is invertible and $g_l(\\hat{h}) = W_{l+1}^{-1}σ^{-1}(\\hat{h})$ is exact, the target "
    "update is that of "
    "Gauss–Newton: $Δh_l ∝ \\hat{h}_l - h_l ≈ λ(∏_{k=l+1}^L J_k^{-1})e = λ(∏_{k=L}^{l+1} J_k)^{-1}e$.",
    verdict=verdicts.HOLDS,
    note="To first order in λ; with $e = h_L - h_L^*$ and the target $h_L - λe$ the sign is minus.",
)
def exact_target_propagation(lab: Lab) -> Measured:
    """Send targets down through exact inverses and compare their move with −λJ⁻¹e and with Gauss–Newton."""
    s = lab.sample(SQUARE, hidden="leaky-softplus", output="leaky-softplus")
    # J_{h_l} is invertible with condition 32 at most; the inverse of σ costs another 1/α.
    e, lam = lab.normal(s.n[-1], 1), lab.eps ** (1 / 3)
    target, worst, order = s.h(s.L) - lam * e, 0.0, 0.0
    product = lab.eye(s.n[-1])
    for l in range(s.L - 1, 0, -1):
        a = s.network.activation(l + 1).inverse(lab.t(target))
        target = lab.xp.linalg.solve(s.W(l + 1), lab.t(a))
        product = lab.mm(lab.xp.linalg.inv(lab.mm(s.D(l + 1), s.W(l + 1))), product)
        newton = lab.mm(lab.pinv(s.J(l)), e)
        worst = max(worst, lab.distance((target - s.h(l)) / -lam, newton))
        order = max(order, lab.distance(lab.mm(product, e), newton))
    # λ = eps^(1/3): a one-sided difference errs by λ times curvature.
    limit = 100 * lam
    return Measured(
        worst <= limit and order <= lab.tolerance(6, 64),
        f"At λ = {g(lam)} the targets move by −λJ⁺e to {g(worst)}; the product of inverses is the inverse of the "
        f"product to {g(order)}.",
        values={"first_order": worst, "product": order},
    )


@claim(
    "G09",
    place="v2 §2.1",
    statement="The targets $\\hat{h}_l = σ_l(Q_l\\hat{h}_{l+1}) = g_l(\\hat{h}_{l+1})$ include the exact inverse "
    "$W_{l+1}^{-1}σ_{l+1}^{-1}(\\hat{h}_{l+1})$.",
    verdict=verdicts.FAILS,
    note="A nonlinearity outside a matrix is not a matrix outside an inverse nonlinearity: no $Q$ gives it. Corrected: "
    "$g_l(\\hat{h}) = Qσ_{l+1}^{-1}(\\hat{h})$, or σ linear.",
)
def form_of_the_inverse(lab: Lab) -> Measured:
    """Fit Q by least squares in both forms to pairs of one layer's activity."""
    s = Sample(
        lab, lab.network((5, 5, 5), hidden="leaky-softplus", output="leaky-softplus", slope=0.2), lab.normal(60, 5)
    )
    # All 60 samples: h_1 is to be recovered from h_2.
    below, above = s.trace.h[1], s.trace.h[2]
    printed = lab.network((5, 5), hidden="leaky-softplus", slope=0.2).hidden
    goal = printed.inverse(below)  # σ⁻¹(h_1) must be Q h_2
    Q = lab.mm(lab.pinv(above), goal)
    bad = lab.distance(printed.forward(lab.mm(above, Q)), below)
    unfolded = printed.inverse(above)
    good = lab.distance(lab.mm(unfolded, lab.mm(lab.pinv(unfolded), below)), below)
    return Measured(
        lab.judge(bad, lab.tolerance(60, 8)),
        f"The best Q leaves {g(bad)} of h_1 as printed, {g(good)} with σ⁻¹ inside.",
        corrected=good <= lab.tolerance(60, 64) * 5,
        values={"printed": bad, "corrected": good},
    )


@claim(
    "G10",
    place="v2 §2.1",
    statement="$Q_l$ is trained on $‖g_l(f_{l+1}(h_l)) - h_l‖_2^2$, which an exact inverse brings to zero.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $W_{l+1}$ has full column rank (the layer does not narrow). A narrowing layer loses a part of "
    "$h_l$ that no "
    "$g_l$ restores.",
)
def reconstruction(lab: Lab) -> Measured:
    """Reconstruct the activity below a widening and a narrowing layer with the pseudoinverse and σ⁻¹."""
    left = {}
    for name, (m, n) in {"widening": (7, 5), "narrowing": (5, 7)}.items():
        W, h = lab.matrix(m, n), lab.normal(40, n)
        sigma = lab.network((n, m), hidden="leaky-softplus", slope=0.3).hidden
        f = sigma.forward(lab.mm(h, lab.t(W)))
        left[name] = lab.distance(lab.mm(sigma.inverse(f), lab.t(lab.pinv(W))), h)
    tolerance = lab.tolerance(7, 16)
    return Measured(
        lab.judge(left["narrowing"], tolerance),
        f"Left over: {g(left['widening'])} below a widening layer, {g(left['narrowing'])} below a narrowing one.",
        under_condition=left["widening"] <= tolerance,
        values=left,
    )


@claim(
    "G11",
    place="v2 §2.1",
    statement="Feedback connections directly from the output layer can be trained to learn the pseudoinverse of the "
    "Jacobian of the "
    "computation from layer $l$ to $L$ (Meulemans et al. 2020).",
    verdict=verdicts.HOLDS_IF,
    note="Holds for one input, or a linear network. Over several inputs $J$ changes with $x$, and one matrix $Q_l$ "
    "learns an average that is "
    "the pseudoinverse of none.",
)
def direct_feedback(lab: Lab) -> Measured:
    """Fit Q to undo J_{h_1} on white noise, for one input and for eight, by the solution that training ends at."""
    network = lab.network((8, 7, 6, 4))
    x = lab.normal(8, 8)
    J = activation_jacobians(network, network.forward(x))[1]
    # Q minimizes the sum of ‖QJδ − δ‖² over inputs and white δ: Q = (Σ Jᵀ)(Σ JJᵀ)⁻¹.
    transposed = lab.t(J)
    gaps = {}
    for name, count in (("one input", 1), ("eight inputs", 8)):
        cross = lab.xp.sum(transposed[:count, ...], axis=0)
        gram = lab.xp.sum(lab.mm(J, transposed)[:count, ...], axis=0)
        Q = lab.mm(cross, lab.xp.linalg.inv(gram))
        gaps[name] = max(lab.distance(Q, lab.pinv(J[k, ...])) for k in range(count))
    # Three layers of condition 4 each, squared in the Gram matrix.
    tolerance = lab.tolerance(4, 16**2)
    return Measured(
        lab.judge(gaps["eight inputs"], tolerance),
        f"Q is {g(gaps['one input'])} from J⁺ for one input, {g(gaps['eight inputs'])} from the worst of eight.",
        under_condition=gaps["one input"] <= tolerance,
        values=gaps,
    )


def _inverse_condition(lab: Lab, A: Array) -> float:
    s = lab.xp.linalg.svdvals(A)
    return to_float(s[-1] / s[0])


def _formula_4(lab: Lab, J: Array, D: Array, W: Array) -> Array:
    """Return the right side of equation (4)."""
    P = lab.mm(J, D, W)
    return lab.mm(lab.xp.linalg.inv(lab.mm(lab.t(P), P)), lab.t(W), lab.t(D), lab.t(J))
