"""Recording one event in an open transaction: the machine decides, and this writes down what it decided.

Facts about the world are recorded whoever brings them. What leads to a POST, or ends an attempt, is a
decision: only the owner that holds the lease may bring it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from prefect_ltx.ledger import locks, schema, stops
from prefect_ltx.ledger.accounts import Acting, check_ours
from prefect_ltx.ledger.errors import GenerationNotFound, LeaseLost, RequestClaimed
from prefect_ltx.ledger.life.budget import BudgetLimit
from prefect_ltx.ledger.life.events import (
    Event,
    Found,
    NotSent,
    OwnerLost,
    PostStarted,
    ProvablyAbsent,
    Rejected,
    RemoteFailed,
    ReplyLost,
    Resolved,
    Settled,
    Undecidable,
    public_detail,
    request_id_of,
)
from prefect_ltx.ledger.life.machine import Step, advance
from prefect_ltx.ledger.life.states import UNFINISHED, Effect, State
from prefect_ltx.ledger.owner import Owner
from prefect_ltx.ledger.reading import forget_uploads
from prefect_ltx.ledger.records import Generation
from prefect_ltx.ledger.rows import changes, generation_of, inserted, storable, updated
from prefect_ltx.ledger.stops import STOP_FACTOR, Stop
from prefect_ltx.runtime import THIS_MACHINE, Runtime

_DECISIONS: Final = (PostStarted, Rejected, NotSent, ProvablyAbsent)
"""Events that permit a POST, or free the key for the next one: only from the holder of the lease."""
_JUDGEMENTS: Final = (ReplyLost, Undecidable)
"""Events about one's own looking: from the holder, or from anybody while nobody works on the row."""
_UNREAD_MEDIA: Final = ("file_download_error", "image_load_error")
"""fal's types of an error about an input that it could not fetch or read; a reason names them."""
_WITHOUT_OWNER: Final = frozenset(State) - UNFINISHED | {State.PARKED, State.LOST}

