"""What a request cost is the sum of its billing events, however many there are and whenever they come."""

from decimal import Decimal
from typing import Any

import pytest
from generation_parts import submitted

from prefect_ltx.generation import Services, wait_for
from prefect_ltx.ledger import Generation, Owner
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import SweepReport, sweep_all

DEAR = 0.004


async def made(services: Services, request: Any) -> Generation:
    return await wait_for(services, await submitted(services, request))


async def swept(services: Services, row: Generation) -> tuple[Generation, SweepReport]:
    report = await sweep_all(services, Owner.here(), recipe="none", quality="off")
    return await services.ledger.get(row.id), report


@pytest.mark.parametrize("parts", [2, 3])
async def test_several_events_are_one_bill(
    services: Services, fal: LocalFal, make_request: Any, parts: int
) -> None:
    """Split into equal parts or not, the events add up; the last one does not win."""
    fal.faults.add("split_billing", value=parts)
    row, report = await swept(services, await made(services, make_request()))
    assert row.settled_usd == fal.bill.total_usd == row.price_expected_usd
    assert row.settled_by == "billing_events"
    assert row.units == 1
    assert report.settled == [row.id]
    again, report = await swept(services, row)
    assert (again.settled_usd, report.settled) == (row.settled_usd, [])


async def test_a_late_event_corrects_the_bill(services: Services, fal: LocalFal, make_request: Any) -> None:
    """What the first event said is corrected when the rest arrives, and the difference is reported."""
    fal.faults.add("split_billing", value=2)
    fal.faults.add("split_billing_late", value=600)
    row, report = await swept(services, await made(services, make_request()))
    assert row.settled_usd == fal.bill.total_usd / 2
    assert any(row.id in each for each in report.drift)
    fal.faults.clear()
    fal.faults.add("split_billing", value=2)
    row, report = await swept(services, row)
    assert row.settled_usd == fal.bill.total_usd
    assert report.settled == [row.id]
    assert any("corrected" in each for each in report.notes)
    assert report.drift == []


async def test_a_bill_that_drifts_is_reported(services: Services, fal: LocalFal, make_request: Any) -> None:
    """Billed at another price than quoted: the events' word replaces the units times the quote, and is told."""
    fal.faults.add("billed_unit_price", value=DEAR)
    done = await made(services, make_request())
    row, report = await swept(services, done)
    assert row.settled_usd == fal.bill.total_usd == Decimal(str(DEAR))
    assert any(row.id in each for each in report.drift)


@pytest.mark.parametrize("odd", [-1, "much", None])
async def test_one_unusable_bill_does_not_keep_the_others(
    services: Services, fal: LocalFal, make_request: Any, odd: Any
) -> None:
    """A bill that is below zero or no number settles nothing; the other rows are settled."""
    rows = [await made(services, make_request(seed=seed)) for seed in (7, 8)]
    fal.faults.add("odd_answer", 1, route="billing", field="billing_events.0.cost_total", to=odd)
    _, report = await swept(services, rows[0])
    assert len(report.settled) == 1
    by = [(await services.ledger.get(row.id)).settled_by for row in rows]
    assert sorted(map(str, by)) == ["billable_units", "billing_events"]
