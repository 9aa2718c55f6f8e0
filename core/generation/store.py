"""The collected video and its renditions into the archive, the manifest last; only then is the row closed."""

import asyncio
import functools
import importlib.metadata
import platform
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from prefect_ltx.archive import (
    ApprovalRecord,
    ArchiveConflict,
    ArchivedFile,
    ArchiveNotFound,
    InputFile,
    Manifest,
    QualityRecord,
    folder_for,
)
from prefect_ltx.generation.collect import CollectedVideo, clean_up, video_key
from prefect_ltx.generation.inputs import MediaDigest
from prefect_ltx.generation.paid import told_as_paid
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Archived, Generation, State
from prefect_ltx.ledger.approvals import TAG
from prefect_ltx.media import Rendition, ffmpeg_version, sha256_file
from prefect_ltx.provenance import mark_rendition

MARKED_FOLDER = "marked"
QUALITY_CONTROL = "quality control"
"""Who says so, where a clip is rejected by what was measured."""
_LIBRARIES = ("prefect-ltx", "av", "ffmpeg-python", "httpx", "pydantic", "s3fs")


class RefusedTake(BaseModel, frozen=True):
    """A take that quality control refused before another seed was tried: archived, and paid for. Prices in USD."""

    generation_id: str
    seed: int
    folder: str
    reasons: list[str]
    price_expected_usd: Decimal
    price_billed_usd: Decimal | None = None
    reused: bool = False
    """True where an earlier run bought it."""

    @property
    def price_usd(self) -> Decimal:
        """What it cost: billed where fal said so, else expected."""
        return self.price_expected_usd if self.price_billed_usd is None else self.price_billed_usd


class ArchivedGeneration(BaseModel):
    """A generation that is paid for, verified and archived. Holds no URL that expires and no secret."""

    generation_id: str
    key: str
    endpoint: str
    request_id: str | None
    seed: int
    state: str
    archive: str
    folder: str
    manifest: str
    video: str
    files: dict[str, str]
    """Role to place in the archive, for the video and every rendition."""
    price_expected_usd: Decimal
    price_billed_usd: Decimal | None
    reused: bool
    """True where this run spent nothing: the video was paid for by an earlier one."""
    differences: list[str]
    """In which ways fal's delivery is not what was asked."""
    quality: QualityRecord | None = None
    """What quality control found; None where it did not look."""
    refused: list[RefusedTake] = []
    """Takes with other seeds that quality control refused before this one."""
    width: int | None = None
    """Of the delivered video, in pixels; None where it does not decode."""
    height: int | None = None
    num_frames: int | None = None

    @property
    def price_usd(self) -> Decimal:
        """What it cost: billed where fal said so, else expected."""
        return self.price_expected_usd if self.price_billed_usd is None else self.price_billed_usd


async def archived_before(services: Services, generation: Generation) -> ArchivedGeneration:
    """What an earlier run archived; nothing was sent or spent.

    Raises:
        ArchiveNotFound: this archive is not the one that it is in, or its video was taken out of it.
    """
    manifest = await manifest_of(services, generation)
    video = f"{manifest.folder}/{manifest.video.name if manifest.video else 'video.mp4'}"
    if not await services.archive.exists(video):
        raise ArchiveNotFound(
            f"Generation {generation.id} is paid for and was archived, and its video is no longer at "
            f"{services.archive.url(video)}",
            next_step="Bring it back from a backup; another seed makes and buys a new video",
        )
    return archived(generation, manifest, location=services.archive.location, reused=True)


async def manifest_of(services: Services, generation: Generation) -> Manifest:
    """The manifest of an archived generation, as the archive has it now.

    Raises:
        ArchiveNotFound: this archive is not the one that it is in.
    """
    manifest = await services.archive.manifest(generation.folder or "")
    if manifest is None:
        raise ArchiveNotFound(
            f"Generation {generation.id} was archived in {generation.location}/{generation.folder}, and its "
            f"manifest is not in {services.archive.location}",
            next_step="Point PREFECT_LTX_ARCHIVE at that archive; another seed makes and buys a new video",
        )
    return manifest


