"""Holding a generation's lease while something is done for it, so that nobody else does it as well.

Leases belong to the process, not to an event loop: one thread renews all of them, so a loop that is busy, blocked or
gone loses none, and any number of loops may work on one row (Prefect's `.submit` gives each task its own).
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Claim, Generation, Ledger, LedgerError, Owner

BUSY_POLL_SECONDS: Final = (0.2, 5.0)
_LOOK_POLL_SECONDS: Final = (0.02, 0.5)
_REMEMBER_SECONDS: Final = 60.0

logger = logging.getLogger("prefect_ltx.lease")

_Place = tuple[str, str, Owner]
"""Ledger id, generation id, owner."""


@asynccontextmanager
async def hold(services: Services, generation_id: str, owner: Owner) -> AsyncIterator[Generation]:
    """The generation, ours alone until the block ends; waits while a living owner works on it.

    Holds nest for one owner: the lease is given back by the last to end. Nothing is given back on a kill; then
    the lease ends when the process is seen to be dead, or when it expires.
    """
    generation = await _taken(services, generation_id, owner)
    async with keep(services, generation_id, owner):
        yield generation


@asynccontextmanager
async def keep(services: Services, generation_id: str, owner: Owner) -> AsyncIterator[None]:
    """Renew a lease that `owner` has already, and give it back when the last of its blocks ends.

    Blocks of one owner may nest, and may lie beside each other, in different event loops too: two equal items of
    one run end in any order.
    """
    ledger = services.ledger
    place = (ledger.id, generation_id, owner)
    _leases.enter(place, ledger.ledger)
    try:
        # Another block of this owner may have given the lease back between our taking it and the line above.
        if _leases.was_just_left(place) and not await ledger.renew(generation_id, owner):
            await _taken(services, generation_id, owner)
        yield
    finally:
        with suppress(LedgerError):  # it expires by itself
            await ledger.run(_leases.leave, place, ledger.ledger)


def holding(services: Services, generation_id: str, owner: Owner) -> bool:
    """Whether a block of this owner's, in this process, holds the generation now."""
    return _leases.is_held((services.ledger.id, generation_id, owner))


@asynccontextmanager
async def only_looker(services: Services, generation_id: str) -> AsyncIterator[None]:
    """The right to look for this row's request at fal: one looker per row in a process.

    A listing that somebody asked for before an attempt's POST must not be judged after it; those who wait here read
    the row again once it is their turn.
    """
    row = (services.ledger.id, generation_id)
    pause, longest = _LOOK_POLL_SECONDS
    while not _lookers.enter(row):
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, longest)
    try:
        yield
    finally:
        _lookers.leave(row)


@dataclass
class _Held:
    due: float
    ledgers: list[Ledger] = field(default_factory=list)
    """One for each block; the last one renews."""


class _Leases:
    """Every lease of this process, how many blocks hold each, and the thread that renews them."""

    def __init__(self) -> None:
        self._held: dict[_Place, _Held] = {}
        self._left: dict[_Place, float] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def enter(self, place: _Place, ledger: Ledger) -> None:
        """One block more."""
        with self._changed:
            held = self._held.get(place)
            if held is None:
                held = self._held[place] = _Held(time.monotonic() + ledger.lease_seconds / 4)
            held.ledgers.append(ledger)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="prefect-ltx-leases", daemon=True)
                self._thread.start()
            self._changed.notify()

    def leave(self, place: _Place, ledger: Ledger) -> None:
        """One block less; after the last the lease is given back. Called in the ledger's thread, in turn with claims.

        Raises:
            LedgerError: it could not be given back; it expires by itself.
        """
        with self._changed:
            held = self._held[place]
            held.ledgers.remove(ledger)
            if held.ledgers:
                return
            del self._held[place]
            now = time.monotonic()
            self._left = {each: at for each, at in self._left.items() if now - at < _REMEMBER_SECONDS}
            self._left[place] = now
        ledger.release(place[1], place[2])

    def is_held(self, place: _Place) -> bool:
        with self._changed:
            return place in self._held

    def was_just_left(self, place: _Place) -> bool:
        with self._changed:
            return self._left.pop(place, None) is not None

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                due = [(place, held) for place, held in self._held.items() if held.due <= now]
                if not due:
                    next_due = min((held.due for held in self._held.values()), default=None)
                    self._changed.wait(None if next_due is None else next_due - now)
                    continue
                work = [(place, held, held.ledgers[-1]) for place, held in due]
            for place, held, ledger in work:
                self._renew(place, held, ledger)

    def _renew(self, place: _Place, held: _Held, ledger: Ledger) -> None:
        pause = ledger.lease_seconds / 4
        try:
            if not ledger.renew(place[1], place[2]):
                if self.is_held(place):
                    logger.warning(
                        "Generation %s is another owner's by now; this one decides nothing more", place[1]
                    )
                pause = ledger.lease_seconds
        except LedgerError:
            pause /= 4  # the lease is long enough for several more
        except Exception:
            # Whatever it was, the other leases are still to be renewed.
            logger.exception("The lease of generation %s could not be renewed", place[1])
        held.due = time.monotonic() + pause


class _Lookers:
    """The rows (ledger id, generation id) that somebody in this process is looking for."""

    def __init__(self) -> None:
        self._rows: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def enter(self, row: tuple[str, str]) -> bool:
        with self._lock:
            if row in self._rows:
                return False
            self._rows.add(row)
            return True

    def leave(self, row: tuple[str, str]) -> None:
        with self._lock:
            self._rows.discard(row)


_leases = _Leases()
_lookers = _Lookers()


def _in_a_child() -> None:
    # The parent's leases are the parent's, and threads do not survive a fork; locks may have been held.
    global _leases, _lookers
    _leases, _lookers = _Leases(), _Lookers()


os.register_at_fork(after_in_child=_in_a_child)


async def _taken(services: Services, generation_id: str, owner: Owner) -> Generation:
    pause, longest = BUSY_POLL_SECONDS
    while True:
        claim: Claim = await services.ledger.take(generation_id, owner)
        if claim.outcome != "busy":
            return claim.generation
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, longest)
