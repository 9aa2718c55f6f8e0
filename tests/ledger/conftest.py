"""Every test that takes `ledger_url` runs on SQLite and on PostgreSQL."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_parts import Clock
from ledger_postgres import NoPostgres, running_postgres
from sqlalchemy import create_engine, make_url, text

from prefect_ltx.ledger import Ledger


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    server = running_postgres()
    try:
        url = server.__enter__()
    except NoPostgres as error:
        pytest.skip(f"No PostgreSQL: {error}. Install the development dependencies to have one.")
    yield url
    server.__exit__(None, None, None)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A schema of its own in the tests' PostgreSQL, as users may give a ledger one."""
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(make_url(postgres_server).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    return f"{postgres_server}&options=-csearch_path%3D{schema}"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(ledger_url, clock=clock, lease_seconds=60) as opened:
        yield opened
