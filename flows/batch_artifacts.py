"""What a person sees of a batch in the Prefect UI: the plan before, a number while it runs, the outcome after."""

import asyncio
import base64
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)

from prefect_ltx.batch import BatchPlan, BatchReport, BatchRun, PlannedRow, RowResult
from prefect_ltx.flows.naming import REHEARSAL, in_markdown, words_of
from prefect_ltx.generation import Services
from prefect_ltx.generation.posters import poster_sheet
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.tasks.batch import slug
from prefect_ltx.tasks.context import run_logger

ROWS_SHOWN = 100
SHEET_LIMIT_BYTES = 300_000
UPDATE_SECONDS = 3.0
"""An update costs the server 27 ms (reference prefect §5)."""


async def publish_plan(plan: BatchPlan, rows: Sequence[PlannedRow]) -> None:
    """The plan as an artifact: nothing was spent to make it."""
    await acreate_markdown_artifact(
        plan_markdown(plan, rows),
        key=f"ltx-batch-{slug(plan.name)}-plan",
        description=f"Batch {plan.name}: {plan.to_send} of {plan.requests} to send, "
        f"{dollars(plan.price_expected_usd)} expected",
    )


async def publish_report(services: Services, report: BatchReport) -> None:
    """The outcome: one table of all rows, and a page with the sums and a contact sheet of the posters."""
    name = slug(report.name)
    await acreate_table_artifact(
        [_table_row(row) for row in report.rows],
        key=f"ltx-batch-{name}-rows",
        description=f"Batch {report.name}: every row and how it ended",
    )
    folders = [row.folder for row in report.rows if row.folder and row.same_as is None]
    sheet = await poster_sheet(services.archive, folders)
    await acreate_markdown_artifact(
        report_markdown(report, sheet, stand_in=not services.client.hosts.is_fal),
        key=f"ltx-batch-{name}",
        description=f"Batch {report.name}: {_counted(report)}",
    )


def plan_markdown(plan: BatchPlan, rows: Sequence[PlannedRow], pictures: Sequence[str] = ()) -> str:
    """The sums, the budget, the warnings, and the first rows with `pictures` of what they are made from.

    A row's price stands first: what is right of a narrow page is not seen.
    """
    sums = {
        "**Expected**": f"**{dollars(plan.price_expected_usd)}**",
        "**At most**": f"**{dollars(plan.price_upper_usd)}**",
        **{f"Left of {each.name}": dollars(each.left_usd) for each in plan.budget},
        "Requests": plan.requests,
        "To send": plan.to_send,
        "Paid for already": plan.hits,
        "Under way": plan.in_flight,
        "Same as another row": plan.duplicates,
        "Wait for a person": plan.needs_a_person,
        "Frames": plan.num_frames,
        "Megapixels": plan.megapixels,
    }
    parts = [_facts(sums)]
    if plan.over_budget:
        parts.insert(0, f"**Over budget: {', '.join(plan.over_budget)} does not cover all of it.**")
    parts += ["\n".join(f"- {_cell(each)}" for each in plan.warnings[:20])] if plan.warnings else []
    shown = [*pictures[:ROWS_SHOWN], *[""] * len(rows)]
    lines = [
        f"| {_price(each)} | {_cell(each.row.id or each.row.where)} {_what(each)} | {picture} |"
        for each, picture in zip(rows[:ROWS_SHOWN], shown, strict=False)
    ]
    parts.append("\n".join(["| Price | Row | Made from |", "|---|---|---|", *lines]))
    if len(rows) > ROWS_SHOWN:
        parts.append(f"… and {len(rows) - ROWS_SHOWN} more rows")
    return "\n\n".join(parts)


def _price(row: PlannedRow) -> str:
    """What the row adds to the bill."""
    return dollars(row.plan.estimate.price_expected_usd) if row.status == "new" else "$0.00"


