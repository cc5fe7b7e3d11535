"""Run the audit: measure claims, compare each with its recorded verdict, and give the results as JSON types."""

from __future__ import annotations

import difflib
import importlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rfnumeric.audit.claim import CLAIMS, SECTIONS, UNDECIDED, Claim, Measured
from rfnumeric.audit.lab import Lab
from rfnumeric.audit.mathematics import plain
from rfnumeric.backend import Backend, get_backend

FILES = (
    "pseudoinverse",
    "recirculation",
    "coupled",
    "jacobian",
    "reciprocal",
    "updates",
    "theorem1",
    "hypotheses",
    "gauss_newton",
    "training",
    "wording",
)
"""Files of claims, in the order of the papers' sections."""

Progress = Callable[[int, int, Claim], None]
"""Called before each check with (number from 1, how many, claim)."""


@dataclass(frozen=True)
class Result:
    """One claim, measured.

    Attributes
    ----------
    claim : Claim
    measured : Measured
    seconds : float
        Time of the check.
    options : str
        Options of the command that are not the default ones.
    """

    claim: Claim
    measured: Measured
    seconds: float
    options: str = ""

    @property
    def ok(self) -> bool:
        """Whether the measurement supports the recorded verdict."""
        return self.measured.verdict == self.claim.verdict

    @property
    def command(self) -> str:
        """The command that measures this claim again on the same instances."""
        return self.claim.command + self.options

    def to_json(self) -> dict[str, Any]:
        """Return the object of ``results``: `id`, `place`, `statement`, `verdict`, `evidence`, `ok`, and more."""
        claim, measured = self.claim, self.measured
        return {
            "id": claim.id,
            "section": claim.section,
            "place": claim.place,
            "statement": plain(claim.statement),
            "verdict": claim.verdict,
            "measured_verdict": measured.verdict,
            "note": plain(claim.note),
            "evidence": measured.evidence,
            "values": {name: float(value) for name, value in measured.values.items()},
            "ok": self.ok,
            "seconds": self.seconds,
            "command": self.command,
        }


def all_claims() -> list[Claim]:
    """Return every registered claim, by section and id."""
    for name in FILES:
        importlib.import_module(f"rfnumeric.audit.{name}")
    order = list(SECTIONS)
    return sorted(CLAIMS.values(), key=lambda c: (order.index(c.section), c.id))


def select(ids: Iterable[str]) -> list[Claim]:
    """Return the claims with these ids (any case), or all if there are none.

    Raises
    ------
    ValueError
        If an id is unknown; the message names close ones.
    """
    claims = {c.id: c for c in all_claims()}
    wanted = [i.upper() for i in ids]
    unknown = [i for i in wanted if i not in claims]
    if unknown:
        close = difflib.get_close_matches(unknown[0], claims, n=3, cutoff=0.3)
        raise ValueError(
            f"ID must be one of the {len(claims)} claims, e.g. {', '.join(close or list(claims)[:3])}; got "
            f"{unknown[0]!r}. "
            "`rfnumeric audit` lists them all."
        )
    return [claims[i] for i in dict.fromkeys(wanted)] or list(claims.values())


def run_audit(
    ids: Iterable[str] = (),
    *,
    seed: int = 0,
    dtype: str = "float64",
    backend: str | Backend = "numpy",
    device: str | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """Measure claims on instances drawn from `seed`.

    Parameters
    ----------
    ids : iterable of str
        Claims to measure; all if empty.
    seed : int
    dtype : {"float64", "float32"}
    backend : str or Backend
        See `rfnumeric.backend.get_backend`.
    device : str, optional
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    list of Result
        In the order of the sections. A check that raises is a result that is not ok.

    Raises
    ------
    ValueError
        If an id, the backend, the device or the dtype is unknown.

    Examples
    --------
    >>> [result.ok for result in run_audit(["J05", "w01"])]
    [True, True]
    """
    chosen = select(ids)
    place = get_backend(backend, device, dtype)
    given = {"seed": (seed, 0), "dtype": (place.dtype_name, "float64"), "backend": (place.name, "numpy")}
    options = "".join(f" --{name} {value}" for name, (value, default) in given.items() if value != default)
    options += f" --device {device}" if device else ""
    results = []
    for number, claim in enumerate(chosen, 1):
        if progress:
            progress(number, len(chosen), claim)
        started = time.perf_counter()
        measured = _measure(claim, Lab(seed, place, claim.id))
        results.append(Result(claim, measured, time.perf_counter() - started, options))
    return results


def _measure(claim: Claim, lab: Lab) -> Measured:
    try:
        return claim.check(lab)
    except Exception as error:
        # One broken check must not hide the others' results; it is reported and makes the command fail.
        return Measured(None, f"The check raised {type(error).__name__}: {error}")


def summary(results: list[Result]) -> dict[str, int]:
    """Return how many claims have each recorded verdict, and how many of the measurements disagree."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.claim.verdict] = counts.get(result.claim.verdict, 0) + 1
    contradicted = sum(not r.ok for r in results)
    return {**counts, "contradicted": contradicted, UNDECIDED: sum(r.measured.verdict == UNDECIDED for r in results)}
