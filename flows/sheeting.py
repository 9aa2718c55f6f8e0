"""The sheets of a storyboard, drawn on this machine before anything is planned, sent or spent."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from prefect_ltx.fal import FalRequestInvalid
from prefect_ltx.film import (
    Problem,
    SheetPlan,
    Storyboard,
    StoryboardInvalid,
    sheet_canvas,
    sheet_images,
    sheet_plan,
)
from prefect_ltx.generation import InputMedia, Services, fetch_input
from prefect_ltx.generation.work_folders import SHEETS, own_folder
from prefect_ltx.media import MediaError
from prefect_ltx.sheets import ReferenceSheet, SheetError, build_reference_sheet


async def draw_sheets(services: Services, board: Storyboard) -> dict[str, ReferenceSheet]:
    """The sheet of every shot that has one, by shot; shots that show the same share one file.

    Raises:
        StoryboardInvalid: pictures that cannot be used, each by its place; nothing was sent or spent.
    """
    plans = {shot.id: plan for shot in board.shots if (plan := sheet_plan(board, shot)) is not None}
    used = {source for plan in plans.values() for source, _ in plan.images}
    async with AsyncExitStack() as stack:
        pictures = await _fetched(services, board, used)
        for picture in pictures.values():
            stack.callback(picture.discard)
        drawn: dict[tuple[tuple[str, str], ...], ReferenceSheet] = {}
        problems: list[Problem] = []
        for index, shot in enumerate(board.shots):
            plan = plans.get(shot.id)
            if plan is None or plan.images in drawn:
                continue
            try:
                drawn[plan.images] = await _drawn(services, board, plan, pictures)
            except (SheetError, MediaError) as error:
                problems.append(Problem(f"shot {index + 1} ({shot.id})", "cast", str(error)))
        if problems:
            raise StoryboardInvalid(board.title, problems)
    return {shot: drawn[plan.images] for shot, plan in plans.items()}


async def _fetched(services: Services, board: Storyboard, used: set[str]) -> dict[str, InputMedia]:
    places = [
        (f"cast {key}", f"images.{at}", source)
        for key, member in board.cast.items()
        for at, source in enumerate(member.images)
    ]
    places += [(f"location {key}", "image", each.image) for key, each in board.locations.items()]
    wanted = {source: (where, field) for where, field, source in places if source in used}
    found = await asyncio.gather(
        *(fetch_input(services, source, kind="image") for source in wanted), return_exceptions=True
    )
    pictures = {
        source: each for source, each in zip(wanted, found, strict=True) if isinstance(each, InputMedia)
    }
    failed = [each for each in found if isinstance(each, BaseException)]
    if failed:
        for picture in pictures.values():
            picture.discard()
        for each in failed:
            if not isinstance(each, FalRequestInvalid):
                raise each
        problems = [
            Problem(*wanted[source], each.what)
            for source, each in zip(wanted, found, strict=True)
            if isinstance(each, FalRequestInvalid)
        ]
        raise StoryboardInvalid(board.title, problems)
    return pictures


async def _drawn(
    services: Services, board: Storyboard, plan: SheetPlan, pictures: Mapping[str, InputMedia]
) -> ReferenceSheet:
    width, height = sheet_canvas(board)
    with own_folder(services.options.work_dir, SHEETS) as folder:
        sheet = await build_reference_sheet(
            sheet_images(plan, {source: picture.path for source, picture in pictures.items()}),
            path=folder / "sheet.png",
            width=width,
            height=height,
        )
        # By its own bytes, so that whoever has the name has the same sheet, whichever run and release drew it.
        path = sheet.path.replace(folder.parent / f"{sheet.sha256}.png")
    return sheet.model_copy(update={"path": path})
