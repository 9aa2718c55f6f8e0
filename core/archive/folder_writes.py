"""How a file comes into a folder: whole, under a temporary name first, and never over another.

Temporary file, fsync, hard link, fsync of the folder. A hard link fails where the name is taken, so of two writers
one wins and no reader ever sees half a file. On a file system without hard links the name is looked up and then
renamed to: files are still whole, but two writers racing for one name are kept apart by the ledger's lease alone.

Unfinished writes are called `.ltx-<random>.part` and lie beside their goal.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from prefect_ltx.archive.backend import StoredFile
from prefect_ltx.archive.errors import ArchiveConflict, ArchiveCorrupt

CHUNK: Final = 1 << 20
NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
)


class StoppedError(Exception):
    """The caller was cancelled; nobody sees this."""


def write_whole(
    temporary: Path, pieces: Iterator[bytes], sha256: str, key: str, stop: threading.Event
) -> int:
    """Write a new file to the disk and return its size; it stays under its temporary name.

    Raises:
        ArchiveCorrupt: the pieces are not those of `sha256`.
        StoppedError: `stop` was set meanwhile.
    """
    digest, size = hashlib.sha256(), 0
    with temporary.open("xb") as file:
        for piece in pieces:
            if stop.is_set():
                raise StoppedError
            digest.update(piece)
            size += file.write(piece)
        if digest.hexdigest() != sha256:
            raise ArchiveCorrupt(
                f"The local file for {key} is not the one that was described: its sha256 differs",
                next_step="Run again, so that it is fetched or made anew",
            )
        file.flush()
        os.fsync(file.fileno())
    return size


def settled(
    key: str, final: Path, existed: bool, size: int, sha256: str, stop: threading.Event
) -> StoredFile:
    """Describe a file that was published, or that was there before: with the same bytes, or it is a conflict."""
    if existed and _hash(final, stop) != sha256:
        raise ArchiveConflict(f"{key} is in the archive already, with other bytes")
    _sync_folder(final.parent)
    return StoredFile(key=key, size=size, sha256=sha256, existed=existed)


def publish(temporary: Path, final: Path) -> bool:
    """Give the file its name; False where the name is taken."""
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if final.exists():
            return False
        temporary.rename(final)
    return True


def make_folders(folder: Path) -> None:
    """Make a folder with those above it, each written to the disk."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        _sync_folder(each.parent)


def _sync_folder(folder: Path) -> None:
    # Not every system lets a folder be opened; there a power cut may lose the name, but never halve the file.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _hash(path: Path, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in read(file):
            if stop.is_set():
                raise StoppedError
            digest.update(piece)
    return digest.hexdigest()


def read(file: BinaryIO) -> Iterator[bytes]:
    """Yield what is left of a file, piece by piece."""
    while piece := file.read(CHUNK):
        yield piece


def temporary_for(final: Path) -> Path:
    """Return a new name beside a file's own."""
    return final.with_name(f".ltx-{secrets.token_hex(8)}.part")


def is_temporary(name: str) -> bool:
    """Tell whether a file is one that a writer has not finished."""
    return name.startswith(".ltx-") and name.endswith(".part")
