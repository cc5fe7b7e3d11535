"""mnist-5k: what README.md beside it says is what is in the files, and every digit is one of MNIST's."""

import gzip
import hashlib
import re

import numpy as np
import pytest
from datasets_helpers import require

from rfnumeric.datasets import load, status, verify
from rfnumeric.datasets.catalog import embedded_directory
from rfnumeric.datasets.sources import MNIST_5K


@pytest.fixture(scope="module")
def digits():
    return load("mnist-5k", "a directory that does not matter", download=False)


def test_counts(digits):
    assert digits.train_images.shape == (4000, 784)
    assert digits.test_images.shape == (1000, 784)
    # Interleaved: row 10·k + c has class c.
    np.testing.assert_array_equal(digits.train_labels, np.tile(np.arange(10), 400))
    np.testing.assert_array_equal(digits.test_labels, np.tile(np.arange(10), 100))
    rows = {image.tobytes() for image in (*digits.train_images, *digits.test_images)}
    assert len(rows) == 5000  # none twice, so none on both sides
    assert status("mnist-5k").embedded


def test_checksums_in_code_readme_and_files():
    assert all(check.ok for check in verify("mnist-5k"))
    readme = (embedded_directory() / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"\| `(\S+\.gz)` \| (.*) \|", readme))
    assert set(table) == {file.name for file in MNIST_5K.files}
    for file in MNIST_5K.files:
        data = (embedded_directory() / file.name).read_bytes()
        of_file, of_content = (hashlib.sha256(d).hexdigest() for d in (data, gzip.decompress(data)))
        assert table[file.name] == f"`{of_file}` | `{of_content}`"
        assert (file.checksum, file.content_checksum) == (f"sha256:{of_file}", f"sha256:{of_content}")


def test_every_digit_is_in_mnist(digits, real_data):
    """The first 500 of each class of MNIST's training set, every fifth a test image; none of MNIST's test set."""
    mnist = load("mnist", require(real_data, "mnist"), download=False)
    for c in range(10):
        first = mnist.train_images[np.flatnonzero(mnist.train_labels == c)[:500]]
        is_test = np.arange(500) % 5 == 4
        np.testing.assert_array_equal(digits.train_images[c::10], first[~is_test])
        np.testing.assert_array_equal(digits.test_images[c::10], first[is_test])
    unseen = {image.tobytes() for image in mnist.test_images}
    assert not unseen & {image.tobytes() for image in (*digits.train_images, *digits.test_images)}
