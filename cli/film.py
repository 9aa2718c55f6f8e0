"""`prefect-ltx film STORYBOARD.yaml`: a storyboard to one film, its plan, and its animatic at no cost."""

import hashlib
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefect_ltx.cli.approving import approve_plan, say_who_decides
from prefect_ltx.cli.film_animatic import make_animatic
from prefect_ltx.cli.frame import (
    ApprovalDaysOption,
    ApproveOption,
    FrameRuleOption,
    Output,
    RecipeOption,
    command,
    complain,
)
from prefect_ltx.cli.printing import write_note
from prefect_ltx.cli.progress import say

if TYPE_CHECKING:
    from prefect_ltx.fal import FrameRule
    from prefect_ltx.film import Storyboard, StoryboardInvalid
    from prefect_ltx.flows.film_result import ArchivedFilm

PROBLEMS_SHOWN = 100


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "film")(film)


async def film(
    output: Output,
    storyboard: Annotated[
        str, typer.Argument(metavar="STORYBOARD.yaml", help="See docs/film.md; also s3:// or https://.")
    ],
    animatic: Annotated[
        bool,
        typer.Option(
            "--animatic",
            help="The whole film on the embedded fal: shows timing, costs nothing. With --approve, before the film.",
        ),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what it would make and cost; spend nothing.")
    ] = False,
    approve: ApproveOption = False,
    approval_days: ApprovalDaysOption = 7,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.mp4", help="Copy the film there too; an animatic has only this copy."),
    ] = None,
    timeline: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write the film for editing: .otio with every take, .edl or .fcpxml; may be repeated.",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=40, help="Shots at fal at the same time.")] = 4,
    recipe: RecipeOption = "web",
    tag: Annotated[list[str] | None, typer.Option(help="A tag for the ledger; may be repeated.")] = None,
    frame_rule: FrameRuleOption = "as_is",
) -> bool:
    """A storyboard to one film: shots in parallel, each paid for once; a changed shot is made again alone.

    Exit code 1 when the storyboard has a mistake: then all of them are listed by shot and field, and nothing was
    sent.
    """
    from prefect_ltx.film import StoryboardInvalid, load_storyboard
    from prefect_ltx.settings import Settings

    if timeline and (plan or (animatic and not approve)):
        raise typer.BadParameter("--timeline is of a film: leave out --plan and --animatic.")
    for path in timeline or []:
        _check_timeline(path)
    try:
        board = load_storyboard(storyboard)
        if plan:
            days = approval_days if approve else None
            return await plan_storyboard(output, storyboard, frame_rule, approve_days=days)
        if approve or not animatic:
            Settings().require_fal()
        if approve and animatic:  # nobody can have approved it before; asked before the minutes that it takes
            from prefect_ltx.flows.asking import ui_address

            ui_address()
        target = out
        shown = ""
        if animatic:
            target = out or Path(f"{PurePosixPath(storyboard.partition('?')[0]).stem}.animatic.mp4")
            made = await make_animatic(board, target, lambda plain: _rehearsed(plain, concurrency))
            if approve:
                shown = sha256_of(target)
                say(f"The animatic is in {target}; it is part of what is approved (sha256 {shown})")
        if not animatic or approve:
            made = await _film(
                _as_data(board),
                concurrency=concurrency,
                approve=approve,
                approval_days=approval_days,
                animatic_sha256=shown,
                recipe=recipe,
                tags=tag,
                frame_rule=frame_rule,
            )
            if out is not None and not animatic:
                await _copy(made, out)
            for path in timeline or []:
                _write_timeline(made, path)
    except StoryboardInvalid as error:
        return _tell(output, error)
    _show(output, made, target, animatic=animatic and not approve)
    return True


