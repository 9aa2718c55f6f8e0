"""The shots of a film, made in waves: those that start from others follow once these are made and chosen."""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from prefect_ltx.blocks.services import BlockNames
from prefect_ltx.fal import FrameRule
from prefect_ltx.film import Shot, Storyboard, shot_request
from prefect_ltx.flows.film_starts import start_picture
from prefect_ltx.flows.judge import Judge
from prefect_ltx.flows.take import make_takes
from prefect_ltx.flows.take_row import Take, TakeRow
from prefect_ltx.flows.takes import choose_take
from prefect_ltx.generation import Services
from prefect_ltx.generation.errors import what_happened
from prefect_ltx.ledger import State
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.media import Recipe
from prefect_ltx.sheets import ReferenceSheet
from prefect_ltx.tasks.context import flow_run_id, run_logger


class FilmIncomplete(Exception):
    """Some shots were not made. What was made is archived; running again makes and pays for the others only."""


async def make_shots(
    services: Services,
    board: Storyboard,
    sheets: Mapping[str, ReferenceSheet],
    names: BlockNames,
    judges: Mapping[str, Judge],
    *,
    concurrency: int,
    choice_timeout: float,
    recipe: str | Recipe,
    tags: Sequence[str],
    frame_rule: FrameRule,
) -> list[tuple[TakeRow, Take]]:
    """Every shot's takes and the one that was chosen, in the storyboard's order.

    Raises:
        FilmIncomplete: shots that were not made, by name, with what was spent.
    """
    slots = asyncio.Semaphore(concurrency)
    chosen: dict[str, tuple[TakeRow, Take]] = {}
    starts: dict[str, Path] = {}
    for wave in board.start_order():
        for source in {shot.start_from for shot in wave if shot.start_from is not None} - starts.keys():
            row, take = chosen[source]
            starts[source] = await start_picture(services, row.manifests[take.number], keep=True)
        done = await asyncio.gather(
            *(
                make_takes(
                    services,
                    shot_request(
                        board,
                        shot,
                        str(sheets[shot.id].path) if shot.id in sheets else None,
                        str(starts[shot.start_from]) if shot.start_from is not None else None,
                    ).with_frames(frame_rule),
                    names,
                    board.takes_of(shot),
                    slots=slots,
                    recipe=recipe,
                    tags=tags,
                    frame_rule="as_is",
                )
                for shot in wave
            ),
            return_exceptions=True,
        )
        rows = await _complete(services, board, wave, done, made=len(chosen))
        # One after the other: a run has one pause at a time, and no task may start meanwhile.
        for shot, row in zip(wave, rows, strict=True):
            if len(row.takes) == 1:
                take = row.choose(row.takes[0].number)
            else:
                take = await choose_take(
                    services,
                    row,
                    judges.get(row.policy.judge),
                    label=f"shot {shot.id}",
                    choice_timeout=choice_timeout,
                )
            chosen[shot.id] = (row, take)
    return [chosen[shot.id] for shot in board.shots]


async def _complete(
    services: Services,
    board: Storyboard,
    wave: Sequence[Shot],
    done: "Sequence[TakeRow | BaseException]",
    *,
    made: int,
) -> list[TakeRow]:
    rows = [each for each in done if isinstance(each, TakeRow)]
    failed = [(shot, each) for shot, each in zip(wave, done, strict=True) if isinstance(each, BaseException)]
    for _, error in failed:
        if not isinstance(error, Exception):
            raise error
    if not failed:
        return rows
    total, there = len(board.shots), made + len(rows)
    missing = total - there
    run_logger().error("%d of %d shots of run %s were not made", missing, total, flow_run_id())
    told = "; ".join(f"shot {shot.id}: {what_happened(error)}" for shot, error in failed)
    if waits := missing - len(failed):
        told += f"; {waits} that start from another shot were not begun"
    raise FilmIncomplete(
        f"{missing} of {total} shots were not made: {told}. The other {there} are archived under "
        f"{services.archive.location}. {await _money(services)} Run again to make what is missing, it pays for "
        "nothing twice."
    ) from failed[0][1]


async def _money(services: Services) -> str:
    """What this run has bought, and what it may have bought, by the ledger."""
    run_id = flow_run_id()
    found = await services.ledger.find(flow_run_id=run_id) if run_id else []
    spent = sum((row.held_usd for row in found if row.state is State.ARCHIVED), Decimal(0))
    open_usd = sum((row.held_usd for row in found if row.state is not State.ARCHIVED), Decimal(0))
    more = f", and up to {dollars(open_usd)} more may have been billed" if open_usd else ""
    return f"This run spent {dollars(spent)}{more}."
