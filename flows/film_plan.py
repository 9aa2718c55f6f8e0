"""What a storyboard would make and cost: shot by shot, before anything is sent. Spends nothing."""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from prefect_ltx.fal import FalRequestInvalid, FrameRule, snap_num_frames
from prefect_ltx.film import (
    Problem,
    Shot,
    Storyboard,
    StoryboardInvalid,
    Timeline,
    shot_request,
    shot_warnings,
    take_seeds,
)
from prefect_ltx.flows.approval import purchase_of
from prefect_ltx.flows.film_result import ArchivedFilm
from prefect_ltx.flows.film_starts import archived_takes, stand_in_picture, start_picture
from prefect_ltx.flows.naming import REHEARSAL, in_markdown, words_of
from prefect_ltx.generation import PlanReport, Services, plan_request
from prefect_ltx.ledger import Purchase
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.sheets import ReferenceSheet


class OverBudget(Exception):
    """The film does not fit the budget. Nothing was sent or spent."""


class ShotPlan(BaseModel):
    """One shot: where it stands in the film, what its first take costs, and how many takes may follow."""

    shot: str
    title: str
    start_frame: int
    start_from: str | None = None
    """The shot whose last frame is the first of this one."""
    waits: bool = False
    """Whether that frame is not known yet: then the price is known, and whether it is paid for already is not."""
    takes: int
    takes_archived: int
    """How many of its takes are paid for and archived."""
    first: PlanReport
    price_expected_usd: Decimal
    """Of what is not paid for: the first take, or all where all are made."""
    price_upper_usd: Decimal
    """The most that all its takes can cost that are not paid for."""
    reserved_first_usd: Decimal
    """What has to be free in the budget for the takes that are made in any case."""
    warnings: list[str]


class FilmPlan(BaseModel):
    """The whole film. Prices count what is not paid for yet."""

    title: str
    width: int
    height: int
    fps: str
    frames: int
    duration_seconds: str
    """An exact fraction, such as `85/6`."""
    shots: list[ShotPlan]
    megapixels: int
    to_send: int
    """Shots of which at least one take will be sent."""
    price_expected_usd: Decimal
    price_upper_usd: Decimal
    purchases: list[Purchase] = Field(default_factory=list, exclude=True, repr=False)
    """Every take of every shot, paid for already or not: what an approval is bound to (`plan_digest`)."""
    budget: list[dict[str, Any]]
    over_budget: list[str]
    """One line for each limit that does not cover what is made in any case."""

    def check_budget(self) -> None:
        """Refuse a film that would stop half way.

        Raises:
            OverBudget: naming each limit.
        """
        if self.over_budget:
            raise OverBudget(f"{' '.join(self.over_budget)} Nothing was sent or spent.")


async def plan_film(
    services: Services,
    board: Storyboard,
    sheets: Mapping[str, ReferenceSheet],
    *,
    frame_rule: FrameRule = "as_is",
) -> FilmPlan:
    """Plan every shot and take of a storyboard; reads the ledger, sends nothing that costs.

    Raises:
        StoryboardInvalid: media that cannot be used, by shot and field.
        LedgerError: the ledger cannot be read.
    """
    frames = {shot.id: snap_num_frames(board.frames_of(shot), frame_rule) for shot in board.shots}
    timeline = Timeline.of(
        board.fps, [(shot.id, frames[shot.id], board.overlap_of(at)) for at, shot in enumerate(board.shots)]
    )
    spans = {span.shot: span for span in timeline.spans}
    planned: dict[str, ShotPlan] = {}
    starts: dict[str, list[Path]] = {}
    purchases: list[Purchase] = []
    problems: list[Problem] = []
    for shot in (shot for wave in board.start_order() for shot in wave):
        sheet = sheets.get(shot.id)
        pictures: list[Path | None] = [*starts[shot.start_from]] if shot.start_from in starts else [None]
        waits = shot.start_from is not None and pictures == [None]
        if waits:
            pictures = [await asyncio.to_thread(stand_in_picture, services, board)]
        try:
            if shot.start_from is not None and not waits:
                # An approval holds on once the frame is known: it knows the shot by what stands in for that.
                stand_in = await asyncio.to_thread(stand_in_picture, services, board)
                bought = await _reports(services, board, shot, sheet, stand_in, frame_rule=frame_rule)
            else:
                bought = []
            rows = [
                await _reports(services, board, shot, sheet, picture, frame_rule=frame_rule)
                for picture in pictures
            ]
        except FalRequestInvalid as error:
            index = board.shots.index(shot)
            problems.append(Problem(f"shot {index + 1} ({shot.id})", "", error.what))
            continue
        purchases += map(purchase_of, bought or rows[0])
        planned[shot.id] = _shot_plan(board, shot, spans[shot.id].start, rows, sheet, waits=waits)
        if not waits and len(rows) == 1 and any(each.start_from == shot.id for each in board.shots):
            takes = await archived_takes(services, board.takes_of(shot), rows[0])
            if takes:
                starts[shot.id] = [await start_picture(services, each, keep=False) for each in takes]
    if problems:
        raise StoryboardInvalid(board.title, problems)
    plans = [planned[shot.id] for shot in board.shots]
    reserved = sum((each.reserved_first_usd for each in plans), Decimal(0))
    budget = plans[0].first.budget
    width, height = board.size
    return FilmPlan(
        title=board.title,
        width=width,
        height=height,
        fps=str(board.fps),
        frames=timeline.frames,
        duration_seconds=str(timeline.duration),
        shots=plans,
        megapixels=sum(each.first.megapixels for each in plans),
        to_send=sum(each.reserved_first_usd > 0 for each in plans),
        price_expected_usd=sum((each.price_expected_usd for each in plans), Decimal(0)),
        price_upper_usd=sum((each.price_upper_usd for each in plans), Decimal(0)),
        purchases=purchases,
        budget=budget,
        over_budget=[
            f"{each['name']} has {dollars(Decimal(each['left_usd']))} left of "
            f"{dollars(Decimal(each['limit_usd']))}, and up to {dollars(reserved)} would be reserved."
            for each in budget
            if Decimal(each["left_usd"]) < reserved
        ],
    )


