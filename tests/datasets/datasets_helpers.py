"""What several of these tests need besides fixtures."""

import hashlib
from pathlib import Path

import pytest

from rfnumeric.datasets import status


def require(directory: Path, name: str) -> Path:
    if not status(name, directory).present:
        pytest.skip(f"{name} is not in {directory}")
    return directory


def checksum(data: bytes, algorithm: str) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
