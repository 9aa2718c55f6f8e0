"""Which files of an inbox were announced, kept in the inbox itself under `.ltx/`: shared by everybody who watches it.

Every entry is a file that is created once and never changed, so of two watchers one wins. No entry holds a
prompt or a secret, and deleting one has one effect: its file is announced again, by the same event.

- `seen/VERSION.json`: this version of a file was dealt with.
- `events/ID/N.claim.json`, `N.failed.json`: who is sending the event, and whose attempt failed.
- `refused/VERSION-PROBLEM.json`: what was wrong with a version was reported.
- `done/VERSION.json`: a nightly batch brought every row of this request file into the archive.
"""

import hashlib
import json
import os
import platform
import secrets
import time
from collections.abc import Collection

from prefect_ltx.archive import Archive, ArchiveConflict

CLAIM_SECONDS = 120.0
"""After how long without a result an event is sent by somebody else. A claim that is taken over too early costs
nothing: both send the same event."""


class Record:
    """The record of one inbox, as it was when it was loaded."""

    def __init__(self, store: Archive, known: Collection[str]) -> None:
        """Use `load`."""
        self._store = store
        self._known = set(known)

    @classmethod
    async def load(cls, store: Archive) -> "Record":
        """List the entries; `store` is the inbox's `record`.

        Raises:
            ArchiveError: it cannot be listed.
        """
        return cls(store, await store.list(""))

    def is_seen(self, name: str, version: str) -> bool:
        """Whether this version of this file was dealt with."""
        return _seen(name, version) in self._known

    async def mark_seen(self, name: str, version: str, *, sha256: str, event: str) -> None:
        """This version was dealt with: nobody looks at it again."""
        await self._put(_seen(name, version), {"name": name, "sha256": sha256, "event": event})

    def was_refused(self, name: str, version: str, problem: str) -> bool:
        """Whether this very problem of this version was reported."""
        return _refused(name, version, problem) in self._known

    async def mark_refused(self, name: str, version: str, problem: str) -> None:
        """The problem was reported."""
        await self._put(_refused(name, version, problem), {"name": name})

    def is_done(self, name: str, sha256: str) -> bool:
        """Whether a nightly batch finished this content under this name."""
        return _done(name, sha256) in self._known

    async def mark_done(self, name: str, sha256: str, **facts: object) -> None:
        """Every row of it is in the archive."""
        await self._put(_done(name, sha256), {"name": name, "sha256": sha256, **facts})

    async def claim(self, event: str) -> int | None:
        """Be the one who sends this event: the attempt's number, or None where somebody is at it or has sent it."""
        entries = set(await self._store.list(f"events/{event}/"))
        if f"events/{event}/sent.json" in entries:
            return None
        attempt = sum(each.endswith(".claim.json") for each in entries)
        failed = f"events/{event}/{attempt}.failed.json" in entries
        if attempt and not failed and not await self._is_stale(f"events/{event}/{attempt}.claim.json"):
            return None
        mine = {"at": time.time(), "by": f"{platform.node()}:{os.getpid()}", "token": secrets.token_hex(8)}
        made = await self._put(f"events/{event}/{attempt + 1}.claim.json", mine)
        return attempt + 1 if made else None

    async def mark_failed(self, event: str, attempt: int) -> None:
        """The event could not be sent: the next look may send it at once."""
        await self._put(f"events/{event}/{attempt}.failed.json", {})

    async def mark_sent(self, event: str) -> None:
        """The server has the event: nobody sends it again."""
        await self._put(f"events/{event}/sent.json", {})

    async def was_sent(self, event: str) -> bool:
        """Whether somebody's sending of it came to its end."""
        return await self._store.exists(f"events/{event}/sent.json")

    async def _is_stale(self, key: str) -> bool:
        try:
            at = float(json.loads(await self._store.read_bytes(key))["at"])
        except (ValueError, KeyError, TypeError):
            return True
        return time.time() - at > CLAIM_SECONDS

    async def _put(self, key: str, entry: dict[str, object]) -> bool:
        """Create an entry; False where there is one."""
        data = json.dumps(entry, indent=1, default=str).encode()
        try:
            stored = await self._store.put_bytes(key, data, content_type="application/json")
        except ArchiveConflict:
            return False
        finally:
            self._known.add(key)
        return not stored.existed


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="backslashreplace")).hexdigest()[:32]


def _seen(name: str, version: str) -> str:
    return f"seen/{_digest(name, version)}.json"


def _refused(name: str, version: str, problem: str) -> str:
    return f"refused/{_digest(name, version)}-{_digest(problem)[:8]}.json"


def _done(name: str, sha256: str) -> str:
    return f"done/{_digest(name, sha256)}.json"
