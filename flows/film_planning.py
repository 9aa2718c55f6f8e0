"""A film planned in a flow: drawn, priced, shown, and planned anew where somebody thought about it for a while."""

import asyncio
from collections.abc import Callable

from prefect.artifacts import acreate_markdown_artifact

from prefect_ltx.fal import FrameRule, GenerationRequest
from prefect_ltx.film import Storyboard, shot_request
from prefect_ltx.flows.approval import ShownPlan
from prefect_ltx.flows.asking import ui_address
from prefect_ltx.flows.film_additions import check_additions
from prefect_ltx.flows.film_plan import FilmPlan, plan_film, plan_markdown
from prefect_ltx.flows.film_starts import stand_in_picture
from prefect_ltx.flows.input_pictures import pictures_of
from prefect_ltx.flows.judge import Judge, load_judge
from prefect_ltx.flows.sheeting import draw_sheets
from prefect_ltx.generation import Run, Services
from prefect_ltx.ledger import budget_terms
from prefect_ltx.sheets import ReferenceSheet
from prefect_ltx.tasks.context import run_logger


class FilmPlanning:
    """One plan of a film after the other. `read` gives the storyboard as it says now."""

    def __init__(
        self,
        services: Services,
        read: Callable[[], Storyboard],
        frame_rule: FrameRule,
        *,
        animatic_sha256: str = "",
    ) -> None:
        self._services, self._read, self._frame_rule = services, read, frame_rule
        self._stage = {"animatic": animatic_sha256} if animatic_sha256 else {}
        self.board: Storyboard
        self.sheets: dict[str, ReferenceSheet]
        self.plan: FilmPlan
        self.judges: dict[str, Judge]
        self._requests: dict[str, GenerationRequest]

    async def make(self) -> None:
        """Read and plan the film as it is now, and publish the plan. Sends and spends nothing.

        Raises:
            StoryboardInvalid: what cannot be made, by shot and field.
            OverBudget: it does not fit a budget.
            NoServerToAskOn: a person has to choose takes, and there is nowhere to ask.
        """
        self.board = board = self._read()
        if any(board.takes_of(shot).choose == "person" for shot in board.shots):
            ui_address()  # raises where nobody can be asked: before the takes are paid for
        # Loaded before anything is sent: a mistyped name must not cost the takes.
        self.judges = {spec: load_judge(spec) for shot in board.shots if (spec := board.takes_of(shot).judge)}
        await check_additions(self._services, board)
        await self.draw()
        self.plan = plan = await plan_film(self._services, board, self.sheets, frame_rule=self._frame_rule)
        for shot in plan.shots:
            for warning in shot.warnings:
                run_logger().warning("%s: %s", shot.title, warning)
        self._requests = await self._drawn_requests()
        await acreate_markdown_artifact(
            plan_markdown(plan, self._prompts()),
            key="ltx-film-plan",
            description=f"What {plan.title} will cost",
        )
        plan.check_budget()

    async def draw(self) -> None:
        """Draw the shots' sheets, unless they are there."""
        self.sheets = await draw_sheets(self._services, self.board)

    async def shown(self) -> ShownPlan:
        """The last plan as a person is asked to approve it, with pictures of what it is made from."""
        run = Run.begin(self._services, at_fal=1)
        try:
            pictures = await pictures_of(run, [self._requests[shot.id] for shot in self.board.shots])
        finally:
            await run.aclose()
        said = [
            f"**{name.capitalize()}** that is part of what is approved: `{sha256}`"
            for name, sha256 in self._stage.items()
        ]
        return ShownPlan(
            title=f"The film {self.plan.title}",
            purchases=self.plan.purchases,
            to_send=self.plan.to_send,
            at_most_usd=self.plan.price_upper_usd,
            markdown="\n\n".join([*said, plan_markdown(self.plan, self._prompts(), pictures)]),
            beside=budget_terms(self._services.limits) | self._stage,
        )

    async def again(self) -> ShownPlan:
        """Plan anew, and show that."""
        await self.make()
        return await self.shown()

    def _prompts(self) -> dict[str, str]:
        return {name: request.prompt for name, request in self._requests.items()}

    async def _drawn_requests(self) -> dict[str, GenerationRequest]:
        board, sheets = self.board, self.sheets
        stand_in = str(await asyncio.to_thread(stand_in_picture, self._services, board))
        return {
            shot.id: shot_request(
                board,
                shot,
                str(sheets[shot.id].path) if shot.id in sheets else None,
                stand_in if shot.start_from is not None else None,
            ).with_frames(self._frame_rule)
            for shot in board.shots
        }
