"""Rules by name: those of this package, of other packages' entry points, and of this process."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from rfnumeric import plugins
from rfnumeric.errors import PluginError
from rfnumeric.rules.backprop import Backprop
from rfnumeric.rules.batch_reciprocal import BatchReciprocal
from rfnumeric.rules.feedback_alignment import FeedbackAlignment
from rfnumeric.rules.interface import Rule
from rfnumeric.rules.mean_reciprocal import MeanReciprocal
from rfnumeric.rules.mean_reciprocal_learned import MeanReciprocalLearned
from rfnumeric.rules.pseudo_backprop import PseudoBackprop
from rfnumeric.rules.rf_parallel import RFParallel
from rfnumeric.rules.rf_two_phase import RFTwoPhase

RULES: dict[str, type[Rule]] = {
    cls.name: cls
    for cls in (
        Backprop,
        FeedbackAlignment,
        RFTwoPhase,
        RFParallel,
        PseudoBackprop,
        MeanReciprocal,
        MeanReciprocalLearned,
        BatchReciprocal,
    )
}
"""Name → class of this package's rules."""

_registered: dict[str, type[Rule]] = {}


def register(cls: type[Rule]) -> type[Rule]:
    """Make a rule known under its name in this process; a class decorator. `RunConfig` does it for a rule object.

    Parameters
    ----------
    cls : type
        A dataclass derived from `Rule`, with a `name` of its own.

    Raises
    ------
    TypeError
        If it is no class derived from `Rule`.
    ValueError
        If it has no name, or the name of another rule.
    """
    if not (isinstance(cls, type) and issubclass(cls, Rule)):
        raise TypeError(f"a rule must be a class derived from rfnumeric.rules.Rule; got {cls!r}.")
    if not cls.name:
        raise ValueError(f"rule {cls.__qualname__} must have a name; set the class variable `name`.")
    other = _class(cls.name)
    # A class that a notebook's cell defines anew takes the place of the old one.
    if other is not None and other is not cls and _place(other) != _place(cls):
        raise ValueError(f"rule {cls.name!r} of {_place(cls)} has the name of {_place(other)}; choose another.")
    if other is not cls:
        _registered[cls.name] = cls
    return cls


def rule_names() -> tuple[str, ...]:
    """Return the names of all rules: this package's, then those of other packages and of this process."""
    return tuple(dict.fromkeys((*RULES, *plugins.found(plugins.RULES), *_registered)))


def rule_class(name: str) -> type[Rule]:
    """Return the class of the rule called `name`.

    Raises
    ------
    ValueError
        If there is none.
    """
    cls = _class(name)
    if cls is None:
        raise ValueError(
            f"rule must be one of {', '.join(rule_names())}; got {name!r}. A rule of another package must be "
            "installed, or be passed as an object."
        )
    return cls


def _class(name: str) -> type[Rule] | None:
    if name in RULES or name in _registered:
        return RULES.get(name) or _registered[name]
    if name not in plugins.found(plugins.RULES):
        return None
    cls = plugins.load(plugins.RULES, name)
    if not (isinstance(cls, type) and issubclass(cls, Rule) and cls.name == name):
        raise PluginError(f"entry point {name!r} of {plugins.RULES} must be a Rule class of that name; got {cls!r}.")
    return cls


def _place(cls: type[Rule]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def get_rule(name: str | Rule, **options: Any) -> Rule:
    """Return the rule called `name` with its options.

    Parameters
    ----------
    name : str or Rule
        One of `rule_names`; a rule is returned as it is.
    **options
        The rule's fields; see its class.

    Raises
    ------
    ValueError
        If the rule or one of the options is unknown, or an option is out of range, or several values are given for
        one that takes one alone.

    Examples
    --------
    >>> get_rule("rf-two-phase", refresh_every=10).refresh_every
    10
    """
    if isinstance(name, Rule):
        return name
    cls = rule_class(name)
    # fields(), not __dataclass_fields__, which lists class variables such as `name` too.
    known = [field.name for field in fields(cls)]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(
            f"rule {name!r} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}. Leave it out."
        )
    several = [k for k, value in options.items() if isinstance(value, tuple) and k not in cls.per_member]
    if several:
        raise ValueError(
            f"rule {name!r} takes one value of {several[0]} for the whole population; got {options[several[0]]}."
        )
    return cls(**options)
