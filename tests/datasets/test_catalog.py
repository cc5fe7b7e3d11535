"""Data sets by name: layouts, status, mislabelled files, and the real sets where they are at hand."""

import gzip
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from datasets_helpers import require

from rfnumeric.datasets import Dataset, catalog, load, names, sources, status, verify, write_idx
from rfnumeric.errors import DataError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("RFNUMERIC_DATA", raising=False)


def absent(name, directory):
    with pytest.raises(DataError, match=r"is not there\. Put") as caught:
        load(name, directory, download=False)
    return str(caught.value)


def test_names_and_unknown_name():
    assert names() == ("mnist-5k", "mnist", "fashion-mnist", "cifar-10")
    for function in (load, status, verify, catalog.fetch):
        with pytest.raises(ValueError, match=r"must be one of mnist-5k, .*; got 'MNIST'"):
            function("MNIST")


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_layouts(small_mnist, tmp_path, flat, zipped):
    there, source = small_mnist
    expected = load("mnist", there)
    directory = tmp_path / "other"
    folder = directory if flat else directory / "mnist"
    folder.mkdir(parents=True)
    for file in source.files:
        data = (there / "mnist" / file.name).read_bytes()
        name = file.name if zipped else file.name.removesuffix(".gz")
        (folder / name).write_bytes(data if zipped else gzip.decompress(data))
    found = load("mnist", directory, download=False)
    assert status("mnist", directory).present
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))
        assert getattr(found, part).flags.c_contiguous
    assert (found.n_features, found.n_classes, len(found.train_images), len(found.test_images)) == (16, 10, 30, 10)


def test_directory_from_the_environment(small_mnist, monkeypatch, tmp_path):
    there, _ = small_mnist
    monkeypatch.setenv("RFNUMERIC_DATA", str(there))
    assert load("mnist", download=False).name == "mnist"
    assert str(tmp_path / "argument") in absent("mnist", tmp_path / "argument")  # the argument goes first
    monkeypatch.delenv("RFNUMERIC_DATA")
    assert catalog.data_directory().name == "rfnumeric"


def test_missing_files_are_named(small_mnist):
    there, source = small_mnist
    (there / "mnist" / source.files[3].name).unlink()
    state = status("mnist", there)
    assert (state.present, state.missing, len(state.found)) == (False, (source.files[3].name,), 3)
    assert "\n" not in absent("mnist", there)
    assert [check.ok for check in verify("mnist", there)] == [True, True, True, False]
    assert absent("cifar-10", there).startswith("`cifar-10` is not there. Put cifar-10-binary.tar.gz into")


def test_mislabelled_files(small_mnist):
    there, source = small_mnist
    folder = there / "mnist"
    images, labels, test_images, test_labels = (folder / file.name for file in source.files)
    kept = {path: path.read_bytes() for path in (images, labels, test_images, test_labels)}

    def refused(message):
        with pytest.raises(DataError, match=message):
            load("mnist", there)
        for path, data in kept.items():
            path.write_bytes(data)

    for wrong, path in ((labels, images), (images, labels), (test_images, images), (test_labels, labels)):
        path.write_bytes(kept[wrong])
        refused(f"must be {path.name} of mnist; it is {wrong.name} of mnist")
        path.write_bytes(gzip.compress(gzip.decompress(kept[wrong]), 1))  # packed anew, so that no checksum knows it
        refused("must have shape")
    write_idx(labels, np.full(30, 9, np.uint8))
    refused(rf"must have the content of {labels.name} of mnist, md5:\w+; got md5:")
    labels.write_bytes(gzip.compress(gzip.decompress(kept[labels]), 1))
    assert load("mnist", there, download=False).name == "mnist"  # packed anew, and the same
    write_idx(labels, np.zeros(29, np.uint8))
    refused(r"must have shape \(30,\)")
    write_idx(images, np.zeros((30, 4, 4), np.float32))
    refused("must hold uint8")
    assert load("mnist", there).name == "mnist"


def test_mnist_in_place_of_fashion_mnist(small_mnist, monkeypatch):
    """Same names, same shapes: only the checksum tells."""
    there, _ = small_mnist
    fashion = replace(sources.FASHION_MNIST, n_train=30, n_test=10, image_shape=(4, 4))
    monkeypatch.setitem(sources.SOURCES, "fashion-mnist", fashion)
    with pytest.raises(DataError, match=r"of fashion-mnist; it is train-images-idx3-ubyte\.gz of mnist"):
        load("fashion-mnist", there / "mnist", download=False)


