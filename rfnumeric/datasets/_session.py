"""A session of requests that ends a connection which brings its headers, or the bytes behind them, too slowly."""

import socket
import threading
import time
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

#: Seconds in which the headers, and then every 64 KiB, must come: 2 KiB a second at least.
SLOWEST = 30.0
_REDIRECTS = 5


class Session(requests.Session):
    """Requests with a limit on how slowly bytes may come.

    requests' own timeout is for the pause between two packets, so that a byte every 29 seconds would go on for years.
    A thread watches instead, and shuts the sockets down when `alive` has not been called for `SLOWEST` seconds or the
    whole has taken too long; the read that waits then ends.

    Attributes
    ----------
    ended : str
        Why the connection was ended, or empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ended = ""
        self._sockets: list[socket.socket] = []
        self._heard, self._deadline = time.monotonic(), float("inf")
        self._done = threading.Event()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(self._sockets))
        self._watch = threading.Thread(target=self._end_when_slow, daemon=True)
        self._watch.start()

    def alive(self, deadline: float) -> None:
        """Say that bytes have come, and at which time of the monotonic clock the whole must end."""
        self._heard, self._deadline = time.monotonic(), deadline

    def get(self, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        # Follows redirects, but neither from HTTPS to plain HTTP nor to another protocol.
        for _ in range(_REDIRECTS + 1):
            response = super().get(url, **options)
            if not response.is_redirect:
                return response
            response.close()
            there = urljoin(url, response.headers["location"])
            if not there.startswith(("https:", url.partition(":")[0] + ":")):
                raise requests.exceptions.InvalidURL(f"it redirects to {there[:100]}")
            url = there
        raise requests.TooManyRedirects(f"it redirects more than {_REDIRECTS} times")

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Leave redirects to `get`: requests leaves a connection open whose redirect it cannot read."""

    def _end_when_slow(self) -> None:
        while not self._done.wait(min(0.5, SLOWEST / 4)):
            now = time.monotonic()
            if now - self._heard > SLOWEST or now > self._deadline:
                self.ended = "it sent too little" if now <= self._deadline else "it took too long"
                for each in self._sockets:
                    try:
                        each.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue  # it is closed already
                return

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._done.set()
        self._watch.join()
        for each in self._sockets:
            each.close()
        super().__exit__(kind, error, where)  # type: ignore[arg-type]


class _Adapter(HTTPAdapter):
    """Collects the sockets of the connections that it makes, through a proxy as well."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._pools = {
            scheme: _collecting(pool, sockets)
            for scheme, pool in (("http", HTTPConnectionPool), ("https", HTTPSConnectionPool))
        }
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # which has connections of its own
            manager.pool_classes_by_scheme = self._pools
        return manager


def _collecting(pool: Any, sockets: list[socket.socket]) -> Any:
    class Connection(pool.ConnectionCls):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            sockets.append(made.dup())  # TLS takes the socket over; shutting a duplicate down shuts the connection down
            return made

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})
