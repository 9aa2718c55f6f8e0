"""PostgreSQL as it is really found: other people's defaults, cut connections, restarts, lost replies, silence."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from ledger_parts import a_plan, an_owner, submitted
from postgres_relay import relay_to
from sqlalchemy import Connection, make_url, text

from prefect_ltx.ledger import (
    Accepted,
    BudgetExceeded,
    BudgetLimit,
    Ledger,
    LedgerError,
    LedgerUnavailable,
    News,
    NotRecordable,
    State,
    unwatch,
    watch,
)
from prefect_ltx.ledger.database import Database

ME = an_owner("me")


@pytest.fixture
def admin(postgres_server: str) -> Iterator[Callable[..., list[Any]]]:
    """Runs a statement as the server's owner, on a connection of its own."""
    folder = make_url(postgres_server).query["host"]

    def run(statement: str, *parameters: object) -> list[Any]:
        with psycopg.connect(f"host={folder} user=ltx dbname=postgres", autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def careless_url(postgres_url: str, admin: Callable[..., list[Any]]) -> Iterator[str]:
    """A ledger's database whose role has every default that would break the promise."""
    admin(
        "DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'careless') THEN "
        "CREATE ROLE careless SUPERUSER LOGIN; END IF; END$$"
    )
    for setting in (
        "synchronous_commit = off",
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_read_only = on",
        "timezone = 'Asia/Kathmandu'",
        "lock_timeout = '1ms'",
        "statement_timeout = '20ms'",
        "idle_in_transaction_session_timeout = 0",
        "extra_float_digits = -5",
        "client_encoding = 'LATIN1'",
    ):
        admin(f"ALTER ROLE careless SET {setting}")
    return postgres_url.replace("ltx@", "careless@")


def backends(admin: Callable[..., list[Any]], schema_of: str) -> list[int]:
    """Process ids of the server's sessions for the ledger at this URL."""
    schema = schema_of.rpartition("%3D")[2]
    return [
        pid
        for (pid,) in admin(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%%ltx%%' "
            "OR query ~ %s",
            schema,
        )
    ]


@pytest.mark.parametrize(
    ("setting", "needed"),
    [
        ("synchronous_commit", "on"),
        ("transaction_isolation", "read committed"),
        ("transaction_read_only", "off"),
        ("TimeZone", "UTC"),
        ("lock_timeout", "20s"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("client_encoding", "UTF8"),
    ],
)
def test_a_writer_has_the_settings_that_the_promise_needs(
    careless_url: str, setting: str, needed: str
) -> None:
    """Whatever server, database and role say."""
    Ledger(careless_url).close()
    database = Database(careless_url)
    assert database.write(lambda tx: tx.scalar(text(f"SHOW {setting}"))) == needed
    database.close()


def test_a_stronger_durability_is_left_as_it_is(postgres_url: str, admin: Callable[..., list[Any]]) -> None:
    """Who waits for standbys to apply a commit goes on doing so."""
    database = Database(f"{postgres_url}%20-csynchronous_commit%3Dremote_apply")
    assert database.write(lambda tx: tx.scalar(text("SHOW synchronous_commit"))) == "remote_apply"
    database.close()


def test_a_budget_holds_where_repeatable_read_is_the_default(careless_url: str) -> None:
    """Eight threads, five dollars' worth, a limit of one dollar: nobody spends what another has reserved."""
    limit = BudgetLimit(Decimal("1.00"), "total", name="test")
    with Ledger(careless_url) as ledger, ThreadPoolExecutor(8) as pool:

        def claim(number: int) -> int:
            try:
                ledger.claim(a_plan(f"key-{number % 16}"), an_owner(str(number)), [limit])
            except BudgetExceeded:
                return 0
            return 1

        list(pool.map(claim, range(24)))
        assert ledger.spending([limit])[0].held_usd == Decimal("0.90")


def test_times_and_prompts_are_kept_exactly(careless_url: str) -> None:
    """Neither the client's encoding nor the digits of a float come from the role."""
    prompt = "Reference sheet: 茶碗. 🫖 Generated video: it turns."
    with Ledger(careless_url, clock=lambda: 1_790_000_000.123456) as ledger:
        row = ledger.claim(a_plan(body={"prompt": prompt}), ME).generation
        assert ledger.get(row.id).body["prompt"] == prompt
        assert ledger.get(row.id).created_at.timestamp() == pytest.approx(1_790_000_000.123456, abs=1e-5)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_a_database_that_cannot_hold_every_prompt_is_refused_at_opening(
    postgres_server: str, admin: Callable[..., list[Any]], encoding: str
) -> None:
    """Before any POST, with the remedy; nothing is made in it."""
    name = f"in_{encoding.lower()}"
    admin(f"DROP DATABASE IF EXISTS {name}")
    admin(f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    url = make_url(postgres_server).set(database=name).render_as_string(hide_password=False)

    with pytest.raises(LedgerError) as refused:
        Ledger(url)

    assert f"keeps text in {encoding}" in str(refused.value)
    assert "ENCODING 'UTF8' TEMPLATE template0" in str(refused.value)
    assert "Nothing was sent or spent" in str(refused.value)
    with Ledger(url, read_only=True) as ledger:
        assert ledger.find() == []


def test_a_connection_that_is_cut_in_the_middle_is_not_noticed(
    postgres_url: str, admin: Callable[..., list[Any]]
) -> None:
    """The transaction is run again as a whole, and who watches is told once."""
    told: list[News] = []
    watch(told.append)
    try:
        with Ledger(postgres_url) as ledger:
            database = Database(postgres_url)
            cuts = iter(range(2))

            def work(tx: Connection) -> int:
                pid = tx.scalar(text("SELECT pg_backend_pid()"))
                if next(cuts, None) is not None:
                    admin("SELECT pg_terminate_backend(%s)", pid)
                tx.execute(text("INSERT INTO ltx_meta VALUES ('note', 'once')"))
                return int(tx.scalar(text("SELECT count(*) FROM ltx_meta WHERE name = 'note'")) or 0)

            assert database.write(work) == 1
            # Idle connections of a pool, as a restart of the server leaves them.
            ledger.claim(a_plan("first"), ME)
            admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            assert ledger.claim(a_plan(), ME).outcome == "submit"
            assert database.read(lambda tx: tx.scalar(text("SELECT 1"))) == 1
            database.close()
    finally:
        unwatch(told.append)
    assert [type(each).__name__ for each in told] == ["Moved", "Moved"]


def test_a_commit_whose_reply_is_lost_is_looked_up(postgres_url: str) -> None:
    """What was committed is neither done again nor called a failure: the POST may be sent, once."""
    told: list[News] = []
    with relay_to(postgres_url) as (relay, url), Ledger(url) as ledger:
        row = ledger.claim(a_plan(), ME).generation
        watch(told.append)
        try:
            relay.lose_commits = 1
            begun = ledger.begin_post(row.id, ME)
            relay.lose_commits = 1
            step = ledger.record(row.id, Accepted("request-1"), owner=ME)
        finally:
            unwatch(told.append)
        assert (begun.state, step.outcome, ledger.get(row.id).state) == (
            State.INTENDED,
            "recorded",
            State.SUBMITTED,
        )
        assert [each.event for each in ledger.events(row.id)].count("PostStarted") == 1
        assert [each.event for each in ledger.events(row.id)].count("Accepted") == 1
    assert len(told) == 1


def test_a_commit_that_never_arrived_is_done_again(postgres_url: str) -> None:
    """The server says that it was rolled back: then, and only then, the transaction is run again."""
    with relay_to(postgres_url) as (relay, url), Ledger(url) as ledger:
        relay.swallow_commits = 2
        assert ledger.claim(a_plan(), ME).outcome == "submit"
        assert len(ledger.find()) == 1
        assert [each.event for each in ledger.events(ledger.find()[0].id)].count("Intended") == 1


def test_too_many_clients_for_a_while_is_waited_out(
    postgres_url: str, admin: Callable[..., list[Any]]
) -> None:
    """A role's or a server's limit passes as soon as another client goes."""
    admin("DROP ROLE IF EXISTS narrow")
    Ledger(postgres_url).close()
    admin("CREATE ROLE narrow LOGIN CONNECTION LIMIT 1 IN ROLE pg_read_all_data, pg_write_all_data")
    url = postgres_url.replace("ltx@", "narrow@")
    schema = url.rpartition("%3D")[2]
    admin(f"GRANT USAGE ON SCHEMA {schema} TO narrow")
    occupant = psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string())
    threading.Timer(2, occupant.close).start()

    with Ledger(url) as ledger:
        assert ledger.claim(a_plan(), ME).outcome == "submit"


STOPS_IN_TRANSACTION = """
import os, signal, sys
from ledger_parts import a_plan, an_owner
from prefect_ltx.ledger import Ledger
from prefect_ltx.ledger.claiming import claim
ledger = Ledger(sys.argv[1])

def stops(tx):
    claim(tx, a_plan("half-way"), an_owner(), [])
    print("stopped", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)

try:
    ledger._write(stops)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_client_that_is_stopped_inside_a_transaction_stops_nobody_else(postgres_url: str) -> None:
    """The server cuts it, its transaction has not happened, and others go on in bounded time."""
    Ledger(postgres_url).close()
    command = [sys.executable, "-c", STOPS_IN_TRANSACTION, postgres_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="tests/ledger") as stopped:
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "stopped\n"
        began = time.monotonic()
        try:
            with Ledger(postgres_url) as ledger:
                assert ledger.claim(a_plan(), ME).outcome == "submit"
                assert [row.key for row in ledger.find()] == ["key-1"]
        finally:
            stopped.kill()
    assert time.monotonic() - began < 30


def test_a_server_that_accepts_and_says_nothing_is_an_error() -> None:
    """In bounded time, and naming it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable) as error:
            Ledger(f"postgresql://ltx@127.0.0.1:{silent.getsockname()[1]}/ledger")
    assert time.monotonic() - began < 45
    assert "Nothing was sent or spent" in str(error.value)


@pytest.mark.chaos
def test_a_server_that_falls_silent_is_an_error(postgres_url: str) -> None:
    """A connection that was good takes a statement, and no answer ever comes; afterwards all is well again."""
    with relay_to(postgres_url) as (relay, url), Ledger(url) as ledger:
        row = submitted(ledger, a_plan(), ME)
        relay.silent.set()
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable) as error:
            ledger.renew(row.id, ME)
        assert time.monotonic() - began < 90
        assert "a request sent before goes on" in str(error.value)
        relay.silent.clear()
        assert ledger.renew(row.id, ME)


def test_values_that_a_column_does_not_take_concern_one_row(ledger_url: str) -> None:
    """They are an error of their own: the ledger is not unavailable because of them."""
    with Ledger(ledger_url) as ledger:
        with pytest.raises(NotRecordable) as refused:
            ledger.save_upload("account", "a" * 64, "https://v", size=2**70)
        assert "others are not concerned" in str(refused.value)
        assert ledger.claim(a_plan(), ME).outcome == "submit"


def test_what_a_text_column_cannot_store_is_refused(postgres_url: str) -> None:
    """NUL, and text that is too long."""
    with Ledger(postgres_url) as ledger:
        for account in ("a\0b", "a" * 300):
            with pytest.raises(NotRecordable):
                ledger.save_upload(account, "a" * 64, "https://v")


def test_a_wrong_address_says_so_at_once(postgres_url: str) -> None:
    """A role or a database that does not exist will not come into being by waiting."""
    for wrong in (make_url(postgres_url).set(username="nobody"), make_url(postgres_url).set(database="none")):
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="does not exist"):
            Ledger(wrong.render_as_string(hide_password=False))
        assert time.monotonic() - began < 5
