"""What the database of the embedded fal remembers: one dataclass a table, and the schema itself."""

import json
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final, Literal

from prefect_ltx.fal import nano_to_usd

SCHEMA_VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    key_id TEXT NOT NULL,
    body TEXT NOT NULL,
    body_sha TEXT NOT NULL,
    origin TEXT NOT NULL,
    webhook TEXT,
    webhook_done INTEGER NOT NULL DEFAULT 0,
    low_priority INTEGER NOT NULL DEFAULT 0,
    direct INTEGER NOT NULL DEFAULT 0,
    store_io INTEGER NOT NULL DEFAULT 1,
    start_timeout REAL,
    file_lifetime REAL,
    state TEXT NOT NULL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    submitted_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    status_code INTEGER,
    output TEXT,
    headers TEXT NOT NULL DEFAULT '{}',
    error TEXT,
    error_type TEXT,
    units TEXT,
    logs TEXT NOT NULL DEFAULT '[]',
    gone TEXT
);
CREATE INDEX IF NOT EXISTS requests_unfinished ON requests (state) WHERE state != 'done';
CREATE INDEX IF NOT EXISTS requests_listing ON requests (key_id, endpoint, seq);
CREATE TABLE IF NOT EXISTS charges (
    request_id TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    key_id TEXT NOT NULL,
    units TEXT NOT NULL,
    nano_usd INTEGER NOT NULL,
    at REAL NOT NULL,
    seed TEXT,
    body_sha TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY,
    disk TEXT NOT NULL,
    name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    request_id TEXT
);
"""

State = Literal["queued", "running", "done"]


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One accepted request. `body` is the JSON text as it was POSTed; `output` is the model's answer or error
    body, its file URL still a path; times are unix seconds; `gone` is "expired" or "purged"."""

    request_id: str
    endpoint: str
    key_id: str
    body: str
    body_sha: str
    origin: str
    submitted_at: float
    webhook: str | None = None
    webhook_done: int = 0
    low_priority: int = 0
    direct: int = 0
    store_io: int = 1
    start_timeout: float | None = None
    file_lifetime: float | None = None
    state: State = "queued"
    cancel_requested: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    status_code: int | None = None
    output: str | None = None
    headers: str = "{}"
    error: str | None = None
    error_type: str | None = None
    units: str | None = None
    logs: str = "[]"
    gone: str | None = None
    seq: int = 0

    @property
    def inference_seconds(self) -> float | None:
        """How long it ran, once it has ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.started_at


@dataclass(frozen=True, slots=True)
class FileRow:
    """One stored file: `path` is its URL path (`/files/b/…`), `disk` its name in the data folder."""

    path: str
    disk: str
    name: str
    content_type: str
    size: int
    sha256: str
    created_at: float
    expires_at: float | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of the bill: exactly one a request id. `at` is unix seconds, `units` megapixels."""

    request_id: str
    endpoint: str
    units: Decimal
    usd: Decimal
    at: float
    seed: int | None
    body_sha: str
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. `units` is what is billed (None: nothing), `file` what it made."""

    status_code: int
    output: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    error_type: str | None = None
    units: Decimal | None = None
    seed: int | None = None
    file: FileRow | None = None


def request_row(row: Any) -> RequestRow:
    """From a row of the `requests` table."""
    return RequestRow(**{f.name: row[f.name] for f in fields(RequestRow)})


def file_row(row: Any) -> FileRow:
    """From a row of the `files` table."""
    return FileRow(**{f.name: row[f.name] for f in fields(FileRow)})


def charge_row(row: Any) -> Charge:
    """From a row of the `charges` table."""
    return Charge(
        request_id=row["request_id"],
        endpoint=row["endpoint"],
        units=Decimal(row["units"]),
        usd=nano_to_usd(row["nano_usd"]),
        at=row["at"],
        seed=None if row["seed"] is None else int(row["seed"]),
        body_sha=row["body_sha"],
        key_id=row["key_id"],
    )


def to_json(value: Any) -> str:
    """JSON as it is stored and sent: compact, no NaN, and ASCII, because half a surrogate pair has no UTF-8."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
