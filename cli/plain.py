"""The same work without Prefect, where no Prefect server is configured: starting one takes longer than an answer from
the archive. Nobody would see its flow runs, and what decides about money is the ledger in either case."""

import asyncio
import os
import tomllib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from prefect_ltx.batch import Batch, BatchReport, BatchRun, PlannedRow, plan_rows, purchases_of, summary
from prefect_ltx.batch.run import AHEAD
from prefect_ltx.cli.progress import say
from prefect_ltx.fal import FrameRule, GenerationRequest
from prefect_ltx.generation import ArchivedGeneration, Order, Run, Services, Takes, generate, prepare
from prefect_ltx.generation.inspection import QualityMode
from prefect_ltx.generation.steps import plain_steps
from prefect_ltx.ledger import Owner, approval_tag, budget_terms, plan_digest
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.settings import Settings


class PlanNotApproved(Exception):
    """Nobody approved the plan. Nothing was sent or spent."""


NOTICE = (
    "No Prefect server is configured, so this runs without one. Set PREFECT_API_URL to see it as a flow run."
)


def is_prefect_configured() -> bool:
    """Whether a Prefect server or an active profile with settings is named, in any of the places that Prefect reads.

    Prefect itself is not asked: importing it takes seconds.
    """
    if os.environ.get("PREFECT_API_URL") or os.environ.get("PREFECT_PROFILE"):
        return True
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    profiles = _toml(Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml"))
    if profiles.get("profiles", {}).get(profiles.get("active")):
        return True
    if _toml(Path("prefect.toml")) or _toml(Path("pyproject.toml")).get("tool", {}).get("prefect"):
        return True
    try:
        lines = Path(".env").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    return any(line.strip().removeprefix("export ").startswith("PREFECT_API_URL") for line in lines)


async def make(
    request: GenerationRequest,
    *,
    recipe: str,
    tags: Sequence[str] | None,
    frame_rule: FrameRule,
    quality: QualityMode,
    max_seeds: int,
) -> ArchivedGeneration:
    """One request to the archive.

    Raises:
        as `prefect_ltx.generation.generate`.
    """
    async with Services.from_settings(Settings()) as services, AsyncExitStack() as stay:
        order = Order(Owner.here(announces_posts=True), None, tuple(tags or ()), recipe, quality)
        ready = await prepare(services, request, owner=order.owner, frame_rule=frame_rule)
        for source in ready.inputs.values():
            stay.callback(source.discard)
        steps = replace(plain_steps(services), warn=say)
        return await generate(steps, ready, order, Takes(quality, max_seeds))


async def make_batch(
    batch: Batch,
    *,
    concurrency: int,
    frame_rule: FrameRule,
    fresh: bool,
    tags: Sequence[str] | None,
    approve: bool = False,
    **how: Any,
) -> BatchReport:
    """Every row of a checked batch to its end; `how` is `BatchRun`'s recipe, quality and max_seeds.

    Raises:
        PlanNotApproved: with `approve`, and nobody has approved this very plan. Nothing was sent or spent.
        BatchInvalid: rows that cannot be run. Nothing was sent or spent.
    """
    async with Services.from_settings(Settings()) as services:
        run = Run.begin(services, at_fal=concurrency)
        try:
            rows = await plan_rows(run, batch, frame_rule=frame_rule, fresh=fresh)
            plan = await summary(services, batch.name, rows)
            for warning in plan.warnings:
                say(warning)
            for limit in plan.over_budget:
                say(f"{limit} does not cover all of it: rows beyond it will fail and cost nothing")
            marks = tuple(tags or ())
            if approve and plan.to_send:
                takes = how["max_seeds"] if how.get("quality") == "next_seed" else 1
                marks += (await _approval(services, batch.name, rows, plan.price_upper_usd * takes),)
            work = BatchRun(run, batch.name, rows, at_fal=concurrency, tags=marks, **how)
            waiting = iter(rows)

            async def lane() -> None:
                for planned in waiting:
                    await work.do(planned)

            await asyncio.gather(*(lane() for _ in range(concurrency + AHEAD)))
        finally:
            await run.aclose()
        return work.report()


async def _approval(services: Services, name: str, rows: Sequence[PlannedRow], most: Decimal) -> str:
    """The tag of what is bought by the approval of this plan."""
    digest = plan_digest(purchases_of(rows), budget_terms(services.limits))
    known = await services.ledger.approval(digest, at_most_usd=most)
    if known is None:
        raise PlanNotApproved(
            f"Nobody has approved this plan of batch {name} (requests, prices and budget), or it holds no more. "
            "Nothing was sent or spent. `--plan --approve` shows it and approves it; with a Prefect server a person is "
            "asked there."
        )
    say(f"Batch {name}: {known}, at most {dollars(known.at_most_usd)}")
    return approval_tag(known)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
