"""The states of one generation, the order in which they may be reached, and what the machine reads and asks for.

A row is *live* while its key must not be paid for again; an archived one is live for ever, which is what makes it
a hit. `(attempt, RANK[state])` goes down only where what was believed lost is asked about again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from prefect_ltx.fal import Billed
from prefect_ltx.ledger.life.events import SettlementSource


class State(StrEnum):
    """Where one generation stands."""

    INTENDED = "INTENDED"
    """The row is written; the one POST may or may not have left."""
    UNKNOWN = "UNKNOWN"
    """The POST has no usable answer, or its owner died: look, never send."""
    PARKED = "PARKED"
    """Looking cannot tell: a person decides."""
    SUBMITTED = "SUBMITTED"
    """fal's request id is known."""
    COMPLETED = "COMPLETED"
    """fal finished it with a video, which is not collected yet."""
    COLLECTED = "COLLECTED"
    """The bytes are downloaded and verified; their sha256 is known."""
    ARCHIVED = "ARCHIVED"
    """The manifest is written. Closed, and a hit for its key for ever."""
    LOST = "LOST"
    """fal said twice that the result is gone. Asked about again for days; blocks its key until a person decides."""
    RELEASED = "RELEASED"
    """Nothing ran and nothing is owed. Closed."""
    FAILED = "FAILED"
    """fal ran it and it ended in an error. Closed."""
    CANCELLED = "CANCELLED"
    """fal cancelled it. Closed."""
    WRITTEN_OFF = "WRITTEN_OFF"
    """A person gave it up; the money counts as spent. Closed."""


CLOSED: Final = frozenset({State.RELEASED, State.FAILED, State.CANCELLED, State.WRITTEN_OFF})
"""Closed without a video: the key is free again."""

LIVE: Final = frozenset(State) - CLOSED
"""At most one row per key is in one of these."""

UNFINISHED: Final = LIVE - {State.ARCHIVED}
"""Live rows on which something is left to do."""

WITHOUT_REQUEST: Final = frozenset({State.INTENDED, State.UNKNOWN, State.PARKED})
"""States in which no request id of fal's is known."""

RANK: Final[Mapping[State, int]] = MappingProxyType(
    {
        State.INTENDED: 0,
        State.UNKNOWN: 1,
        State.PARKED: 2,
        State.SUBMITTED: 3,
        # The same rank: fal has finished both, and a lost result that turns up again is a result.
        State.COMPLETED: 4,
        State.LOST: 4,
        State.COLLECTED: 5,
        State.ARCHIVED: 6,
        State.RELEASED: 7,
        State.FAILED: 7,
        State.CANCELLED: 7,
        State.WRITTEN_OFF: 7,
    }
)

Cancel = Literal["none", "wanted", "asked", "too_late", "done"]
"""A user's cancel is a mark on the row, not a state: wanted → asked (fal was told) → done or too_late."""


class Effect(StrEnum):
    """What follows from a step. The store carries out its own; the rest is the caller's."""

    POST_ONCE = "POST_ONCE"
    """Send the one POST of this attempt (caller, after `Ledger.begin_post`)."""
    RECONCILE = "RECONCILE"
    """Look for the request; send nothing (caller)."""
    POLL = "POLL"
    """Ask fal for status and result by id (caller)."""
    DOWNLOAD = "DOWNLOAD"
    """Fetch and verify the bytes (caller)."""
    ARCHIVE = "ARCHIVE"
    """Write renditions, video and manifest (caller)."""
    PUT_CANCEL = "PUT_CANCEL"
    """Cancel the request on fal (caller)."""
    SETTLE = "SETTLE"
    """Find out what it cost and record `Settled` (caller; a sweep does it later)."""
    NOTIFY_PERSON = "NOTIFY_PERSON"
    """A person should see this row (caller)."""
    RELEASE_HOLD = "RELEASE_HOLD"
    """The reservation goes to zero (the store, in the same transaction)."""
    REPORT_DOUBLE_CHARGE = "REPORT_DOUBLE_CHARGE"
    """Another request exists for this intent (the store keeps it as a stray; the caller shows it)."""
    KEEP_STRAY = "KEEP_STRAY"
    """A closed row's request ran after all (the store keeps it: the key's next claim adopts it, unpaid)."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The part of a row on which decisions rest. Made from a bare `State`, it assumes the careful case."""

    state: State
    attempt: int = 1
    request_id: str | None = None
    post_may_have_left: bool = True
    cancel: Cancel = "none"
    billed: Billed | None = None
    sha256: str | None = None
    video_seen: bool = False
    settled_by: SettlementSource | None = None
    settled_usd: Decimal | None = None
    gone_at: float | None = None
    """When fal first said that it is gone, by fal's clock, with nothing to the contrary since."""
