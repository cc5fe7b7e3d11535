"""The command ``rfnumeric audit``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from rfnumeric.audit.claim import Claim
from rfnumeric.audit.page import page
from rfnumeric.audit.report import document, print_results
from rfnumeric.audit.run import Result, run_audit, select
from rfnumeric.terminal import Screen, bars
from rfnumeric.training.files import plain, write_atomically, write_json
from rfnumeric.training.folder import begin


def audit(
    ids: list[str],
    *,
    seed: int = 0,
    dtype: str = "float64",
    backend: str = "numpy",
    device: str | None = None,
    as_json: bool = False,
    out: Path | None = None,
    html: Path | None = None,
) -> int:
    """Run the audit and report it.

    Parameters
    ----------
    ids : list of str
        Claims to measure; all if empty.
    seed : int
    dtype, backend, device : str
    as_json : bool
        Print JSON to standard output; the table then goes to standard error.
    out : Path, optional
        Folder for ``results.json``.
    html : Path, optional
        File for the page.

    Returns
    -------
    int
        Exit code: 1 if a claim's evidence contradicts its recorded verdict, else 0.

    Raises
    ------
    ValueError
        If an option is unknown.
    """
    select(ids)
    results = _run(ids, seed=seed, dtype=dtype, backend=backend, device=device)
    settings = {"seed": seed, "dtype": dtype, "backend": backend, "device": device}
    found = document(results, settings)
    if out is not None:
        begin(out)
        write_json(out / "results.json", found)
    if html is not None:
        write_atomically(html, page(results, found).encode())
    if as_json:
        json.dump(plain(found), sys.stdout, indent=2)
        sys.stdout.write("\n")
    print_results(results, Screen(stderr=as_json))
    return 0 if all(r.ok for r in results) else 1


def _run(ids: list[str], **settings: object) -> list[Result]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with bars(*columns) as bar:
        task = bar.add_task("")

        def progress(number: int, total: int, claim: Claim) -> None:
            bar.update(task, description=f"{claim.id} ({number} of {total})")

        return run_audit(ids, progress=progress, **settings)  # type: ignore[arg-type]
