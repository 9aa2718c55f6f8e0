"""Waiting without holding a worker, on a real Prefect server with a real process worker: by webhook, and by poller."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support import submits
from webhook_parts import receiver, until

from prefect_ltx.cli.prefect_server import prefect_server, without_prefect
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
REQUEST = {
    "prompt": "Reference sheet: a cup. Generated video: it turns.",
    "num_frames": 9,
    "resolution": {"width": 256, "height": 192},
    "video_write_mode": "fast",
}
SUBMIT = {"name": "submit-only", "entrypoint": "prefect_ltx.flows:submit_only", "work_pool": {"name": "ltx"}}


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


def deploy(environ: dict[str, str], folder: Path) -> None:
    """The page's deployments, and `submit-only`; the poller without its schedule, so that the test says when."""
    documented = yaml.safe_load(PAGE.read_text().split("```yaml\n")[1].split("```")[0])
    (poller,) = [each for each in documented["deployments"] if each["name"] == "poll-in-flight"]
    poller["schedules"][0]["active"] = False
    documented["deployments"].append(SUBMIT)
    (folder / "prefect.yaml").write_text(yaml.safe_dump(documented))
    for arguments in (
        ["work-pool", "create", "ltx", "--type", "process"],
        ["--no-prompt", "deploy", "--all", "--prefect-file", str(folder / "prefect.yaml")],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            env=environ,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def start(api: httpx.Client, name: str, **parameters: Any) -> str:
    """Start a run of a deployment, once; gives the run's id."""
    once = {"parameters": parameters, "idempotency_key": uuid.uuid4().hex}

    def made() -> str | None:
        ours = {"deployments": {"name": {"any_": [name]}}}
        found = api.post("/deployments/filter", json=ours)
        if found.status_code == 503:
            return None  # a server with SQLite says so while its database is busy
        answer = api.post(f"/deployments/{found.json()[0]['id']}/create_flow_run", json=once)
        if answer.status_code == 503:
            return None
        answer.raise_for_status()
        run_id: str = answer.json()["id"]
        return run_id

    return str(until(made))


def ended(api: httpx.Client, name: str) -> list[dict[str, Any]]:
    """The runs of a deployment that have ended, the oldest first."""
    ours = {"deployments": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_ASC"}
    answer = api.post("/flow_runs/filter", json=ours)
    runs: list[dict[str, Any]] = answer.json() if answer.status_code == 200 else []
    return [run for run in runs if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED")]


def test_a_webhook_and_a_poller_each_finish_what_was_submitted(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """submit_only ends; fal's signed webhook, or the poller, raises the event that starts finish_generation: both
    Completed, archived, and paid for once each."""
    home = ltx_env / "prefect"
    sheet = str(media_folder / "sheet.png")
    with prefect_server(home) as url, httpx.Client(base_url=url, timeout=60) as api:
        prefect = {"PREFECT_API_URL": url, "PREFECT_HOME": str(home)}
        environ = without_prefect(os.environ) | prefect | {"PREFECT_WORKER_QUERY_SECONDS": "1"}
        deploy(environ, ltx_env)
        with (
            worker(environ, ltx_env / "worker.log"),
            receiver(fal.url, ltx_env, **prefect) as hook,
            Ledger(environ["PREFECT_LTX_LEDGER"]) as ledger,
        ):
            log = ltx_env / "worker.log"
            start(
                api, "submit-only", request={**REQUEST, "image_url": sheet, "seed": 1}, webhook_url=hook.url
            )
            polled = start(api, "submit-only", request={**REQUEST, "image_url": sheet, "seed": 2})
            until(lambda: polled in {run["id"] for run in ended(api, "submit-only")}, 240)
            until(lambda: len(fal.bill) == 2, 240)
            start(api, "poll-in-flight")
            finished = until(lambda: (runs := ended(api, "finish-generation"))[1:] and runs, 300)
            for name in ("submit-only", "poll-in-flight", "finish-generation"):
                assert {run["state_type"] for run in ended(api, name)} == {"COMPLETED"}, log.read_text()
            rows = {row.seed: row for row in ledger.find()}
            assert sorted(run["parameters"]["generation"] for run in finished) == sorted(
                row.id for row in rows.values()
            )
            assert {row.state for row in rows.values()} == {State.ARCHIVED}
            assert sum(row.settled_usd or 0 for row in rows.values()) == fal.bill.total_usd
            heard = {
                seed: [line.actor for line in ledger.events(row.id) if line.event == "WebhookReceived"]
                for seed, row in rows.items()
            }
            assert heard == {1: ["webhook"], 2: []}
            assert ledger.take_announcements(again_after=0) == []
    assert (submits(fal), len(fal.bill)) == (2, 2)
    manifests = [json.loads(path.read_text()) for path in (ltx_env / "archive").rglob("manifest.json")]
    assert sorted(each["seed"] for each in manifests) == [1, 2]
