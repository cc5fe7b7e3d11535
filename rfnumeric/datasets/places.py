"""Where the files of a data set lie: the names and folders in which people have them, and what else is there.

Names are compared without case and punctuation, so that ``train-images.idx3-ubyte`` is ``train-images-idx3-ubyte.gz``
unpacked and ``FashionMNIST`` a folder of ``fashion-mnist``. Files whose name begins with a dot, such as the ``._…`` and
``.DS_Store`` that a Mac adds, do not count.
"""

import os
from collections.abc import Iterable, Iterator
from os.path import exists, isdir, isfile
from pathlib import Path

from rfnumeric.datasets.sources import CifarSource, IdxSource

# `isfile` and the others of os.path answer no where a name is too long or a folder is closed; pathlib's raise an error.
# A pipe or a device is no file to them: it would hang or answer without end.

# Folders within folders, e.g. DIR/MNIST/raw/train-images-idx3-ubyte/train-images-idx3-ubyte.
_DEPTH = 4
_SHOWN = 8


def find_idx(source: IdxSource, directory: Path) -> dict[str, Path | None]:
    """Return name → path of a set's IDX files, None where there is none.

    Looked for in `directory`, in a folder of the set's name (``mnist``, ``MNIST``), in a ``raw`` below either, as
    torchvision has it, and in a folder of the file's own name; gzipped before unpacked, the deepest folder first. If
    `directory` is one of the files, its folder is searched.
    """
    stems = {file.name: _key(file.name.removesuffix(".gz")) for file in source.files}
    if isfile(directory) and _key(directory.name).removesuffix("gz") in stems.values():
        directory = directory.parent
    found: dict[str, Path | None] = dict.fromkeys(stems)
    for folder in _folders(directory, {_key(source.name), "raw", *stems.values(), *(f"{s}gz" for s in stems.values())}):
        files = {_key(path.name): path for path in reversed(_entries(folder)) if isfile(path)}
        for name, stem in stems.items():
            exact = [folder / name, folder / name.removesuffix(".gz")]
            places = [p for p in exact if isfile(p)] + [files[k] for k in (f"{stem}gz", stem) if k in files]
            found[name] = found[name] or next(iter(places), None)
    return found


def find_cifar(source: CifarSource, directory: Path) -> Path | None:
    """Return the archive of CIFAR-10, or the folder of its batches, or None.

    The archive may be a ``.tar.gz``, ``.tgz`` or ``.tar``; `directory` may be the archive itself.
    """
    if isfile(directory):
        return directory.parent if directory.suffix == ".bin" else directory
    stem = _key(source.archive.name.removesuffix(".tar.gz"))
    archives = [f"{stem}{suffix}" for suffix in ("targz", "tgz", "tar", "")] + [_key(source.folder), _key(source.name)]
    folders = list(_folders(directory, set(archives)))
    for folder in folders:
        files = {_key(path.name): path for path in reversed(_entries(folder)) if isfile(path)}
        for key in archives:
            if key in files:
                return files[key]
    batches = [file.name for file in (*source.members, source.test_member)]
    return next((folder for folder in folders if any(isfile(folder / name) for name in batches)), None)


def describe(source: IdxSource | CifarSource, directory: Path) -> str:
    """Say in a sentence what there is where a set was looked for."""
    if not isdir(directory):
        return f"{directory} {'is a file.' if exists(directory) else 'does not exist.'}"
    folders = list(_folders(directory, {_key(source.name), "raw"}))
    said = " ".join(_contents(folder) for folder in reversed(folders))
    if isinstance(source, CifarSource) and any("python" in p.name or "batches-py" in p.name for p in _all(folders)):
        said += " The Python version is pickled, and is not read; the binary version is what is needed."
    return said


def _contents(folder: Path) -> str:
    try:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror}."
    if not names:
        return f"{folder} is empty."
    # What looks like data first: a folder of downloads may hold a thousand other things.
    words = ("mnist", "cifar", "ubyte", "batch", "train", "t10k", "test")
    names.sort(key=lambda name: not any(word in name.lower() for word in words))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{folder} holds {', '.join(names[:_SHOWN])}{more}."


def _folders(folder: Path, keys: set[str], depth: int = _DEPTH) -> Iterator[Path]:
    """Yield the folders below `folder` whose names are among `keys`, the deepest first, and `folder` itself last."""
    if depth:
        for path in _entries(folder):
            if _key(path.name) in keys and isdir(path):
                yield from _folders(path, keys, depth - 1)
    yield folder


def _all(folders: Iterable[Path]) -> Iterator[Path]:
    return (path for folder in folders for path in _entries(folder))


def _entries(folder: Path) -> list[Path]:
    """Return what a folder holds, by name, without hidden files; nothing if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (OSError, ValueError):
        return []


def _key(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
