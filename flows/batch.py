"""Hundreds of requests from a file or a list, each paid for once, with at most so many in flight."""

import asyncio
from collections.abc import Awaitable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed
from pydantic import Field

from prefect_ltx.batch import MOST_ROWS, BatchReport, BatchRun, PlannedRow, read_batch
from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import FrameRule
from prefect_ltx.flows.approval import NotApproved, approved
from prefect_ltx.flows.batch_artifacts import ProgressArtifact, publish_report
from prefect_ltx.flows.batch_planning import BatchPlanning
from prefect_ltx.flows.batch_report import check_report, write_report
from prefect_ltx.flows.cancellation import cancel_paid_job
from prefect_ltx.flows.decide import publish_needs_a_person
from prefect_ltx.flows.forms import DAY, ApprovalDays, AtOnce, BatchSource, RecipeChoice, check_recipe
from prefect_ltx.flows.parameters import flow
from prefect_ltx.generation.inspection import QualityMode
from prefect_ltx.generation.retake import MOST_SEEDS, SEEDS
from prefect_ltx.ledger import LedgerError, approval_tag
from prefect_ltx.tasks.batch import announce, announce_end, cancel_batch, generate_row, generate_rows, running
from prefect_ltx.tasks.context import cancelled_by_person, flow_run_id, run_logger
from prefect_ltx.tasks.life import only_ends
from prefect_ltx.tasks.wait import CANCEL_BUDGET_SECONDS, CANCEL_LOOK_SECONDS

CHUNK = 200
CHUNKS_AT_ONCE = 2
"""Two, so that the next chunk's rows fill the places that the end of the last one leaves."""
NEARLY_DONE = 4


class BatchNotApproved(NotApproved):
    """A person said no, or nobody said yes. Nothing was sent or spent."""


def run_name() -> str:
    """What a run is called in the UI."""
    given: dict[str, Any] = dict(flow_run.parameters)
    source = given.get("source")
    name = given.get("name") or (Path(source.partition("?")[0]).name if isinstance(source, str) else "a list")
    return f"batch {name}"


@flow(
    name="generate-batch",
    flow_run_name=run_name,
    on_cancellation=[cancel_paid_job],
    persist_result=False,
)
async def generate_batch(
    source: BatchSource,
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
    budget: str = "",
    name: str = "",
    concurrency: AtOnce = 2,
    defaults: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
    matrix: dict[str, Any] | None = None,
    recipe: RecipeChoice = "web",
    quality: QualityMode = "warn",
    max_seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = SEEDS,
    tags: list[str] | None = None,
    frame_rule: FrameRule = "as_is",
    max_requests: Annotated[int, Field(ge=1)] = MOST_ROWS,
    task_run_per_row_up_to: Annotated[int, Field(ge=0)] = 50,
    fresh: bool = False,
    approve: bool = False,
    approve_within_seconds: Annotated[int, Field(ge=1)] = 24 * 3600,
    approval_days: ApprovalDays = 7,
    seed_scope: str = "",
    report: str = "",
) -> BatchReport:
    """Make the video of every row, at most `concurrency` at fal at once, first come first served.

    Every row is checked before anything is spent. Rows that fail stop no others, and running the same batch again
    does only what is missing. Rows that ask for the very same thing share one video. A row without a seed stands
    for one video of its request: what an earlier run of a batch of this name made for it counts.

    Args:
        source: path, s3:// or https:// address of a JSONL, CSV, TSV, XLSX, YAML or JSON file, or a list of requests.
            Both endpoints may be mixed.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.
        budget: Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.
        name: What the batch is called, in the UI and as the tag `batch:NAME`; empty for the file's name.
        concurrency: Requests at fal at once. fal runs 2 for a new account, 40 at most.
        defaults: Fields for rows that do not say otherwise.
        overrides: Fields for all rows, whatever they say.
        matrix: Field to values; every row is multiplied by all combinations. prompts, seeds, strengths work too.
        recipe: Which renditions to make: web, social, broadcast, review or none, or a recipe of your own.
        quality: What to do about defects: off, warn, trim (cut a lead-in of the sheet from the renditions), reject
            (archive it, marked, and let the row fail) or next_seed (archive it and buy another take).
        max_seeds: With quality next_seed, how many takes of a row at most; each has its own price.
        tags: Words to find it by in the ledger; budgets may be set for a tag.
        frame_rule: as_is sends the frame count as asked; nearest and floor fit it to 8k+1, as the model works.
        max_requests: The ceiling of the batch after the matrix.
        task_run_per_row_up_to: Batches up to this size show a task run a row; larger ones run in chunks.
        fresh: New videos for rows without a seed, even where an earlier run of this batch archived some.
        approve: Publish the plan and wait until a person approves it in the UI, before anything is spent.
        approve_within_seconds: How long to wait for that.
        approval_days: How many days an approval of this very plan holds, for runs that come later.
        seed_scope: What seeds of rows without one are drawn from; empty for the name of the batch. Two runs of the
            same rows in the same scope are one purchase, even at the same time.
        report: A .csv, .xlsx or .jsonl file that gets the end of every row as a table: by its absolute path on the
            worker's disk, or s3://bucket/key, with the archive's credentials. One that cannot be written is said in
            the run's log and end, and costs no result.

    Returns:
        The end of every row. Failed rows are in it: only what concerns the whole batch is raised.

    Raises:
        BatchInvalid: rows that cannot be run, all of them by row and column. Nothing was sent or spent.
        BatchNotApproved: nobody approved. Nothing was sent or spent.
        ValueError: no such recipe, or no place for a report. Nothing was sent or spent.
        LedgerError, SettingsError: the ledger or the account cannot be used. Nothing was sent or spent.
    """
    check_recipe(recipe)
    if report:
        check_report(report)
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive, budget=budget)
    read = partial(
        read_batch,
        source,
        defaults=defaults,
        overrides=overrides,
        matrix=matrix,
        name=name,
        most=max_requests,
    )
    async with services_for(names) as services:
        planning = BatchPlanning(
            services,
            read,
            at_fal=concurrency,
            takes=max_seeds if quality == "next_seed" else 1,
            frame_rule=frame_rule,
            flow_run_id=flow_run_id(),
            fresh=fresh,
            seed_scope=seed_scope,
        )
        try:
            await planning.make()
            bought_by = None
            if approve:
                bought_by = await approved(
                    services.ledger,
                    await planning.shown(),
                    planning.again,
                    within=approve_within_seconds,
                    holds=approval_days * DAY,
                    refusal=BatchNotApproved,
                )
            work = BatchRun(
                planning.run,
                planning.batch.name,
                planning.rows,
                at_fal=concurrency,
                recipe=recipe,
                quality=quality,
                max_seeds=max_seeds,
                flow_run_id=flow_run_id(),
                tags=(*(tags or ()), *([approval_tag(bought_by)] if bought_by else ())),
                on_end=lambda result: announce(result, planning.batch.name),
            )
            stopped = await _carried_out(work, per_row=len(planning.rows) <= task_run_per_row_up_to)
        finally:
            await planning.aclose()
        ended = work.report()
        await publish_report(services, ended)
        if not ended.ok:
            await publish_needs_a_person(services)
        announce_end(ended)
        unwritten = await write_report(services.archive, report, ended) if report else ""
    return _end(ended, stopped, unwritten)  # type: ignore[return-value]  # Prefect gives the caller the state's data


