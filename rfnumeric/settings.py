"""What a rule, an optimizer or a network can be told: its options with their meaning, read from where they are defined.

A dataclass's fields are its options, and the ``Attributes`` of its docstring say what they mean; a function's
parameters with defaults and its ``Parameters`` likewise. So no option is written down twice.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

SECTION = re.compile(r"^(\w[\w ]*)\n-+$", re.MULTILINE)
ENTRY = re.compile(r"^(?P<names>[\w, *]+?)(?: : (?P<kind>[^\n]*))?\n(?P<text>(?:(?: {4}.*)?\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Setting:
    """One option.

    Attributes
    ----------
    name : str
    kind : type
        Of its value: bool, int, float, str, or tuple for one number or several.
    default : object
    meaning : str
        One line.
    choices : tuple of str
        The values of a text that takes a few alone.
    """

    name: str
    kind: type
    default: Any
    meaning: str
    choices: tuple[str, ...] = ()


def summary(of: type | Callable[..., Any]) -> str:
    """Return the first line of a docstring, which states a rule's equation."""
    return (inspect.getdoc(of) or "").partition("\n")[0]


def settings(of: type | Callable[..., Any]) -> list[Setting]:
    """Return the options of a dataclass or of a function with their meaning.

    Parameters
    ----------
    of : type or callable
        With a numpydoc docstring.

    Returns
    -------
    list of Setting
        In the order of definition; those of other kinds than `Setting.kind` lists are left out.

    Examples
    --------
    >>> from rfnumeric.rules import PseudoBackprop
    >>> [(s.name, s.kind.__name__, s.default) for s in settings(PseudoBackprop)]
    [('refresh_every', 'int', 20), ('pinv', 'str', 'auto'), ('weight_damping', 'float', 0.0)]
    """
    hints = typing.get_type_hints(of)
    if is_dataclass(of):
        given = {f.name: f.default for f in fields(of) if f.default is not MISSING}
    else:
        parameters = inspect.signature(of).parameters.values()
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
    told = _entries(of)
    found = []
    for name, default in given.items():
        kind = _kind(hints.get(name))
        if kind is not None:
            declared, meaning = told.get(name, ("", ""))
            found.append(Setting(name, kind, default, meaning, _choices(declared)))
    return found


def _kind(hint: Any) -> type | None:
    if hint in (bool, int, float, str):
        return hint
    several = any(typing.get_origin(part) is tuple for part in typing.get_args(hint))
    return tuple if several and float in typing.get_args(hint) else None


def _entries(of: Any) -> dict[str, tuple[str, str]]:
    """Return name → (declared type, meaning in one line) of a docstring's attributes or parameters."""
    text = inspect.getdoc(of) or ""
    parts = SECTION.split(text)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    found = {}
    body = sections.get("Attributes" if isinstance(of, type) else "Parameters", "").strip("\n") + "\n"
    for entry in ENTRY.finditer(body):
        meaning, declared = " ".join(entry["text"].split()), entry["kind"] or ""
        other = re.fullmatch(r"See `(\w+)`\.", meaning)
        elsewhere = _entries_of_name(of, other[1]) if other else {}
        for name in map(str.strip, entry["names"].split(",")):
            found[name] = elsewhere.get(name, (declared, meaning))
    return found


def _entries_of_name(of: Any, name: str) -> dict[str, tuple[str, str]]:
    """Return the entries of a class that a docstring refers to, from the package of the one that refers to it."""
    package = of.__module__.rpartition(".")[0]
    other = getattr(sys.modules.get(package), name, None)
    return {} if other is None else _entries(other)


def _choices(declared: str) -> tuple[str, ...]:
    return tuple(re.findall(r'"([^"]*)"', declared)) if declared.startswith("{") else ()
