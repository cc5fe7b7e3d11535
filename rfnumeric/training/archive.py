"""Reading the .npz files that checkpoints are, from hands that are not trusted: nothing is read that is not wanted.

`numpy.load` would read any member into memory, decompress it without a limit, and parse its header as Python source.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

import numpy as np

from rfnumeric.training.files import shown

DIRECTORY_BYTES, ENTRY_BYTES = 1 << 20, 1 << 8
"""Most bytes of an archive's directory, which is read as a whole: so many, or so many a member if that is more."""

_END, _LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL")
_MAGIC = b"\x93NUMPY\x01\x00"


class Archive(AbstractContextManager["Archive"]):
    """An uncompressed .npz file, opened for reading.

    Parameters
    ----------
    file : BinaryIO
    members : int
        How many members are expected, about.

    Raises
    ------
    ValueError
        If its end is not that of a .npz file, or its directory is far too large.
    """

    def __init__(self, file: BinaryIO, members: int) -> None:
        _check_end(file, max(DIRECTORY_BYTES, ENTRY_BYTES * members))
        self._zip = zipfile.ZipFile(file)

    def __exit__(self, *exception: Any) -> None:
        """Close the archive."""
        self._zip.close()

    def check_names(self, wanted: Iterable[str]) -> None:
        """Raise unless the archive holds members of these names, each once, and nothing else.

        Raises
        ------
        ValueError
        """
        found, names = Counter(self._zip.namelist()), {f"{name}.npy" for name in wanted}
        wrong = [f"no {name}" for name in sorted(names - set(found))]
        wrong += [f"{shown(name)}, which is unknown" for name in sorted(set(found) - names)]
        wrong += [f"{name} twice" for name in sorted(names) if found[name] > 1]
        if wrong:
            raise ValueError(f"it holds {'; '.join(wrong[:3])}")

    def text(self, name: str, most: int) -> bytes:
        """Return the bytes of a member that is an array of uint8, at most so many.

        Raises
        ------
        ValueError
            If there is no such member, or it is something else or too large.
        """
        header, content = self._parts(name, most)
        _check_header(name, header, (len(content),), np.dtype(np.uint8))
        return content

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return the array of that name, shape and dtype, which is not read if it is another.

        Raises
        ------
        ValueError
            If it is another array, or damaged.
        """
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        header, content = self._parts(name, size)
        _check_header(name, header, shape, dtype)
        if len(content) != size:
            raise ValueError(f"{name} must hold {size} bytes; got {len(content)}")
        return np.frombuffer(content, dtype).reshape(shape).copy()

    def _parts(self, name: str, most: int) -> tuple[bytes, bytes]:
        """Return header and content of a member whose content has at most so many bytes.

        Raises
        ------
        ValueError
            If there is none, or it is compressed, larger or no array.
        """
        try:
            info = self._zip.getinfo(f"{name}.npy")
        except KeyError:
            raise ValueError(f"it holds no {name}") from None
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError(f"{name} is compressed, which no run writes")
        if info.file_size > most + 1024:  # NumPy's headers have 128 bytes
            raise ValueError(f"{name} must hold at most {most} bytes; it says {info.file_size}")
        with self._zip.open(info) as member:
            data = member.read()
        if len(data) != info.file_size or data[:8] != _MAGIC or len(data) < 10:
            raise ValueError(f"{name} is no array")
        start = 10 + int.from_bytes(data[8:10], "little")
        return data[10:start], data[start:]


def _check_header(name: str, header: bytes, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise unless a member's header is the one that NumPy writes for that shape and dtype.

    Raises
    ------
    ValueError
    """
    wanted = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    if header.rstrip(b" \n") != wanted.encode():
        raise ValueError(f"{name} must be {wanted}; got {shown(header.decode('latin-1'))}")


def _check_end(file: BinaryIO, most: int) -> None:
    """Raise unless the file ends as NumPy ends a .npz file, with a directory of at most so many bytes.

    Raises
    ------
    ValueError
    """
    size = file.seek(0, os.SEEK_END)
    if size < _END.size:
        raise ValueError(f"a .npz file has at least {_END.size} bytes; it has {size}")
    file.seek(-min(size, _END.size + _LOCATOR.size), os.SEEK_END)
    tail = file.read()
    magic, *_, length, _, comment = _END.unpack(tail[-_END.size :])
    # A file below 4 GB needs no second, larger end, which could name another directory.
    large = tail[:4] == b"PK\x06\x07" and size < 1 << 32
    if magic != b"PK\x05\x06" or comment or large:
        raise ValueError("it does not end as a .npz file does")
    if length > most:
        raise ValueError(f"its directory must have at most {most} bytes; it says {length}")
    file.seek(0)
