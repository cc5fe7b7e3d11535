"""A lock on a folder that the operating system releases when its process dies, however it dies."""

from __future__ import annotations

import errno
import os
import warnings
from contextlib import suppress
from pathlib import Path

from rfnumeric.errors import OutputError

LOCK_FILE = ".rfnumeric.lock"
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def acquire(folder: Path) -> int:
    """Lock `folder`, and return what `release` takes.

    Parameters
    ----------
    folder : Path
        Must exist.

    Returns
    -------
    int
        Descriptor of the open lock file.

    Raises
    ------
    OutputError
        If another process or thread has it.
    """
    path = folder / LOCK_FILE
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if not _try(handle, folder):
                raise OutputError(
                    f"{folder} is being written by another run{_owner(handle)}. Wait for it, or give another --out."
                )
            # A run that ends deletes the file: what was locked must still be the file that stands there.
            if _same(handle, path):
                with suppress(OSError):  # on a full disk the name of the owner is all that is missing
                    os.ftruncate(handle, 0)
                    os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def release(folder: Path, handle: int) -> None:
    """Delete the lock file and unlock `folder`."""
    if os.name == "posix":  # while it is still locked, so that nobody can have locked it meanwhile
        with suppress(OSError):
            os.unlink(folder / LOCK_FILE)
        os.close(handle)
    else:
        os.close(handle)  # Windows deletes no open file; if another run has opened it by now, it stays
        with suppress(OSError):
            os.unlink(folder / LOCK_FILE)


def _try(handle: int, folder: Path) -> bool:
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            return False
        warnings.warn(f"{folder} is on a file system without locks: run one command at a time there.", stacklevel=4)
    return True


def _owner(handle: int) -> str:
    with suppress(OSError):
        number = os.read(handle, 20).strip()
        if number.isdigit():
            return f" (process {number.decode()})"
    return ""


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
