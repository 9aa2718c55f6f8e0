"""The life of one generation as a pure function: `advance(row, event) -> Step`. No clock, no network.

`advance` is total: every event in every state is a transition, a recorded fact, a stray request kept beside
the row, or a stated no-op. Duplicates, late webhooks and reordered answers are ordinary input, never an
exception.

What holds for every sequence of events:

- `(attempt, RANK[state])` goes down in one case: what was believed lost, or finished, is asked about again by id
  (back to SUBMITTED), because a person or fal itself says so. The one way back to INTENDED is UNKNOWN +
  ProvablyAbsent, with the next attempt; so each attempt has one POST, and only what is provably absent is sent again.
- A verdict about another attempt changes nothing. A request id counts whichever attempt it is of.
- One word of fal's that something is gone loses nothing; the second does, minutes later, and even then a result
  that turns up is a result.
- An ARCHIVED row's state, bytes and manifest never change; only its settlement may.
- A second request id is never dropped: it is kept as a stray and reported as a double charge.
- A request that turns out to exist after its row was closed is kept too, and the key's next claim adopts it.

The transitions are in the rules, and as a diagram in `docs/ledger-states.md`, which is made from them.

Effects: on entering SUBMITTED, POLL (and PUT_CANCEL where a cancel waited); COMPLETED, DOWNLOAD and SETTLE;
COLLECTED, ARCHIVE; UNKNOWN, RECONCILE; PARKED and LOST, NOTIFY_PERSON; INTENDED again, POST_ONCE; FAILED and
CANCELLED, RELEASE_HOLD if free, else SETTLE; RELEASED, RELEASE_HOLD.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from prefect_ltx.ledger.life.events import (
    CancelAnswered,
    CancelRequested,
    Collected,
    Event,
    Found,
    GoneSaid,
    PostStarted,
    RemoteCancelled,
    RemoteCompleted,
    RemoteFailed,
    Resolved,
    Settled,
    StillRunning,
    request_id_of,
)
from prefect_ltx.ledger.life.rule import Outcome, Rule
from prefect_ltx.ledger.life.rules_people import CANCELLING, RESOLVING
from prefect_ltx.ledger.life.rules_running import COLLECTING, RUNNING
from prefect_ltx.ledger.life.rules_sending import LOOKING, SENDING
from prefect_ltx.ledger.life.states import Cancel, Effect, Snapshot, State

RULES: Final[tuple[Rule, ...]] = (*SENDING, *LOOKING, *RUNNING, *COLLECTING, *CANCELLING, *RESOLVING)
"""Every rule, in the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an event did.

    `because` is the fact that the rule rests on; `strays` are request ids to keep beside the row.
    """

    state: State
    effects: tuple[Effect, ...]
    before: Snapshot
    after: Snapshot
    outcome: Outcome
    because: str
    strays: tuple[str, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether the state or the attempt changed."""
        return (self.before.state, self.before.attempt) != (self.after.state, self.after.attempt)


def advance(row: Snapshot | State, event: Event) -> Step:
    """What `event` does to `row`. Total and pure; the first rule of the table whose guard holds decides."""
    before = Snapshot(row) if isinstance(row, State) else row
    chosen = next(line for line in _BY_PAIR[before.state, type(event)] if line.when.holds(before, event))
    strays = _strays(before, event, chosen)
    effects = chosen.effects
    if isinstance(event, RemoteCompleted) and event.usd is not None:
        effects = tuple(effect for effect in effects if effect is not Effect.SETTLE)
    if strays and not {Effect.REPORT_DOUBLE_CHARGE, Effect.KEEP_STRAY} & set(effects):
        effects = (*effects, Effect.REPORT_DOUBLE_CHARGE)
    after = before if chosen.outcome != "recorded" else _after(before, event, chosen)
    return Step(after.state, effects, before, after, chosen.outcome, chosen.because, strays)


