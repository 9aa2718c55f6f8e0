"""One job from its body to its outcome: validate, fetch the media, plan, wait, render, measure, price.

Nothing here is remembered: a server that was killed does all of it again, and the same request gives the same
bytes, so the caller can commit completion and charge together at the very end.
"""

import asyncio
import hashlib
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from prefect_ltx.fal import megapixels, requested_size
from prefect_ltx.fal.frames import pad_num_frames
from prefect_ltx.local import store as db
from prefect_ltx.local.billing import Clip, billed_units
from prefect_ltx.local.errors import ModelError, PlatformError, Refusal, problem
from prefect_ltx.local.expansion import expand_prompt
from prefect_ltx.local.inputs import fetch_media, own_path
from prefect_ltx.local.renderer import RenderCancelled, RenderJob, RenderRefused
from prefect_ltx.local.rows import Outcome, RequestRow
from prefect_ltx.local.site import Site
from prefect_ltx.local.sizing import size_to_make, snapped_down
from prefect_ltx.local.stamp import STAND_IN
from prefect_ltx.local.validation import validated
from prefect_ltx.media import frame_rate, probe, sha256_file

INLINE: Final = "inline:"
"""Marks an output file that is delivered as a data URI (`sync_mode`)."""

_FRAME_STEP = 8


class Interrupt:
    """Says to a job, in its thread and in the event loop alike, that it is to stop."""

    def __init__(self) -> None:
        """Nobody has said so yet."""
        self.thread = threading.Event()
        self.loop = asyncio.Event()

    def set(self) -> None:
        """Stop. From the event loop only."""
        self.thread.set()
        self.loop.set()


async def perform(
    site: Site,
    row: RequestRow,
    log: Callable[[str], None],
    interrupt: Interrupt,
    threads: Executor,
) -> Outcome:
    """Carry out one request. `log` may be called from any thread."""
    asked = [Decimal(1)]
    try:
        return await _generate(site, row, log, interrupt, threads, asked)
    except RenderCancelled:
        error = PlatformError("client_cancelled", "Request was cancelled by the client")
        billed = site.faults.take("bill_cancelled", endpoint=row.endpoint) is not None
        return failure(error, units=asked[0] if billed else None)
    except Refusal as error:
        billed = error.status == 422 and site.faults.take("bill_422", endpoint=row.endpoint) is not None
        return failure(error, units=asked[0] if billed else None)


def failure(error: Refusal, *, units: Decimal | None = None) -> Outcome:
    """The outcome of a request that ends with this error."""
    if isinstance(error, PlatformError):
        return Outcome(error.status, error.body, error.headers, error.detail, error.error_type, units)
    return Outcome(
        error.status, error.body, error.headers, f"Invalid status code: {error.status}", None, units
    )


async def _generate(
    site: Site,
    row: RequestRow,
    log: Callable[[str], None],
    interrupt: Interrupt,
    threads: Executor,
    asked: list[Decimal],
) -> Outcome:
    log(f"{STAND_IN}: {row.endpoint}")
    request = validated(row.endpoint, await asyncio.to_thread(json.loads, row.body))
    folder = Path(tempfile.mkdtemp(prefix=f"{row.request_id}-", dir=site.files.work))
    try:
        uploads = [path for url in request.media().values() if (path := own_path(url)) is not None]
        if uploads and site.faults.take("upload_gone", endpoint=row.endpoint):
            await site.store.call(db.forget_uploads, uploads)
        asked[0] = Decimal(megapixels(*requested_size(request), request.num_frames))
        media = {field: await fetch_media(site, field, url, folder) for field, url in request.media().items()}
        reference = media.get(request.reference_field())
        width, height = size_to_make(
            request,
            (reference[1].width, reference[1].height) if reference else None,
            site.faults,
            row.endpoint,
        )
        frames = request.num_frames
        wish = Clip(width, height, frames)
        asked[0] = Decimal(megapixels(*wish))
        _check_budget(site, row, asked[0], frames)
        if site.faults.take("snap", endpoint=row.endpoint):
            width, height = snapped_down(width), snapped_down(height)
            frames = (frames - 1) // _FRAME_STEP * _FRAME_STEP + 1
        if site.faults.take("pad_frames", endpoint=row.endpoint):
            frames = pad_num_frames(frames)
        seed = request.seed if request.seed is not None else drawn_seed(row.request_id)
        prompt = expand_prompt(request.prompt, seed) if request.enable_prompt_expansion else request.prompt
        fps = frame_rate(request.frames_per_second)
        lead_in = 0
        if request.SHEET_FIELD:
            fault = site.faults.take("sheet_lead_in", endpoint=row.endpoint)
            lead_in = min(int(fault.value or 0), frames) if fault else 0
        log(f"Seed {seed}: {frames} frames of {width}x{height} at {fps} fps")

        slow = site.faults.take("slow_run", endpoint=row.endpoint)
        await _wait(site.render_seconds + (slow.value or 0 if slow else 0), log, interrupt)
        _fail_if_told(site, row)

        image = media.get(request.SHEET_FIELD or "image_url")
        job = RenderJob(
            request_id=row.request_id,
            request=request,
            seed=seed,
            prompt=prompt,
            width=width,
            height=height,
            num_frames=frames,
            fps=fps,
            video=reference[0] if reference else None,
            image=image[0] if image else None,
            folder=folder,
            sheet_lead_in=lead_in,
            media={field: path for field, (path, _) in media.items()},
        )
        made = await _render(site, job, log, interrupt, threads)
        return await _measured(site, row, job, made, wish, log=log)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def drawn_seed(request_id: str) -> int:
    """The seed of a request that names none: drawn from its id, so that starting it over draws the same."""
    return int.from_bytes(hashlib.sha256(f"seed {request_id}".encode()).digest()[:4], "big") >> 1


