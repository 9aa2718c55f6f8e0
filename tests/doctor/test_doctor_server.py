"""What the doctor asks of a Prefect server that runs: does it answer, which release, what it knows, whose pools."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from support import environment, submits

from prefect_ltx.blocks import FalCredentials
from prefect_ltx.cli.doctor_prefect import check_server, installed
from prefect_ltx.cli.prefect_server import without_prefect
from prefect_ltx.local import LocalFal

pytestmark = pytest.mark.e2e

POOL = "ltx-in-containers"


@pytest.fixture
async def containers(prefect_server: None) -> AsyncIterator[str]:
    """A work pool of ours whose runs share no disk, on the running server."""
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="docker"))
        yield POOL
        await client.delete_work_pool(POOL)


async def test_a_sound_server(prefect_server: None) -> None:
    """It answers, with its release; its version and its clock are as ours."""
    await FalCredentials.register_type_and_schema()
    found, machines = await check_server()
    assert [(each.check, each.severity) for each in found if each.severity != "info"] == [("prefect", "ok")]
    assert f"it runs Prefect {installed()['prefect']}" in found[0].what
    assert PREFECT_API_URL.value() in found[0].what
    assert machines is None


async def test_a_server_that_does_not_know_the_blocks(prefect_server: None) -> None:
    """Block types that are missing come with the command that registers them."""
    await FalCredentials.register_type_and_schema()
    async with get_client() as client:
        known = await client.read_block_type_by_slug("fal-credentials")
        await client.delete_block_type(known.id)
    try:
        found, _ = await check_server()
    finally:
        await FalCredentials.register_type_and_schema()
    (finding,) = [each for each in found if "blocks" in each.what]
    assert finding.severity == "info"
    assert "prefect block register -m prefect_ltx.blocks" in finding.remedy
    assert [each for each in (await check_server())[0] if "blocks" in each.what] == []


async def test_pools_on_several_machines_make_a_sqlite_ledger_an_error(
    containers: str, fal: LocalFal, tmp_path: Path
) -> None:
    """The command asks the live server; what it learns there decides about settings. Exit code 1, nothing sent."""
    environ = without_prefect(os.environ) | environment(fal.url, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "prefect_ltx.cli", "doctor", "--json"],
        env=environ | {"PREFECT_API_URL": PREFECT_API_URL.value() or "", "PREFECT_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    found = json.loads(done.stdout)["findings"]
    said = {each["what"]: each for each in found if each["check"] == "prefect"}
    assert any("answers; it runs Prefect" in what for what in said)
    assert any("runs do not share a disk" in what and f"{containers} (docker)" in what for what in said)
    (refused,) = [each for each in found if each["severity"] == "error"]
    assert refused["check"] == "settings"
    assert f"work pool {containers} is of type docker" in refused["what"]
    assert "postgresql://" in refused["remedy"]
    assert done.returncode == 1
    assert submits(fal) == 0


async def test_a_server_that_is_not_there() -> None:
    """No answer is an error that names the address and the way to start one."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        (finding,), machines = await check_server()
    assert finding.severity == "error"
    assert "http://127.0.0.1:9/api does not answer" in finding.what
    assert "prefect server start" in finding.remedy
    assert machines is None


ANSWERS = {"/api/health": "true", "/api/admin/version": '"3.6.1"', "/api/work_pools/filter": "[]"}


class _Old(BaseHTTPRequestHandler):
    """As much of a Prefect server as the doctor reads: an old release, and a clock that is ten minutes slow."""

    def do_GET(self) -> None:
        body = ANSWERS.get(self.path, '{"detail": "Not Found"}').encode()
        self.send_response_only(200 if self.path in ANSWERS else 404)
        self.send_header("Date", formatdate(time.time() - 600, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


async def test_a_server_that_is_older_and_late() -> None:
    """A release behind ours and a clock behind ours are warnings, each with its remedy."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Old) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
            found, _ = await check_server()
        server.shutdown()
    warned = {each.check: each for each in found if each.severity == "warning"}
    assert set(warned) == {"prefect", "clock"}
    assert "the server 3.6.1" in warned["prefect"].what
    assert warned["prefect"].remedy == "Update the server."
    assert "differ by 6" in warned["clock"].what or "differ by 59" in warned["clock"].what
    assert "time synchronisation" in warned["clock"].remedy
