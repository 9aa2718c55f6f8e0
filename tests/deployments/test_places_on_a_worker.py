"""The promise where people run it: a real process worker with nothing set but where Prefect and fal are.

No helper here sets a place. HOME is a folder of the test's own, since a home is what every user has.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment_server import Server
from docs_blocks import blocks_of
from forked import programs, run_forked
from support import submits

from prefect_ltx.cli.prefect_server import prefect_server
from prefect_ltx.deployments import PREFECT_FILE
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TASKS_PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
AWAITS = (
    "import ast, asyncio, inspect, sys\n"
    "code = compile(sys.stdin.read(), 'page', 'exec', flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)\n"
    "asyncio.run(eval(code))\n"
)
REQUEST = {"prompt": "A lighthouse.", "num_frames": 9, "resolution": {"width": 256, "height": 192}}


@dataclass
class Site:
    """A Prefect server, an embedded fal, and a worker of a user who has set nothing else."""

    server: Server
    fal: LocalFal
    home: Path
    folder: Path
    environ: dict[str, str]

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def ltx(self, *arguments: str, cwd: Path | None = None) -> str:
        done = run_forked("-m", "prefect_ltx.cli", *arguments, env=self.environ, cwd=cwd or self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def completed(self, deployment: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """A run of the deployment, started as its form starts one, once it has ended well."""
        made = self.server.start(deployment, parameters)
        run = self.server.ended_run(deployment, lambda run: run["id"] == made["id"], 400)
        assert run["state_type"] == "COMPLETED", self.log()
        return run


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, prefect_home: Callable[[Path], Path]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    home = folder / "home"
    home.mkdir()
    with prefect_server(prefect_home(folder / "server")) as url, LocalFal() as fal:
        environ = {
            "PATH": os.pathsep.join([str(programs()), os.environ["PATH"]]),
            "HOME": str(home),
            "PREFECT_API_URL": url,
            "PREFECT_LTX_FAL_URL": fal.url,
        }
        server = Server(url, folder / "server")
        site = Site(server, fal, home, folder, environ)
        site.ltx("deploy")
        with (folder / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [programs() / "prefect", "worker", "start", "--pool", "ltx"],
                env=environ,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        yield site
        worker.terminate()
        worker.wait(timeout=60)
        server.api.close()


@pytest.fixture
def request_of(media_folder: Path) -> Callable[[int], dict[str, Any]]:
    def made(seed: int) -> dict[str, Any]:
        return {
            "request": {**REQUEST, "image_url": str(media_folder / "sheet.png"), "seed": seed},
            "recipe": "none",
        }

    return made


def kept(archive: Path, seed: int) -> list[Path]:
    """The videos of this seed that are on disk now, each named by a manifest."""
    manifests = [
        path for path in archive.rglob("manifest.json") if json.loads(path.read_text())["seed"] == seed
    ]
    videos = [path.with_name("video.mp4") for path in manifests]
    assert all(video.stat().st_size for video in videos)
    return videos


def test_nothing_set_but_prefect_and_fal(site: Site, request_of: Callable[[int], dict[str, Any]]) -> None:
    """The video is on disk after the run, below the user's home; the same request again is reused; one charge."""
    paid = len(site.fal.bill)
    site.completed("ingredient-to-video", request_of(1))
    archive = site.home / ".prefect-ltx" / "archive"
    (video,) = kept(archive, 1)
    assert len(site.fal.bill) == paid + 1
    site.completed("ingredient-to-video", request_of(1))
    assert kept(archive, 1) == [video]
    assert len(site.fal.bill) == paid + 1
    report = json.loads(site.ltx("archive", "verify", "--json"))
    assert report["location"] == str(archive)


