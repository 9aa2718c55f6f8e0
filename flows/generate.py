"""Each endpoint as a flow: one request in, one archived video out."""

from typing import Annotated, Any

from prefect.runtime import flow_run
from pydantic import Field

from prefect_ltx.blocks.services import BlockNames
from prefect_ltx.fal import FrameRule
from prefect_ltx.flows.approval import APPROVE_SECONDS
from prefect_ltx.flows.cancellation import cancel_paid_job
from prefect_ltx.flows.forms import MotionRequest, OneRequest, RecipeChoice, Seconds, SheetRequest
from prefect_ltx.flows.naming import words_of
from prefect_ltx.flows.parameters import flow
from prefect_ltx.flows.steps import make_video
from prefect_ltx.generation import ArchivedGeneration
from prefect_ltx.generation.inspection import QualityMode
from prefect_ltx.generation.retake import MOST_SEEDS, SEEDS, Takes


def run_name() -> str:
    """What a run is called in the UI: what it makes, from the request's size, frames and first words."""
    request: Any = flow_run.parameters["request"]
    data = request if isinstance(request, dict) else request.model_dump()
    seed = f", seed {data['seed']}" if data.get("seed") is not None else ""
    return f"{words_of(str(data.get('prompt', '')))} ({data.get('num_frames', 121)} frames{seed})"


@flow(name="reference-video-to-video", flow_run_name=run_name, on_cancellation=[cancel_paid_job])
async def reference_video_to_video(
    request: MotionRequest,
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
    budget: str = "",
    recipe: RecipeChoice = "web",
    tags: list[str] | None = None,
    frame_rule: FrameRule = "as_is",
    quality: QualityMode = "warn",
    max_seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = SEEDS,
    approve: bool = False,
    approve_within_seconds: Seconds = APPROVE_SECONDS,
) -> ArchivedGeneration:
    """Make a video that takes its motion and structure from a reference video, and archive it.

    The same request with the same seed is never paid for twice, whatever crashed in between.

    Args:
        request: what to make. Reference video and reference image may be local paths, s3://, https:// or data URIs.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.
        budget: Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.
        recipe: Which renditions to make: web, social, broadcast, review or none, or a recipe of your own.
        tags: Words to find it by in the ledger; budgets may be set for a tag.
        frame_rule: as_is sends the frame count as asked; nearest and floor fit it to 8k+1, as the model works.
        quality: What to do about defects: off, warn, trim (cut a lead-in of the sheet from the renditions), reject
            (archive it, marked, and fail the run) or next_seed (archive it and buy another take).
        max_seeds: With quality next_seed, how many takes at most; each has its own price.
        approve: Show what it will cost and wait until a person approves it in the UI; nothing is sent before.
        approve_within_seconds: How long to wait for that.
    """
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive, budget=budget)
    return await make_video(
        request,
        names,
        recipe=recipe,
        tags=tags or [],
        frame_rule=frame_rule,
        quality=quality,
        takes=Takes(quality, max_seeds),
        approve_within=approve_within_seconds if approve else None,
    )


@flow(name="ingredient-to-video", flow_run_name=run_name, on_cancellation=[cancel_paid_job])
async def ingredient_to_video(
    request: SheetRequest,
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
    budget: str = "",
    recipe: RecipeChoice = "web",
    tags: list[str] | None = None,
    frame_rule: FrameRule = "as_is",
    quality: QualityMode = "warn",
    max_seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = SEEDS,
    approve: bool = False,
    approve_within_seconds: Seconds = APPROVE_SECONDS,
) -> ArchivedGeneration:
    """Make a video of the characters, props and place on a reference sheet, and archive it.

    The same request with the same seed is never paid for twice, whatever crashed in between.

    Args:
        request: what to make. The reference sheet may be a local path, s3://, https:// or a data URI.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.
        budget: Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.
        recipe: Which renditions to make: web, social, broadcast, review or none, or a recipe of your own.
        tags: Words to find it by in the ledger; budgets may be set for a tag.
        frame_rule: as_is sends the frame count as asked; nearest and floor fit it to 8k+1, as the model works.
        quality: What to do about defects: off, warn, trim (cut a lead-in of the sheet from the renditions), reject
            (archive it, marked, and fail the run) or next_seed (archive it and buy another take).
        max_seeds: With quality next_seed, how many takes at most; each has its own price.
        approve: Show what it will cost and wait until a person approves it in the UI; nothing is sent before.
        approve_within_seconds: How long to wait for that.
    """
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive, budget=budget)
    return await make_video(
        request,
        names,
        recipe=recipe,
        tags=tags or [],
        frame_rule=frame_rule,
        quality=quality,
        takes=Takes(quality, max_seeds),
        approve_within=approve_within_seconds if approve else None,
    )


@flow(name="request-to-video", flow_run_name=run_name, on_cancellation=[cancel_paid_job])
async def request_to_video(
    request: OneRequest,
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
    budget: str = "",
    recipe: RecipeChoice = "web",
    tags: list[str] | None = None,
    frame_rule: FrameRule = "as_is",
    quality: QualityMode = "warn",
    max_seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = SEEDS,
    approve: bool = False,
    approve_within_seconds: Seconds = APPROVE_SECONDS,
) -> ArchivedGeneration:
    """Make a video with any registered endpoint, and archive it.

    The same request with the same seed is never paid for twice, whatever crashed in between.

    Args:
        request: what to make. Media fields may be local paths, s3://, https:// or data URIs.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.
        budget: Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.
        recipe: Which renditions to make: web, social, broadcast, review or none, or a recipe of your own.
        tags: Words to find it by in the ledger; budgets may be set for a tag.
        frame_rule: as_is sends the frame count as asked; nearest and floor fit it to 8k+1, as the model works.
        quality: What to do about defects: off, warn, trim (cut a lead-in of the sheet from the renditions), reject
            (archive it, marked, and fail the run) or next_seed (archive it and buy another take).
        max_seeds: With quality next_seed, how many takes at most; each has its own price.
        approve: Show what it will cost and wait until a person approves it in the UI; nothing is sent before.
        approve_within_seconds: How long to wait for that.
    """
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive, budget=budget)
    return await make_video(
        request,
        names,
        recipe=recipe,
        tags=tags or [],
        frame_rule=frame_rule,
        quality=quality,
        takes=Takes(quality, max_seeds),
        approve_within=approve_within_seconds if approve else None,
    )
