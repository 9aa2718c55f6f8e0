"""A watched folder or `s3://bucket/prefix`: what lies in it, which version, and its bytes.

Never changed here: the one thing that is written is `.ltx/` in it, the record of what was told (`record`).

Names come from whoever may write there. A name that is no safe path on every system, a hidden one, a link and
whatever is no regular file is never opened; the others are data, and become neither code nor options.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from prefect_ltx.archive import Archive, ArchiveDenied, ArchiveKeyInvalid, ArchiveNotFound, check_key
from prefect_ltx.batch.sources import SUFFIXES
from prefect_ltx.reading import Unreadable, local_path

if TYPE_CHECKING:
    from prefect_ltx.archive.s3_session import S3Sessions

Kind = Literal["video", "requests"]

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv")
DEFAULTS_NAMES = ("defaults.yaml", "defaults.yml")
RECORD_FOLDER = ".ltx"
MOST_FILES = 100_000
"""More than this in one inbox is a mistake, such as a watched home folder."""


@dataclass(frozen=True)
class InboxFile:
    """One file as it was listed."""

    name: str
    """Its path below the inbox, with `/`."""
    size: int
    version: str
    """Changes whenever the file does: size and modification time, or the ETag."""
    modified: float
    """Unix seconds."""
    settled: bool
    """Whether it is whole by its nature: an S3 object appears at once."""
    problem: str = ""
    """Why it is not opened at all."""

    @property
    def kind(self) -> Kind | None:
        """What its suffix says it is; None for what an inbox is not for."""
        base = self.name.rpartition("/")[2].lower()
        # Excel keeps `~$name.xlsx` beside a workbook while it is open.
        if base in DEFAULTS_NAMES or base.startswith("~$"):
            return None
        if base.endswith(VIDEO_SUFFIXES):
            return "video"
        return "requests" if base.endswith(SUFFIXES) else None


class Inbox:
    """A watched place. S3 and its credentials are those of the environment, as for inputs.

    Raises:
        ArchiveKeyInvalid: the location is neither a folder nor s3://bucket/prefix.
    """

    def __init__(self, location: str) -> None:
        """Name the place; nothing is read yet."""
        text = location.strip()
        in_bucket = text.startswith("s3://")
        if not in_bucket and (not text.removeprefix("file://") or "://" in text.removeprefix("file://")):
            raise ArchiveKeyInvalid("A watched place is a folder or s3://bucket/prefix")
        if not in_bucket:
            try:
                text = str(local_path(text.removeprefix("file://")).absolute())
            except Unreadable as error:
                raise ArchiveKeyInvalid(f"That is no watched place: {error.what}") from None
        self._files = Archive(text)
        self.location = self._files.location
        self.record = Archive(f"{self.location}/{RECORD_FOLDER}")
        self._sessions = _s3_sessions() if in_bucket else None

    async def __aenter__(self) -> Self:
        """Use the inbox; connections close at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._files.aclose()
        await self.record.aclose()
        if self._sessions:
            await self._sessions.aclose()

    async def list(self) -> list[InboxFile]:
        """Everything that lies here and is not hidden, by name; below folders too.

        Raises:
            ArchiveNotFound: there is no such folder or bucket.
            ArchiveError: it cannot be listed.
        """
        found = (
            [each async for each in self._objects(self._sessions)]
            if self._sessions
            else await asyncio.to_thread(lambda: list(self._walk()))
        )
        if len(found) > MOST_FILES:
            raise ArchiveDenied(
                f"{self.location} holds more than {MOST_FILES:,} files; that is no inbox",
                next_step="Watch a folder of its own",
            )
        return sorted(found, key=lambda each: each.name)

    def address(self, name: str) -> str:
        """Where a file is, as a request may name it: an absolute path or `s3://bucket/key`."""
        return f"{self.location}/{check_key(name)}"

    async def head(self, name: str, size: int) -> bytes:
        """The file's first bytes, at most `size` and at least those that one read gives."""
        async with aclosing(self._pieces(name)) as pieces:
            async for piece in pieces:
                return piece[:size]
        return b""

    async def read(self, name: str, most: int) -> bytes | None:
        """The whole file, or None where it is larger than `most` bytes."""
        data = bytearray()
        async with aclosing(self._pieces(name)) as pieces:
            async for piece in pieces:
                data += piece
                if len(data) > most:
                    return None
        return bytes(data)

    async def sha256(self, name: str) -> str:
        """The hash of the file's bytes, read once by stream."""
        digest = hashlib.sha256()
        async for piece in self._pieces(name):
            await asyncio.to_thread(digest.update, piece)
        return digest.hexdigest()

    async def _pieces(self, name: str) -> AsyncGenerator[bytes, None]:
        # The archive's reader takes up a broken S3 connection where it broke, and refuses unsafe names.
        async for piece in self._files.chunks(name):
            yield piece

    def unchanged(self, file: InboxFile) -> bool:
        """Whether a local file is still the version that was listed; an S3 object is read as a whole anyway."""
        if file.settled:
            return True
        try:
            found = Path(self.location, file.name).lstat()
        except OSError:
            return False
        return _version(found) == file.version

    def _walk(self) -> Iterator[InboxFile]:
        root = Path(self.location)
        if not root.is_dir():
            raise ArchiveNotFound(f"{root}: there is no such folder to watch", next_step="Make it first")
        count = 0
        for folder, names, files in os.walk(root):
            names[:] = sorted(each for each in names if not each.startswith("."))
            for each in files:
                path = Path(folder, each)
                try:
                    found = path.lstat()
                except OSError:
                    continue  # gone since it was listed
                count += 1
                if each.startswith(".") or count > MOST_FILES + 1:
                    continue
                name = path.relative_to(root).as_posix()
                yield InboxFile(
                    name=name,
                    size=found.st_size,
                    version=_version(found),
                    modified=found.st_mtime,
                    settled=False,
                    problem=_unsafe(name) or _irregular(found.st_mode),
                )

    async def _objects(self, sessions: "S3Sessions") -> AsyncIterator[InboxFile]:
        bucket, _, prefix = self.location.removeprefix("s3://").partition("/")
        prefix = f"{prefix}/" if prefix else ""
        page: dict[str, str] = {}
        while True:
            answer = await self._listed(sessions, {"Bucket": bucket, "Prefix": prefix, **page})
            for each in answer.get("Contents", []):
                name = each["Key"][len(prefix) :]
                # A key that ends in a slash is what consoles make for a folder.
                if name.endswith("/") or not name or any(part.startswith(".") for part in name.split("/")):
                    continue
                yield InboxFile(
                    name=name,
                    size=each["Size"],
                    version=f"{each['Size']}-{each['ETag'].strip(chr(34))}",
                    modified=each["LastModified"].timestamp(),
                    settled=True,
                    problem=_unsafe(name),
                )
            if not answer.get("IsTruncated"):
                return
            page = {"ContinuationToken": answer["NextContinuationToken"]}

    async def _listed(self, sessions: "S3Sessions", request: dict[str, str]) -> Any:
        from prefect_ltx.archive.s3_errors import explained

        try:
            return await sessions.here().call("list_objects_v2", request)
        except Exception as error:
            raise explained(error, self.location) from error


def _s3_sessions() -> "S3Sessions":
    from prefect_ltx.archive.s3_session import S3Sessions, S3Settings  # with s3fs, which only a bucket needs

    return S3Sessions(S3Settings())


def _version(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}"


def _unsafe(name: str) -> str:
    try:
        name.encode()
        check_key(name)
    except (ArchiveKeyInvalid, UnicodeEncodeError):
        return 'its name is not safe on every system (control characters, \\ : * ? " < > |, a dot or space at its end)'
    return ""


def _irregular(mode: int) -> str:
    # A link may lead to any file of this machine, and what it leads to would be uploaded.
    return "" if stat.S_ISREG(mode) else "it is no regular file (a link is not followed)"
