"""Waiting without holding a worker: one flow submits, another collects once fal is done.

Start `finish_generation` by an event, a webhook or a schedule, as often as you like: it goes on from the ledger.
"""

from contextlib import AsyncExitStack

from prefect.runtime import flow_run

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import FrameRule
from prefect_ltx.flows.cancellation import cancel_paid_job
from prefect_ltx.flows.forms import GenerationName, OneRequest, RecipeChoice, check_recipe
from prefect_ltx.flows.generate import run_name
from prefect_ltx.flows.parameters import flow
from prefect_ltx.flows.steps import order_of, prepared, task_steps
from prefect_ltx.generation import ArchivedGeneration, begin, finish, hold
from prefect_ltx.generation.inspection import KeepingMode
from prefect_ltx.tasks import GenerationHandle


@flow(name="submit-only", flow_run_name=run_name, on_cancellation=[cancel_paid_job])
async def submit_only(
    request: OneRequest,
    credentials: str = "",
    ledger: str = "",
    budget: str = "",
    tags: list[str] | None = None,
    frame_rule: FrameRule = "as_is",
    webhook_url: str = "",
) -> GenerationHandle:
    """Submit a request and end; `finish_generation` or the sweep collects the video.

    Where a webhook URL is set, fal tells `prefect-ltx webhook` when it is done; else `poll_in_flight` asks.

    Args:
        request: what to make, for any endpoint.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        budget: Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.
        tags: Words to find it by in the ledger; budgets may be set for a tag.
        frame_rule: as_is sends the frame count as asked; nearest and floor fit it to 8k+1, as the model works.
        webhook_url: Public base URL of `prefect-ltx webhook`; empty for the ledger block's or PREFECT_LTX_WEBHOOK_URL.
    """
    names = BlockNames(credentials=credentials, ledger=ledger, archive=None, budget=budget)
    async with services_for(names) as services, AsyncExitStack() as stay:
        order = order_of(tags=tags or [], quality="off")
        ready = await prepared(services, request, order, frame_rule, stay)
        steps = task_steps(services, names, webhook_url=webhook_url)
        return GenerationHandle.of(await begin(steps, ready, order, stay))


def _finish_name() -> str:
    return f"finish {str(flow_run.parameters['generation'])[:18]}"


@flow(name="finish-generation", flow_run_name=_finish_name, on_cancellation=[cancel_paid_job])
async def finish_generation(
    generation: GenerationName,
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
    recipe: RecipeChoice = "web",
    quality: KeepingMode = "warn",
) -> ArchivedGeneration:
    """Wait for a generation that was submitted earlier, collect and archive it. Submits nothing.

    Args:
        generation: The ledger's id of it, or fal's request id.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.
        recipe: Which renditions to make: web, social, broadcast, review or none, or a recipe of your own.
        quality: What to do about defects: off, warn, trim or reject. References are fetched again from fal.

    Raises:
        GenerationNotFound: the ledger has no such generation.
        GenerationStopped: it ended without a video, or nobody can tell yet whether fal has it.
    """
    check_recipe(recipe)
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive)
    async with services_for(names) as services:
        order = order_of(recipe=recipe, quality=quality)
        row = await services.ledger.get(generation)
        async with hold(services, row.id, order.owner) as held:
            return await finish(task_steps(services, names), held, order)
