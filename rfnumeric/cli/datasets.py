"""``rfnumeric datasets``: list, fetch and verify."""

from __future__ import annotations

import typer

from rfnumeric.cli._options import AsJson, DataDir, Out, Overwrite

app = typer.Typer(help="List, fetch and verify data sets.", no_args_is_help=True)


@app.command("list")
def list_datasets(
    data_dir: DataDir = None, overwrite: Overwrite = False, out: Out = None, as_json: AsJson = False
) -> None:
    """List the data sets and say which are at hand."""
    from rfnumeric.experiments.data_report import publish_list
    from rfnumeric.training.folder import claim

    with claim(out, command="datasets list", overwrite=overwrite) as folder:
        publish_list(data_dir, out=folder, as_json=as_json)


@app.command("fetch")
def fetch(
    name: str, data_dir: DataDir = None, overwrite: Overwrite = False, out: Out = None, as_json: AsJson = False
) -> None:
    """Download what is missing of a data set, and resume a download that was cut short."""
    from rfnumeric.experiments.data_report import publish_fetch
    from rfnumeric.training.folder import claim

    with claim(out, command="datasets fetch", overwrite=overwrite) as folder:
        publish_fetch(name, data_dir, out=folder, as_json=as_json)


@app.command("verify")
def verify(
    name: str, data_dir: DataDir = None, overwrite: Overwrite = False, out: Out = None, as_json: AsJson = False
) -> None:
    """Compare a data set's files with the known checksums."""
    from rfnumeric.experiments.data_report import publish_verify
    from rfnumeric.training.folder import claim

    with claim(out, command="datasets verify", overwrite=overwrite) as folder:
        genuine = publish_verify(name, data_dir, out=folder, as_json=as_json)
    if not genuine:
        raise typer.Exit(1)
