"""Where the CPU loops' machine code is kept: checked before it is used, and a person is told when it has to be made.

Numba keeps an index and a data file for each loop and unpickles what it finds there: a file that was cut short ends
every run with an error, and one with a wrong byte may end it without one. Here both carry a digest. What does not match
it is removed and compiled again.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
from numba import config as numba_config
from numba.core.caching import FunctionCache, IndexDataCacheFile

DIGEST = hashlib.sha256().digest_size

_said: set[str] = set()


class DamagedFile(Exception):
    """A file of the compile cache does not match its digest."""


class CheckedFiles(IndexDataCacheFile):
    """The index and the data files of one loop, each followed by the digest of what it holds."""

    def _dump(self, obj: Any) -> bytes:
        data = super()._dump(obj)
        return data + hashlib.sha256(data).digest()  # unpickling ends before the digest

    def _load_index(self) -> dict[Any, str]:
        with suppress(FileNotFoundError), open(self._index_path, "rb") as file:
            if pickle.load(file) == self._version:
                _check_digest(file.read())
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        data = Path(self._data_path(name)).read_bytes()
        _check_digest(data)
        return super()._load_data(name)


def _check_digest(data: bytes) -> None:
    if hashlib.sha256(data[:-DIGEST]).digest() != data[-DIGEST:]:
        raise DamagedFile


class CheckedCache(FunctionCache):
    """Numba's cache of one loop; nothing that is wrong with its files ends a run."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file.__class__ = CheckedFiles

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the machine code for a signature, or None where it must be compiled."""
        try:
            found = super().load_overload(signature, target)
        except Exception:  # whatever unpickling a damaged file may raise
            found = None
            with suppress(OSError):
                Path(self._cache_file._index_path).unlink(missing_ok=True)
            _say("damaged", f"a damaged file of compiled loops in {self.cache_path} is replaced")
        if found is None:
            _say(
                "compiling",
                "compiling loops for this processor, which takes 20 to 60 seconds; they are kept in "
                f"{Path(self.cache_path).parent} for the next time",
            )
        return found

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep the machine code for a signature, if that is possible."""
        try:
            super().save_overload(signature, data)
        except Exception as error:  # a full disk, a folder that was removed or is no longer writable
            _say("not kept", f"compiled loops cannot be kept in {self.cache_path} ({error})")


def keep_compiled(dispatcher: Any) -> None:
    """Let a loop's machine code be kept and found again, where a folder can be written to."""
    try:
        dispatcher._cache = CheckedCache(dispatcher.py_func)
    except RuntimeError:  # what Numba raises where it finds no such folder
        config: Any = numba_config  # its settings are made at run time, where a type checker cannot see them
        _say(
            "compiling",
            "compiling loops for this processor, which takes 20 to 60 seconds in each new process, since "
            f"{config.CACHE_DIR} cannot be written to; set NUMBA_CACHE_DIR to a folder that can",
        )


@contextmanager
def own_folder() -> Generator[None]:
    """Keep machine code in the user's cache, unless ``NUMBA_CACHE_DIR`` says where.

    Numba's own choice is beside the source. What it leaves there outlives an uninstallation, and then stands in the
    way of an editable one: an empty folder named rfnumeric in site-packages.
    """
    config: Any = numba_config  # its settings are made at run time, where a type checker cannot see them
    before = config.CACHE_DIR
    config.CACHE_DIR = before or str(Path(platformdirs.user_cache_dir("rfnumeric")) / "loops")
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _say(subject: str, text: str) -> None:
    """Tell the user something once a process, on standard error; nothing fails because nobody listens."""
    if subject not in _said:
        _said.add(subject)
        with suppress(Exception):
            print(f"rfnumeric: {text}.", file=sys.stderr, flush=True)
