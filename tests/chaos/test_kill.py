"""The kill test: whatever dies whenever, one charge, one archived and verified video, a closed row."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import Forked
from generation_parts import cup_request, submitted
from support import environment

from prefect_ltx.archive import Archive
from prefect_ltx.generation import Services
from prefect_ltx.ledger import Ledger, Owner, State
from prefect_ltx.local import Bill, LocalFal
from prefect_ltx.recovery import sweep_all
from prefect_ltx.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("prefect_server")]

CHILD = Path(__file__).with_name("child.py")
LONG = int(os.environ.get("CHAOS_ROUNDS", "0"))
"""Rounds at random instants: `make chaos` sets 100; the short form has a few."""

NAMED = [
    "before-intent",
    "after-intent",
    "submit+0.7",  # fal has accepted it, and answers after 1.5 s
    "after-reply",
    "while-polling",
    "after-completed",
    "half-downloaded",
    "after-download",
    "render+0.05",
    "before-archive",
    "video-archived",
    "before-manifest",
    "after-manifest",
]


class World:
    """A user's machine with one request to make, and a fal to make it at."""

    def __init__(self, folder: Path, sheet: Path, *, seed: int | None) -> None:
        from prefect.settings import PREFECT_API_URL

        self.folder = folder
        request = {
            "prompt": "Reference sheet: a cup. Generated video: it turns.",
            "image_url": str(sheet),
            "num_frames": 9,
            "resolution": {"width": 256, "height": 128},
            "video_write_mode": "fast",
        }
        if seed is not None:
            request["seed"] = seed
        self.request = folder / "request.json"
        self.request.write_text(json.dumps(request))
        self.base = {
            **os.environ,
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_LOGGING_LEVEL": "ERROR",
        }

    def child(self, url: str, *where: str) -> Forked:
        return Forked(str(CHILD), str(self.request), *where, env=self.base | environment(url, self.folder))

    def run(self, url: str, *where: str) -> int | None:
        child = self.child(url, *where)
        _, self.errors = child.communicate()
        return child.returncode

    def run_until_done(self, url: str) -> None:
        for _ in range(4):
            if self.run(url) == 0:
                return
        pytest.fail(self.errors[-2000:])


@pytest.fixture
def world(tmp_path: Path, media_folder: Path, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, media_folder / "sheet.png", seed=getattr(request, "param", 7))


@pytest.fixture
def patient_fal(tmp_path: Path) -> Iterator[LocalFal]:
    with LocalFal(data=tmp_path / "fal") as server:
        yield server


