"""The deployments on a fresh Prefect server with a real process worker and the embedded fal: one charge each."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment_server import Server
from prefect.settings import PREFECT_API_URL, temporary_settings
from support import environment
from webhook_parts import receiver, until

from prefect_ltx.deployments import PREFECT_FILE
from prefect_ltx.deployments.apply import DeployOptions, deploy
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

REQUEST = {
    "prompt": 'A "boat" on {{ water }}, 100 % calm.',
    "num_frames": 9,
    "resolution": {"width": 256, "height": 192},
}


@dataclass
class Working:
    """A server with everything deployed, a worker for its pool, and the fal and the folder that the worker uses."""

    server: Server
    fal: LocalFal
    folder: Path

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def manifests(self) -> list[Path]:
        return list((self.folder / "archive").rglob("manifest.json"))


@pytest.fixture(scope="module")
def working(fresh: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Working]:
    folder = tmp_path_factory.mktemp("working")
    script = PREFECT_FILE.parent.resolve() / "examples" / "process" / "worker.sh"
    with LocalFal() as fal, fresh.worker(folder / "worker.log", script, **environment(fal.url, folder)):
        yield Working(fresh, fal, folder)


@pytest.fixture
def deployed(working: Working) -> Working:
    """The worker's script deploys before it starts."""
    deadline = time.monotonic() + 240
    while "Worker" not in working.log() and time.monotonic() < deadline:
        time.sleep(0.3)
    return working


def is_of(run: dict[str, Any], prompt: str) -> bool:
    return bool(run["parameters"].get("request", {}).get("prompt") == prompt)


def test_event_runs_the_deployed_flow_and_the_same_request_is_paid_for_once(
    deployed: Working, media_folder: Path
) -> None:
    """An event makes one paid and archived video; the same request run again costs nothing."""
    server, paid, kept = deployed.server, len(deployed.fal.bill), set(deployed.manifests())
    event: dict[str, Any] = {
        "event": "ltx.request.received",
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": "ltx.request.test"},
        "payload": {"request": {**REQUEST, "image_url": str(media_folder / "sheet.png")}},
    }
    assert server.api.post("/events", json=[event]).status_code == 204
    first = server.ended_run("ingredient-to-video", lambda run: is_of(run, REQUEST["prompt"]))
    assert first["state_type"] == "COMPLETED", deployed.log()
    assert len(deployed.fal.bill) == paid + 1
    (manifest,) = set(deployed.manifests()) - kept

    # What a second delivery of the event would ask for: its seed comes from the event's id.
    assert first["parameters"]["request"]["seed"] == uuid.UUID(event["id"]).int % 2**31
    made = server.start("ingredient-to-video", first["parameters"])
    second = server.ended_run("ingredient-to-video", lambda run: run["id"] == made["id"])
    assert second["state_type"] == "COMPLETED", deployed.log()
    assert len(deployed.fal.bill) == paid + 1
    assert set(deployed.manifests()) - kept == {manifest}
    assert json.loads(manifest.read_text())["prompt_sent"] == REQUEST["prompt"]


async def test_scheduled_run_is_completed_with_one_charge(
    deployed: Working, media_folder: Path, tmp_path: Path
) -> None:
    """Deployed with a schedule that comes due again and again, the request of that schedule is paid for once."""
    request = {**REQUEST, "prompt": "A lighthouse.", "image_url": str(media_folder / "sheet.png"), "seed": 5}
    wanted = {
        "name": "every-ten-seconds",
        "entrypoint": "prefect_ltx.flows:ingredient_to_video",
        "tags": ["ltx"],
        "schedules": [{"slug": "often", "interval": 10, "active": True, "parameters": {"request": request}}],
    }
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"deployments": [wanted]}))
    server, paid = deployed.server, len(deployed.fal.bill)
    with temporary_settings({PREFECT_API_URL: server.url}):
        await deploy(DeployOptions(prefect_file=tmp_path / "prefect.yaml"))
    try:
        first = server.ended_run(wanted["name"], lambda run: True)
        second = server.ended_run(wanted["name"], lambda run: run["id"] != first["id"])
    finally:
        server.api.delete(f"/deployments/{server.deployments()[wanted['name']]['id']}").raise_for_status()
    assert first["auto_scheduled"] is True
    assert [first["state_type"], second["state_type"]] == ["COMPLETED", "COMPLETED"], deployed.log()
    assert len(deployed.fal.bill) == paid + 1


