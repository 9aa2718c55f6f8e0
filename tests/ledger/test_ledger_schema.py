"""Opening: made when empty, brought up to date when older, refused when it is not ours or cannot be used."""

import socket
import sqlite3
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from ledger_dump import FIXTURES
from ledger_parts import Clock, a_plan, an_owner
from sqlalchemy import Connection, create_engine, inspect, make_url, text

from prefect_ltx.fal import plain
from prefect_ltx.ledger import (
    Archived,
    BudgetLimit,
    Collected,
    Effect,
    Found,
    Ledger,
    LedgerError,
    LedgerSchemaUnknown,
    LedgerUnavailable,
    RemoteCompleted,
    State,
)
from prefect_ltx.ledger.database import Database
from prefect_ltx.ledger.migrations import prepare
from prefect_ltx.ledger.schema import SCHEMA_VERSION

ME = an_owner("me")
OPEN_AS_NOBODY = """
import os, sys, tempfile
from prefect_ltx.ledger import Ledger
with tempfile.TemporaryDirectory() as folder:
    Ledger(f"sqlite:///{folder}/warm-up.db").close()  # imports all there is while this user still may
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    Ledger(f"sqlite:///{sys.argv[1]}")
except Exception as error:
    print(type(error).__name__, error)
"""
OUR_NAME = "INSERT INTO ltx_meta VALUES ('application', 'prefect-ltx-ledger');"


def run_sql(url: str, script: str) -> None:
    """Run a script of statements against a fresh database."""
    if url.startswith("sqlite"):
        with sqlite3.connect(str(make_url(url).database)) as connection:
            connection.executescript(script)
        connection.close()
        return
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as opened:
        raw = opened.connection.driver_connection
        assert raw is not None
        raw.execute(script)
    engine.dispose()


def error_of(url: str) -> LedgerError:
    """The refusal to open this URL: one line, nothing spent, no password."""
    with pytest.raises(LedgerError) as refused:
        Ledger(url)
    message = str(refused.value)
    assert "\n" not in message
    assert "Nothing was sent or spent." in message
    assert "hunter2" not in message + repr(refused.value)
    return refused.value


def test_a_ledger_keeps_its_id_and_its_rows(ledger_url: str) -> None:
    """Opened again, by anybody, it is the same ledger."""
    with Ledger(ledger_url) as first:
        row = first.claim(a_plan(), ME).generation
        with Ledger(ledger_url) as second:
            assert second.id == first.id
            assert second.get(row.id) == first.get(row.id)


def test_a_closed_ledger_opens_again_by_itself(ledger_url: str) -> None:
    """close() ends connections, not the ledger."""
    ledger = Ledger(ledger_url)
    ledger.close()
    assert ledger.unfinished() == []
    ledger.close()


@pytest.mark.parametrize("version", [1, 4])
def test_rows_of_every_released_version_go_on(ledger_url: str, clock: Clock, version: int) -> None:
    """A dump kept from each release loads, is read whole, and its rows are worked on to their end."""
    dialect = make_url(ledger_url).get_backend_name()
    run_sql(ledger_url, (FIXTURES / f"v{version}-{dialect}.sql").read_text())
    clock.sleep(3600)
    with Ledger(ledger_url, clock=clock) as ledger:
        rows = {row.state: row for row in ledger.find(tag="fixture")}
        assert set(rows) == set(State)
        assert all(ledger.events(row.id) for row in rows.values())
        assert ledger.double_charges()[0].extra_request_ids == ("request-second",)
        assert ledger.claim(a_plan(f"key-{State.ARCHIVED}"), ME).outcome == "done"
        assert ledger.claim(a_plan(f"key-{State.INTENDED}"), ME).outcome == "submit"
        adopted = ledger.claim(a_plan(f"key-{State.RELEASED}"), ME)
        assert (adopted.generation.request_id, adopted.effects) == ("request-stray", (Effect.POLL,))
        held = ledger.spending([BudgetLimit(Decimal(100), "total", tag="fixture")])[0]
        assert held.held_usd + held.settled_usd == sum(row.held_usd for row in rows.values())

        ledger.record(rows[State.UNKNOWN].id, Found("request-found", attempt=1))
        for state in (State.UNKNOWN, State.SUBMITTED, State.COMPLETED, State.LOST):
            ledger.record(rows[state].id, RemoteCompleted("https://v"))
            ledger.record(rows[state].id, Collected("d" * 64, 1))
            step = ledger.record(rows[state].id, Archived("file:///a", "f", "e" * 64))
            assert step.state is State.ARCHIVED


