"""`prefect-ltx batch FILE`: many requests from a file, each paid for once; a plan first where that is asked for."""

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefect_ltx.cli.frame import (
    ApprovalDaysOption,
    ApproveOption,
    FrameRuleOption,
    MaxSeedsOption,
    Output,
    QualityOption,
    RecipeOption,
    command,
    complain,
)

if TYPE_CHECKING:
    from prefect_ltx.batch import Batch, BatchInvalid
    from prefect_ltx.fal import FrameRule

PROBLEMS_SHOWN = 200
_STORYBOARD = {"shots", "cast", "locations", "title"}
_ROWS = {"rows", "requests"}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "batch")(batch)


async def batch(
    output: Output,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Requests as JSONL, CSV, TSV, XLSX, YAML or JSON; also s3:// or https://."
        ),
    ],
    concurrency: Annotated[
        int, typer.Option(min=1, max=40, help="Requests at fal at once: 2 for a new account, 40 at most.")
    ] = 2,
    default: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="For rows that do not say otherwise.")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="For all rows, whatever they say."),
    ] = None,
    matrix: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=A,B,…", help="Multiply every row: seeds=1..20, strengths=0.4,0.6."),
    ] = None,
    name: Annotated[str, typer.Option(help="What the batch is called; the file's name when left out.")] = "",
    recipe: RecipeOption = "web",
    tag: Annotated[list[str] | None, typer.Option(help="A tag for the ledger; may be repeated.")] = None,
    frame_rule: FrameRuleOption = "as_is",
    quality: QualityOption = "warn",
    max_seeds: MaxSeedsOption = 3,
    max_requests: Annotated[int, typer.Option(min=1, help="The ceiling of the batch.")] = 10_000,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="New videos for rows without a seed, whatever earlier runs made.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what it would make and cost; spend nothing.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write the end of every row there too, as a table: .csv, .xlsx or .jsonl.",
        ),
    ] = None,
    approve: ApproveOption = False,
    approval_days: ApprovalDaysOption = 7,
) -> bool:
    """Many requests: checked first, then at most --concurrency in flight; run again, it does only what is missing.

    Exit code 1 when any row has no video in the archive at the end, or one that --quality refuses, or when the file
    has a mistake: then all of its mistakes are listed by row and column, and nothing was sent.
    """
    from prefect_ltx.batch import BatchInvalid, read_batch
    from prefect_ltx.reading import is_local, local_path
    from prefect_ltx.settings import Settings

    if report is not None:
        from prefect_ltx.cli.batch_view import check_report

        if plan:
            raise typer.BadParameter("--report is the end of a run's rows; for a plan use --json.")
        check_report(report)
    given: dict[str, Any] = {
        "defaults": _fields(default, "--default"),
        "overrides": _fields(override, "--set"),
        "matrix": _axes(matrix),
        "name": name,
    }
    try:
        checked = read_batch(file, **given, most=max_requests)
    except BatchInvalid as error:
        return refused(output, error)
    if plan:
        return await show_plan(
            output,
            checked,
            frame_rule,
            fresh=fresh,
            approve_days=approval_days if approve else None,
            takes=max_seeds if quality == "next_seed" else 1,
        )
    Settings().require_fal()

    from prefect_ltx.cli import plain
    from prefect_ltx.cli.batch_view import show_report, shown_rows, write_report
    from prefect_ltx.cli.progress import quieten_prefect, say

    how: dict[str, Any] = {
        "concurrency": concurrency,
        "recipe": recipe,
        "quality": quality,
        "max_seeds": max_seeds,
        "tags": tag,
        "frame_rule": frame_rule,
        "fresh": fresh,
    }
    with shown_rows(len(checked.rows)):
        if not plain.is_prefect_configured():
            say(plain.NOTICE)
            ended = await plain.make_batch(checked, approve=approve, **how)
        else:
            quieten_prefect()
            from prefect_ltx.cli.approving import say_who_decides
            from prefect_ltx.flows import generate_batch

            say_who_decides(approve=approve)
            ended = await generate_batch(
                str(local_path(file).absolute()) if is_local(file) else file,
                **given,
                **how,
                max_requests=max_requests,
                approve=approve,
                approval_days=approval_days,
            )
    show_report(output, ended)
    written = report is None or write_report(report, ended)
    return bool(ended.ok) and written


