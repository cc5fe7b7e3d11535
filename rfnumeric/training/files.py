"""Files that are either there whole or not at all, and JSON that tells whether it is still what was written."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from rfnumeric.errors import OutputError

TEMPORARY = ".rfnumeric-tmp"
"""Suffix of a file that is being written; what a killed run leaves of it is removed by the folder's next one."""

_TEMPORARY_NAME = re.compile(r"\..+\.[a-z0-9_]{8}" + re.escape(TEMPORARY))

DOCUMENT_LIMIT = 8 << 20
"""Largest JSON document that is read back, bytes. Python's objects take up to 25 times as much memory."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, and a crash leaves no part.

    Parameters
    ----------
    path : Path
        Its folder is made if it is missing.
    data : bytes

    Raises
    ------
    OutputError
        If it cannot be written; what was there before still is.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}. Free space or permit writing there, or choose "
            "another place; what was there before is unchanged."
        ) from error


def remove_temporaries(folder: Path) -> None:
    """Remove what killed runs left of files that they were writing into `folder`, which this run must own."""
    for name in os.listdir(folder):
        if _TEMPORARY_NAME.fullmatch(name):
            with suppress(OSError):
                if stat.S_ISREG(os.lstat(folder / name).st_mode):
                    os.unlink(folder / name)


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


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading as bytes, if it is one.

    Raises
    ------
    OSError
        If it cannot be opened, or is a link, a folder, a pipe, which would never end, or a device.
    """
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link, and no run writes one") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return os.fdopen(handle, "rb")


def read_regular(path: Path, most: int = DOCUMENT_LIMIT) -> bytes:
    """Return the bytes of a regular file.

    Raises
    ------
    OSError
        As `open_regular`.
    ValueError
        If it has more than `most` bytes.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most} bytes")
    return data


def signed(document: dict[str, Any], form: int) -> dict[str, Any]:
    """Return `document` in JSON's types with its format's number and a digest of it all."""
    whole = {"format": form, **plain(document)}
    return {**whole, "digest": _digest(whole)}


def parse_signed(text: bytes, form: int) -> dict[str, Any]:
    """Return the document of a `signed` JSON text.

    Parameters
    ----------
    text : bytes
    form : int
        Number of the format that the caller reads.

    Raises
    ------
    ValueError
        If it is no JSON object, of another format, or no longer what was signed. `RecursionError` where it is too deep.
    """
    document = json.loads(text, parse_constant=_no_constant)
    if not isinstance(document, dict):
        raise ValueError("it must hold a JSON object")
    if document.get("format") != form or isinstance(document["format"], bool):
        raise ValueError(f"it has format {shown(document.get('format'))}; this version reads {form}")
    digest = document.pop("digest", None)
    if digest != _digest(document):
        raise ValueError("its contents do not match their digest: it was damaged or changed")
    return document


def _digest(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


def shown(value: Any, most: int = 80) -> str:
    """Return what a message may quote of a value that a file holds: so many characters, printable ones."""
    return "".join(c if c.isprintable() else "?" for c in str(value)[:most])


def contrast(names: Sequence[str], saved: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return how settings in a file differ from those asked for: the first four names with both values."""
    told = [f"{shown(n)} = {shown(saved.get(n))} (asked for {shown(wanted.get(n))})" for n in names[:4]]
    return ", ".join(told + [f"{len(names) - 4} more"] * (len(names) > 4))


def reason(error: Exception) -> str:
    """Return in one line why a file could not be read."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shown(text, 300) or type(error).__name__
