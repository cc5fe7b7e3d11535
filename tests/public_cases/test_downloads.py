"""Servers that misbehave, all on 127.0.0.1: the right file or one clear DataError, soon, and nothing of theirs kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from rfnumeric.datasets import _session
from rfnumeric.datasets import download as module
from rfnumeric.datasets.download import download
from rfnumeric.errors import DataError

BODY = bytes(range(256)) * 300
SUM = f"sha1:{hashlib.sha1(BODY).hexdigest()}"
PAGE = b"<!DOCTYPE html><title>Sign in</title>"


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "Connection: close", "", ""]).encode("latin-1") + body


class Server:
    """Answers each connection with what `reply` gives for the request: bytes, or pieces with pauses between them."""

    def __init__(self, reply, context=None):
        self.reply, self.context, self.requests = reply, context, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.socket.getsockname()[1]}/file.bin"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.handle, args=[self.socket.accept()[0]], daemon=True).start()

    def handle(self, connection):
        with contextlib.suppress(OSError), contextlib.ExitStack() as open_ones:
            open_ones.enter_context(connection)
            if self.context:
                wrapped = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                connection = open_ones.enter_context(wrapped)
                connection.do_handshake()
            request = b""
            while b"\r\n\r\n" not in request and (more := connection.recv(4096)):
                request += more
            self.requests.append(request)
            said = self.reply(request, len(self.requests), self.url)
            for piece in [said] if isinstance(said, bytes) else said:
                connection.sendall(piece)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


@pytest.fixture
def serve(monkeypatch):
    """Start a server; downloads then use no proxy and do not wait between attempts."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(module, "time", type("Clock", (), {"sleep": lambda _: None, "monotonic": time.monotonic}))
    running = []

    def start(reply, context=None) -> Server:
        running.append(Server(reply, context))
        return running[-1]

    yield start
    for server in running:
        server.close()


def drip(first: bytes):
    yield first
    while True:
        time.sleep(0.02)
        yield b"x"


LENGTH = f"Content-Length: {len(BODY)}"
REFUSED = {
    "416 to a plain request": (answer("416 Range Not Satisfiable", "Content-Range: bytes */5"), "416"),
    "control characters": (answer("404 \x1b[2J\x1b]0;owned\x07\x9b gone"), r"404.*\\x1b\[2J"),
    "an HTML page": (answer("200 OK", f"Content-Length: {len(PAGE)}", body=PAGE), "an HTML page"),
    "another file": (answer("200 OK", LENGTH, body=BODY[::-1]), "must have checksum"),
    "an empty file": (answer("200 OK", "Content-Length: 0"), "must have checksum"),
    "no length, cut": (answer("200 OK", body=BODY[:-1]), "must have checksum"),
    "too long": (answer("200 OK", "Content-Length: 999999999999"), "at most"),
    "a length of a thousand digits": (answer("200 OK", f"Content-Length: {'9' * 1000}", body=BODY[:9]), "`http"),
    "less than announced": (answer("200 OK", "Content-Length: 99999", body=BODY), "broke off 4 times"),
    "round in a circle": (answer("302 Found", "Location: /file.bin"), "redirects"),
    "to a file of this machine": (answer("302 Found", "Location: file:///etc/hostname"), "could not be downloaded"),
    "to nowhere": (answer("302 Found", "Location: http://[::bad"), "could not be downloaded"),
    "to bytes that are no text": (answer("302 Found", "Location: http://\xff\xfe/\x1b[2J"), "could not be downloaded"),
    "no HTTP": (b"\x16\x03\x01 SSH-2.0-nothing\r\n\r\n", "could not be downloaded"),
    "nothing at all": (b"", "could not be downloaded"),
    "a bad chunk": (answer("200 OK", "Transfer-Encoding: chunked", body=b"zz\x1b[2J\r\nabc"), "broke off|downloaded"),
    "a header without end": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "could not be downloaded"),
    "a thousand headers": (answer("200 OK", *[f"X{k}: y" for k in range(1000)]), "could not be downloaded"),
}


