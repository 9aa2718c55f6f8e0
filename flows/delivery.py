"""From a finished job to an archived video: download, inspect, render, archive; the second half of every flow."""

from collections.abc import Mapping
from pathlib import Path

from prefect_ltx.archive import QualityRecord
from prefect_ltx.generation import ArchivedGeneration, CollectedVideo, tell
from prefect_ltx.generation.inspection import Inspection, QualityMode, unrendered
from prefect_ltx.ledger import Generation
from prefect_ltx.media import MediaError, Recipe, Rendition
from prefect_ltx.tasks import archive_video, download_video, inspect_video, postprocess_video
from prefect_ltx.tasks.context import run_logger
from prefect_ltx.tasks.handle import GenerationHandle


async def deliver(
    handle: GenerationHandle,
    generation: Generation,
    inputs: Mapping[str, Path],
    *,
    recipe: str | Recipe,
    quality: QualityMode,
    where: Mapping[str, str],
) -> ArchivedGeneration:
    """Bring a completed generation into the archive, whatever quality control says of it.

    `inputs` are the request's media by field; `where` names the blocks.

    Raises:
        FalError, LedgerError, ArchiveError: the video stays at fal or on this machine.
    """
    video = await download_video(handle, **where)
    found = await _inspected(video, generation, inputs, quality)
    tell("render", handle.generation_id, "rendering")
    renditions, record = await _rendered(video, found, recipe)
    return await archive_video(handle, video, renditions, quality=record, **where)


async def _inspected(
    video: CollectedVideo, generation: Generation, inputs: Mapping[str, Path], quality: QualityMode
) -> Inspection | None:
    if quality == "off":
        return None
    tell("inspect", generation.id, "checking quality")
    try:
        return await inspect_video(
            video, asked=generation.asked, endpoint=generation.endpoint, inputs=inputs, policy=quality
        )
    except (MediaError, OSError) as error:
        # The video is paid for: it is archived without a report rather than not at all.
        run_logger().warning("Not inspected: %s", error)
        return None


async def _rendered(
    video: CollectedVideo, found: Inspection | None, recipe: str | Recipe
) -> tuple[list[Rendition], QualityRecord | None]:
    frames = found.trim_frames if found else 0
    record = found.record() if found else None
    if frames:
        run_logger().info("Renditions begin at frame %d; the archived original stays whole", frames)
    try:
        made = await postprocess_video(video, recipe=recipe, lead_in_frames=frames)
    except MediaError as error:
        run_logger().warning("No renditions: %s", error)
        made, record = [], unrendered(record, error)
    return [*made, *(found.pictures if found else [])], record
