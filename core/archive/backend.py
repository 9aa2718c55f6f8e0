"""What the archive needs of a place to keep files; a folder and S3 provide it, and one test suite holds both.

Keys given to a backend are checked (`keys.check_key`). All calls are asynchronous and may run side by side.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict


class StoredFile(BaseModel):
    """A file in the archive. `existed`: the same bytes were there before, and nothing was written."""

    model_config = ConfigDict(frozen=True)

    key: str
    size: int
    sha256: str
    existed: bool = False


class Stat(NamedTuple):
    """Size in bytes, and the sha256 where the store keeps one beside the file."""

    size: int
    sha256: str | None


class Weakness(NamedTuple):
    """Something that a place does not do as an archive needs it: `what`, and how bad that is.

    error: bytes can be lost; warning: they can be where a lease was lost as well; info: nothing in the archive is.
    """

    what: str
    severity: Literal["error", "warning", "info"]


class Incoming(Protocol):
    """A file that arrives piece by piece; nobody sees it before it is finished. Ends with one of the last two."""

    def start_over(self) -> None:
        """Forget the pieces so far: they come again from the first one on."""
        ...

    async def add(self, piece: bytes) -> None:
        """Take the next piece; waits while too much is on its way.

        Raises:
            ArchiveError: the store does not take it.
        """
        ...

    async def finish(self, *, sha256: str, size: int) -> StoredFile:
        """Publish the pieces, which their sender has hashed on the way; the same bytes again are no error.

        Raises:
            ArchiveConflict: other bytes are stored under the key.
            ArchiveCorrupt: it got more or less than `size` bytes.
        """
        ...

    async def discard(self) -> None:
        """Leave nothing behind; harmless after `finish`."""
        ...


class Backend(Protocol):
    """A write-once store of files."""

    location: str
    parallel: int
    """How many files are worth reading at the same time."""

    async def put_file(self, key: str, path: Path, *, sha256: str, content_type: str) -> StoredFile:
        """Store a local file atomically; the same bytes again are no error.

        Raises:
            ArchiveConflict: other bytes are stored under the key.
            ArchiveCorrupt: the local file's bytes are not those of `sha256`.
        """
        ...

    async def put_bytes(
        self, key: str, data: bytes, *, content_type: str, overwrite: bool = False
    ) -> StoredFile:
        """Store bytes atomically; only with `overwrite` may they replace others."""
        ...

    def incoming(self, key: str, *, content_type: str) -> Incoming | None:
        """Begin a file that arrives piece by piece; None while as many as fit into memory are arriving."""
        ...

    def chunks(self, key: str) -> AsyncIterator[bytes]:
        """Read a file in pieces.

        Raises:
            ArchiveNotFound: no file has this key.
        """
        ...

    async def stat(self, key: str) -> Stat | None:
        """Describe a file, or None where no file has this key."""
        ...

    async def list(self, prefix: str) -> dict[str, int]:
        """Return every key that begins with `prefix`, sorted, with its size; no unfinished writes."""
        ...

    async def first(self, prefix: str, limit: int) -> Sequence[str]:
        """Return the first keys, in order, that begin with `prefix`: at most `limit`, without reading the others."""
        ...

    def url(self, key: str) -> str:
        """Return the file's address: `file://…` or `s3://…`, without credentials."""
        ...

    async def clear_stale_temporaries(self, older_than: float, finished: Collection[str] = ()) -> int:
        """Remove what writers that were killed more than `older_than` seconds ago left; return how many.

        In the folders in `finished` nobody writes any more: there the age does not matter.
        """
        ...

    async def weaknesses(self, taken: str, free: str) -> Sequence[Weakness]:
        """Try how the place itself keeps writers apart who do not look first.

        Writes to `taken`, a probe that is there, and perhaps to `free`, where nothing is; whatever these hold
        afterwards has to be removed.
        """
        ...

    async def remove_probe(self, key: str) -> None:
        """Remove what `probe` wrote, if it is there; nothing else in an archive is ever removed."""
        ...

    async def aclose(self) -> None:
        """Close connections of the running event loop."""
        ...