@pytest.mark.parametrize(("reply", "message"), REFUSED.values(), ids=REFUSED)
def test_one_clear_error_and_nothing_kept(serve, tmp_path, reply, message):
    server = serve(lambda *_: reply)
    started = time.monotonic()
    with pytest.raises(DataError, match=message) as caught:
        download(server.url, tmp_path / "file.bin", SUM)
    assert time.monotonic() - started < 10
    text = str(caught.value)
    assert "could not be written" not in text
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)
    assert {p.name for p in tmp_path.iterdir()} <= {"file.bin.part"}
    assert caught.value.__cause__ is None or "\x1b" not in str(caught.value.__cause__)


@pytest.mark.parametrize("first", [answer("200 OK", LENGTH, body=BODY[:99]), b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1."])
def test_a_drip_ends(serve, tmp_path, first, monkeypatch):
    """A byte every 20 ms keeps every timeout between two packets from striking."""
    monkeypatch.setattr(_session, "SLOWEST", 0.3)
    server = serve(lambda *_: drip(first))
    started = time.monotonic()
    with pytest.raises(DataError, match="it sent too little"):
        download(server.url, tmp_path / "file.bin", SUM)
    assert time.monotonic() - started < 10


def test_the_whole_may_not_take_for_ever(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(_session, "SLOWEST", 1000.0)
    monkeypatch.setattr(module, "LONGEST", 0.5)
    monkeypatch.setattr(module, "_CHUNK", 8)
    server = serve(lambda *_: drip(answer("200 OK", LENGTH)))
    with pytest.raises(DataError, match="it took too long"):
        download(server.url, tmp_path / "file.bin", SUM)


def test_a_slow_but_honest_server_is_waited_for(serve, tmp_path):
    def pieces():
        yield answer("200 OK", LENGTH)
        for start in range(0, len(BODY), 10_000):
            time.sleep(0.01)
            yield BODY[start : start + 10_000]

    server = serve(lambda *_: pieces())
    assert download(server.url, tmp_path / "file.bin", SUM).read_bytes() == BODY


def test_redirects_and_wrong_ranges_end_in_the_right_file(serve, tmp_path):
    def reply(request, count, url):
        if request.startswith(b"GET /file.bin"):
            return answer("302 Found", "Location: /there")
        return answer("206 Partial Content", LENGTH, "Content-Range: bytes 0-9/10", body=BODY)

    (tmp_path / "file.bin.part").write_bytes(BODY[:10])
    assert download(serve(reply).url, tmp_path / "file.bin", SUM).read_bytes() == BODY


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_a_part_that_is_no_file_is_neither_followed_nor_replaced(serve, tmp_path, kind):
    server = serve(lambda *_: answer("200 OK", LENGTH, body=BODY))
    other, part = tmp_path / "other", tmp_path / "file.bin.part"
    other.write_bytes(b"precious")
    if kind == "folder":
        part.mkdir()
    elif kind == "pipe":
        os.mkfifo(part)
    else:
        part.symlink_to(other if kind == "link" else tmp_path / "made by the link")
    with pytest.raises(DataError, match=r"file\.bin\.part` must be what an earlier download left.* Remove it"):
        download(server.url, tmp_path / "file.bin", SUM)
    assert other.read_bytes() == b"precious"
    assert {p.name for p in tmp_path.iterdir()} == {"other", part.name}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -keyout key -out cert"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context


@pytest.mark.parametrize("part", [None, b"begun"])
def test_a_certificate_that_nobody_vouches_for(serve, certificate, tmp_path, part):
    if part:
        (tmp_path / "file.bin.part").write_bytes(part)
    server = serve(lambda *_: answer("200 OK", LENGTH, body=BODY), certificate)
    with pytest.raises(DataError, match="its certificate is not valid"):
        download(server.url, tmp_path / "file.bin", SUM)


def test_no_thread_and_no_socket_is_left(serve, tmp_path):
    server = serve(lambda *_: answer("200 OK", LENGTH, body=BODY))
    before = threading.active_count()
    for k in range(3):
        download(server.url, tmp_path / f"{k}.bin", SUM)
    assert threading.active_count() <= before + 1  # the server's last connection, perhaps
