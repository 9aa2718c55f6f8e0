"""The deployments on a real Prefect server with a real process worker and the embedded fal."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_ltx.cli.prefect_server import prefect_server, without_prefect
from prefect_ltx.deployments import PREFECT_FILE
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

REQUEST = {
    "prompt": 'A "boat" on {{ water }}, 100 % calm.',
    "num_frames": 9,
    "resolution": {"width": 256, "height": 192},
}


@contextmanager
def worker(environ: dict[str, str], log: Path) -> Iterator[None]:
    """A process worker for the pool `ltx`, stopped at the end."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "ltx"],
            env=environ,
            cwd=log.parent,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def ended_run(api: httpx.Client, known: set[str], seconds: float = 120) -> dict[str, Any]:
    """The first run of the deployment with the trigger that is not among `known`, once it has ended."""
    ours = {"deployments": {"name": {"any_": ["ingredient-to-video"]}}}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        runs: list[dict[str, Any]] = api.post("/flow_runs/filter", json=ours).json()
        for run in runs:
            if run["id"] not in known and run["state_type"] in ("COMPLETED", "FAILED", "CRASHED"):
                known.add(run["id"])
                return run
        time.sleep(0.3)
    raise AssertionError(f"no flow run ended within {seconds} s: {runs}")


def test_event_runs_the_deployed_flow_and_the_same_request_is_paid_for_once(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Deployed from prefect.yaml, an event makes one paid and archived video; run again, it costs nothing."""
    home = ltx_env / "prefect"
    command = [sys.executable, "-m", "prefect"]
    with prefect_server(home) as url, httpx.Client(base_url=url, timeout=30) as api:
        environ = without_prefect(os.environ) | {
            "PREFECT_API_URL": url,
            "PREFECT_HOME": str(home),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        for arguments in (
            ["work-pool", "create", "ltx", "--type", "process"],
            ["--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE)],
        ):
            done = subprocess.run(
                [*command, *arguments], env=environ, cwd=ltx_env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

        deployments = {each["name"]: each for each in api.post("/deployments/filter", json={}).json()}
        assert set(deployments) == {"reference-video-to-video", "ingredient-to-video", "sweep"}
        (nightly,) = deployments["reference-video-to-video"]["schedules"]
        assert nightly["active"] is False

        known: set[str] = set()
        event: dict[str, Any] = {
            "event": "ltx.request.received",
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "resource": {"prefect.resource.id": "ltx.request.test"},
            "payload": {"request": {**REQUEST, "image_url": str(media_folder / "sheet.png")}},
        }
        with worker(environ, ltx_env / "worker.log"):
            assert api.post("/events", json=[event]).status_code == 204
            first = ended_run(api, known)
            assert first["state_type"] == "COMPLETED", (ltx_env / "worker.log").read_text()
            assert len(fal.bill) == 1
            (manifest,) = (ltx_env / "archive").rglob("manifest.json")

            # What a second delivery of the event would ask for: its seed comes from the event's id.
            assert first["parameters"]["request"]["seed"] == uuid.UUID(event["id"]).int % 2**31
            deployment = deployments["ingredient-to-video"]["id"]
            again = {"parameters": first["parameters"]}
            api.post(f"/deployments/{deployment}/create_flow_run", json=again).raise_for_status()
            second = ended_run(api, known)
            assert second["state_type"] == "COMPLETED", (ltx_env / "worker.log").read_text()

    assert len(fal.bill) == 1
    assert list((ltx_env / "archive").rglob("manifest.json")) == [manifest]
    assert json.loads(manifest.read_text())["prompt_sent"] == REQUEST["prompt"]
