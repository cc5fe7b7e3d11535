"""Claims of §3 about noise, the Penrose conditions and the Ben-Israel–Cohen iteration."""

from __future__ import annotations

import math
from functools import partial

from rfnumeric.audit import claim as verdicts
from rfnumeric.audit.claim import Measured
from rfnumeric.audit.figures import Curve, Figure
from rfnumeric.audit.lab import Lab, g
from rfnumeric.backend import copy
from rfnumeric.linalg import ben_israel_cohen, pinv, satisfied_conditions
from rfnumeric.rules.inverses import recirculate
from rfnumeric.typing import Array

claim = partial(verdicts.claim, section="pseudoinverse")
REACHED = 1e-3
"""A learned inverse that is closer than this, relative, has been reached; the others end at distances of order one."""


@claim(
    "P01",
    place="v1 §3, A.2; v2 §3, A.3",
    statement="For $y$ with independent entries of mean 0 and variance $σ^2$: $E[yy^T] = σ^2 I$.",
    verdict=verdicts.HOLDS,
    note="The second moment of N samples misses $σ^2I$ by what sampling alone explains, for three distributions.",
)
def second_moment(lab: Lab) -> Measured:
    """Compare ‖S − I‖²_F with its expectation n(n − 1)/N + n(κ − 1)/N, κ the fourth moment."""
    n, ratios = 8, []
    for N in (1024, 16384):
        u = lab.uniform(-1.0, 1.0, N, n)
        draws = ((lab.normal(N, n), 3.0), (u * math.sqrt(3), 1.8), (lab.xp.sign(u), 1.0))
        for y, kurtosis in draws:
            gap = lab.norm(lab.mm(lab.t(y), y) / N - lab.eye(n))
            ratios.append(gap / math.sqrt((n * (n - 1) + n * (kurtosis - 1)) / N))
    # n²/2 independent entries: the ratio's standard deviation is about 1/√(n²) = 0.13; 1.9 is seven of them.
    within = all(0.3 < r < 1.9 for r in ratios)
    evidence = f"‖S − I‖ is {g(min(ratios))} to {g(max(ratios))} times its expectation over N = 1,024 and 16,384."
    return Measured(within, evidence, values={"least": min(ratios), "largest": max(ratios)})


@claim(
    "P02",
    place="v1 §3",
    statement="It suffices that the input patterns $y$ have mean 0 (and variance $σ^2$): $E[yy^T] = σ^2I$, and "
    "recirculation "
    "is the pseudoinverse iteration.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if the entries are also uncorrelated, as v2 §3 adds. For $E[yy^T] = Γ$ the expected step is "
    "$(U - UVU)Γ/σ^2$.",
)
def mean_zero_suffices(lab: Lab) -> Measured:
    """Compute the expected step for correlated and for white patterns of mean 0."""
    V, U = lab.matrix(6, 7), lab.matrix(7, 6)
    target = U - lab.mm(U, V, U)
    C = lab.matrix(6, 6)
    correlated = _expected_step(lab, V, U, C)
    white = _expected_step(lab, V, U, lab.eye(6))
    general = lab.distance(correlated, lab.mm(target, C, lab.t(C)))
    bad, good = lab.distance(correlated, target), lab.distance(white, target)
    tolerance = lab.tolerance(20, 4)
    return Measured(
        lab.judge(bad, tolerance),
        f"Off by {g(bad)} for correlated patterns (by {g(general)} from the formula with Γ), by {g(good)} for white "
        f"ones.",
        under_condition=good <= tolerance and general <= tolerance,
        values={"correlated": bad, "white": good, "with_gamma": general},
    )


@claim(
    "P03",
    place="v1 §3; v2 §3 (Ben-Israel and Cohen 1966)",
    statement="$X_{t+1} - X_t = X_t - X_tAX_t$ converges to $A^+$, from $X_0 = αA^T$ with $0 < α < 2/σ_1^2$.",
    verdict=verdicts.HOLDS,
    note="Quadratically: $I - AX_{t+1} = (I - AX_t)^2$. The papers do not give this start; see P04 for theirs.",
)
def ben_israel_cohen_converges(lab: Lab) -> Measured:
    """Run it from three α inside the interval and one outside, and check that the residual squares."""
    worst, order, steps = 0.0, 0.0, []
    outside = math.inf
    for shape in ((5, 8), (8, 5), (6, 6)):
        A = lab.matrix(*shape)
        exact, sigma = lab.pinv(A), lab.norm2(A)
        for part in (0.1, 1.0, 1.9):
            result = ben_israel_cohen(A, lab.t(A) * (part / sigma**2))
            worst = max(worst, lab.distance(result.value, exact))
            steps.append(result.iterations)
        escaped = ben_israel_cohen(A, lab.t(A) * (2.1 / sigma**2), max_iterations=8)
        outside = min(outside, lab.distance(escaped.value, exact))
        X = lab.t(A) / sigma**2
        R, R_next = (_residual(lab, A, Y) for Y in (X, 2 * X - lab.mm(X, A, X)))
        order = max(order, lab.norm(R_next - lab.mm(R, R)))
    tolerance = lab.tolerance(8, 16)
    values = {
        "distance": worst,
        "squares": order,
        "outside": outside,
        "iterations": max(steps),
    }
    evidence = (
        f"Within {g(worst)} of A⁺ after {min(steps)}–{max(steps)} steps; residual squares to {g(order)}; α = 2.1/σ₁² "
    )
    return Measured(
        worst <= tolerance and order <= tolerance and outside > 1,
        evidence + f"is {g(outside)} away after 8 steps.",
        values=values,
        figure=_bic_figure(lab),
    )


