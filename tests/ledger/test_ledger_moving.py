"""A ledger moved into another database: the same rows, histories, approvals and sums, and the same ledger."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ledger_dump import fill
from ledger_parts import Clock, a_plan, an_owner
from sqlalchemy import Connection, select
from test_ledger_sums import LIMITS

from prefect_ltx.ledger import Ledger, LedgerUnavailable
from prefect_ltx.ledger.database import Database
from prefect_ltx.ledger.moving import copy_ledger
from prefect_ltx.ledger.schema import metadata

LONG_AGO = 1_600_000_000.0  # what it leased then nobody holds today


def everything(connection: Connection) -> dict[str, list[Any]]:
    return {
        table.name: sorted(map(str, (dict(row) for row in connection.execute(select(table)).mappings())))
        for table in metadata.sorted_tables
        if table.name not in ("ltx_meta", "ltx_sum")  # whose numbers each database keeps in its own way
    }


@pytest.fixture
def source(tmp_path: Path) -> str:
    url, clock = f"sqlite:///{tmp_path / 'source.db'}", Clock(LONG_AGO)
    with Ledger(url, clock=clock) as ledger:
        fill(ledger, clock)
        ledger.approve("p" * 64, title="a film", at_most_usd=Decimal("0.60"), by="ada")
    return url


def test_the_copy_has_every_row_and_is_the_same_ledger(source: str, ledger_url: str) -> None:
    """SQLite to SQLite and to PostgreSQL: all tables, the id, what budgets count; and it is worked on from there."""
    report = copy_ledger(source, ledger_url)
    assert report.wrong == []
    assert report.rows["ltx_generation"] > 10
    assert report.rows["ltx_approval"] == 1
    one, other = Database(source), Database(ledger_url)
    assert one.read(everything) == other.read(everything)
    one.close()
    other.close()
    with Ledger(source) as old, Ledger(ledger_url) as new:
        assert (new.id, new.spending(LIMITS)) == (old.id, old.spending(LIMITS))
        row = new.claim(a_plan("a new one"), an_owner("me")).generation
        assert [line.event for line in new.events(row.id)]
    with pytest.raises(LedgerUnavailable, match="rows already. Nothing was copied"):
        copy_ledger(source, ledger_url)


def test_a_ledger_that_is_worked_on_or_missing_is_not_copied(
    source: str, ledger_url: str, tmp_path: Path
) -> None:
    """What a worker writes afterwards would be lost to the copy; nothing is made where there is nothing to copy."""
    with Ledger(source) as ledger:
        ledger.claim(a_plan("in work"), an_owner("me"))
    with pytest.raises(
        LedgerUnavailable, match=r"1 generations of .* are being worked on.*Stop every worker"
    ):
        copy_ledger(source, ledger_url)
    with pytest.raises(LedgerUnavailable, match="There is no ledger"):
        copy_ledger(f"sqlite:///{tmp_path / 'nowhere.db'}", ledger_url)
    with Ledger(ledger_url) as ledger:
        assert ledger.find() == []
