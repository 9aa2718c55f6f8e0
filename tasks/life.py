"""The life of every generation as Prefect events, told from the one place that all of them pass: the ledger.

A single flow, a batch, a film, the sweep and a webhook receiver move the same rows. Whoever imports this room
has its process's ledgers watched; what they write is told after it is written, and telling decides nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from prefect_ltx.ledger import BudgetLow, Generation, Moved, News, SpendingStop, State, watch
from prefect_ltx.tasks.assets import emit_archived_video
from prefect_ltx.tasks.events import (
    GenerationEvent,
    emit_budget_low,
    emit_generation,
    emit_spending_stopped,
    is_attended,
)

_EVENTS: Final[Mapping[State, GenerationEvent]] = MappingProxyType(
    {
        State.INTENDED: "planned",
        State.SUBMITTED: "submitted",
        State.COMPLETED: "completed",
        State.ARCHIVED: "archived",
        State.FAILED: "failed",
        State.CANCELLED: "cancelled",
        State.PARKED: "parked",
        State.LOST: "lost",
        State.WRITTEN_OFF: "lost",
    }
)
"""UNKNOWN and COLLECTED are passed on the way and are not told."""
_ON_THE_WAY: Final = frozenset({"planned", "submitted", "completed"})
_ends_only: Final[set[str]] = set()


@contextmanager
def only_ends(run_id: str | None) -> Iterator[None]:
    """Tell of what this flow run attends only how it ends.

    An event costs a Prefect server and its sender about as much as one request to fal each, and nobody acts on a
    step that a living run takes by itself. Steps of what it no longer attends are told as ever.
    """
    if run_id is None:
        yield
        return
    _ends_only.add(run_id)
    try:
        yield
    finally:
        _ends_only.discard(run_id)


def tell_prefect(news: News) -> None:
    """Send the events of what a ledger wrote."""
    if isinstance(news, BudgetLow):
        emit_budget_low(news.status, ledger=news.ledger_id, period_start=news.period_start)
        return
    if isinstance(news, SpendingStop):
        emit_spending_stopped(news.stop, news.generation, ledger=news.ledger_id)
        return
    what = event_of(news)
    if what is None or (what in _ON_THE_WAY and _only_its_end(news.generation)):
        return
    emit_generation(what, news.generation)
    if what == "archived":
        emit_archived_video(news.generation)


def event_of(news: Moved) -> GenerationEvent | None:
    """What a move is called among the events; None for one that is not told."""
    if news.state is State.RELEASED:
        return "cancelled" if news.generation.cancel_requested else "failed"
    if news.state is State.INTENDED and _was_sent_before(news.generation):
        return None
    return _EVENTS.get(news.state)


def _only_its_end(generation: Generation) -> bool:
    return generation.flow_run_id in _ends_only and is_attended(generation)


def _was_sent_before(generation: Generation) -> bool:
    # Provably absent and permitted again: the same generation, planned long ago.
    return generation.attempt > 1


watch(tell_prefect)
