"""The sweep as a flow: nothing that was paid for stays behind."""

from datetime import UTC, datetime

from prefect.artifacts import acreate_markdown_artifact
from prefect.states import Completed

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.flows.artifacts import sweep_markdown
from prefect_ltx.flows.decide import publish_needs_a_person
from prefect_ltx.flows.forms import RecipeChoice, check_recipe
from prefect_ltx.flows.only_one import another_run
from prefect_ltx.flows.parameters import flow
from prefect_ltx.generation.inspection import KeepingMode
from prefect_ltx.recovery import SweepReport, sweep_all
from prefect_ltx.tasks.context import current_owner, run_logger


class SweepIncomplete(Exception):
    """Something that was paid for could not be swept because of an error nobody expected; all else was."""


def _run_name() -> str:
    return f"sweep {datetime.now(UTC):%Y-%m-%d %H:%M}"


@flow(name="sweep", flow_run_name=_run_name)
async def sweep(
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
    recipe: RecipeChoice = "web",
    quality: KeepingMode = "warn",
) -> SweepReport:
    """Collect and archive what was paid for and left behind, settle prices, and report what needs a person.

    Safe at any time, beside everything else and twice at once. Submits nothing.

    Args:
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.
        recipe: Which renditions to make of what is found: web, social, broadcast, review or none, or your own.
        quality: What to do about defects: off, warn, trim (cut a lead-in of the sheet from the renditions) or
            reject (archive it, marked, and name it in the report).
    """
    check_recipe(recipe)
    if said := await another_run():
        return Completed(message=said, data=SweepReport())  # type: ignore[return-value]  # the state's data
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive)
    async with services_for(names) as services:
        report = await sweep_all(services, current_owner(), recipe=recipe, quality=quality)
        await publish_needs_a_person(services)
    log = run_logger()
    log.info(
        "%d generations looked at, %d need a person, %d orphans at fal",
        len(report.items),
        len(report.needs_a_person),
        len(report.orphans),
    )
    for item in report.items:
        log.info("%s: %s to %s %s", item.generation_id, item.before, item.after, item.note)
    for item in report.needs_a_person:
        log.warning("A person has to decide about generation %s (%s)", item.generation_id, item.after)
    if report.items or report.orphans or report.double_charges or report.broken:
        await acreate_markdown_artifact(
            sweep_markdown(report), key="ltx-sweep", description="What the sweep did"
        )
    if report.broken:
        raise SweepIncomplete(
            f"The sweep went through everything and stopped at {len(report.broken)} unexpected errors, the first: "
            f"{report.broken[0]}"
        )
    return report
