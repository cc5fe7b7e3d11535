"""``rfnumeric info``: what there is on this machine."""

from __future__ import annotations

from rfnumeric.cli._options import AsJson, Out, Overwrite


def info(overwrite: Overwrite = False, out: Out = None, as_json: AsJson = False) -> None:
    """Print versions, BLAS and threads, backends and GPUs."""
    from rfnumeric.experiments.info import publish
    from rfnumeric.training.folder import claim

    with claim(out, command="info", overwrite=overwrite) as folder:
        publish(out=folder, as_json=as_json)
