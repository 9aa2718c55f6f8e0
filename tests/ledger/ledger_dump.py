"""A ledger as SQL text, kept for every released schema version: `PYTHONPATH=tests python tests/ledger/ledger_dump.py`.

It holds one row in each state, double charges, strays, uploads and a history, and goes on loading for ever.
Run it once when a schema version is released, and commit the two files.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ledger_parts import Clock, a_plan, an_owner, archived, completed, lost, submitted
from postgres import running_postgres

from prefect_ltx.ledger import (
    Accepted,
    CancelAnswered,
    CancelRequested,
    Collected,
    Found,
    Ledger,
    NotSent,
    RemoteFailed,
    ReplyLost,
    Resolved,
    Settled,
    State,
    Undecidable,
)
from prefect_ltx.ledger.schema import SCHEMA_VERSION, metadata

FIXTURES = Path(__file__).parent / "fixtures"


def fill(ledger: Ledger, clock: Clock) -> None:
    """One row in each state, named after it."""
    me = an_owner("fixture")
    for state in State:
        clock.sleep(10)
        plan = a_plan(f"key-{state}", tags=("fixture", state.lower()), flow_run_id=f"run-{state}")
        request = f"request-{state}"
        match state:
            case State.INTENDED:
                ledger.claim(plan, me)
            case State.UNKNOWN | State.PARKED:
                row = ledger.claim(plan, me).generation
                ledger.begin_post(row.id, me)
                ledger.record(row.id, ReplyLost("reset", attempt=1), owner=me)
                if state is State.PARKED:
                    ledger.record(row.id, Undecidable("forbidden", attempt=1), owner=me)
            case State.SUBMITTED:
                row = submitted(ledger, plan, me, request)
                ledger.record(row.id, Accepted("request-second"))
            case State.COMPLETED:
                completed(ledger, plan, me, request)
            case State.COLLECTED:
                row = completed(ledger, plan, me, request)
                ledger.record(row.id, Collected("c" * 64, 1234, "/work/video.mp4", {"frames": 121}))
            case State.ARCHIVED:
                row = archived(ledger, plan, me, request)
                ledger.record(row.id, Settled(None, row.price_expected_usd, "billing_events"))
            case State.LOST:
                lost(ledger, completed(ledger, plan, me, request))
            case State.RELEASED:
                row = ledger.claim(plan, me).generation
                ledger.record(row.id, NotSent("refused", attempt=1), owner=me)
                ledger.record(row.id, Found("request-stray", attempt=1))
            case State.FAILED:
                ledger.record(submitted(ledger, plan, me, request).id, RemoteFailed("422", "maybe"))
            case State.CANCELLED:
                row = submitted(ledger, plan, me, request)
                ledger.record(row.id, CancelRequested("ada"))
                ledger.record(row.id, CancelAnswered("cancelled"))
            case State.WRITTEN_OFF:
                ledger.record(submitted(ledger, plan, me, request).id, Resolved("write_off", by="ada"))
    ledger.save_upload(
        "account-1", "a" * 64, "https://cdn.example/sheet.png", "image/png", 10, clock.now + 3600
    )


def sqlite_dump() -> Iterator[str]:
    """The SQLite ledger as SQL."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        with Ledger(f"sqlite:///{folder}/ledger.db", clock=clock) as ledger:
            fill(ledger, clock)
        connection = sqlite3.connect(f"{folder}/ledger.db")
        yield from connection.iterdump()
        connection.close()


def postgres_dump(url: str) -> Iterator[str]:
    """The PostgreSQL ledger as SQL."""
    import psycopg
    from psycopg import sql
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateIndex, CreateTable

    clock = Clock()
    with Ledger(url, clock=clock) as ledger:
        fill(ledger, clock)
    dialect = postgresql.dialect()
    with psycopg.connect(url) as connection:
        for table in metadata.sorted_tables:
            yield f"{str(CreateTable(table).compile(dialect=dialect)).strip()};"
            yield from (
                f"{CreateIndex(index).compile(dialect=dialect)};" for index in sorted(table.indexes, key=str)
            )
            names = [sql.Identifier(column.name) for column in table.columns]
            cells = [
                sql.SQL("{}::text").format(name) if str(column.type) == "JSON" else name
                for name, column in zip(names, table.columns, strict=True)
            ]
            query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(cells), sql.Identifier(table.name))
            for row in connection.execute(query):
                values = sql.SQL(", ").join(sql.Literal(value) for value in row)
                insert = sql.SQL("INSERT INTO {} VALUES ({});").format(sql.Identifier(table.name), values)
                yield insert.as_string(connection)
        yield "SELECT setval('ltx_event_id_seq', (SELECT max(id) FROM ltx_event));"


if __name__ == "__main__":
    (FIXTURES / f"v{SCHEMA_VERSION}-sqlite.sql").write_text("\n".join(sqlite_dump()) + "\n")
    with running_postgres() as server:
        (FIXTURES / f"v{SCHEMA_VERSION}-postgresql.sql").write_text("\n".join(postgres_dump(server)) + "\n")
