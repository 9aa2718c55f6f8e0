"""Ledgers of version 1: brought to version 2 with everything that they hold, while an older process still writes."""

from typing import Any

import pytest
from ledger_dump import FIXTURES
from ledger_parts import Clock, a_plan, an_owner
from sqlalchemy import Connection, create_engine, inspect, make_url, text
from test_ledger_schema import run_sql

from prefect_ltx.ledger import AnotherAccount, GoneSaid, Ledger, LookedAt, RemoteCompleted, State
from prefect_ltx.ledger.database import Database

ME = an_owner("me")


@pytest.fixture
def old_url(ledger_url: str, clock: Clock) -> str:
    """A ledger that version 1 wrote, an hour ago."""
    dialect = make_url(ledger_url).get_backend_name()
    run_sql(ledger_url, (FIXTURES / f"v1-{dialect}.sql").read_text())
    clock.sleep(3600)
    return ledger_url


def shape(connection: Connection) -> dict[str, Any]:
    """Tables with their columns and whether these may be empty, and the indexes on them."""
    tables = inspect(connection)
    return {
        name: (
            {column["name"]: column["nullable"] for column in tables.get_columns(name)},
            sorted(
                str(index["name"])
                for index in tables.get_indexes(name)
                if not index.get("duplicates_constraint")  # PostgreSQL's own, of a unique column
            ),
        )
        for name in tables.get_table_names()
    }


def test_an_upgraded_ledger_has_the_shape_of_a_new_one(old_url: str, tmp_path: Any) -> None:
    """Every table, column and index, in the same order."""
    Ledger(old_url).close()
    upgraded = Database(old_url)
    Ledger(f"sqlite:///{tmp_path / 'new.db'}").close()
    new = Database(f"sqlite:///{tmp_path / 'new.db'}")
    one, other = upgraded.read(shape), new.read(shape)
    upgraded.close()
    new.close()
    assert one == other
    assert [list(columns) for columns, _ in one.values()] == [list(other[name][0]) for name in one]


def test_rows_of_version_1_belong_to_their_account_on_any_service(old_url: str, clock: Clock) -> None:
    """Nobody wrote down where they were sent; another account still cannot touch them."""
    with Ledger(old_url, clock=clock).acting_for("account-1", "fal.ai") as ledger:
        rows = {row.state: row for row in ledger.find(tag="fixture")}
        assert {row.service for row in rows.values()} == {""}
        assert ledger.others() == 0
        assert all(row.oddities == () and not row.refused_for_good for row in rows.values())
        assert ledger.record(rows[State.SUBMITTED].id, GoneSaid(1.0)).outcome == "recorded"
        ledger.acting_for("account-2", "fal.ai")
        assert (
            ledger.others() == len([row for row in rows.values() if row.is_live]) - 1
        )  # an archived one is done
        with pytest.raises(AnotherAccount):
            ledger.record(rows[State.LOST].id, GoneSaid(1.0))


def test_what_version_1_called_lost_is_asked_about_again(old_url: str, clock: Clock) -> None:
    """It believed a single 404: the paid video may still be there."""
    with Ledger(old_url, clock=clock) as ledger:
        (lost,) = ledger.find(states=[State.LOST])
        assert lost.gone_at is not None
        assert lost.id in {row.id for row in ledger.due()}
        assert ledger.record(lost.id, RemoteCompleted("https://cdn.example/v.mp4")).state is State.COMPLETED


def test_a_lost_row_that_was_adopted_into_nothing_is_asked_about_by_id(old_url: str, clock: Clock) -> None:
    """Version 1 made a completed row without a video of it, on which the whole sweep ended."""
    run_sql(old_url, "UPDATE ltx_generation SET state = 'COMPLETED', video_url = NULL WHERE state = 'LOST';")
    with Ledger(old_url, clock=clock) as ledger:
        assert {row.state for row in ledger.find(key=f"key-{State.LOST}")} == {State.SUBMITTED}
        assert all(row.video_url for row in ledger.find(states=[State.COMPLETED]))


def test_without_fal_s_clock_an_old_row_is_never_absent(old_url: str, clock: Clock) -> None:
    """When its POST began by fal's clock is not known: it can be found, and nothing else."""
    with Ledger(old_url, clock=clock) as ledger:
        (row,) = ledger.find(states=[State.UNKNOWN])
        ledger.record(row.id, LookedAt(1_790_000_000.0, attempt=row.attempt))
        row = ledger.get(row.id)
        assert (row.fal_since, row.first_look_at) == (None, 1_790_000_000.0)


def test_a_process_of_the_older_release_goes_on_writing(old_url: str, clock: Clock) -> None:
    """It was running while the ledger was upgraded, and knows none of the new columns."""
    engine = create_engine(Database(old_url).url)
    with engine.connect() as connection:
        columns = [column["name"] for column in inspect(connection).get_columns("ltx_generation")]
    Ledger(old_url, clock=clock).close()
    fresh = {"id": "'written-by-version-1'", "nonce": "'another nonce'", "key": "'key-new'"}
    values = ", ".join(fresh.get(name, name) for name in columns)
    with engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO ltx_generation ({', '.join(columns)}) "
                f"SELECT {values} FROM ltx_generation WHERE state = 'SUBMITTED'"
            )
        )
    engine.dispose()
    with Ledger(old_url, clock=clock) as ledger:
        row = ledger.get("written-by-version-1")
        assert (row.service, row.looks, row.oddities, row.refused_for_good) == ("", 0, (), False)
        assert ledger.claim(a_plan("key-new"), ME).generation.id == row.id
