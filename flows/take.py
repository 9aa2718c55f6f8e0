"""Making takes of one request: one seed after the other, or all of them, until there is enough to choose from."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from prefect_ltx.archive import Manifest
from prefect_ltx.blocks.services import BlockNames
from prefect_ltx.fal import FalGenerationFailed, FrameRule, GenerationRequest
from prefect_ltx.film import TakePolicy, take_seeds
from prefect_ltx.flows.comparison import (
    choice_markdown,
    comparison_markdown,
    comparison_page,
    page_key,
    poster_of,
)
from prefect_ltx.flows.defects import verdict_of
from prefect_ltx.flows.judge import Judge, JudgedTake, judged
from prefect_ltx.flows.steps import make_video
from prefect_ltx.generation import ArchivedGeneration, Services
from prefect_ltx.generation.work_folders import TAKES
from prefect_ltx.media import MediaError, Recipe, sha256_file
from prefect_ltx.tasks.context import run_logger


class Take(BaseModel):
    """One archived take: its place in the row (from 1), what speaks against it, its rank."""

    number: int
    seed: int
    generation: ArchivedGeneration
    defects: tuple[str, ...] = ()
    skip_frames: int = 0
    """Frames at its start that show the reference sheet."""
    score: float | None = None
    """What the judge gave it; higher is better."""
    chosen: bool = False


class FailedTake(BaseModel):
    """A seed that ended without a video, and why."""

    number: int
    seed: int
    reason: str


class NoTakePassed(Exception):
    """Every take has a defect. All are archived and paid for; nothing more was sent."""


@dataclass
class TakeRow:
    """All takes of one request, with what it takes to look at them."""

    request: GenerationRequest
    policy: TakePolicy
    takes: list[Take]
    failed: list[FailedTake]
    manifests: dict[int, Manifest]
    folder: Path
    posters: dict[int, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The same for the same takes, in hex."""
        keys = " ".join(take.generation.key for take in self.takes)
        return hashlib.sha256(keys.encode()).hexdigest()

    @property
    def passed(self) -> list[Take]:
        """The takes without a defect."""
        return [take for take in self.takes if not take.defects]

    def choose(self, number: int) -> Take:
        """Mark one take as the chosen one."""
        self.takes = [take.model_copy(update={"chosen": take.number == number}) for take in self.takes]
        return next(take for take in self.takes if take.chosen)

    def markdown(self) -> str:
        """The comparison for Prefect's UI."""
        return comparison_markdown(self.request.prompt, self.takes, self._posters())

    def choice_markdown(self) -> str:
        """The same for the dialog in which a person chooses."""
        return choice_markdown(self.takes, self._posters())

    async def publish_page(self, services: Services) -> str:
        """Write the comparison page into the archive; gives its address."""
        page = comparison_page(self.request.prompt, self.takes, self._posters()).encode()
        key = page_key(self.group, page)
        await services.archive.put_bytes(key, page, content_type="text/html; charset=utf-8")
        return services.archive.url(key)

    def _posters(self) -> list[str]:
        return [self.posters.get(take.number, "") for take in self.takes]


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
        NoTakePassed: every take has a defect.
        FalError, GenerationStopped, LedgerError, ArchiveError: the first error of a take, where none was made.
    """
    assert request.seed is not None
    seeds = take_seeds(request.seed, policy.n)
    row = TakeRow(request, policy, [], [], {}, services.options.work_dir / TAKES)

    async def one(number: int, seed: int) -> Take:
        async with slots:
            made = await make_video(
                request.with_seed(seed), names, recipe=recipe, tags=tags, frame_rule=frame_rule
            )
        manifest = await services.archive.manifest(made.folder)
        assert manifest is not None  # it is archived: make_video has just read or written it
        row.manifests[number] = manifest
        found = verdict_of(manifest)
        take = Take(
            number=number, seed=seed, generation=made, defects=found.defects, skip_frames=found.skip_frames
        )
        run_logger().info("Take %d, seed %d: %s", number, seed, "; ".join(take.defects) or "no defect")
        return take

    if policy.stop == "first_pass":
        for number, seed in enumerate(seeds, 1):
            try:
                take = await one(number, seed)
            except FalGenerationFailed as error:
                # The model stumbled over this seed; another may do. What is wrong with the request ends the row.
                if number == len(seeds) and not row.takes:
                    raise
                row.failed.append(FailedTake(number=number, seed=seed, reason=str(error)))
                continue
            row.takes.append(take)
            if not take.defects:
                break
    else:
        done = await asyncio.gather(
            *(one(number, seed) for number, seed in enumerate(seeds, 1)), return_exceptions=True
        )
        for number, (seed, made) in enumerate(zip(seeds, done, strict=True), 1):
            if isinstance(made, Take):
                row.takes.append(made)
            elif isinstance(made, Exception):
                row.failed.append(FailedTake(number=number, seed=seed, reason=str(made)))
            else:
                raise made
        if not row.takes:
            raise next(each for each in done if isinstance(each, Exception))
    row.folder = row.folder / row.group[:16]
    if not row.passed:
        told = "; ".join(f"take {take.number}: {', '.join(take.defects)}" for take in row.takes)
        raise NoTakePassed(
            f"All {len(row.takes)} takes have defects ({told}). They are paid for and archived under "
            f"{services.archive.location}; nothing more was sent. Ask for more takes, or change the request."
        )
    return row


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
