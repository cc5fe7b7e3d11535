"""Options of a command that depend on a rule, an optimizer or a network: read from their definitions, when named.

``rfnumeric train --rule rf-parallel --help`` lists the options of that rule in a panel of their own. A command class,
since only it sees the words of the command line before they are parsed.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from rfnumeric.settings import Setting, settings, summary
from rfnumeric.spelling import spell

KEY, EQUATIONS = "rfnumeric.settings", "rfnumeric.equations"


def _optimizers() -> dict[str, Any]:
    from rfnumeric.training.optimizers import OPTIMIZERS

    return OPTIMIZERS


def _rule(name: str) -> Any:
    from rfnumeric.rules.registry import rule_class

    return rule_class(name)


def _optimizer(name: str) -> Any:
    from rfnumeric.training.optimizers import get_optimizer

    return type(get_optimizer(name))


def _network(name: str) -> Any:
    from rfnumeric.nn import architecture

    return architecture(name)


GROUPS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "rule": ("backprop", _rule),
    "optimizer": ("sgd", _optimizer),
    "network": ("papers", _network),
}
"""Option that names what has options of its own → (its default, from a name to the class or function)."""


class SettingsCommand(TyperCommand):
    """A command whose ``--rule``, ``--optimizer`` and ``--network`` bring options of their own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read which rule and optimizer are meant, then parse with their options."""
        chosen = {group: _named(group, args) or default for group, (default, _) in GROUPS.items()}
        taken = {o for p in self.params for o in (*p.opts, *p.secondary_opts)}
        extras: list[Any] = []
        equations: list[str] = []
        for group, name in chosen.items():
            of = GROUPS[group][1](name)
            panel = f"Options of --{group} {name}"
            if _named(group, args):
                equations.append(f"{name}: {summary(of)}")
            extras += [_option(group, s, panel, taken) for s in settings(of)]
        ctx.meta[KEY] = extras = _parameters(extras)
        ctx.meta[EQUATIONS] = equations
        _check_known(args, chosen, taken | {o for p in extras for o in (*p.opts, *p.secondary_opts)})
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, with the equations of what was named."""
        shown = copy.copy(self)
        shown.help = "\n\n".join([self.help, *(spell(e, sys.stdout.encoding) for e in ctx.meta.get(EQUATIONS, ()))])
        super(SettingsCommand, shown).format_help(ctx, formatter)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's parameters, and those of what was named."""
        return [*super().get_params(ctx), *ctx.meta.get(KEY, ())]

    def invoke(self, ctx: Any) -> Any:
        """Hand the named options over in ``ctx.obj``, by group; the function knows the others alone."""
        given: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
        for parameter in ctx.meta.get(KEY, ()):
            group, _, name = parameter.name.partition("__")
            if (value := ctx.params.pop(parameter.name)) is not None:
                given[group][name] = value
        ctx.obj = given
        return super().invoke(ctx)


def _named(group: str, args: list[str]) -> str | None:
    flag, found = f"--{group}", None
    for i, word in enumerate(args):
        if word == flag and i + 1 < len(args):
            found = args[i + 1]
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found


def _option(group: str, setting: Setting, panel: str, taken: set[str]) -> inspect.Parameter:
    """Return a setting as a parameter of a function, as Typer reads them."""
    flag = "--" + setting.name.replace("_", "-")
    if flag in taken:
        flag = f"--{group}{flag[1:]}"
    declared = f"{flag}/--no-{flag[2:]}" if setting.kind is bool else flag
    kind: Any = str if setting.kind is tuple else setting.kind
    default = "none" if setting.default == "" else setting.default
    if setting.kind is bool:
        default = flag[2:] if setting.default else f"no-{flag[2:]}"
    text = spell(f"{setting.meaning} (default: {default})", sys.stdout.encoding)
    more = {"parser": _numbers(flag)} if setting.kind is tuple else {}
    option = typer.Option(declared, help=text, rich_help_panel=spell(panel, sys.stdout.encoding), **more)
    annotation = Annotated[kind | None, option]
    name = f"{group}__{setting.name}"
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _parameters(extras: list[inspect.Parameter]) -> list[Any]:
    """Return the parameters that Typer makes of those of a function."""

    def command(**given: Any) -> None:
        """Stand in for a function with these parameters."""

    command.__signature__ = inspect.Signature(extras)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in extras}
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return list(typer.main.get_command(app).params)


def _numbers(flag: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        from rfnumeric.cli._options import parse_numbers

        numbers = parse_numbers(flag, text)
        return numbers[0] if len(numbers) == 1 else numbers

    return parse


def _check_known(args: list[str], chosen: dict[str, str], known: set[str]) -> None:
    """Say whose option it is, where an option belongs to another rule or optimizer than the one named.

    Raises
    ------
    ValueError
        Names the option and those that have it.
    """
    for word in args:
        flag = word.partition("=")[0]
        if not flag.startswith("--") or flag in known or len(flag) < 3:
            continue
        name = flag[2:].removeprefix("no-").replace("-", "_")
        for group, have in (("rule", _rules_with(name)), ("optimizer", _optimizers_with(name))):
            if have:
                raise ValueError(f"{group} {chosen[group]!r} has no option {flag}; it belongs to {', '.join(have)}.")


def _rules_with(name: str) -> list[str]:
    from rfnumeric.rules import RULES

    return [rule for rule, cls in RULES.items() if any(s.name == name for s in settings(cls))]


def _optimizers_with(name: str) -> list[str]:
    return [o for o, cls in _optimizers().items() if any(s.name == name for s in settings(cls))]
