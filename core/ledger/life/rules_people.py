"""The rules for what people want: cancelling, and deciding what looking could not."""

from typing import Final

from prefect_ltx.ledger.life.events import CancelAnswered, CancelRequested, Resolved
from prefect_ltx.ledger.life.rule import (
    FOREIGN,
    NAMES_REQUEST,
    POST_NOT_BEGUN,
    VIDEO_SEEN,
    Rule,
    answered,
    chose,
    ignored,
    ran_after_all,
    request_named,
    rule,
    second_request,
)
from prefect_ltx.ledger.life.states import Effect as Do
from prefect_ltx.ledger.life.states import State

_LOOKED_FOR: Final = {State.UNKNOWN, State.PARKED}
_IN_HAND: Final = {State.COMPLETED, State.COLLECTED}

CANCELLING: Final[tuple[Rule, ...]] = (
    rule(
        {State.INTENDED},
        CancelRequested,
        State.RELEASED,
        Do.RELEASE_HOLD,
        because="§8.4: the POST had not begun, and a released row forbids it",
        when=POST_NOT_BEGUN,
    ),
    rule(
        {State.INTENDED},
        CancelRequested,
        None,
        because="the POST may be on its way: the cancel waits for its answer",
    ),
    rule(
        _LOOKED_FOR,
        CancelRequested,
        None,
        Do.RECONCILE,
        because="§1.7: cancelling needs the request id, so look first, then cancel",
    ),
    rule(
        {State.SUBMITTED},
        CancelRequested,
        None,
        Do.PUT_CANCEL,
        because="§1.7: only an explicit cancel stops a queued request; repeating it is harmless",
    ),
    rule(
        _IN_HAND,
        CancelRequested,
        None,
        because="§1.7: already completed, so too late: it is paid for and kept",
    ),
    ignored(CancelRequested, "closed, archived or lost: nothing is left to cancel"),
    rule(
        {State.SUBMITTED},
        CancelAnswered,
        None,
        Do.POLL,
        because="a video was seen, so it ran: its result is asked for again",
        when=VIDEO_SEEN,
    ),
    rule(
        {State.SUBMITTED},
        CancelAnswered,
        State.CANCELLED,
        Do.RELEASE_HOLD,
        because="§1.7: a queued cancel never runs; §5.4: nothing to bill",
        when=answered("cancelled"),
    ),
    rule(
        {State.SUBMITTED},
        CancelAnswered,
        None,
        Do.POLL,
        because="§1.7: cancelling a running job is a request; its result tells what became of it",
    ),
    rule(
        _IN_HAND,
        CancelAnswered,
        None,
        because="§1.7: already completed, so too late: it is paid for and kept",
    ),
    ignored(CancelAnswered, "nothing is left to cancel"),
)

RESOLVING: Final[tuple[Rule, ...]] = (
    second_request(Resolved, when=chose("adopt") & FOREIGN),
    *request_named(Resolved, "§7.5: a person found the request", when=chose("adopt") & NAMES_REQUEST),
    ran_after_all(Resolved, when=chose("adopt") & NAMES_REQUEST),
    rule(
        {State.LOST, State.COMPLETED},
        Resolved,
        State.SUBMITTED,
        Do.POLL,
        because="§7.3: fal's stored payloads may have the result again; it is asked by id, as any other",
        when=chose("adopt"),
    ),
    rule(
        _LOOKED_FOR | {State.LOST},
        Resolved,
        State.RELEASED,
        Do.RELEASE_HOLD,
        because="§7.5: a person vouches that nothing ran and nothing is owed",
        when=chose("absent"),
    ),
    rule(
        _LOOKED_FOR | _IN_HAND | {State.SUBMITTED, State.LOST},
        Resolved,
        State.WRITTEN_OFF,
        because="§7.5: a person gives it up; its price counts as spent",
        when=chose("write_off"),
    ),
    ignored(Resolved, "its owner may be sending now, or it is closed, or fal itself can be asked by id"),
)