async def collected_before(services: Services, generation: Generation) -> CollectedVideo:
    """The video of an archived generation as a file on this machine again, from the archive and never from fal.

    Raises:
        ArchiveError: it cannot be read, or is not what its manifest says.
    """
    manifest = await manifest_of(services, generation)
    video = manifest.video
    if video is None:
        raise ArchiveNotFound(
            f"The manifest of generation {generation.id} names no video",
            next_step="Run `prefect-ltx archive verify`",
        )
    path = services.work_dir(generation.id) / video.name
    key = f"{manifest.folder}/{video.name}"
    if not path.is_file() or await asyncio.to_thread(sha256_file, path) != video.sha256:
        await services.archive.fetch(key, path, sha256=video.sha256)
    return CollectedVideo(
        generation_id=generation.id,
        path=path,
        sha256=video.sha256,
        size=video.size,
        delivered=manifest.delivered,
        differences=manifest.differences,
        stored=services.archive.url(key),
    )


async def store(
    services: Services,
    generation: Generation,
    video: CollectedVideo,
    renditions: Sequence[Rendition] = (),
    quality: QualityRecord | None = None,
) -> Manifest:
    """Write the generation's folder, manifest last, and close the row. Idempotent; overwrites nothing.

    fal's file is archived as it came. Renditions are marked with their digital source type, and signed where
    the settings name a certificate, as the last thing that is done to them.

    Raises:
        ArchiveError: the archive refused or could not be reached; the video stays on this machine and the next
            run goes on from here.
        PaidVideoWaits: the work folder is full, or renditions cannot be signed; the same.
    """
    async with told_as_paid(services, generation):
        return await _store(services, generation, video, renditions, quality)


async def _store(
    services: Services,
    generation: Generation,
    video: CollectedVideo,
    renditions: Sequence[Rendition],
    quality: QualityRecord | None,
) -> Manifest:
    archive = services.archive
    folder = folder_for(generation.id, generation.endpoint, generation.created_at)
    manifest = await archive.manifest(folder)
    if manifest is None:
        tell("before-archive", generation.id, "archiving")
        key = video_key(generation)
        if video.stored != archive.url(key):
            await archive.put_file(key, video.path, sha256=video.sha256, content_type="video/mp4")
        tell("video-archived", generation.id)
        files = [
            ArchivedFile(
                role="video",
                name="video.mp4",
                sha256=video.sha256,
                size=video.size,
                content_type="video/mp4",
                facts=video.delivered,
            )
        ]
        marked = services.work_dir(generation.id) / MARKED_FOLDER
        for rendition in renditions:
            final = await mark_rendition(
                rendition,
                marked,
                stand_in=not services.client.hosts.is_fal,
                signer=services.options.signer,
            )
            files.append(await _put_rendition(services, folder, final))
        # Before the manifest, so that no video is in the archive of which the ledger has left no mark there.
        await archive.mark(services.ledger.id, generation.id, generation.created_at)
        tell("before-manifest", generation.id)
        manifest = _manifest(services, generation, video, folder, files, quality)
        manifest.approval = await approval_of(services, generation.tags)
        if (await archive.publish(manifest)).existed:
            # Where another writer was first, its manifest stands, and that is the one to remember.
            manifest = await archive.manifest(folder) or manifest
        tell("after-manifest", generation.id)
    await services.ledger.record(
        generation.id,
        Archived(location=archive.location, folder=folder, manifest_sha256=manifest.sha256),
    )
    if reason := why_rejected(manifest):
        await services.ledger.note_verdict(
            generation.id, "rejected", source="machine", by=QUALITY_CONTROL, reason=reason
        )
    clean_up(services, generation.id)
    return manifest


async def approval_of(services: Services, tags: Sequence[str]) -> ApprovalRecord | None:
    """The approval because of which something with these tags was bought, as the ledger has it."""
    ids = [each.removeprefix(TAG) for each in tags if each.startswith(TAG)]
    if not ids:
        return None
    known = {each.id: each for each in await services.ledger.approvals()}
    found = next((known[each] for each in reversed(ids) if each in known), None)
    if found is None:
        return None
    return ApprovalRecord(
        id=found.id,
        plan=found.plan,
        title=found.title,
        approved_by=found.approved_by,
        approved_at=found.approved_at,
        valid_until=found.valid_until,
        at_most_usd=f"{found.at_most_usd:f}",
    )


