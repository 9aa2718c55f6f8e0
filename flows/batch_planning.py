"""A batch planned in a flow: read, priced, shown, and planned anew where somebody thought about it for a while."""

import asyncio
from collections.abc import Callable
from typing import Any

from prefect_ltx.batch import Batch, BatchPlan, PlannedRow, plan_rows, purchases_of, summary
from prefect_ltx.flows.approval import ShownPlan
from prefect_ltx.flows.batch_artifacts import plan_markdown, publish_plan
from prefect_ltx.flows.input_pictures import pictures_of
from prefect_ltx.generation import Run, Services
from prefect_ltx.ledger import budget_terms
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.tasks.context import run_logger


class BatchPlanning:
    """One plan of a batch after the other; `aclose` ends what the last one holds.

    Args:
        read: gives the batch as its file says now.
        at_fal: how many requests may be at fal at once.
        takes: how many takes of a row may be bought at most.
        how: the other arguments of `plan_rows`.
    """

    def __init__(
        self, services: Services, read: Callable[[], Batch], *, at_fal: int, takes: int, **how: Any
    ) -> None:
        self._services, self._read, self._at_fal, self._takes, self._how = services, read, at_fal, takes, how
        self.run: Run
        self.batch: Batch
        self.rows: list[PlannedRow]
        self.plan: BatchPlan
        self._open: Run | None = None

    async def make(self) -> None:
        """Read and plan the batch as it is now, and publish the plan. Sends and spends nothing."""
        await self.aclose()
        self.batch = await asyncio.to_thread(self._read)
        # A run remembers what it has read of a file: one for each plan.
        self.run = self._open = Run.begin(self._services, at_fal=self._at_fal)
        self.rows = await plan_rows(self.run, self.batch, **self._how)
        plan = await summary(self._services, self.batch.name, self.rows)
        if self._takes > 1 and plan.to_send:
            more = dollars(plan.price_upper_usd * (self._takes - 1))
            warning = f"Rows that quality control refuses buy up to {self._takes - 1} more takes: at most {more} more"
            plan = plan.model_copy(update={"warnings": [warning, *plan.warnings]})
        self.plan = plan
        await publish_plan(plan, self.rows)
        self._log()

    async def shown(self) -> ShownPlan:
        """The last plan as a person is asked to approve it, with pictures of what it is made from."""
        pictures = await pictures_of(self.run, [row.request for row in self.rows])
        return ShownPlan(
            title=f"Batch {self.plan.name}",
            purchases=purchases_of(self.rows),
            to_send=self.plan.to_send,
            at_most_usd=self.plan.price_upper_usd * self._takes,
            markdown=plan_markdown(self.plan, self.rows, pictures),
            beside=budget_terms(self._services.limits),
        )

    async def again(self) -> ShownPlan:
        """Plan anew, and show that."""
        await self.make()
        return await self.shown()

    async def aclose(self) -> None:
        """Remove what the last plan fetched; what is at fal goes on there."""
        if self._open is not None:
            run, self._open = self._open, None
            await run.aclose()

    def _log(self) -> None:
        log, plan = run_logger(), self.plan
        log.info(
            "Batch %s: %d requests, %d to send, %d paid for already, %d share another row's video; %d megapixels, %s",
            plan.name,
            plan.requests,
            plan.to_send,
            plan.hits,
            plan.duplicates,
            plan.megapixels,
            dollars(plan.price_expected_usd),
        )
        for warning in plan.warnings:
            log.warning("%s", warning)
        for limit in plan.over_budget:
            log.warning("%s does not cover all of it: rows beyond it will fail and cost nothing", limit)
