"""Does an S3 store itself keep writers apart? Asked with the archive's own writes, sent without looking first.

Stores differ (media-and-storage §1): some ignore `If-None-Match` altogether, Ceph where an upload in parts is
completed, and OpenStack Swift knows it but lets several of those through that come at the same moment.
"""

import asyncio
import hashlib
import secrets
import zlib
from collections.abc import Awaitable
from typing import Final

from prefect_ltx.archive.backend import Weakness
from prefect_ltx.archive.s3_body import BytesBody
from prefect_ltx.archive.s3_errors import RACED, TAKEN, error_code
from prefect_ltx.archive.s3_multipart import MultipartUpload, Target
from prefect_ltx.archive.s3_session import S3Session
from prefect_ltx.archive.s3_upload import put_object

RACERS: Final = 8
_TYPE: Final = "application/octet-stream"


async def weaknesses(session: S3Session, taken: Target, free: Target) -> list[Weakness]:
    """Write over `taken`, and to `free` by several at once; both may hold anything afterwards, and go.

    Raises:
        Exception: what S3 raised where it did not refuse a write because the name is taken.
    """
    if not await _refused(_put(session, taken)):
        return [
            Weakness(
                "the store ignores the condition of a write (If-None-Match): of two workers that write one name at "
                "the same moment, the later one overwrites the other's file",
                "error",
            )
        ]
    found = []
    if not await _refused(_put_in_parts(session, taken)):
        found.append(
            Weakness(
                "the store ignores the condition (If-None-Match) where a large file, written in parts, is completed: "
                "of two workers that write one at the same moment, the later one overwrites the other's file",
                "warning",
            )
        )
    refused = await asyncio.gather(*(_refused(_put(session, free)) for _ in range(RACERS)))
    if (winners := refused.count(False)) > 1:
        found.append(
            Weakness(
                f"the store's conditional writes are not atomic: {winners} of {RACERS} writers of one name at the "
                "same moment were told that theirs is the one",
                "warning",
            )
        )
    return found


async def _refused(write: Awaitable[None]) -> bool:
    """Whether the store refused it because the name is taken."""
    try:
        await write
    except Exception as error:
        if error_code(error) not in TAKEN | RACED:
            raise
        return True
    return False


async def _put(session: S3Session, target: Target) -> None:
    data = secrets.token_bytes(32)
    sha256 = hashlib.sha256(data).hexdigest()
    await put_object(session, target, BytesBody(data), sha256=sha256, content_type=_TYPE)


async def _put_in_parts(session: S3Session, target: Target) -> None:
    data = secrets.token_bytes(32)
    sha256 = hashlib.sha256(data).hexdigest()
    upload = MultipartUpload(session, target, content_type=_TYPE, metadata={"sha256": sha256})
    try:
        await upload.slot()
        upload.send(BytesBody(data), zlib.crc32(data))
        await upload.complete()
    finally:
        await upload.abort()
