"""The rules from a known request to the archive: what fal says about it, and what became of its bytes."""

from typing import Final

from prefect_ltx.ledger.life.events import (
    Archived,
    Collected,
    FailsToSay,
    GoneSaid,
    RemoteCancelled,
    RemoteCompleted,
    RemoteFailed,
    Settled,
    StillRunning,
)
from prefect_ltx.ledger.life.rule import (
    BETTER_KNOWN,
    FOREIGN,
    GONE_AGAIN,
    GONE_FIRST,
    HAS_REQUEST,
    NAMES_REQUEST,
    NOT_BILLED,
    OTHER_BYTES,
    SAME_BILL,
    VIDEO_SEEN,
    Rule,
    ignored,
    ran_after_all,
    rule,
    second_request,
)
from prefect_ltx.ledger.life.states import WITHOUT_REQUEST, State
from prefect_ltx.ledger.life.states import Effect as Do

_WAITED_FOR: Final = {State.SUBMITTED, State.LOST}
_ASKED_BY_ID: Final = {State.SUBMITTED, State.COMPLETED}
_ENDS: Final = (
    (RemoteFailed, State.FAILED, "§1.4, §5: failure is COMPLETED with an error, or an error on the result"),
    (RemoteCancelled, State.CANCELLED, "§1.7: a cancelled request ends as COMPLETED with 499"),
)


def _ended(event: type[RemoteFailed | RemoteCancelled], to: State, because: str) -> tuple[Rule, ...]:
    free = "; §5.4: 5xx, queue time and what never ran are free"
    return (
        ignored(event, "§7.6: a second run that cost nothing", when=FOREIGN & NOT_BILLED),
        second_request(event),
        ignored(event, "a video was seen: an error that comes later is not this result's", when=VIDEO_SEEN),
        rule(_WAITED_FOR, event, to, Do.RELEASE_HOLD, because=because + free, when=NOT_BILLED),
        rule(
            _WAITED_FOR,
            event,
            to,
            Do.SETTLE,
            because=because + "; §5.4: a 422 or a cancel while running may be charged",
        ),
        rule(
            WITHOUT_REQUEST,
            event,
            to,
            Do.RELEASE_HOLD,
            because=because + free,
            when=NAMES_REQUEST & NOT_BILLED,
        ),
        rule(WITHOUT_REQUEST, event, to, Do.SETTLE, because=because, when=NAMES_REQUEST),
        ignored(event, "a known end is not changed, and an unnamed request is nobody's"),
    )


RUNNING: Final[tuple[Rule, ...]] = (
    second_request(RemoteCompleted),
    rule(
        WITHOUT_REQUEST,
        RemoteCompleted,
        State.COMPLETED,
        Do.DOWNLOAD,
        Do.SETTLE,
        because="§4: a webhook's payload is the result",
        when=NAMES_REQUEST,
    ),
    rule(
        _WAITED_FOR,
        RemoteCompleted,
        State.COMPLETED,
        Do.DOWNLOAD,
        Do.SETTLE,
        because="§1.6: results expire within the hour, so they are collected at once",
    ),
    rule(
        {State.COMPLETED},
        RemoteCompleted,
        None,
        Do.DOWNLOAD,
        because="§6.3: a result asked again may carry a fresh URL",
    ),
    rule(
        {State.COLLECTED},
        RemoteCompleted,
        None,
        Do.ARCHIVE,
        because="§6.3: a fresh URL lets a lost file be fetched again; the sha256 stays",
    ),
    ran_after_all(RemoteCompleted),
    ran_after_all(RemoteCompleted, when=HAS_REQUEST),
    ignored(RemoteCompleted, "what is archived never changes, and an unnamed request is nobody's"),
    *(line for event, to, because in _ENDS for line in _ended(event, to, because)),
    rule(
        {State.LOST},
        StillRunning,
        State.SUBMITTED,
        Do.POLL,
        because="§1.4: fal knows it after all; a status outranks what was believed lost",
    ),
    rule(
        _ASKED_BY_ID,
        StillRunning,
        None,
        because="§1.4: a request that runs is not gone",
    ),
    ignored(StillRunning, "fal's word on it is known already"),
    rule(
        _WAITED_FOR,
        FailsToSay,
        None,
        Do.POLL,
        because="§1.6: a 5xx on the result says nothing of the generation: asked again, after growing pauses",
    ),
    ignored(FailsToSay, "how it ended is known already"),
    rule(
        _ASKED_BY_ID,
        GoneSaid,
        State.LOST,
        Do.SETTLE,
        Do.NOTIFY_PERSON,
        because="§1.6: results expire; fal has said so twice, and what was paid is not silently bought again",
        when=GONE_AGAIN,
    ),
    rule(
        _ASKED_BY_ID,
        GoneSaid,
        None,
        Do.POLL,
        because="§1.6: one 404 may be a route or a replica that lags: fal is asked again, minutes later",
        when=GONE_FIRST,
    ),
    rule(
        {State.LOST},
        GoneSaid,
        None,
        because="§7.3: a lost result may come back: asked again for days",
    ),
    ignored(GoneSaid, "too soon after the first time, or the bytes are here, or there is no result to lose"),
)

COLLECTING: Final[tuple[Rule, ...]] = (
    rule(
        {State.COLLECTED},
        Collected,
        None,
        Do.NOTIFY_PERSON,
        because="one request has one result: the bytes recorded first stay the truth",
        when=OTHER_BYTES,
        outcome="ignored",
    ),
    rule(
        {State.COMPLETED, State.LOST},
        Collected,
        State.COLLECTED,
        Do.ARCHIVE,
        because="§6.3: the bytes are whole and decoded, so fal's copy may expire",
    ),
    rule(
        {State.COLLECTED},
        Collected,
        None,
        Do.ARCHIVE,
        because="the same bytes fetched again, perhaps on another machine",
    ),
    ignored(Collected, "bytes belong to a request that is known to be completed"),
    rule(
        {State.COLLECTED},
        Archived,
        State.ARCHIVED,
        because="design, Archive: the manifest is written last, so whoever sees it sees all files",
    ),
    ignored(Archived, "what is archived never changes, and only verified bytes are archived"),
    ignored(
        Settled, "§7.2: billing events are fal's word on cost; a weaker source is not", when=BETTER_KNOWN
    ),
    ignored(Settled, "known already", when=SAME_BILL),
    rule(
        frozenset(State) - WITHOUT_REQUEST,
        Settled,
        None,
        because="§7.2: billing events come late, also after a row is closed; only money columns change",
    ),
    ignored(Settled, "without a request there is nothing that a cost could belong to"),
)
