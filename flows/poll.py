"""One small poller for everything in flight, where no webhook can reach."""

from datetime import UTC, datetime

from prefect.states import Completed
from pydantic import Field

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.flows.only_one import another_run
from prefect_ltx.flows.parameters import flow
from prefect_ltx.recovery import InFlightReport, ask_in_flight
from prefect_ltx.tasks.context import run_logger
from prefect_ltx.tasks.events import announce


class PollReport(InFlightReport):
    """What one poll found, and which finished generations it told Prefect about."""

    announced: list[str] = Field(default_factory=list)


class PollIncomplete(Exception):
    """Something in flight could not be asked about because of an error nobody expected; all else was."""


def _run_name() -> str:
    return f"poll {datetime.now(UTC):%Y-%m-%d %H:%M}"


@flow(name="poll-in-flight", flow_run_name=_run_name)
async def poll_in_flight(
    credentials: str = "", ledger: str = "", again_after_seconds: float = 900
) -> PollReport:
    """Ask fal once about every generation in flight that no run waits for, and raise `ltx.generation.completed`.

    The event starts `finish_generation`. It is raised once for each generation, and again, after pauses that
    double, while nobody collects it. Submits nothing and waits for nothing; run it every minute.

    Args:
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        again_after_seconds: When a finished generation that nobody collected is told again for the first time.
    """
    if said := await another_run():
        return Completed(message=said, data=PollReport())  # type: ignore[return-value]  # the state's data
    names = BlockNames(credentials=credentials, ledger=ledger, archive=None)
    async with services_for(names) as services:
        found = await ask_in_flight(services)
        due = await services.ledger.take_announcements(again_after=again_after_seconds)
    # How the others ended is told as the ledger writes it.
    for each in due:
        announce(each)
    report = PollReport(**found.model_dump(), announced=[each.generation.id for each in due])
    log = run_logger()
    log.info(
        "%d in flight asked about: %d completed, %d failed or cancelled, %d lost; %d told",
        report.asked,
        len(report.completed),
        len(report.failed) + len(report.cancelled),
        len(report.lost),
        len(report.announced),
    )
    for note in (*report.notes, *report.broken):
        log.warning("%s", note)
    if report.broken:
        raise PollIncomplete(
            f"Everything was asked about, and {len(report.broken)} stopped: {report.broken[0]}"
        )
    return report
