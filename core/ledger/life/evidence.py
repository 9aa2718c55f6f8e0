"""What proves what about a row: the one page that turns what was heard into an event, or into nothing.

How the loop around it looks. For a row that is being looked for (UNKNOWN, PARKED):

    question = about(row, account=services.account, service=services.service.id)     # before asking
    listing = await client.listing(row.endpoint, start=question.listing_start)
    found = verdict(row, question, listing, trust, claimed=..., waited=...)
    # `Wait(seconds)`: nothing to record, ask again then. Anything else is an event: record it, read the row again.

For everything that is asked by id, and for the submit itself:

    question = about(row, account=..., service=...)
    try: reply = await client.result(...)
    except FalError as error: reply = error
    event = what_it_proves("result", row, question, reply, trust)                    # an event to record, or None

What holds for all of it:

- **Who said it.** Only fal's own words prove anything (`Heard.by == "fal"`); a gateway's page, an empty body and
  silence prove nothing. Nor do words from another account, or from another service than the row's.
- **About which attempt.** A question is about the attempt in which it was asked, and so is its answer.
- **When.** Evidence is as old as the moment before its question, by fal's clock; where that is not known, nothing
  follows from something being absent or gone.
- **Absent** needs every line of `ABSENCE`; the first that fails says what to do instead.
- **Gone** takes fal's word twice (`GoneSaid`), and a lost row is asked about for `ASK_LOST_SECONDS` after that.

The table for people is `docs/evidence.md`, made from `ABSENCE` and `ANSWERS`.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from prefect_ltx.ledger.life.events import (
    GONE_APART_SECONDS,
    Doubt,
    Found,
    LookedAt,
    ProvablyAbsent,
    Undecidable,
)
from prefect_ltx.ledger.life.matching import Listed, Sorted, Window, sort_out
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.records import Generation

ASK_LOST_SECONDS: Final = 7 * 24 * 3600.0
"""How long a lost result is asked for again, from fal's first word that it is gone."""
_PAUSES: Final = (60.0, 6 * 3600.0)
_BEFORE_POST_SECONDS: Final = 3600.0
"""How long before the first POST a listing has to begin, so that no rounding and no lagging clock cuts it off."""
_UNKNOWN_CLOCK_SECONDS: Final = 24 * 3600.0
_CLOCKS_DIFFER_SECONDS: Final = 300.0
"""What two clocks that were not compared may differ by, where only a match is at stake and never its absence."""


class Moment(Protocol):
    """A moment by fal's clock, as bounds in Unix seconds."""

    @property
    def earliest(self) -> float:
        """It was not before this."""

    @property
    def latest(self) -> float:
        """It was not after this."""


class Heard(Protocol):
    """Who gave an answer, and when it was asked for."""

    @property
    def by(self) -> str:
        """ "fal", "between" (a gateway, a proxy) or "nobody"."""

    @property
    def asked_at(self) -> Moment | None:
        """The moment before the question, by fal's clock; None where the answer did not tell the time."""


class Listing(Protocol):
    """fal's request listing, all of its pages."""

    @property
    def items(self) -> Sequence[Listed]:
        """Every entry that could be read."""

    @property
    def heard(self) -> Heard | None:
        """Who answered, and when the first page was asked for."""

    @property
    def complete(self) -> bool:
        """Whether every page was read to its end."""

    @property
    def unreadable(self) -> Sequence[str]:
        """Ids of entries that could not be read."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is about to be asked: of whom, about which row and attempt. Made before asking, never after."""

    generation_id: str
    attempt: int
    state: State
    account: str
    """The account whose key asks."""
    service: str
    """The service that is asked; `Service.id`."""
    since: float
    """From when on requests are listed, Unix seconds by fal's clock."""

    @property
    def listing_start(self) -> datetime:
        """`since` as the listing takes it."""
        return datetime.fromtimestamp(self.since, UTC)