def why_rejected(manifest: Manifest) -> str:
    """Why the video cannot be used, by what the manifest says; empty where nothing speaks against it."""
    if "problem" in manifest.delivered:
        return f"damaged: it does not decode: {manifest.delivered['problem']}"
    if manifest.quality is None or not manifest.quality.rejected:
        return ""
    return manifest.quality.reasons or "the quality policy refuses it"


def archived(
    generation: Generation, manifest: Manifest, *, location: str, reused: bool
) -> ArchivedGeneration:
    """What a run says of an archived generation."""

    def place(name: str) -> str:
        return f"{location.rstrip('/')}/{manifest.folder}/{name}"

    return ArchivedGeneration(
        generation_id=generation.id,
        key=generation.key,
        endpoint=generation.endpoint,
        request_id=generation.request_id,
        seed=manifest.seed,
        state=str(State.ARCHIVED),
        archive=location,
        folder=manifest.folder,
        manifest=place("manifest.json"),
        video=place("video.mp4"),
        files={each.role: place(each.name) for each in manifest.files},
        price_expected_usd=manifest.price_expected_usd,
        price_billed_usd=manifest.price_billed_usd,
        reused=reused,
        differences=manifest.differences,
        quality=manifest.quality,
        **{name: _count(manifest.delivered.get(name)) for name in ("width", "height", "num_frames")},
    )


def _count(value: object) -> int | None:
    # A manifest may be an earlier release's, or somebody else's.
    return value if isinstance(value, int) and not isinstance(value, bool) else None


async def _put_rendition(services: Services, folder: str, rendition: Rendition) -> ArchivedFile:
    key = f"{folder}/{rendition.path.name}"
    sha256, size = rendition.sha256, rendition.size
    try:
        await services.archive.put_file(
            key, rendition.path, sha256=sha256, content_type=rendition.content_type
        )
    except ArchiveConflict:
        # A run that was killed before its manifest left its own rendering of the same video: that one counts,
        # since nothing in the archive is ever overwritten and every write there is whole or absent.
        await services.archive.fetch(key, rendition.path)
        sha256, size = await asyncio.to_thread(_facts, rendition.path)
    return ArchivedFile(
        role=rendition.name,
        name=rendition.path.name,
        sha256=sha256,
        size=size,
        content_type=rendition.content_type,
        facts=rendition.facts,
    )


def _facts(path: Path) -> tuple[str, int]:
    return sha256_file(path), path.stat().st_size


def _manifest(
    services: Services,
    generation: Generation,
    video: CollectedVideo,
    folder: str,
    files: list[ArchivedFile],
    quality: QualityRecord | None,
) -> Manifest:
    media = {field: MediaDigest.model_validate(each) for field, each in generation.asked["media"].items()}
    inputs = [
        InputFile(
            field=field,
            sha256=each.sha256,
            size=each.size,
            content_type=each.content_type,
            name=each.name,
        )
        for field, each in media.items()
    ]
    digests = {field: f"sha256:{each.sha256}" for field, each in media.items()}
    billed = generation.settled_usd
    return Manifest(
        generation_key=generation.key,
        generation_id=generation.id,
        endpoint=generation.endpoint,
        account=generation.account,
        request={**generation.body, **digests},
        request_id=generation.request_id or "",
        seed=generation.delivered_seed if generation.delivered_seed is not None else generation.seed,
        prompt_sent=str(generation.body["prompt"]),
        prompt_expanded=generation.prompt_expanded or "",
        price_expected_usd=generation.price_expected_usd,
        price_billed_usd=billed,
        billable_units=generation.units,
        inputs=inputs,
        files=files,
        asked={name: value for name, value in generation.asked.items() if name != "media"},
        delivered=video.delivered,
        differences=video.differences,
        quality=quality,
        tools=tools(signed=services.options.signer is not None),
        stand_in=not services.client.hosts.is_fal,
        created_at=services.runtime.now(),
        folder=folder,
        tags=list(generation.tags),
    )


def tools(*, signed: bool = False) -> dict[str, str]:
    """The versions of what works on a video and its renditions; `signed`: with Content Credentials."""
    libraries = (*_LIBRARIES, *(("c2pa-python",) if signed else ()))
    return {
        **{name: _version(name) for name in libraries},
        "python": platform.python_version(),
        "ffmpeg": ffmpeg_version(),
    }


@functools.cache
def _version(library: str) -> str:
    # It parses the whole README that the distribution's metadata hold.
    return importlib.metadata.version(library)
