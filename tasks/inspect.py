"""Quality control of a downloaded video: what a reviewer would find, and what the policy makes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.cache_policies import NO_CACHE

from prefect_ltx.blocks.dispatch import task
from prefect_ltx.generation import CollectedVideo
from prefect_ltx.generation.inspection import Inspection, inspect_delivery
from prefect_ltx.quality import PolicyName
from prefect_ltx.tasks.context import run_logger


@task(name="inspect video", cache_policy=NO_CACHE)
async def inspect_video(
    video: CollectedVideo | Path | str,
    *,
    asked: Mapping[str, Any],
    endpoint: str,
    inputs: Mapping[str, Path | str] | None = None,
    policy: PolicyName = "warn",
    folder: Path | str | None = None,
) -> Inspection:
    """Compare a delivered video with what was asked, and look for defects; findings are logged as warnings.

    Args:
        video: what `download_video` gave, or the path of any MP4.
        asked: width, height, num_frames, frames_per_second, audio; what is missing is not compared.
        endpoint: fal's endpoint that made it.
        inputs: the request's media by field, as local files; what is not there is done without.
        policy: `warn`, `trim` (cut a lead-in of the sheet from the renditions) or `reject`.
        folder: where pictures of findings are written; by default `quality` beside the video.

    Raises:
        FileNotFoundError: there is no such video.
    """
    found = await inspect_delivery(
        Path(video) if isinstance(video, str) else video,
        asked=asked,
        endpoint=endpoint,
        inputs={field: Path(path) for field, path in (inputs or {}).items()},
        policy=policy,
        folder=Path(folder) if folder else None,
    )
    log = run_logger()
    for each in found.report.findings:
        where = (
            "" if each.start_seconds is None else f" ({each.start_seconds:.2f} to {each.end_seconds:.2f} s)"
        )
        log.warning("Quality: %s%s: %s", each.kind, where, each.message)
    log.info("Quality control: %d findings, %s", len(found.report.findings), found.decision.verdict)
    return found
