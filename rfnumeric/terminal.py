"""What is said on a terminal, whatever its encoding and width, and whether or not anyone still listens.

`open_streams` makes standard output and error of a command safe; `Screen` is the console for tables and bars.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.progress import Progress, ProgressColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Span, Text

from rfnumeric.spelling import spell, visible


def open_streams() -> None:
    """Make standard output and error of this process take every text and survive a reader that leaves.

    A character that the encoding lacks is spelled in ASCII. A stream that is closed, or whose reader has left
    (``| head -1``), swallows what follows. Another failure, such as a full disk, is kept for `failure`: the command
    goes on and writes its files. A descriptor that is closed (``>&-``) is put on the null device, since the next file
    that is opened would get its number, and would be written to by whatever prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _Stream(number, "utf-8", line_buffering=False))
        elif stream is getattr(sys, f"__{name}__") and not isinstance(stream, _Stream):
            stream.flush()
            safe = _Stream(number, stream.encoding, line_buffering=number == 2 or stream.isatty())
            setattr(sys, name, safe)


def failure() -> OSError | None:
    """Return why standard output could not be written, or None; flushes it first. A reader that left is no failure."""
    if not isinstance(sys.stdout, _Stream):
        return None
    sys.stdout.flush()
    return sys.stdout.raw.failure


class _Stream(io.TextIOWrapper):
    """Text that always has a spelling, on a descriptor that never refuses."""

    def __init__(self, number: int, encoding: str, *, line_buffering: bool) -> None:
        self.raw = _Descriptor(number, "wb", closefd=False)
        buffer = io.BufferedWriter(self.raw)
        super().__init__(buffer, encoding=encoding, errors="backslashreplace", line_buffering=line_buffering)

    def write(self, text: str) -> int:
        super().write(spell(text, self.encoding))
        return len(text)


class _Descriptor(io.FileIO):
    """A descriptor that is put on the null device when writing to it fails."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)  # type: ignore[return-value]
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.failure = error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(data)


class Screen(Console):
    """A rich console on standard output or error that shows any text as it is.

    Square brackets are not markup, control characters show as escapes, and what the encoding lacks is spelled before
    columns are measured, so that tables keep their lines.

    Parameters
    ----------
    stderr : bool
        Write to standard error.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:  # type: ignore[override]
        """Turn a string, such as a table's cell, into rich's text."""
        return super().render_str(self._plain(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render anything; texts are spelled first, and rich's own marks, such as an ellipsis, keep their width."""
        if isinstance(renderable, Text):
            renderable = self._spelled(renderable)
        elif isinstance(renderable, Table):
            self._fold(renderable, options or self.options)
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control is None and spell(text, self.encoding) != text:
                segment = Segment("".join(spell(c, self.encoding)[:1] or " " for c in text), style)
            yield segment

    def _fold(self, table: Table, options: ConsoleOptions) -> None:
        """Let the cells of a table that is wider than the screen go on in the next line, so that no digit is lost."""
        narrow = Measurement.get(self, options.update(max_width=10_000), table).maximum > options.max_width
        for column in table.columns:
            column.overflow = "fold"
            column.no_wrap = column.no_wrap and not narrow

    def _plain(self, text: str) -> str:
        return spell(visible(text), self.encoding)

    def _spelled(self, text: Text) -> Text:
        """Return `text` spelled piece by piece, so that its styles stay where they were."""
        plain = text.plain
        if self._plain(plain) == plain:
            return text
        borders = sorted({0, len(plain), *(p for s in text.spans for p in (s.start, s.end) if 0 <= p <= len(plain))})
        place, pieces = {0: 0}, []
        for start, end in pairwise(borders):
            pieces.append(self._plain(plain[start:end]))
            place[end] = place[start] + len(pieces[-1])
        spelled = text.copy()
        spelled.plain = "".join(pieces)
        spans = (s for s in text.spans if s.start in place)
        spelled.spans = [Span(place[s.start], place.get(s.end, len(spelled.plain)), s.style) for s in spans]
        return spelled


def bars(*columns: ProgressColumn, transient: bool = True) -> Progress:
    """Return rich's bars on standard error, or none where that is no terminal; `transient` ones vanish when done."""
    screen = Screen(stderr=True)
    return Progress(*columns, console=screen, transient=transient, disable=not screen.is_terminal)
