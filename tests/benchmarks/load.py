"""Drives a server with a fixed number of keep-alive connections, from one thread."""

import re
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Result:
    """Latencies in milliseconds."""

    requests: int
    errors: int
    seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


class Connection:
    """One request at a time: what is sent, and what has come back so far."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.started = 0.0

    def send(self, request: bytes) -> None:
        self.received.clear()
        self.started = time.perf_counter()
        self.sock.sendall(request)

    def read(self) -> bool:
        """Whether the answer is complete now."""
        data = self.sock.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = LENGTH.search(self.received, 0, end)
        return len(self.received) >= end + 4 + (int(length[1]) if length else 0)

    @property
    def succeeded(self) -> bool:
        return self.received[9:10] == b"2"


def drive(
    port: int, next_request: Callable[[], bytes], *, connections: int, seconds: float, most: int
) -> Result:
    """At most `most` requests in at most `seconds`; no think time."""
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    errors = sent = 0
    begin = time.perf_counter()
    deadline = begin + seconds
    for _ in range(min(connections, most)):
        connection = Connection(port)
        selector.register(connection.sock, selectors.EVENT_READ, connection)
        connection.send(next_request())
        sent += 1
    under_way = sent
    while under_way:
        for key, _ in selector.select():
            connection = key.data
            if not connection.read():
                continue
            now = time.perf_counter()
            latencies.append((now - connection.started) * 1000)
            errors += not connection.succeeded
            if sent < most and now < deadline:
                connection.send(next_request())
                sent += 1
            else:
                selector.unregister(connection.sock)
                connection.sock.close()
                under_way -= 1
    return Result(len(latencies), errors, time.perf_counter() - begin, latencies)