async def check(world: World, url: str, bill: Bill, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(url, world.folder).items():
        monkeypatch.setenv(name, value)
    async with Services.from_settings(Settings()) as services:
        report = await sweep_all(services, Owner.here())
    assert report.orphans == []
    assert report.double_charges == []
    assert len(bill) == 1
    rows = Ledger(environment(url, world.folder)["PREFECT_LTX_LEDGER"]).find()
    assert [row.state for row in rows if row.state is not State.RELEASED] == [State.ARCHIVED]
    archive = Archive(str(world.folder / "archive"))
    assert len([each async for each in archive.manifests()]) == 1
    verified = await archive.verify()
    assert verified.ok, verified
    assert [
        path for path in (world.folder / "archive").rglob("*") if "tmp" in path.name or "part" in path.name
    ] == []
    work = world.folder / "home" / "work"
    assert [path for path in work.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("where", NAMED)
async def test_killed_at_a_checkpoint(
    where: str, world: World, patient_fal: LocalFal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at a named point, then run again: one charge, one archived video, nothing left over."""
    if where.startswith("submit"):
        patient_fal.faults.add("slow_accept", value=1.5)
    if where == "half-downloaded":
        patient_fal.faults.add("slow_download", value=20_000)
    assert world.run(patient_fal.url, where) == -signal.SIGKILL, world.errors
    patient_fal.faults.clear()
    world.run_until_done(patient_fal.url)
    await check(world, patient_fal.url, patient_fal.bill, monkeypatch)


@pytest.mark.parametrize("round_", range(LONG or 2))
async def test_killed_at_a_random_instant(
    round_: int, world: World, patient_fal: LocalFal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at any instant, twice, then run again: one charge, one archived video, nothing left over."""
    chance = random.Random(round_)
    for _ in range(2):
        world.run(patient_fal.url, f"start+{chance.uniform(0, 3.5):.3f}")
    world.run_until_done(patient_fal.url)
    await check(world, patient_fal.url, patient_fal.bill, monkeypatch)


@pytest.mark.parametrize("world", [None], indirect=True)
@pytest.mark.parametrize("where", ["after-intent", "after-reply", "after-completed"])
async def test_killed_without_a_seed(
    where: str, world: World, patient_fal: LocalFal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request without a seed, killed and started anew, goes on with the seed that was drawn first."""
    assert world.run(patient_fal.url, where) == -signal.SIGKILL, world.errors
    world.run_until_done(patient_fal.url)
    await check(world, patient_fal.url, patient_fal.bill, monkeypatch)


@pytest.mark.parametrize("round_", range(max(2, LONG // 10)))
async def test_server_killed_as_well(round_: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """fal's server and the client are both killed, at different instants; both come back; one charge."""
    chance = random.Random(1000 + round_)
    server, url = start_server(world)
    try:
        child = world.child(url)
        time.sleep(chance.uniform(0.5, 3.5))
        server.kill()
        server.wait()
        time.sleep(chance.uniform(0, 0.5))
        child.kill()
        child.communicate()
        server, url = start_server(world, url)
        world.run_until_done(url)
        await check(world, url, Bill(world.folder / "fal"), monkeypatch)
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("where", ["after-reply", "after-completed"])
async def test_killed_behind_a_gateway(
    where: str, world: World, patient_fal: LocalFal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway answers HTML in fal's place now and then, on every route and with any status, and loses an accepted
    submit's reply; the worker is killed as well: one charge, one archived video."""
    patient_fal.faults.add("edge_error", value=502, route="submit", after=True, times=1)
    for route, status in (
        ("status", 404),
        ("result", 422),
        ("listing", 502),
        ("files", 404),
        ("cancel", 403),
    ):
        patient_fal.faults.add("edge_error", value=status, route=route, times=-1, chance=0.15)
    world.run(patient_fal.url, where)
    world.run_until_done(patient_fal.url)
    patient_fal.faults.clear()
    await check(world, patient_fal.url, patient_fal.bill, monkeypatch)


async def test_killed_with_another_account_on_the_ledger(
    world: World, patient_fal: LocalFal, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another account has a request at fal in the same ledger: kills and sweeps under this one leave it alone, and its
    own sweep collects it. Two charges, two archived videos."""
    settings = environment(patient_fal.url, world.folder)
    ledger = Ledger(settings["PREFECT_LTX_LEDGER"])
    for name, value in (settings | {"FAL_KEY": "other:key", "PREFECT_LTX_ACCOUNT": "other"}).items():
        monkeypatch.setenv(name, value)
    async with Services.from_settings(Settings()) as other:
        theirs = await submitted(other, cup_request(media_folder / "sheet.png", seed=99))
    monkeypatch.delenv("PREFECT_LTX_ACCOUNT")
    world.base["PREFECT_LTX_ACCOUNT"] = "this one"
    for where in ("after-intent", "after-reply", "half-downloaded"):
        world.run(patient_fal.url, where)
    world.run_until_done(patient_fal.url)
    monkeypatch.setenv("FAL_KEY", settings["FAL_KEY"])
    monkeypatch.setenv("PREFECT_LTX_ACCOUNT", "this one")
    async with Services.from_settings(Settings()) as services:
        report = await sweep_all(services, Owner.here())
    assert (report.other_accounts, ledger.get(theirs.id).state) == ([theirs.id], State.SUBMITTED)
    monkeypatch.setenv("FAL_KEY", "other:key")
    monkeypatch.setenv("PREFECT_LTX_ACCOUNT", "other")
    async with Services.from_settings(Settings()) as other:
        await sweep_all(other, Owner.here())
    rows = [row for row in ledger.find() if row.state is not State.RELEASED]
    assert [row.state for row in rows] == [State.ARCHIVED] * 2
    assert len(patient_fal.bill) == 2
    assert (await Archive(str(world.folder / "archive")).verify()).ok
    ledger.close()


def start_server(world: World, url: str = "http://127.0.0.1:0") -> tuple[subprocess.Popen[str], str]:
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "prefect_ltx.cli", "local-fal"),
            *("--port", url.rsplit(":", 1)[1], "--data", str(world.folder / "fal")),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    line = server.stdout.readline().split()
    assert line[:1] == ["ready"]
    return server, line[1]
