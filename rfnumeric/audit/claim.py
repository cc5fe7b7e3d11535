"""What a claim is: a statement of the papers, the check that measures it, and the verdict that was recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rfnumeric.audit.figures import Figure
    from rfnumeric.audit.lab import Lab

HOLDS = "holds"
HOLDS_IF = "holds if …"
FAILS = "fails as printed"
OPEN = "open"
VERDICTS = (HOLDS, HOLDS_IF, FAILS, OPEN)
"""The four verdicts."""

UNDECIDED = "undecided"
"""What a measurement says that is neither zero nor a violation, or whose correction does not work: no verdict."""

SECTIONS = {
    "pseudoinverse": "Learning one pseudoinverse (§3)",
    "coupled": "The coupled rule (v1 A.3, v2 A.4)",
    "jacobian": "Jacobians (§4, §4.1)",
    "reciprocal": "Reciprocals (§4.2)",
    "theorem1": "Theorem 1 (§4; v1 A.1, v2 A.2)",
    "gauss-newton": "Gauss–Newton and target propagation (v1 A.4, v2 A.5, v2 §2.1)",
    "training": "Training and discussion (§5, §6)",
    "wording": "Counts, tables and wording",
}
"""Name of a section → its title, in the order of the report."""


@dataclass(frozen=True)
class Measured:
    """What a check found.

    Attributes
    ----------
    printed : bool or None
        Whether the statement holds as printed; None if the measurement is neither zero nor a clear violation.
    under_condition : bool or None
        Whether it holds under the condition that the papers do not state; None if no condition was measured.
    corrected : bool or None
        Whether the correction holds; None if none was measured.
    evidence : str
        One or two sentences with the measured numbers.
    values : dict
        Name → number, as measured.
    figure : Figure, optional
        Where a picture explains more than a number.
    open : bool
        That the measurement, whatever it is, cannot decide the statement at this scale.
    """

    printed: bool | None
    evidence: str
    under_condition: bool | None = None
    corrected: bool | None = None
    values: dict[str, float] = field(default_factory=dict)
    figure: Figure | None = None
    open: bool = False

    @property
    def verdict(self) -> str:
        """The verdict that this measurement supports."""
        if self.open:
            return OPEN
        if False in (self.under_condition, self.corrected) or self.printed is None:
            return UNDECIDED
        if self.printed:
            return HOLDS
        return HOLDS_IF if self.under_condition else FAILS


Check = Callable[["Lab"], Measured]


@dataclass(frozen=True)
class Claim:
    """A statement of the papers.

    Attributes
    ----------
    id : str
        Letter of the section and number, e.g. ``"J05"``.
    section : str
        One of `SECTIONS`.
    place : str
        Where the papers state it, e.g. ``"v1 §4.1; v2 §4.1"``.
    statement : str
        What they state, with mathematics between dollar signs.
    verdict : str
        Recorded verdict, one of `VERDICTS`.
    note : str
        The condition, the correction, or what the verdict rests on; in the same notation.
    check : callable
        Lab → Measured.
    """

    id: str
    section: str
    place: str
    statement: str
    verdict: str
    note: str
    check: Check

    @property
    def command(self) -> str:
        """How to measure this claim alone."""
        return f"rfnumeric audit {self.id}"


CLAIMS: dict[str, Claim] = {}
"""Id → claim, in the order of the papers' sections once every file of claims is imported."""


def claim(
    id: str, *, place: str, statement: str, verdict: str, note: str = "", section: str
) -> Callable[[Check], Check]:
    """Register the decorated check as the claim `id`. Arguments as the fields of `Claim`.

    Raises
    ------
    ValueError
        If the id is taken, or the verdict or the section is unknown.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"verdict must be one of {', '.join(VERDICTS)}; got {verdict!r}.")
    if section not in SECTIONS:
        raise ValueError(f"section must be one of {', '.join(SECTIONS)}; got {section!r}.")

    def register(check: Check) -> Check:
        if id in CLAIMS:
            raise ValueError(f"claim {id} is registered twice; give one of them another number.")
        CLAIMS[id] = Claim(id, section, place, statement, verdict, note, check)
        return check

    return register