@claim(
    "P16",
    place="v1 §3; v2 §3 (Ben-Israel and Cohen 1966)",
    statement="The iteration computes the pseudoinverse of an arbitrary matrix $A$.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $A$ has full rank, or in exact arithmetic. In floating point a rounding error outside the range of "
    "a "
    "rank-deficient $A^T$ doubles at every step: the iterates approach $A^+$ and then leave it. Stop at the smallest "
    "change, or "
    "project.",
)
def arbitrary_matrix(lab: Lab) -> Measured:
    """Run 100 steps for a matrix of full rank and for one of rank 3; keep the nearest and the last distance to A⁺."""
    nearest, last, curves = {}, {}, []
    for name in ("full rank", "rank 3"):
        A = lab.matrix(7, 6) if name == "full rank" else lab.mm(lab.matrix(7, 3), lab.matrix(3, 6))
        exact = pinv(A, method="svd", rtol=lab.tolerance(7))
        X, distances = lab.t(A) / lab.norm2(A) ** 2, []
        for _ in range(100):
            X = 2 * X - lab.mm(X, A, X)
            distances.append(lab.distance(X, exact))
            if not distances[-1] < 1e3:
                break
        nearest[name], last[name] = min(distances), distances[-1]
        curves.append(Curve(name, list(range(1, len(distances) + 1)), distances))
    # About 2 log₂ κ + 4 ≤ 14 steps bring it near; until then rounding has doubled as often.
    near = lab.eps * 2**14
    return Measured(
        last["rank 3"] <= near,
        f"Full rank: {g(last['full rank'])} from A⁺ after 100 steps. Rank 3: {g(nearest['rank 3'])} at its nearest, "
        f"{g(last['rank 3'])} after {len(curves[1].y)} steps.",
        under_condition=last["full rank"] <= lab.tolerance(7, 16) and nearest["rank 3"] <= near,
        values={"full": last["full rank"], "nearest": nearest["rank 3"], "last": last["rank 3"]},
        figure=Figure("Distance to A⁺", "step", "‖X − A⁺‖/‖A⁺‖", curves, log_y=True),
    )


@claim(
    "P04",
    place="v1 §3; v2 §3",
    statement="Starting from a matrix $X_0$ with $(X_0A)^T = X_0A$, the iteration converges to $A^+$.",
    verdict=verdicts.FAILS,
    note="The symmetry of $X_0A$ is not enough: $3A^+$ diverges, $A^+ + Z(I - AA^+)$ and $0$ stay where they are. "
    "What is "
    "needed is range and null space of $A^+$ and $ρ(P - AX_0) < 1$, e.g. $X_0 = αA^T$, $0 < α < 2/σ_1^2$.",
)
def symmetric_start(lab: Lab) -> Measured:
    """Try three starts with X₀A symmetric that do not reach A⁺, and the corrected one."""
    A = lab.matrix(8, 5)
    exact, xp = lab.pinv(A), lab.xp
    Z = lab.normal(5, 8)
    starts = {
        "3A⁺": 3 * exact,
        "A⁺ + Z(I − AA⁺)": exact + Z - lab.mm(Z, A, exact),
        "0": xp.zeros_like(exact),
    }
    tolerance = lab.tolerance(8, 16)
    symmetric, ends = 0.0, {}
    for name, X in starts.items():
        XA = lab.mm(X, A)
        symmetric = max(symmetric, lab.norm(XA - lab.t(XA)))
        for _ in range(6):
            X = 2 * X - lab.mm(X, A, X)
        ends[name] = lab.distance(X, exact)
    good = lab.distance(ben_israel_cohen(A, lab.t(A) / lab.norm2(A) ** 2).value, exact)
    closest = min(ends.values())
    evidence = "; ".join(f"from {name} the end is {g(v)} away" for name, v in ends.items())
    return Measured(
        lab.judge(closest, tolerance) if symmetric <= 10 * tolerance * (1 + lab.norm(Z)) else None,
        f"{evidence}; from αAᵀ {g(good)}.",
        corrected=good <= tolerance,
        values={"symmetry": symmetric, "closest": closest, "corrected": good},
    )


