"""The rules from the intent to a known request: the one POST, and the looking when its answer is missing."""

from typing import Final

from prefect_ltx.ledger.life.events import (
    Accepted,
    Found,
    LookedAt,
    NotSent,
    OwnerLost,
    PostStarted,
    ProvablyAbsent,
    Rejected,
    ReplyLost,
    Undecidable,
    WebhookReceived,
)
from prefect_ltx.ledger.life.rule import (
    CANCEL_WANTED,
    OTHER_ATTEMPT,
    POST_NOT_BEGUN,
    WEBHOOK_OK,
    Rule,
    ignored,
    other_attempt,
    ran_after_all,
    request_named,
    rule,
    second_request,
)
from prefect_ltx.ledger.life.states import CLOSED, State
from prefect_ltx.ledger.life.states import Effect as Do

_INTENDED: Final = {State.INTENDED}
_UNKNOWN: Final = {State.UNKNOWN}

SENDING: Final[tuple[Rule, ...]] = (
    other_attempt(PostStarted),
    rule(
        _INTENDED,
        PostStarted,
        None,
        because="§8.4: the intent is stored before the POST; from here on it may have left",
    ),
    ignored(PostStarted, "`begin_post` refuses it outside INTENDED"),
    second_request(Accepted),
    *request_named(Accepted, "§1.2: the reply names the request"),
    ran_after_all(Accepted),
    ignored(Accepted, "the id is known already"),
    other_attempt(Rejected),
    rule(
        _INTENDED,
        Rejected,
        State.RELEASED,
        Do.RELEASE_HOLD,
        because="§1.2: a definite 4xx at submit proves that nothing ran",
    ),
    ignored(Rejected, "§8.2: a later refusal says nothing about a POST whose reply was lost"),
    other_attempt(NotSent),
    rule(
        _INTENDED,
        NotSent,
        State.RELEASED,
        Do.RELEASE_HOLD,
        because="§8.4: without a connection no POST reached fal",
    ),
    ignored(NotSent, "§8.2: it says nothing about a POST that may have left earlier"),
    rule(
        State,
        ReplyLost,
        None,
        Do.NOTIFY_PERSON,
        because="§7.5: the POST of another attempt may have left after it was thought absent",
        when=OTHER_ATTEMPT,
        outcome="ignored",
    ),
    rule(
        _INTENDED,
        ReplyLost,
        State.UNKNOWN,
        Do.RECONCILE,
        because="§8.2: fal may have accepted it, and sending again would be a second charge",
    ),
    rule(
        CLOSED,
        ReplyLost,
        None,
        Do.NOTIFY_PERSON,
        because="§7.5: a POST may have left after its row was closed",
        outcome="ignored",
    ),
    ignored(ReplyLost, "the request is known or is being looked for"),
    rule(
        _INTENDED,
        OwnerLost,
        None,
        Do.POST_ONCE,
        because="the POST had not begun, and without the lease its old owner may not begin it",
        when=POST_NOT_BEGUN,
    ),
    rule(
        _INTENDED,
        OwnerLost,
        State.UNKNOWN,
        Do.RECONCILE,
        because="§7.5: the POST may have left; look, never send",
    ),
    ignored(OwnerLost, "whose work it was says nothing about the request"),
)

LOOKING: Final[tuple[Rule, ...]] = (
    second_request(Found),
    *request_named(Found, "§7.3: fal's listing shows the request"),
    ran_after_all(Found),
    ignored(Found, "the id is known already"),
    second_request(WebhookReceived),
    *request_named(WebhookReceived, "§4: a webhook that carries the intent's nonce names the request"),
    ran_after_all(WebhookReceived),
    rule(
        {State.SUBMITTED, State.LOST},
        WebhookReceived,
        None,
        Do.POLL,
        because="§4: webhooks come at least once and unordered; the result itself is asked by id",
    ),
    ran_after_all(WebhookReceived, when=WEBHOOK_OK),
    ignored(WebhookReceived, "§4: deliveries repeat, and this row knows the result"),
    other_attempt(LookedAt),
    rule(
        _UNKNOWN,
        LookedAt,
        None,
        because="§7.3: the listing lags; its wait is counted from the first look, by fal's clock",
    ),
    ignored(LookedAt, "the row is not being looked for"),
    other_attempt(ProvablyAbsent),
    rule(
        _UNKNOWN,
        ProvablyAbsent,
        State.RELEASED,
        Do.RELEASE_HOLD,
        because="§7.5: nothing ran; a cancel waited, so it is not sent again",
        when=CANCEL_WANTED,
    ),
    rule(
        _UNKNOWN,
        ProvablyAbsent,
        State.INTENDED,
        Do.POST_ONCE,
        because="§7.5: only what is provably absent is sent again, as the next attempt",
    ),
    ignored(ProvablyAbsent, "only a row that is being looked for goes back; a parked one is a person's"),
    other_attempt(Undecidable),
    rule(
        _UNKNOWN,
        Undecidable,
        State.PARKED,
        Do.NOTIFY_PERSON,
        because="§7.5: treat as possibly running and possibly billed; do not resubmit",
    ),
    ignored(Undecidable, "the row is not being looked for"),
)
