"""A population's step in parts: few enough members to stay in the CPU's cache, as many parts at a time as threads.

The members of a population do not meet in a step, so it makes no difference to them where it is cut. Done one layer of
all of them after the other, a step would fetch every weight from memory three times; a part's weights stay at hand. But
each part has calls of its own: many small ones would spend their time in these.
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
"""Bytes of one member's weights above which it may be a part of its own, which spares the products the stack's axis."""
CALLS = 2**19
"""Multiplications in one of a layer's three products (forward, backward, update) from which on these take longer than
the calls for a part of several: 60 to 80 µs, measured, beside 20 multiplications a nanosecond. A member by itself is
called for in a quarter of that.
"""
FETCH = 8
"""Samples below which fetching its weights, at 10 bytes a nanosecond, takes longer than a product itself."""

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
        One a member, of large members; else as many as there are threads, or a multiple of it where a part would
        otherwise not fit the cache and calls take less than a fifth of a step. Which of the two does not depend on the
        number of threads: a stack's products round differently.
    """
    count, threads = config.population or 1, blas_threads()
    weights = network.W[1:]
    nbytes = sum(W.nbytes for W in weights) // count
    product = sum(W.size for W in weights) / count / len(weights) * max(config.batch_size, FETCH)  # an average layer's
    if nbytes >= ALONE_BYTES and product >= CALLS:
        return [Part(k, own.make_rule(), own.make_streams()) for k, own in enumerate(config.members())]
    rounds_to_fit = math.ceil(count * nbytes / (threads * PART_BYTES))
    rounds_worth_it = int(count * product / (threads * 4 * CALLS))
    parts = min(count, threads * max(1, min(rounds_to_fit, rounds_worth_it)))
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
