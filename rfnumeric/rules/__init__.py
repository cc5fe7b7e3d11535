"""Learning rules, one a file, behind one interface (`rfnumeric.rules.interface`)."""

from dataclasses import fields
from typing import Any

from rfnumeric.rules.backprop import Backprop
from rfnumeric.rules.batch_reciprocal import BatchReciprocal
from rfnumeric.rules.feedback_alignment import FeedbackAlignment
from rfnumeric.rules.interface import Feedback, Rule
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
"""Name → class."""


def get_rule(name: str, **options: Any) -> Rule:
    """Return the rule called `name` with its options.

    Parameters
    ----------
    name : str
        One of `RULES`.
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
    if name not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}; got {name!r}.")
    # fields(), not __dataclass_fields__, which lists class variables such as `name` too.
    known = [field.name for field in fields(RULES[name])]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(
            f"rule {name!r} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}. Leave it out."
        )
    several = [k for k, value in options.items() if isinstance(value, tuple) and k not in RULES[name].per_member]
    if several:
        raise ValueError(
            f"rule {name!r} takes one value of {several[0]} for the whole population; got {options[several[0]]}."
        )
    return RULES[name](**options)


__all__ = [
    "RULES",
    "Backprop",
    "BatchReciprocal",
    "Feedback",
    "FeedbackAlignment",
    "MeanReciprocal",
    "MeanReciprocalLearned",
    "PseudoBackprop",
    "RFParallel",
    "RFTwoPhase",
    "Rule",
    "get_rule",
]
