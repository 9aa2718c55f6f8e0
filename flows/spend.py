"""The report on spending: what a week cost, from the ledger alone. Sends and changes nothing."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, cast

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import BaseModel, Field

from prefect_ltx.blocks.budget import SpendingBudget
from prefect_ltx.blocks.ledger import GenerationLedger
from prefect_ltx.flows.parameters import flow
from prefect_ltx.flows.spend_chart import days_of, spend_chart
from prefect_ltx.flows.spend_usable import UsableReport, usable_headline, usable_markdown, usable_rows
from prefect_ltx.generation import budget_from
from prefect_ltx.ledger import BudgetLimit, Ledger, Period, Spend, Total
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.settings import Settings
from prefect_ltx.tasks.context import run_logger

ROWS_SHOWN = 50


class SpendLine(BaseModel, frozen=True):
    """Sums over a day, tag, endpoint or state, in USD."""

    name: str
    generations: int
    expected_usd: Decimal
    held_usd: Decimal
    billed_usd: Decimal


class SpendBudget(BaseModel, frozen=True):
    """A limit as it stands now, in USD."""

    limit: str
    limit_usd: Decimal
    left_usd: Decimal


class SpendReport(BaseModel, frozen=True):
    """What a period cost, in USD; the same sums as `prefect-ltx ledger spend` shows for it."""

    period: str
    since: date | None
    until: date | None
    """The first day that does not count."""
    generations: int
    expected_usd: Decimal
    billed_usd: Decimal
    open_usd: Decimal
    """Reserved or estimated: not billed yet, as far as is known."""
    difference_usd: Decimal
    """Billed minus expected, where the bill is known."""
    lost: list[str]
    """Ids of generations whose paid video is gone."""
    parked: list[str]
    """Ids of generations about which a person has to decide."""
    double_charges: list[str]
    """Ids of generations for which more than one request ran."""
    reuses: int
    saved_usd: Decimal
    """What the videos that were given out again would have cost."""
    by_day: list[SpendLine]
    by_tag: list[SpendLine]
    by_endpoint: list[SpendLine]
    by_state: list[SpendLine]
    budgets: list[SpendBudget]
    usable: UsableReport | None = None
    """What a usable clip costs."""

    @classmethod
    def of(cls, spend: Spend, usable: UsableReport) -> "SpendReport":
        """The ledger's sums as a report."""
        return cls(
            period=str(spend.period),
            since=spend.period.since,
            until=spend.period.until,
            generations=spend.generations,
            expected_usd=spend.expected_usd,
            billed_usd=spend.billed_usd,
            open_usd=spend.open_usd,
            difference_usd=spend.difference_usd,
            lost=[each.id for each in spend.lost],
            parked=[each.id for each in spend.parked],
            double_charges=[each.id for each in spend.double_charges],
            reuses=spend.reuses,
            saved_usd=spend.saved_usd,
            by_day=_lines(spend.by["day"]),
            by_tag=_lines(spend.by["tag"]),
            by_endpoint=_lines(spend.by["endpoint"]),
            by_state=_lines(spend.by["state"]),
            budgets=[
                SpendBudget(limit=str(each.limit), limit_usd=each.limit.usd, left_usd=each.left_usd)
                for each in spend.budgets
            ],
            usable=usable,
        )


def _run_name() -> str:
    until = flow_run.parameters.get("until")
    return f"spend report, {flow_run.parameters.get('days', 7)} days to {until or 'today'}"


