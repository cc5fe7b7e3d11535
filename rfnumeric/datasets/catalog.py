"""The data sets by name: where their files may lie, loading, fetching, verifying."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os.path import exists, isdir
from pathlib import Path

import numpy as np

from rfnumeric import plugins
from rfnumeric.datasets.checksums import of_bytes, of_content, of_file
from rfnumeric.datasets.cifar import read_batches, read_cifar10
from rfnumeric.datasets.dataset import Dataset
from rfnumeric.datasets.download import Progress, download, rich_progress
from rfnumeric.datasets.idx import idx_header, read_idx
from rfnumeric.datasets.places import describe, find_cifar, find_idx
from rfnumeric.datasets.sources import MNIST_5K, SOURCES, CifarSource, File, IdxSource
from rfnumeric.errors import DataError, PluginError

#: Names the directory that holds the data sets when no `data_dir` is given.
ENVIRONMENT_VARIABLE = "RFNUMERIC_DATA"
#: Bytes that an unpacked IDX file may have at most: 64 MiB; MNIST's largest has 45.
MAX_CONTENT = 1 << 26
_AGAIN = "Fetch it again."


@dataclass(frozen=True)
class Status:
    """Which files of a data set are there. `present`: all of them; `embedded`: the set comes with the package."""

    name: str
    present: bool
    embedded: bool
    directory: Path
    found: tuple[Path, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """One verified file: `expected` and `found` are checksums as ``"algorithm:hex"``, or `found` says what is wrong."""

    file: str
    expected: str
    found: str
    ok: bool


def names() -> tuple[str, ...]:
    """Return the names of the data sets; the first comes with the package, those of other packages stand last.

    Examples
    --------
    >>> names()
    ('mnist-5k', 'mnist', 'fashion-mnist', 'cifar-10')
    """
    return tuple(dict.fromkeys((*SOURCES, *plugins.found(plugins.DATASETS))))


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    progress: Progress | bool | None = None,
) -> Dataset:
    """Load a data set, downloading it first where it is absent.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    data_dir : path-like, optional
        Directory that holds the files, either directly or in a folder with the set's name, or laid out as torchvision
        does; :mod:`rfnumeric.datasets.places` says which names are known. It must exist. Default: the environment
        variable ``RFNUMERIC_DATA``, else pooch's cache directory, which is made. Not used for ``mnist-5k``.
    download : bool, default True
        Whether files that are absent may be downloaded.
    progress : callable or bool, optional
        As in :func:`fetch`.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If there is no such data set.
    DataError
        If files are missing and cannot be downloaded, or are damaged, mislabelled or hostile: every file, packed or
        not, must have the published content. Of Fashion-MNIST unpacked no checksum is published; there only the form
        and the labels are checked.

    Examples
    --------
    >>> load("mnist-5k")
    Dataset('mnist-5k': 4000 training and 1000 test images of shape (28, 28), 10 classes)
    """
    if _is_foreign(name):
        return _of_another_package(name)
    source = _source(name)
    if not status(name, data_dir).present:
        if not download:
            raise DataError(_where_to_put(source, _directory(source, data_dir), "is not there"))
        fetch(name, data_dir, progress)
    found = status(name, data_dir).found
    if isinstance(source, CifarSource):
        return read_cifar10(found[0], source)
    return _read_idx_set(source, found)


def _is_foreign(name: str) -> bool:
    return name not in SOURCES and name in plugins.found(plugins.DATASETS)


def _of_another_package(name: str) -> Dataset:
    dataset = plugins.load(plugins.DATASETS, name)()
    if not isinstance(dataset, Dataset) or dataset.name != name:
        raise PluginError(
            f"entry point {name!r} of {plugins.DATASETS} must be a function that returns a Dataset of that name; "
            f"it returned {dataset!r}."
        )
    return dataset


def status(name: str, data_dir: str | os.PathLike[str] | None = None) -> Status:
    """Say which files of a data set are there, without reading them. Parameters as in :func:`load`."""
    if _is_foreign(name):
        return Status(name, True, True, Path(), (), ())
    source = _source(name)
    directory = _directory(source, data_dir)
    if isinstance(source, CifarSource):
        place = find_cifar(source, directory)
        found: tuple[Path, ...] = () if place is None else (place,)
        missing: tuple[str, ...] = () if found else (source.archive.name,)
    else:
        places = find_idx(source, directory)
        found = tuple(place for place in places.values() if place)
        missing = tuple(name for name, place in places.items() if not place)
    return Status(name, not missing, source.url is None, directory, found, missing)


def fetch(
    name: str, data_dir: str | os.PathLike[str] | None = None, progress: Progress | bool | None = None
) -> tuple[Path, ...]:
    """Download what is missing or damaged of a data set, and verify it. Nothing is done for what is there and sound.

    Parameters
    ----------
    name, data_dir
        As in :func:`load`; new files go to ``data_dir/name``.
    progress : callable or bool, optional
        True shows a bar on standard error; a callable is called as ``progress(file, received, total)``, in bytes.

    Returns
    -------
    tuple of pathlib.Path
        The files (for CIFAR-10 the archive, or the folder of batches).

    Raises
    ------
    ValueError
        If there is no such data set.
    DataError
        If a download fails; the message says which files to put where instead.
    """
    if _is_foreign(name):
        return ()
    source = _source(name)
    before = status(name, data_dir)
    if not (before.present and all(check.ok for check in verify(name, data_dir))):
        if source.url is None:
            raise DataError(
                f"`{name}` comes with the package, in {before.directory}; its files are damaged. Reinstall rfnumeric."
            )
        _require_folder(before.directory, data_dir)
        target = before.directory / source.name
        with _progress(progress) as report:
            for file in _files_to_fetch(source, before):
                try:
                    download(source.url + file.name, target / file.name, file.checksum, progress=report)
                except DataError as error:
                    with suppress(OSError):
                        target.rmdir()  # only if it is empty
                    raise DataError(
                        _where_to_put(source, before.directory, f"could not be fetched: {str(error).rstrip('.')}")
                    ) from error
    return status(name, data_dir).found


def verify(name: str, data_dir: str | os.PathLike[str] | None = None) -> tuple[Check, ...]:
    """Compare every file of a data set with its known checksum. Parameters as in :func:`load`.

    CIFAR-10 is verified batch by batch, so that a re-packed archive with the same content is sound. Decompressed MNIST
    files are compared with the checksum of the content; for Fashion-MNIST none is published: decompressed, it does not
    pass.

    Returns
    -------
    tuple of Check
        One a file (CIFAR-10: one a batch).

    Examples
    --------
    >>> all(check.ok for check in verify("mnist-5k"))
    True
    """
    if _is_foreign(name):
        return ()
    source = _source(name)
    there = status(name, data_dir)
    if isinstance(source, CifarSource):
        return _verify_cifar(source, there)
    places = find_idx(source, there.directory)
    return tuple(_verify_idx(file, places[file.name]) for file in source.files)


def data_directory(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the directory of the data sets: `data_dir`, else ``RFNUMERIC_DATA``, else pooch's cache directory."""
    chosen = data_dir or os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("rfnumeric"))


