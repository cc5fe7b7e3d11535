"""``rfnumeric info``: what there is on this machine."""

from __future__ import annotations

from rfnumeric.cli._options import AsJson, Out


def info(out: Out = None, as_json: AsJson = False) -> None:
    """Print versions, BLAS and threads, backends and GPUs."""
    from rfnumeric.experiments.info import publish

    publish(out=out, as_json=as_json)