async def _carried_out(batch: BatchRun, *, per_row: bool) -> bool:
    """Bring every row to its end; True where a person cancelled the run, and what was at fal was cancelled."""
    progress = ProgressArtifact(batch)
    with running(batch):
        working = asyncio.ensure_future(_each_row(batch) if per_row else _chunks(batch))
    showing = asyncio.create_task(progress.show())
    looking = asyncio.create_task(_until_cancelled(batch.flow_run_id))
    try:
        await asyncio.wait({working, looking}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return False
        await _stopped(batch, working)
        return True
    except asyncio.CancelledError:
        # The worker is being stopped or a person cancelled: only the run's state on the server tells.
        async with asyncio.timeout(CANCEL_BUDGET_SECONDS):
            if await asyncio.shield(cancelled_by_person(batch.flow_run_id)):
                await asyncio.shield(_stopped(batch, working))
        raise
    finally:
        for each in (working, looking, showing):
            each.cancel()
        await asyncio.gather(working, looking, showing, return_exceptions=True)
        await progress.put()


async def _each_row(batch: BatchRun) -> None:
    turn = asyncio.Semaphore(batch.at_fal + NEARLY_DONE)

    async def one(planned: PlannedRow) -> None:
        async with turn:
            label = planned.row.id or " ".join(planned.request.prompt.split())[:40]
            await _state_of(generate_row(planned.row.place, label, return_state=True))

    await _all(one(each) for each in batch.rows)


async def _chunks(batch: BatchRun) -> None:
    turn = asyncio.Semaphore(CHUNKS_AT_ONCE)

    async def one(first: int) -> None:
        async with turn:
            last = min(first + CHUNK - 1, len(batch.rows))
            await _state_of(generate_rows(first, last, return_state=True))

    with only_ends(batch.flow_run_id):
        await _all(one(first) for first in range(1, len(batch.rows) + 1, CHUNK))


async def _all(works: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*works)


async def _state_of(run: Any) -> None:
    # An asynchronous task is awaited with `return_state` too, which Prefect's types do not say.
    await run


async def _stopped(batch: BatchRun, working: "asyncio.Future[None]") -> None:
    """End the rows here first, so that nothing new is sent, then what they have at fal."""
    keys = set(batch.working_on)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    try:
        ended = await cancel_batch(batch.run.services, batch.flow_run_id, keys)
    except LedgerError as error:
        run_logger().error("What is at fal could not be cancelled: %s", error)
        return
    run_logger().warning("Cancelled by a person: %d generations were cancelled at fal", len(ended))


async def _until_cancelled(run_id: str | None) -> None:
    # A run that was started by hand is not killed when a person cancels it: it has to look for itself.
    while not await cancelled_by_person(run_id):  # noqa: ASYNC110 - the state lives on the server
        await asyncio.sleep(CANCEL_LOOK_SECONDS)


def _end(report: BatchReport, stopped: bool, unwritten: str) -> State[BatchReport]:
    kept = sum(row.ok for row in report.rows)
    what = f"{kept} of {len(report.rows)} rows are in the archive{unwritten}"
    if stopped:
        return Cancelled(message=f"{what}; what was at fal was cancelled")
    if report.ok:
        return Completed(message=what, data=report)
    return Completed(name="Incomplete", message=f"{what}; running it again does what is missing", data=report)
