"""Two workers, killed and started again at random under a batch: every row archived, one charge a row.

What goes on with a batch whose worker died is the deployment's own schedule, as docs/distributed.md has it.
"""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from support import environment
from worker_parts import Worker, deploy_batch, user_of

from prefect_ltx.archive import Archive
from prefect_ltx.cli.prefect_server import prefect_server
from prefect_ltx.generation import Services
from prefect_ltx.ledger import Ledger, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import sweep_all
from prefect_ltx.settings import Settings

SECONDS = float(os.environ.get("CHAOS_SECONDS", "0"))
"""How long workers are killed: `make chaos-workers` sets 300 (with 100 rows); else until one is killed in a batch."""
ROWS = 100 if SECONDS else 10
KILLS = 1
EVERY = 15 if SECONDS else 10
SEED = int(os.environ.get("CHAOS_SEED", "2026"))

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(SECONDS * 4 + 600)]


class Killer(threading.Thread):
    """Kills one worker at random instants, and starts it again a little later.

    Mostly while the batch moves on; one time in five whatever the worker is doing, its start included.
    """

    def __init__(
        self, worker: Worker, ledger: Ledger, seed: int, stop: threading.Event, kills: Counter[str]
    ) -> None:
        super().__init__(name=f"killer of {worker.name}", daemon=True)
        self._worker = worker
        self._ledger = ledger
        self._chance = random.Random(seed)
        self._ended = stop
        self._kills = kills

    def run(self) -> None:
        self._worker.start()
        while True:
            if self._chance.random() < 0.8 and not self._moved_on():
                return
            if self._ended.wait(self._chance.uniform(0, 15 if SECONDS else 6)):
                return
            moved, below = _newest(self._ledger) > 0, self._worker.kill()
            self._kills["no flow run" if not below else "in a batch" if moved else "before a batch"] += 1
            stopped = self._ended.wait(self._chance.uniform(0, 3))
            self._worker.start()
            if stopped:
                return

    def _moved_on(self) -> bool:
        """Wait until a flow run of this worker is there and something new is in the ledger; False at the end."""
        before, patience = None, time.monotonic() + 90
        while time.monotonic() < patience:
            if self._ended.wait(0.3):
                return False
            if not self._worker.is_at_work():
                before = None
            elif before is None:
                before = _newest(self._ledger)
            elif _newest(self._ledger) > before:
                return True
        return True


def _newest(ledger: Ledger) -> float:
    return max((row.updated_at.timestamp() for row in ledger.find(limit=1000)), default=0.0)


async def test_two_workers_killed_at_random(
    tmp_path: Path,
    media_folder: Path,
    postgres_url: str,
    prefect_home: Callable[[Path], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often two workers die, all rows end in the archive and each is paid for once."""
    batch = tmp_path / "batch.json"
    row = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": "256x128",
    }
    # Every fifth row leaves its seed to the batch.
    batch.write_text(json.dumps([row | ({"seed": n} if n % 5 else {}) for n in range(ROWS)]))
    renderer = "prefect_ltx.local.stored_clip:StoredClipRenderer"
    kills: Counter[str] = Counter()
    stop = threading.Event()
    with (
        LocalFal(data=tmp_path / "fal", renderer=renderer, render_seconds=4 if SECONDS else 2) as fal,
        prefect_server(prefect_home(tmp_path / "prefect")) as api,
        Ledger(postgres_url) as ledger,
    ):
        ltx = environment(fal.url, tmp_path) | {"PREFECT_LTX_LEDGER": postgres_url}
        environ = user_of(api, tmp_path / "prefect", ltx)
        deploy_batch(environ, tmp_path, batch, every=EVERY, concurrency=2)
        workers = [Worker(name, environ, tmp_path) for name in ("one", "two")]
        killers = [Killer(each, ledger, SEED + at, stop, kills) for at, each in enumerate(workers)]
        began = time.monotonic()
        for each in killers:
            each.start()
        try:
            at_the_end = _let_them(ledger, began, kills)
            stop.set()
            for each in killers:
                each.join(60)
            _wait_for_a_whole_run(api, workers, 120 + ROWS * 6)
        finally:
            stop.set()
            for worker in workers:
                worker.kill()
        charges = [charge.seed for charge in fal.bill.charges]
        for name, value in ltx.items():
            monkeypatch.setenv(name, value)
        async with Services.from_settings(Settings()) as services:
            report = await sweep_all(services, Owner.here(announces_posts=True))
        states = Counter(row.state for row in ledger.find(limit=1000))
        print(
            f"{sum(kills.values())} kills {dict(kills)}; archived when they ended: {at_the_end} of {ROWS};"
            f" {len(charges)} charges; ledger {dict(states)}; {time.monotonic() - began:.0f} s in all"
        )
        assert len(charges) == len(set(charges)) == ROWS
        assert {n for n in range(ROWS) if n % 5} <= set(charges)
        assert {state: n for state, n in states.items() if state is not State.RELEASED} == {
            State.ARCHIVED: ROWS
        }
        assert report.double_charges == []
        assert report.orphans == []
        assert report.items == []
    assert kills["in a batch"] >= (5 if SECONDS else 1)
    archive = Archive(str(tmp_path / "archive"))
    assert (await archive.verify()).ok
    assert sorted([each.seed async for each in archive.manifests()]) == sorted(charges)


def _let_them(ledger: Ledger, began: float, kills: Counter[str]) -> int:
    """For as long as the long form asks; the short form until some have died. How many rows are archived then."""
    while time.monotonic() - began < (SECONDS or 240):
        if not SECONDS and kills["in a batch"] >= KILLS:
            break
        time.sleep(0.2)
    return len(ledger.find(states=[State.ARCHIVED], limit=1000))


def _wait_for_a_whole_run(api: str, workers: list[Worker], seconds: float) -> None:
    """Until a run of the schedule says that every row is in the archive."""
    deadline = time.monotonic() + seconds
    with httpx.Client(base_url=api, timeout=30) as client:
        while time.monotonic() < deadline:
            runs = client.post(
                "/flow_runs/filter", json={"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
            ).json()
            if any(run["state"]["message"] == f"{ROWS} of {ROWS} rows are in the archive" for run in runs):
                return
            time.sleep(0.5)
    logs = "\n".join(f"{worker.name}: {worker.log.read_text()[-3000:]}" for worker in workers)
    raise AssertionError(f"no run was whole within {seconds} s:\n{logs}")
