"""A server that nobody may call: it counts who did, whatever the protocol."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
_READ_TIMEOUT_S = 1.0


class CanaryServer:
    """Listens on a loopback port by TCP and UDP; `hits` holds the first line of whatever arrived.

    Use as a context manager. A connection that sends nothing is a hit too.
    """

    def __init__(self) -> None:
        self.hits: list[bytes] = []
        self._stopping = threading.Event()
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port: int = self._tcp.getsockname()[1]
        # Shutting a UDP socket down wakes nobody up, so both look for the end now and then.
        self._tcp.settimeout(0.1)
        self._udp.settimeout(0.1)
        self._threads = [threading.Thread(target=serve) for serve in (self._serve_tcp, self._serve_udp)]

    @property
    def url(self) -> str:
        """Its address as a web server: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._udp.bind(("127.0.0.1", self.port))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._tcp.close()
        self._udp.close()

    def _serve_tcp(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._tcp.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(_READ_TIMEOUT_S)
                    self.hits.append(b"connected by TCP")
                    self.hits[-1] = connection.recv(4096).partition(b"\r\n")[0] or self.hits[-1]
                    connection.sendall(_ANSWER)

    def _serve_udp(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                datagram, _ = self._udp.recvfrom(2048)
                self.hits.append(b"UDP " + datagram[:32])
