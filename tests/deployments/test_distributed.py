"""Two workers on one pool that share no disk: Prefect's server and the ledger in PostgreSQL, everything else on S3.

What docs/distributed.md says has to be configured, and nothing more. `make distributed` runs it.
"""

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deployment_server import ENDED, Server
from docs_blocks import blocks_of
from s3_servers import S3Server
from sqlalchemy import create_engine, make_url, text
from support import SECRET
from worker_parts import Worker

from prefect_ltx.archive import Archive
from prefect_ltx.cli.prefect_server import prefect_server, without_prefect
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.distributed, pytest.mark.real_s3, pytest.mark.timeout(900)]

PAGE = Path(__file__).parents[2] / "docs" / "distributed.md"
SMALL = {"num_frames": 9, "resolution": {"width": 256, "height": 128}}


@dataclass
class Machine:
    """A worker with a disk of its own."""

    worker: Worker
    folder: Path

    def runs(self) -> set[str]:
        """The flow runs that it took. Of two workers that reach for one run, Prefect's server stops one."""
        log = self.worker.log.read_text()
        reached, stopped = (
            set(re.findall(rf"{what} flow run '([0-9a-f-]{{36}})'", log))
            for what in ("submitting", "Aborted submission of")
        )
        return reached - stopped


@dataclass
class Site:
    """One Prefect server, one ledger, one store, and two machines."""

    server: Server
    fal: LocalFal
    store: S3Server
    bucket: str
    ledger_url: str
    prefect_database: str
    machines: list[Machine]

    @property
    def archive(self) -> Archive:
        return self.store.archive(self.bucket, "videos")

    def objects(self, prefix: str) -> list[str]:
        found = self.store.client().list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [each["Key"] for each in found.get("Contents", [])]

    def made(self, run: dict[str, Any]) -> dict[str, Any]:
        """The run at its end, which is a good one."""
        deadline = time.monotonic() + 240
        while (now := self.server.api.get(f"/flow_runs/{run['id']}").json())["state_type"] not in ENDED:
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.3)
        assert now["state_type"] == "COMPLETED", self.logs()
        return dict(now)

    def logs(self) -> str:
        return "\n".join(
            f"--- {each.worker.name}\n{each.worker.log.read_text()[-6000:]}" for each in self.machines
        )

    def submit_states(self, run: str) -> list[str]:
        """The states of that run's submit tasks; the server learns of them by events, a little later."""
        body = {"flow_runs": {"id": {"any_": [run]}}}
        deadline = time.monotonic() + 60
        while True:
            found = self.server.api.post("/task_runs/filter", json=body).json()
            submits = [each for each in found if "submit" in each["name"]]
            if submits and all(each["state_type"] in ENDED for each in submits):
                return [each["state_name"] for each in submits]
            assert time.monotonic() < deadline, found
            time.sleep(0.3)


def said_in_the_page() -> dict[str, str]:
    """What docs/distributed.md exports for workers and server, by name."""
    shell = "".join(each.text for each in blocks_of(PAGE) if each.language == "sh")
    return dict(re.findall(r'^export (\w+)="?([^"\n]*)"?', shell, re.MULTILINE))


