"""What other packages add: rules, data sets and networks, declared as entry points, found by name, loaded when asked.

A package declares them in its metadata, e.g. in ``setup.cfg``::

    [options.entry_points]
    rfnumeric.rules =
        my-rule = my_package.rules:MyRule
    rfnumeric.datasets =
        my-data = my_package.data:load
    rfnumeric.networks =
        my-network = my_package.networks:layers
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from rfnumeric.errors import PluginError

RULES, DATASETS, NETWORKS = "rfnumeric.rules", "rfnumeric.datasets", "rfnumeric.networks"
"""Groups: a class derived from `rfnumeric.rules.Rule`; a function of no arguments that returns a `Dataset`; a function
like those of `rfnumeric.nn.ARCHITECTURES`, of the images' shape and the number of classes, that returns layers."""


@functools.cache
def found(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name; nothing is imported.

    Parameters
    ----------
    group : str
        `RULES`, `DATASETS` or `NETWORKS`.
    """
    return {point.name: point for point in sorted(entry_points(group=group))}


def load(group: str, name: str) -> Any:
    """Return what another package declares under `name`.

    Parameters
    ----------
    group : str
        `RULES`, `DATASETS` or `NETWORKS`.
    name : str
        One of `found`.

    Raises
    ------
    PluginError
        If it cannot be imported.
    """
    point = found(group)[name]
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else "its package"
        raise PluginError(
            f"{name!r}, which {package} declares as {point.value} in {group}, cannot be imported: "
            f"{type(error).__name__}: {error}. Mend or uninstall that package."
        ) from error
