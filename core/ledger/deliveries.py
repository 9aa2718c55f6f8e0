"""Webhooks into the ledger, many in one transaction: each is recorded once, and nothing here permits a POST.

A delivery finds its row by fal's request id, which fal told us itself, or else by the nonce in the URL. Of the
nonce's row only what is confirmed is taken over: whoever learned a nonce could have fal sign a request of their own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, bindparam, select

from prefect_ltx.ledger import schema
from prefect_ltx.ledger.life.events import RemoteCancelled, RemoteCompleted, RemoteFailed, WebhookReceived
from prefect_ltx.ledger.life.machine import Step
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.recording import Transaction, record
from prefect_ltx.ledger.records import Generation
from prefect_ltx.ledger.rows import generation_from

DeliveryOutcome = Literal["recorded", "duplicate", "unconfirmed", "unknown", "another account"]

_table = schema.generation
_events = schema.event
_WAITED_FOR: Final = frozenset({State.SUBMITTED, State.LOST})


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook whose signature was verified.

    `end` is what its payload says of the end of the request; None where the result has to be asked by id.
    `confirmed` says that fal, asked with our own key, knows the request as ours.
    """

    nonce: str = field(repr=False)
    request_id: str
    ok: bool
    end: RemoteCompleted | RemoteFailed | RemoteCancelled | None = None
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a delivery.

    `outcome`: recorded · duplicate (known already, nothing was written) · unconfirmed (its nonce's row has no or
    another request; give it again once confirmed) · unknown (no row has the request or the nonce) · another account
    (the row is not this account's and is left alone). `moved`: whether the row's state changed; `generation` is the
    row as it is now.
    """

    outcome: DeliveryOutcome
    generation: Generation | None = None
    moved: bool = False


def receive(tx: Transaction, deliveries: Sequence[Delivery], actor: str) -> list[Receipt]:
    """See `Ledger.receive`."""
    bulk = _Bulk(**{item.name: getattr(tx, item.name) for item in fields(Transaction)})
    by_request = bulk.fetch(_table.c.request_id, {each.request_id for each in deliveries})
    strange = {each.nonce for each in deliveries if each.request_id not in by_request}
    by_nonce = bulk.fetch(_table.c.nonce, strange)
    heard = bulk.heard()
    receipts = []
    for each in deliveries:
        row_id = by_request.get(each.request_id) or by_nonce.get(each.nonce)
        receipts.append(
            Receipt("unknown") if row_id is None else _receive(bulk, bulk.load(row_id), each, heard, actor)
        )
    bulk.flush()
    return receipts


def _receive(
    bulk: "_Bulk", row: Generation, given: Delivery, heard: set[tuple[str, str, bool]], actor: str
) -> Receipt:
    if bulk.acting is not None and not bulk.acting.owns(row):
        return Receipt("another account", row)
    if row.request_id != given.request_id and not given.confirmed:
        return Receipt("unconfirmed", row)
    words = (row.id, given.request_id, given.ok)
    # A repetition may bring the payload that could not be written the first time; anything else is known.
    if words in heard and (given.end is None or row.state not in _WAITED_FOR):
        return Receipt("duplicate", row)
    heard.add(words)
    steps: list[Step] = [
        record(bulk, row, WebhookReceived(given.request_id, given.ok), owner=None, actor=actor)
    ]
    if given.end is not None:
        steps.append(record(bulk, bulk.load(row.id), given.end, owner=None, actor=actor))
    bulk.after[row.id] = bulk.load(row.id)
    return Receipt("recorded", bulk.after[row.id], any(step.moved for step in steps))


@dataclass(frozen=True, slots=True)
class _Bulk(Transaction):
    """A transaction that reads its rows first and writes them last, with one statement for many rows."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def fetch(self, column: ColumnElement[Any], values: Iterable[str]) -> dict[str, str]:
        """Read the rows with these values; gives row ids by value, the live and newest row of each."""
        if not (wanted := sorted(values)):
            return {}
        # The last of a value wins below.
        query = select(_table).where(column.in_(wanted)).order_by(_table.c.live, _table.c.created_at)
        found: dict[str, str] = {}
        for row in self.connection.execute(query).mappings():
            self.rows.setdefault(row["id"], dict(row))
            found[row[column.key or ""]] = row["id"]
        return found

    def heard(self) -> set[tuple[str, str, bool]]:
        """Row, request and status of every webhook that these rows have received already."""
        if not self.rows:
            return set()
        query = select(_events.c.generation_id, _events.c.detail).where(
            _events.c.generation_id.in_(sorted(self.rows)), _events.c.event == WebhookReceived.__name__
        )
        return {
            (row_id, str(detail.get("request_id")), bool(detail.get("ok")))
            for row_id, detail in self.connection.execute(query)
        }

    def load(self, generation_id: str) -> Generation:
        """The row with what was changed so far."""
        return generation_from(self.rows[generation_id])

    def update(self, generation_id: str, **values: Any) -> None:
        """Change columns of one row, at the end."""
        self.rows[generation_id] |= values
        self.changed.setdefault(generation_id, {}).update(values)

    def log(self, row: Generation, name: str, actor: str, step: Step | None = None, **detail: Any) -> None:
        """Add a line to the row's history, at the end."""
        self.lines.append(self.line(row, name, actor, step, detail))

    def flush(self) -> None:
        """Write everything: one statement for the lines, and one for the rows that change in the same columns."""
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row_id, values in self.changed.items():
            named = {f"new_{name}": value for name, value in values.items()}
            groups.setdefault(tuple(sorted(values)), []).append({"row_id": row_id, **named})
        for columns, parameters in groups.items():
            statement = (
                _table.update()
                .where(_table.c.id == bindparam("row_id"))
                .values({name: bindparam(f"new_{name}") for name in columns})
            )
            self.connection.execute(statement, parameters)
        if self.lines:
            self.connection.execute(_events.insert(), self.lines)
