"""A gateway in front of fal that answers in its place: no verdict about a generation, whatever the status code."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from generation_parts import submitted
from support import submits

from prefect_ltx.fal import FalError, IngredientRequest
from prefect_ltx.generation import GenerationParked, Services, cancel, collect, wait_for
from prefect_ltx.ledger import Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import ask_in_flight, sweep_all

Make = Callable[..., IngredientRequest]

PAGES = [
    (404, "html"),
    (422, "html"),
    (499, "html"),
    (410, "empty"),
    (200, "html"),
    (404, "json"),
    (401, "html"),
]


@pytest.mark.parametrize(("status", "reply"), PAGES)
@pytest.mark.parametrize("route", ["status", "result", "files"])
async def test_a_page_in_place_of_fals_answer_ends_nothing(
    route: str, status: int, reply: str, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """Two answers of a gateway's on the way, and the video is collected all the same, for one charge."""
    generation = await submitted(services, make_request())
    fal.faults.add("edge_error", value=status, route=route, reply=reply, times=2)
    generation = await wait_for(services, generation)
    with suppress(FalError):  # said, and nothing is given up
        await collect(services, generation)
    await collect(services, await services.ledger.get(generation.id))
    row = await services.ledger.get(generation.id)
    assert (row.state, row.gone_at, len(fal.bill), submits(fal)) == (State.COLLECTED, None, 1, 1)


@pytest.mark.parametrize("status", [404, 422, 499])
async def test_a_sweep_and_a_poll_through_a_gateway_close_nothing(
    status: int, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """While a gateway answers everything, sweeps and polls leave the row as it is and name it; then it is archived."""
    generation = await submitted(services, make_request())
    for route in ("status", "result", "listing"):
        fal.faults.add("edge_error", value=status, route=route, times=-1)
    report = await sweep_all(services, Owner.here(announces_posts=True))
    polled = await ask_in_flight(services)
    row = await services.ledger.get(generation.id)
    assert (row.state, polled.in_flight, report.succeeded) == (State.SUBMITTED, 1, False)
    assert report.items[0].note
    fal.faults.clear()
    await wait_for(services, row)
    await sweep_all(services, Owner.here(announces_posts=True))
    assert (await services.ledger.get(generation.id)).state is State.ARCHIVED
    assert len(fal.bill) == 1


async def test_a_cancel_that_a_gateway_answers_is_asked_again(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """An HTML 404 to a cancel is no word of fal's: the wish stays recorded, and the sweep asks again."""
    fal.faults.add("stuck_queue")
    generation = await submitted(services, make_request())
    fal.faults.add("edge_error", value=404, route="cancel", times=1)
    with pytest.raises(FalError):
        await cancel(services, generation.id, Owner.here(), by="test")
    assert (await services.ledger.get(generation.id)).cancel == "wanted"
    await sweep_all(services, Owner.here(announces_posts=True))
    row = await services.ledger.get(generation.id)
    assert (row.state, len(fal.bill)) == (State.CANCELLED, 0)


@pytest.mark.parametrize(("status", "reply"), [(200, "html"), (403, "html"), (404, "html"), (200, "json")])
async def test_a_gateway_in_place_of_the_listing_is_never_absence(
    status: int, reply: str, services: Services, fal: LocalFal, make_request: Make, ltx_env: Path
) -> None:
    """The reply is lost and the listing answered by a gateway: parked with who answered, and adopted once fal lists."""
    fal.faults.add("lost_reply")
    fal.faults.add("edge_error", value=status, route="listing", reply=reply, times=-1)
    with pytest.raises(GenerationParked, match="may have been billed"):
        await submitted(services, make_request())
    fal.faults.clear()
    generation = await submitted(services, make_request())
    assert (generation.state, submits(fal)) == (State.SUBMITTED, 1)


@pytest.mark.parametrize("route", ["status", "result"])
async def test_too_many_questions_are_sat_out(
    route: str, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """fal's own 429 to a question outlasts the client's tries: the wait goes on, and the job is what it was."""
    generation = await submitted(services, make_request())
    fal.faults.add("edge_error", value=429, route=route, reply="fal", times=5)
    assert (await wait_for(services, generation)).state is State.COMPLETED
