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
import stat
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
    if stop.is_set():  # the disk took its time; once it has its name, the file stays
        raise StoppedError
    return size


def settled(root: Path, key: str, existed: bool, size: int, sha256: str, stop: threading.Event) -> StoredFile:
    """Describe a file that was published, or that was there before: with the same bytes, or it is a conflict."""
    final = root / key
    if existed and _hash(root, final, stop) != sha256:
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


def make_folders(root: Path, folder: Path) -> None:
    """Make a folder in `root` with those above it, each written to the disk.

    Raises:
        ArchiveCorrupt: a link among them leads out of the archive.
    """
    inside(root, folder)
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


def open_regular(root: Path, path: Path) -> BinaryIO:
    """Open a regular file that lies in `root`, links followed, without waiting for whoever writes into a pipe.

    Raises:
        ArchiveCorrupt: it is a pipe, a device or a socket, or a link leads out of the archive or in a circle.
        OSError: it is not there, or cannot be opened.
    """
    place = inside(root, path)
    _must_be_regular(
        path, place.stat().st_mode
    )  # opening a socket or a device is an error of its own, or an act
    handle = os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        _must_be_regular(path, os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(handle)
        raise


def _must_be_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ArchiveCorrupt(f"{path} is not a regular file")


def inside(root: Path, path: Path) -> Path:
    """Where a path in `root` really is.

    Raises:
        ArchiveCorrupt: a link leads out of the archive, where it neither reads nor writes, or in a circle.
    """
    try:
        real, top = path.resolve(), root.resolve()
    except (RuntimeError, OSError) as error:  # a circle is a RuntimeError until Python 3.13
        raise ArchiveCorrupt(f"{path} cannot be followed ({type(error).__name__})") from None
    if not real.is_relative_to(top):
        raise ArchiveCorrupt(f"{path} is a link that leads out of the archive")
    return real


def _hash(root: Path, path: Path, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    with open_regular(root, path) as file:
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
