"""Parts that tests of several rooms share: an embedded fal, small media, and a clean environment."""

import asyncio
import fcntl
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Started in the background by a shell, this process ignores SIGINT and hands that on, and a Prefect worker that
# ignores it cannot be stopped: a SIGTERM becomes a SIGINT inside of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before Prefect is imported anywhere: tests report to nobody and write nothing to the user's own home.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from postgres import NoPostgres, running_postgres
from s3_servers import NoSwift, S3Server, running_moto, running_swift
from sqlalchemy import create_engine, make_url, text
from support import environment

from prefect_ltx.cli.prefect_server import without_prefect
from prefect_ltx.local import LocalFal
from prefect_ltx.media import make_reference_clip, make_reference_sheet

# How fast examples come is the machine's affair: nothing here asserts a time.
settings.register_profile("ltx", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ltx")

_ALL_END_TO_END = re.compile(r"^pytestmark = (?:\[\s*)?pytest\.mark\.e2e\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file of which `-m` takes nothing: importing all of them costs each process of a run 15 s."""
    expression: str = config.option.markexpr
    if not expression or not collection_path.name.startswith("test_"):
        return None
    source = collection_path.read_text("utf-8")
    if expression.startswith("e2e") and "mark.e2e" not in source:
        return True
    if expression.startswith("not e2e") and _ALL_END_TO_END.search(source):
        return True
    return None


def pytest_collection_finish() -> None:
    """Tell the collector of garbage to leave alone what is there for the whole run: all tests, and all of Prefect."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name == "FAL_KEY" or name.startswith("PREFECT_LTX_"):
            monkeypatch.delenv(name)


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    """An embedded fal with an empty bill."""
    with LocalFal() as server:
        yield server


@pytest.fixture
def ltx_env(fal: LocalFal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a user of that fal: ledger, archive and work folder below the returned folder."""
    for name, value in environment(fal.url, tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clip.mp4` (25 frames, 256x144) and `sheet.png`, small."""
    folder = tmp_path_factory.mktemp("media")
    asyncio.run(make_reference_clip(folder / "clip.mp4", width=256, height=144, frames=25, fps=24))
    asyncio.run(make_reference_sheet(folder / "sheet.png", width=448, height=256))
    return folder


@pytest.fixture(scope="session")
def forked_programs() -> Iterator[None]:
    """What this process and those that it starts run as `python -m …` is forked, Prefect's servers too."""
    from forked import programs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(programs() / "python"))
        yield


@pytest.fixture(scope="session")
def migrated(forked_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect database with nothing but its tables, for servers to start from: to make them takes 15 s."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the processes of this run share one
    database = folder / "migrated.db"
    with (folder / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            home = tmp_path_factory.mktemp("migrated")
            subprocess.run(
                [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
                env=without_prefect(os.environ) | {"PREFECT_HOME": str(home)},
                cwd=home,
                check=True,
                capture_output=True,
            )
            (home / "prefect.db").rename(database)
    return database


@pytest.fixture(scope="session")
def prefect_home(migrated: Path) -> Callable[[Path], Path]:
    """Makes a PREFECT_HOME for a server of a test's own."""

    def make(home: Path) -> Path:
        home.mkdir(parents=True)
        shutil.copy(migrated, home / "prefect.db")
        return home

    return make


@pytest.fixture(scope="session")
def prefect_server(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real Prefect server with a database of its own; Prefect is imported only where it is asked for."""
    from prefect.testing.utilities import prefect_test_harness

    folder = tmp_path_factory.mktemp("prefect-server")
    shutil.copy(migrated, folder / "prefect-test.db")
    with pytest.MonkeyPatch.context() as patch:
        # Prefect offers no other way to say where its harness puts the database.
        patch.setattr("prefect.testing.utilities.mkdtemp", lambda: str(folder))
        with prefect_test_harness(server_startup_timeout=120):
            yield


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


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    """An S3 server that knows conditional writes."""
    with running_moto() as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real store that speaks S3."""
    running = running_swift(tmp_path_factory.mktemp("swift"))
    try:
        server = running.__enter__()
    except NoSwift:
        pytest.skip("swift is not installed (pip install swift)")
    yield server
    running.__exit__(None, None, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
