"""The archive in a folder; `folder_writes` says how a file comes into it.

All work on the disk is done in threads, which stop between two pieces when their caller is cancelled.
"""

import asyncio
import contextlib
import errno
import hashlib
import itertools
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from prefect_ltx.archive.backend import Incoming, Stat, StoredFile, Weakness
from prefect_ltx.archive.errors import (
    ArchiveCorrupt,
    ArchiveDenied,
    ArchiveError,
    ArchiveNotFound,
    ArchiveUnavailable,
)
from prefect_ltx.archive.folder_writes import (
    CHUNK,
    NO_LINKS,
    inside,
    is_temporary,
    make_folders,
    open_regular,
    publish,
    read,
    settled,
    temporary_for,
    write_whole,
)

_T = TypeVar("_T")


class FolderBackend:
    """A write-once store in a local folder, which is made on the first write."""

    parallel = max(2, min(8, os.cpu_count() or 2))

    def __init__(self, root: Path) -> None:
        """Keep files below `root` (absolute); nothing is touched yet."""
        self.root = root
        self.location = str(root)

    async def put_file(self, key: str, path: Path, *, sha256: str, content_type: str) -> StoredFile:
        """See `Backend`; the content type is the suffix's business here."""

        def pieces() -> Iterator[bytes]:
            with path.open("rb") as file:
                yield from read(file)

        return await self._store(key, pieces, sha256=sha256)

    async def put_bytes(
        self, key: str, data: bytes, *, content_type: str, overwrite: bool = False
    ) -> StoredFile:
        """See `Backend`."""
        sha256 = hashlib.sha256(data).hexdigest()
        return await self._store(key, lambda: iter([data]), sha256=sha256, overwrite=overwrite)

    def incoming(self, key: str, *, content_type: str) -> Incoming | None:
        """See `Backend`."""
        return _FolderIncoming(self, key)

    async def chunks(self, key: str) -> AsyncIterator[bytes]:
        """See `Backend`."""

        def begin(_: threading.Event) -> tuple[BinaryIO, bytes]:
            # A pipe or a device would be read for ever, and a link may lead to somebody else's files.
            file = open_regular(self.root, self.root / key)
            try:
                return file, file.read(CHUNK)
            except BaseException:
                file.close()
                raise

        file, chunk = await self.in_thread(key, begin)
        try:
            while chunk:
                yield chunk
                # Less than was asked for is the end of a file: most are manifests, read in one piece.
                whole = len(chunk) == CHUNK
                chunk = await self.in_thread(key, lambda _: file.read(CHUNK)) if whole else b""
        finally:
            file.close()

    async def stat(self, key: str) -> Stat | None:
        """See `Backend`; no sha256 is kept beside a file in a folder."""
        try:
            found = await self.in_thread(key, lambda _: inside(self.root, self.root / key).stat())
        except ArchiveNotFound:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise ArchiveCorrupt(f"{self.root / key} is not a regular file")
        return Stat(found.st_size, None)

    async def list(self, prefix: str) -> dict[str, int]:
        """See `Backend`."""
        return await self.in_thread(prefix, lambda _: dict(sorted(self._walk(prefix))))

    async def first(self, prefix: str, limit: int) -> Sequence[str]:
        """See `Backend`."""
        start, _, name = prefix.rpartition("/")

        def look(_: threading.Event) -> list[str]:
            return list(
                itertools.islice(_in_order(self.root / start, f"{start}/" if start else "", name), limit)
            )

        return await self.in_thread(prefix, look)

    def url(self, key: str) -> str:
        """See `Backend`."""
        return (self.root / key).as_uri()

    async def clear_stale_temporaries(self, older_than: float, finished: Collection[str] = ()) -> int:
        """See `Backend`."""

        def clear(_: threading.Event) -> int:
            before, cleared = time.time() - older_than, 0
            for folder, _names, files in os.walk(self.root, onerror=_unless_missing):
                ended = Path(folder).relative_to(self.root).as_posix() in finished
                for path in (Path(folder, name) for name in files if is_temporary(name)):
                    with contextlib.suppress(FileNotFoundError):
                        if ended or path.stat().st_mtime <= before:
                            path.unlink()
                            cleared += 1
            return cleared

        return await self.in_thread("", clear)

    async def weaknesses(self, taken: str, free: str) -> Sequence[Weakness]:
        """See `Backend`: is there a hard link, which of two racing writers only one can make?"""

        def link(_: threading.Event) -> list[Weakness]:
            try:
                os.link(self.root / taken, self.root / free)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                what = (
                    "its file system has no hard links, so two writers at the same moment are not kept apart"
                )
                return [Weakness(what, "warning")]
            return []

        return await self.in_thread(taken, link)

    async def remove_probe(self, key: str) -> None:
        """See `Backend`."""

        def remove(_: threading.Event) -> None:
            (self.root / key).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (self.root / key).parent.rmdir()

        await self.in_thread(key, remove)

    async def aclose(self) -> None:
        """See `Backend`; there is nothing to close."""

    async def _store(
        self, key: str, pieces: Callable[[], Iterator[bytes]], *, sha256: str, overwrite: bool = False
    ) -> StoredFile:
        def store(stop: threading.Event) -> StoredFile:
            final = self.root / key
            make_folders(self.root, final.parent)
            temporary = temporary_for(final)
            try:
                size = write_whole(temporary, pieces(), sha256, key, stop)
                if overwrite:
                    temporary.replace(final)
                    existed = False
                else:
                    existed = not publish(temporary, final)
            finally:
                temporary.unlink(missing_ok=True)
            return settled(self.root, key, existed, size, sha256, stop)

        return await self.in_thread(key, store)

    def _walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        start = self.root / prefix.rpartition("/")[0]
        for folder, names, files in os.walk(start, onerror=_unless_missing):
            names[:] = [name for name in names if not name.startswith(".")]
            for name in files:
                path = Path(folder, name)
                key = path.relative_to(self.root).as_posix()
                if not is_temporary(name) and key.startswith(prefix):
                    with contextlib.suppress(FileNotFoundError):
                        yield key, _size(path)

    async def in_thread(self, key: str, work: Callable[[threading.Event], _T]) -> _T:
        """Do `work` in a thread, the system's errors explained; it is told to stop when the caller is cancelled."""
        # A cancelled caller must not leave a thread copying on: it looks at `stop` between pieces.
        stop = threading.Event()
        try:
            return await asyncio.to_thread(work, stop)
        except OSError as error:
            raise _explained(error, self.location, key) from error
        finally:
            stop.set()


