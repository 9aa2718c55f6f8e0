"""`prefect-ltx deploy` on a real Prefect server: everything is there afterwards, and a second run changes nothing."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment_server import Server
from prefect import get_client
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from support import SECRET

from prefect_ltx import flows
from prefect_ltx.blocks import FalCredentials, GenerationLedger, SpendingBudget, VideoArchive
from prefect_ltx.deployments import AUTOMATIONS_FILE, PREFECT_FILE
from prefect_ltx.deployments.apply import DeployOptions, deploy
from prefect_ltx.deployments.block_store import existing_blocks
from prefect_ltx.deployments.changes import DeployError, DeployReport

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

FILE: dict[str, Any] = yaml.safe_load(PREFECT_FILE.read_text())
TRIGGERS = {
    trigger["name"]: each["name"] for each in FILE["deployments"] for trigger in each.get("triggers", [])
}
AUTOMATIONS = {each["name"]: each for each in yaml.safe_load(AUTOMATIONS_FILE.read_text())["automations"]}


@pytest.fixture
def server(fresh: Server) -> Iterator[Server]:
    """The fresh server, also for what runs in this process."""
    with temporary_settings({PREFECT_API_URL: fresh.url}):
        yield fresh
    # Prefect's events worker stays with the server that it spoke to first; the next test may use another.
    EventsWorker.drain_all()


@pytest.fixture
async def deployed(server: Server) -> Server:
    """The server, with everything of the package's own files on it."""
    await deploy(DeployOptions())
    return server


def state(server: Server) -> dict[str, Any]:
    """All that a deployment could have touched, with every id and moment of change."""
    heads = ("/block_types/filter", "/block_schemas/filter", "/block_documents/filter", "/work_pools/filter")
    found = {path: server.api.post(path, json={}).json() for path in (*heads, "/work_queues/filter")}
    found["queues"] = server.api.post("/work_pools/ltx/queues/filter", json={}).json()
    found["deployments"] = server.deployments()
    found["automations"] = server.automations()
    for each in found["deployments"].values():
        # Written by workers that ask for work, and by the scheduler.
        for name in ("last_polled", "status"):
            each.pop(name, None)
    for pool in found["/work_pools/filter"]:
        pool.pop("status", None)
    return found


def changes(report: DeployReport) -> dict[tuple[str, str], str]:
    return {(each.kind, each.name): each.what for each in report.entries}


