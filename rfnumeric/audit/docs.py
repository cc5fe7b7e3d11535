"""The docs' page "What the papers get right and wrong", written from the registry; no number in it is typed by hand.

``python -m rfnumeric.audit.docs docs/audit.md`` writes it; a test fails where the page and the registry differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rfnumeric.audit.claim import SECTIONS, VERDICTS, Claim
from rfnumeric.audit.equations import EQUATIONS
from rfnumeric.audit.mathematics import plain
from rfnumeric.audit.run import all_claims
from rfnumeric.training.files import write_atomically


def markdown() -> str:
    """Return the page: verdicts, corrections and the index of equations, without the measured numbers.

    The numbers depend on the machine's rounding; `rfnumeric audit` produces them on the spot.
    """
    claims = all_claims()
    counts = {v: sum(c.verdict == v for c in claims) for v in VERDICTS}
    lines = [
        "# What the papers get right and wrong",
        "",
        "<!-- Written by `python -m rfnumeric.audit.docs docs/audit.md` from the registry of claims; edit the claims. "
        "-->",
        "",
        f"{len(claims)} statements of the two versions of the paper (v1, v2), each a check that `rfnumeric audit` "
        f"runs on drawn "
        "instances: "
        ""
        + ", ".join(f"{counts[v]} **{v}**" for v in VERDICTS)
        + ". A claim whose evidence contradicts its verdict makes "
        "the command fail.",
        "",
        "```console",
        "$ rfnumeric audit                     # all claims, a table on the terminal",
        "$ rfnumeric audit J07 --seed 3        # one claim in full, on other instances",
        "$ rfnumeric audit --html audit.html   # a page with the mathematics, figures and filters",
        "$ rfnumeric audit --json              # results with id, place, statement, verdict, evidence, ok",
        "```",
        "",
    ]
    for section, title in SECTIONS.items():
        lines += [
            f"## {title}",
            "",
            "| | where | statement | verdict | condition, correction, remark |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(c) for c in claims if c.section == section]
        lines.append("")
    lines += [
        "## The papers' displayed equations",
        "",
        "| v1 | v2 | equation | claims | code |",
        "|---|---|---|---|---|",
    ]
    for e in EQUATIONS:
        name = e.code.split(":")[1]
        lines.append(f"| {e.v1} | {e.v2} | {_cell(e.equation)} | {', '.join(e.claims)} | `{name}` |")
    return "\n".join(lines) + "\n"


def _row(claim: Claim) -> str:
    return f"| {claim.id} | {claim.place} | {_cell(claim.statement)} | **{claim.verdict}** | {_cell(claim.note)} |"


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def main(path: str) -> None:
    """Write the page to `path`."""
    write_atomically(Path(path), markdown().encode())


if __name__ == "__main__":
    main(sys.argv[1])
