"""What can go wrong with the archive. None of it costs anything at fal, and none of it loses a paid video.

Every message is one line: what happened, what it means for the bill, what to do next. None holds a secret. The archive
knows of its own step only; who uses it for something that is paid for says that with `after`.

    ArchiveError
    ├── ArchiveKeyInvalid      a key or location that is not safe to use (a ValueError)
    ├── ArchiveConflict        the key is taken by other bytes; nothing in the archive is ever overwritten
    ├── ArchiveNotFound        no such file, folder or bucket
    ├── ArchiveCorrupt         bytes are not those their sha256 names
    ├── ManifestUnreadable     a manifest.json that cannot be read, or of a newer version than this one knows
    ├── ArchiveDenied          the credentials, the file permissions or the server's certificate do not allow it
    └── ArchiveUnavailable     the network, the server, a full disk: the same call may work later
"""

from typing import Any, ClassVar, Final, Self

THIS_STEP: Final = "This step itself costs nothing"


class ArchiveError(Exception):
    """Root of all errors of this room. `what` happened, the `bill` and the `next_step` are also there one by one."""

    default_next_step: ClassVar[str] = "Run `prefect-ltx sweep` once that is put right"

    def __init__(self, what: str, *, next_step: str | None = None, bill: str = THIS_STEP) -> None:
        self.what = what
        self.bill = bill
        self.next_step = next_step or self.default_next_step
        super().__init__(f"{what}. {bill}. {self.next_step}.")

    def after(self, *, bill: str, next_step: str) -> Self:
        """The same error as the end of something larger, with what that cost and how it is continued."""
        return type(self)(self.what, next_step=next_step, bill=bill)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by parts: Prefect sends errors between processes."""
        return _rebuild, (type(self), self.what, self.next_step, self.bill)

    @classmethod
    def _make(cls, what: str, next_step: str, bill: str) -> Self:
        return cls(what, next_step=next_step, bill=bill)


class ArchiveKeyInvalid(ArchiveError, ValueError):
    """A key or a location that is not safe to use."""

    default_next_step = "Use plain names without '..', slashes at the ends or control characters"


class ArchiveConflict(ArchiveError):
    """The key is taken by other bytes."""

    default_next_step = "Keep both: look at the two files, and archive the new one under another name"


class ArchiveNotFound(ArchiveError):
    """There is no such file, folder or bucket."""

    default_next_step = "Check the archive's location"


class ArchiveCorrupt(ArchiveError):
    """Bytes are not those their sha256 names: of a local file, or of one read from the archive."""

    default_next_step = "Run `prefect-ltx archive verify`"


class ManifestUnreadable(ArchiveError):
    """A manifest.json that cannot be read, or that a newer version of this package wrote."""

    default_next_step = "Look at the file; a newer version may need `pip install --upgrade prefect-ltx`"


class ArchiveDenied(ArchiveError):
    """The credentials, the bucket's policy, the file permissions or the server's certificate do not allow it."""

    default_next_step = "Check the credentials and permissions, then run `prefect-ltx sweep`"


class ArchiveUnavailable(ArchiveError):
    """The network, the server or a full disk; retries of the call itself did not help."""


def _rebuild(kind: type[ArchiveError], what: str, next_step: str, bill: str) -> ArchiveError:
    return kind._make(what, next_step, bill)
