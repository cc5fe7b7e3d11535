"""Downloads from a loopback server that supports Range and cuts connections: resume, checksums, nothing half-done."""

import contextlib
import logging
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pooch
import pytest
from datasets_helpers import checksum

from rfnumeric.datasets import catalog, sources
from rfnumeric.datasets import download as download_module
from rfnumeric.datasets.download import download, rich_progress
from rfnumeric.errors import DataError

BODY = np.random.default_rng(0).bytes(300_000)
SHA256 = checksum(BODY, "sha256")


class Server(ThreadingHTTPServer):
    """Serves `body`, at most `cut_after` bytes a connection, and keeps what was asked for."""

    daemon_threads = True

    def __init__(self, body=BODY, cut_after=None, ranges=True, status=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.cut_after, self.ranges, self.status = body, cut_after, ranges, status
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server: Server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.status:
            return self.send_error(server.status)
        body = server.body(self.path) if callable(server.body) else server.body
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if asked and server.ranges and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if asked and server.ranges else 200)
        if asked and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body[start:][: server.cut_after])
        self.close_connection = True


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download_module.time, "sleep", lambda _: None)
    running = []

    def start(**options) -> Server:
        server = Server(**options)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def test_whole(serve, tmp_path):
    server = serve()
    seen = []
    path = download(server.url, tmp_path / "new" / "file.bin", SHA256, progress=lambda *args: seen.append(args))
    assert path.read_bytes() == BODY
    assert seen[-1] == ("file.bin", len(BODY), len(BODY))
    assert [received for _, received, _ in seen] == sorted({received for _, received, _ in seen})
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]
    download(server.url, path, SHA256)
    assert server.asked == [None]  # it was there and right


def test_cut_connections_are_continued(serve, tmp_path):
    server = serve(cut_after=100_000)
    path = download(server.url, tmp_path / "file.bin", SHA256)
    assert path.read_bytes() == BODY
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_resume_after_giving_up(serve, tmp_path):
    """Four connections of 50,000 bytes are not enough; a second call goes on from 200,000."""
    server = serve(cut_after=50_000)
    with pytest.raises(DataError, match=r"broke off 4 times .* 200000 bytes are kept"):
        download(server.url, tmp_path / "file.bin", SHA256)
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin.part"]
    assert download(server.url, tmp_path / "file.bin", SHA256).read_bytes() == BODY
    assert server.asked[4:] == ["bytes=200000-", "bytes=250000-"]
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_ctrl_c_leaves_what_was_received(serve, tmp_path):
    server = serve()

    def interrupt(name, received, total):
        if received > 150_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server.url, tmp_path / "file.bin", SHA256, progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin.part"]
    kept = (tmp_path / "file.bin.part").stat().st_size
    assert 150_000 < kept < len(BODY)
    assert download(server.url, tmp_path / "file.bin", SHA256).read_bytes() == BODY
    assert server.asked[1:] == [f"bytes={kept}-"]


def test_server_without_range(serve, tmp_path):
    server = serve(ranges=False)
    (tmp_path / "file.bin.part").write_bytes(BODY[:1000])
    assert download(server.url, tmp_path / "file.bin", SHA256).read_bytes() == BODY
    assert server.asked == ["bytes=1000-"]


def test_short_answer_that_the_http_library_lets_pass(tmp_path):
    """urllib3 1 reports no error where fewer bytes come than announced."""

    class Response(contextlib.nullcontext):
        status_code, headers = 200, {"Content-Length": "10"}
        raw = type("Raw", (), {"read": lambda self, *_, **__: self.rest.pop(), "rest": [b"", b"short"]})()

        def raise_for_status(self):
            pass

    class Session:
        def get(self, *_, **__):
            response = Response()
            response.enter_result = response
            return response

        def alive(self, _):
            pass

    assert not download_module._receive(Session(), "http://-", tmp_path / "file.bin.part", None)
    assert (tmp_path / "file.bin.part").read_bytes() == b"short"


