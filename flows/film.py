"""A storyboard becomes a film: its shots in parallel, each paid for once, then joined and archived."""

from pathlib import Path
from typing import Any

from prefect.artifacts import acreate_markdown_artifact
from prefect.runtime import flow_run

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import FrameRule
from prefect_ltx.film import Storyboard, load_storyboard, read_storyboard
from prefect_ltx.flows.approval import approved
from prefect_ltx.flows.cancellation import cancel_paid_job
from prefect_ltx.flows.film_plan import film_markdown
from prefect_ltx.flows.film_planning import FilmPlanning
from prefect_ltx.flows.film_result import ArchivedFilm
from prefect_ltx.flows.film_shots import FilmIncomplete, make_shots
from prefect_ltx.flows.film_store import finish_film
from prefect_ltx.flows.forms import (
    DAY,
    AnimaticHash,
    ApprovalDays,
    AtOnce,
    RecipeChoice,
    Seconds,
    StoryboardSource,
)
from prefect_ltx.flows.naming import film_tags
from prefect_ltx.flows.parameters import flow
from prefect_ltx.flows.take import check_archived
from prefect_ltx.flows.takes import CHOICE_SECONDS
from prefect_ltx.ledger import approval_tag
from prefect_ltx.ledger.approvals import TAG
from prefect_ltx.media import recipe_named
from prefect_ltx.tasks.context import run_logger

__all__ = ["FilmIncomplete", "storyboard_film", "storyboard_from"]


def _run_name() -> str:
    source: Any = flow_run.parameters["storyboard"]
    name = source.get("title", "film") if isinstance(source, dict) else str(source)
    return Path(name).name[:60] if "\n" not in name else "film"


@flow(name="storyboard-film", flow_run_name=_run_name, on_cancellation=[cancel_paid_job])
async def storyboard_film(
    storyboard: StoryboardSource,
    concurrency: AtOnce = 4,
    approve: bool = False,
    approval_days: ApprovalDays = 7,
    animatic_sha256: AnimaticHash = "",
    choice_timeout_seconds: Seconds = CHOICE_SECONDS,
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
    budget: str = "",
    recipe: RecipeChoice = "web",
    tags: list[str] | None = None,
    frame_rule: FrameRule = "as_is",
) -> ArchivedFilm:
    """Make every shot of a storyboard, join them to one film, and archive it with the lineage of each shot.

    Each shot is a generation of its own: it is paid for once, and a changed shot is made again alone, with those that
    start from it.

    Args:
        storyboard: Path of a YAML file on the machine that runs the flow, the YAML itself, or its content.
        concurrency: How many shots and takes are made at the same time.
        approve: Show the plan and wait until a person approves it in the UI; nothing is sent before.
        approval_days: How many days an approval of this very plan holds, for runs that come later.
        animatic_sha256: SHA-256 of an animatic that was made to decide by: then it is part of what is approved.
        choice_timeout_seconds: How long to wait for a person, for the approval and for each choice of a take.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.
        budget: Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.
        recipe: Which renditions to make of each shot: by name, or a recipe of your own.
        tags: Words to find the shots by in the ledger; budgets may be set for a tag.
        frame_rule: as_is sends frame counts as asked; nearest and floor fit them to 8k+1, as the model works.
    """
    renditions = recipe_named(recipe) if isinstance(recipe, str) else recipe
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive, budget=budget)
    async with services_for(names) as services:
        planning = FilmPlanning(
            services,
            lambda: storyboard_from(storyboard),
            frame_rule,
            animatic_sha256=animatic_sha256,
        )
        await planning.make()
        marks = [*film_tags(planning.board.title, storyboard), *(tags or [])]
        if approve:
            bought_by = await approved(
                services.ledger,
                await planning.shown(),
                planning.again,
                within=choice_timeout_seconds,
                holds=approval_days * DAY,
            )
            marks += [approval_tag(bought_by)] if bought_by else []
            # A person may take days, and the sweep clears drawings after one.
            await planning.draw()
        board = planning.board
        chosen = await make_shots(
            services,
            board,
            planning.sheets,
            names,
            planning.judges,
            concurrency=concurrency,
            choice_timeout=choice_timeout_seconds,
            recipe=recipe,
            tags=marks,
            frame_rule=frame_rule,
        )
        for row, take in chosen:
            # Choices may have taken days.
            await check_archived(services, row, take)
        approvals = [each for each in marks if each.startswith(TAG)]
        film = await finish_film(services, board, chosen, recipe=renditions, tags=[*(tags or []), *approvals])
    for warning in film.warnings:
        run_logger().warning("%s", warning)
    await acreate_markdown_artifact(
        film_markdown(film), key=f"ltx-film-{film.key[:12]}", description=f"The film {board.title}"
    )
    return film


def storyboard_from(source: str | Path | dict[str, Any]) -> Storyboard:
    """A storyboard from what the flow was given.

    Raises:
        StoryboardInvalid: with every problem in it; nothing was sent or spent.
    """
    if isinstance(source, dict) or (isinstance(source, str) and "\n" in source):
        return read_storyboard(source)
    return load_storyboard(source)
