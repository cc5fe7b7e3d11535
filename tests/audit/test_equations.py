"""A reader who has only the papers finds each displayed equation: in the registry by its section, and in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rfnumeric.audit import all_claims
from rfnumeric.audit.docs import markdown
from rfnumeric.audit.equations import EQUATIONS, code_object
from rfnumeric.audit.mathematics import plain

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ROOT.parent / "shared" / "papers"
CLAIMS = {c.id: c for c in all_claims()}


def sections(place: str, version: str) -> list[str]:
    """Return the sections of one version that a claim's place names."""
    found = []
    for part in place.split(";"):
        words = part.strip()
        if words.startswith(version):
            found += [s.strip() for s in words[len(version) :].split(",")]
    return found


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda e: f"{e.v1 or '-'}|{e.v2 or '-'}|{plain(e.equation)[:40]}")
def test_equation_is_audited_in_its_section_and_implemented(equation):
    assert equation.claims
    for version, section in (("v1", equation.v1), ("v2", equation.v2)):
        if section:
            places = [s for c in equation.claims for s in sections(CLAIMS[c].place, version)]
            # One claim at least stands under this section, or under a subsection of it.
            assert any(p.startswith(section) for p in places), (version, section, places)
    thing = code_object(equation.code)
    assert thing.__doc__, f"{equation.code} has no docstring"


def test_every_claim_that_quotes_an_equation_is_in_the_index():
    indexed = {c for e in EQUATIONS for c in e.claims}
    # Claims in words alone need no equation.
    quoting = {c.id for c in CLAIMS.values() if c.section == "jacobian" and "=" in c.statement and "$" in c.statement}
    assert quoting - indexed == set()


HEADINGS = {
    "§3": r"^3 LOCAL LEARNING",
    "§4": r"^4 TRAINING THE WHOLE",
    "§4.1": r"^4\.1 DERIVING",
    "§4.2": r"^4\.2 FINDING",
    "§5": r"^5 COMPUTATIONAL",
    "A.1": r"^A\.1 PROOF",
    "A.2": r"^A\.2 THE EXPECTED",
    "A.3": r"^A\.3 DETAILS",
    "A.4": r"^A\.4 COMPARISON",
}


def displayed_in_v1() -> dict[str, int]:
    """Count the displayed formulas of v1's text by section."""
    counts, section = dict.fromkeys(HEADINGS, 0), ""
    for line in (PAPERS / "reciprocal-feedback-v1.txt").read_text(encoding="utf-8").splitlines():
        section = next((s for s, pattern in HEADINGS.items() if re.match(pattern, line)), section)
        if section and line.startswith("$$"):
            counts[section] += 1
    return counts


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers' text is not here")
def test_no_displayed_equation_of_v1_is_missing():
    listed = {s: sum(e.v1 == s for e in EQUATIONS) for s in HEADINGS}
    assert listed == displayed_in_v1()


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers' text is not here")
def test_numbers_quoted_from_the_papers_are_in_their_text():
    from rfnumeric import published

    text = {v: (PAPERS / f"reciprocal-feedback-{v}.txt").read_text(encoding="utf-8") for v in ("v1", "v2")}
    names = {
        "backprop": r"Backprop\w*",
        "reciprocal": "Reciprocal",
        "feedback alignment": r"(Random|Feedback Alignment)",
    }
    names |= {"parallel": r"Reciprocal Feedback \(Parallel\)", "two-phase": r"Reciprocal Feedback \(Two-phase\)"}
    for version, rows in published.ACCURACY.items():
        for name, accuracy in rows.items():
            epochs = published.EPOCHS[version][name]
            cells = [str(table[d]) for d in ("MNIST", "CIFAR-10") for table in (accuracy, epochs)]
            assert re.search(rf"{names[name]}[\s|]+" + r"[\s|]+".join(map(re.escape, cells)), text[version]), (
                version,
                name,
            )
    for rates in published.OPTIMAL.values():
        for value in (v for values in rates.values() for v in values):
            assert f"{value:.9f}".rstrip("0") in text["v2"], value
    for version, captions in published.CAPTIONS.items():
        flat = " ".join(text[version].split())
        for number, words in captions.items():
            assert re.search(rf"Figure {number}:.{{0,300}}{re.escape(words)}", flat), (version, number)


def test_the_docs_page_is_the_registry():
    written = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    assert written == markdown(), "run: python -m rfnumeric.audit.docs docs/audit.md"