def test_pooch_keeps_silent(serve, tmp_path):
    said = []
    handler = logging.Handler()
    handler.emit = said.append
    logger = pooch.get_logger()
    logger.addHandler(handler)
    level = logger.level
    try:
        download(serve().url, tmp_path / "file.bin", SHA256)
    finally:
        logger.removeHandler(handler)
    assert said == []
    assert logger.level == level


def test_part_is_already_whole(serve, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(BODY)
    assert download(serve().url, tmp_path / "file.bin", SHA256).read_bytes() == BODY


@pytest.mark.parametrize("stale", [b"x" * 1000, BODY + b"longer"])
def test_remains_of_another_version_are_replaced(serve, tmp_path, stale):
    (tmp_path / "file.bin.part").write_bytes(stale)
    assert download(serve().url, tmp_path / "file.bin", SHA256).read_bytes() == BODY


@pytest.mark.parametrize("part", [None, b"x" * 1000])
def test_wrong_checksum_leaves_nothing(serve, tmp_path, part):
    if part:
        (tmp_path / "file.bin.part").write_bytes(part)
    with pytest.raises(DataError, match="must have checksum sha256:0000"):
        download(serve().url, tmp_path / "file.bin", "sha256:" + "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_endless_file_is_cut_off(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "MAX_BYTES", 100_000)
    with pytest.raises(DataError, match="at most 100000 bytes"):
        download(serve().url, tmp_path / "file.bin", SHA256)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_refusal_is_final(serve, tmp_path, status):
    server = serve(status=status)
    with pytest.raises(DataError, match=f"{status}"):
        download(server.url, tmp_path / "file.bin", SHA256)
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def closed_port(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_offline_says_in_one_line_what_to_put_where(small_mnist, closed_port, tmp_path, monkeypatch):
    _, source = small_mnist
    monkeypatch.setitem(sources.SOURCES, "mnist", replace(source, url=f"http://127.0.0.1:{closed_port}/"))
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(DataError) as caught:
        catalog.load("mnist", tmp_path / "elsewhere")
    message = str(caught.value)
    assert "\n" not in message
    assert "Connection refused" in message
    for part in (*(file.name for file in source.files), str(tmp_path / "elsewhere" / "mnist"), "RFNUMERIC_DATA"):
        assert part in message
    assert not (tmp_path / "elsewhere" / "mnist").exists()


def test_load_downloads_what_is_missing_and_fetch_mends_what_is_damaged(small_mnist, serve, tmp_path, monkeypatch):
    there, source = small_mnist
    server = serve(body=lambda path: (there / "mnist" / path[1:]).read_bytes())
    monkeypatch.setitem(sources.SOURCES, "mnist", replace(source, url=f"http://127.0.0.1:{server.server_port}/"))
    directory = tmp_path / "cache"
    directory.mkdir()
    first = catalog.load("mnist", directory)
    np.testing.assert_array_equal(first.train_images, catalog.load("mnist", there).train_images)
    assert len(server.asked) == 4
    catalog.fetch("mnist", directory)
    assert len(server.asked) == 4
    (directory / "mnist" / source.files[1].name).write_bytes(b"damaged")
    with pytest.raises(DataError, match="magic"):
        catalog.load("mnist", directory)
    assert len(catalog.fetch("mnist", directory)) == 4
    assert len(server.asked) == 5
    assert all(check.ok for check in catalog.verify("mnist", directory))


def test_unwritable_folder(serve, tmp_path):
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(DataError, match="could not be written"):
        download(serve().url, tmp_path / "a file" / "file.bin", SHA256)


def test_rich_bar_goes_to_standard_error(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with rich_progress() as progress:
        progress("file.bin", 500, 1000)
        progress("file.bin", 1000, 1000)
    out, err = capsys.readouterr()
    assert out == ""
    assert "file.bin" in err
