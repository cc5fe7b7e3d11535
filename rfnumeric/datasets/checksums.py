"""Checksums as ``"algorithm:hex"``. They tell damaged or exchanged files; MD5 and SHA-1 do not stop a forger."""

import gzip
import hashlib
import zlib
from pathlib import Path

from rfnumeric.errors import DataError


def of_bytes(data: bytes | memoryview, like: str) -> str:
    """Return the checksum of `data` with the algorithm of `like`.

    Examples
    --------
    >>> of_bytes(b"abc", like="md5:00000000000000000000000000000000")
    'md5:900150983cd24fb0d6963f7d28e17f72'
    """
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()}"


def of_file(path: Path, like: str) -> str:
    """Return the checksum of a file with the algorithm of `like`.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    algorithm = like.partition(":")[0]
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    except OSError as error:
        raise DataError(f"`{path}` must be readable; {error.strerror}.") from error
    return f"{algorithm}:{digest.hexdigest()}"


def of_content(path: Path, like: str, limit: int) -> str:
    """Return the checksum of what a gzipped file holds, with the algorithm of `like`.

    Raises
    ------
    DataError
        If the file cannot be read, is no whole gzip file, or holds more than `limit` bytes.
    """
    algorithm = like.partition(":")[0]
    digest, size = hashlib.new(algorithm, usedforsecurity=False), 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(1 << 20):
                size += len(chunk)
                if size > limit:
                    raise DataError(f"`{path}` must hold at most {limit} bytes; it goes on.")
                digest.update(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"`{path}` must be a whole gzip file; {error}.") from error
    return f"{algorithm}:{digest.hexdigest()}"
