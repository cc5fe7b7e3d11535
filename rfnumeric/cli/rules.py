"""``rfnumeric rules``: the learning rules, their equations and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from rfnumeric.cli._options import AsJson


def rules(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A rule. Default: all, a line each.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the learning rules, or one rule's equation and options."""
    from rfnumeric.experiments.rules import publish

    publish(name, as_json=as_json)