def _what(row: PlannedRow) -> str:
    status = "" if row.status == "new" else f" ({_STATUS.get(row.status, row.status)})"
    estimate = row.plan.estimate
    return (
        f"“{in_markdown(words_of(row.request.prompt, 90))}”, {estimate.width}x{estimate.height}, "
        f"{row.request.num_frames} frames, seed {row.plan.seed}, {row.request.ENDPOINT.rpartition('/')[2]}{status}"
    )


_STATUS = {
    "archived": "paid for already",
    "in_flight": "under way",
    "duplicate": "same as another row",
    "parked": "waits for a person",
    "lost": "lost: waits for a person",
}


def report_markdown(report: BatchReport, sheet: bytes | None, *, stand_in: bool) -> str:
    """The sums, what went wrong, and the posters; every row is in the table artifact beside it."""
    parts = [f"**{_counted(report)}**"]
    if stand_in:
        parts.append(REHEARSAL)
    if sheet is not None and len(sheet) <= SHEET_LIMIT_BYTES:
        parts.append(f"![posters](data:image/jpeg;base64,{base64.b64encode(sheet).decode()})")
    parts.append(
        _facts(
            {
                "Spent by this run": dollars(report.spent_usd),
                "Rows": len(report.rows),
                "Seconds": round(report.seconds, 1),
                "Archive": f"`{report.archive}`",
            }
        )
    )
    failed = [row for row in report.rows if not row.ok]
    if failed:
        lines = [
            f"| {row.row} | {_cell(row.id or row.where)} | {row.status} | {_cell(row.reason)} |"
            for row in failed[:ROWS_SHOWN]
        ]
        parts.append("\n".join(["| Row | Where | Status | Reason |", "|---|---|---|---|", *lines]))
        if len(failed) > ROWS_SHOWN:
            parts.append(f"… and {len(failed) - ROWS_SHOWN} more")
        parts.append("Running the same batch again does only what is missing.")
    return "\n\n".join(parts)


class ProgressArtifact:
    """How much of a batch is done, as a number that moves every few seconds; never the end of the batch."""

    def __init__(self, batch: BatchRun) -> None:
        self._batch = batch
        self._artifact: UUID | None = None
        self._shown = -1
        self._began = time.monotonic()
        self._turn = asyncio.Lock()

    async def show(self) -> None:
        """Keep it up to date until cancelled."""
        while True:
            # Shielded: an artifact that is cut off while it is made would be left behind.
            await asyncio.shield(self.put())
            await asyncio.sleep(UPDATE_SECONDS)

    async def put(self) -> None:
        """Bring it up to date once."""
        async with self._turn:
            await self._put()

    async def _put(self) -> None:
        done, total = len(self._batch.ended), len(self._batch.rows)
        if done == self._shown or not done:  # none that stays at 0
            return
        self._shown = done
        failed = sum(not each.ok for each in self._batch.ended.values())
        left = (time.monotonic() - self._began) / done * (total - done) if done else 0
        more = f", about {left:.0f} s left" if 0 < done < total else ""
        what = f"{done} of {total} rows, {failed} without a video{more}"
        try:
            if self._artifact is None:
                key = f"ltx-batch-{slug(self._batch.name)}-progress"
                self._artifact = await acreate_progress_artifact(
                    100 * done / total, key=key, description=what
                )
            else:
                await aupdate_progress_artifact(self._artifact, 100 * done / total, description=what)
        except Exception as error:  # a picture of the work must never end the work
            run_logger().debug("Progress artifact: %s", type(error).__name__)


def _counted(report: BatchReport) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(report.counts.items()))


def _table_row(row: RowResult) -> dict[str, Any]:
    return {
        "row": row.row,
        "where": row.where,
        "id": row.id,
        "status": row.status,
        "same as": row.same_as,
        "seed": row.seed,
        "request": row.request_id,
        "generation": row.generation_id,
        "folder": row.folder,
        "expected": dollars(row.price_expected_usd),
        "billed": None if row.price_billed_usd is None else dollars(row.price_billed_usd),
        "quality": "; ".join(row.findings),
        "takes refused": len(row.refused),
        "reason": row.reason,
    }


def _facts(rows: dict[str, object]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")