def test_blocks_as_the_docs_save_them(site: Site, request_of: Callable[[int], dict[str, Any]]) -> None:
    """The page's blocks, saved in a folder of a person's, name ledger and archive in that folder on every worker."""
    (saving,) = [each.text for each in blocks_of(TASKS_PAGE) if ".asave(" in each.text]
    shell = site.folder / "shell"
    shell.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", AWAITS],
        input=saving.replace("http://127.0.0.1:8734", site.fal.url),
        env=site.environ,
        cwd=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = {"credentials": "trial", "ledger": "trial", "archive": "trial"}
    paid = len(site.fal.bill)
    for _ in range(2):
        site.completed("ingredient-to-video", {**request_of(2), **names})
        assert len(kept(shell / "archive", 2)) == 1
        assert len(site.fal.bill) == paid + 1
    assert (shell / "ledger.db").is_file()


def test_a_stored_relative_place_is_refused_before_any_post(
    site: Site, request_of: Callable[[int], dict[str, Any]]
) -> None:
    """A block that the form of the UI stored with a relative place stops the run in one line, and nothing is sent."""
    types = {each["slug"]: each for each in site.server.api.post("/block_types/filter", json={}).json()}
    kind = types["video-archive"]["id"]
    filter_ = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    schema = site.server.api.post("/block_schemas/filter", json=filter_).json()[0]
    made = site.server.api.post(
        "/block_documents/",
        json={
            "name": "typed",
            "data": {"location": "films"},
            "block_schema_id": schema["id"],
            "block_type_id": kind,
        },
    )
    assert made.status_code == 201, made.text
    posts = submits(site.fal)
    started = site.server.start("ingredient-to-video", {**request_of(3), "archive": "typed"})
    run = site.server.ended_run("ingredient-to-video", lambda run: run["id"] == started["id"], 400)
    assert run["state_type"] == "FAILED"
    assert "video-archive/typed holds the relative place films" in run["state"]["message"]
    assert "Nothing was sent or spent" in run["state"]["message"]
    assert submits(site.fal) == posts


def test_a_relative_place_in_job_variables_is_refused_before_any_post(
    site: Site, request_of: Callable[[int], dict[str, Any]]
) -> None:
    """A relative place in a run's environment stops it in one line that names the variable, and nothing is sent."""
    posts = submits(site.fal)
    path = f"/deployments/{site.server.deployments()['ingredient-to-video']['id']}/create_flow_run"
    variables = {"env": {"PREFECT_LTX_LEDGER": "sqlite:///ledger.db"}}
    started = site.server.api.post(
        path, json={"parameters": request_of(4), "job_variables": variables}
    ).json()
    run = site.server.ended_run("ingredient-to-video", lambda run: run["id"] == started["id"], 400)
    assert run["state_type"] == "FAILED"
    assert "PREFECT_LTX_LEDGER is sqlite:///ledger.db, which is relative" in run["state"]["message"]
    assert submits(site.fal) == posts


def test_the_scheduled_sweep_keeps_what_it_collects(
    site: Site, request_of: Callable[[int], dict[str, Any]]
) -> None:
    """What submit-only left is collected by the sweep's own schedule, and is on disk afterwards; one charge."""
    file = yaml.safe_load(PREFECT_FILE.read_text())
    (sweep,) = [each for each in file["deployments"] if each["name"] == "sweep"]
    (schedule,) = sweep["schedules"]
    del schedule["cron"]
    schedule["interval"] = 15
    (site.folder / "prefect.yaml").write_text(yaml.safe_dump(file))
    site.ltx("deploy", "--file", str(site.folder / "prefect.yaml"))
    paid = len(site.fal.bill)
    parameters = request_of(5)
    del parameters["recipe"]
    site.completed("submit-only", parameters)
    archive, deadline = site.home / ".prefect-ltx" / "archive", time.monotonic() + 400
    while not kept(archive, 5) and time.monotonic() < deadline:
        time.sleep(1)
    assert len(kept(archive, 5)) == 1
    site.server.ended_run("sweep", lambda run: run["state_type"] == "COMPLETED")
    assert len(site.fal.bill) == paid + 1
