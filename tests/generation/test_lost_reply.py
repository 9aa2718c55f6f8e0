"""The lost-reply matrix: whatever becomes of the answer, one POST, ending adopted or parked."""

from collections.abc import Callable

import pytest
from generation_parts import submitted
from support import SECRET, submits

from prefect_ltx.fal import FalClient, IngredientRequest
from prefect_ltx.generation import GenerationParked, Services
from prefect_ltx.ledger import State
from prefect_ltx.local import LocalFal

Make = Callable[..., IngredientRequest]

ACCEPTED_AND_LOST = ["lost_reply", "accept_then_timeout", "accept_then_502", "accept_then_cut_body"]


@pytest.fixture(autouse=True)
def _impatient(services: Services) -> None:
    # The client's own patience is a setting; a test does not wait a minute for an answer that never comes.
    services.client = FalClient(SECRET, hosts=services.client.hosts, submit_timeout=2.0)


@pytest.mark.parametrize("fault", ACCEPTED_AND_LOST)
async def test_accepted_and_lost_is_adopted(
    fault: str, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """fal has it and the answer is lost: found in the listing, one POST on the wire."""
    fal.faults.add(fault)
    generation = await submitted(services, make_request())
    assert generation.state is State.SUBMITTED
    assert submits(fal) == 1


@pytest.mark.parametrize("fault", [each for each in ACCEPTED_AND_LOST if each != "accept_then_cut_body"])
async def test_accepted_and_lost_is_parked_where_listing_is_forbidden(
    fault: str, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A key that may not list requests parks the generation, and running again does not send it again."""
    fal.faults.add(fault)
    fal.faults.add("listing_forbidden")
    for _ in range(2):
        with pytest.raises(GenerationParked, match="ledger resolve"):
            await submitted(services, make_request())
    assert submits(fal) == 1


async def test_an_id_in_a_cut_body_is_enough(services: Services, fal: LocalFal, make_request: Make) -> None:
    """A cut reply that still names the request is adopted by that id, without the listing."""
    fal.faults.add("accept_then_cut_body")
    fal.faults.add("listing_forbidden")
    assert (await submitted(services, make_request())).state is State.SUBMITTED
    assert submits(fal) == 1


@pytest.mark.parametrize("fault", ACCEPTED_AND_LOST)
async def test_accepted_and_lost_waits_out_the_listing_lag(
    fault: str, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A listing that is behind is no proof of absence: it is waited for, and the request adopted."""
    fal.faults.add(fault)
    fal.faults.add("listing_lag_seconds", value=1.5)
    object.__setattr__(services.options, "listing_lag", 4.0)
    generation = await submitted(services, make_request())
    assert generation.state is State.SUBMITTED
    assert submits(fal) == 1


async def test_parked_is_adopted_once_the_listing_shows_it(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A parked generation goes on by itself when fal's listing shows it later."""
    fal.faults.add("lost_reply")
    fal.faults.add("listing_forbidden")
    with pytest.raises(GenerationParked):
        await submitted(services, make_request())
    fal.faults.clear()
    generation = await submitted(services, make_request())
    assert generation.state is State.SUBMITTED
    assert submits(fal) == 1


@pytest.mark.parametrize("fault", ["reject_reset", "reject_5xx"])
async def test_not_accepted_is_sent_again_once_absence_is_proved(
    fault: str, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """fal never accepted it: proved by the complete listing, then sent as the next attempt; one request at fal."""
    fal.faults.add(fault)
    generation = await submitted(services, make_request())
    assert (generation.state, generation.attempt) == (State.SUBMITTED, 2)
    assert submits(fal) == 2


@pytest.mark.parametrize("fault", ["reject_reset", "reject_5xx"])
async def test_not_accepted_is_parked_where_absence_proves_nothing(
    fault: str, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """Where the listing may hide queued requests, as fal's might, nothing is sent again."""
    object.__setattr__(services.options, "absence_is_proof", False)
    fal.faults.add(fault)
    with pytest.raises(GenerationParked):
        await submitted(services, make_request())
    assert submits(fal) == 1