def test_a_webhook_and_a_poller_each_finish_what_was_submitted(
    deployed: Working, media_folder: Path, tmp_path: Path
) -> None:
    """submit-only holds no worker; fal's signed webhook, or the poller, raises the event that starts
    finish-generation: both Completed, archived, and paid for once each."""
    server, fal, folder = deployed.server, deployed.fal, deployed.folder
    paid, kept = len(fal.bill), set(deployed.manifests())
    prefect = {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(server.home)}
    with (
        receiver(fal.url, folder, **prefect) as hook,
        Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger,
    ):
        submitted = {}
        for seed, told_by in ((1, {"webhook_url": hook.url}), (2, {})):
            request = {**REQUEST, "image_url": str(media_folder / "sheet.png"), "seed": seed}
            made = server.start("submit-only", {"request": request, "tags": ["harbour"], **told_by})
            submitted[seed] = made["id"]
        for run_id in submitted.values():
            run = server.ended_run("submit-only", lambda run, wanted=run_id: run["id"] == wanted)
            assert run["state_type"] == "COMPLETED", deployed.log()
        until(lambda: len(fal.bill) == paid + 2, 240)
        poll = server.start("poll-in-flight", {})
        rows = {row.seed: row for row in ledger.find(tag="harbour")}
        for row in rows.values():
            run = server.ended_run(
                "finish-generation", lambda run, wanted=row.id: run["parameters"]["generation"] == wanted
            )
            assert run["state_type"] == "COMPLETED", deployed.log()
        polled = server.ended_run("poll-in-flight", lambda run: run["id"] == poll["id"])
        assert polled["state_type"] == "COMPLETED", deployed.log()
        finished = [run["parameters"]["generation"] for run in server.runs("finish-generation")]
        assert sorted(finished) == sorted(row.id for row in rows.values())
        assert {ledger.get(row.id).state for row in rows.values()} == {State.ARCHIVED}
        heard = {
            seed: [line.actor for line in ledger.events(row.id) if line.event == "WebhookReceived"]
            for seed, row in rows.items()
        }
        assert heard == {1: ["webhook"], 2: []}
        assert ledger.take_announcements(again_after=0) == []
    assert len(fal.bill) == paid + 2
    made_now = [json.loads(path.read_text()) for path in set(deployed.manifests()) - kept]
    assert sorted(each["seed"] for each in made_now) == [1, 2]