def test_an_older_version_is_brought_up_to_date_step_by_step(ledger_url: str) -> None:
    """Each step runs once, in order, and rows stay."""
    with Ledger(ledger_url) as ledger:
        row = ledger.claim(a_plan(), ME).generation
    ran = []

    def first(connection: Connection) -> None:
        ran.append(1)
        connection.execute(text("ALTER TABLE ltx_generation ADD COLUMN mood TEXT"))

    def second(connection: Connection) -> None:
        ran.append(2)
        connection.execute(text("UPDATE ltx_generation SET mood = 'calm'"))

    database = Database(ledger_url)
    for _ in range(2):
        database.write(
            lambda each: prepare(
                each,
                migrations={SCHEMA_VERSION: first, SCHEMA_VERSION + 1: second},
                version=SCHEMA_VERSION + 2,
            )
        )
        assert database.read(lambda each: each.scalar(text("SELECT mood FROM ltx_generation"))) == "calm"
    database.close()
    assert ran == [1, 2]
    assert f"schema version {SCHEMA_VERSION + 2}" in str(error_of(ledger_url))
    assert row.id


def test_an_interrupted_migration_has_not_happened(ledger_url: str) -> None:
    """Tables and version are as they were, and the present release still opens it."""
    Ledger(ledger_url).close()

    def broken(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE ltx_generation ADD COLUMN mood TEXT"))
        raise KeyboardInterrupt

    database = Database(ledger_url)
    with pytest.raises(KeyboardInterrupt):
        database.write(
            lambda connection: prepare(
                connection, migrations={SCHEMA_VERSION: broken}, version=SCHEMA_VERSION + 1
            )
        )
    columns = database.read(lambda connection: inspect(connection).get_columns("ltx_generation"))
    assert "mood" not in {column["name"] for column in columns}
    database.close()
    Ledger(ledger_url).close()


def test_a_newer_version_is_refused(ledger_url: str) -> None:
    """This release does not guess what a later one wrote."""
    Ledger(ledger_url).close()
    run_sql(ledger_url, "UPDATE ltx_meta SET value = '99' WHERE name = 'schema_version';")

    error = error_of(ledger_url)

    assert isinstance(error, LedgerSchemaUnknown)
    assert f"schema version 99, and this release knows versions up to {SCHEMA_VERSION}" in str(error)


def test_a_version_without_a_way_forward_is_refused(ledger_url: str) -> None:
    """An unknown older version is not touched."""
    Ledger(ledger_url).close()
    run_sql(ledger_url, "UPDATE ltx_meta SET value = '0' WHERE name = 'schema_version';")

    assert f"cannot bring it to {SCHEMA_VERSION}" in str(error_of(ledger_url))


@pytest.mark.parametrize(
    "tables",
    [
        "CREATE TABLE customers (id INTEGER);",
        "CREATE TABLE ltx_meta (id INTEGER);",
        "CREATE TABLE ltx_meta (name TEXT, value TEXT); INSERT INTO ltx_meta VALUES ('application', 'other');",
        f"CREATE TABLE ltx_meta (name TEXT, value TEXT); {OUR_NAME}",
    ],
)
def test_a_database_of_something_else_is_refused_and_left_alone(ledger_url: str, tables: str) -> None:
    """No table is added to it."""
    run_sql(ledger_url, tables)

    error = error_of(ledger_url)

    assert isinstance(error, LedgerSchemaUnknown)
    assert "is not a ledger" in str(error)
    database = Database(ledger_url)
    assert database.read(lambda connection: len(inspect(connection).get_table_names())) == 1
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///ledger.db",
        "mysql://ada:hunter2@host/db",
        "postgresql://ada:hunter2@host",
        "postgresql+asyncpg://ada:hunter2@host/db",
        "nonsense://ada:hunter2@host/db",
        "postgresql://ada:hunter2@host:port/db",
        "sqlit:///ledger.db",
    ],
)
def test_a_wrong_url_is_refused_without_showing_its_password(url: str) -> None:
    """The message says which form is meant, also where messages are cleaned of what may be a secret."""
    error = error_of(url)
    assert isinstance(error, LedgerUnavailable)
    for said in (str(error), plain(error)):
        assert "Use sqlite:////absolute/path/ledger.db, or postgresql://host/database with the user" in said
        assert "user:password@, before the host (PREFECT_LTX_LEDGER, --ledger)" in said


