"""A ledger made again from the manifests of an archive: for one that was deleted, or restored from an older backup.

What comes back is what is archived, so that it is given out again instead of bought again, and counts in budgets.
What was paid for and not archived yet is not in any manifest: a sweep finds it where fal still lists it.
"""

import re
import uuid
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from prefect_ltx.archive import Archive, Manifest, ManifestUnreadable
from prefect_ltx.fal import plain
from prefect_ltx.generation.store import why_rejected
from prefect_ltx.ledger import ArchivedVideo, AsyncLedger, LedgerUnavailable

_AT_ONCE = 50
_DAY = re.compile(r"(\d{4})/(\d{2})/(\d{2})/")
_FILMS = "film"


class NotRebuilt(BaseModel, frozen=True):
    """A manifest that made no row, and why."""

    folder: str
    reason: str


class RebuildReport(BaseModel):
    """How many manifests there were, and what each did to the ledger."""

    ledger: str
    archive: str
    known: int = 0
    """Rows that were there, and archived."""
    restored: int = 0
    """Rows that were made."""
    closed: int = 0
    """Rows that were there, unfinished, and are archived now."""
    second: list[str] = []
    """Folders with a further video of a request that has one: paid for twice, both kept."""
    busy: list[str] = []
    """Folders of generations that somebody is working on; they close themselves."""
    films: int = 0
    """Manifests of films, whose shots are the generations."""
    unreadable: list[NotRebuilt] = []

    @property
    def ok(self) -> bool:
        """Whether every manifest is in the ledger now."""
        return not self.unreadable


async def rebuild_ledger(archive: Archive, ledger: AsyncLedger, *, actor: str) -> RebuildReport:
    """Make a row for every archived generation that the ledger does not know. Idempotent; sends nothing.

    Raises:
        ArchiveError: the archive cannot be listed.
        LedgerUnavailable: the ledger cannot be written.
    """
    report = RebuildReport(ledger=ledger.name, archive=archive.location)
    waiting: list[ArchivedVideo] = []
    async for folder, found in archive.every_manifest():
        if isinstance(found, ManifestUnreadable):
            report.unreadable.append(NotRebuilt(folder=folder, reason=found.what))
        elif _FILMS in (found.model_extra or {}):
            report.films += 1
        else:
            try:
                waiting.append(_video(found, folder, archive.location))
            except Exception as error:  # whatever somebody wrote there: it concerns this one manifest
                report.unreadable.append(NotRebuilt(folder=folder, reason=_reason(error)))
        if len(waiting) >= _AT_ONCE:
            await _restore(ledger, waiting, report, actor)
            waiting = []
    await _restore(ledger, waiting, report, actor)
    await ledger.join(archive.location)
    return report


async def _restore(
    ledger: AsyncLedger, videos: list[ArchivedVideo], report: RebuildReport, actor: str
) -> None:
    if not videos:
        return
    try:
        outcomes = await ledger.restore(videos, actor=actor)
    except LedgerUnavailable:
        raise
    except Exception as error:
        if len(videos) == 1:
            report.unreadable.append(NotRebuilt(folder=videos[0].folder, reason=_reason(error)))
            return
        for each in videos:  # one of them is bad: find out which
            await _restore(ledger, [each], report, actor)
        return
    for video, outcome in zip(videos, outcomes, strict=True):
        if outcome in ("second", "busy"):
            getattr(report, outcome).append(video.folder)
        else:
            setattr(report, outcome, getattr(report, outcome) + 1)


def _video(manifest: Manifest, folder: str, location: str) -> ArchivedVideo:
    video = manifest.video
    if video is None:
        raise ValueError("it names no video")
    body = dict(manifest.request)
    seed = body.get("seed")
    media = {
        each.field: {
            "sha256": each.sha256,
            "size": each.size,
            "content_type": each.content_type,
            "name": each.name,
            "width": 0,
            "height": 0,
        }
        for each in manifest.inputs
    }
    return ArchivedVideo(
        # Older manifests name none. The same folder gives the same id, so a second rebuild finds its row.
        id=manifest.generation_id
        or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{manifest.generation_key}/{folder}")),
        key=manifest.generation_key,
        endpoint=manifest.endpoint,
        account=manifest.account,
        body=body,
        asked={**manifest.asked, "media": media},
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else manifest.seed,
        delivered_seed=manifest.seed,
        request_id=manifest.request_id or None,
        prompt_expanded=manifest.prompt_expanded or None,
        price_expected_usd=manifest.price_expected_usd,
        price_billed_usd=manifest.price_billed_usd,
        units=manifest.billable_units,
        tags=tuple(manifest.tags),
        created_at=_begun(folder, manifest.created_at),
        closed_at=manifest.created_at,
        sha256=video.sha256,
        size=video.size,
        facts=video.facts,
        location=location,
        folder=folder,
        manifest_sha256=manifest.sha256,
        rejected=why_rejected(manifest),
    )


def _begun(folder: str, archived_at: datetime) -> datetime:
    """When the row was written: on the day that its folder names, at the latest when it was archived.

    Budgets count by that day.
    """
    archived_at = archived_at.astimezone(UTC)
    if (day := _DAY.match(folder)) is None:
        return archived_at
    last = datetime(*map(int, day.groups()), tzinfo=UTC) + timedelta(days=1, seconds=-1)  # type: ignore[arg-type, misc]
    return min(last, archived_at)


def _reason(error: Exception) -> str:
    return plain(str(error) or type(error).__name__, limit=300)
