"""An S3 object in parts: invisible until it is completed, gone when it is aborted.

Every part carries its CRC-32, which the server verifies; completing it is conditional (`If-None-Match: *`). Only
a killed process leaves parts behind, which `clear_stale_temporaries` removes.
"""

import asyncio
import base64
import contextlib
from typing import Any, Final

from prefect_ltx.archive.s3_body import Body
from prefect_ltx.archive.s3_session import S3Session

PART: Final = 8 << 20
_ABORT_SECONDS: Final = 15

Target = dict[str, str]
"""Bucket and Key, as every S3 call takes them."""


def _written(crc32: int) -> str:
    """Return a CRC-32 as S3 writes it."""
    return base64.b64encode(crc32.to_bytes(4)).decode()


class MultipartUpload:
    """One upload in parts. Take a `slot`, `send` a part with it, and in the end `complete` or `abort`."""

    def __init__(
        self, session: S3Session, target: Target, *, content_type: str, metadata: dict[str, str]
    ) -> None:
        """Prepare it; the first `slot` begins it on the server."""
        self._session = session
        self._target = target
        self._options = {"ContentType": content_type, "Metadata": metadata, "ChecksumAlgorithm": "CRC32"}
        self._upload_id: str | None = None
        self._sending: list[asyncio.Task[dict[str, Any]]] = []

    async def slot(self) -> None:
        """Wait until a part may be sent; `send` or `S3Session.bodies.release` gives the slot back.

        Raises:
            Exception: what S3 raised for a part that was sent before.
        """
        if self._upload_id is None:
            self._upload_id = await self._begin()
        await self._session.bodies.acquire()
        for task in self._sending:
            if task.done() and (failed := task.exception()) is not None:
                self._session.bodies.release()
                raise failed

    def send(self, part: Body, crc32: int) -> None:
        """Send the next part in the background."""
        self._sending.append(asyncio.create_task(self._send(len(self._sending) + 1, part, _written(crc32))))

    async def complete(self) -> None:
        """Publish what was sent, all or nothing; raises what S3 raises, a taken key as 412."""
        parts = list(await asyncio.gather(*self._sending))
        await self._session.call(
            "complete_multipart_upload",
            {
                **self._target,
                "UploadId": self._upload_id,
                "MultipartUpload": {"Parts": parts},
                "IfNoneMatch": "*",
            },
        )
        self._upload_id, self._sending = None, []

    async def abort(self) -> None:
        """Remove what was sent. Never raises; it goes on to its end when the caller is cancelled."""
        sending, self._sending = self._sending, []
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        upload_id, self._upload_id = self._upload_id, None
        if upload_id is not None:
            await asyncio.shield(self._abort(upload_id))

    async def _send(self, number: int, part: Body, crc32: str) -> dict[str, Any]:
        try:
            which = {"UploadId": self._upload_id, "PartNumber": number, "ChecksumCRC32": crc32}
            sent = await self._session.call("upload_part", {**self._target, **which}, body=part)
        finally:
            self._session.bodies.release()
        return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": crc32}

    async def _begin(self) -> str:
        request = {**self._target, **self._options}
        call = asyncio.create_task(self._session.call("create_multipart_upload", request))
        try:
            return str((await asyncio.shield(call))["UploadId"])
        except asyncio.CancelledError:
            # The upload may exist by now: wait for its name, to be able to abort it.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_ABORT_SECONDS):
                    await self._abort(str((await call)["UploadId"]))
            raise

    async def _abort(self, upload_id: str) -> None:
        # What cannot be aborted now is found again by clear_stale_temporaries.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_ABORT_SECONDS):
                await self._session.call(
                    "abort_multipart_upload", {**self._target, "UploadId": upload_id}, attempts=2
                )
