"""The stand-in's CDN on disk: uploads arrive by stream, outputs are moved in, everything is found by its
URL path.

A file is in place under its final name before the database knows of it, so what the database knows exists.
"""

import asyncio
import hashlib
import mimetypes
import re
import shutil
import time
from collections.abc import AsyncIterable
from pathlib import Path
from typing import BinaryIO, Final

from prefect_ltx.local import store as db
from prefect_ltx.local.errors import Refusal
from prefect_ltx.local.ids import random_name
from prefect_ltx.local.rows import FileRow
from prefect_ltx.local.store import Store
from prefect_ltx.runtime import THIS_MACHINE, Runtime

MAX_UPLOAD_BYTES: Final = 4 * 1024**3
_BUFFER: Final = 1024 * 1024
_STALE_SECONDS: Final = 24 * 3600


class FileStore:
    """Files of a data folder: `files/` holds them, `uploads/` what has not arrived whole, `work/` jobs'
    scratch."""

    def __init__(self, folder: Path, store: Store, runtime: Runtime = THIS_MACHINE) -> None:
        """Make the folders, and clear away what an earlier server left half done."""
        self._files = folder / "files"
        self._uploads = folder / "uploads"
        self.work = folder / "work"
        self._store = store
        self._runtime = runtime
        shutil.rmtree(self.work, ignore_errors=True)
        for path in (self._files, self._uploads, self.work):
            path.mkdir(parents=True, exist_ok=True)
        for left_over in self._uploads.iterdir():
            if time.time() - left_over.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()

    def new_path(self, name: str) -> str:
        """A URL path nobody can guess for a file called `name`."""
        return f"/files/b/{random_name(self._runtime, 8)}/{random_name(self._runtime)}_{safe_name(name)}"

    def disk(self, row: FileRow) -> Path:
        """Where the bytes are."""
        return self._files / row.disk

    async def find(self, path: str) -> FileRow | None:
        """The stored file with this URL path, unless its lifetime is over."""
        row = await self._store.call(db.find_file, path)
        if row is None or (row.expires_at is not None and row.expires_at <= self._runtime.time()):
            return None
        return row if self.disk(row).exists() else None

    async def receive(
        self,
        chunks: AsyncIterable[bytes],
        path: str,
        *,
        name: str,
        content_type: str,
        lifetime: float | None = None,
    ) -> FileRow:
        """Write a stream to disk and commit it under `path`.

        Raises:
            Refusal: 413 above `MAX_UPLOAD_BYTES`.
        """
        partial = self._uploads / f"{random_name(self._runtime)}.part"
        try:
            size, digest = await _write(chunks, partial)
            row = self._row(path, name, content_type, size, digest, lifetime)
            partial.replace(self.disk(row))
            await self._store.call(db.add_file, row)
        finally:
            partial.unlink(missing_ok=True)
        return row

    async def receive_part(self, chunks: AsyncIterable[bytes], upload_id: str, number: int) -> str:
        """Write one part of a multipart upload; gives its etag. The same part again replaces it."""
        folder = self._upload_folder(upload_id)
        folder.mkdir(exist_ok=True)
        partial = folder / f"{random_name(self._runtime)}.part"
        try:
            _, digest = await _write(chunks, partial)
            partial.replace(folder / f"{number}-{digest[:32]}")
        finally:
            partial.unlink(missing_ok=True)
        return f'"{digest[:32]}"'

    async def complete(
        self,
        upload_id: str,
        parts: list[tuple[int, str]],
        path: str,
        *,
        name: str,
        content_type: str,
        lifetime: float | None = None,
    ) -> FileRow:
        """Join the named parts in the order of their numbers; once joined, saying it again changes nothing.

        Raises:
            Refusal: 400 for a part that was not uploaded, or none.
        """
        if (done := await self.find(path)) is not None:
            return done
        folder = self._upload_folder(upload_id)
        pieces = [folder / f"{number}-{etag.strip(chr(34))}" for number, etag in sorted(parts)]
        missing = [
            str(number)
            for (number, _), piece in zip(sorted(parts), pieces, strict=True)
            if not piece.is_file()
        ]
        if missing or not pieces:
            raise Refusal(400, {"detail": f"Parts not uploaded: {', '.join(missing) or 'all'}"})
        joined = folder / "joined"
        size, digest = await asyncio.to_thread(_join, pieces, joined)
        row = self._row(path, name, content_type, size, digest, lifetime)
        joined.replace(self.disk(row))
        await self._store.call(db.add_file, row)
        shutil.rmtree(folder, ignore_errors=True)
        return row

    def adopt(
        self,
        made: Path,
        request_id: str,
        *,
        content_type: str,
        size: int,
        digest: str,
        lifetime: float | None,
    ) -> FileRow:
        """Move a job's output in. The path follows from the request, so doing it again replaces the same
        file; the row is for the caller to commit with the completion."""
        token = hashlib.sha256(f"output {request_id}".encode()).hexdigest()[:20]
        name = f"{token}{made.suffix}"
        row = self._row(
            f"/files/b/{request_id[:8]}/{name}", name, content_type, size, digest, lifetime, request_id
        )
        made.replace(self.disk(row))
        return row

    def _upload_folder(self, upload_id: str) -> Path:
        return self._uploads / hashlib.sha256(upload_id.encode()).hexdigest()[:32]

    def _row(
        self,
        path: str,
        name: str,
        content_type: str,
        size: int,
        digest: str,
        lifetime: float | None,
        request_id: str | None = None,
    ) -> FileRow:
        now = self._runtime.time()
        return FileRow(
            path=path,
            disk=hashlib.sha256(path.encode()).hexdigest()[:40],
            name=name,
            content_type=content_type,
            size=size,
            sha256=digest,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            request_id=request_id,
        )


def safe_name(name: str) -> str:
    """`name` as one harmless URL segment; its end, and so its suffix, is kept."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-80:].lstrip(".") or "file.bin"


def safe_type(content_type: str) -> str:
    """A content type that can stand in a header."""
    return re.sub(r"[^\x20-\x7e]+", "", content_type)[:200].strip() or "application/octet-stream"


def name_for(content_type: str) -> str:
    """A file name for an upload that came without one."""
    return f"upload{mimetypes.guess_extension(content_type.partition(';')[0].strip()) or '.bin'}"


async def _write(chunks: AsyncIterable[bytes], path: Path) -> tuple[int, str]:
    size = 0
    digest = hashlib.sha256()
    buffer = bytearray()

    def flush(file: BinaryIO, data: bytes) -> None:
        digest.update(data)
        file.write(data)

    with path.open("wb") as file:
        async for chunk in chunks:
            buffer += chunk
            size += len(chunk)
            if size > MAX_UPLOAD_BYTES:
                raise Refusal(413, {"detail": f"File is larger than {MAX_UPLOAD_BYTES} bytes"})
            if len(buffer) >= _BUFFER:
                await asyncio.to_thread(flush, file, bytes(buffer))
                buffer.clear()
        await asyncio.to_thread(flush, file, bytes(buffer))
    return size, digest.hexdigest()


def _join(pieces: list[Path], target: Path) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    with target.open("wb") as joined:
        for piece in pieces:
            with piece.open("rb") as part:
                while block := part.read(_BUFFER):
                    digest.update(block)
                    size += joined.write(block)
    return size, digest.hexdigest()
