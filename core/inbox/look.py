"""One look at an inbox: what is new, whole and usable, what is wrong, and what has to wait.

A local file is whole when neither its size nor its time changed while it was looked at: it was last written
longer ago than the settling time, or two looks that far apart show the same. It must stay so while it is read.
"""

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from prefect_ltx.archive import ArchiveError, ArchiveUnavailable
from prefect_ltx.batch import BatchInvalid, read_batch
from prefect_ltx.fal import plain
from prefect_ltx.inbox.defaults import Defaults, DefaultsInvalid, RunOptions, defaults_name
from prefect_ltx.inbox.place import Inbox, InboxFile, Kind
from prefect_ltx.inbox.record import Record
from prefect_ltx.media.magic import HEAD_BYTES, sniff_bytes

MOST_REQUESTS_BYTES: Final = 64 << 20
MOST_VIDEO_BYTES: Final = 2 << 30
"""What an input may have (`engine.inputs`)."""
_EVENTS: Final = uuid.UUID("5d6f0c1e-2b7a-4f0e-9a63-6c74785f696e")


@dataclass(frozen=True)
class Drop:
    """One file that is to be announced."""

    name: str
    location: str
    """An absolute path or `s3://bucket/key`."""
    kind: Kind
    size: int
    version: str
    sha256: str
    event: str
    """The event's id: the same for the same bytes at the same place, whoever looks."""
    parameters: dict[str, Any]
    """Of the flow that makes it: `reference_video_to_video` for a video, `generate_batch` for requests."""


@dataclass(frozen=True)
class Refused:
    """One file that cannot be used; it stays where it is, and nothing was spent."""

    name: str
    version: str
    problem: str
    """All that is wrong, in one line."""
    reported: bool
    """Whether an earlier look reported the very same."""


@dataclass
class Look:
    """What one look found. Every list is in the order of the names."""

    location: str
    drops: list[Drop] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    growing: list[str] = field(default_factory=list)
    """Still being written, or changed while they were read."""
    waiting: list[str] = field(default_factory=list)
    """Videos for which no `defaults.yaml` says what to make of them."""
    more: int = 0
    """New files beyond the ceiling of one look; the next one takes them."""
    seen: int = 0
    """Files that were dealt with before."""


async def look(inbox: Inbox, record: Record, *, settle: float = 5.0, most: int = 100) -> Look:
    """Look once. Marks versions whose event was sent before as seen; writes nothing else, and sends nothing.

    Args:
        settle: seconds that a local file has to rest.
        most: new files that are taken at most; what a slip of the hand may start at once.

    Raises:
        ArchiveError: the inbox cannot be listed.
    """
    files = await inbox.list()
    names = frozenset(each.name for each in files)
    found = Look(inbox.location)
    candidates: list[InboxFile] = []
    for each in files:
        if each.kind is None:
            continue
        if record.is_seen(each.name, each.version):
            found.seen += 1
        elif each.problem:
            _refuse(found, record, each, each.problem)
        elif each.kind == "video" and defaults_name(each.name, names) is None:
            found.waiting.append(each.name)
        else:
            candidates.append(each)
    looked = _Defaults(inbox, names)
    for each in await _settled(inbox, candidates, settle, found):
        if len(found.drops) == most:
            found.more += 1
            continue
        try:
            await _check_kind(inbox, each)
            sha256 = await inbox.sha256(each.name)
            parameters = await _parameters(inbox, each, sha256, looked)
        except _UnusableError as error:
            # A file that is still being written is no mistake of anybody's.
            if inbox.unchanged(each):
                _refuse(found, record, each, str(error))
            else:
                found.growing.append(each.name)
            continue
        except ArchiveUnavailable:
            raise
        except ArchiveError as error:
            if inbox.unchanged(each):
                _refuse(found, record, each, f"it cannot be read: {error}")
            continue
        if not inbox.unchanged(each):
            found.growing.append(each.name)
            continue
        event = str(uuid.uuid5(_EVENTS, f"{inbox.address(each.name)}\n{sha256}"))
        if await record.was_sent(event):
            # Touched, copied onto itself, or recorded by half: the same bytes at the same place.
            await record.mark_seen(each.name, each.version, sha256=sha256, event=event)
            found.seen += 1
            continue
        assert each.kind is not None
        found.drops.append(
            Drop(
                name=each.name,
                location=inbox.address(each.name),
                kind=each.kind,
                size=each.size,
                version=each.version,
                sha256=sha256,
                event=event,
                parameters=parameters,
            )
        )
    return found


