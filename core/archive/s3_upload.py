"""One object into S3: atomically, never over another, checked by the server on the way.

Up to 16 MiB go in one request with their SHA-256, more in parts with a CRC-32 each. The server verifies these; that
a local file is the one that was described is checked here. No file is held in memory: it is read to be hashed, and
once more, from the system's memory, while it is sent.
"""

import asyncio
import base64
import hashlib
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from prefect_ltx.archive.errors import ArchiveCorrupt
from prefect_ltx.archive.s3_body import Body, FileBody
from prefect_ltx.archive.s3_errors import worth_another_try
from prefect_ltx.archive.s3_multipart import PART, MultipartUpload, Target
from prefect_ltx.archive.s3_session import S3Session

SINGLE_LIMIT: Final = 16 << 20
_MOST_PARTS: Final = 10_000
_PIECE: Final = 1 << 18


async def put_object(
    session: S3Session,
    target: Target,
    body: Body,
    *,
    sha256: str,
    content_type: str,
    create_only: bool = True,
) -> bool:
    """Write an object in one request; raises what S3 raises, a taken key as 412.

    Returns whether the server's answer says that it has the bytes of `sha256`.
    """
    # What is written once never changes; browsers and CDNs have to ask again for what is replaced.
    condition = {"IfNoneMatch": "*"} if create_only else {"CacheControl": "no-cache"}
    checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
    answer = await session.call(
        "put_object",
        {
            **target,
            **condition,
            "ContentType": content_type,
            "Metadata": {"sha256": sha256},
            "ChecksumSHA256": checksum,
        },
        body=body,
    )
    return bool(answer.get("ChecksumSHA256") == checksum)


async def put_small_file(
    session: S3Session, target: Target, path: Path, *, sha256: str, content_type: str
) -> bool:
    """Write a file of at most `SINGLE_LIMIT` bytes; returns what `put_object` does.

    Raises:
        ArchiveCorrupt: the file's bytes are not those of `sha256`; nothing was published.
    """
    async with session.bodies, _opened(path, sha256, target) as file:
        async with session.reading:
            body = await asyncio.to_thread(file.next_part, SINGLE_LIMIT, with_crc32=False)
        _same(file.sha256.hexdigest(), sha256, target)
        return await put_object(session, target, body, sha256=sha256, content_type=content_type)


async def put_large_file(
    session: S3Session, target: Target, path: Path, *, size: int, sha256: str, content_type: str
) -> bool:
    """Write a file in parts; it appears only when all of them are there and add up to `sha256`. Returns False.

    Raises:
        ArchiveCorrupt: the file's bytes are not those of `sha256`; nothing was published.
    """
    upload = MultipartUpload(session, target, content_type=content_type, metadata={"sha256": sha256})
    async with _opened(path, sha256, target) as file:
        try:
            await _send_parts(session, upload, file, _part_size(size))
            _same(file.sha256.hexdigest(), sha256, target)
            await upload.complete()
        except BaseException:
            # Cancellation too: s3fs itself would leave the parts behind.
            await upload.abort()
            raise
    return False


async def _send_parts(session: S3Session, upload: MultipartUpload, file: "_File", part_size: int) -> None:
    while True:
        await upload.slot()
        try:
            async with session.reading:
                part = await asyncio.to_thread(file.next_part, part_size)
        except BaseException:
            session.bodies.release()
            raise
        if len(part) == 0:
            session.bodies.release()
            return
        upload.send(part, file.crc32)


class _File:
    """A local file that is hashed part by part, and shown part by part to be sent."""

    def __init__(self, hashed: FileIO, sent: FileIO) -> None:
        self.sha256 = hashlib.sha256()
        self.crc32 = 0
        self._hashed, self._sent = hashed, sent
        self._at = 0
        self._buffer = memoryview(bytearray(_PIECE))

    def next_part(self, size: int, *, with_crc32: bool = True) -> FileBody:
        """Hash the next `size` bytes, or those that are left; `crc32` is then theirs, where it is wanted."""
        start, end, self.crc32 = self._at, self._at + size, 0
        while found := self._hashed.readinto(self._buffer[: end - self._at]):
            self.sha256.update(self._buffer[:found])
            if with_crc32:
                self.crc32 = zlib.crc32(self._buffer[:found], self.crc32)
            self._at += found
        return FileBody(self._sent, start, self._at - start)


@asynccontextmanager
async def _opened(path: Path, sha256: str, target: Target) -> AsyncIterator[_File]:
    with path.open("rb", buffering=0) as hashed, path.open("rb", buffering=0) as sent:
        try:
            yield _File(hashed, sent)
        except Exception as error:
            if worth_another_try(error):
                # Every try failed: is it because the file has changed since it was hashed?
                _same(await asyncio.to_thread(_hash, path), sha256, target)
            raise


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _part_size(size: int) -> int:
    smallest = -(-size // _MOST_PARTS)
    return max(PART, -(-smallest // (1 << 20)) << 20)


def _same(found: str, expected: str, target: Target) -> None:
    if found != expected:
        raise ArchiveCorrupt(
            f"The local file for {target['Key']} is not the one that was described: its sha256 differs",
            next_step="Run again, so that it is fetched or made anew",
        )
