"""The archive of finished videos: a folder or an S3 bucket, write-once, the manifest last.

Each generation has a folder of its own (`folder_for`) with `video.mp4`, its renditions and `manifest.json`.
Nothing is ever overwritten but the gallery, `index.html` at the root. Readers trust what a manifest names.
"""

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from pydantic import SecretStr

from prefect_ltx.archive import marks
from prefect_ltx.archive.backend import Backend, Incoming, StoredFile, Weakness
from prefect_ltx.archive.errors import (
    ArchiveConflict,
    ArchiveCorrupt,
    ArchiveKeyInvalid,
    ArchiveNotFound,
    ManifestUnreadable,
)
from prefect_ltx.archive.folder import FolderBackend
from prefect_ltx.archive.gallery import GalleryReport, write_gallery
from prefect_ltx.archive.gallery_notes import GalleryNotes
from prefect_ltx.archive.keys import MANIFEST_NAME, check_key, check_web_address
from prefect_ltx.archive.manifest import ArchivedFile, Manifest
from prefect_ltx.archive.probe import probe
from prefect_ltx.archive.reading import (
    fetch_file,
    folder_of,
    manifest_keys,
    read_manifests,
    read_small,
    shown,
)
from prefect_ltx.archive.rehydrate import RehydrateReport, rehydrate_archive
from prefect_ltx.archive.thumbnails import Thumbnail
from prefect_ltx.archive.verify import VerifyProgress, VerifyReport, verify_archive
from prefect_ltx.reading import Unreadable, local_path

if TYPE_CHECKING:
    from prefect_ltx.archive.additions import Addition
    from prefect_ltx.archive.asked_rules import RuleAsked
    from prefect_ltx.bucket_rules import BucketRules


