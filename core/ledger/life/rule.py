"""One transition rule: from which states, on which event, under which condition, where to, and why.

`because` is the fact a rule rests on; "§" numbers in it are sections of fal-protocol. Of the rules for one
(state, event) the first whose guard holds decides, and every event type ends in an unguarded rule for all
states, so the table is total.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from prefect_ltx.fal import usd_to_nano
from prefect_ltx.ledger.life.events import (
    CancelAnswered,
    Choice,
    Collected,
    Event,
    GoneSaid,
    RemoteCancelled,
    RemoteFailed,
    Resolved,
    Settled,
    WebhookReceived,
    attempt_of,
    request_id_of,
)
from prefect_ltx.ledger.life.states import CLOSED, WITHOUT_REQUEST, Effect, Snapshot, State


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
OTHER_ATTEMPT: Final = Guard(
    "about another attempt", lambda row, event: attempt_of(event) not in (None, row.attempt)
)
GONE_AGAIN: Final = Guard(
    "said before, far enough apart",
    lambda row, event: (
        isinstance(event, GoneSaid) and row.gone_at is not None and event.at >= row.gone_at + event.apart
    ),
)
GONE_FIRST: Final = Guard("not said before", lambda row, event: row.gone_at is None)
SAME_BILL: Final = Guard(
    "the same bill",
    lambda row, event: (
        isinstance(event, Settled)
        and event.source == row.settled_by
        and row.settled_usd is not None
        and usd_to_nano(event.usd) == usd_to_nano(row.settled_usd)
    ),
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


Outcome = Literal["recorded", "stray", "ignored"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table. `to` is None where the state stays.

    `outcome` says whether the event's facts are written to the row (recorded), kept beside it as a stray
    request, or only logged (ignored).
    """

    states: tuple[State, ...]
    event: type[Event]
    to: State | None
    effects: tuple[Effect, ...]
    because: str
    when: Guard = ALWAYS
    outcome: Outcome = "recorded"


def rule(
    states: Iterable[State],
    event: type[Event],
    to: State | None,
    *effects: Effect,
    because: str,
    when: Guard = ALWAYS,
    outcome: Outcome = "recorded",
) -> Rule:
    """A rule for several states at once, kept in the order in which states are defined."""
    chosen = frozenset(states)
    return Rule(
        tuple(state for state in State if state in chosen), event, to, effects, because, when, outcome
    )


def ignored(event: type[Event], because: str, *, when: Guard = ALWAYS) -> Rule:
    """In every state that no earlier rule took: logged, and nothing changes."""
    return rule(State, event, None, because=because, when=when, outcome="ignored")


def other_attempt(event: type[Event]) -> Rule:
    """The event is about an attempt that this row is not in: it proves nothing about the present one."""
    return ignored(event, "it judges another attempt than the present one", when=OTHER_ATTEMPT)


def request_named(event: type[Event], because: str, *, when: Guard = ALWAYS) -> tuple[Rule, Rule]:
    """A request id reaches a row that has none; a cancel that waited for it goes out now."""
    wanted = CANCEL_WANTED if when is ALWAYS else when & CANCEL_WANTED
    go = State.SUBMITTED
    return (
        rule(WITHOUT_REQUEST, event, go, Effect.PUT_CANCEL, Effect.POLL, because=because, when=wanted),
        rule(WITHOUT_REQUEST, event, go, Effect.POLL, because=because, when=when),
    )


def second_request(event: type[Event], *, when: Guard = FOREIGN) -> Rule:
    """The event names another request than the row's."""
    return rule(
        State,
        event,
        None,
        Effect.REPORT_DOUBLE_CHARGE,
        Effect.NOTIFY_PERSON,
        because="§7.6: submit knows no idempotency, so a second id is a second run",
        when=when,
        outcome="stray",
    )


def ran_after_all(event: type[Event], *, when: Guard = NEW_TO_ROW) -> Rule:
    """A closed row's request turns out to exist, or to have made a video."""
    return rule(
        CLOSED,
        event,
        None,
        Effect.KEEP_STRAY,
        Effect.NOTIFY_PERSON,
        because="design, promise 2: a paid video is never lost; the key's next claim adopts it, unpaid",
        when=when,
        outcome="stray",
    )
