"""One transition rule: from which states, on which event, under which guard, where to, and why.

`because` is the fact a rule rests on; "§" numbers in it are sections of fal-protocol. Of the rules for one
(state, event) the first whose guard holds decides, and every event type ends in an unguarded rule for all
states, so the table is total.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prefect_ltx.ledger.life.events import Event
from prefect_ltx.ledger.life.guards import ALWAYS, CANCEL_WANTED, FOREIGN, NEW_TO_ROW, Guard
from prefect_ltx.ledger.life.snapshot import Effect
from prefect_ltx.ledger.life.states import CLOSED, WITHOUT_REQUEST, State

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
