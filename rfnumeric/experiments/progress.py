"""A progress bar with the time left, on standard error."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rfnumeric.terminal import bars
from rfnumeric.training.loop import Progress as Callback


@contextmanager
def run_progress(label: str, epochs: int) -> Generator[Callback]:
    """Show a bar for one run while the ``with`` block lasts.

    Parameters
    ----------
    label : str
    epochs : int
        Epochs of the run.

    Yields
    ------
    callable
        To pass to `rfnumeric.training.train`.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs  test {task.fields[accuracy]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with bars(*columns) as bar:
        task = bar.add_task(label, total=epochs, accuracy="")

        def advance(epoch: int, step: int, steps: int, accuracy: float) -> None:
            shown = f"{accuracy:.2f} %" if math.isfinite(accuracy) else "–"
            bar.update(task, completed=round(epoch - 1 + step / steps, 2), accuracy=shown)

        yield advance


class TrialsBar:
    """A bar that counts finished trials and remembers the best accuracy."""

    def __init__(self, bar: Progress, label: str, count: int) -> None:
        self._bar, self._best = bar, -math.inf
        self._task = bar.add_task(label, total=count, best="")

    def finished(self, count: int) -> None:
        """Move the bar to so many finished trials."""
        self._bar.update(self._task, completed=count)

    def best(self, accuracy: float) -> None:
        """Show an accuracy, in percent, if it is the best so far."""
        self._best = max(self._best, accuracy)
        self._bar.update(self._task, best=f"{self._best:.2f} %")


@contextmanager
def trials_progress(label: str, count: int) -> Generator[TrialsBar]:
    """Show a bar for a search while the ``with`` block lasts.

    Parameters
    ----------
    label : str
    count : int
        Trials of the search.

    Yields
    ------
    TrialsBar
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trials  best held-out {task.fields[best]}"),
        TimeElapsedColumn(),
    )
    with bars(*columns) as bar:
        yield TrialsBar(bar, label, count)