def is_storyboard(file: str) -> bool:
    """Whether a file is YAML with the parts of a storyboard; a batch is YAML as well."""
    from prefect_ltx.reading import Unreadable, read_bytes, read_yaml, text_of

    if PurePosixPath(file.partition("?")[0]).suffix.lower() not in (".yaml", ".yml"):
        return False
    text = ""
    try:
        text = text_of(read_bytes(file).data)
        data = read_yaml(text).value
    except Unreadable:
        # By its looks: then the reader of the one or the other says what is wrong.
        return re.search(r"^(shots|cast)\s*:", text, re.MULTILINE) is not None
    # Both have `defaults`; only a storyboard has shots and a cast.
    return isinstance(data, dict) and bool(_STORYBOARD & set(data)) and not (_ROWS & set(data))


async def show_plan(
    output: Output,
    checked: "Batch",
    frame_rule: "FrameRule",
    *,
    fresh: bool = False,
    approve_days: float | None = None,
    takes: int = 1,
) -> bool:
    """What a checked batch would make and cost; False where the budget does not cover it. Spends nothing.

    With `approve_days` the plan is approved as well, up to `takes` takes of each row, where the budget covers it.
    """
    from prefect_ltx.batch import BatchInvalid, plan_rows, purchases_of, summary
    from prefect_ltx.cli.batch_view import show_batch_plan
    from prefect_ltx.generation import Run, Services
    from prefect_ltx.settings import Settings

    async with Services.from_settings(Settings(), to_spend=False) as services:
        run = Run.begin(services, at_fal=1)
        try:
            rows = await plan_rows(run, checked, frame_rule=frame_rule, fresh=fresh)
        except BatchInvalid as error:
            return refused(output, error)
        finally:
            await run.aclose()
        found = await summary(services, checked.name, rows)
        limits = services.limits
    ok = not found.over_budget and not found.stopped
    approval = None
    if approve_days is not None and ok:
        from prefect_ltx.cli.approving import approve_plan

        approval = approve_plan(
            f"Batch {found.name}",
            purchases_of(rows),
            limits,
            to_send=found.to_send,
            at_most_usd=found.price_upper_usd * takes,
            days=approve_days,
        )
    show_batch_plan(output, found, rows, approval)
    for limit in found.over_budget:
        complain(f"Over budget: {limit} does not cover all of it. Nothing was sent or spent.")
    if found.stopped:
        complain(found.stopped)
    return ok


def refused(output: Output, error: "BatchInvalid") -> bool:
    """Say every problem of a batch; False, for the command's end."""
    for each in error.problems[:PROBLEMS_SHOWN]:
        complain(str(each))
    more = len(error.problems) - PROBLEMS_SHOWN
    if more > 0:
        complain(f"and {more} more")
    complain(f"{error.name} cannot be run: {len(error.problems)} problem(s). Nothing was sent or spent.")
    if output.as_json:
        problems = [
            {
                "file": error.name,
                "where": p.where,
                "line": p.line,
                "character": p.character,
                "column": p.column,
                "problem": p.what,
            }
            for p in error.problems
        ]
        output.result({"ok": False, "problems": problems})
    return False


def _fields(given: list[str] | None, flag: str) -> dict[str, Any]:
    from prefect_ltx.batch.cells import row_from_cells

    values, wrong = row_from_cells(_pairs(given, flag))
    for name, what in wrong.items():
        raise typer.BadParameter(f"{flag} {name}: {what}.")
    return values


def _axes(given: list[str] | None) -> dict[str, Any]:
    pairs = _pairs(given, "--matrix")
    return {
        name: [part.strip() for part in text.split(",")] if "," in text else text
        for name, text in pairs.items()
    }


def _pairs(given: list[str] | None, flag: str) -> dict[str, str]:
    from prefect_ltx.fal.sendable import why_not_text
    from prefect_ltx.reading import normalised

    pairs: dict[str, str] = {}
    for each in given or []:
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"{flag} takes FIELD=VALUE, not {each!r}.")
        if why := why_not_text(each):
            raise typer.BadParameter(f"{flag} {ascii(name)[1:-1]}: {why}.")
        if normalised(name) in pairs:
            raise typer.BadParameter(f"{flag} {name.strip()} is given twice; one of them has to go.")
        pairs[normalised(name)] = value
    return pairs
