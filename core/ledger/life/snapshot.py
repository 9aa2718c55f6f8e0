"""What the machine reads of a generation, and what it asks others to do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from prefect_ltx.fal import Billed
from prefect_ltx.ledger.life.events import SettlementSource
from prefect_ltx.ledger.life.states import State

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
