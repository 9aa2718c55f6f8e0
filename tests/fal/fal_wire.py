"""A real HTTP server for the client's tests: every situation is a scripted answer on a real socket."""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What to do with a request: a whole answer, or one of the ways in which a network fails.

    `cut`: announce the whole body, send only that many bytes, then end. `end`: "keep" the connection, "close"
    it, "reset" it (RST), "hang" (never answer), "silent" (close without a byte), "stale" (answer as if the
    connection were kept, and close it), "endless" (a chunked body without an end). An empty `content-length` is
    left out.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    end: str = "keep"


def answer(
    data: object = None, status: int = 200, *, end: str = "keep", cut: int | None = None, **headers: str
) -> Answer:
    """A JSON answer; header names with `_` in place of `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(data).encode(), {"content-type": "application/json"} | named, cut, end)


Script = Callable[[Seen], Answer]


class Wire:
    """`wire.on(path, …)` scripts a path (its last answer repeats), `wire.seen` is the log."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._scripts: dict[str, list[Answer | Script]] = {}
        self._connections = 0
        self._arrived = threading.Event()
        self._hanging = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def on(self, path: str, *answers: Answer | Script) -> None:
        self._scripts[path] = list(answers)

    def calls(self, path: str, method: str | None = None) -> list[Seen]:
        return [one for one in self.seen if one.path == path and method in (None, one.method)]

    def wait_for_a_request(self, seconds: float = 10) -> None:
        assert self._arrived.wait(seconds)

    def close(self) -> None:
        async def stop() -> None:
            self._hanging.set()
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        try:
            while (request := await _read(reader, number)) is not None:
                self.seen.append(request)
                self._arrived.set()
                if not await self._reply(self._pick(request), writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _pick(self, request: Seen) -> Answer:
        script = self._scripts.get(request.path)
        if not script:
            return answer({"detail": f"no such path {request.path}"}, 404)
        step = script.pop(0) if len(script) > 1 else script[0]
        return step if isinstance(step, Answer) else step(request)

    async def _reply(self, what: Answer, writer: asyncio.StreamWriter) -> bool:
        if what.end == "silent":
            return False
        if what.end == "hang":
            await self._hanging.wait()
            return False
        if what.end != "reset" or what.cut is not None:
            headers = {"content-length": str(len(what.body))} | what.headers
            if what.end == "endless":
                headers["transfer-encoding"] = "chunked"
            if not headers["content-length"] or what.end == "endless":
                del headers["content-length"]
            if what.end == "close":
                headers["connection"] = "close"
            head = f"HTTP/1.1 {what.status} Scripted\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(head.encode("latin-1") + b"\r\n" + what.body[: what.cut])
            await writer.drain()
        while what.end == "endless":
            writer.write(b"10000\r\n" + b"v" * 0x10000 + b"\r\n")
            await writer.drain()
        if what.end == "reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        return what.end == "keep" and what.cut is None


async def _read(reader: asyncio.StreamReader, connection: int) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return Seen(method, parts.path, query, headers, body, connection)
