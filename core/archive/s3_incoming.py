"""A file that goes to S3 while it arrives: in parts from 16 MiB on, and visible only when it is known to be whole.

Up to 16 MiB are held in memory, because one request with the file's SHA-256 is worth more than parts without it.
"""

import secrets
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from prefect_ltx.archive.backend import StoredFile
from prefect_ltx.archive.errors import ArchiveCorrupt, ArchiveError
from prefect_ltx.archive.s3_body import BytesBody
from prefect_ltx.archive.s3_multipart import PART, MultipartUpload, Target
from prefect_ltx.archive.s3_session import S3Session
from prefect_ltx.archive.s3_upload import SINGLE_LIMIT


class S3Incoming:
    """See `Incoming`."""

    def __init__(
        self,
        session: S3Session,
        target: Target,
        *,
        content_type: str,
        look: Callable[[], Awaitable[object | None]],
        put_small: Callable[..., Awaitable[StoredFile]],
        settle: Callable[[int, str, str, Exception | None], Awaitable[StoredFile]],
        explain: Callable[[Exception], ArchiveError],
    ) -> None:
        """Begin; `look`, `put_small` and `settle` are the backend's ways to look for the object, to write it in
        one request, and to see whose it is."""
        self._session = session
        self._target = target
        self._content_type = content_type
        self._look = look
        self._put_small = put_small
        self._settle = settle
        self._explain = explain
        self._buffer = bytearray()
        self._size = 0
        self._name = secrets.token_hex(16)
        self._upload: MultipartUpload | None = None
        self._again = False
        self._holds_place = True
        session.arriving += 1

    def start_over(self) -> None:
        """See `Incoming`."""
        self._again = True

    async def add(self, piece: bytes) -> None:
        """See `Incoming`."""
        await self._ready()
        self._buffer += piece
        self._size += len(piece)
        if self._size <= SINGLE_LIMIT:
            return
        try:
            while len(self._buffer) >= PART:
                await self._send(PART)
        except Exception as error:
            raise self._explain(error) from error

    async def finish(self, *, sha256: str, size: int) -> StoredFile:
        """See `Incoming`."""
        await self._ready()
        try:
            if self._size != size:
                raise ArchiveCorrupt(f"{self._target['Key']} got {self._size} bytes in place of {size}")
            if self._upload is None:
                data, self._buffer = self._buffer, bytearray()
                return await self._put_small(size=size, sha256=sha256, body=BytesBody(data))
            return await self._complete(self._upload, sha256)
        finally:
            await self.discard()

    async def discard(self) -> None:
        """See `Incoming`."""
        self._again = False
        await self._clear()
        if self._holds_place:
            self._holds_place = False
            self._session.arriving -= 1

    async def _ready(self) -> None:
        if self._again:
            self._again = False
            await self._clear()

    async def _clear(self) -> None:
        self._buffer.clear()
        self._size = 0
        upload, self._upload = self._upload, None
        if upload is not None:
            await upload.abort()

    async def _send(self, size: int) -> None:
        if self._upload is None:
            self._upload = MultipartUpload(
                self._session,
                self._target,
                content_type=self._content_type,
                metadata={"upload": self._name},
            )
        await self._upload.slot()
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        self._upload.send(BytesBody(data), zlib.crc32(data))

    async def _complete(self, upload: MultipartUpload, sha256: str) -> StoredFile:
        failed: Any = None
        try:
            if self._buffer:
                await self._send(len(self._buffer))
            # Looking first guards stores that complete an upload over what is there, as Ceph does.
            if await self._look() is None:
                await upload.complete()
        except Exception as error:
            failed = error
        return await self._settle(self._size, sha256, self._name, failed)
