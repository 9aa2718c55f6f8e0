"""A lost reply where clocks, listings and services are as they may be: found or parked, and never sent twice."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from generation_parts import planned, submitted
from support import environment, submits

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import GenerationParked, Services, submit_once
from prefect_ltx.ledger import Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import sweep_all
from prefect_ltx.settings import Settings

Make = Callable[..., IngredientRequest]


@pytest.mark.parametrize("skew", [-720, 720, -100_000])
async def test_a_wrong_clock_here_hides_no_request(
    skew: float, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """fal's clock and ours differ by minutes or a day: the request whose reply was lost is found all the same."""
    fal.faults.add("date_skew", value=skew)
    fal.faults.add("lost_reply")
    async with Services.from_settings(Settings()) as services:
        generation = await submitted(services, make_request())
    assert (generation.state, submits(fal), len(fal.bill) <= 1) == (State.SUBMITTED, 1, True)


@pytest.mark.parametrize("fault", ["lost_reply", "reject_reset"])
async def test_without_fals_clock_nothing_is_absent(
    fault: str, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """Where fal's answers have no `Date`, a request is found or parked, and never sent a second time."""
    fal.faults.add("date_missing")
    fal.faults.add(fault)
    async with Services.from_settings(Settings()) as services:
        if fault == "lost_reply":
            assert (await submitted(services, make_request())).state is State.SUBMITTED
        else:
            with pytest.raises(GenerationParked):
                await submitted(services, make_request())
    assert submits(fal) == 1


async def test_a_listing_is_as_old_as_the_moment_before_the_question(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A listing that lags and whose answer takes longer than the lag has not waited the lag out."""
    object.__setattr__(services.options, "listing_lag", 2.0)
    fal.faults.add("lost_reply")
    fal.faults.add("listing_lag_seconds", value=2.0)
    fal.faults.add("slow_answer", value=2.5, route="listing", after=True, times=1)
    generation = await submitted(services, make_request())
    assert (generation.state, generation.attempt, submits(fal)) == (State.SUBMITTED, 1, 1)


async def test_two_coroutines_look_one_after_the_other(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """POST 1 never arrives, POST 2 is accepted and its reply lost: what was listed before POST 2 says nothing about
    it, however many coroutines of one run look."""
    fal.faults.add("reject_reset", times=1)
    owner = Owner.here(announces_posts=True)
    _, plan = await planned(services, make_request(), owner)

    async def lose_the_second() -> None:
        while submits(fal) < 1:
            await asyncio.sleep(0.01)
        fal.faults.add("lost_reply", times=1)

    found, *_ = await asyncio.gather(
        submit_once(services, plan, owner), lose_the_second(), submit_once(services, plan, owner)
    )
    row = await services.ledger.get(found.id)
    assert (row.state, submits(fal)) == (State.SUBMITTED, 2)
    fal.wait_until_idle()
    assert len(fal.bill) <= 1


@pytest.fixture
def gateway(fal: LocalFal) -> Iterator[str]:
    with FaultProxy(int(fal.url.rsplit(":", 1)[1])) as proxy:
        yield proxy.url


@pytest.mark.parametrize("fault", ["lost_reply", "reject_reset"])
async def test_a_custom_url_is_believed_no_more_than_fal(
    fault: str,
    gateway: str,
    fal: LocalFal,
    tmp_path: Path,
    make_request: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a company's gateway a request that is not listed is parked, whatever server is behind it; the sweep
    adopts it once it is listed."""
    for name, value in environment(gateway, tmp_path).items():
        monkeypatch.setenv(name, value)
    fal.faults.add("listing_hides_queued")
    fal.faults.add("stuck_queue")
    fal.faults.add(fault)
    async with Services.from_settings(Settings()) as services:
        object.__setattr__(services.options, "listing_lag", 0.5)
        with pytest.raises(GenerationParked, match="may have been billed"):
            await submitted(services, make_request())
        fal.faults.clear()
        await asyncio.sleep(1)
        await sweep_all(services, Owner.here(announces_posts=True))
        (row,) = await services.ledger.find()
    assert row.state is (State.PARKED if fault == "reject_reset" else row.state)
    assert row.request_id is not None or fault == "reject_reset"
    assert submits(fal) == 1


@pytest.mark.parametrize(
    ("knob", "arguments"),
    [
        ("listing_spelling", {}),
        ("listing_spelling", {"to": "fal-ai/ltx-2.3-quality/INGREDIENT"}),
        ("listing_by_ended_at", {}),
        ("listing_without_payloads", {}),
        ("listing_truncated", {"value": 0}),
        ("listing_repeats_cursor", {}),
        ("odd_answer", {"route": "listing", "field": "items.0.request_id", "times": -1}),
        ("odd_answer", {"route": "listing", "field": "items", "times": -1}),
    ],
)
async def test_what_a_listing_hides_is_never_absent(
    knob: str, arguments: dict[str, object], fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """Our body under another spelling, without payloads, cut off, unreadable, or not listed while it runs: adopted
    where it can be told, else parked; never sent again."""
    fal.faults.add("lost_reply")
    fal.faults.add("stuck_queue", times=-1)
    fal.faults.add(knob, **arguments)
    async with Services.from_settings(Settings()) as services:
        with suppress(GenerationParked):
            await submitted(services, make_request())
        (row,) = await services.ledger.find()
    assert row.state in (State.SUBMITTED, State.PARKED)
    assert submits(fal) == 1


async def test_a_sweep_does_not_wait_for_a_listing_that_lags(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A sweep looks once, says so, and leaves the row for the next one, which goes on from the first look."""
    owner = Owner.here(announces_posts=True)
    _, plan = await planned(services, make_request(), owner)
    claim = await services.ledger.claim(plan, owner)
    now = services.client.clock.now()
    await services.ledger.begin_post(claim.generation.id, owner, since=None if now is None else now.earliest)
    await services.ledger.release(claim.generation.id, owner)
    object.__setattr__(services.options, "listing_lag", 600.0)
    report = await sweep_all(services, Owner.here(announces_posts=True))
    row = await services.ledger.get(claim.generation.id)
    assert (row.state, row.first_look_at is not None) == (State.UNKNOWN, True)
    assert "next sweep looks again" in report.items[0].note
    object.__setattr__(services.options, "listing_lag", 0.0)
    await sweep_all(services, Owner.here(announces_posts=True))
    row = await services.ledger.get(claim.generation.id)
    assert (row.state, row.held_usd, submits(fal)) == (State.RELEASED, 0, 0)
