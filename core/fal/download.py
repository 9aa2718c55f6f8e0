"""Fetching a result: complete and unchanged, or not at all. Never with the key: files are public or signed.

The file grows under a temporary name in the same folder and gets its own name once its length is right, so a
file that has the name is a whole one. A broken transfer goes on where it broke (Range with If-Range), or
starts over where the server cannot do that or the file has changed (fal-protocol §6.3).

The length that the server announces decides whether a file is whole. What fal's result said of its size is a hint:
it bounds a file whose length nobody announces, and where it contradicts a whole file, that is a noted oddity.
Every transfer ends: by length, by a ceiling, or because it hardly moves.
"""

import asyncio
import base64
import binascii
import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

import httpx

from prefect_ltx.fal._growing_file import Copy, GrowingFile, OnProgress, PassingError
from prefect_ltx.fal.clock import Heard
from prefect_ltx.fal.errors import FalDownloadError, FalError, FalGateway
from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.results import MAX_FILE_BYTES
from prefect_ltx.fal.safe_text import strip_url
from prefect_ltx.fal.transport import PATIENCE, SLOWEST, Transport
from prefect_ltx.fal.urls import redirected, why_not_fetchable
from prefect_ltx.fal.wire import Downloaded

_MAX_REDIRECTS: Final = 5
_BLOCK: Final = 1 << 20
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = frozenset({404, 410})
_PASSING: Final = frozenset({408, 416, 425, 429})
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)
_PAGES: Final = ("text/html", "application/xhtml", "application/json")
_LONGEST_ERROR: Final = 1 << 16


async def download(
    transport: Transport,
    url: str,
    path: Path,
    *,
    on_progress: OnProgress | None = None,
    expected_size: int | None = None,
    copy: Copy | None = None,
) -> Downloaded:
    """`url` (http, https or a data URI) as the file `path`; see `FalClient.download`."""
    if why := why_not_fetchable(url):
        raise FalDownloadError(f"{strip_url(url)} cannot be fetched: {why}", next_step="Check the address")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        growing = await asyncio.to_thread(GrowingFile, part, on_progress, copy, expected_size)
        try:
            if url[:5].lower() == "data:":
                await _from_data_uri(url, growing)
                growing.total = growing.size
                growing.check(url)
            else:
                await _fetch(transport, url, growing)
            await growing.flush()
        except BaseException:
            growing.discard()
            raise
        await asyncio.to_thread(growing.finish, path)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise FalDownloadError(
            f"{path} cannot be written: {why}", next_step="Make room and try again"
        ) from error
    return Downloaded(
        path=path,
        size=growing.size,
        sha256=growing.digest.hexdigest(),
        content_type=growing.content_type,
        oddities=tuple(growing.oddities),
    )


async def _fetch(transport: Transport, url: str, growing: GrowingFile) -> None:
    attempt, best = 0, 0
    while True:
        attempt += 1
        try:
            await _transfer(transport, url, growing)
            growing.check(url)
            return
        except PassingError as error:
            if growing.size > best:
                # Attempts that get further are not counted, so a slow line ends only when it stands still.
                attempt, best = 1, growing.size
            wait = transport.rule.pause(attempt, error.asked, uniform=transport.runtime.random.uniform)
            if wait is None:
                kind = FalGateway if error.by_a_page else FalDownloadError
                final = kind(error.what, status=error.status)
                final.heard = error.heard
                raise final from error
        await asyncio.sleep(wait)


async def _transfer(transport: Transport, url: str, growing: GrowingFile) -> None:
    """One attempt, from where the last one broke if the server allows it."""
    headers = {"Accept-Encoding": "identity"}
    if growing.size and growing.validator:
        headers |= {"Range": f"bytes={growing.size}-", "If-Range": growing.validator}
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            async with transport.stream(url, headers) as (response, head):
                if response.status_code not in _REDIRECTS:
                    await _begin(response, head, url, growing)
                    await _take(response, head, url, growing)
                    return
                url = redirected(url, response.headers.get("location", ""))
        except (httpx.HTTPError, httpx.StreamError) as error:
            broken = PassingError(f"The transfer of {strip_url(url)} broke ({type(error).__name__})")
            broken.heard = Heard("nobody")
            raise broken from error
    raise FalDownloadError(f"{strip_url(url)}: more than {_MAX_REDIRECTS} redirects")


