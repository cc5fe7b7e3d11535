"""Downloads that survive an interruption: pooch places the file, HTTP Range goes on where the last try broke off."""

import math
import os
import ssl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO

from rfnumeric.datasets.checksums import of_file
from rfnumeric.errors import DataError

#: Called with the file's name, the bytes there so far and the bytes in all (None where the server does not say).
Progress = Callable[[str, int, int | None], None]

#: More than any file here needs (CIFAR-10 takes 162 MiB); a server that sends more is cut off.
MAX_BYTES = 1 << 28
_CHUNK = 1 << 16
_TIMEOUT = (10.0, 30.0)  # seconds: to connect, between two packets; `_session.SLOWEST` limits the rate
#: Seconds that a download may take, all attempts together; what is there then is kept, and the next call goes on.
LONGEST = 3600.0


def download(url: str, target: Path, checksum: str, *, progress: Progress | None = None, attempts: int = 4) -> Path:
    """Download `url` to `target`, continuing from ``target.part`` if an earlier attempt left one.

    The file gets its name only after its checksum was found right, so that `target` is whole or absent. An interruption
    (a lost connection, Ctrl-C, a killed process) leaves the ``.part`` file for the next call; a wrong checksum removes
    it.

    Parameters
    ----------
    url : str
        HTTP or HTTPS address.
    target : pathlib.Path
        The file to make; its folder is made if need be.
    checksum : str
        ``"algorithm:hex"``.
    progress : callable, optional
        Called as ``progress(name, received, total)``, in bytes.
    attempts : int, default 4
        Connections to try, each continuing the one before, waiting 0.5, 1, 2, … seconds between them.

    Returns
    -------
    pathlib.Path
        `target`.

    Raises
    ------
    DataError
        If the server cannot be reached or refuses, its certificate is not valid, the transfer keeps breaking off,
        brings less than 64 KiB in 30 seconds or takes over an hour, the file is larger than 256 MiB or its checksum is
        wrong, or the folder cannot be written.
    """
    import pooch

    part = target.with_name(target.name + ".part")

    def resume(address: str, output_file: Any, _pooch: Any) -> None:
        _fetch_verified(address, part, checksum, progress, attempts)
        os.replace(part, output_file)

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # pooch announces each file on standard error; `progress` is for that
    try:
        pooch.retrieve(url, known_hash=checksum, fname=target.name, path=target.parent, downloader=resume)
    except OSError as error:
        raise DataError(
            f"`{target}` could not be written: {error.strerror or error}. Choose another folder."
        ) from error
    finally:
        logger.setLevel(level)
    return target


def _fetch_verified(url: str, part: Path, checksum: str, progress: Progress | None, attempts: int) -> None:
    if part.is_symlink() or (part.exists() and not part.is_file()):
        raise DataError(f"`{part}` must be what an earlier download left; it is a link, or no file. Remove it.")
    deadline = time.monotonic() + LONGEST
    resumed = part.exists()
    _receive_all(url, part, progress, attempts, deadline)
    if resumed and of_file(part, checksum) != checksum:
        part.unlink()  # the remains of another version of the file: once more from the start
        _receive_all(url, part, progress, attempts, deadline)
    if (found := of_file(part, checksum)) != checksum:
        with part.open("rb") as file:
            page = file.read(100).lstrip().startswith(b"<")
        part.unlink()
        what = " (an HTML page, as a login or an error is)" if page else ""
        raise DataError(
            f"`{url}` must have checksum {checksum}; got {found}{what}. Nothing was kept; get the file elsewhere."
        )


def _receive_all(url: str, part: Path, progress: Progress | None, attempts: int, deadline: float) -> None:
    import requests
    import urllib3

    from rfnumeric.datasets._session import Session

    # Asking again at once will not help after these; ValueError: an address that cannot be read, in a redirect.
    final = (requests.HTTPError, requests.exceptions.SSLError, requests.TooManyRedirects, ValueError)
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(0.25 * 2**attempt)
        try:
            with Session() as session:
                whole = _receive(session, url, part, progress, deadline)
                if whole and not session.ended:  # a header that is cut reads like one that ends
                    return
                reason = session.ended or "the connection was cut"
        except DataError:
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, ValueError) as error:
            # `from None`: what a server said in its own words stays out of a traceback.
            if isinstance(error, final) or (isinstance(error, requests.ConnectionError) and not part.exists()):
                raise DataError(f"`{url}` could not be downloaded: {session.ended or _brief(error)}.") from None
            reason = session.ended or _brief(error)
        if time.monotonic() > deadline:
            break
    kept = part.stat().st_size if part.exists() else 0
    tries = f"{attempts} times" if attempt + 1 == attempts else "after an hour"
    raise DataError(f"`{url}` broke off {tries} ({reason}); {kept} bytes are kept, ask again to go on from there.")


def _receive(session: Any, url: str, part: Path, progress: Progress | None, deadline: float = math.inf) -> bool:
    # Append to `part` what the server has beyond it; True if the file is then as long as the server says.
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == 416 and have:  # nothing beyond what we have: all of it, or a longer file's remains
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if total != str(have):
                part.unlink()
            return total == str(have)
        response.raise_for_status()
        content_range = response.headers.get("Content-Range", "")
        if not (response.status_code == 206 and content_range.startswith(f"bytes {have}-")):
            have = 0  # the server sends the whole file
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() and len(length) < 20 else None
        if have > MAX_BYTES or (total or 0) > MAX_BYTES:
            raise DataError(f"`{url}` must have at most {MAX_BYTES} bytes; it has {total}. Nothing was kept.")
        with _open_part(part, append=have > 0) as file:
            # raw and undecoded: the file as it is on the server, whatever Content-Encoding says
            while chunk := response.raw.read(_CHUNK, decode_content=False):
                have += len(chunk)
                if have > MAX_BYTES:
                    part.unlink()
                    raise DataError(f"`{url}` must have at most {MAX_BYTES} bytes; it sends more. Nothing was kept.")
                file.write(chunk)
                session.alive(deadline)
                if progress is not None:
                    progress(part.name.removesuffix(".part"), have, total)
    return total is None or have == total


def _open_part(part: Path, *, append: bool) -> BinaryIO:
    """Open what has been received so far; a link that has been put there meanwhile is not followed."""

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)

    return open(part, "ab" if append else "wb", opener=opener)


def _brief(error: BaseException) -> str:
    """Return the innermost cause's first line: requests wraps "connection refused" in four others."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    said = " ".join((str(error) or type(error).__name__).split())[:200]
    return f"its certificate is not valid: {said}" if isinstance(error, ssl.SSLError) else said


@contextmanager
def rich_progress() -> Generator[Progress]:
    """Show one rich bar a file on standard error: ``with rich_progress() as p: fetch("mnist", progress=p)``."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from rfnumeric.terminal import bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, Any] = {}
    with bars(*columns, transient=False) as shown:

        def update(name: str, received: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = shown.add_task(name, total=total)
            shown.update(tasks[name], completed=received, total=total)

        yield update
