"""A population's step in parts: few enough members to stay in the CPU's cache, as many parts at a time as threads.

The members of a population do not meet in a step, so it makes no difference to them where it is cut. Done one layer of
all of them after the other, a step would fetch every weight from memory three times; a part's weights stay at hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rfnumeric.backend import Streams, array_namespace
from rfnumeric.kernels.threads import blas_threads
from rfnumeric.nn import Network, Trace
from rfnumeric.rules import Rule
from rfnumeric.training.config import RunConfig
from rfnumeric.typing import Array

PART_BYTES = 2**21
"""Bytes of weights in a part: with what a step computes from them, they stay in the caches."""
ALONE_BYTES = 2**19
"""Bytes of one member's weights above which it is a part of its own: its products then outweigh the calls."""

Arrays = dict[str, list[Array | None]]
"""Weights, feedback or an optimizer's state: lists indexed by layer, by name."""


@dataclass(frozen=True)
class Part:
    """Consecutive members of a population.

    Attributes
    ----------
    members : slice or int
        Where they stand on the population's axis. One member by itself has no such axis.
    rule : Rule
        With their own options.
    streams : Streams
        Of their own seeds.
    """

    members: slice | int
    rule: Rule
    streams: Streams

    def view(self, whole: Arrays) -> Arrays:
        """Return the members' own arrays, as views."""
        return {name: [None if v is None else v[self.members] for v in values] for name, values in whole.items()}

    def put_back(self, values: Arrays, views: Arrays, whole: Arrays) -> None:
        """Write into the whole what a kernel or a rule has returned in place of a view."""
        for name, everyone in whole.items():
            for value, view, array in zip(values[name], views[name], everyone, strict=True):
                if value is not view:
                    array[self.members] = value  # type: ignore[index]


def cut(config: RunConfig, network: Network) -> list[Part]:
    """Cut a population on the CPU into parts.

    Parameters
    ----------
    config : RunConfig
        Of a population.
    network : Network

    Returns
    -------
    list of Part
        One a member; or, of small members, a multiple of the number of threads.
    """
    count, threads = config.population or 1, blas_threads()
    nbytes = sum(W.nbytes for W in network.W[1:]) // count
    if nbytes >= ALONE_BYTES:
        return [Part(k, own.make_rule(), own.make_streams()) for k, own in enumerate(config.members())]
    a_part = max(1, PART_BYTES // nbytes)
    parts = min(count, threads * math.ceil(count / (threads * a_part)))
    return [_part(config, slice(count * i // parts, count * (i + 1) // parts)) for i in range(parts)]


def _part(config: RunConfig, members: slice) -> Part:
    def own(value: Any) -> Any:
        return value[members] if isinstance(value, tuple) else value

    options = {name: own(value) for name, value in config.rule_options.items()}
    theirs = replace(config, lr=own(config.lr), seed=own(config.seed), rule_options=options)
    return Part(members, theirs.make_rule(), theirs.make_streams())


def joined(parts: Sequence[Part], traces: Sequence[Trace]) -> Trace:
    """Return the activities of all members as one trace."""
    xp = array_namespace(traces[0].h[0])
    if not parts:
        return traces[0]
    join = xp.stack if isinstance(parts[0].members, int) else xp.concat

    def all_members(name: str) -> list[Array | None]:
        columns = zip(*(getattr(trace, name) for trace in traces), strict=True)
        return [None if column[0] is None else join(column, axis=0) for column in columns]

    return Trace(all_members("h"), all_members("a"), all_members("d_sigma"), all_members("delta"))
