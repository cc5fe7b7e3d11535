"""CIFAR-10: the archive and the folder give the same set; an archive that is not the published one is refused."""

import gzip
import io
import os
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfnumeric.datasets import catalog
from rfnumeric.datasets.cifar import read_cifar10
from rfnumeric.errors import DataError

FOLDER = "cifar-10-batches-bin"


def member(name: str, type_: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = type_, size, link
    return info


def make_tar(path, contents: dict[str, bytes], extra: tuple = (), folder: str = FOLDER, form=tarfile.USTAR_FORMAT):
    with tarfile.open(path, "w:gz", format=form) as tar:
        tar.addfile(member(folder, tarfile.DIRTYPE))
        for info, data in extra:
            tar.addfile(info, io.BytesIO(data))
        for name, data in contents.items():
            tar.addfile(member(f"{folder}/{name}", size=len(data)), io.BytesIO(data))
    return path


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "cifar-10-binary.tar.gz"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archive_and_folder_agree(archive, tmp_path, small_cifar, form):
    source, contents = small_cifar
    backwards = dict(reversed(contents.items()))  # the order of members does not matter
    extra = ((member(f"{FOLDER}/readme.html", size=2), b"hi"), (member(f"{FOLDER}/batches.meta.txt"), b""))
    make_tar(archive, backwards, extra, form=form)
    folder = tmp_path / FOLDER
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    plain = tmp_path / "cifar-10-binary.tar"
    plain.write_bytes(gzip.decompress(archive.read_bytes()))

    records = np.frombuffer(b"".join(contents.values()), np.uint8).reshape(15, 13)
    for path in (archive, plain, folder):
        data = read_cifar10(path, source)
        np.testing.assert_array_equal(data.train_images, records[:10, 1:])
        np.testing.assert_array_equal(data.train_labels, records[:10, 0])
        np.testing.assert_array_equal(data.test_images, records[10:, 1:])
        np.testing.assert_array_equal(data.test_labels, records[10:, 0])
    assert {p.name for p in tmp_path.iterdir()} == {plain.name, archive.name, FOLDER}  # nothing was extracted


BAD = b"#!/bin/sh\n"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (member("../evil.bin", size=len(BAD)), "nothing but the files"),
        (member(f"{FOLDER}/../../evil.bin", size=len(BAD)), "nothing but the files"),
        (member(f"{FOLDER}/../test_batch.bin", size=len(BAD)), "nothing but the files"),
        (member("/etc/evil", size=len(BAD)), "nothing but the files"),
        (member("test_batch.bin", size=len(BAD)), "nothing but the files"),
        (member(f"{FOLDER}/evil.sh", size=len(BAD)), "nothing but the files"),
        (member(f"{FOLDER}/readme.html", tarfile.SYMTYPE, link="/etc/passwd"), "plain files only"),
        (member(f"{FOLDER}/test_batch.bin", tarfile.SYMTYPE, link="/etc/passwd"), "plain files only"),
        (member(f"{FOLDER}/test_batch.bin", tarfile.LNKTYPE, link=f"{FOLDER}/data_batch_1.bin"), "plain files only"),
        (member(f"{FOLDER}/test_batch.bin", tarfile.CHRTYPE), "plain files only"),
        (member(f"{FOLDER}/test_batch.bin", tarfile.FIFOTYPE), "plain files only"),
        (member(f"{FOLDER}/deeper", tarfile.DIRTYPE), "plain files only"),
        (member("elsewhere", tarfile.DIRTYPE), "plain files only"),
        (member(f"{FOLDER}/test_batch.bin", size=len(BAD)), "must have 65 bytes; it has 10"),
    ],
)
def test_foreign_members(archive, tmp_path, small_cifar, extra, message):
    source, contents = small_cifar
    make_tar(archive, contents, ((extra, BAD if extra.size else b""),))
    with pytest.raises(DataError, match=message):
        read_cifar10(archive, source)
    assert list(tmp_path.iterdir()) == [archive]


def test_missing_twice_altered_mislabelled(archive, small_cifar):
    source, contents = small_cifar
    make_tar(archive, {name: data for name, data in contents.items() if name != "data_batch_2.bin"})
    with pytest.raises(DataError, match=r"it lacks data_batch_2\.bin"):
        read_cifar10(archive, source)
    once = contents["test_batch.bin"]
    make_tar(archive, contents, ((member(f"{FOLDER}/test_batch.bin", size=len(once)), once),))
    with pytest.raises(DataError, match="twice"):
        read_cifar10(archive, source)
    make_tar(archive, contents | {"test_batch.bin": bytes([once[0] ^ 1]) + once[1:]})
    with pytest.raises(DataError, match="must have sha1:"):
        read_cifar10(archive, source)
    make_tar(archive, contents | {"test_batch.bin": contents["data_batch_1.bin"]})
    with pytest.raises(DataError, match="must have sha1:"):
        read_cifar10(archive, source)


