"""CIFAR-10, binary version: read from its tar (never extracted) or from a folder of batches, each batch verified.

A batch is 10,000 records of 3,073 bytes: the label, then 1,024 red, 1,024 green and 1,024 blue pixels, row by row.
"""

import gzip
import io
import math
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

import numpy as np

from rfnumeric.datasets.checksums import of_bytes
from rfnumeric.datasets.dataset import Dataset
from rfnumeric.datasets.sources import CIFAR10, CifarSource, File
from rfnumeric.errors import DataError

# Members, folders included; the published archive has nine, packed on a Mac about twice as many.
_MAX_MEMBERS = 64
# Largest single read that a tar header may ask for; tarfile reads extended headers whole, at the size they claim.
_MAX_READ = 1 << 20
_AGAIN = "Fetch it again."


def read_cifar10(path: Path, source: CifarSource = CIFAR10) -> Dataset:
    """Read CIFAR-10 from its ``.tar.gz`` (or ``.tar``) or from the folder that holds its six ``.bin`` files.

    Parameters
    ----------
    path : pathlib.Path
        Archive or folder.
    source : CifarSource
        What the set must consist of.

    Returns
    -------
    Dataset
        Images uint8 (N, 3072), channel first.

    Raises
    ------
    DataError
        If a batch is missing, short, long, altered or has a label outside the classes, or if the archive is damaged or
        holds a member that the published one does not: other names, paths that leave the folder, links, devices.
    """
    width = math.prod(source.image_shape)
    n_train = len(source.members) * source.records
    images, labels = np.empty((n_train, width), np.uint8), np.empty(n_train, np.int64)
    test_images, test_labels = images[:0], labels[:0]
    for file, records in read_batches(path, source):
        if file == source.test_member:
            test_images, test_labels = np.ascontiguousarray(records[:, 1:]), records[:, 0].astype(np.int64)
        else:
            start = source.members.index(file) * source.records
            images[start : start + source.records] = records[:, 1:]
            labels[start : start + source.records] = records[:, 0]
    return Dataset(source.name, images, labels, test_images, test_labels, source.image_shape, source.class_names)


def read_batches(path: Path, source: CifarSource, *, verify: bool = True) -> Iterator[tuple[File, np.ndarray]]:
    """Yield (File, records) once for every batch in the order found; records are uint8 (records, 1 + pixels).

    Raises
    ------
    DataError
        As :func:`read_cifar10`; a missing batch is reported at the end. With ``verify=False`` checksums are left to the
        caller.
    """
    missing = {file.name: file for file in (*source.members, source.test_member)}
    for name, records in _folder_batches(path, source) if path.is_dir() else _tar_batches(path, source):
        if name not in missing:
            raise DataError(f"`{path}` must hold `{name}` once; it is there twice. {_AGAIN}")
        file = missing.pop(name)
        if verify and (found := of_bytes(records.data, file.checksum)) != file.checksum:
            raise DataError(f"`{path}`: `{name}` must have {file.checksum}; got {found}. {_AGAIN}")
        yield file, records
    if missing:
        raise DataError(f"`{path}` must hold every batch of {source.name}; it lacks {', '.join(missing)}. {_AGAIN}")


def _folder_batches(folder: Path, source: CifarSource) -> Iterator[tuple[str, np.ndarray]]:
    for file in (*source.members, source.test_member):
        path = folder / file.name
        if path.is_file():
            try:
                with path.open("rb") as stream:
                    records = _read_batch(str(path), path.stat().st_size, stream, source)
            except OSError as error:
                raise DataError(f"`{path}` must be readable; {error.strerror}.") from error
            yield file.name, records


def _tar_batches(path: Path, source: CifarSource) -> Iterator[tuple[str, np.ndarray]]:
    # Every batch, and 1 MiB for the other files, headers and padding, of which the published archive needs a fortieth.
    limit = (len(source.members) + 1) * _batch_bytes(source) + (1 << 20)
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            content = gzip.GzipFile(fileobj=raw) if zipped else raw
            with tarfile.open(fileobj=_Forward(content, limit, path), mode="r:") as tar:
                for count, member in enumerate(tar):
                    if count >= _MAX_MEMBERS:
                        raise DataError(f"`{path}` must hold at most {_MAX_MEMBERS} members; it goes on. {_AGAIN}")
                    name = _batch_name(path, member, source)
                    stream = tar.extractfile(member) if name else None
                    if name and stream:
                        yield name, _read_batch(f"{path}: {name}", member.size, stream, source)
    except DataError:
        raise
    # What tarfile and gzip raise on damaged headers is not documented; these were met in fuzzing and in their sources.
    except (
        tarfile.TarError,
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise DataError(f"`{path}` must be a whole tar archive; reading it failed: {error}. {_AGAIN}") from error


def _batch_bytes(source: CifarSource) -> int:
    return source.records * (1 + math.prod(source.image_shape))


def _read_batch(where: str, size: int, stream: IO[bytes], source: CifarSource) -> np.ndarray:
    if size != _batch_bytes(source):
        raise DataError(f"`{where}` must have {_batch_bytes(source)} bytes; it has {size}. {_AGAIN}")
    data = np.empty(size, np.uint8)
    filled = 0
    while chunk := stream.read(min(_MAX_READ, size - filled)):
        data[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
    if filled < size:
        raise DataError(f"`{where}` must have {size} bytes; it breaks off after {filled}. {_AGAIN}")
    return data.reshape(source.records, -1)


def _batch_name(path: Path, member: tarfile.TarInfo, source: CifarSource) -> str | None:
    # The batch that `member` is, None for the folder and the files beside the batches; everything else is refused.
    parts = PurePosixPath(member.name).parts
    if _is_of_a_mac(parts) and (member.isreg() or member.isdir()):
        return None
    if member.isdir() and parts in ((), (source.folder,)):
        return None
    batches = [file.name for file in (*source.members, source.test_member)]
    if not member.isreg() or member.issparse():
        raise DataError(
            f"`{path}` must hold plain files only; `{member.name}` is a link, a device or a folder. {_AGAIN}"
        )
    if len(parts) != 2 or parts[0] != source.folder or parts[1] not in (*batches, *source.extras):
        raise DataError(
            f"`{path}` must hold nothing but the files of {source.folder}/; it has `{member.name}`. {_AGAIN}"
        )
    return parts[1] if parts[1] in batches else None


def _is_of_a_mac(parts: tuple[str, ...]) -> bool:
    """Whether a member is what a Mac's tar or Finder adds: attributes of a file, or how its folder is shown."""
    return parts[:1] == ("__MACOSX",) or parts[-1:] == (".DS_Store",) or any(part.startswith("._") for part in parts)


class _Forward(io.RawIOBase):
    """The decompressed archive, which may only be read forward, in bounded steps and up to `limit` bytes.

    `tarfile` believes the sizes that headers claim: an extended header of 2⁶⁰ bytes is read whole, a negative one sends
    it round in a circle. Both end here.
    """

    def __init__(self, content: BinaryIO | gzip.GzipFile, limit: int, path: Path) -> None:
        self.content, self.limit, self.path = content, limit, path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.content.tell()

    def _bounded(self, position: int) -> None:
        if not self.tell() <= position <= self.limit:
            raise DataError(f"`{self.path}` has a header that points to byte {position}, outside the archive. {_AGAIN}")

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise DataError(f"`{self.path}` cannot be read from its end.")
        self._bounded(offset)
        return self.content.seek(offset)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise DataError(f"`{self.path}` has a header of {size} bytes; none needs more than {_MAX_READ}. {_AGAIN}")
        data = self.content.read(size)
        self._bounded(self.tell())
        return data