async def _take(response: httpx.Response, head: Reply, url: str, growing: GrowingFile) -> None:
    clock = asyncio.get_running_loop().time
    began, had = clock(), growing.size
    async for chunk in response.aiter_bytes():
        if not growing.size and chunk.lstrip()[:1] == b"<":
            raise _page(head, url)
        await growing.add(chunk)
        lasted = clock() - began
        if lasted > PATIENCE and growing.size - had < lasted * SLOWEST:
            raise FalDownloadError(
                f"{strip_url(url)} hardly moves: {growing.size - had} bytes in {lasted:.0f} s"
            )


async def _begin(response: httpx.Response, head: Reply, url: str, growing: GrowingFile) -> None:
    """Look at the head of the answer: does it go on, start over, or refuse?"""
    if response.status_code == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if not found or int(found[1]) != growing.size:
            growing.start_over()
            raise PassingError(f"{strip_url(url)} answered with another part of the file than asked for")
        growing.total = _bounded(int(found[2]), url) if found[2] != "*" else growing.total
        return
    if response.status_code != 200:
        raise await _refused(response, head, url, growing)
    if growing.size:
        growing.start_over()
    growing.content_type = response.headers.get("content-type")
    if _is_a_page(response):
        raise _page(head, url)
    if response.headers.get("content-encoding", "identity") == "identity":
        length = response.headers.get("content-length", "")
        known = length.isascii() and length.isdecimal() and len(length) <= 18
        growing.total = _bounded(int(length), url) if known else None
        growing.validator = _validator(response)


def _bounded(total: int, url: str) -> int:
    if total > MAX_FILE_BYTES:
        raise FalDownloadError(
            f"{strip_url(url)} announces {total} bytes; the most that is taken are {MAX_FILE_BYTES}"
        )
    return total


async def _refused(response: httpx.Response, head: Reply, url: str, growing: GrowingFile) -> FalError:
    status = response.status_code
    if status == 416:
        growing.start_over()
    if status not in _GONE and _is_a_page(response):
        return _page(head, url)
    what = f"{strip_url(url)} answered HTTP {status}"
    if status >= 500 or status in _PASSING:
        error: FalDownloadError = (passing := PassingError(what, status=status))
        passing.asked = head.retry_after
    else:
        error = FalDownloadError(what, status=status, gone=status in _GONE)
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LONGEST_ERROR:
            break
    error.heard = replace(head, body=body, complete=True).heard
    return error


def _is_a_page(response: httpx.Response) -> bool:
    kind: str = response.headers.get("content-type", "").strip().lower()
    return kind.startswith(_PAGES)


def _page(head: Reply, url: str) -> PassingError:
    """The error for a web page, or another program's JSON, in place of a file."""
    error = PassingError(
        f"Something between, not fal, answered HTTP {head.status} with a page in place of the file {strip_url(url)}",
        status=head.status,
    )
    error.by_a_page, error.heard = True, Heard("between", head.asked_at)
    return error


def _validator(response: httpx.Response) -> str | None:
    etag: str | None = response.headers.get("etag")
    modified: str | None = response.headers.get("last-modified")
    return etag if etag and not etag.startswith("W/") else modified


async def _from_data_uri(url: str, growing: GrowingFile) -> None:
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise FalDownloadError("The inline media is not a data URI")
    media_type, *parameters = head.split(";")
    growing.content_type = media_type or None
    try:
        inline = parameters[-1:] == ["base64"]
        content = (
            base64.b64decode(unquote_to_bytes(data), validate=True) if inline else unquote_to_bytes(data)
        )
    except (binascii.Error, ValueError):
        raise FalDownloadError("The inline media is not readable base64") from None
    await growing.add(content)
