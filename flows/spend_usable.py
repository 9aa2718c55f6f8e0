"""The part of the report on spending that says what a usable clip costs."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Self

from pydantic import BaseModel

from prefect_ltx.flows.spend_chart import usable_chart
from prefect_ltx.ledger import Ledger, Period, Total, Usable
from prefect_ltx.ledger.life.budget import dollars

_SHOWN = 20
_NAME = 80


class UsableLine(BaseModel, frozen=True):
    """Attempts of one group and what became of them; amounts exact, in USD, quotients to 28 digits."""

    name: str
    attempts: int
    usable: int
    fates: dict[str, int]
    why: dict[str, int]
    """Why the others cannot be used."""
    usable_usd: Decimal
    unusable_usd: Decimal
    open_usd: Decimal
    """Held for what is not decided yet; no price below counts it."""
    rate: Decimal | None
    usd_per_clip: Decimal | None
    usd_per_second: Decimal | None

    @classmethod
    def of(cls, group: Usable) -> Self:
        """The ledger's group as a line of a report."""
        return cls(
            name=group.name,
            attempts=group.attempts,
            usable=group.usable,
            fates={str(name): count for name, count in group.fates.items()},
            why=dict(group.why.most_common()),
            usable_usd=group.usable_usd,
            unusable_usd=group.unusable_usd,
            open_usd=group.open_usd,
            rate=group.rate,
            usd_per_clip=group.usd_per_clip,
            usd_per_second=group.usd_per_second,
        )


class UsableReport(BaseModel, frozen=True):
    """What usable clips of a period cost: all of them, and by day, tag and prompt."""

    total: UsableLine
    by_day: list[UsableLine]
    by_tag: list[UsableLine]
    by_prompt: list[UsableLine]
    chart: str
    """Money for usable clips and for the others, day by day, as a data URI."""

    @classmethod
    def read(cls, ledger: Ledger, period: Period, days: Sequence[Total]) -> Self:
        """From the ledger, for the period and these days of it.

        Raises:
            LedgerUnavailable: it cannot be read.
        """
        by_day = ledger.usable("day", period)
        (total,) = ledger.usable("all", period)
        return cls(
            total=UsableLine.of(total),
            by_day=[UsableLine.of(each) for each in by_day],
            by_tag=[UsableLine.of(each) for each in ledger.usable("tag", period)],
            by_prompt=[UsableLine.of(each) for each in ledger.usable("prompt", period)],
            chart=usable_chart(days, by_day),
        )


def usable_markdown(report: UsableReport) -> list[str]:
    """The parts of a page: a sentence, the plot, why clips cannot be used, and the dearest groups."""
    total = report.total
    if not total.attempts:
        return []
    parts = [f"**{usable_headline(total)}**", f"![money for usable clips]({report.chart})"]
    if total.why:
        lines = [f"| {_cell(why)} | {count} |" for why, count in total.why.items()]
        parts.append("\n".join(["| Why a clip is not used | Attempts |", "|---|---:|", *lines[:_SHOWN]]))
    for title, lines_of in (("Tag", report.by_tag), ("Prompt", report.by_prompt)):
        if lines_of:
            parts.append(_table(title, lines_of))
    return parts


def usable_headline(line: UsableLine) -> str:
    """What a usable clip costs, in one sentence."""
    said = f"{line.usable} of {line.attempts} attempts can be used"
    if line.usd_per_clip is None:
        return f"{said}; {dollars(line.unusable_usd)} for the others"
    second = "" if line.usd_per_second is None else f", {_short(line.usd_per_second)} a usable second"
    return (
        f"{said}: {dollars(line.usable_usd)} for these, {dollars(line.unusable_usd)} for the others; "
        f"{_short(line.usd_per_clip)} a usable clip{second}"
    )


def usable_rows(report: UsableReport) -> list[dict[str, object]]:
    """Every group, one a row of a table artifact."""
    return [
        {
            "by": by,
            "name": line.name,
            "attempts": line.attempts,
            "usable": line.usable,
            "rate": "-" if line.rate is None else f"{line.rate * 100:.1f} %",
            "for usable clips": dollars(line.usable_usd),
            "for the others": dollars(line.unusable_usd),
            "a usable clip": _short(line.usd_per_clip),
            "a usable second": _short(line.usd_per_second),
            "why not": "; ".join(f"{count} {why}" for why, count in line.why.items()),
        }
        for by, lines in (
            ("all", [report.total]),
            ("day", report.by_day),
            ("tag", report.by_tag),
            ("prompt", report.by_prompt),
        )
        for line in lines
    ]


def _table(title: str, lines: Sequence[UsableLine]) -> str:
    dearest = sorted(lines, key=lambda each: each.usable_usd + each.unusable_usd, reverse=True)
    shown = [
        f"| {_cell(each.name)} | {each.attempts} | {each.usable} | {dollars(each.usable_usd)} "
        f"| {dollars(each.unusable_usd)} | {_short(each.usd_per_clip)} | {_short(each.usd_per_second)} |"
        for each in dearest[:_SHOWN]
    ]
    more = [f"| … and {len(lines) - _SHOWN} more | | | | | | |"] if len(lines) > _SHOWN else []
    head = [
        f"| {title} | Attempts | Usable | For usable clips | For the others | A usable clip | A usable second |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*head, *shown, *more])


def _short(usd: Decimal | None) -> str:
    return "-" if usd is None else f"${usd:.4f}"


def _cell(text: str) -> str:
    """A text of a user's as code in a table's cell, where nothing in it is rendered."""
    words = " ".join(text.split())[:_NAME]
    return f"`{words.replace('`', chr(39)).replace('|', '/')}`" if words else "-"
