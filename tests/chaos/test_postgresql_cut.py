"""A batch in two processes while the ledger's connections are cut and its server is killed and restarted."""

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import psycopg
import pytest
from forked import Forked
from postgres import Postgres, restartable_postgres
from support import environment, submits

from prefect_ltx.archive import Archive
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(900)]

CHILD = Path(__file__).with_name("batch_child.py")
CARELESS = {
    "synchronous_commit": "off",
    "default_transaction_isolation": "repeatable read",
    "idle_in_transaction_session_timeout": "0",
}


class Trouble(threading.Thread):
    """Cuts a connection of the ledger's every now and then, and restarts the server when it is told."""

    def __init__(self, server: Postgres, restarts: list[signal.Signals]) -> None:
        super().__init__(daemon=True)
        self.cuts = 0
        self._server = server
        self._restarts = restarts
        self._over = threading.Event()
        self._chance = random.Random(10)

    def run(self) -> None:
        while not self._over.wait(self._chance.uniform(0.05, 0.4)):
            try:
                with psycopg.connect(self._server.url, autocommit=True) as connection:
                    self.cuts += connection.execute(
                        "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE pid <> "
                        "pg_backend_pid() AND backend_type = 'client backend' ORDER BY random() LIMIT 1) AS one"
                    ).fetchone()[0]  # type: ignore[index]
            except psycopg.Error:
                continue
            if self._restarts and self.cuts >= 5:
                self._server.stop(self._restarts.pop())
                time.sleep(1.5)
                self._server.start(**CARELESS)

    def stop(self) -> None:
        self._over.set()
        self.join()


async def hold(rows: int, restarts: list[signal.Signals], folder: Path, media_folder: Path) -> None:
    from prefect.settings import PREFECT_API_URL

    batch = folder / "batch.json"
    row = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": "256x128",
    }
    batch.write_text(json.dumps([{**row, "seed": seed} for seed in range(rows)]))
    renderer = "prefect_ltx.local.stored_clip:StoredClipRenderer"
    with restartable_postgres(**CARELESS) as server, LocalFal(renderer=renderer) as fal:
        fal.faults.add("concurrency", value=8)
        environ = os.environ | environment(fal.url, folder)
        environ |= {
            "PREFECT_LTX_LEDGER": server.url,
            "PREFECT_LTX_BUDGET_USD": "1000",
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
        }
        Ledger(server.url).close()
        trouble = Trouble(server, restarts)
        trouble.start()
        try:
            both = [Forked(str(CHILD), str(batch), env=environ) for _ in range(2)]
            told = [each.communicate(600)[1] for each in both]
        finally:
            trouble.stop()
        assert [each.returncode for each in both] == [0, 0], told
        assert (submits(fal), len(fal.bill)) == (rows, rows), told
        assert trouble.cuts > 5
        assert not restarts
        with Ledger(server.url) as ledger:
            assert [each.state for each in ledger.find()] == [State.ARCHIVED] * rows
            assert ledger.double_charges() == []
            assert sum(each.held_usd for each in ledger.find()) == fal.bill.total_usd
    report = await Archive(str(folder / "archive")).verify()
    assert (report.ok, report.generations) == (True, rows)


@pytest.fixture(autouse=True)
def _needs_postgresql(postgres_server: str) -> None:
    """Skips where there is none."""


async def test_connections_are_cut_under_a_batch(tmp_path: Path, media_folder: Path) -> None:
    """One charge a row, every row archived by both, none "not started"; with the defaults that others like."""
    await hold(16, [], tmp_path, media_folder)


@pytest.mark.chaos
async def test_the_server_is_killed_and_restarted_under_a_batch(tmp_path: Path, media_folder: Path) -> None:
    """60 rows, cut at random, shut down once and killed once in the middle."""
    await hold(60, [signal.SIGQUIT, signal.SIGINT], tmp_path, media_folder)
