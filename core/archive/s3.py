"""The archive in an S3 bucket, through s3fs.

Every write is conditional (`If-None-Match: *`), carries its sha256 in the object's metadata, and is read back
with a HEAD, unless the server's answer says by its checksum what it stored. A 412 may be our own write whose
answer was lost, so it is settled by looking: the same size and sha256 is ours, anything else a conflict. A large
file that is written while it arrives has no sha256 yet when its upload begins; it carries the upload's own random
name in place of it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import FlexibleChecksumError

from prefect_ltx.archive.backend import Incoming, Stat, StoredFile, Weakness
from prefect_ltx.archive.errors import (
    ArchiveConflict,
    ArchiveCorrupt,
    ArchiveDenied,
    ArchiveError,
    ArchiveKeyInvalid,
    ArchiveNotFound,
    ArchiveUnavailable,
)
from prefect_ltx.archive.s3_answers import NotS3Answer, Pages
from prefect_ltx.archive.s3_body import BytesBody
from prefect_ltx.archive.s3_conditions import weaknesses
from prefect_ltx.archive.s3_errors import (
    GONE,
    TAKEN,
    error_code,
    explained,
    settled_by_looking,
    worth_another_try,
)
from prefect_ltx.archive.s3_incoming import S3Incoming
from prefect_ltx.archive.s3_multipart import Target
from prefect_ltx.archive.s3_session import ATTEMPTS, STREAMS, S3Session, S3Sessions, S3Settings
from prefect_ltx.archive.s3_upload import SINGLE_LIMIT, put_large_file, put_object, put_small_file

_CHUNK = 1 << 20
_PROOF = 1 << 16
_MARKERS = {
    "list_objects_v2": ("ContinuationToken",),
    "list_multipart_uploads": ("KeyMarker", "UploadIdMarker"),
}


class S3Backend:
    """A write-once store below a prefix of a bucket, which has to exist."""

    parallel = 8

    def __init__(self, location: str, settings: S3Settings) -> None:
        """Keep files at `location` (`s3://bucket/prefix`); nothing is sent yet.

        Raises:
            ArchiveKeyInvalid: no bucket in it, or a query.
        """
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        if "#" in location:
            raise ArchiveKeyInvalid(
                "An S3 archive's prefix has no # in it: of its files' addresses everything after it would be lost",
                next_step="Name a prefix without #",
            )
        if not bucket or set("?@") & set(location):
            raise ArchiveKeyInvalid(
                "An S3 archive is named s3://bucket/prefix, without a query or credentials",
                next_step="Give credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._sessions = S3Sessions(settings)
        self._refuses_taken: bool | None = None
        self.location = f"s3://{bucket}/{self._prefix}".rstrip("/")

    async def put_file(self, key: str, path: Path, *, sha256: str, content_type: str) -> StoredFile:
        """See `Backend`."""
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
            put = put_small_file if size <= SINGLE_LIMIT else partial(put_large_file, size=size)
            return await self._create(key, size, sha256, put, path=path, content_type=content_type)
        except FileNotFoundError as error:
            raise ArchiveNotFound(f"{path}: there is no such file to archive") from error

    async def put_bytes(
        self, key: str, data: bytes, *, content_type: str, overwrite: bool = False
    ) -> StoredFile:
        """See `Backend`."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not overwrite:
            return await self._create(
                key, len(data), sha256, put_object, body=BytesBody(data), content_type=content_type
            )
        try:
            await put_object(
                self._sessions.here(),
                self._target(key),
                BytesBody(data),
                sha256=sha256,
                content_type=content_type,
                create_only=False,
            )
        except Exception as error:
            raise explained(error, self.url(key)) from error
        return StoredFile(key=key, size=len(data), sha256=sha256)

    def incoming(self, key: str, *, content_type: str) -> Incoming | None:
        """See `Backend`."""
        session = self._sessions.here()
        if session.arriving >= STREAMS:
            return None
        return S3Incoming(
            session,
            self._target(key),
            content_type=content_type,
            look=partial(self._head, key),
            put_small=partial(self._create, key, content_type=content_type, put=put_object),
            settle=partial(self._settle_upload, key),
            explain=lambda error: explained(error, self.url(key)),
        )

    async def chunks(self, key: str) -> AsyncIterator[bytes]:
        """See `Backend`; a connection that breaks is taken up again where it broke."""
        session, offset, end, etag = self._sessions.here(), 0, -1, ""
        piece = bytearray()  # the network's pieces are too small to be handed on one by one
        for attempt in range(1, ATTEMPTS + 1):
            again = {"Range": f"bytes={offset}-", "IfMatch": etag} if offset else {}
            try:
                answer = await session.call("get_object", {**self._target(key), **again})
                etag, end = answer["ETag"], offset + answer["ContentLength"]
                try:
                    while chunk := await answer["Body"].read(_CHUNK):
                        offset += len(chunk)
                        piece += chunk
                        if len(piece) >= _CHUNK:
                            yield bytes(piece)
                            piece.clear()
                finally:
                    answer["Body"].close()
            except FlexibleChecksumError as error:
                raise ArchiveUnavailable(f"{self.url(key)}: its bytes changed on the way") from error
            except Exception as error:
                if offset != end and (attempt == ATTEMPTS or not worth_another_try(error)):
                    raise explained(error, self.url(key)) from error
            if offset == end:
                if piece:
                    yield bytes(piece)
                return
        raise ArchiveUnavailable(f"{self.url(key)}: the connection to S3 broke off {ATTEMPTS} times")

    async def stat(self, key: str) -> Stat | None:
        """See `Backend`."""
        found = await self._head(key)
        return None if found is None else Stat(found[0], found[1].get("sha256"))

    async def list(self, prefix: str) -> dict[str, int]:
        """See `Backend`."""
        found: dict[str, int] = {}
        async for each in self._pages("list_objects_v2", "Contents", prefix, "Size"):
            key = each["Key"][len(self._prefix) :]
            if prefix.startswith(".") or not key.startswith("."):  # marks and thumbnails
                found[key] = each["Size"]
        return dict(sorted(found.items()))

    async def first(self, prefix: str, limit: int) -> Sequence[str]:
        """See `Backend`; one request, which brings at most 1,000."""
        answer = await self._list_call("list_objects_v2", prefix, MaxKeys=limit)
        try:
            found = Pages("list_objects_v2", self._prefix + prefix).entries(answer, "Contents")
        except NotS3Answer as error:
            raise explained(error, self.location) from None
        return [each["Key"][len(self._prefix) :] for each in found]

    def url(self, key: str) -> str:
        """See `Backend`."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    async def clear_stale_temporaries(self, older_than: float, finished: Collection[str] = ()) -> int:
        """See `Backend`: aborts multipart uploads below the prefix that were begun too long ago."""
        before, cleared = datetime.now(UTC) - timedelta(seconds=older_than), 0
        async for each in self._pages("list_multipart_uploads", "Uploads", "", "Initiated", "UploadId"):
            folder = each["Key"][len(self._prefix) :].rpartition("/")[0]
            if folder in finished or each["Initiated"] <= before:
                await self._abort(each["Key"], each["UploadId"])
                cleared += 1
        return cleared

    async def weaknesses(self, taken: str, free: str) -> Sequence[Weakness]:
        """See `Backend`."""
        try:
            return await weaknesses(self._sessions.here(), self._target(taken), self._target(free))
        except Exception as error:
            raise explained(error, self.url(taken)) from error

    async def remove_probe(self, key: str) -> None:
        """See `Backend`."""
        try:
            await self._sessions.here().call("delete_object", self._target(key))
        except Exception as error:
            raise explained(error, self.url(key)) from error

    async def aclose(self) -> None:
        """See `Backend`."""
        await self._sessions.aclose()

    async def _head(self, key: str) -> tuple[int, dict[str, str]] | None:
        try:
            found = await self._sessions.here().call("head_object", self._target(key))
        except Exception as error:
            if error_code(error) in GONE:
                return None
            raise explained(error, self.url(key)) from error
        # Some servers capitalise the names of headers.
        return found["ContentLength"], {
            name.lower(): value for name, value in found.get("Metadata", {}).items()
        }

    async def _create(self, key: str, size: int, sha256: str, put: Any, **what: Any) -> StoredFile:
        session = self._sessions.here()
        async with session.writes:
            return await self._create_now(session, key, size, sha256, put, **what)

    async def _create_now(
        self, session: S3Session, key: str, size: int, sha256: str, put: Any, **what: Any
    ) -> StoredFile:
        target = self._target(key)
        # Looking first saves sending a large file again after a crash, and guards stores without conditions.
        look = size > SINGLE_LIMIT or not self._refuses_taken
        if look and (there := await self.stat(key)) is not None:
            return await self._settle(key, there, size, sha256)
        try:
            vouched = await put(session, target, sha256=sha256, **what)
        except ArchiveError:
            raise
        except Exception as error:
            if not settled_by_looking(error):
                raise explained(error, self.url(key)) from error
            if (there := await self.stat(key)) is None:
                raise ArchiveUnavailable(f"{self.url(key)}: another writer came in between") from error
            return await self._settle(key, there, size, sha256)
        # Where the answer says what was stored, `publish` is early enough to look.
        vouched = vouched and self._refuses_taken
        try:
            there = Stat(size, sha256) if vouched else await self.stat(key)
        except ArchiveDenied as error:
            raise ArchiveDenied(
                f"It was written, and cannot be looked at: {error.what}", next_step=error.next_step
            ) from error
        if there != Stat(size, sha256):
            raise ArchiveCorrupt(f"{self.url(key)} was written but reads back otherwise: {there}")
        if self._refuses_taken is None and size <= _PROOF:
            await self._try_conditions(put, session, target, sha256=sha256, **what)
        return StoredFile(key=key, size=size, sha256=sha256)

    async def _try_conditions(self, put: Any, session: S3Session, target: Target, **what: Any) -> None:
        # A small file that has just been written, once more: the same bytes, so a store that does not know
        # conditions does no harm. One that refuses it need not be looked into before every write.
        self._refuses_taken = False
        try:
            await put(session, target, **what)
        except Exception as error:
            self._refuses_taken = error_code(error) in TAKEN or None

    async def _settle_upload(
        self, key: str, size: int, sha256: str, name: str, failed: Exception | None
    ) -> StoredFile:
        """After the end of an upload in parts, whichever answer it got: whose object is it?"""
        if failed is not None and not settled_by_looking(failed):
            raise explained(failed, self.url(key)) from failed
        there = await self._head(key)
        if there is None:
            raise ArchiveUnavailable(f"{self.url(key)}: the upload was not completed") from failed
        if there[1].get("upload") != name:
            return await self._settle(key, Stat(there[0], there[1].get("sha256")), size, sha256)
        if there[0] != size:
            raise ArchiveCorrupt(f"{self.url(key)} was written but reads back with {there[0]} bytes")
        return StoredFile(key=key, size=size, sha256=sha256)

    async def _settle(self, key: str, there: Stat, size: int, sha256: str) -> StoredFile:
        found = there.sha256
        if found is None and there.size == size:
            # Copied here by another tool: its bytes have to say what it is.
            digest = hashlib.sha256()
            async for chunk in self.chunks(key):
                digest.update(chunk)
            found = digest.hexdigest()
        if (there.size, found) != (size, sha256):
            raise ArchiveConflict(f"{self.url(key)} is in the archive already, with other bytes")
        return StoredFile(key=key, size=size, sha256=sha256, existed=True)

    async def _pages(
        self, method: str, name: str, prefix: str, *fields: str
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The entries of all pages of a listing."""
        pages = Pages(method, self._prefix + prefix)
        page: dict[str, str] = {}
        while True:
            answer = await self._list_call(method, prefix, **page)
            try:
                found, following = pages.entries(answer, name, *fields), pages.following(answer)
            except NotS3Answer as error:
                raise explained(error, self.location) from None
            for each in found:
                yield each
            if following is None:
                return
            page = dict(zip(_MARKERS[method], following, strict=True))

    async def _list_call(self, method: str, prefix: str, **page: str | int) -> Any:
        try:
            return await self._sessions.here().call(
                method, {"Bucket": self._bucket, "Prefix": self._prefix + prefix, **page}
            )
        except Exception as error:
            raise explained(error, self.location) from error

    async def _abort(self, key: str, upload_id: str) -> None:
        try:
            await self._sessions.here().call(
                "abort_multipart_upload", {"Bucket": self._bucket, "Key": key, "UploadId": upload_id}
            )
        except Exception as error:
            if error_code(error) != "NoSuchUpload":
                raise explained(error, self.location) from error

    def _target(self, key: str) -> Target:
        return {"Bucket": self._bucket, "Key": self._prefix + key}
