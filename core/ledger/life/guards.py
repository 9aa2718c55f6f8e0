"""The conditions of the transition rules: predicates over row and event, with words that describe them."""

from collections.abc import Callable
from typing import Final, NamedTuple

from prefect_ltx.ledger.life.events import (
    CancelAnswered,
    Choice,
    Collected,
    Event,
    RemoteCancelled,
    RemoteFailed,
    Resolved,
    Settled,
    WebhookReceived,
    request_id_of,
)
from prefect_ltx.ledger.life.snapshot import Snapshot


class Guard(NamedTuple):
    """A condition on the row and the event, with the words the diagram shows."""

    label: str
    holds: Callable[[Snapshot, Event], bool]

    def __and__(self, other: "Guard") -> "Guard":
        """Both conditions."""
        return Guard(
            f"{self.label}, {other.label}",
            lambda row, event: self.holds(row, event) and other.holds(row, event),
        )


ALWAYS: Final = Guard("", lambda row, event: True)

CANCEL_WANTED: Final = Guard("cancel wanted", lambda row, event: row.cancel == "wanted")
POST_NOT_BEGUN: Final = Guard("POST not begun", lambda row, event: not row.post_may_have_left)
VIDEO_SEEN: Final = Guard("a video was seen", lambda row, event: row.video_seen)
HAS_REQUEST: Final = Guard("the row has a request", lambda row, event: row.request_id is not None)
NAMES_REQUEST: Final = Guard("names its request", lambda row, event: request_id_of(event) is not None)
NOT_BILLED: Final = Guard(
    "not billed",
    lambda row, event: isinstance(event, RemoteFailed | RemoteCancelled) and event.billed == "no",
)
NEW_TO_ROW: Final = Guard(
    "names a request, the row has none",
    lambda row, event: request_id_of(event) is not None and row.request_id is None,
)
WEBHOOK_OK: Final = Guard("says OK", lambda row, event: isinstance(event, WebhookReceived) and event.ok)


def _foreign(row: Snapshot, event: Event) -> bool:
    named = request_id_of(event)
    return named is not None and row.request_id is not None and named != row.request_id


FOREIGN: Final = Guard("another request id", _foreign)

OTHER_BYTES: Final = Guard(
    "other bytes",
    lambda row, event: isinstance(event, Collected) and row.sha256 is not None and event.sha256 != row.sha256,
)

_SETTLEMENT_RANK: Final = {None: 0, "billable_units": 1, "person": 2, "billing_events": 3}

BETTER_KNOWN: Final = Guard(
    "settled by a better source",
    lambda row, event: (
        isinstance(event, Settled) and _SETTLEMENT_RANK[event.source] < _SETTLEMENT_RANK[row.settled_by]
    ),
)


def answered(outcome: str) -> Guard:
    """fal answered the cancel call with this outcome."""
    return Guard(outcome, lambda row, event: isinstance(event, CancelAnswered) and event.outcome == outcome)


def chose(choice: Choice) -> Guard:
    """A person chose this."""
    return Guard(choice, lambda row, event: isinstance(event, Resolved) and event.choice == choice)
