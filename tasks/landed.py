"""Telling Prefect of the files that landed in an inbox: `ltx.file.landed`, once for each version of a file.

The order is claim, event, look whether the server has it, record. Killed anywhere in between, the next look sends
the same event again: its id is made of the file's place and bytes, Prefect starts no second run for an event that
it has just seen, and a second run would ask for the same request with the same seed, which is paid for once.
"""

import asyncio
import fnmatch
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.events import Event, RelatedResource, Resource
from prefect.settings import get_current_settings
from pydantic import BaseModel

from prefect_ltx.inbox import Drop, Inbox, Look, Record, look, shown
from prefect_ltx.tasks.context import flow_run_id, run_logger

LANDED: Final = "ltx.file.landed"
REFUSED: Final = "ltx.file.refused"
CONFIRM_SECONDS: Final = 60.0
"""How long the server may take to write an event down; it does so every few seconds."""


class InboxNotWatched(Exception):
    """Events from this inbox would reach nobody. Nothing was told, sent or spent, and the files stay new."""


class ToldFile(BaseModel, frozen=True):
    """A file that was announced."""

    name: str
    location: str
    kind: str
    sha256: str
    event: str


class RefusedFile(BaseModel, frozen=True):
    """A file that cannot be used; it stays where it is."""

    name: str
    problem: str
    new: bool
    """Whether this look is the first to report it."""


class WatchReport(BaseModel):
    """What one look at an inbox did. Nothing was spent by it."""

    inbox: str
    told: list[ToldFile] = []
    refused: list[RefusedFile] = []
    growing: list[str] = []
    """Still being written; the next look has them."""
    waiting: list[str] = []
    """Videos without a `defaults.yaml`, which nothing says what to make of."""
    more: int = 0
    """New files that the next look takes."""
    seen: int = 0
    elsewhere: int = 0
    """Files that another watcher is announcing."""

    @property
    def summary(self) -> str:
        """The look in one line."""
        parts = {
            "announced {}": len(self.told),
            "{} refused": len(self.refused),
            "{} still being written": len(self.growing),
            "{} without a defaults.yaml": len(self.waiting),
            "{} left for the next look": self.more,
            "{} announced by another watcher": self.elsewhere,
        }
        return ", ".join(text.format(count) for text, count in parts.items() if count) or "nothing new"


async def watch_once(inbox: str, *, settle: float = 5.0, most: int = 100) -> WatchReport:
    """Look once, and tell Prefect of every file that is new, whole and valid.

    Raises:
        InboxNotWatched: there is no Prefect server, or nothing on it starts a run for `ltx.file.landed`.
        ArchiveError: the inbox cannot be listed, or its record (`.ltx/` in it) not be written.
        httpx.HTTPError: the server did not take an event; the next look sends it again.
    """
    if get_current_settings().api.url is None:
        # Before a client is made: without a server, Prefect would start one for the length of this look.
        raise InboxNotWatched(
            "There is no Prefect server to tell of new files; nothing was sent or spent. Set PREFECT_API_URL to the "
            "one that has the deployments."
        )
    async with Inbox(inbox) as place, get_client() as client:
        await _check_listeners(client)
        record = await Record.load(place.record)
        found = await look(place, record, settle=settle, most=most)
        told = await _tell(client, record, found)
        report = WatchReport(
            inbox=place.location,
            told=[ToldFile(name=shown(each.name), **_facts(each), event=each.event) for each in told],
            refused=[
                RefusedFile(name=shown(each.name), problem=each.problem, new=not each.reported)
                for each in found.refused
            ],
            growing=[shown(each) for each in found.growing],
            waiting=[shown(each) for each in found.waiting],
            more=found.more,
            seen=found.seen,
            elsewhere=len(found.drops) - len(told),
        )
        await _tell_refused(client, record, found)
    return report


def log_report(report: WatchReport) -> None:
    """Tell the run's log what a look found."""
    log = run_logger()
    for told in report.told:
        log.info("Landed: %s (%s)", told.name, told.kind)
    for refused in report.refused:
        if refused.new:
            log.error("Not usable, nothing was spent, the file stays: %s: %s", refused.name, refused.problem)
    if report.waiting:
        some = ", ".join(report.waiting[:5])
        log.warning("No defaults.yaml says what to make of %d videos: %s", len(report.waiting), some)
    log.info("%s: %s", report.inbox, report.summary)


