"""A real browser, driven by the DevTools protocol over a pipe: Chromium itself is all it needs.

Not a test.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import HANGING_SECONDS, wait_until

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1100,900",
)
# Chromium reads commands from descriptor 3 and writes answers and events to 4.
START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    " os.execv(sys.argv[3], sys.argv[3:])"
)


class Page:
    """A tab. What happened in it since its beginning stands in `events`."""

    def __init__(self, commands: int, answers: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._last_id = 0
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "params": parameters, **self._session}
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._read()).get("id") != self._last_id:
            self.events.append(message)
        if "navigated" in message.get("error", {}).get("message", ""):
            return self.call(method, **parameters)  # by now there is another page to ask
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + HANGING_SECONDS
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            data = os.read(self._answers, 65536) if ready else b""
            assert data, "the browser says nothing"
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def happened(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] == method]

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        wait_until(lambda: self.run("document.readyState === 'complete' && location.href") == url)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        evaluated = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in evaluated, evaluated
        return evaluated["result"].get("value")

    def find(self, selector: str, what: str) -> Any:
        """An expression about the first of these elements, once it is there."""
        element = f"document.querySelector({json.dumps(selector)})"
        wait_until(lambda: self.run(f"{element} !== null"))
        return self.run(f"{element}.{what}")

    def click(self, *selectors: str) -> None:
        for selector in selectors:
            self.find(selector, "click()")

    def type(self, selector: str, text: str) -> None:
        """As a keyboard does."""
        self.find(selector, "focus()")
        self.call("Input.insertText", text=text)


@contextmanager
def opened_browser(folder: Path) -> Iterator[Page]:
    assert PROGRAM
    pipes = [*os.pipe(), *os.pipe()]
    # Out of the way of 3 and 4.
    theirs_in, commands, answers, theirs_out = (
        fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in pipes
    )
    for end in pipes:
        os.close(end)
    words = [sys.executable, "-c", START, str(theirs_in), str(theirs_out), PROGRAM]
    with (folder / "browser.log").open("wb") as log:
        browser = subprocess.Popen(
            [*words, *FLAGS, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(commands, answers)
    finally:
        # Chromium ends when its pipe does.
        os.close(commands)
        os.close(answers)
        try:
            browser.wait(HANGING_SECONDS)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()
