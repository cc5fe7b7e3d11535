"""Checksums as ``"algorithm:hex"``. They tell damaged or exchanged files; MD5 and SHA-1 do not stop a forger."""

import hashlib
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