@flow(name="spend-report", flow_run_name=_run_name)
async def spend_report(
    days: Annotated[int, Field(ge=1, le=3660)] = 7,
    until: date | None = None,
    ledger: str = "",
    budget: str = "",
) -> SpendReport:
    """Report what the last days cost, as an artifact with a plot and a table. Needs neither fal nor its key.

    Amounts belong to the UTC day on which a generation was intended, as for budgets. What fal has not billed yet, as
    far as the ledger knows, is shown as such: the sweep settles it.

    Args:
        days: How many UTC days.
        until: The first day that does not count, in UTC; empty for tomorrow, so that the report ends with today so far.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        budget: Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    end = until or datetime.now(UTC).date() + timedelta(days=1)
    period = Period(end - timedelta(days=days), end)
    settings = Settings()
    limits = (
        cast(SpendingBudget, await SpendingBudget.aload(budget)).limits() if budget else budget_from(settings)
    )
    block = cast(GenerationLedger, await GenerationLedger.aload(ledger)) if ledger else None
    found, usable = await asyncio.to_thread(_read, block, settings, period, limits)
    report = SpendReport.of(found, usable)
    log = run_logger()
    log.info("%s", headline(report))
    for name, ids in (
        ("lost", report.lost),
        ("parked", report.parked),
        ("charged twice", report.double_charges),
    ):
        if ids:
            log.warning("%d generations %s: %s", len(ids), name, ", ".join(ids[:10]))
    await acreate_markdown_artifact(
        spend_markdown(report, days_of(period, found.by["day"])),
        key="ltx-spend",
        description=headline(report),
    )
    await acreate_table_artifact(
        table_rows(report),
        key="ltx-spend-table",
        description=f"Spending by day, tag, endpoint and state, {period}",
    )
    await acreate_table_artifact(
        usable_rows(usable),
        key="ltx-usable-table",
        description=f"Cost of a usable clip, {period}: {usable_headline(usable.total)}",
    )
    return Completed(message=headline(report), data=report)  # type: ignore[return-value]


def headline(report: SpendReport) -> str:
    """The report in one line."""
    trouble = len(report.lost) + len(report.parked) + len(report.double_charges)
    parts = [
        f"{report.period}: {dollars(report.billed_usd)} billed for {report.generations} generations",
        f"{dollars(report.open_usd)} not billed yet" if report.open_usd else "",
        f"{dollars(report.saved_usd)} saved by {report.reuses} reuses" if report.reuses else "",
        f"{trouble} need a person" if trouble else "",
    ]
    return ", ".join(each for each in parts if each)


def spend_markdown(report: SpendReport, days: Sequence[Total]) -> str:
    """The sums, the plot, what is left, what went wrong, and the largest tags."""
    sums: dict[str, object] = {
        "Billed": dollars(report.billed_usd),
        "Not billed yet (reserved or estimated)": dollars(report.open_usd),
        "Expected for all of it": dollars(report.expected_usd),
        "Billed minus expected, where the bill is known": _signed(report.difference_usd),
        "Given out again instead of bought": f"{report.reuses} times, {dollars(report.saved_usd)} saved",
        "Lost": len(report.lost),
        "Parked, for a person to decide": len(report.parked),
        "Charged twice": len(report.double_charges),
        **{f"Left of budget {_cell(each.limit)}": dollars(each.left_usd) for each in report.budgets},
    }
    parts = [f"**{headline(report)}**"]
    if report.lost or report.parked or report.double_charges:
        ids = [*report.parked, *report.lost, *report.double_charges]
        lines = [f"- `{each}`" for each in ids[:ROWS_SHOWN]]
        parts.append("\n".join(["`prefect-ltx ledger show` and `resolve` are for these:", "", *lines]))
    if days:
        parts.append(f"![dollars a day]({spend_chart(days)})")
    parts.append(
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in sums.items())])
    )
    for title, lines_of in (
        ("Tag", report.by_tag),
        ("Endpoint", report.by_endpoint),
        ("State", report.by_state),
    ):
        if lines_of:
            parts.append(_table(title, lines_of))
    if report.usable is not None:
        parts += usable_markdown(report.usable)
    return "\n\n".join(parts)


def table_rows(report: SpendReport) -> list[dict[str, Any]]:
    """Every sum of the report, one a row."""
    return [
        {
            "by": by,
            "name": each.name,
            "generations": each.generations,
            "expected": dollars(each.expected_usd),
            "counts for budgets": dollars(each.held_usd),
            "billed": dollars(each.billed_usd),
        }
        for by, lines in (
            ("day", report.by_day),
            ("tag", report.by_tag),
            ("endpoint", report.by_endpoint),
            ("state", report.by_state),
        )
        for each in lines
    ]


def _read(
    block: GenerationLedger | None, settings: Settings, period: Period, limits: Sequence[BudgetLimit]
) -> tuple[Spend, UsableReport]:
    with block.get_ledger() if block else Ledger(settings.ledger_url, read_only=True) as ledger:
        found = ledger.spend(period, limits)
        return found, UsableReport.read(ledger, period, days_of(period, found.by["day"]))


def _lines(totals: Sequence[Total]) -> list[SpendLine]:
    return [
        SpendLine(
            name=each.name,
            generations=each.count,
            expected_usd=each.expected_usd,
            held_usd=each.held_usd,
            billed_usd=each.settled_usd,
        )
        for each in totals
    ]


def _table(title: str, lines: Sequence[SpendLine]) -> str:
    largest = sorted(lines, key=lambda each: each.held_usd, reverse=True)
    shown = [
        f"| {_cell(each.name)} | {each.generations} | {dollars(each.expected_usd)} | {dollars(each.held_usd)} "
        f"| {dollars(each.billed_usd)} |"
        for each in largest[:ROWS_SHOWN]
    ]
    more = [f"| … and {len(lines) - ROWS_SHOWN} more | | | | |"] if len(lines) > ROWS_SHOWN else []
    head = [
        f"| {title} | Generations | Expected | Counts for budgets | Billed |",
        "|---|---:|---:|---:|---:|",
    ]
    return "\n".join([*head, *shown, *more])


def _signed(usd: Decimal) -> str:
    return f"-{dollars(-usd)}" if usd < 0 else f"+{dollars(usd)}" if usd else dollars(usd)


def _cell(text: str) -> str:
    """A text of a user's as code in a table's cell, where nothing in it is rendered."""
    return f"`{text.replace('`', chr(39)).replace('|', '/').replace(chr(10), ' ')}`"
