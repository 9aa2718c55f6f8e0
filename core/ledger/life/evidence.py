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
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from prefect_ltx.ledger.life.answers import Answer, Asked, Heard, Moment, Reply, proof_of
from prefect_ltx.ledger.life.asking import (
    ASK_LOST_SECONDS,
    BEFORE_POST_SECONDS,
    Question,
    Trust,
    about,
    is_about,
    is_due,
    pause_after,
)
from prefect_ltx.ledger.life.events import (
    Doubt,
    Event,
    Found,
    LookedAt,
    ProvablyAbsent,
    Undecidable,
)
from prefect_ltx.ledger.life.matching import Listing, Sorted, Window, sort_out
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.records import Generation

__all__ = [
    "ABSENCE",
    "ASK_LOST_SECONDS",
    "Condition",
    "Listing",
    "Look",
    "Question",
    "Trust",
    "Verdict",
    "Wait",
    "about",
    "is_about",
    "is_due",
    "pause_after",
    "verdict",
    "what_it_proves",
]

_CLOCKS_DIFFER_SECONDS: Final = 300.0
"""What two clocks that were not compared may differ by, where only a match is at stake and never its absence."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is proven: ask again after `seconds`."""

    seconds: float
    because: str = ""


Verdict = Found | LookedAt | ProvablyAbsent | Undecidable | Wait


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
        "design, Evidence: a local clock that is minutes off cuts our request out of the window",
    ),
    Condition(
        "the listing begins an hour or more before that, by fal's clock",
        lambda look: (
            look.row.fal_since is not None and look.question.since <= look.row.fal_since - BEFORE_POST_SECONDS
        ),
        "incomplete",
        "design, Evidence: the window is wide, by fal's clock",
    ),
    Condition(
        "fal's clock was known at both looks",
        lambda look: look.asked_at is not None and look.row.first_look_at is not None,
        "clock unknown",
        "design, Evidence: evidence is as old as the moment before the question, by fal's clock",
    ),
    Condition(
        "the lag, with a margin, has passed between the first look and the moment before this one",
        lambda look: look.wait <= 0,
        "absence unproven",
        "design, Evidence: the lag is waited out before the question, not before its answer",
    ),
    Condition(
        "the service lists requests that wait or run",
        lambda look: look.trust.lists_unfinished,
        "absence unproven",
        "§7.3: a listing sorted by its end does not show what has not ended",
    ),
    Condition(
        "absence counts as proof on this service",
        lambda look: look.trust.absence_is_proof,
        "absence unproven",
        "design, Evidence: only what was learned or set, or what the embedded server says of itself, is believed",
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


def what_it_proves(
    asked: Asked,
    row: Generation,
    question: Question,
    reply: Reply,
    trust: Trust,
    *,
    usd: Decimal | None = None,
) -> Event | None:
    """What an answer about one request proves: an event to record, or None for nothing.

    `FailsToSay` is no verdict, only a note with a growing pause: for whoever stops asking for now.

    Args:
        asked: what was asked for: the submit itself, a status, a result, a cancel, the video's file.
        row: as it is now.
        question: as it was made before asking.
        reply: the answer, or the `FalError` in its place.
        trust: how much this service is believed.
        usd: what fal bills for the result, where the unit price is known; a guess is no bill.
    """
    heard: Heard | None = getattr(reply, "heard", None)
    line = proof_of(asked, reply, heard)
    if line is None or not is_about(question, row):
        return None
    if asked == "submit":
        same = question.attempt == row.attempt
    else:
        same = question.request_id is not None and question.request_id == row.request_id
    return line.event(Answer(row, reply, heard, usd, trust.gone_apart)) if same else None


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
