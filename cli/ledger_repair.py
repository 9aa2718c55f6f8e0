"""`prefect-ltx ledger verify|rebuild`: what the ledger says of itself, and its rows made again. Spends nothing."""

import getpass
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from prefect_ltx.cli.frame import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect_ltx.ledger import Ledger


def verify(
    output: Output,
    recount: Annotated[
        bool, typer.Option("--recount", help="Make what is wrong again from the rows, which decide.")
    ] = False,
) -> bool:
    """Compare what budgets count (a sum for each day, month, all time and tag) with the rows. Spends nothing."""
    from prefect_ltx.cli.tables import facts, grid
    from prefect_ltx.ledger.life.budget import dollars

    with opened(read_only=not recount) as ledger:
        name, wrong = ledger.name, ledger.recount() if recount else ledger.wrong_sums()
    ok = recount or not wrong
    document = [
        {
            "tag": each.tag,
            "period": each.period,
            "start": each.start,
            "counted_usd": f"{each.kept_held_usd:f}",
            "rows_usd": f"{each.held_usd:f}",
            "counted_settled_usd": f"{each.kept_settled_usd:f}",
            "rows_settled_usd": f"{each.settled_usd:f}",
        }
        for each in wrong
    ]
    next_step = "" if ok else "`prefect-ltx ledger verify --recount` makes them again from the rows"
    output.result(
        {"ok": ok, "ledger": name, "wrong": document, "recounted": bool(recount and wrong)},
        facts(
            {
                "ledger": name,
                "what budgets count": "is what the rows add up to"
                if not wrong
                else f"{len(wrong)} sums {'were' if recount else 'are'} not what the rows add up to",
                "made again from the rows": len(wrong) if recount and wrong else None,
                "next": next_step or None,
            }
        ),
        grid(
            ("period", "tag", "counted", "rows"),
            [
                (
                    each.start or each.period,
                    "" if each.tag is None else each.tag,
                    dollars(each.kept_held_usd),
                    dollars(each.held_usd),
                )
                for each in wrong
            ],
        )
        if wrong
        else "Nothing was sent or spent.",
    )
    return ok


async def rebuild(output: Output) -> bool:
    """Make the ledger's rows again from the archive's manifests; for one that was lost or restored from a backup."""
    from prefect_ltx.archive import Archive
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.ledger import AsyncLedger
    from prefect_ltx.recovery import rebuild_ledger
    from prefect_ltx.settings import Settings

    async with Archive(Settings().archive_location) as archive:
        with opened(read_only=False) as ledger:
            report = await rebuild_ledger(archive, AsyncLedger(ledger), actor=person())
    output.result(
        {**report.model_dump(mode="json"), "ok": report.ok},
        facts(
            {
                "ledger": report.ledger,
                "archive": report.archive,
                "rows made again": report.restored,
                "unfinished rows closed": report.closed or None,
                "rows that were there": report.known,
                "films, which are no rows": report.films or None,
                "worked on by somebody": len(report.busy) or None,
            }
        ),
        *(f"Paid for twice, and both kept: {folder}" for folder in report.second),
        *(f"Not in the ledger: {each.folder}: {each.reason}" for each in report.unreadable),
    )
    return report.ok


def person() -> str:
    """Who sits here, for the history: user@machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = "somebody"
    return f"{name}@{platform.node()}"


@contextmanager
def opened(*, read_only: bool = True) -> "Iterator[Ledger]":
    """The environment's ledger, closed at the end of the block."""
    from prefect_ltx.ledger import Ledger
    from prefect_ltx.settings import Settings

    ledger = Ledger(Settings().ledger_url, read_only=read_only)
    try:
        yield ledger
    finally:
        ledger.close()