def database(url: str, name: str) -> str:
    """A database of its own, whose owner may do nothing else; its URL."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
        connection.execute(text(f"CREATE DATABASE {name} OWNER {name}"))
    engine.dispose()
    return make_url(url).set(username=name, database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def site(
    postgres_server: str, swift: S3Server, media_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """All of it, configured as the page says."""
    folder, bucket = tmp_path_factory.mktemp("site"), swift.new_bucket()
    for name in ("clip.mp4", "sheet.png"):
        swift.client().upload_file(str(media_folder / name), bucket, f"in/{name}")
    said, suffix = said_in_the_page(), uuid.uuid4().hex[:8]
    ledger_url = database(postgres_server, f"ledger_{suffix}")
    prefects = make_url(database(postgres_server, f"prefect_{suffix}")).set(drivername="postgresql+asyncpg")
    on_postgres = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": prefects.render_as_string(hide_password=False)}
    with LocalFal() as fal, prefect_server(folder / "prefect", on_postgres) as url:
        configured = {
            "PREFECT_API_URL": url,
            "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK": said["PREFECT_DEFAULT_RESULT_STORAGE_BLOCK"],
            "PREFECT_LTX_LEDGER": ledger_url,
            "PREFECT_LTX_ARCHIVE": f"s3://{bucket}/videos",
            "PREFECT_LTX_DISTRIBUTED": said["PREFECT_LTX_DISTRIBUTED"],
        } | {name: value for name, value in swift.environ.items() if name in said}
        assert set(said) == set(configured) | set(on_postgres)
        here = {
            name: value for name, value in without_prefect(os.environ).items() if not name.startswith("AWS_")
        }
        here |= configured | {
            "FAL_KEY": SECRET,
            "PREFECT_LTX_FAL_URL": fal.url,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        server = Server(url, folder / "prefect")
        (save,) = [each.text for each in blocks_of(PAGE) if "RemoteFileSystem" in each.text]
        assert "s3://films/results" in save
        for command in (
            ["-c", save.replace("s3://films/results", f"s3://{bucket}/results")],
            ["-m", "prefect_ltx.cli", "deploy"],
        ):
            done = subprocess.run(
                [sys.executable, *command], env=here, cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        machines = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            # Prefect's and our own folders are below it, so that the two share nothing by chance.
            worker = Worker(name, here | {"HOME": str(folder / name)}, folder / name)
            machines.append(Machine(worker, folder / name))
        try:
            for each in machines:
                each.worker.start()
            yield Site(server, fal, swift, bucket, ledger_url, on_postgres.popitem()[1], machines)
        finally:
            for each in machines:
                each.worker.kill()
            server.api.close()


def request(site: Site, kind: str, seed: int) -> tuple[str, dict[str, Any]]:
    """A deployment, and parameters of a run of it."""
    body = {**SMALL, "seed": seed}
    if kind == "clip":
        body |= {"prompt": "A dancer in red.", "video_url": f"s3://{site.bucket}/in/clip.mp4"}
        return "reference-video-to-video", {"request": body}
    body |= {"prompt": "Reference sheet: a cup. Generated video: it turns."}
    return "ingredient-to-video", {"request": body | {"image_url": f"s3://{site.bucket}/in/sheet.png"}}


async def test_runs_of_both_endpoints_on_two_machines_are_paid_for_once(site: Site) -> None:
    """Six runs, two of them equal to others, on two workers: all Completed, one charge a request, one archive."""
    wanted = [("clip", 1), ("sheet", 1), ("clip", 1), ("sheet", 2), ("clip", 2), ("sheet", 2)]
    paid = len(site.fal.bill)
    async with site.archive as archive:
        kept = len([each async for each in archive.manifests()])
    runs = [site.server.start(*request(site, *each)) for each in wanted]
    for run in runs:
        site.made(run)
    assert len(site.fal.bill) - paid == len(set(wanted))
    async with site.archive as archive:
        assert len([each async for each in archive.manifests()]) - kept == len(set(wanted))
        assert (await archive.verify()).ok
    with Ledger(site.ledger_url) as ledger:
        assert {row.state for row in ledger.find(limit=100)} == {State.ARCHIVED}
    took = [each.runs() & {run["id"] for run in runs} for each in site.machines]
    assert all(took), site.logs()
    assert sum(map(len, took)) == len(runs)
    # The runs are in PostgreSQL, results are in the bucket, and neither is on a disk of a machine.
    engine = create_engine(make_url(site.prefect_database).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'")) >= len(
            runs
        )
    engine.dispose()
    assert not list((site.server.home).glob("*.db"))
    assert len(site.objects("results/ltx-")) >= len(set(wanted))
    for each in site.machines:
        assert not [path for path in each.folder.rglob("storage/*") if path.is_file()]
        assert not list(each.folder.rglob("*.mp4"))


async def test_a_repetition_is_cached_on_the_other_machine(site: Site) -> None:
    """A request that one machine made shows as Cached where the other repeats it, and costs nothing."""
    wanted = request(site, "clip", 11)
    first = site.made(site.server.start(*wanted))
    paid = len(site.fal.bill)
    (maker,) = [each for each in site.machines if first["id"] in each.runs()]
    (other,) = [each for each in site.machines if each is not maker]
    maker.worker.kill()
    try:
        again = site.made(site.server.start(*wanted))
    finally:
        maker.worker.start()
    assert again["id"] in other.runs()
    assert site.submit_states(again["id"]) == ["Cached"]
    assert len(site.fal.bill) == paid


async def test_what_a_lost_machine_had_begun_is_finished_by_the_other(site: Site) -> None:
    """A machine goes while fal works for it: the same request on the other one joins it, and one charge stays one."""
    wanted, paid = request(site, "sheet", 12), len(site.fal.bill)
    site.fal.faults.add("slow_run", times=1, value=5)
    lost = site.server.start(*wanted)
    with Ledger(site.ledger_url) as ledger:
        deadline = time.monotonic() + 120
        while not ledger.find(states=[State.SUBMITTED]):
            assert time.monotonic() < deadline, site.logs()
            time.sleep(0.1)
        (maker,) = [each for each in site.machines if lost["id"] in each.runs()]
        maker.worker.kill()
        try:
            again = site.made(site.server.start(*wanted))
        finally:
            maker.worker.start()
        assert again["id"] not in maker.runs()
        assert len(site.fal.bill) - paid == 1
        assert {row.state for row in ledger.find(limit=100)} == {State.ARCHIVED}
    async with site.archive as archive:
        assert (await archive.verify()).ok
