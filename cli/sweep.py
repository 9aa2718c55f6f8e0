"""`prefect-ltx sweep`: bring what was paid for to its end. Needs no Prefect server, and spends nothing."""

from typing import Any

import typer

from prefect_ltx.cli.frame import KeepingOption, Output, RecipeOption, command


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "sweep")(sweep)


async def sweep(
    output: Output,
    recipe: RecipeOption = "web",
    quality: KeepingOption = "warn",
) -> bool:
    """Adopt what was paid for and not archived; settle prices; report double charges and orphans.

    Safe at any time, beside everything else and twice at once; never submits anything. One generation's
    trouble never stops the others. Exit code 1 when something failed or needs a person.
    """
    from prefect_ltx.cli.progress import shown
    from prefect_ltx.cli.tables import facts, grid
    from prefect_ltx.generation import Services
    from prefect_ltx.ledger import Owner
    from prefect_ltx.recovery import sweep_all
    from prefect_ltx.settings import Settings

    async with Services.from_settings(Settings()) as services:
        with shown():
            report = await sweep_all(services, Owner.here(), recipe=recipe, quality=quality)
    rows = [
        (each.generation_id[:12], each.request_id, each.before, each.after, each.note)
        for each in report.items
    ]
    shown_rows: list[Any] = [grid(("generation", "request", "before", "after", "note"), rows)] if rows else []
    output.result(
        report,
        *shown_rows,
        facts(
            {
                "swept": len(report.items),
                "left to a living run": len(report.left_alone) or None,
                "of other accounts, left alone": len(report.other_accounts) or None,
                "prices settled": len(report.settled) or None,
                "cost something else than expected": report.drift,
                "double charges": report.double_charges,
                "unknown requests at fal": report.orphans,
                "stopped at an error": report.broken,
                "notes": report.notes,
            }
        ),
    )
    return report.succeeded
