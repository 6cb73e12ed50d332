"""Many at once who wait, trickle or are idle, and what webhooks notice of them."""

import resource
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPResponse
from typing import Any

from load import drive, request_bytes

HALF_HEADERS = b"POST /webhooks/instantly HTTP/1.1\r\nHost: x\r\nX-Slow: "
HALF_BODY = b"POST /webhooks/instantly HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
TRICKLE_SECONDS = 4.0


def allow_many_files() -> None:
    """The clients are all in this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def crowd(
    name: str, port: int, next_webhook: Callable[[], bytes], task: Callable[[], list[int]]
) -> dict[str, Any]:
    """Runs the task, which returns the statuses of its answers, and delivers webhooks meanwhile."""
    latencies: list[float] = []
    begin = time.perf_counter()
    with ThreadPoolExecutor(1) as thread:
        statuses: Future[list[int]] = thread.submit(task)
        while not statuses.done():
            result = drive(port, next_webhook, connections=4, seconds=0.25, most=10**9)
            latencies += result.latencies
    latencies.sort()
    answered = statuses.result()
    served = sum(200 <= status < 300 for status in answered)
    return {
        "row": name,
        "served": served,
        "refused": len(answered) - served,
        "seconds": round(time.perf_counter() - begin, 2),
        "webhook p50 ms": round(latencies[len(latencies) // 2], 1),
        "webhook p99 ms": round(latencies[int(len(latencies) * 0.99)], 1),
    }


def clients(port: int, count: int, sent: bytes) -> list[socket.socket]:
    opened = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port), timeout=60)
        client.sendall(sent)
        opened.append(client)
    return opened


def statuses_of(opened: list[socket.socket]) -> list[int]:
    statuses = []
    for client in opened:
        answer = HTTPResponse(client)
        answer.begin()
        answer.read()
        statuses.append(answer.status)
    return statuses


def acts(port: int, count: int, request: bytes) -> list[int]:
    """All sent before the first is answered, if their service takes its time."""
    opened = clients(port, count, request)
    try:
        return statuses_of(opened)
    finally:
        close(opened)


def trickling(port: int, count: int, begun: bytes) -> list[int]:
    """A byte a second from each, and meanwhile one /health after the other."""
    opened = clients(port, count, begun)
    is_over = threading.Event()

    def trickle() -> None:
        while not is_over.wait(1.0):
            for client in opened:
                client.send(b" ")

    thread = threading.Thread(target=trickle)
    thread.start()
    deadline = time.monotonic() + TRICKLE_SECONDS
    statuses = []
    while time.monotonic() < deadline:
        statuses += acts(port, 1, request_bytes("GET", "/health", {}))
    is_over.set()
    thread.join()
    close(opened)
    return statuses


def idle(port: int, count: int) -> list[int]:
    """Kept alive between their first request and their second."""
    request = request_bytes("GET", "/", {})
    opened = clients(port, count, request)
    statuses = statuses_of(opened)
    for client in opened:
        client.sendall(request)
    statuses += statuses_of(opened)
    close(opened)
    return statuses


def close(opened: list[socket.socket]) -> None:
    for client in opened:
        client.close()
