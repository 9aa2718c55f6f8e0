"""Uploading input files (fal-protocol §6.1).

The key buys a short-lived CDN token; the token, not the key, goes to the CDN. Over 100 MiB the file goes up
in parts. Where the CDN does not work, a small file goes to a signed URL instead, which gets neither key nor
token. Uploads cost nothing, so a second attempt is only a second file.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from prefect_ltx.fal.blob import Blob
from prefect_ltx.fal.errors import (
    FalAuthenticationError,
    FalError,
    FalGateway,
    FalHostRefused,
    FalPermissionDenied,
    FalProtocolError,
    FalRequestInvalid,
    FalUploadError,
)
from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.safe_text import strip_url
from prefect_ltx.fal.transport import Content, Transport
from prefect_ltx.fal.urls import why_not_fetchable
from prefect_ltx.fal.verdicts import refusal

MULTIPART_OVER: Final = 100 * 1024 * 1024
PART_SIZE: Final = 10 * 1024 * 1024
PARTS_IN_FLIGHT: Final = 4
_NO_OTHER_WAY: Final = (FalAuthenticationError, FalPermissionDenied, FalHostRefused, FalRequestInvalid)
_TOKEN_MARGIN: Final = timedelta(seconds=60)


class Storage:
    """fal's storage for input files."""

    def __init__(self, transport: Transport) -> None:
        """Shares the connections of `transport`."""
        self._http = transport
        self._token: _Token | None = None

    async def upload(self, blob: Blob, *, content_type: str, file_name: str) -> str:
        """The URL under which fal can read the file.

        Raises:
            FalAuthenticationError, FalPermissionDenied, FalHostRefused, FalUploadError.
            FalGateway: something between took neither way.
        """
        try:
            if blob.size > MULTIPART_OVER:
                return await self._in_parts(blob, content_type, file_name)
            try:
                return await self._to_cdn(blob, content_type, file_name)
            except _NO_OTHER_WAY:
                raise
            except FalError as first:
                return await self._to_signed_url(blob, content_type, file_name, first)
        except (*_NO_OTHER_WAY, FalGateway):
            raise
        except FalError as error:
            failed = FalUploadError(f"{file_name} could not be uploaded: {error.what}", status=error.status)
            failed.heard = error.heard
            raise failed from error

    async def _to_cdn(self, blob: Blob, content_type: str, file_name: str) -> str:
        url = f"{self._http.hosts.cdn}/files/upload"
        reply = await self._with_token("POST", url, _file_headers(blob, content_type, file_name), blob.stream)
        [access_url] = self._http.judge(reply, partial(_texts, ("access_url",)))
        return _fetchable(access_url, "access_url")

    async def _in_parts(self, blob: Blob, content_type: str, file_name: str) -> str:
        token = await self._cdn_token()
        named = token.base_url or ""
        base = named.rstrip("/") if self._http.hosts.may_receive_token(named) else self._http.hosts.cdn
        headers = _file_headers(None, content_type, file_name)
        started = await self._with_token("POST", f"{base}/files/upload/multipart", headers)
        access_url, upload_id = self._http.judge(started, partial(_texts, ("access_url", "uploadId")))
        prefix = f"{access_url}/multipart/{quote(upload_id, safe='')}"
        self._guard(prefix)
        count = -(-blob.size // PART_SIZE)
        slots = asyncio.Semaphore(PARTS_IN_FLIGHT)
        tags: dict[int, str] = {}

        async def send(number: int) -> None:
            async with slots:
                piece = await blob.piece((number - 1) * PART_SIZE, PART_SIZE)
                tags[number] = await self._part(f"{prefix}/{number}", piece, content_type)

        await _all(send, count)
        parts = [{"partNumber": number, "etag": tags[number]} for number in sorted(tags)]
        body = _Parts(parts=parts).model_dump_json().encode()
        done = await self._with_token(
            "POST", f"{prefix}/complete", {"Content-Type": "application/json"}, body
        )
        self._http.judge(done, _require)
        return _fetchable(access_url, "access_url")

    async def _part(self, url: str, piece: bytes, content_type: str) -> str:
        # The same part under the same number replaces itself, so it may be sent again.
        def etag(reply: Reply) -> str:
            _require(reply)
            named = reply.data.get("etag") if isinstance(reply.data, dict) else None
            value = reply.headers.get("etag") or named
            if not isinstance(value, str) or not value:
                raise reply.unreadable("to a part of the upload gives no etag", fals=True)
            return value

        headers = {"Content-Type": content_type, "Accept-Encoding": "identity"}
        token = await self._cdn_token()
        return await self._http.free("PUT", url, etag, headers=headers | token.header(), content=piece)

    async def _to_signed_url(self, blob: Blob, content_type: str, file_name: str, first: FalError) -> str:
        url = f"{self._http.hosts.rest}/storage/upload/initiate?storage_type=gcs"
        upload_url, file_url = await self._http.free(
            "POST",
            url,
            partial(_texts, ("upload_url", "file_url")),
            headers=self._http.key_header(url) | {"Content-Type": "application/json"},
            content=_Initiate(file_name=file_name, content_type=content_type).model_dump_json().encode(),
        )
        # No key and no token: the URL is its own permission, and its host is a stranger.
        headers = {"Content-Type": content_type, "Content-Length": str(blob.size)}
        upload_url = _fetchable(upload_url, "upload_url")
        reply = await self._http.write_free("PUT", upload_url, headers=headers, content=blob.stream)
        if reply.is_page:
            raise reply.gateway("the upload to a signed URL")
        if not reply.ok:
            raise FalUploadError(
                f"{first.what}; and then the signed URL answered HTTP {reply.status}", status=reply.status
            )
        return _fetchable(file_url, "file_url")

    async def _with_token(
        self, method: str, url: str, headers: dict[str, str], content: Content = None
    ) -> Reply:
        """One call to the CDN; a token that it no longer takes is replaced once."""
        self._guard(url)
        token = await self._cdn_token()
        reply = await self._http.write_free(method, url, headers=headers | token.header(), content=content)
        if reply.status == 401:
            self._token = None
            token = await self._cdn_token()
            reply = await self._http.write_free(
                method, url, headers=headers | token.header(), content=content
            )
        return reply

    def _guard(self, url: str) -> None:
        if not self._http.hosts.may_receive_token(url):
            raise FalHostRefused(f"{strip_url(url)} is not fal's CDN, so the upload token was not sent")

    async def _cdn_token(self) -> "_Token":
        if self._token is None or self._token.expires_at - _TOKEN_MARGIN <= self._http.runtime.now():
            url = f"{self._http.hosts.rest}/storage/auth/token?storage_type=fal-cdn-v3"
            self._token = await self._http.free(
                "POST",
                url,
                _read_token,
                headers=self._http.key_header(url) | {"Content-Type": "application/json"},
                content=b"{}",
            )
        return self._token


class _Token(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    token: SecretStr = Field(min_length=1)
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme
    base_url: str | None = None
    expires_at: datetime

    def header(self) -> dict[str, str]:
        return {"Authorization": f"{self.token_type} {self.token.get_secret_value()}"}


class _Parts(BaseModel):
    parts: list[dict[str, int | str]]


class _Initiate(BaseModel):
    file_name: str
    content_type: str


def _read_token(reply: Reply) -> _Token:
    _require(reply)
    try:
        token = _Token.model_validate(reply.any_object())
    except ValidationError as error:
        where = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise reply.unreadable(f"is no upload token: {where}") from None
    if token.expires_at.tzinfo is None:
        return token.model_copy(update={"expires_at": token.expires_at.replace(tzinfo=UTC)})
    return token


def _file_headers(blob: Blob | None, content_type: str, file_name: str) -> dict[str, str]:
    headers = {"Content-Type": content_type, "X-Fal-File-Name": quote(file_name, safe=" ()[]+,;=@!$&'")}
    if blob is not None:
        headers["Content-Length"] = str(blob.size)
    return headers


def _require(reply: Reply) -> None:
    if not reply.ok:
        raise refusal(reply, "the upload")
    if reply.is_page:
        raise reply.gateway("the upload")


def _texts(names: tuple[str, ...], reply: Reply) -> list[str]:
    """The texts of these names in an answer that is a JSON object."""
    _require(reply)
    texts = [value for name in names if isinstance(value := reply.any_object().get(name), str) and value]
    if len(texts) < len(names):
        raise reply.unreadable(f"to the upload does not name {' and '.join(names)}")
    return texts


def _fetchable(url: str, name: str) -> str:
    if why := why_not_fetchable(url):
        raise FalProtocolError(f"The {name} of an upload cannot be used: {why}")
    return url


async def _all(send: Callable[[int], Coroutine[None, None, None]], count: int) -> None:
    """Every part; the first failure ends the others and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(1, count + 1):
                group.create_task(send(number))
    except* FalError as errors:
        first = errors.exceptions[0]
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        raise first from None
