"""A real Chromium without a window, spoken to through two pipes (the DevTools protocol)."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --mute-audio --hide-scrollbars
--autoplay-policy=no-user-gesture-required --remote-debugging-pipe"""
# Chromium reads from 3 and writes to 4.
LAUNCH = """import os, sys
for given, high in zip(sys.argv[1:3], (103, 104)): os.dup2(int(given), high)
for high, low in ((103, 3), (104, 4)): os.dup2(high, low); os.close(high)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One page; `events` keeps what the browser told meanwhile."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, url: str) -> None:
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(each.get("method") == "Page.loadEventFired" for each in self.events):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = 60) -> Any:
        """The value of an expression as soon as it is true; a page that draws itself takes its time."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, (
                f"{expression} is not true; the page says {self.text()[:2000]}"
            )
            time.sleep(0.1)
        return value

    def text(self) -> str:
        return str(self.evaluate("document.body.innerText"))

    def size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def screenshot(self, path: Path, *, width: int = 1400, height: int = 1000) -> Path:
        self.size(width, height)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return path

    def complaints(self) -> list[str]:
        """Errors in the page, refused resources among them."""
        return [
            json.dumps(each["params"])
            for each in self.events
            if each.get("method") == "Runtime.exceptionThrown"
            or (each.get("method") == "Log.entryAdded" and each["params"]["entry"]["level"] == "error")
        ]

    def requested(self) -> list[str]:
        return [
            each["params"]["request"]["url"]
            for each in self.events
            if each.get("method") == "Network.requestWillBeSent"
        ]

    def received(self) -> dict[str, str]:
        """Address to media type of what has come so far, without what was refused."""
        self.evaluate("true")
        answers = (
            each["params"]["response"]
            for each in self.events
            if each.get("method") == "Network.responseReceived"
        )
        return {each["url"]: each["mimeType"] for each in answers if each["status"] < 300}

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._reads, 65536)
            assert piece, "Chromium ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def browser(folder: Path, *flags: str) -> Iterator[Page]:
    """A Chromium with an empty profile in `folder`, ended with the block; `flags` are further ones of its own."""
    assert CHROMIUM is not None
    to_it, our_end = os.pipe()
    our_read, its_write = os.pipe()
    command = [CHROMIUM, *FLAGS.split(), *flags, f"--user-data-dir={folder}", "about:blank"]
    launcher = [sys.executable, "-c", LAUNCH, str(to_it), str(its_write)]
    with (folder.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [*launcher, *command],
            pass_fds=(to_it, its_write),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        os.close(to_it)
        os.close(its_write)
        try:
            yield Page(our_read, our_end)
        finally:
            process.kill()
            process.wait(30)
            os.close(our_read)
            os.close(our_end)
