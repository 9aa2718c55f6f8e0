"""`prefect-ltx plan FILE`: what a file of requests would make and cost. Spends nothing."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefect_ltx.cli.frame import EndpointOption, FrameRuleOption, Output, command, complain, describe

if TYPE_CHECKING:
    from prefect_ltx.cli.request_file import Line
    from prefect_ltx.fal import FrameRule
    from prefect_ltx.generation import PlanReport, Services


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "plan")(plan)


async def plan(
    output: Output,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Requests as JSON, JSONL, CSV, TSV or YAML, or a storyboard as YAML."
        ),
    ],
    endpoint: EndpointOption = None,
    frame_rule: FrameRuleOption = "as_is",
) -> bool:
    """Frames, megapixels, price, what is paid for already, budget left. Spends nothing.

    Exit code 1 when a request is invalid, the budget does not cover all of them, or spending is stopped.
    """
    from prefect_ltx.cli.batch import is_batch, plan_file
    from prefect_ltx.cli.request_file import read_requests
    from prefect_ltx.settings import Settings

    if is_batch(file):
        return await plan_file(output, file, frame_rule, endpoint)
    if file.suffix.lower() in (".yaml", ".yml"):
        from prefect_ltx.cli.film import plan_storyboard

        return await plan_storyboard(output, file, frame_rule)
    lines = read_requests(file, endpoint)

    from prefect_ltx.generation import NO_ACCOUNT, Services

    async with Services.from_settings(Settings(), to_spend=False) as services:
        if not services.has_account:
            complain(f"Note: {NO_ACCOUNT}.")
        planned = [await _planned(services, line, frame_rule) for line in lines]

    reports = [report for report, _ in planned if report is not None]
    total = _total(reports)
    short = _short(reports, total["price_upper_usd"])
    for line, (_, error) in zip(lines, planned, strict=True):
        if error:
            complain(f"line {line.number}: {error}" if len(lines) > 1 else error)
    stopped = next((report.stopped for report in reports if report.stopped), "")
    for text in [*short, *([stopped] if stopped else [])]:
        complain(text)
    _show(output, lines, planned, total, short)
    return not short and not stopped and len(reports) == len(lines)


async def _planned(
    services: "Services", line: "Line", frame_rule: "FrameRule"
) -> tuple["PlanReport | None", str | None]:
    from prefect_ltx.fal import FalError
    from prefect_ltx.generation import plan_request

    if line.request is None:
        return None, line.error
    try:
        return await plan_request(services, line.request, frame_rule=frame_rule), None
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


def _show(
    output: Output,
    lines: list["Line"],
    planned: list[tuple["PlanReport | None", str | None]],
    total: dict[str, Any],
    short: list[str],
) -> None:
    from prefect_ltx.cli.tables import facts, grid

    requests: list[dict[str, Any]] = []
    rows: list[tuple[object, ...]] = []
    notes: dict[str, str] = {}
    for line, (report, error) in zip(lines, planned, strict=True):
        if report is None:
            requests.append({"line": line.number, "status": "invalid", "error": error})
            rows.append((line.number, "invalid"))
            continue
        requests.append({"line": line.number, **report.model_dump()})
        rows.append(
            (
                line.number,
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
            notes[f"line {line.number}"] = warning
    budget = {
        f"left of {each['name']}": Decimal(each["left_usd"]) for r, _ in planned if r for each in r.budget
    }
    columns = ("#line", "status", "endpoint", "size", "#frames", "#MP", "#seed", "$expected", "$at most")
    output.result(
        {
            "ok": not short and None not in (r for r, _ in planned),
            "requests": requests,
            "total": total,
            "over_budget": short,
        },
        grid(columns, rows),
        facts(
            {
                "to send": f"{total['to_send']} of {len(lines)}",
                "expected": total["price_expected_usd"],
                "at most": total["price_upper_usd"],
                **budget,
                **notes,
            }
        ),
    )
