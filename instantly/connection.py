"""A client's socket: how long the client may take for its request, its answer and its farewell."""

import errno
import socket
import time
from contextlib import suppress
from typing import Any

from gevent.socket import socket as GeventSocket

# A client has this long to send a request, from its first byte to its last, and to take an answer.
SEND_SECONDS = 30.0
RECEIVE_SECONDS = 30.0
FAREWELL_SECONDS = 2.0


class Connection(GeventSocket):  # type: ignore[misc]
    """A client's connection, which ends when the client is too slow, or idle for too long.

    gunicorn reads a request through `recv`, body included, and answers through `sendall`.
    """

    keep_alive_seconds = 100.0
    deadline: float | None = None
    """Until when the request must be there; None between requests."""
    idle: "dict[Connection, None]"
    """All connections that are between requests, the longest idle first; the worker's."""
    head = b""
    """An answer's head, held back so that head and body leave in one send."""

    def recv(self, *arguments: int) -> bytes:
        if self.head:
            self.sendall(b"")
        if self.deadline is None:
            left = self.keep_alive_seconds
        else:
            left = self.deadline - time.monotonic()
        try:
            # A client that never pauses never lets recv time out: look at the clock, too.
            if left <= 0:
                raise TimeoutError
            self.settimeout(left)
            data: bytes = super().recv(*arguments)
        except TimeoutError:
            self.stop_reading()
            return b""
        if self.deadline is None:
            self.deadline = time.monotonic() + SEND_SECONDS
            self.idle.pop(self, None)
        return data

    def sendall(self, data: bytes, flags: int = 0) -> None:
        if self.deadline is not None:
            self.deadline = None
            self.idle[self] = None
        if not self.head and data.startswith(b"HTTP/1.1 "):
            self.head = data
            return
        self.settimeout(RECEIVE_SECONDS)
        data, self.head = self.head + data, b""
        try:
            super().sendall(data, flags)
        except TimeoutError as error:
            # What gunicorn takes for a client that is gone, which is nothing to log.
            raise ConnectionResetError(errno.ECONNRESET, "the client takes no answer") from error

    def send(self, data: bytes, flags: int = 0, **more: Any) -> int:
        """gunicorn's "100 Continue" must not overtake an answer that has no body."""
        if self.head:
            self.sendall(b"")
        sent: int = super().send(data, flags, **more)
        return sent

    def close(self) -> None:
        """Lets the client read its answer to the end before the connection goes.

        What it still sends would otherwise reset the connection, and the answer with it.
        """
        with suppress(OSError):
            self.sendall(b"")
            self.deadline = time.monotonic() + FAREWELL_SECONDS
            self.shutdown(socket.SHUT_WR)
            while self.recv(65536):
                pass
        super().close()

    def stop_reading(self) -> None:
        """From now on it reads as if the client had closed it; it can still be answered."""
        with suppress(OSError):
            self.shutdown(socket.SHUT_RD)