def embedded_directory() -> Path:
    """Return the folder of mnist-5k: the installed package ``rfnumeric.data``, or ``data/`` beside it in a clone."""
    from importlib import resources

    with suppress(ModuleNotFoundError):
        return Path(str(resources.files("rfnumeric.data")))
    return Path(__file__).parents[2] / "data"


def _source(name: str) -> IdxSource | CifarSource:
    if name not in SOURCES:
        raise ValueError(f"`name` must be one of {', '.join(names())}; got {name!r}.")
    return SOURCES[name]


def _directory(source: IdxSource | CifarSource, data_dir: str | os.PathLike[str] | None) -> Path:
    return embedded_directory() if source is MNIST_5K else data_directory(data_dir)


def _require_folder(directory: Path, data_dir: str | os.PathLike[str] | None) -> None:
    # One that somebody named is not made: a mistyped name would be made and filled.
    if (data_dir or os.environ.get(ENVIRONMENT_VARIABLE)) and not isdir(directory):
        what = "is a file" if exists(directory) else "does not exist"
        raise DataError(
            f"`{directory}` must be a folder that exists; it {what}. Make it, or correct --data-dir (data_dir=) or "
            f"{ENVIRONMENT_VARIABLE}."
        )


def _where_to_put(source: IdxSource | CifarSource, directory: Path, reason: str) -> str:
    files = [source.archive] if isinstance(source, CifarSource) else source.files
    return (
        f"`{source.name}` {reason}. Put {', '.join(file.name for file in files)} into {directory / source.name}, "
        f"or name the directory that has them with --data-dir (data_dir=) or {ENVIRONMENT_VARIABLE}. "
        f"{describe(source, directory)}"
    )


