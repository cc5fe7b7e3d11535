"""Data files as people have them: names, folders and archives of other tools are read; altered files are refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import resource
import tarfile
import time
from dataclasses import replace

import numpy as np
import pytest

from rfnumeric.datasets import load, sources, status, verify, write_idx
from rfnumeric.datasets.sources import File
from rfnumeric.errors import DataError

PARTS = ("train_images", "train_labels", "test_images", "test_labels")
BATCHES = "cifar-10-batches-bin"


def checksum(algorithm: str, data: bytes) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Contents of a small `mnist`, 7 + 3 images of 3×5, by the unpacked file's published name."""
    rng = np.random.default_rng(13)
    contents, files = {}, []
    for file, shape in zip(sources.MNIST.files, ((7, 3, 5), (7,), (3, 3, 5), (3,)), strict=True):
        path = tmp_path / "made.idx"
        write_idx(path, rng.integers(0, 10, shape).astype(np.uint8))
        name = file.name.removesuffix(".gz")
        contents[name] = path.read_bytes()
        packed = gzip.compress(contents[name], mtime=0)
        files.append(File(file.name, checksum("md5", packed), checksum("md5", contents[name])))
        path.unlink()
    source = replace(sources.MNIST, files=tuple(files), n_train=7, n_test=3, image_shape=(3, 5))
    monkeypatch.setitem(sources.SOURCES, "mnist", source)
    monkeypatch.delenv("RFNUMERIC_DATA", raising=False)
    return contents


@pytest.fixture
def batches(monkeypatch):
    """Contents of a small `cifar-10`, 2 + 1 batches of 4 records of 3×1×2, by name."""
    rng = np.random.default_rng(17)
    contents = {}
    for name in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
        contents[name] = rng.integers(0, 10, (4, 7)).astype(np.uint8).tobytes()
    files = [File(name, checksum("sha1", data)) for name, data in contents.items()]
    source = replace(sources.CIFAR10, members=tuple(files[:2]), test_member=files[2], records=4, image_shape=(3, 1, 2))
    monkeypatch.setitem(sources.SOURCES, "cifar-10", source)
    monkeypatch.delenv("RFNUMERIC_DATA", raising=False)
    return contents


