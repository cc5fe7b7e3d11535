"""Where real data may lie, and small made-up sources so that no test needs it."""

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets_helpers import checksum

from rfnumeric.datasets import sources, write_idx
from rfnumeric.datasets.sources import File


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory with the real sets; the tests that need it skip where there is none."""
    named = os.environ.get("RFNUMERIC_DATA")
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if named:
        return Path(named)
    if beside.is_dir():
        return beside
    pytest.skip("real data sets: set RFNUMERIC_DATA to the directory that has them")


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """`mnist` as a set of 30 + 10 images of 4×4, written to DIR/mnist; returns (DIR, source)."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    files = []
    for file, shape in zip(sources.MNIST.files, ((30, 4, 4), (30,), (10, 4, 4), (10,)), strict=True):
        high = 256 if len(shape) == 3 else 10
        write_idx(folder / file.name, rng.integers(0, high, shape).astype(np.uint8))
        packed = (folder / file.name).read_bytes()
        files.append(File(file.name, checksum(packed, "md5"), checksum(gzip.decompress(packed), "md5")))
    source = replace(sources.MNIST, files=tuple(files), n_train=30, n_test=10, image_shape=(4, 4))
    monkeypatch.setitem(sources.SOURCES, "mnist", source)
    return tmp_path / "data", source


@pytest.fixture
def small_cifar():
    """(source, contents) of a CIFAR-10 with two training batches and one test batch of 5 records of 3×2×2."""
    rng = np.random.default_rng(0)
    contents = {}
    for name in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
        records = rng.integers(0, 256, (5, 13)).astype(np.uint8)
        records[:, 0] %= 10
        contents[name] = records.tobytes()
    files = [File(name, checksum(data, "sha1")) for name, data in contents.items()]
    source = replace(sources.CIFAR10, members=tuple(files[:2]), test_member=files[2], records=5, image_shape=(3, 2, 2))
    return source, contents
