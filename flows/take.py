"""Making takes of one request: one seed after the other, or all of them, until there is enough to choose from."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from prefect_ltx.archive import ArchiveNotFound, Manifest
from prefect_ltx.blocks.services import BlockNames
from prefect_ltx.fal import FalGenerationFailed, FrameRule, GenerationRequest
from prefect_ltx.film import TakePolicy, take_seeds
from prefect_ltx.flows.comparison import poster_of
from prefect_ltx.flows.defects import verdict_of
from prefect_ltx.flows.judge import Judge, JudgedTake, judged
from prefect_ltx.flows.steps import make_video
from prefect_ltx.flows.take_row import FailedTake, NoTakePassed, Take, TakeRow
from prefect_ltx.generation import Services, Takes
from prefect_ltx.generation.errors import money_of, what_happened
from prefect_ltx.generation.life import KNOWN_ENDS, row_of
from prefect_ltx.generation.store import QUALITY_CONTROL
from prefect_ltx.generation.work_folders import TAKES
from prefect_ltx.ledger import Generation
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.media import MediaError, Recipe, sha256_file
from prefect_ltx.tasks.context import run_logger


async def make_takes(
    services: Services,
    request: GenerationRequest,
    names: BlockNames,
    policy: TakePolicy,
    *,
    slots: asyncio.Semaphore,
    recipe: str | Recipe,
    tags: Sequence[str],
    frame_rule: FrameRule,
) -> TakeRow:
    """Make the takes that the policy asks for; `request` has a seed, and its takes' seeds follow from it.

    A take that was paid for before is not paid for again, so the same call gives the same row.

    Raises:
        NoTakePassed: no take can be used; it counts every one. Where a person chooses, a defect may be overruled.
        FalError, GenerationStopped, LedgerError, ArchiveError: the error of a take that was the only one.
    """
    assert request.seed is not None
    seeds = take_seeds(request.seed, policy.n)
    row = TakeRow(request, policy, [], [], {}, services.options.work_dir / TAKES)

    async def one(number: int, seed: int) -> Take | FailedTake:
        begun = Takes("warn", 1)
        try:
            async with slots:
                made = await make_video(
                    request.with_seed(seed),
                    names,
                    recipe=recipe,
                    tags=tags,
                    frame_rule=frame_rule,
                    takes=begun,
                )
        except KNOWN_ENDS as error:
            errors.append(error)
            found = await row_of(services, begun.plan, error) if begun.plan else None
            failed = _failed(number, seed, error, found)
            run_logger().warning("%s", failed.line)
            return failed
        manifest = await services.archive.manifest(made.folder)
        assert manifest is not None  # it is archived: make_video has just read or written it
        row.manifests[number] = manifest
        verdict = verdict_of(manifest)
        take = Take(
            number=number,
            seed=seed,
            generation=made,
            defects=verdict.defects,
            skip_frames=verdict.skip_frames,
        )
        if take.defects:
            found_in = manifest.quality.reasons if manifest.quality else ""
            await services.ledger.note_verdict(
                made.generation_id,
                "rejected",
                source="machine",
                by=QUALITY_CONTROL,
                reason=found_in or "; ".join(take.defects),
            )
        run_logger().info("Take %d, seed %d: %s", number, seed, "; ".join(take.defects) or "no defect")
        return take

    errors: list[Exception] = []
    if policy.stop == "first_pass":
        for number, seed in enumerate(seeds, 1):
            row.add(await one(number, seed))
            # The model stumbles over one seed, and another may do; whatever else went wrong ends the row.
            if row.passed or (errors and not isinstance(errors[-1], FalGenerationFailed)):
                break
    else:
        done = await asyncio.gather(
            *(one(number, seed) for number, seed in enumerate(seeds, 1)), return_exceptions=True
        )
        for each in done:
            if isinstance(each, BaseException):
                raise each
            row.add(each)
    row.folder = row.folder / row.group[:16]
    if not row.passed and not (row.takes and policy.choose == "person"):
        if len(errors) == 1 and not row.takes:
            raise errors[0]
        raise NoTakePassed(row.account(services.archive.location)) from (errors[-1] if errors else None)
    return row


def _failed(number: int, seed: int, error: Exception, generation: Generation | None) -> FailedTake:
    return FailedTake(
        number=number,
        seed=seed,
        reason=what_happened(error),
        state=str(generation.state) if generation else "",
        generation_id=generation.id if generation else None,
        money=money_of(error, generation),
        may_have_cost_usd=generation.held_usd if generation else Decimal(0),
    )


async def check_archived(services: Services, row: TakeRow, take: Take) -> None:
    """Look again whether a take is in the archive: a person may have taken a day to choose it.

    Raises:
        ArchiveNotFound: it is not there any more.
    """
    folder = take.generation.folder
    manifest = await services.archive.manifest(folder)
    video = manifest.video if manifest else None
    if manifest is None or video is None or not await services.archive.exists(f"{folder}/{video.name}"):
        copy = row.folder / f"{take.number}.mp4"
        kept = f"; a copy of its video is in {copy}" if copy.is_file() else ""
        raise ArchiveNotFound(
            f"Take {take.number} was chosen, and its folder {folder} is no longer whole in {services.archive.location}",
            bill=f"It is paid for ({dollars(take.generation.price_usd)}){kept}",
            next_step="Bring the folder back from a backup, or run again and choose another take: that pays nothing",
        )
    row.manifests[take.number] = manifest


async def draw_posters(services: Services, row: TakeRow) -> None:
    """Fetch the takes' videos and make a small picture of each; a take without one stays in the row."""
    row.folder.mkdir(parents=True, exist_ok=True)
    for take in row.takes:
        video = await local_video(services, row.manifests[take.number], row.folder / f"{take.number}.mp4")
        try:
            row.posters[take.number] = await poster_of(video, row.folder / f"{take.number}.jpg")
        except MediaError as error:
            run_logger().warning("No picture of take %d: %s", take.number, error)


async def rank(row: TakeRow, judge: Judge) -> Take:
    """Let the judge score the takes without defects, and choose the best. `draw_posters` comes first.

    Raises:
        JudgeError: it failed.
    """
    passed = row.passed
    scores = await judged(
        judge,
        [
            JudgedTake(
                number=take.number,
                seed=take.seed,
                video=row.folder / f"{take.number}.mp4",
                poster=row.folder / f"{take.number}.jpg",
                prompt=row.request.prompt,
                request=row.manifests[take.number].request,
                measures=record.measures if (record := row.manifests[take.number].quality) else {},
            )
            for take in passed
        ],
    )
    by_number = dict(zip((take.number for take in passed), scores, strict=True))
    row.takes = [take.model_copy(update={"score": by_number.get(take.number)}) for take in row.takes]
    return row.choose(max(by_number, key=lambda number: (by_number[number], -number)))


async def local_video(services: Services, manifest: Manifest, path: Path) -> Path:
    """An archived video as a local file, verified by its sha256; what is there already is not fetched again.

    Raises:
        ArchiveError: it cannot be read, or is not what its manifest says.
    """
    video = manifest.video
    assert video is not None  # every generation's manifest names one
    if not path.is_file() or await asyncio.to_thread(sha256_file, path) != video.sha256:
        path.parent.mkdir(parents=True, exist_ok=True)
        await services.archive.fetch(f"{manifest.folder}/{video.name}", path, sha256=video.sha256)
    return path