class Archive:
    """A write-once archive at `location`: a folder, `file:///folder` or `s3://bucket/prefix`.

    For S3, what is not given comes from the environment as botocore reads it (`AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`,
    profiles, roles). The bucket has to exist, and its server has to know conditional writes.

    `rules` are what the bucket asks of what is written into it; not given: the settings' (`PREFECT_LTX_S3_…`).
    `request_checksum_calculation="when_required"` is for servers that refuse checksums they do not know;
    `retry_wait` is the first of three growing pauses, in seconds, before a failed request is sent again.

    All work is asynchronous, may be done from several event loops, and can be repeated after any failure.
    Connections close with the event loop, or earlier with `aclose` or `async with`.

    Raises:
        ArchiveKeyInvalid: the location is neither a folder nor `s3://bucket/prefix`.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        endpoint_url: str | None = None,
        key: str | SecretStr | None = None,
        secret: str | SecretStr | None = None,
        token: str | SecretStr | None = None,
        region: str | None = None,
        addressing_style: str | None = None,
        request_checksum_calculation: str = "when_supported",
        retry_wait: float = 0.2,
        rules: "BucketRules | None" = None,
        web_url: str | None = None,
    ) -> None:
        """Name the place; nothing is read, written or sent yet. `web_url` is where a browser reads its files."""
        self._web_url = check_web_address(web_url) if web_url else ""
        self._backend: Backend
        self._how: dict[str, Any] = {
            "endpoint_url": endpoint_url,
            "key": _hidden(key),
            "secret": _hidden(secret),
            "token": _hidden(token),
            "region": region,
            "addressing_style": addressing_style,
            "request_checksum_calculation": request_checksum_calculation,
            "retry_wait": retry_wait,
            "rules": rules,
        }
        text = str(location)
        if text.startswith("s3://"):
            # s3fs takes a tenth of what starting a run costs, and only a bucket needs it.
            from prefect_ltx.archive.s3 import S3Backend
            from prefect_ltx.archive.s3_session import S3Settings
            from prefect_ltx.settings import Settings

            if rules is None:
                self._how["rules"] = Settings().bucket_rules
            self._backend = S3Backend(text, S3Settings(**self._how))
        elif not text.strip() or "://" in text.removeprefix("file://"):
            raise ArchiveKeyInvalid("An archive is a folder or s3://bucket/prefix")
        else:
            try:
                folder = local_path(text.removeprefix("file://"))
            except Unreadable as error:
                raise ArchiveKeyInvalid(f"That is no archive: {error.what}") from None
            self._backend = FolderBackend(folder.absolute())
        self.location = self._backend.location

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; None for a bucket."""
        return self._backend.root if isinstance(self._backend, FolderBackend) else None

    @property
    def rules(self) -> "BucketRules | None":
        """What the bucket asks of everything that is written; None for a folder."""
        rules: BucketRules | None = self._how["rules"]
        return rules

    async def rule_asked(self) -> "RuleAsked | None":
        """Which rule a bucket's refusal to write asks for, found out by trying; None where no rule helps."""
        if self.rules is None:
            return None
        from prefect_ltx.archive.asked_rules import rule_asked

        return await rule_asked(self.location, self._how)

    def link(self, path: str) -> str:
        """The address at which a browser opens a file of the archive; empty where it has none."""
        return f"{self._web_url.rstrip('/')}/{quote(path)}" if self._web_url else ""

    def elsewhere(self, location: str | Path) -> "Archive":
        """Another place, used with the same credentials."""
        return Archive(location, **self._how)

    def __repr__(self) -> str:
        """Show the place and no credentials."""
        return f"Archive({self.location!r})"

    async def __aenter__(self) -> Self:
        """Use the archive; connections close at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close this event loop's connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close this event loop's connections; the archive can be used again afterwards."""
        await self._backend.aclose()

    async def put_file(
        self, key: str, path: Path | str, *, sha256: str, content_type: str | None = None
    ) -> StoredFile:
        """Store a local file atomically. The same bytes again are no error (`existed`).

        Raises:
            ArchiveConflict: other bytes are stored under the key; they stay.
            ArchiveCorrupt: the local file's bytes are not those of `sha256`; nothing was stored.
            ArchiveError: it cannot be stored now.
        """
        kind = content_type or mimetypes.guess_type(key)[0] or "application/octet-stream"
        return await self._backend.put_file(check_key(key), Path(path), sha256=sha256, content_type=kind)

    def incoming(self, key: str, *, content_type: str) -> Incoming | None:
        """Begin a file that is stored while it arrives, without a second pass over its bytes.

        `add` its pieces; `finish` publishes it, once its sender knows that it is whole; `discard` forgets it.
        None while others arrive and no more fit into memory: then store it with `put_file` when it is whole.
        """
        return self._backend.incoming(check_key(key), content_type=content_type)

    async def put_bytes(
        self, key: str, data: bytes, *, content_type: str, overwrite: bool = False
    ) -> StoredFile:
        """Store a few bytes; otherwise like `put_file`. What is no record, such as a table, may `overwrite` others."""
        return await self._backend.put_bytes(
            check_key(key), data, content_type=content_type, overwrite=overwrite
        )

    async def read_bytes(self, key: str) -> bytes:
        """Read a small file.

        Raises:
            ArchiveNotFound: no file has this key.
            ArchiveCorrupt: it has more than 64 MiB.
        """
        return await read_small(self._backend, check_key(key))

    def chunks(self, key: str) -> AsyncIterator[bytes]:
        """Read a file in pieces, for what is too large to hold.

        Raises:
            ArchiveNotFound: no file has this key.
        """
        return self._backend.chunks(check_key(key))

    async def fetch(
        self, key: str, path: Path | str, *, sha256: str | None = None, size: int | None = None
    ) -> StoredFile:
        """Copy a file out of the archive to `path` atomically, replacing what is there.

        Of a file with more than `size` bytes no more are read.

        Raises:
            ArchiveNotFound: no file has this key.
            ArchiveCorrupt: its bytes are not those of `sha256`, or more than `size`.
            ArchiveUnavailable: it cannot be read, or not written at `path`.
        """
        return await fetch_file(self._backend, check_key(key), Path(path), sha256=sha256, size=size)

    async def exists(self, key: str) -> bool:
        """Tell whether there is a file under `key`."""
        return await self._backend.stat(check_key(key)) is not None

    async def list(self, prefix: str = "") -> list[str]:
        """Return all keys that begin with `prefix`, sorted."""
        return list(await self._backend.list(_check_prefix(prefix)))

    def url(self, key: str) -> str:
        """Return a file's address, `file://…` or `s3://…`."""
        return self._backend.url(check_key(key))

    async def publish(self, manifest: Manifest) -> StoredFile:
        """Write a generation's manifest, after everything it names; with it the generation is archived.

        If another manifest of the same generation and video is there already, that one stands and is
        described in the answer (`existed`, its `sha256`).

        Raises:
            ArchiveNotFound, ArchiveCorrupt: a file that it names is missing or has another size.
            ArchiveConflict: the folder belongs to another generation.
        """
        await asyncio.gather(*(self._is_there(manifest.folder, each) for each in manifest.files))
        key = check_key(f"{manifest.folder}/{MANIFEST_NAME}")
        data = manifest.to_bytes()
        try:
            stored = await self._backend.put_bytes(key, data, content_type="application/json")
            manifest.written_as(data)
            return stored
        except ArchiveConflict:
            there = Manifest.from_bytes(await self.read_bytes(key), name=self.url(key))
            if (there.generation_key, _video(there)) != (manifest.generation_key, _video(manifest)):
                raise
            return StoredFile(key=key, size=len(there.to_bytes()), sha256=there.sha256, existed=True)

    async def manifest(self, folder: str) -> Manifest | None:
        """Read the manifest of a generation's folder; None before it is written.

        Raises:
            ManifestUnreadable: there is a file of that name which is no manifest.
        """
        key = check_key(f"{folder}/{MANIFEST_NAME}")
        try:
            return Manifest.from_bytes(await self.read_bytes(key), name=self.url(key))
        except ArchiveNotFound:
            # A missing bucket must not look like a missing manifest.
            if not isinstance(self._backend, FolderBackend):
                await self._backend.list(key)
            return None

    async def manifests(self) -> AsyncIterator[Manifest]:
        """Read all manifests, in the order of their folders; `verify` names those that are unreadable."""
        async for _, found in self.every_manifest():
            if isinstance(found, Manifest):
                yield found

    async def every_manifest(self) -> AsyncIterator[tuple[str, Manifest | ManifestUnreadable]]:
        """Read all manifests, in the order of their folders: each folder with its manifest, or with what is wrong
        with it."""
        keys = manifest_keys(await self._backend.list(""))
        async for key, found in read_manifests(self._backend, keys, despite_errors=True):
            yield shown(folder_of(key)), found

    async def additions(self, folder: str) -> "Sequence[Addition]":
        """What was added to a generation later, by name; what cannot be read or belongs to another one is left out.

        Raises:
            ArchiveError: the archive cannot be read now.
        """
        from prefect_ltx.archive.additions import additions_of

        manifest = await self.manifest(folder)
        return [] if manifest is None else await additions_of(self._backend, check_key(folder), manifest)

    async def add(self, folder: str, name: str, addition: "Addition") -> StoredFile:
        """Write an addition to a generation, after everything that it names; with it its files count.

        If the same addition is there already, that one stands (`existed`).

        Raises:
            ArchiveNotFound, ArchiveCorrupt: a file that it names is missing or has another size.
        """
        from prefect_ltx.archive.additions import write_addition

        await asyncio.gather(*(self._is_there(folder, each) for each in addition.files))
        return await write_addition(self._backend, folder, name, addition)

    async def mark(self, ledger_id: str, generation_id: str, created_at: datetime) -> None:
        """Write down, before its manifest, that this ledger knows this generation; again is no error.

        Raises:
            ArchiveError: it cannot be written now.
        """
        await marks.mark(self._backend, ledger_id, generation_id, created_at)

    async def newest_marks(self, ledger_id: str) -> Sequence[str]:
        """The ids of the newest generations that this ledger archived here; a short listing in any archive."""
        return await marks.newest_marks(self._backend, ledger_id)

    async def some_generations(self) -> Sequence[str]:
        """The names of a few generations' folders, without what lies above; none in an empty archive."""
        return await marks.some_generations(self._backend)

    async def verify(self, on_progress: Callable[[VerifyProgress], None] | None = None) -> VerifyReport:
        """Hash every file that a manifest names and compare; reads all bytes, several files at a time."""
        return await verify_archive(self._backend, on_progress)

    async def gallery(self, thumbnail: Thumbnail | None = None) -> str:
        """Write `index.html` at the root, a page that needs no server; return its address.

        `thumbnail` makes a small JPEG of a poster, once for each (`prefect_ltx.media.thumbnail`); without it those that
        were made are used, else posters.
        """
        return (await self.gallery_report(thumbnail)).page

    async def gallery_report(
        self, thumbnail: Thumbnail | None = None, notes: GalleryNotes | None = None
    ) -> GalleryReport:
        """As `gallery`, with the manifests that could not be read and are not on the page.

        `notes` are what the ledger knows: whether clips can be used, and what that costs.

        Raises:
            ArchiveError: the archive cannot be read now; the page stays what it was.
        """
        return await write_gallery(self._backend, thumbnail, notes)

    async def rehydrate(
        self, folder: Path | str, on_progress: Callable[[VerifyProgress], None] | None = None
    ) -> RehydrateReport:
        """Bring every file that a manifest names into `folder`, checked by sha256, several at a time.

        What is there already with the right bytes stays; the report names what could not be brought.

        Raises:
            ArchiveError: the archive cannot be listed.
        """
        target = Path(folder).absolute()
        return await rehydrate_archive(
            self._backend,
            lambda key, path, file: self.fetch(key, path, sha256=file.sha256, size=file.size),
            target,
            on_progress,
        )

    async def probe(self) -> Sequence[Weakness]:
        """Try with small files whether the place is write-once, also for writers at the same moment.

        Returns what is wrong with it, one sentence each; the files are removed again.

        Raises:
            ArchiveError: it cannot be written or read at all.
        """
        return await probe(self._backend)

    async def clear_stale_temporaries(
        self, older_than: float = 24 * 3600, *, finished: Collection[str] = ()
    ) -> int:
        """Remove temporary files or multipart parts that killed writers left `older_than` seconds ago.

        Returns how many. Younger ones may belong to a living writer, except in the folders in `finished`.
        """
        return await self._backend.clear_stale_temporaries(older_than, finished)

    async def _is_there(self, folder: str, file: ArchivedFile) -> None:
        key = check_key(f"{folder}/{file.name}")
        found = await self._backend.stat(key)
        if found is None:
            raise ArchiveNotFound(f"{self.url(key)} is named by a manifest but is not in the archive")
        if found.size != file.size or found.sha256 not in (None, file.sha256):
            raise ArchiveCorrupt(f"{self.url(key)} is not the file that its manifest describes")


def _video(manifest: Manifest) -> str | None:
    return manifest.video.sha256 if manifest.video else None


def _check_prefix(prefix: str) -> str:
    whole, _, rest = prefix.rpartition("/")
    for part in (whole, rest):
        if part:
            check_key(part)
    return prefix


def _hidden(value: str | SecretStr | None) -> str | SecretStr | None:
    return SecretStr(value) if isinstance(value, str) and value else value
