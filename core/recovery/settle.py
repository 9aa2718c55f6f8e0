"""What fal billed in place of what was expected, from billing events where the key may read them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from prefect_ltx.fal import FalError
from prefect_ltx.generation.services import Services, in_thread
from prefect_ltx.ledger import Settled
from prefect_ltx.recovery.report import SweepReport

BILLING_WINDOW: Final = timedelta(days=30)
BILLING_MOST: Final = 500
"""How far back, and how many at a time, prices are asked for that fal never billed in detail."""


async def settle(services: Services, report: SweepReport) -> None:
    """Record what fal's billing events say of the rows that are not settled by them."""
    since = datetime.now(UTC) - BILLING_WINDOW
    rows = await in_thread(services.ledger.unsettled, by_billing=True)
    recent = [row for row in rows if row.created_at > since and row.request_id][-BILLING_MOST:]
    by_request = {row.request_id: row for row in recent if row.request_id}
    if not by_request:
        return
    try:
        events = await services.client.billing_events(request_ids=sorted(by_request))
    except FalError as error:
        report.notes.append(f"Prices not settled: {error.what}.")
        return
    for event in events:
        row = by_request.get(event.request_id)
        if row is None:
            continue
        await in_thread(
            services.ledger.record,
            row.id,
            Settled(units=event.output_units, usd=event.cost_total, source="billing_events"),
        )
        report.settled.append(row.id)
