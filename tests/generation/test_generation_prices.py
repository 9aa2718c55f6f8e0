"""What a megapixel costs is fal's word, now or the last time; a guess holds no budget and settles nothing."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from generation_parts import submitted
from support import submits

from prefect_ltx.fal import UNIT_PRICE_USD
from prefect_ltx.generation import Services, plan_request, wait_for
from prefect_ltx.ledger import PriceUnknown, SpendingStopped, State
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

DEAR = Decimal("0.01")


@pytest.fixture
async def with_budget(ltx_env: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Services]:
    monkeypatch.setenv("PREFECT_LTX_BUDGET_USD", "1")
    async with Services.from_settings(Settings()) as services:
        yield services


def prices_down(fal: LocalFal) -> None:
    fal.faults.add("platform_5xx", times=1000, value=500, path="models/pricing")


async def test_the_last_quote_stands_in_for_a_pricing_api_that_is_down(
    ltx_env: Path, fal: LocalFal, make_request: Any
) -> None:
    """A dearer account stays dear while the pricing API is down, in a new process too, and the plan says since when."""
    fal.faults.add("unit_price", value=float(DEAR))
    async with Services.from_settings(Settings()) as services:
        assert (await plan_request(services, make_request())).price_from == "quoted"
    prices_down(fal)
    async with Services.from_settings(Settings()) as services:
        report = await plan_request(services, make_request())
    assert (report.unit_price_usd, report.price_from) == (DEAR, "remembered")
    assert report.price_upper_usd == report.most_megapixels * DEAR
    assert any("fal quoted on" in each for each in report.warnings)


async def test_a_budget_without_any_quote_sends_nothing(
    with_budget: Services, fal: LocalFal, make_request: Any
) -> None:
    """Nobody has ever said the price: with a budget the run stops before any POST and names the remedy."""
    prices_down(fal)
    report = await plan_request(with_budget, make_request())
    assert report.price_from == "page"
    assert any("guess" in each for each in report.warnings)
    with pytest.raises(PriceUnknown, match="PREFECT_LTX_UNIT_PRICE_USD"):
        await submitted(with_budget, make_request())
    assert submits(fal) == 0
    assert await with_budget.ledger.find() == []


@pytest.mark.parametrize(("field", "value"), [("unit", "seconds"), ("currency", "EUR"), ("unit_price", 0)])
async def test_a_price_in_another_unit_is_no_price(
    ltx_env: Path, fal: LocalFal, make_request: Any, monkeypatch: pytest.MonkeyPatch, field: str, value: Any
) -> None:
    """Cents, seconds, euros or nothing at all are not dollars per megapixel: neither multiplied nor remembered."""
    fal.faults.add("odd_answer", times=1000, route="prices", field=f"prices.*.{field}", to=value)
    monkeypatch.setenv("PREFECT_LTX_BUDGET_USD", "1")
    async with Services.from_settings(Settings()) as services:
        with pytest.raises(PriceUnknown):
            await submitted(services, make_request())
    assert submits(fal) == 0


async def test_a_stated_price_holds_a_budget(
    ltx_env: Path, fal: LocalFal, make_request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person reads on the account's page is reserved by; what fal bills settles it."""
    prices_down(fal)
    monkeypatch.setenv("PREFECT_LTX_BUDGET_USD", "1")
    monkeypatch.setenv("PREFECT_LTX_UNIT_PRICE_USD", str(DEAR))
    async with Services.from_settings(Settings()) as services:
        row = await submitted(services, make_request())
        assert row.price_upper_usd == row.asked["price"]["most_megapixels"] * DEAR
        done = await wait_for(services, row)
    assert done.settled_usd is None
    assert done.held_usd == row.price_upper_usd


async def test_a_guessed_price_settles_nothing(services: Services, fal: LocalFal, make_request: Any) -> None:
    """Without a budget the page's price is used, marked as a guess; fal's units times it is no bill."""
    fal.faults.add("unit_price", value=float(DEAR))
    prices_down(fal)
    row = await submitted(services, make_request())
    assert row.asked["price"] == {
        "megapixels": 1,
        "most_megapixels": 1,
        "unit_price_usd": str(UNIT_PRICE_USD),
        "from": "page",
    }
    done = await wait_for(services, row)
    assert (done.state, done.settled_by, done.settled_usd) == (State.COMPLETED, None, None)
    assert done.units == 1


async def test_units_that_are_no_megapixels_are_not_multiplied(
    services: Services, fal: LocalFal, make_request: Any
) -> None:
    """Units far below what was asked for are dollars or tokens of another kind of model."""
    fal.faults.add("absurd_bill", value=0.0024)
    done = await wait_for(services, await submitted(services, make_request()))
    assert done.settled_usd is None


async def test_absurd_units_stop_spending_and_are_no_bill(
    services: Services, fal: LocalFal, make_request: Any
) -> None:
    """Far more units than the request can have made: not recorded as billed, and nothing more is bought."""
    fal.faults.add("absurd_bill", value=1000)
    first = await wait_for(services, await submitted(services, make_request()))
    assert first.settled_usd is None
    with pytest.raises(SpendingStopped, match=first.id):
        await submitted(services, make_request(seed=8))
    assert submits(fal) == 1
    # What is bought already goes on.
    assert (await submitted(services, make_request())).id == first.id
