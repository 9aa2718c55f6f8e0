"""What a storyboard would make and cost: shot by shot, before anything is sent. Spends nothing."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from prefect_ltx.fal import FalRequestInvalid, FrameRule, GenerationRequest
from prefect_ltx.film import (
    Problem,
    Storyboard,
    StoryboardInvalid,
    Timeline,
    shot_request,
    shot_warnings,
    take_seeds,
)
from prefect_ltx.flows.film_store import ArchivedFilm
from prefect_ltx.generation import PlanReport, Services, plan_request
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.sheets import ReferenceSheet


class OverBudget(Exception):
    """The film does not fit the budget. Nothing was sent or spent."""


class ShotPlan(BaseModel):
    """One shot: where it stands in the film, what its first take costs, and how many takes may follow."""

    shot: str
    title: str
    start_frame: int
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
    requests = shot_requests(board, sheets, frame_rule=frame_rule)
    timeline = Timeline.of(
        board.fps,
        [
            (shot.id, requests[shot.id].num_frames, board.overlap_of(at))
            for at, shot in enumerate(board.shots)
        ],
    )
    plans: list[ShotPlan] = []
    problems: list[Problem] = []
    for index, (shot, span) in enumerate(zip(board.shots, timeline.spans, strict=True)):
        policy, request = board.takes_of(shot), requests[shot.id]
        assert request.seed is not None
        try:
            reports = [
                await plan_request(services, request.with_seed(seed))
                for seed in take_seeds(request.seed, policy.n)
            ]
        except FalRequestInvalid as error:
            problems.append(Problem(f"shot {index + 1} ({shot.id})", "", error.what))
            continue
        certain = reports if policy.stop == "all" else reports[:1]
        plans.append(
            ShotPlan(
                shot=shot.id,
                title=shot.title or shot.id,
                start_frame=span.start,
                takes=policy.n,
                takes_archived=sum(each.status == "archived" for each in reports),
                first=reports[0],
                price_expected_usd=_due(certain, "price_expected_usd"),
                price_upper_usd=_due(reports, "price_upper_usd"),
                reserved_first_usd=_due(certain, "price_upper_usd"),
                warnings=[
                    *reports[0].warnings,
                    *(sheets[shot.id].warnings if shot.id in sheets else shot_warnings(board, shot)),
                ],
            )
        )
    if problems:
        raise StoryboardInvalid(board.title, problems)
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
        budget=budget,
        over_budget=[
            f"{each['name']} has {dollars(Decimal(each['left_usd']))} left of "
            f"{dollars(Decimal(each['limit_usd']))}, and up to {dollars(reserved)} would be reserved."
            for each in budget
            if Decimal(each["left_usd"]) < reserved
        ],
    )


def shot_requests(
    board: Storyboard, sheets: Mapping[str, ReferenceSheet], *, frame_rule: FrameRule
) -> dict[str, GenerationRequest]:
    """The request of every shot, its frame count brought to the rule."""
    return {
        shot.id: shot_request(
            board, shot, str(sheets[shot.id].path) if shot.id in sheets else None
        ).with_frames(frame_rule)
        for shot in board.shots
    }


def plan_markdown(plan: FilmPlan) -> str:
    """The plan as an artifact."""
    lines = [
        f"**{_cell(plan.title)}**: {plan.frames} frames, {plan.duration_seconds} s at {plan.fps} a second, "
        f"{plan.width}x{plan.height}; {plan.to_send} of {len(plan.shots)} shots to send, "
        f"{dollars(plan.price_expected_usd)} expected, {dollars(plan.price_upper_usd)} at most.",
        "",
        "| Shot | Starts | Frames | MP | Seed | Takes | Status | Expected | At most |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(each.title)} | {each.start_frame} | {each.first.num_frames} | {each.first.megapixels} | "
        f"{each.first.seed} | {each.takes} | {each.first.status} | {dollars(each.price_expected_usd)} | "
        f"{dollars(each.price_upper_usd)} |"
        for each in plan.shots
    ]
    lines += [f"- {_cell(each.title)}: {_cell(text)}" for each in plan.shots for text in each.warnings]
    lines += [f"- Left of {each['name']}: {dollars(Decimal(each['left_usd']))}" for each in plan.budget]
    return "\n".join([*lines, *(f"- **Over budget:** {text}" for text in plan.over_budget)])


def _due(reports: list[PlanReport], price: str) -> Decimal:
    return sum((getattr(each, price) for each in reports if each.status in ("new", "unknown")), Decimal(0))


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")


def film_markdown(film: ArchivedFilm) -> str:
    """The film as an artifact: what it is, where it lies, and where each shot came from."""
    lines = [
        "**Rehearsal: made by a stand-in server, not by the model at fal. Nothing was paid.**\n"
        if film.stand_in
        else "",
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