class _FolderIncoming:
    """A file that grows under a temporary name beside its goal; see `Incoming`."""

    def __init__(self, backend: FolderBackend, key: str) -> None:
        self._backend = backend
        self._key = key
        self._final = backend.root / key
        self._temporary = temporary_for(self._final)
        self._file: BinaryIO | None = None
        self._again = False

    def start_over(self) -> None:
        self._again = True

    async def add(self, piece: bytes) -> None:
        await self._backend.in_thread(self._key, lambda _: self._opened().write(piece))

    async def finish(self, *, sha256: str, size: int) -> StoredFile:
        def finish(stop: threading.Event) -> StoredFile:
            with self._opened() as file:
                got = file.tell()
                if got != size:
                    raise ArchiveCorrupt(f"{self._key} got {got} bytes in place of {size}")
                file.flush()
                os.fsync(file.fileno())
            existed = not publish(self._temporary, self._final)
            return settled(self._backend.root, self._key, existed, size, sha256, stop)

        try:
            return await self._backend.in_thread(self._key, finish)
        finally:
            await self.discard()

    async def discard(self) -> None:
        def discard(_: threading.Event) -> None:
            if self._file is not None:
                self._file.close()
                self._temporary.unlink(missing_ok=True)

        await self._backend.in_thread(self._key, discard)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            make_folders(self._backend.root, self._final.parent)
            self._file = self._temporary.open("xb")
        elif self._again:
            self._file.seek(0)
            self._file.truncate()
        self._again = False
        return self._file


def _in_order(folder: Path, before: str, beginning: str = "") -> Iterator[str]:
    """The keys of the files below a folder, as a bucket would list them; each folder is read once it is its turn."""
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.startswith(beginning)]
    except FileNotFoundError:
        return
    # A bucket sorts whole keys, in which a folder's name is followed by a slash.
    for name, is_folder in sorted(
        (f"{each.name}/" if each.is_dir() else each.name, each.is_dir()) for each in entries
    ):
        if is_folder:
            yield from _in_order(folder / name, before + name)
        elif not is_temporary(name):
            yield before + name


def _size(path: Path) -> int:
    found = path.lstat()
    if not stat.S_ISLNK(found.st_mode):
        return found.st_size
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise
    except OSError:  # a circle of links: whoever reads it is told
        return 0


def _unless_missing(error: OSError) -> None:
    # os.walk would pass over a folder it may not read, and a check would find nothing wrong in it.
    if not isinstance(error, FileNotFoundError):
        raise error


def _explained(error: OSError, location: str, key: str) -> ArchiveError:
    where = f"{location}/{key}".rstrip("/")
    reason = error.strerror or type(error).__name__
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return ArchiveNotFound(f"{error.filename or where}: {reason}")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return ArchiveDenied(f"{where} cannot be used: {reason}")
    return ArchiveUnavailable(f"{where} cannot be used: {reason}")
