"""IDX files: what is written comes back, and nothing that is not IDX gets past, or costs memory or time."""

import gzip
import os
import struct
import tracemalloc

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfnumeric.datasets import read_idx, write_idx
from rfnumeric.errors import DataError

DTYPES = [np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]
# The folder is the same for every example; each example overwrites the file.
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def header(*dims: int, code: int = 0x08) -> bytes:
    return struct.pack(f">BBBB{len(dims)}I", 0, 0, code, len(dims), *dims)


def write(path, data: bytes, zipped: bool):
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


@SHARED_FOLDER
@given(data=st.data(), dtype=st.sampled_from(DTYPES), suffix=st.sampled_from(["", ".gz"]))
def test_round_trip(tmp_path, data, dtype, suffix):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=5, min_side=0, max_side=5))
    byte_order = data.draw(st.sampled_from("<>"))
    array = data.draw(hnp.arrays(np.dtype(dtype).newbyteorder(byte_order), shape))
    write_idx(tmp_path / f"a{suffix}", array)
    back = read_idx(tmp_path / f"a{suffix}", shape=shape)
    assert back.dtype == np.dtype(dtype)
    assert back.dtype.isnative
    assert back.flags.c_contiguous
    assert back.flags.writeable
    np.testing.assert_array_equal(back, array)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_against_the_format_spelled_out(tmp_path):
    """The specification by hand: int16, 2×2, big-endian."""
    path = tmp_path / "a"
    path.write_bytes(bytes([0, 0, 0x0B, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 0, 2, 1, 0, 0xFF, 0xFF]))
    np.testing.assert_array_equal(read_idx(path), np.array([[1, 2], [256, -1]], np.int16))
    write_idx(tmp_path / "b", np.array([[1, 2], [256, -1]], np.int16))
    assert (tmp_path / "b").read_bytes() == path.read_bytes()


def test_bytes_are_reproducible(tmp_path):
    array = np.arange(1000, dtype=np.int32)
    for name in ("a.gz", "another name.gz"):
        write_idx(tmp_path / name, array)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "another name.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[3:8] == bytes(5)  # no flags (so no name), no time


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "magic"),
        (b"\0\0", "magic"),
        (b"\1\0\x08\1" + b"\0\0\0\1" + b"x", "magic"),
        (header(1, code=0x07) + b"x", "magic"),
        (b"\x80\x04\x95pickle", "magic"),
        (b"\0\0\x08\0" + b"x", "dimensions"),
        (b"\0\0\x08\xff" + b"\0" * 2000, "dimensions"),
        (b"\0\0\x08\3" + b"\0\0\0\1", "header"),
        (header(3, 4) + b"x" * 11, "truncated"),
        (header(3, 4) + b"x" * 13, "must end after 12"),
        (header(0) + b"x", "must end after 0"),
        (header(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), "at most"),  # the product overflows 64 bits
        (header(*[0xFFFFFFFF] * 8, code=0x0E), "at most"),
        (header(0, 0xFFFFFFFF, 0xFFFFFFFF), "at most"),  # empty, and yet NumPy could not make it
        (header(1 << 29), "truncated"),  # within the limit, but the file is 8 bytes long
    ],
)
def test_hostile(tmp_path, data, message, zipped):
    path = write(tmp_path / "a", data, zipped)
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20  # the 512 MiB that a header asks for were never taken


def test_gzip_bomb_is_cut_off_where_the_header_ends(tmp_path):
    """64 MiB of zeros behind a header of 16 bytes: one byte too many is enough to know."""
    path = write(tmp_path / "a", header(16) + bytes(64 << 20), True)
    tracemalloc.start()
    with pytest.raises(DataError, match="must end after 16"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_max_bytes_bounds_an_honest_bomb(tmp_path):
    path = write(tmp_path / "a", header(1 << 20) + bytes(1 << 20), True)
    assert read_idx(path).nbytes == 1 << 20
    with pytest.raises(DataError, match="at most 1000 bytes"):
        read_idx(path, max_bytes=1000)


def test_truncated_and_corrupt_gzip(tmp_path):
    path = tmp_path / "a"
    whole = gzip.compress(header(1000) + bytes(range(250)) * 4)
    for cut in (1, 2, 5, 12, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError):
            read_idx(path)
    wrong_crc = bytearray(whole)
    wrong_crc[-8] ^= 1
    path.write_bytes(wrong_crc)
    with pytest.raises(DataError, match="CRC"):
        read_idx(path)
    path.write_bytes(whole + b"not gzip")
    with pytest.raises(DataError):
        read_idx(path)


def test_wrong_shape_is_refused_before_reading(tmp_path):
    path = write(tmp_path / "a", header(100, 28, 28), False)  # no pixels at all
    with pytest.raises(DataError, match=r"must have shape \(100,\); its header says \(100, 28, 28\)"):
        read_idx(path, shape=(100,))


def test_not_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    for path in (tmp_path, tmp_path / "absent", tmp_path / "pipe"):
        with pytest.raises(DataError, match="regular file"):
            read_idx(path)


@SHARED_FOLDER
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=200).map(lambda tail: b"\0\0\x08\1" + tail),
        st.binary(max_size=200).map(lambda tail: b"\x1f\x8b\x08\0" + tail),
        st.tuples(st.binary(min_size=40, max_size=40), st.integers(0, 39)).map(
            lambda t: gzip.compress(header(40) + t[0])[: -t[1] or None]
        ),
        st.binary(max_size=200).map(lambda tail: gzip.compress(b"\0\0\x08\2" + tail)),
    )
)
def test_any_bytes_give_an_array_or_a_data_error(tmp_path, data):
    path = tmp_path / "fuzz"
    path.write_bytes(data)
    try:
        array = read_idx(path)
    except DataError:  # anything else that is raised fails the test
        pass
    else:
        assert array.nbytes <= 1032 * len(data)


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros(3, bool), TypeError),
        (np.zeros(3, np.int64), TypeError),
        (np.zeros(3, complex), TypeError),
        (np.array(["a"]), TypeError),
        (np.array([object()]), TypeError),
        (np.uint8(3), ValueError),
        (np.zeros((1,) * 9, np.uint8), ValueError),
    ],
)
def test_write_refuses_what_the_format_cannot_hold(tmp_path, array, error):
    with pytest.raises(error, match="`array` must"):
        write_idx(tmp_path / "a.gz", array)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_idx(path, np.zeros(3, np.uint8))
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_idx(path, np.ones(3, np.uint8))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