def test_plain_prefect_deploy_takes_the_file_and_ours_goes_on_from_there(
    server: Server, tmp_path: Path
) -> None:
    """`prefect deploy --all` deploys the same file; `prefect-ltx deploy` then keeps its triggers and their ids."""
    # The pool is there already where another test of this process came first.
    server.run("prefect", "work-pool", "create", "ltx", "--type", "process", cwd=tmp_path)
    done = server.run(
        "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE), cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(server.deployments()) == {each["name"] for each in FILE["deployments"]}
    before = {name: each["id"] for name, each in server.automations().items() if name in TRIGGERS}
    assert set(before) == set(TRIGGERS)

    done = server.run("prefect_ltx.cli", "deploy", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["changed"] > 0
    told = {(each["kind"], each["name"]): each["what"] for each in report["entries"]}
    assert {told["trigger", name] for name in TRIGGERS} == {"unchanged"}
    after = {name: each["id"] for name, each in server.automations().items()}
    assert {name: after[name] for name in before} == before


def test_everything_is_on_the_server(deployed: Server) -> None:
    """Every flow of the package is deployed, described, tagged, by module path; blocks and queues are there."""
    found = deployed.deployments()
    assert set(found) == {getattr(flows, name).name for name in flows.__all__}
    for each in found.values():
        assert each["description"]
        assert "ltx" in each["tags"]
        assert each["version"]
        assert each["entrypoint"].startswith("prefect_ltx.flows:")
        assert each["pull_steps"] == []
        assert each["enforce_parameter_schema"] is True
    slugs = {each["slug"] for each in deployed.api.post("/block_types/filter", json={}).json()}
    assert {"fal-credentials", "generation-ledger", "video-archive", "spending-budget"} <= slugs
    queues = {each["name"] for each in deployed.api.post("/work_pools/ltx/queues/filter", json={}).json()}
    assert {"generate", "collect"} <= queues
    assert found["sweep"]["global_concurrency_limit"] is None
    assert [name for name, each in deployed.automations().items() if not each["description"]] == []


def test_second_run_changes_nothing_and_says_so(deployed: Server, tmp_path: Path) -> None:
    """Run again, every id and every moment of change on the server stays, and the output says unchanged."""
    before = state(deployed)
    done = deployed.run("prefect_ltx.cli", "deploy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "everything is unchanged" in done.stdout
    assert "unchanged" in done.stdout
    assert "created" not in done.stdout
    assert "updated" not in done.stdout
    assert state(deployed) == before


async def test_a_person_s_switches_survive(deployed: Server) -> None:
    """A schedule, triggers and an automation that somebody switched, and a paused deployment, stay as they are."""
    sweep = deployed.deployments()["sweep"]
    (schedule,) = sweep["schedules"]
    named = deployed.automations()
    switched = (*TRIGGERS, "ltx: a run's worker vanished")
    paths = [f"/automations/{named[name]['id']}" for name in switched]

    def switch(on: bool) -> None:
        deployed.api.patch(
            f"/deployments/{sweep['id']}/schedules/{schedule['id']}", json={"active": on}
        ).raise_for_status()
        for path in paths:
            deployed.api.patch(path, json={"enabled": on}).raise_for_status()
        deployed.api.post(
            f"/deployments/{sweep['id']}/{'resume' if on else 'pause'}_deployment"
        ).raise_for_status()

    switch(False)
    try:
        # A run that writes: an older description, so that the deployment and its automations are brought up to date.
        deployed.api.patch(f"/deployments/{sweep['id']}", json={"description": "old"}).raise_for_status()
        report = await deploy(DeployOptions())
        assert changes(report)["deployment", "sweep"] == "updated"
        assert deployed.deployments()["sweep"]["description"] != "old"
        assert deployed.deployments()["sweep"]["paused"] is True
        assert [each["active"] for each in deployed.deployments()["sweep"]["schedules"]] == [False]
        assert not any(deployed.api.get(path).json()["enabled"] for path in paths)
    finally:
        switch(True)


async def test_what_a_person_added_survives(deployed: Server) -> None:
    """Default parameters, tags and schedules that somebody added in the UI stay, also where a deployment is updated."""
    sweep = deployed.deployments()["sweep"]
    where = f"/deployments/{sweep['id']}"
    deployed.api.patch(
        where, json={"parameters": {"recipe": "none"}, "tags": ["ltx", "studio"], "description": "old"}
    ).raise_for_status()
    mine = {"schedule": {"cron": "0 5 * * *", "timezone": "UTC"}, "active": False}
    deployed.api.post(f"{where}/schedules", json=[mine]).raise_for_status()
    try:
        await deploy(DeployOptions())
        found = deployed.deployments()["sweep"]
        assert found["parameters"] == {"recipe": "none"}
        assert set(found["tags"]) == {"ltx", "studio"}
        assert {each["schedule"]["cron"] for each in found["schedules"]} == {"*/15 * * * *", "0 5 * * *"}
    finally:
        deployed.api.patch(where, json={"parameters": {}, "tags": ["ltx"]}).raise_for_status()
        for each in deployed.deployments()["sweep"]["schedules"]:
            if each["slug"] is None:
                deployed.api.delete(f"{where}/schedules/{each['id']}").raise_for_status()


async def test_drift_is_brought_back_under_the_same_ids(deployed: Server) -> None:
    """What differs from the file is written, named by its fields, and keeps its id."""
    before = deployed.deployments()["sweep"]
    trigger = deployed.automations()["ltx: a request is received"]
    deployed.api.patch(f"/deployments/{before['id']}", json={"concurrency_limit": 7}).raise_for_status()
    (schedule,) = before["schedules"]
    deployed.api.patch(
        f"/deployments/{before['id']}/schedules/{schedule['id']}",
        json={"schedule": {"cron": "0 1 * * *", "timezone": "UTC"}},
    ).raise_for_status()
    altered = {name: trigger[name] for name in ("name", "description", "enabled", "actions")}
    altered["trigger"] = {**trigger["trigger"], "expect": ["nothing.at.all"]}
    deployed.api.put(f"/automations/{trigger['id']}", json=altered).raise_for_status()
    report = await deploy(DeployOptions())
    fields = {(each.kind, each.name): each.fields for each in report.entries if each.what == "updated"}
    assert fields == {
        ("deployment", "sweep"): ["concurrency_limit"],
        ("schedule", "sweep/every-quarter-hour"): ["schedule"],
        ("trigger", "ltx: a request is received"): ["trigger"],
    }
    after = deployed.deployments()["sweep"]
    assert after["id"] == before["id"]
    assert after["global_concurrency_limit"] is None
    assert [each["id"] for each in after["schedules"]] == [schedule["id"]]
    assert deployed.automations()["ltx: a request is received"]["id"] == trigger["id"]
    assert deployed.automations()["ltx: a request is received"]["trigger"]["expect"] == [
        "ltx.request.received"
    ]


async def test_a_trigger_of_an_earlier_deployment_becomes_ours_and_no_event_starts_two_runs(
    deployed: Server,
) -> None:
    """A trigger under Prefect's default name is taken over with its switch; one that the file has no more goes."""
    trigger = deployed.automations()["ltx: a request is received"]
    body = {name: trigger[name] for name in ("description", "trigger", "actions")}
    deployed.api.delete(f"/automations/{trigger['id']}").raise_for_status()
    old = deployed.api.post(
        "/automations/", json={**body, "name": "ingredient-to-video__automation_1", "enabled": False}
    ).json()
    stale = deployed.api.post(
        "/automations/",
        json={
            **body,
            "name": "ltx: something of an older version",
            "trigger": {**body["trigger"], "expect": ["ltx.old"]},
            "enabled": True,
        },
    ).json()
    theirs = deployed.api.post(
        "/automations/", json={**body, "name": "made in the UI", "enabled": False}
    ).json()
    report = await deploy(DeployOptions())
    assert changes(report)["trigger", stale["name"]] == "removed"
    found = deployed.automations()
    assert found["ltx: a request is received"]["id"] == old["id"]
    assert found["ltx: a request is received"]["enabled"] is False
    assert stale["name"] not in found
    assert found["made in the UI"]["id"] == theirs["id"]
    deployed.api.delete(f"/automations/{theirs['id']}").raise_for_status()
    deployed.api.patch(f"/automations/{old['id']}", json={"enabled": True}).raise_for_status()


async def test_dry_run_shows_the_changes_and_writes_nothing(deployed: Server, tmp_path: Path) -> None:
    """--dry-run lists what would be made and changed, on this server and on another pool, and leaves all of it."""
    file = yaml.safe_load(PREFECT_FILE.read_text())
    file["deployments"][0]["description"] = "another"
    file["deployments"].append(
        {
            "name": "mine",
            "entrypoint": "prefect_ltx.flows:sweep",
            "schedules": [{"slug": "s", "interval": 60, "active": False}],
        }
    )
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(file))
    before = state(deployed)
    options = {"prefect_file": tmp_path / "prefect.yaml", "pool": "elsewhere"}
    planned = await deploy(DeployOptions(dry_run=True, **options))
    told = changes(planned)
    assert told["work pool", "elsewhere"] == "created"
    assert told["deployment", "mine"] == "created"
    assert told["schedule", "mine/s"] == "created"
    assert told["deployment", file["deployments"][0]["name"]] == "updated"
    assert planned.changed > 3
    assert state(deployed) == before


async def test_intervals_do_not_drift(deployed: Server, tmp_path: Path) -> None:
    """An interval without an anchor is the same schedule on the second run, and a deployment keeps its pool."""
    file = {
        "deployments": [
            {
                "name": "mine",
                "entrypoint": "prefect_ltx.flows:sweep",
                "schedules": [{"slug": "s", "interval": 3600, "active": False}],
            }
        ]
    }
    file["deployments"][0]["work_pool"] = {"work_queue_name": "generate"}
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(file))
    await deploy(DeployOptions(prefect_file=tmp_path / "prefect.yaml", pool="elsewhere"))
    try:
        (queue,) = [
            each
            for each in deployed.api.post("/work_pools/elsewhere/queues/filter", json={}).json()
            if each["name"] == "generate"
        ]
        assert queue["concurrency_limit"] == 10
        report = await deploy(DeployOptions(prefect_file=tmp_path / "prefect.yaml"))
        assert report.changed == 0
        assert deployed.deployments()["mine"]["work_pool_name"] == "elsewhere"
    finally:
        deployed.api.delete(f"/deployments/{deployed.deployments()['mine']['id']}").raise_for_status()
        deployed.api.delete("/work_pools/elsewhere").raise_for_status()


async def test_blocks_are_saved_from_the_environment_and_the_secret_is_only_in_them(
    deployed: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--save-blocks stores key, ledger, archive and budget, deployments use them, and nothing else has the key."""
    environ = {
        "FAL_KEY": SECRET,
        "PREFECT_LTX_LEDGER": "postgresql://ltx:l3dger-password@db/ltx",
        "PREFECT_LTX_ARCHIVE": "videos",
        "PREFECT_LTX_BUDGET_USD": "7.50",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    saving = DeployOptions(blocks="studio", save_blocks=True)
    planned = await deploy(dataclasses.replace(saving, dry_run=True))
    assert changes(planned)["block", "fal-credentials/studio"] == "created"
    async with get_client() as client:
        assert await existing_blocks(client, "studio") == {}

    said = deployed.run("prefect_ltx.cli", "deploy", "--blocks", "studio", "--save-blocks", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    again = await deploy(saving)
    assert again.changed == 0
    for text in (said.stdout, said.stderr, planned.model_dump_json(), again.model_dump_json()):
        assert SECRET not in text
        assert "l3dger-password" not in text

    credentials = await FalCredentials.aload("studio")
    assert credentials.api_key is not None
    assert credentials.api_key.get_secret_value() == SECRET
    assert (await GenerationLedger.aload("studio")).url.get_secret_value() == environ["PREFECT_LTX_LEDGER"]
    assert (await VideoArchive.aload("studio")).location == str(tmp_path / "videos")
    assert str((await SpendingBudget.aload("studio")).per_day_usd) == "7.50"
    found = deployed.deployments()
    names = {"credentials": "studio", "ledger": "studio", "archive": "studio", "budget": "studio"}
    assert found["reference-video-to-video"]["parameters"] == names
    assert found["sweep"]["parameters"] == {name: "studio" for name in names if name != "budget"}

    # What the environment does not say stays in the block, and a run without options keeps the deployments' blocks.
    monkeypatch.delenv("PREFECT_LTX_BUDGET_USD")
    told = {(each.kind, each.name): each for each in (await deploy(saving)).entries}
    assert told["block", "spending-budget/studio"].note == "not set: PREFECT_LTX_BUDGET_USD"
    assert (await deploy(DeployOptions())).changed == 0
    assert deployed.deployments()["reference-video-to-video"]["parameters"] == names
    for each in found.values():
        deployed.api.patch(f"/deployments/{each['id']}", json={"parameters": {}}).raise_for_status()


async def test_notifications_need_a_block_once(deployed: Server) -> None:
    """Without --notify they are left out by name; named once, a run without it keeps them."""
    needing = {name for name, each in AUTOMATIONS.items() if "notify" in json.dumps(each["actions"])}
    told = changes(await deploy(DeployOptions()))
    assert {
        name for (kind, name), what in told.items() if kind == "automation" and what == "left out"
    } == needing
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    block = CustomWebhookNotificationBlock(name="here", url="http://127.0.0.1:9/")
    await block.asave("studio")
    told = changes(await deploy(DeployOptions(notify="custom-webhook/studio")))
    assert {told["automation", name] for name in needing} == {"created"}
    assert (await deploy(DeployOptions())).changed == 0
    assert set(deployed.automations()) == set(AUTOMATIONS) | set(TRIGGERS)
    for name in needing:
        deployed.api.delete(f"/automations/{deployed.automations()[name]['id']}").raise_for_status()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"notify": "slack-webhook/none"}, "has no block slack-webhook/none"),
        ({"notify": "slack"}, "give TYPE/NAME"),
        ({"blocks": "nobody"}, "--save-blocks makes them"),
        ({"prefect_file": "none.yaml"}, "none.yaml: No such file or directory. Nothing was changed."),
        ({"prefect_file": "typo.yaml"}, "deployments.0.schedule: Extra inputs are not permitted"),
        ({"prefect_file": "flow.yaml"}, "no:flow is no flow here"),
        ({"automations_file": "typo.yaml"}, "automations: Field required"),
    ],
)
async def test_what_is_wrong_is_named(
    server: Server, tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    """A missing block, a file that is not there, a key that Prefect would ignore, a flow that is none."""
    wrong = {"name": "x", "entrypoint": "prefect_ltx.flows:sweep", "schedule": {}}
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump({"deployments": [wrong]}))
    (tmp_path / "flow.yaml").write_text(
        yaml.safe_dump({"deployments": [{"name": "x", "entrypoint": "no:flow"}]})
    )
    given = {name: tmp_path / value if name.endswith("_file") else value for name, value in given.items()}
    with pytest.raises(DeployError) as told:
        await deploy(DeployOptions(**given))
    assert says in str(told.value)
    assert "\n" not in str(told.value)


async def test_without_a_server_it_says_what_to_do(tmp_path: Path, fresh: Server) -> None:
    """No server and a server that is down: one line, no traceback, no password, exit code 1."""
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(DeployError, match="start one with `prefect server start` and set PREFECT_API_URL"),
    ):
        await deploy(DeployOptions())
    done = fresh.run(
        "prefect_ltx.cli", "deploy", cwd=tmp_path, PREFECT_API_URL="http://u:pass@127.0.0.1:9/api"
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: The Prefect server at http://127.0.0.1:9/api does not answer")
    assert "pass@" not in done.stderr
    assert done.stderr.count("\n") == 1