def test_dropped_files_are_made_by_their_events_and_the_same_bytes_again_cost_nothing(
    deployed: Working, media_folder: Path, tmp_path: Path
) -> None:
    """A video and a request file land, each starts its run, each is paid for once; the bytes dropped again are not."""
    server, paid, inbox = deployed.server, len(deployed.fal.bill), tmp_path / "in {{ box }}"
    inbox.mkdir()
    (inbox / "defaults.yaml").write_text(
        "prompt: A quay.\nnum_frames: 9\nresolution: 256x192\nrecipe: none\ntags: [quay]\n"
    )
    clip = (media_folder / "clip.mp4").read_bytes()
    (inbox / "{{ 7 + 7 }} -y.mp4").write_bytes(clip)
    row = {**REQUEST, "prompt": "A pier.", "image_url": str(media_folder / "sheet.png")}
    (inbox / "piers.json").write_text(json.dumps(row))

    def watch() -> dict[str, Any]:
        told = server.run(
            "prefect_ltx.cli", "watch", str(inbox), "--once", "--settle", "0.2", "--json", cwd=tmp_path
        )
        assert told.returncode == 0, told.stdout + told.stderr
        report: dict[str, Any] = json.loads(told.stdout)
        return report

    def of_video(name: str) -> Callable[[dict[str, Any]], bool]:
        return lambda run: str(inbox / name) == run["parameters"].get("request", {}).get("video_url")

    assert [each["kind"] for each in watch()["told"]] == ["requests", "video"]
    video = server.ended_run("reference-video-to-video", of_video("{{ 7 + 7 }} -y.mp4"))
    batch = server.ended_run(
        "generate-batch", lambda run: run["parameters"]["source"] == str(inbox / "piers.json")
    )
    assert [video["state_type"], batch["state_type"]] == ["COMPLETED", "COMPLETED"], deployed.log()
    assert (video["parameters"]["recipe"], video["parameters"]["tags"]) == ("none", ["quay"])
    assert len(deployed.fal.bill) == paid + 2

    (inbox / "{{ 7 + 7 }} -y.mp4").write_bytes(clip)
    (inbox / "again.mp4").write_bytes(clip)
    assert [each["name"] for each in watch()["told"]] == ["again.mp4"]
    again = server.ended_run("reference-video-to-video", of_video("again.mp4"))
    assert again["state_type"] == "COMPLETED", deployed.log()
    assert len(deployed.fal.bill) == paid + 2
    assert sorted(each.name for each in inbox.iterdir()) == sorted(
        [".ltx", "again.mp4", "defaults.yaml", "piers.json", "{{ 7 + 7 }} -y.mp4"]
    )


def test_a_run_that_waits_for_a_person_needs_no_worker_to_wait_with_it(
    deployed: Working, media_folder: Path
) -> None:
    """A deployed run is suspended while somebody thinks: its process has ended, and the answer starts it again, for the
    plan that was shown."""
    server, paid = deployed.server, len(deployed.fal.bill)
    request = {**REQUEST, "prompt": "A jetty.", "image_url": str(media_folder / "sheet.png"), "seed": 11}
    made = server.start("ingredient-to-video", {"request": request, "approve": True, "recipe": "none"})

    def run() -> dict[str, Any]:
        found: dict[str, Any] = server.api.get(f"/flow_runs/{made['id']}").json()
        return found

    until(lambda: run()["state_name"] == "Suspended", 240)
    until(lambda: not running_for(made["id"]), 60)
    assert len(deployed.fal.bill) == paid
    answer = server.api.post(
        f"/flow_runs/{made['id']}/resume", json={"run_input": {"approve": True, "name": "Ada"}}
    )
    assert answer.json()["status"] == "ACCEPT"
    ended = server.ended_run("ingredient-to-video", lambda run: run["id"] == made["id"])
    assert ended["state_type"] == "COMPLETED", deployed.log()
    assert len(deployed.fal.bill) == paid + 1
    with Ledger(f"sqlite:///{deployed.folder / 'ledger.db'}") as ledger:
        assert [each.approved_by for each in ledger.approvals()] == ["Ada"]


def running_for(run_id: str) -> list[int]:
    """The processes that carry out a flow run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PREFECT__FLOW_RUN_ID={run_id}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_sweep_that_finds_another_one_at_work_says_so(deployed: Working) -> None:
    """Two sweeps at once: the later one ends as Completed and names the one that is at it."""
    server = deployed.server
    path = f"/deployments/{server.deployments()['sweep']['id']}/create_flow_run"
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
    first = server.api.post(path, json={"name": "the earlier sweep", "state": later}).json()
    running = {"state": {"type": "RUNNING"}, "force": True}
    server.api.post(f"/flow_runs/{first['id']}/set_state", json=running).raise_for_status()
    try:
        second = server.start("sweep", {})
        ended = server.ended_run("sweep", lambda run: run["id"] == second["id"])
    finally:
        server.api.delete(f"/flow_runs/{first['id']}").raise_for_status()
    assert ended["state_type"] == "COMPLETED", deployed.log()
    assert "The run the earlier sweep is at it already" in ended["state"]["message"]