def test_prefect_s_url_of_the_same_database_says_what_is_too_much() -> None:
    """The URL that a Prefect server takes names a driver; a ledger's does not."""
    assert "leave '+asyncpg' out" in str(error_of("postgresql+asyncpg://ada:hunter2@host/db"))
    assert "leave '+aiosqlite' out" in str(error_of("sqlite+aiosqlite:///ledger.db"))


def test_a_ledger_in_a_message_is_named_by_its_whole_url(tmp_path: Path) -> None:
    """Cleaned of secrets, a SQLite ledger's name still is the URL that a person can copy."""
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert plain(f"The ledger {ledger.name} waits") == f"The ledger sqlite:///{tmp_path}/ledger.db waits"


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Whatever it is, it keeps its bytes."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be looked at\n" * 40)
    before = path.read_bytes()

    assert "is not a SQLite database" in str(error_of(f"sqlite:///{path}"))
    assert path.read_bytes() == before


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A path to a folder is a wrong path."""
    assert "cannot be used" in str(error_of(f"sqlite:///{tmp_path}"))


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    """A folder that cannot be made is named."""
    (tmp_path / "file").write_text("")
    assert f"folder {tmp_path / 'file'} cannot be made" in str(
        error_of(f"sqlite:///{tmp_path / 'file' / 'l.db'}")
    )


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    """The default ledger lies in a folder of its own."""
    Ledger(f"sqlite:///{tmp_path / 'new' / 'folder' / 'ledger.db'}").close()
    assert (tmp_path / "new" / "folder" / "ledger.db").is_file()


def test_a_relative_path_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later change of the working directory leads to no second ledger."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    ledger = Ledger("sqlite:///ledger.db")
    ledger.close()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ledger.claim(a_plan(), ME)
    ledger.close()
    assert not (tmp_path / "elsewhere" / "ledger.db").exists()


def test_a_ledger_opened_read_only_is_refused(tmp_path: Path) -> None:
    """What cannot write an intent must not send."""
    path = tmp_path / "ledger.db"
    Ledger(f"sqlite:///{path}").close()

    error = error_of(f"sqlite:///file:{path}?mode=ro&uri=true")

    assert isinstance(error, LedgerUnavailable)
    assert "readonly" in str(error)


def test_a_file_without_write_permission_is_refused() -> None:
    """The file's own permissions count, for a user who is not root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "ledger.db"
        Ledger(f"sqlite:///{path}").close()
        path.chmod(0o444)
        folder.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", OPEN_AS_NOBODY, path], capture_output=True, text=True)
        folder.chmod(0o755)
    assert done.stdout.startswith("LedgerUnavailable"), done.stderr
    assert "Nothing was sent or spent" in done.stdout


def test_an_unreachable_server_is_refused() -> None:
    """Nothing listens there; the password is not shown."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        error = error_of(f"postgresql://ada:hunter2@127.0.0.1:{port}/ledger?password=hunter2")
    assert isinstance(error, LedgerUnavailable)
    assert f"127.0.0.1:{port}/ledger cannot be used" in str(error)


def test_a_database_that_does_not_exist_is_refused(postgres_url: str) -> None:
    """The server answers, and has no such database."""
    url = make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False)
    assert "nowhere" in str(error_of(url))


def test_a_database_that_goes_away_does_not_claim_that_nothing_was_sent(tmp_path: Path) -> None:
    """After the POST the message must not say that nothing was spent."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    row = ledger.claim(a_plan(), ME).generation
    ledger.close()
    path.write_bytes(b"not a database any more" * 100)
    for leftover in tmp_path.glob("ledger.db-*"):
        leftover.unlink()

    with pytest.raises(LedgerError) as refused:
        ledger.record(row.id, Found("request-1", attempt=1))

    assert "this change was not recorded; a request sent before goes on" in str(refused.value)
    assert "Nothing was sent or spent" not in str(refused.value)


def test_time_on_postgresql_is_the_servers(postgres_url: str) -> None:
    """Machines with wrong clocks agree on leases."""
    database = Database(postgres_url)

    def times(connection: Connection) -> tuple[float, float, float]:
        server = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
        first = database.now(connection)
        connection.execute(text("SELECT pg_sleep(0.01)"))
        return server, first, database.now(connection)

    server, first, second = database.read(times)
    database.close()
    assert abs(first - server) < 5
    assert second > first
