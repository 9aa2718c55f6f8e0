"""`prefect-ltx plan FILE`: what a file of requests would make and cost. Spends nothing."""

from decimal import Decimal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefect_ltx.cli.frame import EndpointOption, FrameRuleOption, Output, command, complain, describe
from prefect_ltx.cli.printing import write_note

if TYPE_CHECKING:
    from prefect_ltx.batch import CheckedBatch, Row
    from prefect_ltx.fal import FrameRule
    from prefect_ltx.generation import PlanReport, Services

Entry = tuple[int, "PlanReport | None", str | None]
"""A line of the file: its number, and its plan, or why it has no plan."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "plan")(plan)


async def plan(
    output: Output,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Requests as JSON, JSONL, CSV, TSV, YAML or XLSX, or a storyboard as YAML; also s3:// or https://.",
        ),
    ],
    endpoint: EndpointOption = None,
    frame_rule: FrameRuleOption = "as_is",
) -> bool:
    """Frames, megapixels, price, what is paid for already, budget left. Spends nothing.

    It reads as `batch` and `film` do: what the plan accepts, the run accepts. Exit code 1 when a request is invalid,
    the budget does not cover all of them, or spending is stopped.
    """
    from prefect_ltx.batch import BatchInvalid, check_batch
    from prefect_ltx.cli.batch import is_storyboard, refused, show_plan

    if is_storyboard(file):
        from prefect_ltx.cli.film import plan_storyboard

        return await plan_storyboard(output, file, frame_rule)
    try:
        found = check_batch(file, endpoint=endpoint)
    except BatchInvalid as error:
        return refused(output, error)
    suffix = PurePosixPath(found.source).suffix.lower()
    if (suffix in (".jsonl", ".ndjson") and found.batch.rows) or (suffix == ".json" and found.is_one):
        return await _plan_lines(output, found, frame_rule)
    if found.problems:
        return refused(output, BatchInvalid(found.source, found.problems))
    return await show_plan(output, found.batch, frame_rule)


async def _plan_lines(output: Output, found: "CheckedBatch", frame_rule: "FrameRule") -> bool:
    """Every request by its line; those that are right beside those that are not."""
    from prefect_ltx.generation import NO_ACCOUNT, Services
    from prefect_ltx.settings import Settings

    async with Services.from_settings(Settings(), to_spend=False) as services:
        if not services.has_account:
            write_note(f"Note: {NO_ACCOUNT}.")
        entries: list[Entry] = []
        for row in found.batch.rows:
            report, error = await _planned(services, row, frame_rule)
            entries.append((row.line or 1, report, error))
            if error:
                complain(f"line {row.line}: {error}" if not found.is_one else error)
    wrong: dict[int, list[str]] = {}
    for problem in sorted(found.problems, key=lambda each: each.line or 0):
        complain(str(problem))
        wrong.setdefault(1 if found.is_one else problem.line or 1, []).append(str(problem))
    entries += [(line, None, "; ".join(texts)) for line, texts in wrong.items()]
    entries.sort(key=lambda each: each[0])
    reports = [report for _, report, _ in entries if report is not None]
    total = _total(reports)
    short = _short(reports, total["price_upper_usd"])
    stopped = next((report.stopped for report in reports if report.stopped), "")
    for text in [*short, *([stopped] if stopped else [])]:
        complain(text)
    _show(output, entries, total, short)
    return not short and not stopped and len(reports) == len(entries)


async def _planned(
    services: "Services", row: "Row", frame_rule: "FrameRule"
) -> tuple["PlanReport | None", str | None]:
    from prefect_ltx.fal import FalError
    from prefect_ltx.generation import plan_request

    try:
        return await plan_request(services, row.request, frame_rule=frame_rule), None
    except FalError as error:
        return None, describe(error)


def _total(reports: list["PlanReport"]) -> dict[str, Any]:
    """Sums over what would be sent: the same request twice in a file is sent, and paid for, once."""
    due = {
        report.key or index: report
        for index, report in enumerate(reports)
        if report.status in ("new", "unknown")
    }
    return {
        "requests": len(reports),
        "to_send": len(due),
        "price_expected_usd": sum((each.price_expected_usd for each in due.values()), Decimal(0)),
        "price_upper_usd": sum((each.price_upper_usd for each in due.values()), Decimal(0)),
    }


def _short(reports: list["PlanReport"], due: Decimal) -> list[str]:
    from prefect_ltx.cli.tables import usd

    limits = {each["name"]: each for report in reports for each in report.budget}
    return [
        f"Over budget: {name} has {usd(Decimal(each['left_usd']))} left of {usd(Decimal(each['limit_usd']))} "
        f"and up to {usd(due)} would be reserved. Nothing was sent or spent."
        for name, each in limits.items()
        if Decimal(each["left_usd"]) < due
    ]


def _show(output: Output, entries: list[Entry], total: dict[str, Any], short: list[str]) -> None:
    from prefect_ltx.cli.tables import facts, grid

    requests: list[dict[str, Any]] = []
    rows: list[tuple[object, ...]] = []
    notes: dict[str, str] = {}
    budget: dict[str, Decimal] = {}
    for line, report, error in entries:
        if report is None:
            requests.append({"line": line, "status": "invalid", "error": error})
            rows.append((line, "invalid"))
            continue
        requests.append({"line": line, **report.model_dump()})
        rows.append(
            (
                line,
                report.status,
                report.endpoint.rpartition("/")[2],
                f"{report.width}x{report.height}",
                report.num_frames,
                report.megapixels,
                "drawn later" if report.seed is None else report.seed,
                report.price_expected_usd,
                report.price_upper_usd,
            )
        )
        for warning in report.warnings:
            notes[f"line {line}"] = warning
        budget |= {f"left of {each['name']}": Decimal(each["left_usd"]) for each in report.budget}
    columns = ("#line", "status", "endpoint", "size", "#frames", "#MP", "#seed", "$expected", "$at most")
    output.result(
        {
            "ok": not short and all(report is not None for _, report, _ in entries),
            "requests": requests,
            "total": total,
            "over_budget": short,
        },
        grid(columns, rows),
        facts(
            {
                "to send": f"{total['to_send']} of {len(entries)}",
                "expected": total["price_expected_usd"],
                "at most": total["price_upper_usd"],
                **budget,
                **notes,
            }
        ),
    )
