"""The public test kit: run rfnumeric's properties against an implementation of your own.

`assert_penrose` and the ``check_…`` functions raise AssertionError with the property that fails; they need nothing
beyond rfnumeric. `rfnumeric.testing.strategies` holds Hypothesis strategies and needs the ``test`` extra.
"""

from rfnumeric.testing.conformance import check_activation, check_backend, check_pinv
from rfnumeric.testing.map_conformance import check_map
from rfnumeric.testing.penrose import assert_penrose
from rfnumeric.testing.rule_conformance import check_rule

__all__ = ["assert_penrose", "check_activation", "check_backend", "check_map", "check_pinv", "check_rule"]
