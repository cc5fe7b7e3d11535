"""The command line: ``rfnumeric`` and ``python -m rfnumeric``; a file a command, or a group of them.

Commands read their options here and import the rest when they run, so that ``--help`` is quick.
"""

from __future__ import annotations

import difflib
import sys
from typing import Annotated, Any

import typer

from rfnumeric._version import __version__
from rfnumeric.cli import audit, bench, compare, datasets, info, reproduce, rules, study, sweep, train
from rfnumeric.cli._options import EXIT_INTERRUPTED, EXIT_USAGE
from rfnumeric.errors import RFNumericError
from rfnumeric.spelling import spell, visible
from rfnumeric.terminal import failure, open_streams

app = typer.Typer(
    help="Reference engine for reciprocal (Moore-Penrose pseudoinverse) feedback in neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In the order in which --help lists them.
app.command()(compare.compare)
app.command(cls=train.TrainCommand)(train.train)
for command in (rules.rules, sweep.sweep, audit.audit, bench.bench, info.info):
    app.command()(command)
app.add_typer(reproduce.app, name="reproduce")
app.add_typer(datasets.app, name="datasets")
app.add_typer(study.app, name="study")

# What is wrong with a command line, in Click's words: Typer brings its own copy of Click from some version on.
_UsageError: Any = typer.BadParameter.__base__


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before any command."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error and exit code 2, a traceback with ``--debug``."""
    open_streams()
    given = sys.argv[1:] if arguments is None else arguments
    command, words = _command(), [a for a in given if a != "--debug"]
    try:
        code = command.main(words, prog_name="rfnumeric", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except (_UsageError, RFNumericError, ValueError, TypeError, OSError, OverflowError, MemoryError) as error:
        if len(words) < len(given):
            _show_traceback()
            sys.exit(EXIT_USAGE)
        code = _complain(error)
    code = code if isinstance(code, int) else 0
    if code == EXIT_INTERRUPTED:
        goes_on = _takes(command, words, "resume")
        hint = " The same command with --resume goes on from what --out holds." if goes_on else ""
        print(f"rfnumeric: interrupted.{hint}", file=sys.stderr)
    if (trouble := failure()) is not None:
        said = trouble.strerror or trouble
        print(f"rfnumeric: standard output: {said}; not all was printed. Files are whole.", file=sys.stderr)
        code = code or EXIT_USAGE
    sys.exit(code)


def _command() -> Any:
    """Return the whole command, its help spelled as far as standard output needs it."""
    command, encoding = typer.main.get_command(app), getattr(sys.stdout, "encoding", None) or "utf-8"
    todo = [command]
    while todo:
        one = todo.pop()
        todo += getattr(one, "commands", {}).values()
        for part in (one, *one.params):
            for name in ("help", "short_help"):
                if isinstance(text := getattr(part, name, None), str):
                    setattr(part, name, spell(text, encoding))
    return command


def _complain(error: Any) -> int:
    """Print the one line that an error is, and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # Click's way to print the help of a group without a command
        print(error.ctx.get_help())
        return EXIT_USAGE
    text = _of_usage(error) if isinstance(error, _UsageError) else str(error)
    text = " ".join(text.split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = f"not enough memory: {text.rstrip('.')}."
    print(f"rfnumeric: {visible(text)}", file=sys.stderr)
    return EXIT_USAGE


def _of_usage(error: Any) -> str:
    """Return what is wrong with a command line, and the command or option that may have been meant, or the help."""
    text, context = error.format_message().partition(" (Possible options")[0].partition(" Did you mean")[0], error.ctx
    if context is None:
        return text
    known = [*getattr(context.command, "commands", {})]
    known += [
        o for p in context.command.get_params(context) for o in (*p.opts, *p.secondary_opts) if o.startswith("--")
    ]
    wrong = getattr(error, "option_name", None) or text.partition("No such command '")[2].partition("'")[0]
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6) if wrong else []
    more = f"Did you mean {close[0]}?" if close else f"See {context.command_path} --help."
    return f"{text.rstrip('.')}. {more}"


def _takes(command: Any, words: list[str], option: str) -> bool:
    """Whether the command that `words` name has an option, and a folder that it could go on from."""
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    given = {p.name: p for p in command.params}
    return option in given and (given["out"].default is not None or any(w.startswith("--out") for w in words))


def _show_traceback() -> None:
    import traceback

    print(visible(traceback.format_exc()), end="", file=sys.stderr)
