"""What fal billed in place of what was expected, from billing events where the key may read them.

A request may have several events, and they come late: their sum is what it cost, and it is corrected when more
arrive. An estimate is never written down as a bill.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Final

from prefect_ltx.fal import BillingEvent, FalError
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Generation, LedgerError, Settled
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.recovery.report import SweepReport

BILLING_WINDOW: Final = timedelta(days=30)
BILLING_MOST: Final = 500
"""How far back, and how many at a time, prices are asked for that fal never billed in detail."""
CORRECTION_WINDOW: Final = timedelta(days=7)
"""How long after its intent a settled generation is asked about again: further events may still come."""


async def settle(services: Services, report: SweepReport) -> None:
    """Record what fal's billing events add up to, for rows that they have not settled, or may still correct."""
    rows = await _to_ask_about(services)
    if not rows:
        return
    try:
        events = await services.client.billing_events(request_ids=sorted(rows))
    except FalError as error:
        report.notes.append(f"Prices not settled: {error.what}.")
        return
    for request_id, bill in _sums(events).items():
        row = rows.get(request_id)
        if row is None or (row.settled_by == "billing_events" and row.settled_usd == bill.usd):
            continue
        if bill.usd < 0:
            report.notes.append(f"{row.id}: fal's billing events add up to {bill.usd} dollars; not recorded.")
            continue
        try:
            await services.ledger.record(row.id, bill)
        except LedgerError as error:
            report.notes.append(f"{row.id}: {error}")
            continue
        report.settled.append(row.id)
        if row.settled_by == "billing_events" and row.settled_usd is not None:
            report.notes.append(
                f"{row.id}: fal has billed {dollars(bill.usd)} by now, not {dollars(row.settled_usd)}: corrected."
            )


async def _to_ask_about(services: Services) -> dict[str, Generation]:
    """By request id: what billing events have not settled, the newest first, then what they settled lately.

    This account's rows only: another one's bill is not told to its key.
    """
    now, is_ours = services.runtime.now(), services.ledger.is_ours
    unsettled = filter(is_ours, await services.ledger.unsettled(by_billing=True))
    recent = [row for row in unsettled if row.created_at > now - BILLING_WINDOW][-BILLING_MOST:]
    lately = list(filter(is_ours, await services.ledger.billed_since(now - CORRECTION_WINDOW)))
    rows = [*recent, *lately[-BILLING_MOST:]]
    return {row.request_id: row for row in rows if row.request_id}


def _sums(events: Iterable[BillingEvent]) -> dict[str, Settled]:
    by_request: dict[str, list[BillingEvent]] = defaultdict(list)
    for event in events:
        by_request[event.request_id].append(event)
    return {request_id: _sum(some) for request_id, some in by_request.items()}


def _sum(events: list[BillingEvent]) -> Settled:
    known = [event.output_units for event in events if event.output_units is not None]
    return Settled(
        units=sum(known, Decimal(0)) if len(known) == len(events) else None,
        usd=sum((event.cost_total for event in events), Decimal(0)),
        source="billing_events",
    )