_table = schema.generation
# Built once: building a statement costs more than running it.
_ROW: Final = select(_table).where(_table.c.id == bindparam("wanted"))
_NEW: Final = _table.insert()
_CHANGE: Final = _table.update().where(_table.c.id == bindparam("wanted"))
_LINE: Final = schema.event.insert()
_ADOPTABLE: Final = (
    select(schema.stray.c.request_id)
    .where(schema.stray.c.key == bindparam("wanted"), schema.stray.c.adopted_by.is_(None))
    .order_by(schema.stray.c.noticed_at, schema.stray.c.request_id)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transaction of one ledger: where, when, and how long a lease is."""

    connection: Connection
    now: float
    lease_seconds: float
    acting: Acting | None = None
    """In whose name; None: every row is this one's."""
    stop_factor: Decimal = STOP_FACTOR
    runtime: Runtime = THIS_MACHINE
    is_dead: Callable[[Owner], bool] = Owner.is_dead
    moves: list[tuple[str, State]] = field(default_factory=list)
    """Which rows came to which states, in order: for those who watch, once it is committed."""
    after: dict[str, Generation] = field(default_factory=dict)
    """Rows as this transaction leaves them, where somebody has read them already."""
    lowered: list[BudgetLimit] = field(default_factory=list)
    """Limits of which a reservation of this transaction left little."""
    stopped: list[Stop] = field(default_factory=list)
    """Stops that this transaction has opened."""
    known: dict[str, Generation] = field(default_factory=dict)
    """Rows as this transaction last read them; nobody else changes them while it is open."""

    def load(self, generation_id: str) -> Generation:
        """The row with this id.

        Raises:
            GenerationNotFound: no row has this id.
        """
        if generation_id not in self.known:
            locks.row(self.connection, generation_id)
            row = self.connection.execute(_ROW, {"wanted": generation_id}).one_or_none()
            if row is None:
                raise GenerationNotFound(f"The ledger has no generation {generation_id}")
            self.known[generation_id] = generation_of(row)
        return self.known[generation_id]

    def is_held(self, row: Generation) -> bool:
        """Whether somebody who may be alive works on the row."""
        return is_held(row, self.now, self.is_dead)

    def load_ours(self, generation_id: str) -> Generation:
        """The same, through the gate.

        Raises:
            AnotherAccount: it is another account's row, or of another service.
        """
        row = self.load(generation_id)
        check_ours(self.acting, row)
        return row

    def update(self, generation_id: str, **values: Any) -> None:
        """Change columns of one row."""
        known = self.known.pop(generation_id, None)
        self.connection.execute(_CHANGE, {"wanted": generation_id, **values})
        if known is not None:  # what was written need not be read again
            self.known[generation_id] = updated(known, values)

    def insert(self, values: Mapping[str, Any]) -> Generation:
        """Make a row; its tags are the caller's to write."""
        self.connection.execute(_NEW, values)
        row = self.known[values["id"]] = inserted(values)
        return row

    def log(self, row: Generation, name: str, actor: str, step: Step | None = None, **detail: Any) -> None:
        """Add a line to the row's history."""
        self.connection.execute(_LINE, self.line(row, name, actor, step, detail))

    def line(
        self, row: Generation, name: str, actor: str, step: Step | None, detail: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A line of the row's history, as the event log's columns."""
        return {
            "generation_id": row.id,
            "at": self.now,
            "actor": storable(actor) or "-",
            "event": name,
            "detail": storable(detail),
            "outcome": step.outcome if step else "recorded",
            "from_state": (step.before.state if step else row.state).value,
            "to_state": (step.after.state if step else row.state).value,
            "attempt": step.after.attempt if step else row.attempt,
            "effects": [effect.value for effect in step.effects] if step else [],
            "because": step.because if step else "",
        }


def record(tx: Transaction, row: Generation, event: Event, *, owner: Owner | None, actor: str) -> Step:
    """Apply `event` to `row` and write down what follows. The lease has been checked.

    Raises:
        RequestClaimed: looking, or a person, named a request that another live row has.
    """
    if isinstance(event, Found | Resolved):
        locks.alone(tx.connection)  # whether another row has the request is asked of all of them
    _check_claimed(tx, row, event)
    if isinstance(event, ProvablyAbsent) and (kept := adoptable_stray(tx, row.key)) is not None:
        # What was thought absent is known after all, from a closed row of the same key.
        event = Found(kept, attempt=row.attempt)
    step = advance(row.snapshot, event)
    values = changes(row, event, step, tx.now)
    if isinstance(event, PostStarted) and step.outcome == "recorded":
        values |= {"posted_at": tx.now, "begun_attempt": row.attempt}
    if Effect.POST_ONCE in step.effects:
        # A permission to POST; whoever holds it without a promise to announce may use it at any moment.
        values |= {
            "posted_at": tx.now,
            "post_may_have_left": owner is not None and not owner.announces_posts,
        }
    if step.after.state in _WITHOUT_OWNER and row.owner is not None and step.moved:
        values |= {"owner": None, "lease_until": None}
    if values:
        tx.update(row.id, **values)
        _stop_where_absurd(tx, row, event, values)
    tx.log(row, type(event).__name__, actor, step, **public_detail(event))
    if isinstance(event, RemoteFailed) and any(kind in event.reason for kind in _UNREAD_MEDIA):
        _forget_media(tx, row)
    if step.moved:
        tx.moves.append((row.id, step.after.state))
    if isinstance(event, Found):
        _mark_adopted(tx, row, event.request_id)
    for request_id in step.strays:
        _keep_stray(tx, row, request_id, step)
    return step


def check_lease(tx: Transaction, row: Generation, event: Event, owner: Owner | None) -> None:
    """Refuse a decision by somebody who does not hold the lease.

    Raises:
        LeaseLost: with who holds it instead.
    """
    if owner is not None and row.owner == owner.token:
        return
    if isinstance(event, Resolved) and event.choice == "absent" and tx.is_held(row):
        raise lease_lost(row)  # its owner may be looking, or sending, at this very moment
    judged = isinstance(event, _JUDGEMENTS) and (owner is not None or tx.is_held(row))
    stolen = isinstance(event, OwnerLost) and tx.is_held(row)
    if isinstance(event, _DECISIONS) or judged or stolen:
        raise lease_lost(row)


def lease_lost(row: Generation) -> LeaseLost:
    """The refusal, naming who has the row now."""
    holder = Owner.parse(row.owner) if row.owner else None
    has = f"is worked on by {holder.label}" if holder else f"is {row.state} and is not this owner's any more"
    return LeaseLost(
        f"Generation {row.id} {has}",
        bill="Nothing more is sent by this one",
        next_step="Stop working on it, or take it again",
    )


def is_held(row: Generation, now: float, is_dead: Callable[[Owner], bool] = Owner.is_dead) -> bool:
    """Whether somebody who may be alive works on the row."""
    if row.owner is None or row.lease_until is None or row.lease_until.timestamp() <= now:
        return False
    holder = Owner.parse(row.owner)
    return holder is None or not is_dead(holder)


def adoptable_stray(tx: Transaction, key: str) -> str | None:
    """A request of this key that ran without a live row and that no row has adopted yet."""
    return tx.connection.scalar(_ADOPTABLE, {"wanted": key})


def _check_claimed(tx: Transaction, row: Generation, event: Event) -> None:
    named = request_id_of(event)
    if not isinstance(event, Found | Resolved) or named is None or row.request_id is not None:
        return
    query = select(_table.c.id).where(_table.c.request_id == named, _table.c.live == 1, _table.c.id != row.id)
    if (other := tx.connection.scalar(query)) is not None:
        raise RequestClaimed(
            f"Request {named} belongs to generation {other}",
            bill="Nothing was sent",
            next_step="Look again without it",
        )


def _stop_where_absurd(tx: Transaction, row: Generation, event: Event, values: Mapping[str, Any]) -> None:
    billed = values.get("settled_nano")
    if billed is None or (isinstance(event, Settled) and event.source == "person"):
        return
    if (
        stop := stops.open_where_absurd(tx.connection, tx.now, row, billed, tx.stop_factor, tx.runtime.uuid())
    ) is not None:
        tx.stopped.append(stop)


def _forget_media(tx: Transaction, row: Generation) -> None:
    """fal could not read an input, so nobody relies on where it was uploaded: the next run uploads it again."""
    media = row.asked.get("media", {})
    forget_uploads(
        tx.connection, row.account, [each["sha256"] for each in media.values() if "sha256" in each]
    )


def _mark_adopted(tx: Transaction, row: Generation, request_id: str) -> None:
    strays = schema.stray
    tx.connection.execute(
        strays.update()
        .where(strays.c.key == row.key, strays.c.request_id == request_id, strays.c.adopted_by.is_(None))
        .values(adopted_by=row.id)
    )


def _keep_stray(tx: Transaction, row: Generation, request_id: str, step: Step) -> None:
    strays = schema.stray
    known = select(strays.c.request_id).where(strays.c.request_id == request_id, strays.c.key == row.key)
    if tx.connection.scalar(known) is not None:
        return
    kind = "ran_after_all" if Effect.KEEP_STRAY in step.effects else "double_charge"
    tx.connection.execute(
        strays.insert().values(
            request_id=request_id,
            key=row.key,
            endpoint=row.endpoint,
            generation_id=row.id,
            kind=kind,
            noticed_at=tx.now,
        )
    )
