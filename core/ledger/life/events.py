"""What can happen to a generation: one small frozen class for each fact or decision.

Events carry facts, never instructions. What decides about an attempt names the `attempt` that it is about: a row
that has moved on to the next one takes no verdict about the last. Moments called `at` and `since` are Unix seconds
by fal's own clock. `public_detail` is what may be written to the event log: fields that hold URLs, prompts or paths
are marked private and stay out of logs and reprs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final, Literal, get_args

from prefect_ltx.fal import Billed, CancelOutcome, plain

Doubt = Literal["ambiguous", "forbidden", "incomplete", "clock unknown", "absence unproven"]
SettlementSource = Literal["billable_units", "person", "billing_events"]
Choice = Literal["adopt", "absent", "write_off"]

GONE_APART_SECONDS: Final = 180.0
"""How far apart fal has to say twice that something is gone, where nothing else is known of the service."""

_PRIVATE: Final = {"private": True}


@dataclass(frozen=True, slots=True)
class PostStarted:
    """The owner is about to send the one POST of this attempt (recorded before the first byte).

    `since` is the earliest that it can be by fal's clock; None where fal's clock is not known.
    """

    attempt: int = field(kw_only=True)
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """fal answered the POST with a request id."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """fal answered the POST with a definite refusal: nothing ran."""

    attempt: int = field(kw_only=True)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NotSent:
    """The POST never left: no connection was made, or the owner decided against it."""

    attempt: int = field(kw_only=True)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReplyLost:
    """The POST left and no usable answer came back."""

    attempt: int = field(kw_only=True)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OwnerLost:
    """The owner is dead, or its lease ran out."""


@dataclass(frozen=True, slots=True)
class Found:
    """Looking found the request. `others` are further requests for the same intent: double charges."""

    attempt: int = field(kw_only=True)
    request_id: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LookedAt:
    """Looking showed nothing yet. `at` is the latest that the question can have been asked, by fal's clock.

    The first one of an attempt is where the wait for fal's listing begins.
    """

    attempt: int = field(kw_only=True)
    at: float


@dataclass(frozen=True, slots=True)
class ProvablyAbsent:
    """Looking proved that no request of this attempt, or of an earlier one, exists."""

    attempt: int = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Undecidable:
    """Looking cannot tell whether the request exists."""

    attempt: int = field(kw_only=True)
    reason: Doubt
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RemoteCompleted:
    """fal finished the request with a video.

    `units` are fal's billable units; `usd` is their price where the caller knows the unit price: it settles
    the row in the same transaction. `request_id` is given where the event may be about another request.
    `oddities` say in words what was odd about the answer.
    """

    video_url: str = field(repr=False, metadata=_PRIVATE)
    seed: int | None = None
    prompt: str | None = field(default=None, repr=False, metadata=_PRIVATE)
    file_size: int | None = None
    units: Decimal | None = None
    usd: Decimal | None = None
    request_id: str | None = None
    oddities: tuple[str, ...] = field(default=(), repr=False, metadata=_PRIVATE)


@dataclass(frozen=True, slots=True)
class RemoteFailed:
    """fal finished the request with an error.

    `for_good`: the same request would be refused again, so the same run does not buy it a second time.
    """

    reason: str = ""
    billed: Billed = "maybe"
    request_id: str | None = None
    for_good: bool = False


@dataclass(frozen=True, slots=True)
class RemoteCancelled:
    """fal ended the request because it was cancelled."""

    billed: Billed = "maybe"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class StillRunning:
    """fal, asked by id, says that the request waits or runs."""


@dataclass(frozen=True, slots=True)
class FailsToSay:
    """fal says that the request is finished, and does not say how: its result route gives no answer of fal's."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class GoneSaid:
    """fal itself said at `at` that the request, its result or its file is gone.

    Believed when fal says it again `apart` seconds later or more, with nothing to the contrary in between.
    """

    at: float
    reason: str = ""
    apart: float = GONE_APART_SECONDS


@dataclass(frozen=True, slots=True)
class Collected:
    """The video's bytes are here, whole and decoded. `path` is where, on the machine that recorded it."""

    sha256: str
    size: int
    path: str = field(default="", repr=False, metadata=_PRIVATE)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False, metadata=_PRIVATE)


@dataclass(frozen=True, slots=True)
class Archived:
    """The manifest is written in the archive at `location`."""

    location: str
    folder: str
    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A person wants it cancelled (a killed worker does not)."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class CancelAnswered:
    """fal answered the cancel call."""

    outcome: CancelOutcome


@dataclass(frozen=True, slots=True)
class Settled:
    """What it cost, and who says so. Billing events outrank a person, who outranks billable units."""

    units: Decimal | None
    usd: Decimal
    source: SettlementSource


@dataclass(frozen=True, slots=True)
class WebhookReceived:
    """A verified webhook named the request; `ok` is its status."""

    request_id: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Resolved:
    """A person decided: it is that request, it never ran, or it is given up."""

    choice: Choice
    request_id: str | None = None
    by: str = ""


Event = (
    PostStarted
    | Accepted
    | Rejected
    | NotSent
    | ReplyLost
    | OwnerLost
    | Found
    | LookedAt
    | ProvablyAbsent
    | Undecidable
    | RemoteCompleted
    | RemoteFailed
    | RemoteCancelled
    | StillRunning
    | FailsToSay
    | GoneSaid
    | Collected
    | Archived
    | CancelRequested
    | CancelAnswered
    | Settled
    | WebhookReceived
    | Resolved
)

EVENT_TYPES: Final[tuple[type[Event], ...]] = get_args(Event)


def attempt_of(event: Event) -> int | None:
    """The attempt that the event is about, where it is about one."""
    return getattr(event, "attempt", None)


def request_id_of(event: Event) -> str | None:
    """The request id that the event names, where it names one."""
    return getattr(event, "request_id", None)


def public_detail(event: Event) -> dict[str, Any]:
    """The event's fields as JSON values, without the private ones and without URL queries in texts."""
    detail: dict[str, Any] = {}
    for item in fields(event):
        value = getattr(event, item.name)
        if item.metadata.get("private") or value in (None, "", ()):
            continue
        if isinstance(value, Decimal):
            value = str(value)
        elif isinstance(value, str):
            value = plain(value)
        elif isinstance(value, tuple):
            value = list(value)
        detail[item.name] = value
    return detail
