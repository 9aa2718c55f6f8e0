"""Requests that fal lists for this account and no row of the ledger knows: bought elsewhere, or lost from here."""

from datetime import timedelta
from typing import Final

from prefect_ltx.fal import FalError, endpoint_models
from prefect_ltx.generation.services import Services
from prefect_ltx.recovery.report import SweepReport

ORPHAN_WINDOW: Final = timedelta(days=2)


async def find_orphans(services: Services, report: SweepReport) -> None:
    """List them; what to do about one is a person's to decide."""
    start = services.runtime.now() - ORPHAN_WINDOW
    for endpoint in [model.ENDPOINT for model in endpoint_models()]:
        try:
            known = await services.ledger.claimed_request_ids(endpoint)
            async for each in services.client.list_requests(
                endpoint, start=start, end=None, expand_payloads=False
            ):
                if each.request_id not in known:
                    report.orphans.append(each.request_id)
        except FalError as error:
            report.notes.append(f"Orphans not looked for: {error.what}.")
            return
