"""Sessions on PostgreSQL as the ledger needs them, whatever server, database, role or pooler say.

What the promise rests on is set in every transaction, by us and only for it: durable commits, isolation,
time-outs. Nothing is set for a session, since a pooler may hand out another one for the next transaction.
"""

from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import NoSuchModuleError

from prefect_ltx.ledger import locks
from prefect_ltx.ledger.errors import LedgerSchemaUnknown, LedgerUnavailable
from prefect_ltx.ledger.silence import Silence

CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 20
"""How long one attempt of a transaction waits for its turn."""
STATEMENT_SECONDS: Final = 30
"""How long the server works on one statement."""
IDLE_SECONDS: Final = 10
"""When the server cuts a client that was stopped inside a transaction: before others give up waiting for it."""
SILENCE_SECONDS: Final = STATEMENT_SECONDS + 5
"""When a server that says nothing counts as gone: later than its own time-outs."""
POOL_SECONDS: Final = 30

_ADVISORY_LOCK: Final = 0x6C74785F6C656467  # "ltx_ledg"
_SILENCE: Final = "prefect_ltx_silence"

# One round trip. The manual's chapter 20 has what each does; the last argument makes it local to the transaction.
_DURABLE: Final = """set_config('synchronous_commit', CASE current_setting('synchronous_commit')
    WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"""
_SETTINGS: Final = f"""set_config('statement_timeout', :statement, true),
    set_config('lock_timeout', '{LOCK_SECONDS}s', true),
    set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS}s', true),
    set_config('TimeZone', 'UTC', true),
    set_config('extra_float_digits', '1', true)"""
_READS: Final = text(f"SELECT {_SETTINGS}")
_WRITES: Final = text(f"SELECT txid_current(), {_DURABLE}, {_SETTINGS}")
_TURN: Final = {
    # Also what older releases take, all of them alone.
    False: text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"),
    True: text(f"SELECT pg_advisory_xact_lock_shared({_ADVISORY_LOCK})"),
}
_FATE: Final = text("SELECT txid_status(:transaction)")


def engine_for(url: URL, *, read_only: bool) -> Engine:
    """Connections to this database; none is made yet.

    Raises:
        LedgerUnavailable: the driver is not installed.
    """
    arguments: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        # No server-side prepared statements: a pooler in between may hand out another session.
        "prepare_threshold": None,
        "client_encoding": "utf8",
        # A server that vanished with its machine or its network is noticed by this machine's kernel.
        "keepalives": 1,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": CONNECT_SECONDS * 1000,
    }
    try:
        engine = create_engine(
            url, connect_args=arguments, hide_parameters=True, max_overflow=40, pool_timeout=POOL_SECONDS
        )
    except (ModuleNotFoundError, NoSuchModuleError):
        raise LedgerUnavailable(
            "PostgreSQL needs the psycopg driver, which is not installed",
            next_step="pip install 'prefect-ltx[postgres]'",
        ) from None
    if not read_only:
        event.listen(engine, "connect", _check_encoding)
    event.listen(engine, "before_cursor_execute", _expect_answer)
    return engine


def transaction_options(*, writes: bool, shares: bool = False) -> dict[str, Any]:
    """SQLAlchemy's options of a transaction: what BEGIN says.

    A writer needs READ COMMITTED: it takes its snapshots after its turn and its locks have come, and so sees what the
    writer before it committed. A stricter level would take its one snapshot before that, and spend a budget twice. A
    reader sees one moment.
    """
    return {
        "isolation_level": "READ COMMITTED" if writes else "REPEATABLE READ",
        "postgresql_readonly": not writes,
        locks.SHARES: shares,
    }


def watched(connection: Connection) -> Silence:
    """The connection's silence, to be used in a `with` block around its transaction."""
    silence = Silence(_driver(connection).fileno())
    connection.info[_SILENCE] = silence
    silence.expect_answer_within(SILENCE_SECONDS)
    return silence


def begin(connection: Connection, *, writes: bool, statement_seconds: int = STATEMENT_SECONDS) -> int | None:
    """Set what this transaction needs; a writer waits for its turn, or its share (`locks`). Returns its id."""
    settings = {"statement": f"{statement_seconds}s"}
    if not writes:
        connection.execute(_READS, settings)
        return None
    transaction: int = connection.execute(_WRITES, settings).scalar_one()
    connection.execute(_TURN[locks.shares(connection)])
    return transaction


def fate(connection: Connection, transaction: int) -> str | None:
    """What became of it: "committed", "aborted" or "in progress"; None where the server has forgotten it."""
    found: str | None = connection.execute(_FATE, {"transaction": transaction}).scalar_one()
    return found


def was_rolled_back(error: BaseException) -> bool:
    """Whether a failed COMMIT is known to have changed nothing: the server itself said why it refused it."""
    state: str = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return state[:2] in ("23", "40")


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _check_encoding(driver: Any, record: object) -> None:
    encoding = driver.info.parameter_status("server_encoding")
    if encoding in (None, "UTF8"):
        return
    database = driver.info.dbname
    driver.close()
    raise LedgerSchemaUnknown(
        f"The database {database} keeps text in {encoding}, which cannot hold every prompt; a ledger needs UTF8",
        next_step="Make one with CREATE DATABASE ledger ENCODING 'UTF8' TEMPLATE template0 and name it "
        "(PREFECT_LTX_LEDGER, --ledger); pg_dump and psql bring over what an old one holds",
    )


def _expect_answer(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> None:
    silence = connection.info.get(_SILENCE)
    if silence is not None:
        silence.expect_answer_within(SILENCE_SECONDS)