async def _reports(
    services: Services,
    board: Storyboard,
    shot: Shot,
    sheet: ReferenceSheet | None,
    start: Path | None,
    *,
    frame_rule: FrameRule,
) -> list[PlanReport]:
    """The plan of each take of a shot."""
    request = shot_request(
        board, shot, str(sheet.path) if sheet else None, str(start) if start else None
    ).with_frames(frame_rule)
    assert request.seed is not None
    return [
        await plan_request(services, request.with_seed(seed))
        for seed in take_seeds(request.seed, board.takes_of(shot).n)
    ]


def _shot_plan(
    board: Storyboard,
    shot: Shot,
    start_frame: int,
    rows: list[list[PlanReport]],
    sheet: ReferenceSheet | None,
    *,
    waits: bool,
) -> ShotPlan:
    """The plan of a shot, one row of reports for each picture that it may start from."""
    policy = board.takes_of(shot)

    def certain(row: list[PlanReport]) -> list[PlanReport]:
        # With first_pass the others follow only where a take has a defect.
        return row if policy.stop == "all" else row[:1]

    reports = min(rows, key=lambda row: _due(certain(row), "price_upper_usd"))
    warnings = [*reports[0].warnings, *(sheet.warnings if sheet else shot_warnings(board, shot))]
    if waits:
        warnings.append(f"starts from the last frame of shot {shot.start_from}, which is not made yet")
    return ShotPlan(
        shot=shot.id,
        title=shot.title or shot.id,
        start_frame=start_frame,
        start_from=shot.start_from,
        waits=waits,
        takes=policy.n,
        takes_archived=sum(each.status == "archived" for each in reports),
        first=reports[0],
        price_expected_usd=_due(certain(reports), "price_expected_usd"),
        price_upper_usd=max(_due(row, "price_upper_usd") for row in rows),
        reserved_first_usd=_due(certain(reports), "price_upper_usd"),
        warnings=warnings,
    )


def plan_markdown(plan: FilmPlan, prompts: Mapping[str, str], pictures: Sequence[str] = ()) -> str:
    """The plan as an artifact, with each shot's prompt, and `pictures` of what each is made from.

    Prices stand first: what is right of a narrow page is not seen.
    """
    lines = [
        f"**{_cell(plan.title)}**: {plan.frames} frames, {plan.duration_seconds} s at {plan.fps} a second, "
        f"{plan.width}x{plan.height}; {plan.to_send} of {len(plan.shots)} shots to send, "
        f"{dollars(plan.price_expected_usd)} expected, {dollars(plan.price_upper_usd)} at most.",
        "",
    ]
    lines += [f"- **Over budget:** {text}" for text in plan.over_budget]
    lines += [f"- Left of {each['name']}: {dollars(Decimal(each['left_usd']))}" for each in plan.budget]
    lines += [f"- {_cell(each.title)}: {_cell(text)}" for each in plan.shots for text in each.warnings]
    lines += ["", "| Expected | At most | Shot | Made from |", "|---|---|---|---|"]
    for each, picture in zip(plan.shots, [*pictures, *[""] * len(plan.shots)], strict=False):
        prompt = f" “{in_markdown(words_of(prompts[each.shot], 90))}”," if each.shot in prompts else ""
        takes = f"up to {each.takes} takes, " if each.takes > 1 else ""
        after = f", starts from the end of {_cell(each.start_from)}" if each.start_from else ""
        prices = f"{dollars(each.price_expected_usd)} | {dollars(each.price_upper_usd)}"
        lines.append(
            f"| {prices} | **{_cell(each.title)}**,{prompt} from frame {each.start_frame}{after}, "
            f"{each.first.num_frames} frames, {each.first.megapixels} megapixels, {takes}seed {each.first.seed}, "
            f"{each.first.status.replace('_', ' ')} | {picture} |"
        )
    return "\n".join(lines)


def _due(reports: list[PlanReport], price: str) -> Decimal:
    return sum((getattr(each, price) for each in reports if each.status in ("new", "unknown")), Decimal(0))


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")


def film_markdown(film: ArchivedFilm) -> str:
    """The film as an artifact: what it is, where it lies, and where each shot came from."""
    lines = [
        f"{REHEARSAL}\n" if film.stand_in else "",
        f"{film.frames} frames, {film.duration_seconds} s at {film.fps} a second, {film.width}x{film.height}; "
        f"{film.paid_now} takes were paid for by this run, the film's shots cost {dollars(film.price_expected_usd)}.",
        f"\nFilm: `{film.video}`\n",
        "| Shot | Starts | Frames | Seed | Generation | Manifest |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.title.replace('|', '/').replace('<', '&lt;')} | {each.start_frame} | {each.frames} | {each.seed} "
        f"| `{each.folder}` | `{each.manifest_sha256[:12]}` |"
        for each in film.shots
    ]
    return "\n".join([*lines, "", *(f"- {text}" for text in film.warnings)])
