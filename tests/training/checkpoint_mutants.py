"""Mutated checkpoints, loaded one after the other in a process with little memory; run by `test_checkpoint_fuzz.py`.

``python checkpoint_mutants.py FOLDER FIRST COUNT`` prints one JSON object: how many ended how, the slowest, the peak of
the memory, and a line for each that ended otherwise than in the right data or in one clear error.
"""

from __future__ import annotations

import copy
import io
import json
import random
import resource
import signal
import struct
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from rfnumeric.errors import CheckpointError
from rfnumeric.training import RunConfig, checkpoint, train
from rfnumeric.training.files import signed
from rfnumeric.training.fingerprint import fingerprint
from rfnumeric.training.loop import CHECKPOINT_FILE, Loop

sys.path.insert(0, str(Path(__file__).parent))
from training_helpers import same_bits, tiny_dataset

SECONDS, HEADROOM = 10, 300 << 20
NASTY = [
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2,
        99,
        1e308,
        -0.0,
        0.5,
        10**30,
        10**400,
        "",
        "x",
        "running",
        "diverged",
        "completed",
    ),
    *([], {}, [[]], {"epoch": 1}, "\x1b[2J", "\ud800", "a" * 100_000, [0] * 10_000),
]
HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (7, 9), }",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (7, 9), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-7, 9), }",
    "(" * 5000,
    "[" * 90 + "'",
    "{'descr': '<f4'",
    "__import__('os').abort()",
    "'''",
    "\\",
    "0x" + "9" * 3000,
]


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts: list[tuple[str, bytes]], how: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts:
            archive.writestr(zipfile.ZipInfo(name), content, how)
    return out.getvalue()


def flip(rng: random.Random, data: bytearray) -> bytes:
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(rng: random.Random, data: bytearray) -> bytes:
    a, b = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    junk = rng.randbytes(rng.randrange(200))
    choices = (data[:a], data[a:], data[:a] + data[b:], data[:b] + data[a:], data[:a] + junk + data[b:], data + junk)
    return bytes(rng.choice(choices))


def fields(rng: random.Random, data: bytearray) -> bytes:
    """Numbers in the archive's own records, where sizes and places stand."""
    starts = [i for m in (b"PK\1\2", b"PK\3\4", b"PK\5\6") for i in find_all(data, m)]
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.choice(starts) + rng.randrange(4, 46)
        value = rng.choice([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, len(data), rng.randrange(2**32)])
        data[at : at + 4] = struct.pack("<L", value)
    return bytes(data)


def find_all(data: bytes | bytearray, what: bytes) -> list[int]:
    found, at = [], data.find(what)
    while at >= 0:
        found.append(at)
        at = data.find(what, at + 1)
    return found


def swap(rng: random.Random, data: bytearray) -> bytes:
    parts = list(members(bytes(data)).items())
    i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
    match rng.randrange(5):
        case 0:  # contents of two members
            parts[i], parts[j] = (parts[i][0], parts[j][1]), (parts[j][0], parts[i][1])
        case 1:  # a member twice, or under another name
            parts.append((rng.choice([parts[i][0], "../W/1.npy", "W/9.npy", "a" * 60_000, "meta.json"]), parts[j][1]))
        case 2:
            del parts[i]
        case 3:  # another order, which changes nothing
            rng.shuffle(parts)
        case 4:  # grows on being read
            parts[i] = (parts[i][0], parts[i][1][:128] + bytes(rng.choice([100, 10**6, 50 * 10**6])))
            return packed(parts, zipfile.ZIP_DEFLATED)
    return packed(parts)


def header(rng: random.Random, data: bytearray) -> bytes:
    parts = members(bytes(data))
    name = rng.choice(list(parts))
    content = parts[name]
    start = 10 + int.from_bytes(content[8:10], "little")
    text = rng.choice(HEADERS).encode()
    if rng.random() < 0.5:
        old = bytearray(content[10:start])
        old[rng.randrange(len(old))] = rng.randrange(256)
        text = bytes(old)
    version = rng.choice([b"\1\0", b"\1\0", b"\2\0", b"\3\0"])
    length = struct.pack("<H" if version == b"\1\0" else "<L", len(text))
    parts[name] = b"\x93NUMPY" + version + length + text + content[start:]
    return packed(list(parts.items()))