async def whole_requests(inbox: Inbox, *, settle: float = 5.0) -> tuple[list[InboxFile], Look]:
    """Every request file that is whole, seen or not; what is wrong with the names of others, and what still grows."""
    found = Look(inbox.location)
    candidates = []
    for each in await inbox.list():
        if each.kind != "requests":
            continue
        if each.problem:
            found.refused.append(Refused(each.name, each.version, each.problem, reported=False))
        else:
            candidates.append(each)
    return await _settled(inbox, candidates, settle, found), found


def seed_scope(sha256: str) -> str:
    """What the seeds of a request file's rows are drawn from: its bytes, whoever runs it."""
    return f"inbox:{sha256}"


class _UnusableError(Exception):
    """What is wrong with a file, in one line."""


class _Defaults:
    """The inbox's defaults, each read once a look."""

    def __init__(self, inbox: Inbox, names: frozenset[str]) -> None:
        self._inbox, self._names = inbox, names
        self._read: dict[str, Defaults | DefaultsInvalid] = {}

    async def of(self, video: str) -> Defaults | None:
        name = defaults_name(video, self._names)
        if name is None:
            return None
        if name not in self._read:
            try:
                self._read[name] = await Defaults.load(self._inbox, name)
            except DefaultsInvalid as error:
                self._read[name] = error
            except ArchiveUnavailable:
                raise
            except ArchiveError as error:
                self._read[name] = DefaultsInvalid(f"{name} cannot be read: {error}")
        found = self._read[name]
        if isinstance(found, DefaultsInvalid):
            raise _UnusableError(str(found))
        return found


async def _check_kind(inbox: Inbox, file: InboxFile) -> None:
    """Before all of it is read: a video begins like one, and requests are no larger than a batch may be."""
    if file.kind == "requests":
        if file.size > MOST_REQUESTS_BYTES:
            raise _UnusableError(f"it is larger than {MOST_REQUESTS_BYTES >> 20} MB")
        return
    if file.size > MOST_VIDEO_BYTES:
        raise _UnusableError(f"it is larger than {MOST_VIDEO_BYTES >> 30} GiB")
    found = sniff_bytes(await inbox.head(file.name, HEAD_BYTES))
    if found is None or found.kind != "video":
        what = "its first bytes are not those of an MP4, MOV, WebM, MKV, TS or AVI"
        raise _UnusableError("it is empty" if file.size == 0 else what)


async def _parameters(inbox: Inbox, file: InboxFile, sha256: str, looked: _Defaults) -> dict[str, Any]:
    address = inbox.address(file.name)
    defaults = await looked.of(file.name)
    if file.kind == "video":
        assert defaults is not None
        try:
            request = defaults.request_for(address, sha256)
        except DefaultsInvalid as error:
            raise _UnusableError(str(error)) from None
        return {"request": request.model_dump(mode="json", exclude_unset=True), **defaults.options}
    try:
        await asyncio.to_thread(read_batch, address)
    except BatchInvalid as error:
        raise _UnusableError(_problems(error)) from None
    options = RunOptions().model_dump() if defaults is None else defaults.options
    return {
        "source": address,
        "seed_scope": seed_scope(sha256),
        **options,
    }


async def _settled(inbox: Inbox, files: list[InboxFile], settle: float, found: Look) -> list[InboxFile]:
    now = time.time()
    # A time in the future is another machine's clock: only a second look tells.
    young = [each for each in files if not each.settled and not settle <= now - each.modified]
    if not young:
        return files
    await asyncio.sleep(settle)
    grown = {each.name for each in young if not await asyncio.to_thread(inbox.unchanged, each)}
    found.growing += sorted(grown)
    return [each for each in files if each.name not in grown]


def _refuse(found: Look, record: Record, file: InboxFile, problem: str) -> None:
    problem = plain(problem, limit=1000)
    reported = record.was_refused(file.name, file.version, problem)
    found.refused.append(Refused(file.name, file.version, problem, reported))


def shown(name: str) -> str:
    """A file's name for people: one printable line."""
    return plain(name if name.isprintable() else ascii(name))


def _problems(error: BatchInvalid) -> str:
    some = "; ".join(str(each) for each in error.problems[: error.SHOWN])
    more = len(error.problems) - error.SHOWN
    return f"{some}; and {more} more" if more > 0 else some
