"""One object into S3: whole or not at all, never over another, checked by the server on the way.

Up to 16 MiB go in one request, more in parts of 8 MiB and up, read from the disk as they are sent. Every body
carries its SHA-256, which the server verifies. An upload that ends early, by an error or a cancellation, is
aborted; only a killed process leaves parts behind, which `clear_stale_temporaries` removes.
"""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from prefect_ltx.archive.errors import ArchiveCorrupt
from prefect_ltx.archive.s3_session import S3Session

SINGLE_LIMIT: Final = 16 << 20
_PART: Final = 8 << 20
_MOST_PARTS: Final = 10_000
_ABORT_SECONDS: Final = 15

Target = dict[str, str]
"""Bucket and Key, as every S3 call takes them."""


async def put_object(
    session: S3Session,
    target: Target,
    data: bytes,
    *,
    sha256: str,
    content_type: str,
    create_only: bool = True,
) -> None:
    """Write an object in one request; raises what S3 raises, a taken key as 412."""
    condition = {"IfNoneMatch": "*"} if create_only else {}
    await session.call(
        "put_object",
        {
            **target,
            **condition,
            "Body": data,
            "ContentType": content_type,
            "Metadata": {"sha256": sha256},
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
        },
    )


async def put_small_file(
    session: S3Session, target: Target, path: Path, *, sha256: str, content_type: str
) -> None:
    """Write a file of at most `SINGLE_LIMIT` bytes.

    Raises:
        ArchiveCorrupt: the file's bytes are not those of `sha256`; nothing was sent.
    """
    async with session.bodies:
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
    options = {"ContentType": content_type, "Metadata": {"sha256": sha256}, "ChecksumAlgorithm": "SHA256"}
    upload_id = await _begin(session, target, options)
    try:
        parts, found = await _send_parts(session, target, upload_id, path, _part_size(size))
        _same(found, sha256, target)
        await session.call(
            "complete_multipart_upload",
            {**target, "UploadId": upload_id, "MultipartUpload": {"Parts": parts}, "IfNoneMatch": "*"},
        )
    except BaseException:
        # Cancellation too: s3fs itself would leave the parts behind.
        await asyncio.shield(_abort(session, target, upload_id))
        raise


async def _begin(session: S3Session, target: Target, options: dict[str, Any]) -> str:
    call = asyncio.create_task(session.call("create_multipart_upload", {**target, **options}))
    try:
        return str((await asyncio.shield(call))["UploadId"])
    except asyncio.CancelledError:
        # The upload may exist by now: wait for its name, to be able to abort it.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_ABORT_SECONDS):
                await _abort(session, target, str((await call)["UploadId"]))
        raise


async def _send_parts(
    session: S3Session, target: Target, upload_id: str, path: Path, part_size: int
) -> tuple[list[dict[str, Any]], str]:
    whole = hashlib.sha256()

    async def send(number: int, data: bytes, checksum: str) -> dict[str, Any]:
        try:
            sent = await session.call(
                "upload_part",
                {
                    **target,
                    "UploadId": upload_id,
                    "PartNumber": number,
                    "Body": data,
                    "ChecksumSHA256": checksum,
                },
            )
        finally:
            session.bodies.release()
        return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum}

    sending: list[asyncio.Task[dict[str, Any]]] = []
    with path.open("rb") as file:
        try:
            while True:
                # Waiting here is what keeps the memory flat: a part is read only when it may be sent.
                await session.bodies.acquire()
                data, checksum = await _or_release(session, lambda: _next_part(file, part_size, whole))
                if not data or _first_failed(sending):
                    session.bodies.release()
                    break
                sending.append(asyncio.create_task(send(len(sending) + 1, data, checksum)))
            return list(await asyncio.gather(*sending)), whole.hexdigest()
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)


async def _or_release(session: S3Session, read: Callable[[], tuple[bytes, str]]) -> tuple[bytes, str]:
    try:
        return await asyncio.to_thread(read)
    except BaseException:
        session.bodies.release()
        raise


def _first_failed(sending: list[asyncio.Task[dict[str, Any]]]) -> bool:
    return any(task.done() and task.exception() is not None for task in sending)


def _next_part(file: BinaryIO, part_size: int, whole: Any) -> tuple[bytes, str]:
    data = file.read(part_size)
    whole.update(data)
    return data, base64.b64encode(hashlib.sha256(data).digest()).decode()


def _whole(path: Path) -> tuple[bytes, str]:
    data = path.read_bytes()
    return data, hashlib.sha256(data).hexdigest()


def _part_size(size: int) -> int:
    smallest = -(-size // _MOST_PARTS)
    return max(_PART, -(-smallest // (1 << 20)) << 20)


def _same(found: str, expected: str, target: Target) -> None:
    if found != expected:
        raise ArchiveCorrupt(
            f"The local file for {target['Key']} is not the one that was described: its sha256 differs",
            next_step="Run again, so that it is fetched or made anew",
        )


async def _abort(session: S3Session, target: Target, upload_id: str) -> None:
    # What cannot be aborted now is found again by clear_stale_temporaries.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_ABORT_SECONDS):
            await session.call("abort_multipart_upload", {**target, "UploadId": upload_id}, attempts=2)
