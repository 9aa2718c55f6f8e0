"""`prefect-ltx deploy` says where its workers keep things, and makes no schedule that would lose what it collects."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment_server import Server

from prefect_ltx.places import DEPLOYED

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture
def empty(fresh: Server) -> Iterator[Server]:
    """The shared server without our deployments and pools."""
    yield fresh
    for each in fresh.deployments().values():
        fresh.api.delete(f"/deployments/{each['id']}").raise_for_status()


def deployed(server: Server, cwd: Path, *arguments: str, code: int = 0, **environ: str) -> dict[str, Any]:
    done = server.run("prefect_ltx.cli", "deploy", "--json", *arguments, cwd=cwd, **environ)
    assert done.returncode == code, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert ("Error: The schedule" in done.stderr) == bool(code)
    return report


def schedules(server: Server, name: str) -> list[bool]:
    return [each["active"] for each in server.deployments()[name]["schedules"]]


def test_the_shell_s_places_are_the_workers(empty: Server, tmp_path: Path) -> None:
    """What this shell chose is written down absolutely and shown; a worker's own settings win; a password is not."""
    url = "postgresql://ltx:s3cr3t@db.example/ltx"
    report = deployed(empty, tmp_path, "--archive", "films", HOME=str(tmp_path), PREFECT_LTX_LEDGER=url)
    where = {each["name"]: each for each in report["places"]}
    assert where["archive"]["place"] == f"{tmp_path}/films"
    assert "--archive, written as films" in where["archive"]["source"]
    assert where["ledger"]["place"] == "postgresql://ltx:***@db.example/ltx"
    assert where["unfinished work"]["place"] == f"{tmp_path}/.prefect-ltx/work"
    assert report["not_written"] == ["PREFECT_LTX_LEDGER"]
    written = json.loads(empty.deployments()["sweep"]["job_variables"]["env"][DEPLOYED])
    assert written.pop("host")
    assert written.pop("machine")
    assert written == {"PREFECT_LTX_ARCHIVE": f"{tmp_path}/films"}
    assert "s3cr3t" not in json.dumps([report, empty.deployments()])
    assert schedules(empty, "sweep") == [True]
    again = deployed(empty, tmp_path, HOME=str(tmp_path))
    assert again["changed"] == 0


def test_no_schedule_where_a_run_would_lose_what_it_collects(empty: Server, tmp_path: Path) -> None:
    """Without a usable home nothing that collects runs by itself; with one, the next deploy switches it on."""
    report = deployed(empty, tmp_path, code=1, HOME="/nonexistent")
    assert [each.split(":")[0] for each in report["refused"]] == ["sweep/every-quarter-hour"]
    assert "HOME is /nonexistent" in report["refused"][0]
    assert schedules(empty, "sweep") == []
    assert schedules(empty, "spend-report") == [True]  # it collects nothing
    assert deployed(empty, tmp_path, HOME=str(tmp_path))["refused"] == []
    assert schedules(empty, "sweep") == [True]


def test_a_block_with_a_relative_place_switches_nothing_on(empty: Server, tmp_path: Path) -> None:
    """A block that was stored relatively, by the UI or an earlier release, is named, and the schedule is left out."""
    deployed(empty, tmp_path, "--dry-run", HOME=str(tmp_path))
    empty.run("prefect", "block", "register", "-m", "prefect_ltx.blocks", cwd=tmp_path)
    types = {each["slug"]: each for each in empty.api.post("/block_types/filter", json={}).json()}
    kind = types["video-archive"]["id"]
    filter_ = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    schema = empty.api.post("/block_schemas/filter", json=filter_).json()[0]
    document = {
        "name": "old",
        "data": {"location": "films"},
        "block_schema_id": schema["id"],
        "block_type_id": kind,
    }
    empty.api.post("/block_documents/", json=document).raise_for_status()
    report = deployed(empty, tmp_path, "--blocks", "old", code=1, HOME=str(tmp_path))
    assert "the block video-archive/old holds the relative place films" in report["refused"][0]
    assert schedules(empty, "sweep") == []


def test_a_pool_whose_runs_share_no_disk(empty: Server, tmp_path: Path) -> None:
    """On a pool of containers nothing is assumed: without a word about ledger and archive, nothing collects there."""
    template = {
        "job_configuration": {"env": "{{ env }}"},
        "variables": {"type": "object", "properties": {"env": {}}},
    }
    pool = {"name": "ltx-boxes", "type": "docker", "base_job_template": template}
    empty.api.post("/work_pools/", json=pool).raise_for_status()
    arguments = ("--pool", "ltx-boxes")
    report = deployed(empty, tmp_path, *arguments, code=1, HOME=str(tmp_path))
    assert "nothing says where runs on the docker pool keep the ledger" in report["refused"][0]
    template["variables"]["properties"]["env"] = {  # type: ignore[index]
        "default": {
            "PREFECT_LTX_LEDGER": "postgresql://db.example/ltx",
            "PREFECT_LTX_ARCHIVE": "s3://films/x",
        }
    }
    empty.api.patch("/work_pools/ltx-boxes", json={"base_job_template": template}).raise_for_status()
    report = deployed(empty, tmp_path, *arguments, HOME=str(tmp_path))
    assert {each["place"] for each in report["places"]} == {"postgresql://db.example/ltx", "s3://films/x", ""}
    assert schedules(empty, "sweep") == [True]
