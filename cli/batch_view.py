"""A batch on the terminal: one moving bar or plain lines while it runs, tables of its plan and its end."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from prefect_ltx.cli.approving import approval_facts
from prefect_ltx.cli.frame import Output, complain
from prefect_ltx.cli.printing import can_move
from prefect_ltx.cli.progress import say
from prefect_ltx.cli.tables import facts, grid

if TYPE_CHECKING:
    from prefect_ltx.batch import BatchPlan, BatchReport, PlannedRow
    from prefect_ltx.generation.progress import Progress as Step
    from prefect_ltx.ledger import Approval

LINE_SECONDS = 5.0
ROWS_SHOWN = 50


@contextmanager
def shown_rows(total: int) -> Iterator[None]:
    """Show how many rows have ended while the block runs; what did not end well, and further takes, are said."""
    from prefect_ltx.generation.progress import observe

    if can_move():
        with _bar(total) as on_step, observe(on_step):
            yield
    else:
        with observe(_lines(total)):
            yield


def show_report(output: Output, report: "BatchReport") -> None:
    """The rows that did not end well, then the sums; as JSON everything."""
    failed = [row for row in report.rows if not row.ok]
    rows = [(row.row, row.id or row.where, row.status, row.reason) for row in failed[:ROWS_SHOWN]]
    shown = [grid(("#row", "where", "status", "reason"), rows)] if rows else []
    output.result(
        {"ok": report.ok, "counts": report.counts, **report.model_dump()},
        *shown,
        facts(
            {
                "batch": report.name,
                "rows": len(report.rows),
                **{name.replace("_", " "): count for name, count in sorted(report.counts.items())},
                "with findings": sum(bool(row.findings) for row in report.rows) or None,
                "takes refused": sum(len(row.refused) for row in report.rows) or None,
                "spent by this run": report.spent_usd,
                "seconds": f"{report.seconds:.1f}",
                "archive": report.archive,
            }
        ),
    )


def check_report(path: Path) -> None:
    """Refuse a place for the table of a batch's rows before anything is spent."""
    from prefect_ltx.table_files import TableFileInvalid, check_table_file

    try:
        check_table_file(path)
    except TableFileInvalid as error:
        raise typer.BadParameter(f"--report: {error}. Nothing was sent or spent.") from None


def write_report(path: Path, report: "BatchReport") -> bool:
    """The table of a batch's rows; False, and a line on stderr, where it cannot be written."""
    from prefect_ltx.batch import RESULT_COLUMNS, result_rows
    from prefect_ltx.table_files import write_table

    try:
        write_table(path, RESULT_COLUMNS, result_rows(report))
    except Exception as error:  # the videos are paid for and archived, whatever becomes of a table
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        complain(
            f"{path} could not be written: {why}. Nothing is lost: the results are in the report above, in the ledger "
            "and in the archive. Running the batch again makes only what is missing, and the table."
        )
        return False
    return True


def show_batch_plan(
    output: Output, plan: "BatchPlan", rows: Sequence["PlannedRow"], approval: "Approval | None" = None
) -> None:
    """Row by row and in sum."""
    lines = [
        (
            each.row.place,
            each.row.id or each.row.where,
            each.status if each.same_as is None else f"same as {each.same_as}",
            each.request.ENDPOINT.rpartition("/")[2],
            f"{each.plan.estimate.width}x{each.plan.estimate.height}",
            each.request.num_frames,
            each.plan.estimate.megapixels,
            "drawn" if each.plan.seed_drawn and each.status == "new" else each.plan.seed,
            each.plan.estimate.price_expected_usd,
            each.plan.estimate.price_upper_usd,
        )
        for each in rows
    ]
    more = f"… and {len(lines) - ROWS_SHOWN} more rows" if len(lines) > ROWS_SHOWN else ""
    columns = (
        "#row",
        "where",
        "status",
        "endpoint",
        "size",
        "#frames",
        "#MP",
        "#seed",
        "$expected",
        "$at most",
    )
    names = [name.lstrip("#$") for name in columns]
    output.result(
        {
            "ok": not plan.over_budget and not plan.stopped,
            "plan": plan,
            "approval": approval_facts(approval),
            "rows": [dict(zip(names, line, strict=True)) for line in lines],
        },
        grid(columns, lines[:ROWS_SHOWN]),
        more,
        facts(
            {
                "to send": f"{plan.to_send} of {plan.requests}",
                "paid for already": plan.hits,
                "under way": plan.in_flight or None,
                "same as another row": plan.duplicates or None,
                "wait for a person": plan.needs_a_person or None,
                "frames": plan.num_frames,
                "megapixels": plan.megapixels,
                "expected": plan.price_expected_usd,
                "at most": plan.price_upper_usd,
                **{f"left of {each.name}": each.left_usd for each in plan.budget},
                **{f"note {number}": note for number, note in enumerate(plan.warnings, 1)},
            }
        ),
    )


@contextmanager
def _bar(total: int) -> Iterator[Callable[["Step"], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("checking", total=total)
        bad = 0

        def on_step(step: "Step") -> None:
            nonlocal bad
            if step.stage == "retake":
                console.print(step.message, markup=False, highlight=False, soft_wrap=True)
            if step.stage != "row":
                return
            if not _went_well(step):
                bad += 1
                console.print(step.message, markup=False, highlight=False, soft_wrap=True)
            bars.update(task, advance=1, description=f"{bad} not well" if bad else "generating")

        yield on_step


def _lines(total: int) -> Callable[["Step"], None]:
    done = bad = 0
    last = time.monotonic()

    def on_step(step: "Step") -> None:
        nonlocal done, bad, last
        if step.stage == "retake":
            say(step.message)
        if step.stage != "row":
            return
        done += 1
        if not _went_well(step):
            bad += 1
            say(step.message)
        if done == total or time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            say(f"{done} of {total} rows{f', {bad} did not end well' if bad else ''}")

    return on_step


def _went_well(step: "Step") -> bool:
    # A row that failed says why.
    return ": " not in step.message
