"""IDX, the file format of MNIST: read with every length checked before memory is taken, written reproducibly."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rfnumeric.errors import DataError

#: Third byte of the magic number → element type as stored (IDX is big-endian).
DTYPES: dict[int, np.dtype] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
#: The format allows 255 dimensions; no IDX file in use has more than four.
MAX_NDIM = 8
#: Largest array, in bytes, that :func:`read_idx` makes unless told otherwise: 1 GiB.
MAX_BYTES = 1 << 30

_CHUNK = 1 << 20
# DEFLATE spends at least one bit on 129 bytes, so that a gzip file cannot hold more than 1032 times its own length.
_DEFLATE_LIMIT = 1032


def read_idx(
    path: str | os.PathLike[str], *, shape: tuple[int, ...] | None = None, max_bytes: int = MAX_BYTES
) -> np.ndarray:
    """Read one IDX file, plain or gzipped (told apart by content, not by name).

    The header is checked against `shape`, `max_bytes` and the length of the file before the array is allocated, so the
    memory used is bounded by ``min(max_bytes, 1032 * file size)`` whatever the file says. Nothing is unpickled or
    evaluated.

    Parameters
    ----------
    path : path-like
        The file.
    shape : tuple of int, optional
        Dimensions that the file must have.
    max_bytes : int, default 1 GiB
        Largest array to allocate, in bytes.

    Returns
    -------
    numpy.ndarray
        C-contiguous, native byte order, writable; uint8, int8, int16, int32, float32 or float64 as the file says.

    Raises
    ------
    DataError
        If the file is missing, is no regular file, has a wrong magic number, dimensions other than `shape` or beyond
        `max_bytes`, is truncated or corrupt, or goes on after its last element.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(Path(folder) / "a-idx2-ubyte.gz", np.arange(6, dtype=np.uint8).reshape(2, 3))
    ...     read_idx(Path(folder) / "a-idx2-ubyte.gz")
    array([[0, 1, 2],
           [3, 4, 5]], dtype=uint8)
    """
    path = Path(path)
    if not path.is_file():  # a directory, a pipe or a device would hang or answer without end
        raise DataError(f"`{path}` must be an IDX file; there is no regular file of that name.")
    try:
        with path.open("rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            if raw.read(2) == b"\x1f\x8b":
                raw.seek(0)
                with gzip.GzipFile(fileobj=raw) as unzipped:
                    return _read(unzipped, path, shape, max_bytes, size * _DEFLATE_LIMIT)
            raw.seek(0)
            return _read(raw, path, shape, max_bytes, size)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"`{path}` must be a whole IDX file; reading it failed: {error}. Fetch it again.") from error


def _read(
    file: BinaryIO | gzip.GzipFile, path: Path, shape: tuple[int, ...] | None, max_bytes: int, available: int
) -> np.ndarray:
    dtype, dims = _read_header(file, path)
    if shape is not None and dims != tuple(shape):
        raise DataError(
            f"`{path}` must have shape {tuple(shape)}; its header says {dims}. Is it another file's content?"
        )
    # Zeros count as ones: (0, 2³²−1, 2³²−1) holds nothing, but NumPy cannot make it either.
    if math.prod(max(d, 1) for d in dims) * dtype.itemsize > max_bytes:
        raise DataError(
            f"`{path}` must hold at most {max_bytes} bytes; its header says {dims} of {dtype.itemsize} bytes each."
        )
    n_bytes = math.prod(dims) * dtype.itemsize
    if n_bytes > available:
        raise DataError(
            f"`{path}` is truncated: shape {dims} needs {n_bytes} bytes, more than the file can hold. Fetch it again."
        )
    data = bytearray(n_bytes)
    filled, view = 0, memoryview(data)
    while filled < n_bytes and (count := file.readinto(view[filled : filled + _CHUNK])):  # type: ignore[union-attr]
        filled += count
    if filled < n_bytes:
        raise DataError(f"`{path}` is truncated: shape {dims} needs {n_bytes} bytes; found {filled}. Fetch it again.")
    if file.read(1):  # also makes gzip compare its checksum
        raise DataError(
            f"`{path}` must end after {n_bytes} bytes of data (shape {dims}); it goes on. Is the header another file's?"
        )
    return np.ndarray(dims, dtype, buffer=data).astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: BinaryIO | gzip.GzipFile, path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        raise DataError(
            f"`{path}` must start with an IDX magic number (0, 0, element type, dimensions); got 0x{magic.hex()}."
        )
    ndim = magic[3]
    if not 1 <= ndim <= MAX_NDIM:
        raise DataError(f"`{path}` must have 1 to {MAX_NDIM} dimensions; its magic number says {ndim}.")
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(f"`{path}` is truncated within its header of {4 + 4 * ndim} bytes. Fetch it again.")
    return DTYPES[magic[2]], struct.unpack(f">{ndim}I", sizes)


def write_idx(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write `array` as one IDX file, gzipped if the name ends in ``.gz``.

    The gzip header carries neither time nor name, so that the same array and zlib give the same bytes. The file appears
    whole or not at all.

    Parameters
    ----------
    path : path-like
        The file; one that exists is replaced.
    array : numpy.ndarray
        1 to 8 dimensions, each below 2³²; uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    TypeError
        If IDX has no code for the array's dtype.
    ValueError
        If the array has no dimension, or more than 8.
    """
    path, array = Path(path), np.asarray(array)
    code = _code(array)
    if code is None:
        raise TypeError(
            f"`array` must be uint8, int8, int16, int32, float32 or float64; got {array.dtype}. Convert it first."
        )
    if not 1 <= array.ndim <= MAX_NDIM or max(array.shape) >= 1 << 32:
        raise ValueError(f"`array` must have 1 to {MAX_NDIM} dimensions below 2**32; got shape {array.shape}.")
    payload = idx_header(array) + np.ascontiguousarray(array, DTYPES[code]).tobytes()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as zipped:
                    zipped.write(payload)
            else:
                raw.write(payload)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def idx_header(array: np.ndarray) -> bytes:
    """Return the bytes that stand before an array's elements in an IDX file: magic number and dimensions."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, _code(array), array.ndim, *array.shape)


def _code(array: np.ndarray) -> int | None:
    return next((c for c, dtype in DTYPES.items() if dtype.newbyteorder("=") == array.dtype.newbyteorder("=")), None)