def put(path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# How a file of MNIST is called, and where it lies, below --data-dir.
LAYOUTS = {
    "as published": "mnist/{name}.gz",
    "flat": "{name}.gz",
    "unpacked": "mnist/{name}",
    "dotted": "mnist/{dotted}",
    "dotted and packed": "{dotted}.gz",
    "torchvision": "MNIST/raw/{name}",
    "torchvision, packed": "MNIST/raw/{name}.gz",
    "below MNIST": "raw/{name}",
    "a folder named like the file": "mnist/{name}/{name}",
    "a folder named like the packed file": "{name}.gz/{dotted}",
    "upper case": "Mnist/{upper}.GZ",
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_names_and_folders_that_people_have(digits, tmp_path, layout):
    for name, data in digits.items():
        dotted = name.replace("-idx", ".idx")
        path = tmp_path / layout.format(name=name, dotted=dotted, upper=name.upper())
        put(path, gzip.compress(data) if path.suffix in (".gz", ".GZ") else data)
        put(path.parent / f"._{path.name}", b"\0\5\26\7 Mac OS X")  # of the file's attributes
        put(path.parent / ".DS_Store", b"\0\0\0\1Bud1")
    found = load("mnist", tmp_path, download=False)
    for part, data in zip(PARTS, digits.values(), strict=True):
        assert getattr(found, part).astype(np.uint8).tobytes() == data[4 + 4 * data[3] :]
    assert all(check.ok for check in verify("mnist", tmp_path))


def test_one_of_the_files_names_its_folder(digits, tmp_path):
    for name, data in digits.items():
        put(tmp_path / "here" / name, data)
    assert load("mnist", tmp_path / "here" / "train-images-idx3-ubyte", download=False).name == "mnist"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("index", range(4))
def test_one_changed_byte_is_refused_by_name(digits, tmp_path, packed, index):
    for name, data in digits.items():
        put(tmp_path / f"{name}{'.gz' if packed else ''}", gzip.compress(data) if packed else data)
    assert load("mnist", tmp_path, download=False).name == "mnist"
    name = list(digits)[index]
    altered = bytearray(digits[name])
    altered[-1] = (altered[-1] + 1) % 10
    path = tmp_path / f"{name}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(altered) if packed else altered)
    with pytest.raises(DataError, match=rf"`{path}` must have the content of {name}.gz of mnist, md5:\w+; got md5:"):
        load("mnist", tmp_path, download=False)
    assert [check.ok for check in verify("mnist", tmp_path)] == [k != index for k in range(4)]


def test_what_is_there_instead_is_listed(digits, tmp_path):
    put(tmp_path / "mnist" / "train.csv", b"")
    put(tmp_path / "mnist" / "t10k-images.png", b"")
    with pytest.raises(DataError, match=r"/mnist holds t10k-images\.png, train\.csv\.") as caught:
        load("mnist", tmp_path, download=False)
    assert "\n" not in str(caught.value)
    for k in range(30):
        put(tmp_path / f"{k:02d}", b"")
    with pytest.raises(DataError, match=r"holds mnist/, 00, 01, .* and 23 more\."):
        load("mnist", tmp_path, download=False)
    with pytest.raises(DataError, match=r"is not there\. .*/00 is a file\."):
        load("mnist", tmp_path / "00", download=False)
    with pytest.raises(DataError, match=r"nothing/here does not exist\."):
        load("mnist", tmp_path / "nothing/here", download=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty is empty"):
        load("mnist", tmp_path / "empty", download=False)
    put(tmp_path / "py" / "cifar-10-batches-py" / "data_batch_1", b"")
    with pytest.raises(DataError, match="The Python version is pickled"):
        load("cifar-10", tmp_path / "py", download=False)
    put(tmp_path / "odd" / "\x1b[31mtrain\udc80", b"")
    with pytest.raises(DataError, match=r"holds \\x1b\[31mtrain\\xdc80|holds \\x1b\[31mtrain") as caught:
        load("mnist", tmp_path / "odd", download=False)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("name", ["mistyped", "a file"])
def test_a_mistyped_folder_is_not_made(digits, tmp_path, monkeypatch, name):
    put(tmp_path / "a file", b"")
    with pytest.raises(DataError, match=rf"{name}` must be a folder that exists"):
        load("mnist", tmp_path / name)
    monkeypatch.setenv("RFNUMERIC_DATA", str(tmp_path / name))
    with pytest.raises(DataError, match=rf"{name}` must be a folder that exists"):
        load("mnist")
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


def test_pipes_links_and_what_may_not_be_read(digits, tmp_path):
    for name, data in digits.items():
        put(tmp_path / "real" / name, data)
        (tmp_path / f"{name}.gz").symlink_to(tmp_path / "real" / name)
    assert load("mnist", tmp_path, download=False).name == "mnist"  # links to one's own files are read
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    os.mkfifo(tmp_path / "train-labels-idx1-ubyte.gz")  # would wait for ever
    assert status("mnist", tmp_path).missing == ("train-labels-idx1-ubyte.gz",)
    (tmp_path / "train-labels-idx1-ubyte").symlink_to("train-labels-idx1-ubyte")  # round in a circle
    assert status("mnist", tmp_path).missing == ("train-labels-idx1-ubyte.gz",)
    with pytest.raises(DataError, match="is not there"):
        load("mnist", f"{tmp_path}\0", download=False)
    with pytest.raises(DataError, match="is not there"):
        load("mnist", tmp_path / ("x" * 300), download=False)


def pack(path, contents, *, mac: bool = False, top: str = "") -> None:
    """Write a tar of a folder of batches, as `tar` does on Linux or on a Mac with its extra members."""
    mode, kind = ("w:gz" if path.name.endswith("gz") else "w"), (tarfile.PAX_FORMAT if mac else tarfile.GNU_FORMAT)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=kind) as tar:
        folder = tarfile.TarInfo(f"{top}{BATCHES}")
        folder.type = tarfile.DIRTYPE
        members = [(f"{top}{BATCHES}/{name}", data) for name, data in contents.items()]
        if mac:
            attributes = b"\0\5\26\7\0\2\0\0Mac OS X        "
            extra = [(f"{top}._{BATCHES}", attributes), (f"{top}{BATCHES}/.DS_Store", b"\0\0\0\1Bud1" * 900)]
            extra += [(f"{top}{BATCHES}/._{name}", attributes) for name in contents]
            members = [m for pair in zip(extra, [*members, *[None] * len(extra)], strict=False) for m in pair if m]
            members.append((f"__MACOSX/{BATCHES}/._readme.html", attributes))
        tar.addfile(folder)
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = (
                {"LIBARCHIVE.xattr.com.apple.quarantine": "MDA4MQ", "SCHILY.dev": "16777220"} if mac else {}
            )
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("mac", [False, True])
@pytest.mark.parametrize(
    "place",
    [
        "cifar-10-binary.tar.gz",
        "cifar-10/cifar-10-binary.tar",
        "CIFAR10/cifar-10-binary.tgz",
        "cifar-10",
        "cifar-10/cifar-10-batches-bin",
    ],
)
def test_archives(batches, tmp_path, place, mac):
    pack(tmp_path / place, batches, mac=mac, top="./" if mac else "")
    images = b"".join(data[k + 1 : k + 7] for data in batches.values() for k in range(0, 28, 7))
    for directory in (tmp_path, tmp_path / place):
        found = load("cifar-10", directory, download=False)
        assert found.train_images.tobytes() + found.test_images.tobytes() == images
    assert all(check.ok for check in verify("cifar-10", tmp_path))


@pytest.mark.parametrize(
    "folder",
    ["", BATCHES, f"cifar-10/{BATCHES}", f"cifar-10-binary.tar.gz/{BATCHES}", f"cifar-10-binary/{BATCHES}", "Cifar10"],
)
def test_folders_of_batches(batches, tmp_path, folder):
    for name, data in batches.items():
        put(tmp_path / folder / name, data)
        put(tmp_path / folder / f"._{name}", b"\0\5\26\7")
    for directory in (tmp_path, tmp_path / folder, tmp_path / folder / "test_batch.bin"):
        assert load("cifar-10", directory, download=False).test_labels.tolist() == list(batches["test_batch.bin"][::7])
    (tmp_path / folder / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_2\.bin"):
        load("cifar-10", tmp_path, download=False)


EXTREMES = [0, 1, 9, 127, 128, 255]


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Damage a file in one of the ways in which disks, networks, other programs and attackers do."""
    damaged, n = bytearray(data), len(data)
    for _ in range(int(rng.integers(1, 4))):
        at, long = int(rng.integers(0, n)), int(rng.integers(1, 64))
        match int(rng.integers(0, 9)):
            case 0:
                damaged[at : at + 1] = bytes([damaged[at] ^ (1 << int(rng.integers(8)))]) if at < len(damaged) else b""
            case 1:
                damaged[at : at + long] = bytes([int(rng.choice(EXTREMES))]) * long
            case 2:
                del damaged[at:]
            case 3:
                damaged += rng.bytes(long)
            case 4:
                damaged[at:at] = damaged[at : at + long]
            case 5:
                del damaged[at : at + long]
            case 6:  # of a header: dimensions, a gzip's flags, a tar's sizes
                where = int(rng.integers(0, min(16, n)))
                damaged[where : where + 1] = bytes([int(rng.choice(EXTREMES))])
            case 7:
                damaged[at:at] = gzip.compress(rng.bytes(long))
            case 8:
                damaged = bytearray(gzip.compress(bytes(damaged), 1))
    return bytes(damaged)


def hostile_tar(rng: np.random.Generator, contents: dict[str, bytes]) -> bytes:
    """Return a tar with members that leave the folder, point elsewhere, lie about their size or have odd names."""
    odd = (
        "../out",
        "/etc/out",
        f"{BATCHES}/../../out",
        f"{BATCHES}/\udcff\x1b[2J",
        f"{BATCHES}/test_batch.bin",
        "x" * 300,
    )
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE,
             tarfile.GNUTYPE_SPARSE, tarfile.DIRTYPE, b"Z")  # fmt: skip
    file, forms = io.BytesIO(), (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
    with tarfile.open(fileobj=file, mode="w", format=forms[int(rng.integers(2))], errors="surrogateescape") as tar:
        members = [(f"{BATCHES}/{name}", data) for name, data in contents.items()]
        for _ in range(int(rng.integers(1, 4))):
            members.insert(int(rng.integers(len(members) + 1)), (str(rng.choice(odd)), None))
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = 0 if data is None else len(data)
            if data is None:
                info.type, info.linkname = kinds[int(rng.integers(len(kinds)))], "/etc/passwd"
                info.pax_headers = {} if rng.random() < 0.5 else {"size": str(rng.choice(["-1", "9" * 30, "nan"]))}
            tar.addfile(info, io.BytesIO(data or b""))
    packed = file.getvalue()
    return gzip.compress(packed, 1) if rng.random() < 0.5 else packed


def check_damaged(name: str, directory) -> bool:
    """Load a set from damaged files: True for the right data, False for one clear DataError, and nothing else."""
    started = time.monotonic()
    try:
        load(name, directory, download=False)  # which compares every file with its checksum
        return True
    except DataError as error:
        text = str(error)
        assert "\n" not in text
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text), text
        return False
    finally:
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_and_hostile_files(digits, batches, tmp_path, count):
    """Each ends in the right data or one clear error, soon and in little memory; nothing appears beside the files."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in digits.items():
        put(tmp_path / "mnist" / name, data)
    pack(tmp_path / "pack.tar.gz", batches)
    archive = (tmp_path / "pack.tar.gz").read_bytes()
    (tmp_path / "pack.tar.gz").unlink()
    places = {*tmp_path.rglob("*"), tmp_path / "cifar-10-binary.tar.gz"}
    outcomes = {True: 0, False: 0}
    for seed in range(count):
        rng = np.random.default_rng([31, seed])
        if seed % 2:
            name = list(digits)[int(rng.integers(4))]
            packed = gzip.compress(digits[name], 1) if rng.random() < 0.5 else digits[name]
            put(tmp_path / "mnist" / name, mutate(rng, packed))
            outcomes[check_damaged("mnist", tmp_path)] += 1
            put(tmp_path / "mnist" / name, digits[name])
        else:
            made = mutate(rng, archive) if seed % 4 else hostile_tar(rng, batches)
            put(tmp_path / "cifar-10-binary.tar.gz", made)
            outcomes[check_damaged("cifar-10", tmp_path)] += 1
    assert outcomes[False] > count / 2
    assert {*tmp_path.rglob("*")} <= places
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most) * 1024 < 500 << 20
