"""``rfnumeric audit``: the papers' claims, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rfnumeric.cli._options import AsJson, BackendName, DeviceName, DTypeName, Out, Overwrite


def audit(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Claims, e.g. J05. Default: all.")] = None,
    html: Annotated[Path | None, typer.Option(help="File for a self-contained page.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the drawn instances.")] = 0,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DTypeName = "float64",
    overwrite: Overwrite = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Measure the papers' claims and compare each with its recorded verdict; exit 1 if one is contradicted."""
    from rfnumeric.audit.cli import audit as job
    from rfnumeric.training.folder import claim, refuse_existing

    options = {"seed": seed, "dtype": dtype, "backend": backend, "device": device}
    with claim(out, command="audit", overwrite=overwrite) as folder:
        refuse_existing(html, "--html", overwrite)
        code = job(ids or [], **options, as_json=as_json, out=folder, html=html)
    raise typer.Exit(code)
