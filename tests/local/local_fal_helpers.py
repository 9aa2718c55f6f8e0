"""A plain HTTP client of the embedded fal for its own tests: httpx, and nothing of `prefect_ltx.fal`'s client."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from prefect_ltx.local import LocalFal

APP = "fal-ai/ltx-2.3-quality"
VIDEO = f"{APP}/reference-video-to-video"
INGREDIENT = f"{APP}/ingredient"


def until(fact: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a fact; the limit is there to end a test that would wait for ever."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class Caller:
    """Calls one embedded server."""

    def __init__(self, url: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Key {key}"} if key else {}
        self.url = url
        self.http = httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)
        self.fal: LocalFal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.http.post(path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.http.put(path, **options)

    def submit(self, body: dict[str, Any], endpoint: str = VIDEO, **options: Any) -> dict[str, Any]:
        reply = self.post(f"/{endpoint}", json=body, **options)
        assert reply.status_code == 200, reply.text
        receipt: dict[str, Any] = reply.json()
        return receipt

    def status(self, request_id: str, logs: str = "1") -> dict[str, Any]:
        body: dict[str, Any] = self.get(f"/{APP}/requests/{request_id}/status", params={"logs": logs}).json()
        return body

    def until(self, request_id: str, status: str = "COMPLETED", seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (body := self.status(request_id))["status"] != status:
            assert time.monotonic() < deadline, f"still {body}"
            time.sleep(0.02)
        return body

    def result(self, request_id: str) -> httpx.Response:
        return self.get(f"/{APP}/requests/{request_id}")

    def generate(self, body: dict[str, Any], endpoint: str = VIDEO) -> httpx.Response:
        request_id = self.submit(body, endpoint)["request_id"]
        self.until(request_id)
        return self.result(request_id)

    def download(self, result: httpx.Response, path: Path) -> Path:
        path.write_bytes(self.get(result.json()["video"]["url"]).raise_for_status().content)
        return path

    def listed(self, endpoint: str = VIDEO, **params: Any) -> list[dict[str, Any]]:
        reply = self.get("/v1/models/requests/by-endpoint", params={"endpoint_id": endpoint, **params})
        assert reply.status_code == 200, reply.text
        items: list[dict[str, Any]] = reply.json()["items"]
        return items


class Receiver:
    """Takes webhooks and answers with the statuses it was given, then 200."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.taken.append((dict(self.headers.items()), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def wait_for(self, count: int, seconds: float = 10) -> list[dict[str, Any]]:
        deadline = time.monotonic() + seconds
        while len(self.taken) < count:
            assert time.monotonic() < deadline, f"{len(self.taken)} webhooks of {count}"
            time.sleep(0.02)
        return [json.loads(body) for _, body in self.taken]


class ServerProcess:
    """`serve` in a process of its own, to be killed and started again on the same folder."""

    def __init__(self, data: Path, **options: Any) -> None:
        self._data = data
        self._options = {
            name: f"Path({str(value)!r})" if isinstance(value, Path) else repr(value)
            for name, value in options.items()
        }
        self._callers: list[Caller] = []
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> Caller:
        options = "".join(f", {name}={value}" for name, value in self._options.items())
        code = (
            "from pathlib import Path\nfrom prefect_ltx.local import serve\n"
            f"serve(data=Path({str(self._data)!r}){options})"
        )
        self.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), line
        self.url = line.split()[1]
        self._callers.append(Caller(self.url))
        return self._callers[-1]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._tidy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._tidy()

    def _tidy(self) -> None:
        for caller in self._callers:
            caller.http.close()
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()


def events(text: str) -> list[dict[str, Any]]:
    """The data of a stream of server-sent events."""
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