def _read_idx_set(source: IdxSource, paths: tuple[Path, ...]) -> Dataset:
    arrays = []
    shapes = (
        (source.n_train, *source.image_shape),
        (source.n_train,),
        (source.n_test, *source.image_shape),
        (source.n_test,),
    )
    for file, path, shape in zip(source.files, paths, shapes, strict=True):
        array = _read_verified(source, file, path, shape)
        arrays.append(array.reshape(len(array), -1) if array.ndim > 1 else array.astype(np.int64))
    train_images, train_labels, test_images, test_labels = arrays
    return Dataset(
        source.name,
        train_images,
        train_labels,
        test_images,
        test_labels,
        source.image_shape,
        source.class_names,
    )


def _read_verified(source: IdxSource, file: File, path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = read_idx(path, shape=shape)
    except DataError:
        _refuse_another(source, file, path, of_file(path, "md5"))
        raise
    if array.dtype != np.uint8:
        raise DataError(f"`{path}` must hold uint8; its header says {array.dtype}. {_AGAIN}")
    expected = file.content_checksum
    found = of_bytes(idx_header(array) + array.tobytes(), expected or "md5:")
    _refuse_another(source, file, path, found)
    if expected is None and _is_packed(path):  # of the content none is published
        expected, found = file.checksum, of_file(path, file.checksum)
    if expected not in (None, found):
        what = f"{file.name} of {source.name}, {expected}"
        raise DataError(f"`{path}` must have the content of {what}; got {found}. {_AGAIN}")
    return array


def _refuse_another(source: IdxSource, file: File, path: Path, found: str) -> None:
    # MNIST and Fashion-MNIST have the same file names, shapes and labels; only the checksums tell them apart.
    for other in SOURCES.values():
        for known in other.files if isinstance(other, IdxSource) else ():
            if found in (known.checksum, known.content_checksum) and (other.name, known) != (source.name, file):
                raise DataError(f"`{path}` must be {file.name} of {source.name}; it is {known.name} of {other.name}.")


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _files_to_fetch(source: IdxSource | CifarSource, before: Status) -> list[File]:
    if isinstance(source, CifarSource):
        return [source.archive]
    places = find_idx(source, before.directory)
    return [file for file in source.files if not _verify_idx(file, places[file.name]).ok]


def _verify_idx(file: File, path: Path | None) -> Check:
    if path is None:
        return Check(file.name, file.checksum, "missing", False)
    try:
        packed = _is_packed(path)
        expected = file.checksum if packed else file.content_checksum
        if expected is None:
            return Check(str(path), file.checksum, "unpacked: no checksum is published for that", False)
        found = of_file(path, expected)
        if packed and found != expected and file.content_checksum:  # packed anew, perhaps
            expected, found = file.content_checksum, of_content(path, file.content_checksum, MAX_CONTENT)
    except (DataError, OSError) as error:
        return Check(str(path), file.checksum, str(error), False)
    return Check(str(path), expected, found, found == expected)


def _verify_cifar(source: CifarSource, there: Status) -> tuple[Check, ...]:
    checks: dict[File, Check] = {}
    trouble = None
    if there.found:
        try:
            for file, records in read_batches(there.found[0], source, verify=False):
                found = of_bytes(records.data, file.checksum)
                checks[file] = Check(file.name, file.checksum, found, found == file.checksum)
        except DataError as error:
            trouble = Check(str(there.found[0]), source.archive.checksum, str(error), False)
    files = (*source.members, source.test_member)
    report = tuple(checks.get(file, Check(file.name, file.checksum, "missing", False)) for file in files)
    return (*report, trouble) if trouble else report


@contextmanager
def _progress(progress: Progress | bool | None) -> Generator[Progress | None]:
    if progress is True:
        with rich_progress() as report:
            yield report
    else:
        yield progress or None
