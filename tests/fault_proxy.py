"""An HTTP proxy on loopback that does to S3 requests what networks and busy servers do. Keeps a log."""

import asyncio
import re
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

Fault = Literal[
    "lost_answer",
    "reset",
    "slow_down",
    "conflict",
    "cut_answer",
    "slow_answer",
    "corrupt",
    "truncated",
    "hang",
    "unconditional",
    "page",
    "page_with_etag",
    "broken_page",
    "empty",
    "page_404",
    "refused",
    "skewed",
    "skewed_bare",
    "cut_listing",
    "endless_listing",
]

_ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>Try again.</Message></Error>"
_ANSWERS: dict[str, tuple[bytes, bytes]] = {
    "slow_down": (b"503 Slow Down", _ERROR % b"SlowDown"),
    "conflict": (b"409 Conflict", _ERROR % b"ConditionalRequestConflict"),
}
_PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head><body><p>Log in</p></body></html>"
_LISTING = (
    b"<?xml version='1.0'?><ListBucketResult><Name>b</Name><Prefix></Prefix><KeyCount>0</KeyCount><MaxKeys>1000"
    b"</MaxKeys><IsTruncated>true</IsTruncated>%s</ListBucketResult>"
)
_LATE = b"Date: Mon, 01 Jan 2029 00:00:00 GMT\r\n"
_STRANGE: dict[str, tuple[bytes, bytes, bytes]] = {
    # status, headers, body
    "page": (b"200 OK", b"Content-Type: text/html\r\n", _PAGE),
    "page_with_etag": (b"200 OK", b'Content-Type: text/html; charset=utf-8\r\nETag: "5f"\r\n', _PAGE),
    "broken_page": (b"200 OK", b"Content-Type: text/html\r\n", b"<html><br><p>Log in"),
    "empty": (b"200 OK", b"", b""),
    "page_404": (b"404 Not Found", b"Content-Type: text/html\r\n", _PAGE),
    "refused": (b"403 Forbidden", b"Content-Type: application/xml\r\n", _ERROR % b"AccessDenied"),
    "skewed": (b"403 Forbidden", b"Content-Type: application/xml\r\n", _ERROR % b"RequestTimeTooSkewed"),
    "skewed_bare": (b"403 Forbidden", _LATE, b""),
    "cut_listing": (b"200 OK", b"Content-Type: application/xml\r\n", _LISTING % b""),
    "endless_listing": (
        b"200 OK",
        b"Content-Type: application/xml\r\n",
        _LISTING % b"<NextContinuationToken>again</NextContinuationToken>",
    ),
}


@dataclass
class _Rule:
    pattern: re.Pattern[str]
    fault: Fault
    left: int
    meanwhile: Callable[[], object] | None


@dataclass
class FaultProxy:
    """Forwards to a port of this machine; `with FaultProxy(port) as proxy: proxy.url`. With `tls` it is https.

    "unconditional" leaves `If-None-Match` out, as a store does that does not know it.
    """

    port: int
    tls: ssl.SSLContext | None = None
    echoes: bool = False
    """As AWS does: the answer to a PUT says the checksum that came with it. Neither moto nor Swift says so."""

    log: list[str] = field(default_factory=list)
    """`METHOD target` of every request, faulty ones too."""

    heads: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """The same with the headers, named in small letters."""
    refuses: Callable[[str, dict[str, str]], str] | None = None
    """The bucket's policy: S3's error code for a request and its headers, or an empty text."""

    regions: set[str] = field(default_factory=set)
    """Those that requests were signed for."""

    _rules: list[_Rule] = field(default_factory=list)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def fault(
        self,
        pattern: str,
        fault: Fault,
        *,
        times: int = 1,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        """Let the next requests whose `METHOD target` matches run into a fault; `meanwhile` is done before it."""
        self._rules.append(_Rule(re.compile(pattern), fault, times, meanwhile))

    def seen(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, line)) for line in self.log)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls))
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _stop(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line = " ".join(head.split(b"\r\n", 1)[0].decode().split(" ")[:2])
        self.log.append(line)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (each.partition(":") for each in head.decode().split("\r\n")[1:])
        }
        self.heads.append((line, headers))
        if signed := re.search(rb"Credential=[^/]*/\d{8}/([^/]*)/s3/", head):
            self.regions.add(signed[1].decode())
        fault = self._fault_for(line)
        if fault == "reset":
            return False
        if b"100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(_length(head))
        if self.refuses is not None and (code := self.refuses(line, headers)):
            text = b"" if line.startswith("HEAD") else _ERROR % code.encode()
            status = b"403 Forbidden" if code == "AccessDenied" else b"400 Bad Request"
            writer.write(
                b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
                % (status, len(text), text)
            )
            await writer.drain()
            return True
        if fault == "hang":
            await asyncio.sleep(60)
        if fault in _ANSWERS:
            status, text = _ANSWERS[fault]
            writer.write(
                b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (status, len(text), text)
            )
            await writer.drain()
            return True
        if fault in _STRANGE:
            status, headers, text = _STRANGE[fault]
            length = b"Content-Length: %d\r\n\r\n" % len(text)
            writer.write(
                b"HTTP/1.1 "
                + status
                + b"\r\n"
                + headers
                + length
                + (b"" if line.startswith("HEAD") else text)
            )
            await writer.drain()
            return True
        if fault == "truncated":
            await self._forward_half(head, body)
            return False
        if fault == "unconditional":
            head = re.sub(rb"(?i)\r\nif-none-match:[^\r]*", b"", head)
        if fault == "corrupt" and body:
            body = bytes([body[0] ^ 0xFF]) + body[1:]
        answer_head, answer = await self._forward(head, body, line)
        if fault == "lost_answer":
            return False
        if fault == "slow_answer":
            await asyncio.sleep(0.5)
        if fault == "cut_answer":
            answer = answer[: len(answer) // 2]
        if self.echoes and b" 200 " in answer_head.split(b"\r\n", 1)[0]:
            answer_head = answer_head[:-2] + _checksum(head) + b"\r\n"
        writer.write(answer_head + answer)
        await writer.drain()
        return fault != "cut_answer"

    async def _forward(self, head: bytes, body: bytes, line: str) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(re.sub(rb"(?i)\r\nexpect:[^\r]*", b"", head) + body)
            await writer.drain()
            answer_head = await reader.readuntil(b"\r\n\r\n")
            if line.startswith("HEAD") or b" 204 " in answer_head.split(b"\r\n", 1)[0]:
                return answer_head, b""
            if b"chunked" in answer_head.lower():
                return answer_head, await reader.readuntil(b"0\r\n\r\n")
            return answer_head, await reader.readexactly(_length(answer_head))
        finally:
            writer.transport.abort()

    async def _forward_half(self, head: bytes, body: bytes) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head + body[: len(body) // 2])
        await writer.drain()
        writer.close()

    def _fault_for(self, line: str) -> Fault | None:
        for rule in self._rules:
            if rule.left > 0 and rule.pattern.search(line):
                rule.left -= 1
                if rule.meanwhile is not None:
                    rule.meanwhile()
                return rule.fault
        return None


def _checksum(head: bytes) -> bytes:
    found = re.search(rb"(?i)\r\n(x-amz-checksum-sha256: *[^\r]*\r\n)", head)
    return found[1] if found else b""


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0