def places(value, path=()):
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*path, key))


def meta(rng: random.Random, data: bytearray) -> bytes:
    """Values of the JSON text; in half of the cases the digest is made to fit again."""
    parts = members(bytes(data))
    old = parts["meta.json.npy"]
    start = 10 + int.from_bytes(old[8:10], "little")
    document = json.loads(old[start:])
    for _ in range(rng.choice([1, 1, 2, 4])):
        path = rng.choice([p for p in places(document) if p])
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        if rng.random() < 0.2:
            del inner[path[-1]]
        else:
            inner[path[-1]] = copy.deepcopy(rng.choice(NASTY))
    if fits := rng.random() < 0.5:
        document = signed({k: v for k, v in document.items() if k not in ("digest", "format")}, checkpoint.FORMAT)
    text = json.dumps(document).encode()
    if not fits and rng.random() < 0.3:
        tricks = (
            b"[" * 200_000,
            b"{" * 9999,
            text.replace(b"0", b"NaN", 1),
            text.replace(b"1", b"1e999", 1),
            text[:-1],
        )
        text = rng.choice([*tricks, b"\xff" + text, text + b" ", b"null", b"9" * 5000])
    array = io.BytesIO()
    np.save(array, np.frombuffer(text, np.uint8))
    parts["meta.json.npy"] = array.getvalue()
    return packed(list(parts.items()))


KINDS = (flip, cut, fields, swap, header, meta)


def same(state: checkpoint.State, whole: checkpoint.State) -> bool:
    arrays = state.arrays().keys() == whole.arrays().keys() and same_bits(
        list(state.arrays().values()), list(whole.arrays().values())
    )
    return arrays and json.dumps(state.progress) == json.dumps(whole.progress)


def overdue(*_):
    raise TimeoutError


def main(folder: Path, first: int, count: int) -> None:
    config = RunConfig(
        rule="rf-two-phase", dataset="tiny", sizes=(12, 9, 7, 3), output="identity", hidden="leaky-relu", bias=True,
        negative_slope=0.5, batch_size=13, epochs=2, lr=(1e-3, 2e-3), optimizer="momentum",
    )  # fmt: skip
    dataset = tiny_dataset()
    train(config, dataset, out=folder)
    path, loop, data = folder / CHECKPOINT_FILE, Loop(config, dataset), fingerprint(dataset)
    original, like = path.read_bytes(), loop.state()
    whole = checkpoint.load(path, config, data, loop.backend, like)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + HEADROOM, size + HEADROOM))
    signal.signal(signal.SIGALRM, overdue)
    counts: Counter[str] = Counter()
    wrong, slowest = [], 0.0
    for seed in range(first, first + count):
        rng = random.Random(seed)
        kind = rng.choice(KINDS)
        path.write_bytes(kind(rng, bytearray(original)))
        signal.alarm(SECONDS)
        started = time.perf_counter()
        try:
            state = checkpoint.load(path, config, data, loop.backend, like)
            # Where the digest was made to fit, a number that could be true cannot be told from the one that is.
            ending = "right" if same(state, whole) else "plausible" if kind is meta else "WRONG DATA"
        except CheckpointError as error:
            text = str(error)
            clear = str(path) in text and len(text) < 1000 and text.isprintable()
            ending = "refused" if clear else f"UNCLEAR {text[:300]!r}"
        except BaseException as error:
            ending = f"{type(error).__name__} {error}"
        signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - started)
        counts[f"{kind.__name__} {ending.split()[0]}"] += 1
        if ending not in ("right", "plausible", "refused"):
            wrong.append(f"seed {seed}, {kind.__name__}: {ending[:300]}")
    # Not ru_maxrss, which outlives exec: a process that starts from a large one would report that one's memory.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
    print(json.dumps({"counts": counts, "wrong": wrong, "slowest": slowest, "peak_mb": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