def todo(row: Snapshot | State) -> tuple[Effect, ...]:
    """What is left to do for a row that is picked up as it stands."""
    row = Snapshot(row) if isinstance(row, State) else row
    if row.state is State.INTENDED and row.post_may_have_left:
        return ()  # its owner may be sending; `take` turns it into UNKNOWN once that owner is gone
    if row.state is State.SUBMITTED and row.cancel == "wanted":
        return (Effect.PUT_CANCEL, Effect.POLL)
    return _TODO.get(row.state, ())


_TODO: Final[Mapping[State, tuple[Effect, ...]]] = MappingProxyType(
    {
        State.INTENDED: (Effect.POST_ONCE,),
        State.UNKNOWN: (Effect.RECONCILE,),
        State.PARKED: (Effect.NOTIFY_PERSON,),
        State.SUBMITTED: (Effect.POLL,),
        State.COMPLETED: (Effect.DOWNLOAD,),
        State.COLLECTED: (Effect.ARCHIVE,),
        State.LOST: (Effect.NOTIFY_PERSON,),
    }
)


def _strays(row: Snapshot, event: Event, chosen: Rule) -> tuple[str, ...]:
    named = request_id_of(event) or (row.request_id if chosen.outcome == "stray" else None)
    strays = [named] if chosen.outcome == "stray" and named else []
    if isinstance(event, Found):
        strays += [
            other for other in event.others if other not in (row.request_id, event.request_id, *strays)
        ]
    return tuple(strays)


def _after(row: Snapshot, event: Event, chosen: Rule) -> Snapshot:
    changes: dict[str, Any] = {}
    if row.request_id is None and request_id_of(event) is not None:
        changes["request_id"] = request_id_of(event)
    match event:
        case PostStarted():
            changes["post_may_have_left"] = True
        case GoneSaid() if row.gone_at is None:
            changes["gone_at"] = event.at
        case RemoteCompleted():
            changes |= {"video_seen": True, "billed": "yes"}
            if event.usd is not None and row.settled_by in (None, "billable_units"):
                changes |= {"settled_by": "billable_units", "settled_usd": event.usd}
            if row.state is not State.COMPLETED:  # there its file may be gone although the result names it
                changes["gone_at"] = None
        case RemoteFailed() | RemoteCancelled():
            changes["billed"] = event.billed
        case Collected():
            changes |= {"sha256": event.sha256, "video_seen": True, "gone_at": None}
        case Settled():
            changes |= {"settled_by": event.source, "settled_usd": event.usd}
        case StillRunning() | Resolved():
            changes["gone_at"] = None
        case _:
            pass
    changes["cancel"] = _cancel(row, event)
    if chosen.to is State.RELEASED or _cancelled_in_queue(event, chosen):
        changes["billed"] = "no"
    if chosen.to is State.INTENDED:
        changes |= {"attempt": row.attempt + 1, "post_may_have_left": False}
    return replace(row, state=chosen.to or row.state, **changes)


def _cancelled_in_queue(event: Event, chosen: Rule) -> bool:
    return isinstance(event, CancelAnswered) and chosen.to is State.CANCELLED


def _cancel(row: Snapshot, event: Event) -> Cancel:
    finished = row.state in (State.COMPLETED, State.COLLECTED)
    match event:
        case CancelRequested():
            return "too_late" if finished else "wanted"
        case CancelAnswered(outcome="cancelled"):
            return "too_late" if finished else "done"
        case CancelAnswered(outcome="already_completed"):
            return "too_late"
        case CancelAnswered(outcome="requested") if not finished:
            return "asked"
        case RemoteCompleted() if row.cancel in ("wanted", "asked"):
            return "too_late"
        case RemoteCancelled() if row.cancel != "none":
            return "done"
        case _:
            return row.cancel


def _index() -> Mapping[tuple[State, type[Event]], tuple[Rule, ...]]:
    pairs: defaultdict[tuple[State, type[Event]], list[Rule]] = defaultdict(list)
    for line in RULES:
        for state in line.states:
            pairs[state, line.event].append(line)
    return MappingProxyType({pair: tuple(lines) for pair, lines in pairs.items()})


_BY_PAIR: Final = _index()
