"""Asking fal about a row: who is asked about what, how much the service is believed, and when to ask again."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from prefect_ltx.ledger.life.events import GONE_APART_SECONDS
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.records import Generation

ASK_LOST_SECONDS: Final = 7 * 24 * 3600.0
"""How long a lost result is asked for again."""
BEFORE_POST_SECONDS: Final = 3600.0
"""How long before the first POST a listing has to begin, so that no rounding and no lagging clock cuts it off."""
_PAUSES: Final = (60.0, 6 * 3600.0)
_UNKNOWN_CLOCK_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is about to be asked: of whom, about which row and attempt. Made before asking, never after."""

    generation_id: str
    attempt: int
    state: State
    request_id: str | None
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


def about(row: Generation, *, account: str, service: str) -> Question:
    """The question that is going to be asked about `row`, with this account's key, of this service."""
    if row.fal_since is not None:
        since = row.fal_since - 2 * BEFORE_POST_SECONDS
    else:
        since = row.created_at.timestamp() - _UNKNOWN_CLOCK_SECONDS
    return Question(row.id, row.attempt, row.state, row.request_id, account, service, since)


def is_about(question: Question, row: Generation) -> bool:
    """Whether the question was asked of the row's own account and service."""
    return (
        question.generation_id == row.id
        and question.account == row.account
        and row.service in ("", question.service)
    )


def pause_after(looks: int) -> float:
    """Seconds until fal is asked again, after so many questions in vain: a minute, doubling up to six hours."""
    first, longest = _PAUSES
    return min(first * 2.0 ** min(max(looks - 1, 0), 30), longest)


def is_due(row: Generation, now: float) -> bool:
    """Whether it is time to ask about this row by its id; `now` is the ledger's clock.

    A lost row is asked about until its pauses add up to a week: its `gone_at` is by fal's clock, not by this one.
    """
    if row.look_again_at is not None and row.look_again_at.timestamp() > now:
        return False
    return row.state is not State.LOST or sum(map(pause_after, range(1, row.looks))) < ASK_LOST_SECONDS
