"""Read queries behind the Platform API: requests, charges. Each sees one key id's rows only."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from prefect_ltx.local.rows import Charge, RequestRow, charge_row, request_row

_STATUS_CODES: Final = {
    "success": "status_code BETWEEN 200 AND 299",
    "user_error": "status_code BETWEEN 400 AND 499",
    "error": "status_code >= 500",
}

# By submission, newest first: unlike fal's ended_at this order does not change under somebody who pages.
_ORDERS: Final = {
    None: "seq DESC",
    "ended_at": "ended_at IS NOT NULL, ended_at DESC, seq DESC",
    "duration": "ended_at - started_at DESC, seq DESC",
}


@dataclass(frozen=True)
class RequestFilter:
    """What to list. Times are unix seconds of the submit, or of the end `by_ended_at`, which leaves out what has
    none yet; `last_seq` holds a paged listing to its first
    page's view, so that newer requests do not push older ones over a page's edge."""

    key_id: str
    endpoints: Sequence[str]
    start: float
    end: float | None = None
    visible_before: float | None = None
    started_only: bool = False
    status: str | None = None
    request_id: str | None = None
    order: str | None = None
    last_seq: int | None = None
    by_ended_at: bool = False


def list_requests(
    db: sqlite3.Connection, wanted: RequestFilter, *, offset: int, limit: int
) -> list[RequestRow]:
    """One page, direct runs included, purged requests not."""
    moment = "ended_at" if wanted.by_ended_at else "submitted_at"
    clauses = [
        "key_id = ?",
        f"endpoint IN ({', '.join('?' * len(wanted.endpoints))})",
        f"{moment} >= ?",
        "(gone IS NULL OR gone != 'purged')",
    ]
    values: list[Any] = [wanted.key_id, *wanted.endpoints, wanted.start]
    for clause, value in (
        (f"{moment} < ?", wanted.end),
        ("submitted_at <= ?", wanted.visible_before),
        ("request_id = ?", wanted.request_id),
        ("seq <= ?", wanted.last_seq),
    ):
        if value is not None:
            clauses.append(clause)
            values.append(value)
    if wanted.started_only:
        clauses.append("started_at IS NOT NULL")
    if wanted.status is not None:
        clauses.append(_STATUS_CODES[wanted.status])
    query = (
        f"SELECT * FROM requests WHERE {' AND '.join(clauses)}"  # noqa: S608  (only the constants above)
        f" ORDER BY {_ORDERS[wanted.order or ('ended_at' if wanted.by_ended_at else None)]} LIMIT ? OFFSET ?"
    )
    return [request_row(row) for row in db.execute(query, [*values, limit, offset])]


def newest_seq(db: sqlite3.Connection) -> int:
    """The place of the request that arrived last; 0 before the first."""
    return int(db.execute("SELECT coalesce(max(seq), 0) AS seq FROM requests").fetchone()["seq"])


def list_charges(
    db: sqlite3.Connection,
    key_id: str,
    *,
    start: float,
    end: float,
    endpoints: Sequence[str] = (),
    request_ids: Sequence[str] = (),
) -> list[Charge]:
    """Charges of one key id, newest first. No endpoints or ids given: any."""
    clauses, values = ["key_id = ?", "at >= ?", "at < ?"], [key_id, start, end]
    for column, wanted in (("endpoint", endpoints), ("request_id", request_ids)):
        if wanted:
            clauses.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += wanted
    query = f"SELECT * FROM charges WHERE {' AND '.join(clauses)} ORDER BY at DESC, request_id DESC"  # noqa: S608
    return [charge_row(row) for row in db.execute(query, values)]


def every_request(db: sqlite3.Connection, limit: int) -> list[RequestRow]:
    """The newest requests of all accounts, for the control page."""
    rows = db.execute("SELECT * FROM requests ORDER BY seq DESC LIMIT ?", (limit,))
    return [request_row(row) for row in rows]
