"""The learning rules as a table, and one of them with its options."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from rfnumeric.rules import rule_names
from rfnumeric.rules.registry import rule_class
from rfnumeric.settings import settings, summary
from rfnumeric.terminal import Screen


def publish(name: str | None, *, as_json: bool) -> None:
    """Print all rules with their equations, or one with its options.

    Parameters
    ----------
    name : str, optional
    as_json : bool
        Print JSON instead.
    """
    found = [_described(rule) for rule in ((name,) if name else rule_names())]
    if as_json:
        print(json.dumps({"results": found}, indent=2))
        return
    screen, table = Screen(), Table(show_lines=True)
    if name is None:
        for column in ("Rule", "What it sends back"):
            table.add_column(column)
        for rule in found:
            table.add_row(rule["rule"], rule["equation"])
        screen.print(table)
        screen.print("Options of a rule: rfnumeric rules NAME")
        return
    screen.print(f"{name}: {found[0]['equation']}")
    for column in ("Option", "Default", "Meaning"):
        table.add_column(column)
    for option in found[0]["options"]:
        meaning = (
            f"{option['meaning']} One of {', '.join(option['choices'])}." if option["choices"] else option["meaning"]
        )
        table.add_row("--" + option["name"].replace("_", "-"), str(option["default"]), meaning)
    if table.row_count:
        screen.print(table)
    else:
        screen.print("It has no options.")


def _described(name: str) -> dict[str, Any]:
    cls = rule_class(name)
    options = [
        {"name": s.name, "default": s.default, "meaning": s.meaning, "choices": list(s.choices)} for s in settings(cls)
    ]
    return {"rule": name, "equation": summary(cls), "options": options}