async def _wait(seconds: float, log: Callable[[str], None], interrupt: Interrupt) -> None:
    steps = 4
    for step in range(steps if seconds > 0 else 0):
        try:
            await asyncio.wait_for(interrupt.loop.wait(), seconds / steps)
        except TimeoutError:
            log(f"Sampling: {100 * (step + 1) // steps} %")
    if interrupt.loop.is_set():
        raise RenderCancelled


async def _render(
    site: Site, job: RenderJob, log: Callable[[str], None], interrupt: Interrupt, threads: Executor
) -> Path:
    last = [0]

    def progress(fraction: float, message: str) -> None:
        tenth = int(fraction * 10)
        if tenth > last[0]:
            last[0] = tenth
            log(f"{message}: {tenth * 10} %")

    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(threads, site.renderer.render, job, progress, interrupt.thread)
    except (RenderCancelled, asyncio.CancelledError):
        raise
    except RenderRefused as error:
        given = getattr(job.request, error.field, None)
        raise ModelError(
            422, [problem((error.field,), error.message, error.error_type, given=str(given))]
        ) from None
    except Exception as error:
        log(f"The renderer failed: {type(error).__name__}: {error}")
        raise ModelError(
            500, [problem((), "Internal server error", "internal_server_error")], retryable=True
        ) from error


async def _measured(
    site: Site, row: RequestRow, job: RenderJob, made: Path, wish: Clip, *, log: Callable[[str], None]
) -> Outcome:
    info = await asyncio.to_thread(probe, made)
    digest = await asyncio.to_thread(sha256_file, made)
    units = billed_units(site.faults, row.endpoint, wish, Clip(info.width, info.height, info.frames))
    file = site.files.adopt(
        made,
        row.request_id,
        content_type=info.content_type,
        size=info.size,
        digest=digest,
        lifetime=row.file_lifetime,
    )
    log(f"Done: {info.frames} frames of {info.width}x{info.height}, {info.size} bytes")
    output: dict[str, Any] = {
        "video": {
            "url": f"{INLINE}{file.path}" if job.request.sync_mode else file.path,
            "content_type": file.content_type,
            "file_name": file.name,
            "file_size": file.size,
        },
        "seed": job.seed,
        "prompt": job.prompt,
    }
    return Outcome(200, output, units=units, seed=job.seed, file=file)


def _check_budget(site: Site, row: RequestRow, asked: Decimal, frames: int) -> None:
    cap = site.faults.take("megapixel_cap", endpoint=row.endpoint)
    if cap is not None and cap.value is not None and asked > Decimal(str(cap.value)):
        message = f"The requested size and frame count are above the limit of {cap.value:g} megapixels"
        context: Mapping[str, Any] = {"le": cap.value}
        raise ModelError(
            422, [problem(("num_frames",), message, "less_than_equal", given=frames, context=context)]
        )


def _fail_if_told(site: Site, row: RequestRow) -> None:
    if site.faults.take("job_fails", endpoint=row.endpoint):
        raise ModelError(500, [problem((), "Internal server error", "internal_server_error")], retryable=True)
    if site.faults.take("job_422", endpoint=row.endpoint):
        message = (
            "The content could not be processed because it contained material flagged by a content checker."
        )
        raise ModelError(422, [problem(("prompt",), message, "content_policy_violation")])