def sha256_of(path: Path) -> str:
    """Of a file on this machine, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def plan_storyboard(
    output: Output, path: str, frame_rule: "FrameRule", *, approve_days: float | None = None
) -> bool:
    """Show the plan of a storyboard; for `film --plan` and for `plan`. Spends nothing.

    With `approve_days` the plan is approved as well, where the budget covers it.
    """
    from prefect_ltx.cli.progress import quieten_prefect
    from prefect_ltx.film import StoryboardInvalid, load_storyboard
    from prefect_ltx.settings import Settings

    quieten_prefect()
    from prefect_ltx.cli.tables import facts, grid
    from prefect_ltx.flows.film_additions import check_additions
    from prefect_ltx.flows.film_plan import plan_film
    from prefect_ltx.flows.sheeting import draw_sheets
    from prefect_ltx.generation import NO_ACCOUNT, Services

    try:
        board = load_storyboard(path)
        async with Services.from_settings(Settings(), to_spend=False) as services:
            if not services.has_account:
                write_note(f"Note: {NO_ACCOUNT}.")
            await check_additions(services, board)
            found = await plan_film(
                services, board, await draw_sheets(services, board), frame_rule=frame_rule
            )
            limits = services.limits
    except StoryboardInvalid as error:
        return _tell(output, error)
    for line in found.over_budget:
        complain(f"Over budget: {line} Nothing was sent or spent.")
    if approve_days is not None and not found.over_budget:
        approve_plan(
            f"The film {found.title}",
            found.purchases,
            limits,
            to_send=found.to_send,
            at_most_usd=found.price_upper_usd,
            days=approve_days,
        )
    rows = [
        (
            each.title,
            each.start_frame,
            each.start_from or "",
            each.first.num_frames,
            each.first.endpoint.rpartition("/")[2],
            each.first.megapixels,
            each.first.seed,
            each.takes,
            each.first.status,
            each.price_expected_usd,
            each.price_upper_usd,
        )
        for each in found.shots
    ]
    names = (
        "shot",
        "#starts",
        "from",
        "#frames",
        "endpoint",
        "#MP",
        "#seed",
        "#takes",
        "status",
        "$expected",
        "$at most",
    )
    notes = [f"{each.title}: {text}" for each in found.shots for text in each.warnings]
    output.result(
        {"ok": not found.over_budget, **found.model_dump()},
        grid(names, rows),
        facts(
            {
                "film": f"{found.frames} frames, {found.duration_seconds} s at {found.fps} a second, "
                f"{found.width}x{found.height}",
                "to send": f"{found.to_send} of {len(found.shots)} shots",
                "expected": found.price_expected_usd,
                "at most": found.price_upper_usd,
                **{f"left of {each['name']}": each["left_usd"] for each in found.budget},
                **{f"note {number}": text for number, text in enumerate(notes, 1)},
            }
        ),
    )
    return not found.over_budget


async def _film(board: dict[str, Any], **options: Any) -> "ArchivedFilm":
    from prefect_ltx.cli.progress import quieten_prefect, shown

    quieten_prefect()
    from prefect_ltx.flows import storyboard_film

    say_who_decides(approve=options["approve"], choice=_needs_a_person(board))
    with shown():
        made: ArchivedFilm = await storyboard_film(board, **options)
    return made


def _check_timeline(path: Path) -> None:
    """Before anything is spent: whether the form is known, and OpenTimelineIO there."""
    from prefect_ltx.film.editorial import TimelineUnwritable, check_adapter

    try:
        check_adapter(path)
    except TimelineUnwritable as error:
        raise typer.BadParameter(str(error)) from None


def _write_timeline(made: "ArchivedFilm", path: Path) -> None:
    from prefect_ltx.film.editorial import TimelineUnwritable
    from prefect_ltx.flows.film_edit import write_editing_timeline

    try:
        write_editing_timeline(made, path)
        say(f"The timeline is in {path}")
    except TimelineUnwritable as error:
        complain(f"{error}. The film is archived: {made.video}.")
        raise typer.Exit(1) from None


async def _rehearsed(board: "Storyboard", concurrency: int) -> "ArchivedFilm":
    return await _film(
        _as_data(board),
        concurrency=concurrency,
        approve=False,
        recipe="none",
        tags=["animatic"],
        frame_rule="as_is",
    )


async def _copy(made: "ArchivedFilm", target: Path) -> None:
    from prefect_ltx.archive import Archive

    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    if "://" not in made.archive:
        shutil.copyfile(made.video, target)
        return
    async with Archive(made.archive) as archive:
        await archive.fetch(f"{made.folder}/{Path(made.video).name}", target)


def _as_data(board: "Storyboard") -> dict[str, Any]:
    # What is said is kept, also where it is the default: a film's loudness that is left out is the recipe's.
    return board.model_dump(mode="json", exclude_unset=True)


def _needs_a_person(board: dict[str, Any]) -> bool:
    asked = [board.get("defaults", {}), *board["shots"]]
    return any((each.get("takes") or {}).get("choose") == "person" for each in asked)


def _tell(output: Output, error: "StoryboardInvalid") -> bool:
    for problem in error.problems[:PROBLEMS_SHOWN]:
        complain(f"{error.name}: {problem}")
    more = len(error.problems) - PROBLEMS_SHOWN
    complain(f"{f'and {more} more. ' if more > 0 else ''}Nothing was sent or spent.")
    if output.as_json:
        output.result({"ok": False, "problems": [each._asdict() for each in error.problems]})
    return False


def _show(output: Output, made: "ArchivedFilm", copy: Path | None, *, animatic: bool) -> None:
    from prefect_ltx.cli.tables import facts, grid, usd

    rows = [
        (each.title, each.start_frame, each.frames, each.overlap or "cut", each.seed, each.folder)
        for each in made.shots
    ]
    money = (
        f"at fal its shots would cost {usd(made.price_expected_usd)}; nothing was spent"
        if animatic
        else f"{made.paid_now} takes paid for now; its shots cost {usd(made.price_expected_usd)}"
    )
    output.result(
        {**made.model_dump(), "copy": None if copy is None else str(copy), "animatic": animatic},
        grid(("shot", "#starts", "#frames", "#fade", "#seed", "" if animatic else "folder"), rows)
        if not animatic
        else grid(("shot", "#starts", "#frames", "#fade", "#seed"), [row[:5] for row in rows]),
        facts(
            {
                "film": None if animatic else made.video,
                "copy": copy,
                "length": f"{made.frames} frames, {made.duration_seconds} s at {made.fps} a second, "
                f"{made.width}x{made.height}",
                "money": money,
                "reused": "yes: this very film was in the archive already" if made.reused else None,
                "note": "The pictures are stand-ins drawn by ffmpeg, not made by LTX-2.3."
                if made.stand_in
                else None,
                "warnings": made.warnings,
            }
        ),
    )
