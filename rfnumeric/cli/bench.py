"""``rfnumeric bench``: timings beside bounds, peers and targets."""

from __future__ import annotations

from typing import Annotated

import typer

from rfnumeric.cli._options import AsJson, Out, Overwrite


def bench(
    topics: Annotated[list[str] | None, typer.Argument(help="Files of benchmarks/, e.g. steps. Default: all.")] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="numpy, cupy or torch; may be repeated. Default: those usable here.")
    ] = None,
    peers: Annotated[bool, typer.Option(help="Also time PyTorch, SciPy and NumPy at the same work.")] = True,
    quick: Annotated[bool, typer.Option(help="Small sizes and few rounds: a minute or so, to try it out.")] = False,
    threads: Annotated[
        int | None, typer.Option(max=4096, help="Threads of every library. Default: one a core.")
    ] = None,
    overwrite: Overwrite = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Time kernels, steps, epochs, populations and inverses beside bounds, peers and targets; exit 1 if some failed."""
    from rfnumeric.bench import run as job
    from rfnumeric.training.folder import claim

    options = {"backends": backend or [], "peers": peers, "quick": quick, "threads": threads, "as_json": as_json}
    with claim(out, command="bench", overwrite=overwrite) as folder:
        document = job.publish(topics or [], out=folder, **options)
    if any(reason.startswith(job.FAILED) for reason in document["not_measured"].values()):
        raise typer.Exit(1)
