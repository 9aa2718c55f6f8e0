"""The states of one generation, and the order in which they may be reached.

A row is *live* while its key must not be paid for again; an archived one is live for ever, which is what
makes it a hit. `(attempt, RANK[state])` never goes down over the life of a row.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


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
    """Paid, and the result is gone. Blocks its key until a person writes it off."""
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