def test_too_many_members(archive, small_cifar):
    source, contents = small_cifar
    extra = tuple((member(f"{FOLDER}/readme.html"), b"") for _ in range(100))
    with pytest.raises(DataError, match="at most 64 members"):
        read_cifar10(make_tar(archive, contents, extra), source)


def test_truncated_archive(archive, small_cifar):
    source, contents = small_cifar
    whole = make_tar(archive, contents).read_bytes()
    content = gzip.decompress(whole)
    last = 512 * 6 + 65  # folder, then header and data of each batch; what follows is padding
    cut_short = [whole[:cut] for cut in range(0, len(whole) // 2, 37)] + [content[:cut] for cut in range(0, last, 100)]
    for data in (*cut_short, content[: last - 1]):
        archive.write_bytes(data)
        with pytest.raises(DataError):
            read_cifar10(archive, source)


def test_headers_that_lie_about_sizes(archive, small_cifar):
    """An extended header of 8 GiB, a file of 8 GiB and a negative size, each backed by nothing."""
    source, contents = small_cifar
    whole = gzip.decompress(make_tar(archive, contents).read_bytes())

    def lie(type_: bytes, size: bytes) -> bytes:
        block = bytearray(member(f"{FOLDER}/readme.html").tobuf(tarfile.USTAR_FORMAT))
        block[124:136], block[156:157] = size, type_
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)

    huge, negative = b"77777777777\0", b"\xff" * 10 + b"\x02\x00"
    tracemalloc.start()
    for type_ in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        archive.write_bytes(gzip.compress(lie(type_, huge) + whole))
        with pytest.raises(DataError, match=r"has a header of"):
            read_cifar10(archive, source)
    for size in (huge, negative):
        archive.write_bytes(gzip.compress(lie(tarfile.REGTYPE, size) + whole))
        with pytest.raises(DataError):
            read_cifar10(archive, source)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_bomb_between_the_batches(archive, small_cifar):
    """64 MiB of zeros as readme.html: allowed by name, beyond what the archive may hold."""
    source, contents = small_cifar
    make_tar(archive, contents, ((member(f"{FOLDER}/readme.html", size=64 << 20), bytes(64 << 20)),))
    assert archive.stat().st_size < 1 << 17
    with pytest.raises(DataError, match="outside the archive"):
        read_cifar10(archive, source)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.data())
def test_damaged_anywhere_gives_the_set_or_a_data_error(archive, small_cifar, data):
    source, contents = small_cifar
    content = bytearray(gzip.decompress(make_tar(archive, contents).read_bytes()))
    for _ in range(data.draw(st.integers(1, 4))):
        # mostly in the first 512 bytes of a member, where the header is
        position = data.draw(st.integers(0, 7)) * 512 + data.draw(st.integers(0, 511))
        content[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # with a checksum that is right again, the fields are believed
        for start in range(0, 512 * 7, 1024):
            block = content[start : start + 512]
            block[148:156] = b" " * 8
            content[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    archive.write_bytes(content)
    try:
        result = read_cifar10(archive, source)
    except DataError:  # anything else that is raised fails the test
        pass
    else:
        assert result.train_images.tobytes() == b"".join(
            bytes(contents[file.name][i * 13 + 1 : i * 13 + 13]) for file in source.members for i in range(5)
        )


def test_verify_reports_batch_by_batch(archive, small_cifar, monkeypatch):
    source, contents = small_cifar
    monkeypatch.setitem(catalog.SOURCES, "cifar-10", source)
    make_tar(archive, contents)
    assert [check.ok for check in catalog.verify("cifar-10", archive.parent)] == [True] * 3
    make_tar(archive, contents | {"data_batch_2.bin": bytes(65)})
    assert [check.ok for check in catalog.verify("cifar-10", archive.parent)] == [True, False, True]
    make_tar(archive, contents, ((member("../evil"), b""),))
    report = catalog.verify("cifar-10", archive.parent)
    assert not any(check.ok for check in report)
    assert "../evil" in report[-1].found
    os.remove(archive)
    assert [check.found for check in catalog.verify("cifar-10", archive.parent)] == ["missing"] * 3