@claim(
    "P05",
    place="v2 §3 (Penrose 1955)",
    statement="$A^+$ is the unique matrix with $AA^+A = A$, $A^+AA^+ = A^+$, $(AA^+)^T = AA^+$ and $(A^+A)^T = A^+A$.",
    verdict=verdicts.HOLDS,
    note="None of the four can be dropped: for each there is a matrix that satisfies exactly the other three.",
)
def four_conditions(lab: Lab) -> Measured:
    """Build, from the SVD, one matrix for each set of three conditions."""
    r, U, V = 3, lab.orthonormal(6, 6), lab.orthonormal(5, 5)
    s = lab.uniform(0.5, 2.0, r)
    S, S_inv = lab.eye(r) * s, lab.eye(r) / s
    A = lab.mm(U[:, :r], S, lab.t(V[:, :r]))

    def inverse(K: Array, right: float, low: float, corner: float) -> Array:
        # X = V [K R; M N] Uᵀ: (1) is K = S⁻¹, (3) is R = 0, (4) is M = 0, (2) then is N = M S R.
        R, M, N = lab.normal(r, 3) * right, lab.normal(2, r) * low, lab.normal(2, 3) * corner
        rows = lab.xp.concat((lab.xp.concat((K, R), axis=1), lab.xp.concat((M, N), axis=1)), axis=0)
        return lab.mm(V, rows, lab.t(U))

    part = lab.array([1.0, 1.0, 0.0])
    cases = {
        (1, 2, 3, 4): inverse(S_inv, 0, 0, 0),
        (2, 3, 4): inverse(S_inv * part, 0, 0, 0),
        (1, 3, 4): inverse(S_inv, 0, 0, 1),
        (1, 2, 4): inverse(S_inv, 1, 0, 0),
        (1, 2, 3): inverse(S_inv, 0, 1, 0),
    }
    right = sum(satisfied_conditions(A, X) == set(conditions) for conditions, X in cases.items())
    closest = min(lab.distance(X, cases[1, 2, 3, 4]) for c, X in cases.items() if len(c) == 3)
    same = lab.distance(cases[1, 2, 3, 4], lab.pinv(A))
    return Measured(
        right == len(cases) and closest > 0.01 and same <= lab.tolerance(6, 4),
        f"{right} of {len(cases)} matrices satisfy exactly their conditions; those with three are {g(closest)} or "
        f"more from A⁺.",
        values={"as_built": right, "closest": closest},
    )


@claim(
    "P06",
    place="v1 §3; v2 §3",
    statement="With $h = Uy$, $\\hat{y} = Vh$, $\\hat{h} = U\\hat{y}$: $ΔU = U - UVU = σ^{-2} E[(h - \\hat{h})y^T]$.",
    verdict=verdicts.HOLDS,
    note="An identity, measured on patterns whose second moment is exactly $I$.",
)
def recirculation_in_expectation(lab: Lab) -> Measured:
    """Pass orthonormal patterns through the recirculation code of the rules and compare its step."""
    worst = 0.0
    for rows, columns in ((6, 7), (7, 6), (6, 6)):
        V, U = lab.matrix(rows, columns), lab.matrix(columns, rows)
        worst = max(worst, lab.distance(_expected_step(lab, V, U, lab.eye(rows)), U - lab.mm(U, V, U)))
    tolerance = lab.tolerance(20, 4)
    return Measured(lab.judge(worst, tolerance), f"The two sides differ by {g(worst)} at most.", values={"gap": worst})


def _expected_step(lab: Lab, V: Array, U: Array, C: Array) -> Array:
    """Return recirculation's step for patterns whose second moment is exactly CCᵀ."""
    N = 2 * V.shape[0]
    y = lab.mm(lab.orthonormal(N, V.shape[0]) * math.sqrt(N), lab.t(C))
    return recirculate(V, copy(U), y, 1.0) - U


def _residual(lab: Lab, A: Array, X: Array) -> Array:
    """Return I − AX, or I − XA where that is the smaller one."""
    wide = A.shape[0] <= A.shape[1]
    return lab.eye(min(A.shape)) - (lab.mm(A, X) if wide else lab.mm(X, A))


def _bic_figure(lab: Lab) -> Figure:
    curves = []
    for kappa in (2, 10, 100):
        A = lab.matrix(6, 6, 1 / kappa, 1.0)
        A = A / lab.norm2(A)
        result = ben_israel_cohen(A, lab.t(A))
        curves.append(Curve(f"σ from 1/{kappa} to 1", list(range(1, len(result.history) + 1)), result.history))
    return Figure("Relative change ‖XAX − X‖/‖X‖ of the iteration", "step", "change", curves, log_y=True)
