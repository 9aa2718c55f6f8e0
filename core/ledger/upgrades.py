"""The step from each schema version to the next. Steps are frozen: they never use the current table definitions.

New columns have defaults in the database itself, so that a process of the older release that is still running
goes on writing rows.
"""

from typing import Final

from sqlalchemy import Connection

from prefect_ltx.ledger.sum_triggers import FILL_3, TRIGGERS_3

_COLUMNS_2: Final = (
    "service VARCHAR(200) NOT NULL DEFAULT ''",
    "fal_since DOUBLE PRECISION",
    "first_look_at DOUBLE PRECISION",
    "gone_at DOUBLE PRECISION",
    "looks INTEGER NOT NULL DEFAULT 0",
    "look_again_at DOUBLE PRECISION",
    "oddities JSON NOT NULL DEFAULT '[]'",
    "refused_for_good BOOLEAN NOT NULL DEFAULT false",
)
_TABLES_2: Final = (
    """CREATE TABLE ltx_account (
        key_id VARCHAR(200) NOT NULL,
        service VARCHAR(200) NOT NULL,
        account TEXT NOT NULL,
        name TEXT,
        named_by VARCHAR(10) NOT NULL,
        first_seen DOUBLE PRECISION NOT NULL,
        last_seen DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (key_id, service)
    )""",
    """CREATE TABLE ltx_stop (
        id VARCHAR(36) NOT NULL PRIMARY KEY,
        generation_id VARCHAR(36) NOT NULL REFERENCES ltx_generation (id),
        request_id VARCHAR(200),
        billed_nano BIGINT NOT NULL,
        upper_nano BIGINT NOT NULL,
        factor TEXT NOT NULL,
        opened_at DOUBLE PRECISION NOT NULL,
        resolved_at DOUBLE PRECISION,
        resolved_by TEXT
    )""",
    "CREATE INDEX ix_ltx_stop_generation_id ON ltx_stop (generation_id)",
    "CREATE INDEX ix_ltx_stop_resolved_at ON ltx_stop (resolved_at)",
)
_TABLES_VERDICT: Final = (
    """CREATE TABLE ltx_verdict (
        id VARCHAR(36) NOT NULL PRIMARY KEY,
        generation_id VARCHAR(36) NOT NULL REFERENCES ltx_generation (id),
        word VARCHAR(20) NOT NULL,
        source VARCHAR(10) NOT NULL,
        "by" TEXT NOT NULL,
        reason TEXT NOT NULL,
        said_at DOUBLE PRECISION NOT NULL,
        noted_at DOUBLE PRECISION NOT NULL
    )""",
    "CREATE INDEX ix_ltx_verdict_generation_id ON ltx_verdict (generation_id)",
)


def from_1(connection: Connection) -> None:
    """Services and accounts, what is known of fal's clock, the second look at what is gone, the stop rule."""
    for column in _COLUMNS_2:
        connection.exec_driver_sql(f"ALTER TABLE ltx_generation ADD COLUMN {column}")
    for statement in _TABLES_2:
        connection.exec_driver_sql(statement)
    # Version 1 believed one 404. What it called lost is asked about again, for a week from then.
    connection.exec_driver_sql("UPDATE ltx_generation SET gone_at = updated_at WHERE state = 'LOST'")
    # It also let a person turn a lost row into one that is completed, without the address of a video.
    connection.exec_driver_sql(
        "UPDATE ltx_generation SET state = 'SUBMITTED' WHERE state = 'COMPLETED' AND video_url IS NULL"
    )


def from_2(connection: Connection) -> None:
    """What budgets count is kept as sums."""
    kind = "NUMERIC(40, 0)" if connection.dialect.name == "postgresql" else "BIGINT"
    connection.exec_driver_sql(
        f"""CREATE TABLE ltx_sum (
            name VARCHAR(201) NOT NULL,
            period VARCHAR(10) NOT NULL,
            start VARCHAR(10) NOT NULL,
            line INTEGER NOT NULL,
            held_nano {kind} NOT NULL,
            settled_nano {kind} NOT NULL,
            PRIMARY KEY (name, period, start, line)
        )"""
    )
    for statement in TRIGGERS_3[connection.dialect.name]:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(FILL_3)


def from_3(connection: Connection) -> None:
    """What a person approved is kept."""
    connection.exec_driver_sql(
        """CREATE TABLE ltx_approval (
            id VARCHAR(36) NOT NULL PRIMARY KEY,
            plan VARCHAR(64) NOT NULL,
            title TEXT NOT NULL,
            at_most_nano BIGINT NOT NULL,
            approved_by TEXT NOT NULL,
            approved_at DOUBLE PRECISION NOT NULL,
            valid_until DOUBLE PRECISION NOT NULL
        )"""
    )
    connection.exec_driver_sql("CREATE INDEX ix_ltx_approval_plan ON ltx_approval (plan)")


def from_4(connection: Connection) -> None:
    """Whether a clip can be used is kept."""
    for statement in _TABLES_VERDICT:
        connection.exec_driver_sql(statement)
