"""The command line: ``rfnumeric`` and ``python -m rfnumeric``; a file a command, or a group of them.

Commands read their options here and import the rest when they run, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rfnumeric._version import __version__
from rfnumeric.cli import audit, bench, compare, datasets, info, reproduce, study, sweep, train
from rfnumeric.cli._options import EXIT_USAGE
from rfnumeric.errors import RFNumericError

app = typer.Typer(
    help="Reference engine for reciprocal (Moore-Penrose pseudoinverse) feedback in neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In the order in which --help lists them.
for command in (compare.compare, train.train, sweep.sweep, audit.audit, bench.bench, info.info):
    app.command()(command)
app.add_typer(reproduce.app, name="reproduce")
app.add_typer(datasets.app, name="datasets")
app.add_typer(study.app, name="study")


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Take the options that stand before any command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error and exit code 2, a traceback with ``--debug``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        typer.main.get_command(app)([a for a in arguments if a != "--debug"], prog_name="rfnumeric")
    except (RFNumericError, ValueError, TypeError, OSError) as error:
        if debug:
            raise
        print(f"rfnumeric: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
