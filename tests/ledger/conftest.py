"""Every test that takes `ledger_url` runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator

import pytest
from ledger_parts import Clock

from prefect_ltx.ledger import Ledger


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(ledger_url, clock=clock, lease_seconds=60) as opened:
        yield opened
