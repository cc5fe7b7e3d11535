"""Files that are either there whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, and a crash leaves no part.

    Parameters
    ----------
    path : Path
        Its folder is made if it is missing.
    data : bytes
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented; numbers that are not finite become null."""
    write_atomically(path, (json.dumps(plain(value), indent=2) + "\n").encode())


def write_json_lines(path: Path, records: Iterable[Any]) -> None:
    """Write JSON Lines: one value a line."""
    write_atomically(path, "".join(json.dumps(plain(record)) + "\n" for record in records).encode())


def plain(value: Any) -> Any:
    """Return `value` in JSON's types: tuples as lists, numbers that are not finite as None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value
