"""A network between the service and what it calls, which can forget connections without a word.

Not a test.
"""

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

HOST = "127.0.0.1"


class Relay:
    """Passes bytes on between clients and one address, as long as it remembers their connection."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server((HOST, 0), backlog=1000)
        self.port: int = self._listener.getsockname()[1]
        self._remembered: set[socket.socket] = set()
        self.accepted = 0
        self._ends: list[socket.socket] = []

    @classmethod
    def to(cls, url: str) -> "Relay":
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        return cls(parts.hostname, parts.port)

    def instead(self, url: str) -> str:
        """The URL with the relay in place of its host and port."""
        netloc = urlsplit(url).netloc
        user, at, _ = netloc.rpartition("@")
        return url.replace(netloc, f"{user}{at}{HOST}:{self.port}", 1)

    def forget(self) -> int:
        """All connections that are open now, whose ends are told nothing; how many there were."""
        count = len(self._remembered)
        self._remembered.clear()
        return count // 2

    def __enter__(self) -> "Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                server = socket.create_connection(self._target)
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends += (client, server)
                self._remembered |= {client, server}
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        """What a forgotten connection says is read, and comes to nothing; its end, too."""
        with suppress(OSError):
            while data := source.recv(65536):
                if source in self._remembered:
                    sink.sendall(data)
            if source in self._remembered:
                sink.shutdown(socket.SHUT_WR)
