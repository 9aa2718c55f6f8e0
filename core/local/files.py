"""Serving stored files as a CDN does: public, with Range and If-Range, a strong ETag, HEAD and 304; and the
downloads that go wrong."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from prefect_ltx.local.connection import close_connection
from prefect_ltx.local.faults import Fault
from prefect_ltx.local.replies import json_reply
from prefect_ltx.local.rows import FileRow
from prefect_ltx.local.site import site_of

_BLOCK: Final = 512 * 1024
_MAX_AGE: Final = 60 * 24 * 3600

router = APIRouter()


@router.api_route("/files/{file:path}", methods=["GET", "HEAD"])
async def serve_file(request: Request, file: str) -> Response:
    """200, 206, 304, 404 or 416."""
    site = site_of(request)
    path = f"/files/{file}"
    row = await site.files.find(path)
    if row is None or site.fault("expired_file", request):
        return json_reply({"detail": "File not found"}, 404)
    headers = {
        "accept-ranges": "bytes",
        "cache-control": f"public, max-age={_MAX_AGE}",
        "etag": etag_of(row),
        "last-modified": formatdate(row.created_at, usegmt=True),
        "content-type": row.content_type,
    }
    if etag_of(row) in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    span = _asked_span(request, row)
    if span is None:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{row.size}"})
    start, end, partial = span
    if request.method == "GET" and (endless := site.fault("endless_download", request)):
        again = _for_ever(site.files.disk(row), row.size, site.closing)
        return StreamingResponse(_throttled(again, endless, site.closing), 200, headers)
    if partial:
        headers["content-range"] = f"bytes {start}-{end - 1}/{row.size}"
    headers["content-length"] = str(end - start)
    status = 206 if partial else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    corrupted = site.fault("corrupted_download", request) is not None
    blocks = _blocks(site.files.disk(row), start, end, corrupted=corrupted)
    if slow := site.fault("slow_download", request):
        blocks = _throttled(blocks, slow, site.closing)
    if site.fault("truncated_download", request):
        return _TruncatedReply(blocks, (end - start) // 2, status, headers)
    return StreamingResponse(blocks, status, headers)


def etag_of(row: FileRow) -> str:
    """A strong ETag: it changes with the bytes."""
    return f'"{row.sha256[:32]}"'


class _TruncatedReply(StreamingResponse):
    """The first `keep` bytes under the full Content-Length, then a closed connection."""

    def __init__(self, blocks: AsyncIterator[bytes], keep: int, status: int, headers: dict[str, str]) -> None:
        super().__init__(blocks, status, headers)
        self._keep = keep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        left = self._keep
        async for block in self.body_iterator:
            assert isinstance(block, bytes)
            if left <= 0:
                break
            await send({"type": "http.response.body", "body": block[:left], "more_body": True})
            left -= len(block)
        await close_connection(scope, receive)


def _wants_range(request: Request, row: FileRow) -> bool:
    if not request.headers.get("range", "").startswith("bytes="):
        return False
    condition = request.headers.get("if-range")
    if condition is None or condition == etag_of(row):
        return True
    if condition.startswith(('"', "W/")):
        return False
    try:
        return parsedate_to_datetime(condition).timestamp() >= int(row.created_at)
    except ValueError:
        return False


def _asked_span(request: Request, row: FileRow) -> tuple[int, int, bool] | None:
    """The bytes to send as a half-open span, and whether that is a range.

    Several ranges, or what cannot be read as one, give the whole file; None is a range past the end.
    """
    whole = (0, row.size, False)
    ranges = request.headers.get("range", "").removeprefix("bytes=")
    first, dash, last = (part.strip() for part in ranges.partition("-"))
    if not _wants_range(request, row) or not dash or not (first + last).isdigit():
        return whole
    if not first:
        length = min(int(last), row.size)
        return (row.size - length, row.size, True) if length else None
    start, end = int(first), min(int(last) + 1, row.size) if last else row.size
    if last and int(last) < start:
        return whole
    return (start, end, True) if start < row.size else None


async def _blocks(path: Path, start: int, end: int, *, corrupted: bool) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        file.seek(start)
        left = end - start
        while left > 0:
            block = await asyncio.to_thread(file.read, min(_BLOCK, left))
            if not block:
                return
            left -= len(block)
            if corrupted:
                middle = len(block) // 2
                block = (
                    block[:middle]
                    + bytes(255 - byte for byte in block[middle : middle + 64])
                    + block[middle + 64 :]
                )
            yield block


async def _for_ever(path: Path, size: int, closing: asyncio.Event) -> AsyncIterator[bytes]:
    while not closing.is_set():
        async for block in _blocks(path, 0, size, corrupted=False):
            yield block


async def _throttled(
    blocks: AsyncIterator[bytes], fault: Fault, closing: asyncio.Event
) -> AsyncIterator[bytes]:
    rate = max(fault.value or 1, 1)
    size = max(int(rate / 10), 1)
    clock = asyncio.get_running_loop().time
    begun, sent = clock(), 0
    async for block in blocks:
        for at in range(0, len(block), size):
            piece = block[at : at + size]
            sent += len(piece)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(closing.wait(), max(begun + sent / rate - clock(), 0))
            yield piece


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
