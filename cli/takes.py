"""`prefect-ltx takes REQUEST.json -n N`: several seeds of one request, and the best of them."""

import os
import sys
from typing import Annotated, Literal

import typer

from prefect_ltx.cli.approving import say_who_decides
from prefect_ltx.cli.frame import (
    ApprovalDaysOption,
    ApproveOption,
    EndpointOption,
    FrameRuleOption,
    Output,
    RecipeOption,
    RequestFile,
    command,
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "takes")(takes)


async def takes(
    output: Output,
    request: RequestFile,
    n: Annotated[
        int, typer.Option("-n", min=1, max=32, help="How many takes at most; each is paid for.")
    ] = 4,
    stop: Annotated[
        Literal["first_pass", "all"] | None,
        typer.Option(
            help="Stop at the first take without a defect, or make all; all where somebody chooses.",
            show_default=False,
        ),
    ] = None,
    choose: Annotated[
        Literal["judge", "person"], typer.Option(help="person: the run pauses for a choice in Prefect's UI.")
    ] = "judge",
    judge: Annotated[
        str, typer.Option(metavar="MODULE:OBJECT", help="What ranks the takes.", show_default=False)
    ] = "",
    concurrency: Annotated[int, typer.Option(min=1, max=40, help="Takes at fal at the same time.")] = 2,
    endpoint: EndpointOption = None,
    recipe: RecipeOption = "web",
    tag: Annotated[list[str] | None, typer.Option(help="A tag for the ledger; may be repeated.")] = None,
    frame_rule: FrameRuleOption = "as_is",
    approve: ApproveOption = False,
    approval_days: ApprovalDaysOption = 7,
) -> None:
    """Several takes of one request: defects rejected, ranked, compared on one page.

    The same takes again are not paid for again, and a larger -n pays only for those that are new.
    """
    from prefect_ltx.cli.request_file import read_payable_row

    row = read_payable_row(request, endpoint)
    parsed = row.request

    from prefect_ltx.cli.progress import quieten_prefect, shown

    quieten_prefect()
    from prefect_ltx.cli.tables import facts, grid
    from prefect_ltx.flows import best_of_takes

    say_who_decides(approve=approve, choice=choose == "person")
    if judge:
        # As for uvicorn and gunicorn, a module beside the user is found.
        sys.path.insert(0, os.getcwd())
    with shown():
        made = await best_of_takes(
            parsed,
            n=n,
            stop=stop,
            choose=choose,
            judge=judge,
            concurrency=concurrency,
            recipe=recipe,
            tags=[*(tag or []), *row.tags],
            frame_rule=frame_rule,
            approve=approve,
            approval_days=approval_days,
        )
    rows: list[tuple[object, ...]] = [
        (
            each.number,
            each.seed,
            "; ".join(each.defects) or ("chosen" if each.chosen else "no defect"),
            "" if each.score is None else f"{each.score:g}",
            each.generation.price_expected_usd,
            "paid for before" if each.generation.reused else "",
            each.generation.folder,
        )
        for each in made.takes
    ]
    rows += [
        (each.number, each.seed, f"failed: {each.reason} ({each.money})", "", None, "", "")
        for each in made.failed
    ]
    output.result(
        made,
        grid(("#take", "#seed", "result", "#score", "$price", "", "folder"), rows),
        facts({"video": made.chosen.generation.video, "page": made.page}),
    )
