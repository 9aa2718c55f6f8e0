"""What everything in one process shares, in whichever event loop it runs: its leases, who looks for which row or
collects it, and request ids that are kept in memory.

Leases belong to the process, not to an event loop: one thread renews all of them, so a loop that is busy, blocked or
gone loses none, and any number of loops may work on one row (Prefect's `.submit` gives each task its own).
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prefect_ltx.ledger import Ledger, LedgerError, Owner

if TYPE_CHECKING:
    from prefect_ltx.generation.kept import KeptRequest

REMEMBER_SECONDS: Final = 60.0

logger = logging.getLogger("prefect_ltx.lease")

Place = tuple[str, str, Owner]
"""Ledger id, generation id, owner."""


@dataclass
class _Held:
    due: float
    ledgers: list[Ledger] = field(default_factory=list)
    """One for each block; the last one renews."""


class Leases:
    """Every lease of a process, how many blocks hold each, and when each is renewed.

    `clock` gives seconds that only grow. `wake` is called whenever there is a new lease, and whoever is behind it
    calls `renew_due` then, and again when that says; without it a thread does.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wake: Callable[[], None] | None = None
    ) -> None:
        self._clock = clock
        self._wake = wake or self._wake_thread
        self._held: dict[Place, _Held] = {}
        self._left: dict[Place, float] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def enter(self, place: Place, ledger: Ledger) -> None:
        """One block more."""
        with self._changed:
            held = self._held.get(place)
            if held is None:
                held = self._held[place] = _Held(self._clock() + ledger.lease_seconds / 4)
            held.ledgers.append(ledger)
            self._wake()

    def leave(self, place: Place, ledger: Ledger) -> bool:
        """One block less; whether it was the last, so that the lease has to be released. Called in the ledger's thread,
        in turn with claims.
        """
        with self._changed:
            held = self._held[place]
            held.ledgers.remove(ledger)
            if held.ledgers:
                return False
            del self._held[place]
            now = self._clock()
            self._left = {each: at for each, at in self._left.items() if now - at < REMEMBER_SECONDS}
            self._left[place] = now
            return True

    def is_held(self, place: Place) -> bool:
        """Whether a block holds it now."""
        with self._changed:
            return place in self._held

    def was_just_left(self, place: Place) -> bool:
        """Whether its last block has ended a moment ago, so that the lease may have been given back since one's own
        `take`. Whoever has it again says so: `has_again`.
        """
        with self._changed:
            return place in self._left

    def has_again(self, place: Place) -> None:
        """The lease is this owner's; nobody need ask any more."""
        with self._changed:
            self._left.pop(place, None)

    def renew_due(self) -> float | None:
        """Renew what is due now; seconds until the next is, None where none is held."""
        with self._changed:
            now = self._clock()
            work = [(place, held, held.ledgers[-1]) for place, held in self._held.items() if held.due <= now]
        for place, held, ledger in work:
            self._renew(place, held, ledger)
        with self._changed:
            return self._next_due()

    def _next_due(self) -> float | None:
        soonest = min((held.due for held in self._held.values()), default=None)
        return None if soonest is None else max(soonest - self._clock(), 0.0)

    def _wake_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="prefect-ltx-leases", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        while True:
            self.renew_due()
            with self._changed:
                seconds = self._next_due()
                if seconds is None or seconds > 0:
                    self._changed.wait(seconds)

    def _renew(self, place: Place, held: _Held, ledger: Ledger) -> None:
        pause = ledger.lease_seconds / 4
        try:
            if not ledger.renew(place[1], place[2]):
                # One that is archived or closed has no owner; its block only has not ended yet.
                if ledger.get(place[1]).owner is not None and self.is_held(place):
                    logger.warning(
                        "Generation %s is another owner's by now; this one decides nothing more", place[1]
                    )
                pause = ledger.lease_seconds
        except LedgerError:
            pause /= 4  # the lease is long enough for several more
        except Exception:
            # Whatever it was, the other leases are still to be renewed.
            logger.exception("The lease of generation %s could not be renewed", place[1])
        held.due = self._clock() + pause


class RowsAtWork:
    """The rows (ledger id, generation id) with which somebody in a process does what one may do at a time."""

    def __init__(self) -> None:
        self._rows: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def enter(self, row: tuple[str, str]) -> bool:
        """Whether nobody was at work on it; somebody is now."""
        with self._lock:
            if row in self._rows:
                return False
            self._rows.add(row)
            return True

    def leave(self, row: tuple[str, str]) -> None:
        """Nobody is at work on it any more."""
        with self._lock:
            self._rows.discard(row)


@dataclass(frozen=True, eq=False)
class Process:
    """What one process has once."""

    leases: Leases = field(default_factory=Leases)
    lookers: RowsAtWork = field(default_factory=RowsAtWork)
    """Rows that somebody looks for at fal."""
    collectors: RowsAtWork = field(default_factory=RowsAtWork)
    """Rows whose video somebody brings into the archive."""
    kept: "dict[tuple[str, str], KeptRequest]" = field(default_factory=dict)
    """Request ids that were kept, by ledger id and generation id: for a disk that is full."""


_this = Process()


def this_process() -> Process:
    """What this very process shares; a forked child has its own."""
    return _this


def _in_a_child() -> None:
    # The parent's leases are the parent's, and threads do not survive a fork; locks may have been held.
    global _this
    _this = Process()


os.register_at_fork(after_in_child=_in_a_child)
