"""Claims about Theorem 1 (Hildebrandt–Graves): its hypotheses, rate and limit, on systems whose M is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from rfnumeric.audit import claim as verdicts
from rfnumeric.audit.claim import Measured
from rfnumeric.audit.figures import Curve, Figure
from rfnumeric.audit.lab import VIOLATION, Lab, g
from rfnumeric.backend import to_float
from rfnumeric.calculus import jacobian, weight_reciprocal
from rfnumeric.calculus.newton import CONTRACTION, RADIUS, RECIPROCAL, certificate, hildebrandt_graves
from rfnumeric.typing import Array

claim = partial(verdicts.claim, section="theorem1")
Function = Callable[[Array], Array]


class System:
    """F(y) = Ay − b + m·sin(Cy) with CᵀC ≤ I, whose M is m exactly: known by construction, not estimated."""

    def __init__(self, lab: Lab, rows: int, columns: int, m: float, offset: float = 0.3, low: float = 0.5) -> None:
        self.lab, self.m = lab, m
        self.A = lab.matrix(rows, columns, low)
        self.C = lab.orthonormal(max(rows, columns), max(rows, columns))[:rows, :columns]
        self.b = lab.normal(rows)
        self.b = self.b * (offset / lab.norm(self.b))

    def __call__(self, y: Array) -> Array:
        """Return F(y)."""
        lab = self.lab
        return _mv(lab, self.A, y) - self.b + self.m * lab.xp.sin(_mv(lab, self.C, y))

    def jacobian(self, y: Array) -> Array:
        """Return F′(y)."""
        cosine = self.lab.xp.cos(_mv(self.lab, self.C, y))
        return self.A + self.m * cosine[:, None] * self.C

    def radius(self, T: Array, y0: Array) -> tuple[float, float]:
        """Return p = m‖T‖ and a radius just above ‖T‖‖F(y₀)‖/(1 − p)."""
        norm_T = self.lab.norm2(T)
        p = self.m * norm_T
        return p, 1.01 * norm_T * self.lab.norm(self(y0)) / (1 - p)


@claim(
    "T01",
    place="v1 §4, Theorem 1, A.1; v2 §4, Theorem 1, A.2",
    statement="If $TAy = y$ on $R(T)$, $‖A(y_1-y_2) - F(y_1) + F(y_2)‖ ≤ M‖y_1-y_2‖$, $M‖T‖ < 1$ and "
    "$‖T‖‖F(x, y_0)‖ < r(1 - M‖T‖)$, then $y_{t+1} = y_t - TF(x, y_t)$ converges in $B_r(y_0)$ to $TF(x, y^*) = 0$.",
    verdict=verdicts.HOLDS,
)
def converges(lab: Lab) -> Measured:
    """Iterate on systems of known M: linear, square, more equations than unknowns, and fewer."""
    worst, inside, certified = 0.0, True, True
    for shape, m in (((5, 5), 0.0), ((5, 5), 0.3), ((7, 4), 0.3), ((4, 7), 0.3)):
        F, y0 = System(lab, *shape, m), lab.xp.zeros_like(lab.normal(shape[1]))
        T = lab.pinv(F.A)
        _, r = F.radius(T, y0)
        check = certificate(F, F.A, T, y0, r, samples=16)
        result = hildebrandt_graves(F, T, y0)
        certified &= check.holds and check.M <= m + lab.difference_tolerance
        inside &= result.status == "converged" and lab.norm(result.value - y0) < r
        worst = max(worst, result.residual / r)
    return Measured(
        inside and certified and worst <= lab.tolerance(10),
        f"All four certified systems converge inside the ball; ‖TF(y*)‖/r is {g(worst)} at most.",
        values={"residual": worst},
    )


@claim(
    "T02",
    place="v1 A.1; v2 A.2",
    statement="$‖y_{k+1} - y_k‖ < p^k r(1-p)$ with $p = M‖T‖$.",
    verdict=verdicts.HOLDS,
)
def rate(lab: Lab) -> Measured:
    """Compare every step with the bound, M known by construction."""
    worst, curves = 0.0, []
    for m in (0.1, 0.3, 0.45):
        F, y0 = System(lab, 6, 6, m), lab.xp.zeros_like(lab.normal(6))
        T = lab.pinv(F.A)
        p, r = F.radius(T, y0)
        result = hildebrandt_graves(F, T, y0)
        bounds = [p**k * r * (1 - p) for k in range(len(result.steps))]
        above = [s / b for s, b in zip(result.steps, bounds, strict=True) if s > lab.tolerance(6) * r]
        worst = max(worst, *above)
        curves += [
            Curve(f"p = {p:.2g}", list(range(len(bounds))), result.steps),
            Curve(f"bound, p = {p:.2g}", list(range(len(bounds))), bounds),
        ]
    return Measured(
        worst < 1,
        f"The largest step is {g(worst)} of its bound.",
        values={"ratio": worst},
        figure=Figure("Steps and the bound pᵏ r(1 − p)", "k", "‖y_{k+1} − y_k‖", curves[-2:], log_y=True),
    )


@claim(
    "T03",
    place="v1 A.1; v2 A.2",
    statement="$G(x, y) = y - TF(x, y)$ satisfies $G(y_1) - G(y_2) = T(A(y_1-y_2) - F(y_1) + F(y_2))$ and "
    "$‖G(y_1) - G(y_2)‖ ≤ ‖T‖M‖y_1-y_2‖$ for $y_1, y_2 ∈ B_r(y_0) ∩ R(T)$.",
    verdict=verdicts.HOLDS,
    note="The first equality uses $TAy = y$ and needs $y_1 - y_2 ∈ R(T)$; off $R(T)$ it fails.",
)
def contraction(lab: Lab) -> Measured:
    """Check both lines for pairs in R(T), and the first for a pair outside."""
    F = System(lab, 4, 7, 0.3)
    T = lab.pinv(F.A)
    gap, largest, outside = 0.0, 0.0, math.inf
    for _ in range(20):
        y1, y2 = (_mv(lab, T, lab.normal(4)) for _ in range(2))
        left, right = _both_sides(lab, F, T, y1, y2)
        gap = max(gap, lab.norm(left - right) / lab.norm(y1 - y2))
        largest = max(largest, lab.norm(left) / (lab.norm2(T) * F.m * lab.norm(y1 - y2)))
        z1, z2 = lab.normal(7), lab.normal(7)
        left, right = _both_sides(lab, F, T, z1, z2)
        outside = min(outside, lab.norm(left - right) / lab.norm(z1 - z2))
    return Measured(
        gap <= lab.tolerance(10, 8) and largest <= 1 and outside > VIOLATION,
        f"On R(T) the sides differ by {g(gap)} and the quotient reaches {g(largest)} of the bound; off R(T) they "
        f"differ by {g(outside)} "
        "or more.",
        values={"gap": gap, "largest": largest, "outside": outside},
    )


@claim(
    "T04",
    place="v1 §4, Theorem 1; v2 §4, Theorem 1",
    statement="There exists a solution $y^*$ which for every $x ∈ X_0$ satisfies $TF(x, y^*) = 0$.",
    verdict=verdicts.FAILS,
    note="The quantifiers are exchanged: for every $x$ there is a $y^*(x)$, as the proof has it, $TF(x, y(x)) = 0$. "
    "One weight "
    "matrix that solves every sample is not promised.",
)
def order_of_quantifiers(lab: Lab) -> Measured:
    """Solve for eight x, and apply each solution to the other x."""
    F = System(lab, 5, 5, 0.2)
    T, y0 = lab.pinv(F.A), lab.xp.zeros_like(lab.normal(5))
    shifts = [lab.normal(5) * 0.2 for _ in range(8)]

    def at(shift: Array) -> Function:
        return lambda y: F(y) - shift

    solutions = [hildebrandt_graves(at(x), T, y0).value for x in shifts]
    own = max(lab.norm(_mv(lab, T, at(x)(y))) for x, y in zip(shifts, solutions, strict=True))
    best = min(max(lab.norm(_mv(lab, T, at(x)(y))) for x in shifts) for y in solutions)
    return Measured(
        lab.judge(best, lab.tolerance(10, 8)),
        f"‖TF(x, y(x))‖ is {g(own)} for each own solution; the best single one leaves {g(best)} for another x.",
        corrected=own <= lab.tolerance(10, 8),
        values={"own": own, "single": best},
    )


@claim(
    "T05",
    place="v1 §4, Theorem 1; v2 §4, Theorem 1",
    statement="$A : B_r(y_0) → R^k$ for $y_0 ∈ R^k$ and $F$ with values in $R^m$.",
    verdict=verdicts.FAILS,
    note="$A(y_1 - y_2)$ is added to $F$, so that $A$ maps into $R^m$, as the proof (v1 A.1, v2 A.2) has it.",
)
def codomain(lab: Lab) -> Measured:
    """Add A(y₁ − y₂) to F for both shapes of A."""
    F, y = System(lab, 3, 5, 0.1), lab.normal(5)
    printed = lab.fits(lambda: _mv(lab, lab.matrix(5, 5), y) - F(y), (3,))
    right = lab.fits(lambda: _mv(lab, lab.matrix(3, 5), y) - F(y), (3,))
    return Measured(
        printed,
        f"With k = 5, m = 3: a 5×5 A {'fits' if printed else 'does not fit'}, a 3×5 A "
        f"{'fits' if right else 'does not fit'}.",
        corrected=right,
        values={"k": 5.0, "m": 3.0},
    )


@claim(
    "T06",
    place="v1 A.1; v2 A.2",
    statement="$\\{y_k\\}$ is convergent in $B_r(y_0) ∩ R(T)$.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $y_0 ∈ R(T)$; otherwise in $B_r(y_0) ∩ (y_0 + R(T))$, for it is $y_{k+1} - y_k$ that lies in "
    "$R(T)$.",
)
def where_it_converges(lab: Lab) -> Measured:
    """Measure the part of the limit outside R(T) from starts inside and outside."""
    F = System(lab, 3, 6, 0.2)
    T = lab.pinv(F.A)
    start = 0.3 * lab.normal(6)
    off = {}
    for name, y0 in (("outside", start), ("inside", lab.mm(T, F.A, start[:, None])[:, 0])):
        limit = hildebrandt_graves(F, T, y0).value
        off[name] = _off_range(lab, T, limit) / lab.norm(limit)
        off[name + " shift"] = _off_range(lab, T, limit - y0) / lab.norm(limit - y0)
    tolerance = lab.tolerance(10, 8)
    return Measured(
        lab.judge(off["outside"], tolerance),
        f"Part of the limit off R(T): {g(off['outside'])} from y₀ outside, {g(off['inside'])} from inside; of y* − y₀: "
        f"{g(off['outside shift'])}.",
        under_condition=max(off["inside"], off["outside shift"], off["inside shift"]) <= tolerance,
        values=off,
    )


@claim(
    "T07",
    place="v1 A.1; v2 A.2",
    statement="If $N(T) ⊂ N(A^T)$, also $A^TF(x, y^*) = 0$.",
    verdict=verdicts.HOLDS,
    note="$T = A^+$ has it; another left inverse with another null space has not, and stops elsewhere.",
)
def null_space(lab: Lab) -> Measured:
    """Solve a least-squares problem with A⁺ and with another left inverse, both of which satisfy TAT = T."""
    F, y0 = System(lab, 7, 3, 0.0, offset=1.0), lab.xp.zeros_like(lab.normal(3))
    T = lab.pinv(F.A)
    Z = lab.normal(3, 7)
    other = T + Z - lab.mm(Z, F.A, T)
    slopes, flags, residual = [], [], 0.0
    for X in (T, other):
        check = certificate(F, F.A, X, y0, 100.0, samples=8)
        value = F(hildebrandt_graves(F, X, y0).value)
        flags.append(check.null_space)
        slopes.append(lab.norm(_mv(lab, lab.t(F.A), value)) / (lab.norm2(F.A) * lab.norm(value)))
        residual = max(residual, lab.norm(_mv(lab, X, value)))
    return Measured(
        flags == [True, False]
        and slopes[0] <= lab.tolerance(7, 16)
        and slopes[1] > VIOLATION
        and residual <= lab.tolerance(7, 16) * (1 + lab.norm2(other)),
        f"Relative gradient at the limit: {g(slopes[0])} with A⁺, {g(slopes[1])} with another left inverse (TF = 0 in "
        f"both).",
        values={"pinv": slopes[0], "other": slopes[1]},
    )


@claim(
    "T08",
    place="v1 A.1; v2 A.2",
    statement="$A^TF(x, y^*) = 0$ means that the minima are the same as those of gradient descent.",
    verdict=verdicts.HOLDS_IF,
    note="Holds if $F$ is linear or $F(x, y^*) = 0$. Gradient descent stops where $F'(y^*)^TF(y^*) = 0$, while $A$ is "
    "the "
    "Jacobian at the start, and is held.",
)
def same_minima(lab: Lab) -> Measured:
    """Compare F′(y*)ᵀF at the limit for a linear, a nonlinear and a consistent least-squares problem."""
    slopes: dict[str, float] = {}
    for name in ("linear", "nonlinear", "consistent") * 12:
        F, y0 = System(lab, 7, 3, 0.0 if name == "linear" else 0.35, 3.0, low=1.0), lab.xp.zeros_like(lab.normal(3))
        if name == "consistent":
            F.b = F.b + F(0.5 * lab.normal(3))
        A = F.jacobian(y0)
        limit = hildebrandt_graves(F, lab.pinv(A), y0).value
        value, J, scale = F(limit), F.jacobian(limit), lab.norm2(A) * lab.norm(F(y0))
        for key, matrix in ((name, J), (name + " A", A)):
            slopes[key] = max(slopes.get(key, 0.0), lab.norm(_mv(lab, lab.t(matrix), value)) / scale)
    tolerance = lab.tolerance(10, 16)
    return Measured(
        lab.judge(slopes["nonlinear"], tolerance),
        f"Relative gradient at the limit: linear {g(slopes['linear'])}, with a root {g(slopes['consistent'])}, "
        f"nonlinear without root "
        f"{g(slopes['nonlinear'])} (there AᵀF is {g(slopes['nonlinear A'])}).",
        under_condition=max(slopes["linear"], slopes["consistent"], slopes["nonlinear A"]) <= tolerance,
        values=slopes,
    )


@claim(
    "T09",
    place="v1 §4, Theorem 1; v2 §4, Theorem 1",
    statement="$TAy = y$ for the left reciprocal $T$, for every $y ∈ B_r(y_0)$ where $y ∈ R(T)$.",
    verdict=verdicts.HOLDS,
    note="On $R(T)$ it says $TAT = T$, which any {2}-inverse has. For a reciprocal of full row rank $TAy ≠ y$ "
    "elsewhere.",
)
def reciprocal_on_its_range(lab: Lab) -> Measured:
    """Apply TA to y inside and outside R(T) for the reciprocals of a contracting network."""
    s = lab.sample((9, 8, 6, 4))
    inside, outside = 0.0, math.inf
    for l in range(1, s.L + 1):
        A, T = jacobian(s.network, s.trace, l)[0, ...], weight_reciprocal(s.network, s.trace, l)[0, ...]
        y, z = lab.mm(T, lab.normal(4, 1)), lab.normal(A.shape[1], 1)
        inside = max(inside, lab.distance(lab.mm(T, A, y), y))
        outside = min(outside, lab.distance(lab.mm(T, A, z), z))
    return Measured(
        inside <= lab.tolerance(9, 32) and outside > VIOLATION,
        f"TAy misses y by {g(inside)} on R(T), by {g(outside)} or more elsewhere.",
        values={"inside": inside, "outside": outside},
    )


@claim(
    "T10",
    place="v1 §4; v2 §4",
    statement="The hypotheses are what makes the iteration converge: where one fails, it may fail.",
    verdict=verdicts.HOLDS,
    note="They are sufficient, not necessary: an iteration can converge with $M‖T‖ > 1$.",
)
def failing_hypotheses(lab: Lab) -> Measured:
    """Break the contraction, the reciprocal, and show a convergent iteration whose certificate fails."""
    y0 = lab.array([0.0])
    A = lab.array([[1.0]])

    def wavy(y: Array) -> Array:
        return y + 3 * lab.xp.sin(y) - 5.0

    no_contraction = certificate(wavy, A, A, y0, 20.0, samples=64)
    first = hildebrandt_graves(wavy, A, y0)

    def line(y: Array) -> Array:
        return y - 1.0

    no_reciprocal = certificate(line, A, 3 * A, y0, 20.0, samples=8)
    second = hildebrandt_graves(line, 3 * A, y0)

    def steep(y: Array) -> Array:
        return y - 0.9 * lab.xp.cos(2 * y)

    # M‖T‖ = 1.8 on a ball of this size, and yet the iteration converges (to a root where the slope is gentle).
    T = lab.array([[0.5]])
    doubtful = certificate(steep, lab.array([[2.0]]), T, y0, 3.0, samples=64)
    third = hildebrandt_graves(steep, T, y0)
    named = (
        CONTRACTION in no_contraction.failed
        and RECIPROCAL in no_reciprocal.failed
        and CONTRACTION in doubtful.failed
        and RADIUS in no_contraction.failed
    )
    return Measured(
        named and first.status != "converged" and second.status == "diverged" and third.status == "converged",
        f"M‖T‖ = {g(no_contraction.p)}: {first.status.replace('_', ' ')} reached without converging; TA = 3: "
        f"{second.status}; "
        f"M‖T‖ = {g(doubtful.p)}: {third.status} all the same.",
        values={"p": no_contraction.p, "p_convergent": doubtful.p},
    )


@claim(
    "T15",
    place="v1 A.1; v2 A.2",
    statement="With the vector 2-norm and the spectral norm, $‖Ax‖ ≤ ‖A‖‖x‖$.",
    verdict=verdicts.HOLDS,
    note="Equality at the first right singular vector: no smaller norm of $A$ would do.",
)
def compatible_norms(lab: Lab) -> Measured:
    """Take the largest quotient over drawn vectors, and the quotient at the first singular vector."""
    drawn, attained = 0.0, 1.0
    for shape in ((6, 4), (4, 6), (5, 5)):
        A = lab.matrix(*shape)
        x = lab.normal(shape[1], 200)
        Ax, size = (lab.xp.linalg.vector_norm(v, axis=0) for v in (lab.mm(A, x), x))
        drawn = max(drawn, to_float(lab.xp.max(Ax / size)) / lab.norm2(A))
        first = lab.t(lab.xp.linalg.svd(A, full_matrices=False)[2])[:, :1]
        attained = min(attained, lab.norm(lab.mm(A, first)) / lab.norm2(A))
    return Measured(
        drawn <= 1 + lab.tolerance(6) and attained >= 1 - lab.tolerance(6),
        f"‖Ax‖/(‖A‖‖x‖) is {drawn:.3f} at most over 600 vectors, {attained:.6f} at the singular vector.",
        values={"drawn": drawn, "attained": attained},
    )


@claim(
    "T16",
    place="v1 A.1; v2 A.2",
    statement="For any $y ∈ B_r(y_0)$, $G(x, y) ∈ B_r(G(x, y_0))$.",
    verdict=verdicts.HOLDS,
    note="Within $pr$, and so, by hypothesis 2, within $r$ of $y_0$: $G$ maps the ball into itself, which the proof "
    "needs and does "
    "not say.",
)
def ball_into_itself(lab: Lab) -> Measured:
    """Map 100 points of the ball, near its surface, by G."""
    F, y0 = System(lab, 5, 5, 0.3), lab.xp.zeros_like(lab.normal(5))
    T = lab.pinv(F.A)
    p, r = F.radius(T, y0)
    centre = y0 - _mv(lab, T, F(y0))
    moved, home = 0.0, 0.0
    for _ in range(100):
        step = lab.normal(5)
        y = y0 + (0.999 * r / lab.norm(step)) * step
        image = y - _mv(lab, T, F(y))
        moved, home = max(moved, lab.norm(image - centre) / r), max(home, lab.norm(image - y0) / r)
    return Measured(
        moved <= p + lab.tolerance(5) and home < 1,
        f"G moves them to within {moved:.2f} r of G(y₀), where p = {p:.2f}, and within {home:.2f} r of y₀.",
        values={"from_image": moved, "from_start": home, "p": p},
    )


def _mv(lab: Lab, A: Array, y: Array) -> Array:
    return lab.mm(A, y[:, None])[:, 0]


def _both_sides(lab: Lab, F: System, T: Array, y1: Array, y2: Array) -> tuple[Array, Array]:
    """Return G(y₁) − G(y₂) and T(A(y₁ − y₂) − F(y₁) + F(y₂))."""
    left = (y1 - _mv(lab, T, F(y1))) - (y2 - _mv(lab, T, F(y2)))
    return left, _mv(lab, T, _mv(lab, F.A, y1 - y2) - F(y1) + F(y2))


def _off_range(lab: Lab, T: Array, y: Array) -> float:
    return lab.norm(y - lab.mm(T, lab.pinv(T), y[:, None])[:, 0])
