"""A look at an inbox on a real Prefect server: what is told, to whom, and how often."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from inbox_parts import DEFAULTS, Place

from prefect_ltx.fal import ReferenceVideoRequest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


async def told_events(location: str) -> list[dict[str, Any]]:
    """Every `ltx.file.*` event of this inbox that the server has."""
    from prefect import get_client

    asked = {"filter": {"event": {"prefix": ["ltx.file."]}}, "limit": 50}
    async with get_client() as client:
        answer = await client.request("POST", "/events/filter", json=asked)  # type: ignore[arg-type]
    events: list[dict[str, Any]] = answer.json()["events"]
    return [each for each in events if each["resource"].get("ltx.prefix") == location]


async def listening() -> uuid.UUID:
    """An automation that hears of landed files, as `deploy` makes them."""
    from prefect.automations import Automation, DoNothing, EventTrigger, Posture

    made = await Automation(
        name=f"hears {uuid.uuid4()}",
        trigger=EventTrigger(
            expect={"ltx.file.landed"}, posture=Posture.Reactive, threshold=1, within=timedelta(0)
        ),
        actions=[DoNothing()],
    ).acreate()
    return made.id


async def test_files_wait_until_something_listens(prefect_server: None, tmp_path: Path, clip: bytes) -> None:
    """Told to nobody, a file would count as done and nothing be made: the look says what is missing instead."""
    from prefect.automations import Automation

    from prefect_ltx.tasks.landed import InboxNotWatched, watch_once

    for each in await _automations():
        await (await Automation.aread(id=each)).adelete()
    place = Place(str(tmp_path))
    place.drop("defaults.yaml", DEFAULTS)
    place.drop("clip.mp4", clip)
    with pytest.raises(InboxNotWatched, match="prefect-ltx deploy"):
        await watch_once(place.location)
    assert not (tmp_path / ".ltx").exists()


async def test_two_watchers_at_once_tell_of_each_file_once(
    prefect_server: None, place: Place, clip: bytes
) -> None:
    """The event has what the run needs, is on the server before it is recorded, and is never told again."""
    from prefect_ltx.flows import watch_inbox

    await listening()
    place.drop("defaults.yaml", DEFAULTS)
    for name in ("{{ 7 + 7 }}.mp4", "clip.mp4"):
        place.drop(name, clip)
    place.drop("broken.csv", "promt,image_url\na,b\n")
    place.drop("shots.jsonl", json.dumps({"prompt": "a cup", "image_url": "https://host/x.png"}))

    reports = await asyncio.gather(*(watch_inbox(place.location, settle_seconds=0.2) for _ in range(2)))
    told = [each for report in reports for each in report.told]
    assert sorted(each.name for each in told) == ["clip.mp4", "shots.jsonl", "{{ 7 + 7 }}.mp4"]
    assert [each.name for report in reports for each in report.refused if each.new] != []

    events = await told_events(place.location)
    landed = {each["payload"]["name"]: each for each in events if each["event"] == "ltx.file.landed"}
    assert len([each for each in events if each["event"] == "ltx.file.landed"]) == 3
    assert {each["id"] for each in landed.values()} == {each.event for each in told}
    assert {name: each["resource"]["ltx.kind"] for name, each in landed.items()} == {
        "clip.mp4": "video",
        "{{ 7 + 7 }}.mp4": "video",
        "shots.jsonl": "requests",
    }
    hostile = landed["{{ 7 + 7 }}.mp4"]["payload"]["parameters"]["request"]
    request = ReferenceVideoRequest.model_validate(hostile)
    assert request.video_url == f"{place.location}/{{{{ 7 + 7 }}}}.mp4"

    again = await watch_inbox(place.location, settle_seconds=0.2)
    assert (again.told, again.seen, [each.new for each in again.refused]) == ([], 3, [False])
    assert len([e for e in await told_events(place.location) if e["event"] == "ltx.file.landed"]) == 3


async def test_a_watcher_killed_before_its_record_is_followed_by_the_same_event(
    prefect_server: None, tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with its event sent and nothing recorded, the next one sends the very same event."""
    from prefect.settings import get_current_settings

    from prefect_ltx.tasks.landed import watch_once

    await listening()
    place = Place(str(tmp_path / "in"))
    place.drop("defaults.yaml", DEFAULTS)
    place.drop("clip.mp4", clip)
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(Path(__file__).with_name("killed_watcher.py")), place.location],
        env={**os.environ, "PREFECT_API_URL": str(get_current_settings().api.url)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == 9, killed.stderr
    # Somebody is at it, as far as the record says.
    early = await watch_once(place.location)
    assert (early.told, early.elsewhere) == ([], 1)
    monkeypatch.setattr("prefect_ltx.inbox.record.CLAIM_SECONDS", -1.0)
    report = await watch_once(place.location)
    assert [each.name for each in report.told] == ["clip.mp4"]
    assert [each["id"] for each in await told_events(place.location)] == [report.told[0].event]


async def _automations() -> list[uuid.UUID]:
    from prefect import get_client

    async with get_client() as client:
        found = await client.request("POST", "/automations/filter", json={})  # type: ignore[arg-type]
    return [uuid.UUID(each["id"]) for each in found.json()]