@dataclass(frozen=True, slots=True)
class Trust:
    """How much a service is believed; times in seconds. The defaults are for a service of which nothing is known."""

    lag: float = 600.0
    """After how long a request that exists is listed."""
    lists_unfinished: bool = False
    """Whether it lists requests that wait or run."""
    absence_is_proof: bool = False
    """Whether what it does not list after the lag does not exist."""
    gone_apart: float = GONE_APART_SECONDS
    """How far apart it has to say twice that something is gone."""

    @property
    def patience(self) -> float:
        """The lag with a margin for what its measure was off by."""
        return self.lag * 1.1 + 0.5


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is proven: ask again after `seconds`."""

    seconds: float
    because: str = ""


Verdict = Found | LookedAt | ProvablyAbsent | Undecidable | Wait


def about(row: Generation, *, account: str, service: str) -> Question:
    """The question that is going to be asked about `row`, with this account's key, of this service."""
    if row.fal_since is not None:
        since = row.fal_since - 2 * _BEFORE_POST_SECONDS
    else:
        since = row.created_at.timestamp() - _UNKNOWN_CLOCK_SECONDS
    return Question(row.id, row.attempt, row.state, account, service, since)


def is_about(question: Question, row: Generation) -> bool:
    """Whether the question was asked of the row's own account and service."""
    return (
        question.generation_id == row.id
        and question.account == row.account
        and row.service in ("", question.service)
    )


@dataclass(frozen=True, slots=True)
class Look:
    """One look for a row in a listing: all that the conditions of absence read."""

    row: Generation
    question: Question
    listing: Listing
    trust: Trust
    sorted: Sorted
    waited: float

    @property
    def asked_at(self) -> Moment | None:
        """When the listing was asked for, by fal's clock."""
        return self.listing.heard.asked_at if self.listing.heard is not None else None

    @property
    def wait(self) -> float:
        """Seconds that are still to pass until the listing must show a request of this attempt."""
        if self.asked_at is None or self.row.first_look_at is None:
            return self.trust.patience - self.waited
        return self.row.first_look_at + self.trust.patience - self.asked_at.earliest


class Condition(NamedTuple):
    """One line of what absence needs; `otherwise` is the doubt that remains where it does not hold."""

    needs: str
    holds: Callable[[Look], bool]
    otherwise: Doubt
    because: str


ABSENCE: Final[tuple[Condition, ...]] = (
    Condition(
        "no entry could be this request",
        lambda look: not look.sorted.doubts,
        "ambiguous",
        "§7.3: an entry without its input, or under another spelling of the endpoint, may be ours",
    ),
    Condition(
        "every entry can be read",
        lambda look: not look.listing.unreadable,
        "ambiguous",
        "§7.3: what cannot be read may be ours",
    ),
    Condition(
        "the listing was read to its end",
        lambda look: look.listing.complete,
        "incomplete",
        "§7.3: what is on a page that was not read is not absent",
    ),
    Condition(
        "fal's clock was known when the first POST began",
        lambda look: look.row.fal_since is not None,
        "clock unknown",
        "B3: a local clock that is minutes off cuts our request out of the window",
    ),
    Condition(
        "the listing begins an hour or more before that, by fal's clock",
        lambda look: (
            look.row.fal_since is not None
            and look.question.since <= look.row.fal_since - _BEFORE_POST_SECONDS
        ),
        "incomplete",
        "B3: the window is wide, by fal's clock",
    ),
    Condition(
        "fal's clock was known at both looks",
        lambda look: look.asked_at is not None and look.row.first_look_at is not None,
        "clock unknown",
        "B4: evidence is as old as the moment before the question, by fal's clock",
    ),
    Condition(
        "the lag, with a margin, has passed between the first look and the moment before this one",
        lambda look: look.wait <= 0,
        "absence unproven",
        "B4: the lag is waited out before the question, not before its answer",
    ),
    Condition(
        "the service lists requests that wait or run",
        lambda look: look.trust.lists_unfinished,
        "absence unproven",
        "§7.3, B8: a listing sorted by its end does not show what has not ended",
    ),
    Condition(
        "absence counts as proof on this service",
        lambda look: look.trust.absence_is_proof,
        "absence unproven",
        "B6: only what was learned or set, or what the embedded server says of itself, is believed",
    ),
)
"""What absence needs beside fal's own answer to the right question: all of it."""