def landed_event(drop: Drop, inbox: str) -> Event:
    """The event of one file. Its payload has the parameters of the run that makes it, and no secret."""
    return Event(
        id=drop.event,
        occurred=datetime.now(UTC),
        event=LANDED,
        resource=Resource(
            {
                "prefect.resource.id": f"ltx.file.{drop.event.replace('-', '')[:16]}",
                "prefect.resource.name": shown(drop.name),
                "ltx.kind": drop.kind,
                "ltx.prefix": inbox,
            }
        ),
        related=_related(),
        payload={
            **_facts(drop),
            "sha_or_etag": drop.sha256,
            "size": drop.size,
            "prefix": inbox,
            "name": drop.name,
            "parameters": drop.parameters,
        },
    )


async def _tell(client: PrefectClient, record: Record, found: Look) -> list[Drop]:
    """Send the events of all drops that nobody else is sending; those that the server has are recorded."""
    mine: dict[str, tuple[Drop, int]] = {}
    for each in found.drops:
        attempt = await record.claim(each.event)
        if attempt is not None:
            mine[each.event] = (each, attempt)
    if not mine:
        return []
    there: set[str] = set()
    try:
        await _send(client, [landed_event(drop, found.location) for drop, _ in mine.values()])
        there = await _confirmed(client, set(mine))
    finally:
        for event, (_, attempt) in mine.items():
            if event not in there:
                await record.mark_failed(event, attempt)
    told = [drop for drop, _ in mine.values() if drop.event in there]
    for drop in told:
        await record.mark_sent(drop.event)
        await record.mark_seen(drop.name, drop.version, sha256=drop.sha256, event=drop.event)
    if len(told) < len(mine):
        run_logger().warning(
            "The Prefect server has not written down %d events; the next look sends them again",
            len(mine) - len(told),
        )
    return told


async def _tell_refused(client: PrefectClient, record: Record, found: Look) -> None:
    new = [each for each in found.refused if not each.reported]
    if not new:
        return
    await _send(
        client,
        [
            Event(
                occurred=datetime.now(UTC),
                event=REFUSED,
                resource=Resource(
                    {
                        "prefect.resource.id": f"ltx.inbox.{found.location}",
                        "prefect.resource.name": shown(each.name),
                        "ltx.prefix": found.location,
                    }
                ),
                related=_related(),
                payload={"name": shown(each.name), "prefix": found.location, "problem": each.problem},
            )
            for each in new
        ],
    )
    for each in new:
        await record.mark_refused(each.name, each.version, each.problem)


async def _send(client: PrefectClient, events: Sequence[Event]) -> None:
    body = [each.model_dump(mode="json") for each in events]
    # Not emit_event: that one hands an event to a thread, and what becomes of it nobody learns.
    (await _post(client, "/events", body)).raise_for_status()


async def _confirmed(client: PrefectClient, ids: set[str]) -> set[str]:
    """Those of the events that the server can be asked for: they outlive it."""
    there: set[str] = set()
    deadline = time.monotonic() + CONFIRM_SECONDS
    while True:
        asked = {"filter": {"id": {"id": sorted(ids - there)[:50]}}, "limit": 50}
        answer = (await _post(client, "/events/filter", asked)).json()
        found = {str(each["id"]) for each in answer["events"]}
        there |= found
        if there >= ids or time.monotonic() > deadline:
            return there
        if not found:
            await asyncio.sleep(0.5)


async def _check_listeners(client: PrefectClient) -> None:
    """Refuse to tell what nobody would hear: the files would count as told, and nothing would be made."""
    offset, page = 0, 200
    while True:
        asked = {"limit": page, "offset": offset}
        found: list[dict[str, Any]] = (await _post(client, "/automations/filter", asked)).json()
        if any(each["enabled"] and _expects(each["trigger"]) for each in found):
            return
        if len(found) < page:
            break
        offset += page
    raise InboxNotWatched(
        f"No automation on this Prefect server starts a run for {LANDED}, so nothing was told, sent or spent, and the "
        "files stay new. `prefect-ltx deploy` makes the automations."
    )


def _expects(trigger: Any) -> bool:
    if isinstance(trigger, list):
        return any(map(_expects, trigger))
    if not isinstance(trigger, dict):
        return False
    expected = trigger.get("expect") or []
    return any(fnmatch.fnmatchcase(LANDED, str(each)) for each in expected) or _expects(
        trigger.get("triggers")
    )


async def _post(client: PrefectClient, path: str, body: Any) -> Any:
    return await client.request("POST", path, json=body)  # type: ignore[arg-type]  # its types list other routes


def _facts(drop: Drop) -> dict[str, str]:
    return {"location": drop.location, "kind": drop.kind, "sha256": drop.sha256}


def _related() -> list[RelatedResource]:
    run = flow_run_id()
    if run is None:
        return []
    return [
        RelatedResource(
            {"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}
        )
    ]