def dataset(**changes):
    fields = {
        "name": "t",
        "train_images": np.zeros((3, 4), np.uint8),
        "train_labels": np.zeros(3, np.int64),
        "test_images": np.zeros((2, 4), np.uint8),
        "test_labels": np.ones(2, np.int64),
        "image_shape": (2, 2),
        "class_names": ("a", "b"),
    }
    return Dataset(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train_images": np.zeros((3, 4))}, TypeError, "must be float64 as `train_images` is; got uint8"),
        ({"train_images": [[0] * 4] * 3}, TypeError, "uint8 pixels or floating numbers; got list"),
        ({"train_images": np.zeros((3, 4), complex)}, TypeError, "uint8 pixels or floating numbers; got complex128"),
        ({"train_images": np.ma.zeros((3, 4), np.uint8)}, TypeError, "uint8 pixels"),
        ({"train_labels": np.array(["a", "b", "a"])}, TypeError, "integer labels or floating targets; got <U1"),
        ({"test_labels": np.ones((2, 2))}, TypeError, "must be int64 as `train_labels` is"),
        ({"train_images": np.zeros((3, 5), np.uint8)}, DataError, r"shape \(N, 4\)"),
        ({"train_labels": np.zeros(2, np.int64)}, DataError, r"shape \(3,\)"),
        ({"train_labels": np.zeros((3, 1), np.int64)}, DataError, r"shape \(3,\)"),
        ({"test_labels": np.array([0, 2])}, DataError, "0…1; got 0…2"),
        ({"test_labels": np.array([-1, 0])}, DataError, "0…1; got -1…0"),
    ],
)
def test_dataset_refuses_contradictions(changes, error, message):
    dataset()
    with pytest.raises(error, match=message):
        dataset(**changes)


def test_a_dataset_of_ones_own_arrays():
    x, y = np.arange(40, dtype=np.float16).reshape(10, 2, 2), np.arange(10) % 3
    own = Dataset(x, y, name="own")
    assert (own.name, own.image_shape, own.n_features, own.n_classes) == ("own", (2, 2), 4, 3)
    # Every fifth sample is held out; half precision becomes single.
    np.testing.assert_array_equal(own.test_images, x.reshape(10, 4)[[4, 9]].astype(np.float32))
    np.testing.assert_array_equal(own.train_labels, np.delete(y, [4, 9]))
    assert own.train_images.dtype == np.float32
    with_test = Dataset(x[:8].astype(">f8"), y[:8].tolist(), x[8:].astype("f8"), y[8:].tolist())
    assert with_test.train_images.dtype == np.float64
    assert len(with_test.test_labels) == 2
    targets = Dataset(np.ones((5, 3), np.uint8), np.ones((5, 2)), image_shape=(3,))
    assert (targets.has_targets, targets.n_classes, repr(targets)) == (
        True,
        2,
        "Dataset('data': 4 training and 1 test samples of shape (3,), 2 targets)",
    )
    changed = replace(targets, train_images=targets.train_images[:2], train_labels=targets.train_labels[:2])
    assert len(changed.train_images) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((9, 2)), np.zeros(9, int), np.zeros((2, 2))), TypeError, "x_test and y_test together"),
        ((np.zeros((3, 2)), np.zeros(3, int)), DataError, "at least 5"),
        ((np.zeros((9, 2)),), TypeError, "needs x and y"),
        ((np.full((9, 2), np.nan), np.zeros(9, int)), DataError, "must be finite"),
        ((np.zeros((9, 2)), np.full((9, 1), np.inf)), DataError, "must be finite"),
        ((np.zeros((9, 2)), np.arange(8)), DataError, "as many"),
    ],
)
def test_a_dataset_of_ones_own_arrays_is_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        Dataset(*arguments)


def test_import_is_light():
    """Start-up time: what only a download needs is not imported."""
    code = "import sys, rfnumeric.datasets as d; d.load('mnist-5k'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "rfnumeric.datasets" in loaded
    assert not {"pooch", "requests", "urllib3", "rich", "matplotlib"} & set(loaded)


def test_real_mnist(real_data):
    data = load("mnist", require(real_data, "mnist"), download=False)
    assert data.train_images.shape == (60_000, 784)
    assert data.test_images.shape == (10_000, 784)
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # Published statistics of the training pixels, to the four digits given: mean 0.1307, deviation 0.3081 of 255.
    assert abs(data.train_images.mean() / 255 - 0.1307) < 5e-5
    assert all(check.ok for check in verify("mnist", real_data))


def test_real_fashion_mnist(real_data):
    data = load("fashion-mnist", require(real_data, "fashion-mnist"), download=False)
    assert np.bincount(data.train_labels).tolist() == [6000] * 10


def test_real_cifar10(real_data):
    data = load("cifar-10", require(real_data, "cifar-10"), download=False)  # compares every SHA-1
    assert data.train_images.shape == (50_000, 3072)
    assert np.bincount(data.train_labels).tolist() == [5000] * 10
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    # Published mean of the channels, to the four digits given: 0.4914, 0.4822, 0.4465 of 255.
    mean = data.train_images.reshape(-1, 3, 1024).mean(axis=(0, 2)) / 255
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], rtol=0, atol=1e-4)
