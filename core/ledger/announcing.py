"""Which finished generations nobody collects: told to the world, and told again while that stays so.

An event may be lost between us and whoever listens, and nobody answers it. So each telling is a line of the row's
history, and a row that is still not collected is told again, after pauses that double.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true

from prefect_ltx.ledger import schema
from prefect_ltx.ledger.accounts import Acting
from prefect_ltx.ledger.claiming import hand_back
from prefect_ltx.ledger.life.events import WebhookReceived
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.owner import Owner
from prefect_ltx.ledger.recording import Transaction, is_held
from prefect_ltx.ledger.records import Generation
from prefect_ltx.ledger.rows import generation_of

LONGEST_PAUSE_SECONDS = 24 * 3600.0
ANNOUNCED = "Announced"
"""The name of the line in a row's history."""

_table = schema.generation
_events = schema.event


@dataclass(frozen=True, slots=True)
class Announcement:
    """A generation that fal has finished, that nobody collects. `number` counts from 1 for each generation."""

    generation: Generation
    number: int


def due(
    connection: Connection,
    now: float,
    again_after: float,
    acting: Acting | None = None,
    is_dead: Callable[[Owner], bool] = Owner.is_dead,
) -> list[Announcement]:
    """What is to be announced now. Reads only."""
    ours = acting.ours() if acting is not None else true()
    query = select(_table).where(_finished_at_fal(), ours).order_by(_table.c.completed_at, _table.c.id)
    idle = [
        row
        for row in map(generation_of, connection.execute(query))
        if not is_held(row, now, is_dead) and row.cancel != "wanted"
    ]
    told = _told(connection, [row.id for row in idle])
    found = []
    for row in idle:
        times, last = told.get(row.id, (0, 0.0))
        pause = min(again_after * 2.0 ** min(times - 1, 30), LONGEST_PAUSE_SECONDS)
        if not times or now >= last + pause:
            found.append(Announcement(row, times + 1))
    return found


def take_announcements(tx: Transaction, again_after: float, actor: str) -> list[Announcement]:
    """See `Ledger.take_announcements`."""
    taken = []
    for each in due(tx.connection, tx.now, again_after, tx.acting, tx.is_dead):
        row = each.generation
        if row.owner is not None:  # of a run that is dead: what is told is that nobody has it
            row = hand_back(tx, row, actor)
        tx.log(row, ANNOUNCED, actor, number=each.number)
        taken.append(Announcement(row, each.number))
    return taken


def _finished_at_fal() -> ColumnElement[bool]:
    # A webhook without a readable payload leaves the row SUBMITTED: the result is asked by id.
    named_done = select(_events.c.generation_id).where(
        _events.c.generation_id == _table.c.id,
        _events.c.event == WebhookReceived.__name__,
        _events.c.outcome == "recorded",
    )
    return or_(
        _table.c.state == State.COMPLETED.value,
        and_(_table.c.state == State.SUBMITTED.value, named_done.exists()),
    )


def _told(connection: Connection, row_ids: list[str]) -> dict[str, tuple[int, float]]:
    if not row_ids:
        return {}
    query = (
        select(_events.c.generation_id, func.count(), func.max(_events.c.at))
        .where(_events.c.generation_id.in_(row_ids), _events.c.event == ANNOUNCED)
        .group_by(_events.c.generation_id)
    )
    return {row_id: (times, last) for row_id, times, last in connection.execute(query)}
