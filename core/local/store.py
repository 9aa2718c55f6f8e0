"""The database of the embedded fal: what was accepted, what was made, what was charged.

A kill at any moment loses nothing that was answered: SQLite in WAL mode with synchronous=FULL, a request is
committed before its reply is sent, and a charge in the same transaction as the completion it is for.
Everything runs in the store's own thread, so a commit never blocks the event loop.
"""

import asyncio
import secrets
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from prefect_ltx.fal import usd_to_nano
from prefect_ltx.local.rows import (
    SCHEMA,
    SCHEMA_VERSION,
    FileRow,
    Outcome,
    RequestRow,
    file_row,
    request_row,
    to_json,
)

DATABASE_NAME: Final = "local-fal.db"

P = ParamSpec("P")
T = TypeVar("T")


class StoreUnusable(Exception):
    """The data folder cannot be used. The embedded server does not start; nothing in the folder was
    changed."""


class Store:
    """Open a data folder's database; `call` runs a function on its connection in the store's thread."""

    def __init__(self, folder: Path, executor: Executor | None = None) -> None:
        """Open or make the database. `executor` does one thing after another: a thread unless given."""
        self.path = folder / DATABASE_NAME
        self._thread = executor or ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-fal-db")
        try:
            self._db: sqlite3.Connection = self._thread.submit(_open, self.path).result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def call(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(connection, …)` and return what it returns. The functions below are what to pass."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(self._db, *args, **kwargs))

    def call_soon(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `call`, from outside the event loop; blocks until done."""
        return self._thread.submit(lambda: function(self._db, *args, **kwargs)).result()

    def close(self) -> None:
        """Finish what is under way and close the database."""
        self._thread.submit(self._db.close).result()
        self._thread.shutdown()


def secret(db: sqlite3.Connection) -> bytes:
    """The folder's own secret, drawn once: what upload tokens are signed with."""
    with _transaction(db):
        db.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_hex(32),))
    value = db.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()["value"]
    return bytes.fromhex(value)


def server_id(db: sqlite3.Connection) -> str:
    """The folder's own id, drawn once: by what a client knows this server again, whatever its port."""
    with _transaction(db):
        db.execute("INSERT OR IGNORE INTO meta VALUES ('server_id', ?)", (uuid.uuid4().hex,))
    return str(db.execute("SELECT value FROM meta WHERE key = 'server_id'").fetchone()["value"])


def accept(db: sqlite3.Connection, rows: Sequence[RequestRow]) -> list[RequestRow]:
    """Commit accepted requests; gives them back with their place in the order of arrival (`seq`)."""
    names = [f.name for f in fields(RequestRow) if f.name != "seq"]
    statement = (
        f"INSERT INTO requests ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) RETURNING *"  # noqa: S608
    )
    with _transaction(db):
        inserted = [db.execute(statement, [getattr(row, name) for name in names]).fetchone() for row in rows]
    return [request_row(row) for row in inserted]


def started(db: sqlite3.Connection, request_id: str, at: float) -> None:
    """The request is being worked on since `at`."""
    with _transaction(db):
        db.execute(
            "UPDATE requests SET state = 'running', started_at = ? WHERE request_id = ? AND state != 'done'",
            (at, request_id),
        )


def cancel_requested(db: sqlite3.Connection, request_id: str) -> None:
    """Remember across a restart that somebody wants this running request stopped."""
    with _transaction(db):
        db.execute("UPDATE requests SET cancel_requested = 1 WHERE request_id = ?", (request_id,))


def finish(
    db: sqlite3.Connection, row: RequestRow, outcome: Outcome, *, at: float, unit_price: Decimal, logs: str
) -> RequestRow:
    """Completion, charge and file in one transaction. A request that was finished before stays as it was."""
    with _transaction(db):
        changed = db.execute(
            "UPDATE requests SET state = 'done', ended_at = ?, status_code = ?, output = ?, headers = ?,"
            " error = ?, error_type = ?, units = ?, logs = ? WHERE request_id = ? AND state != 'done'",
            (
                at,
                outcome.status_code,
                to_json(outcome.output),
                to_json(outcome.headers),
                outcome.error,
                outcome.error_type,
                None if outcome.units is None else str(outcome.units),
                logs,
                row.request_id,
            ),
        ).rowcount
        if changed and outcome.file is not None:
            _insert_file(db, outcome.file)
        if changed and outcome.units is not None:
            db.execute(
                "INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.request_id,
                    row.endpoint,
                    row.key_id,
                    str(outcome.units),
                    usd_to_nano(outcome.units * unit_price),
                    at,
                    None if outcome.seed is None else str(outcome.seed),
                    row.body_sha,
                ),
            )
    return get(db, row.request_id) or row


def get(db: sqlite3.Connection, request_id: str, /) -> RequestRow | None:
    """One request by its id."""
    row = db.execute("SELECT * FROM requests WHERE request_id = ?", (request_id,)).fetchone()
    return None if row is None else request_row(row)


def unfinished(db: sqlite3.Connection) -> list[RequestRow]:
    """What a server that died left queued or running, in the order of arrival."""
    rows = db.execute("SELECT * FROM requests WHERE state != 'done' ORDER BY seq")
    return [request_row(row) for row in rows]


def undelivered(db: sqlite3.Connection) -> list[RequestRow]:
    """Finished requests whose webhook has not been delivered or given up."""
    rows = db.execute(
        "SELECT * FROM requests WHERE state = 'done' AND webhook IS NOT NULL AND NOT webhook_done"
        " ORDER BY seq"
    )
    return [request_row(row) for row in rows]


def webhook_done(db: sqlite3.Connection, request_id: str) -> None:
    """The webhook of this request is delivered or given up."""
    with _transaction(db):
        db.execute("UPDATE requests SET webhook_done = 1 WHERE request_id = ?", (request_id,))


def set_gone(db: sqlite3.Connection, request_id: str, how: str) -> None:
    """The result has expired ("expired") or the whole request is deleted ("purged")."""
    with _transaction(db):
        db.execute("UPDATE requests SET gone = ? WHERE request_id = ?", (how, request_id))


def add_file(db: sqlite3.Connection, row: FileRow) -> None:
    """Remember a stored file; the same path again replaces it."""
    with _transaction(db):
        _insert_file(db, row)


def find_file(db: sqlite3.Connection, path: str) -> FileRow | None:
    """A stored file by its URL path, expired or not."""
    row = db.execute("SELECT * FROM files WHERE path = ?", (path,)).fetchone()
    return None if row is None else file_row(row)


def forget_uploads(db: sqlite3.Connection, paths: Sequence[str] | None = None) -> int:
    """Delete uploads, those with these URL paths or all; gives how many. What jobs made stays."""
    chosen = "" if paths is None else f" AND path IN ({', '.join('?' * len(paths))})"
    with _transaction(db):
        return db.execute(f"DELETE FROM files WHERE request_id IS NULL{chosen}", paths or ()).rowcount  # noqa: S608


def _insert_file(db: sqlite3.Connection, row: FileRow) -> None:
    values = [getattr(row, f.name) for f in fields(FileRow)]
    db.execute(f"INSERT OR REPLACE INTO files VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608


class _transaction:  # noqa: N801  (reads as a statement)
    """BEGIN IMMEDIATE … COMMIT; sqlite3's own context manager does not begin."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _open(path: Path) -> sqlite3.Connection:
    try:
        # Python 3.11's sqlite3 has no autocommit=; isolation_level=None means that we begin and commit.
        db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        _check_version(db)
        db.executescript(SCHEMA)
        db.execute("INSERT OR IGNORE INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path} cannot be used as the embedded fal's database: {error}") from error
    return db


def _check_version(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.OperationalError):
        found = db.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
        if found is not None and found["value"] != str(SCHEMA_VERSION):
            raise StoreUnusable(
                "The data folder was written by another version of the embedded fal (schema "
                f"{found['value']}, this one knows {SCHEMA_VERSION}). Use a new folder."
            )
