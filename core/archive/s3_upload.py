"""One object into S3: whole or not at all, never over another, checked by the server on the way.

Up to 16 MiB go in one request with their SHA-256, more in parts with a CRC-32 each, read from the disk as they are
sent. The server verifies these; that a local file is the one that was described is checked here.
"""

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any, BinaryIO, Final

from prefect_ltx.archive.errors import ArchiveCorrupt
from prefect_ltx.archive.s3_multipart import PART, MultipartUpload, Target, checksum
from prefect_ltx.archive.s3_session import S3Session

SINGLE_LIMIT: Final = 16 << 20
_MOST_PARTS: Final = 10_000


async def put_object(
    session: S3Session,
    target: Target,
    data: bytes | bytearray,
    *,
    sha256: str,
    content_type: str,
    create_only: bool = True,
) -> None:
    """Write an object in one request; raises what S3 raises, a taken key as 412."""
    # What is written once never changes; browsers and CDNs have to ask again for what is replaced.
    condition = {"IfNoneMatch": "*"} if create_only else {"CacheControl": "no-cache"}
    await session.call(
        "put_object",
        {
            **target,
            **condition,
            "ContentType": content_type,
            "Metadata": {"sha256": sha256},
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
        },
        body=data,
    )


async def put_small_file(
    session: S3Session, target: Target, path: Path, *, sha256: str, content_type: str
) -> None:
    """Write a file of at most `SINGLE_LIMIT` bytes.

    Raises:
        ArchiveCorrupt: the file's bytes are not those of `sha256`; nothing was sent.
    """
    async with session.bodies:
        async with session.reading:
            data, found = await asyncio.to_thread(_whole, path)
        _same(found, sha256, target)
        await put_object(session, target, data, sha256=sha256, content_type=content_type)


async def put_large_file(
    session: S3Session, target: Target, path: Path, *, size: int, sha256: str, content_type: str
) -> None:
    """Write a file in parts; it appears only when all of them are there and add up to `sha256`.

    Raises:
        ArchiveCorrupt: the file's bytes are not those of `sha256`; nothing was published.
    """
    upload = MultipartUpload(session, target, content_type=content_type, metadata={"sha256": sha256})
    try:
        _same(await _send_parts(session, upload, path, _part_size(size)), sha256, target)
        await upload.complete()
    except BaseException:
        # Cancellation too: s3fs itself would leave the parts behind.
        await upload.abort()
        raise


async def _send_parts(session: S3Session, upload: MultipartUpload, path: Path, part_size: int) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            # Waiting here is what keeps the memory flat: a part is read only when it may be sent.
            await upload.slot()
            try:
                async with session.reading:
                    data, crc32 = await asyncio.to_thread(_next_part, file, part_size, whole)
            except BaseException:
                session.bodies.release()
                raise
            if not data:
                session.bodies.release()
                return whole.hexdigest()
            upload.send(data, crc32)


def _next_part(file: BinaryIO, part_size: int, whole: Any) -> tuple[bytes, str]:
    data = file.read(part_size)
    whole.update(data)
    return data, checksum(data)


def _whole(path: Path) -> tuple[bytes, str]:
    data = path.read_bytes()
    return data, hashlib.sha256(data).hexdigest()


def _part_size(size: int) -> int:
    smallest = -(-size // _MOST_PARTS)
    return max(PART, -(-smallest // (1 << 20)) << 20)


def _same(found: str, expected: str, target: Target) -> None:
    if found != expected:
        raise ArchiveCorrupt(
            f"The local file for {target['Key']} is not the one that was described: its sha256 differs",
            next_step="Run again, so that it is fetched or made anew",
        )
