"""``rfnumeric datasets``: list, fetch and verify."""

from __future__ import annotations

import typer

from rfnumeric.cli._options import AsJson, DataDir, Out

app = typer.Typer(help="List, fetch and verify data sets.", no_args_is_help=True)


@app.command("list")
def list_datasets(data_dir: DataDir = None, out: Out = None, as_json: AsJson = False) -> None:
    """List the data sets and say which are at hand."""
    from rfnumeric.experiments.data_report import publish_list

    publish_list(data_dir, out=out, as_json=as_json)


@app.command("fetch")
def fetch(name: str, data_dir: DataDir = None, out: Out = None, as_json: AsJson = False) -> None:
    """Download what is missing of a data set, and resume a download that was cut short."""
    from rfnumeric.experiments.data_report import publish_fetch

    publish_fetch(name, data_dir, out=out, as_json=as_json)


@app.command("verify")
def verify(name: str, data_dir: DataDir = None, out: Out = None, as_json: AsJson = False) -> None:
    """Compare a data set's files with the known checksums."""
    from rfnumeric.experiments.data_report import publish_verify

    if not publish_verify(name, data_dir, out=out, as_json=as_json):
        raise typer.Exit(1)