def verdict(
    row: Generation,
    question: Question,
    listing: Listing,
    trust: Trust,
    *,
    claimed: Collection[str] = (),
    waited: float = math.inf,
) -> Verdict:
    """What fal's listing says about a row that is being looked for.

    Args:
        row: as it is now.
        question: as it was made before the listing was asked for.
        listing: its answer.
        trust: how much this service is believed.
        claimed: request ids of other rows (`Ledger.claimed_request_ids`).
        waited: seconds since the caller's first look by its own monotonic clock: how long it goes on looking
            for a match where fal's clock is not known. Nothing is ever absent because of it.
    """
    if row.state not in _LOOKED_FOR or question.state not in _LOOKED_FOR or question.attempt != row.attempt:
        return Wait(0, "the row has moved on since the question")
    if not is_about(question, row):
        return Wait(trust.patience, "another account or service was asked")
    if listing.heard is None or listing.heard.by != "fal":
        return Wait(trust.patience, "fal itself has not answered")
    look = Look(
        row, question, listing, trust, sort_out(listing.items, row, _window(row, listing), claimed), waited
    )
    if look.sorted.ours:
        return _found(look)
    if row.state is State.PARKED:
        return Undecidable("absence unproven", "fal still does not show it", attempt=row.attempt)
    if look.asked_at is not None and row.first_look_at is None:
        return LookedAt(look.asked_at.latest, attempt=row.attempt)
    if look.wait > 0:
        return Wait(look.wait, "fal's listing lags")
    for condition in ABSENCE:
        if not condition.holds(look):
            return Undecidable(condition.otherwise, _why(condition, look), attempt=row.attempt)
    return ProvablyAbsent(attempt=row.attempt)


def pause_after(looks: int) -> float:
    """Seconds until fal is asked again, after so many questions in vain: a minute, doubling up to six hours."""
    first, longest = _PAUSES
    return min(first * 2.0 ** min(max(looks - 1, 0), 30), longest)


def is_due(row: Generation, now: float) -> bool:
    """Whether it is time to ask about this row by its id; `now` is the ledger's clock.

    A lost row is asked about for a week.
    """
    if row.look_again_at is not None and row.look_again_at.timestamp() > now:
        return False
    return row.state is not State.LOST or row.gone_at is None or now - row.gone_at < ASK_LOST_SECONDS


_LOOKED_FOR: Final = frozenset({State.UNKNOWN, State.PARKED})


def _found(look: Look) -> Verdict:
    row, (first, *others) = look.row, look.sorted.ours
    ids = ", ".join(sorted(item.request_id for item in look.sorted.ours))
    if others and not row.seed_drawn:
        why = f"several requests have this body, and the seed is not ours: {ids}"
        return Undecidable("ambiguous", why, attempt=row.attempt)
    if not row.seed_drawn and not (look.listing.complete and not look.listing.unreadable):
        why = f"the seed is not ours, and fal's listing may hold another one beside {ids}"
        return Undecidable("incomplete", why, attempt=row.attempt)
    return Found(first.request_id, tuple(item.request_id for item in others), attempt=row.attempt)


def _why(condition: Condition, look: Look) -> str:
    if look.sorted.doubts:
        return look.sorted.doubts[0]
    return f"fal's listing does not show it, which is no proof without this: {condition.needs}"


def _window(row: Generation, listing: Listing) -> Window:
    """When the POSTs of this row can have reached fal; of all attempts, as an earlier one may show up late."""
    asked_at = listing.heard.asked_at if listing.heard is not None else None
    stopped = row.unknown_at or row.posted_at
    if row.fal_since is None:
        slack = _CLOCKS_DIFFER_SECONDS
        return Window(row.created_at.timestamp() - slack, stopped.timestamp() + slack)
    # Whoever was allowed to send had stopped, or lost the permission, when the row became UNKNOWN: by the time that
    # went by on the ledger's clock, and at the latest when it was looked for.
    latest = row.fal_since + (stopped - row.created_at).total_seconds() + _CLOCKS_DIFFER_SECONDS
    looked = row.first_look_at or (asked_at.latest if asked_at is not None else None)
    if looked is not None:
        latest = min(latest, looked + _CLOCKS_DIFFER_SECONDS)
    return Window(row.fal_since - _CLOCKS_DIFFER_SECONDS, latest)
