"""Labelled images: an embedded set of 5,000 digits, and MNIST, Fashion-MNIST and CIFAR-10 from files or the network.

``load("mnist-5k")`` works everywhere and at once. Importing this package imports NumPy and nothing else outside the
standard library; pooch, requests and rich come in when something is downloaded.
"""

from rfnumeric.datasets.catalog import Check, Status, data_directory, fetch, load, names, status, verify
from rfnumeric.datasets.dataset import Dataset
from rfnumeric.datasets.download import rich_progress
from rfnumeric.datasets.idx import read_idx, write_idx

__all__ = [
    "Check",
    "Dataset",
    "Status",
    "data_directory",
    "fetch",
    "load",
    "names",
    "read_idx",
    "rich_progress",
    "status",
    "verify",
    "write_idx",
]
