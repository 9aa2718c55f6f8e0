"""What fal calls gone is believed after its second word, minutes apart, and asked about again even then."""

from collections.abc import Callable
from pathlib import Path

import pytest
from generation_parts import rewrite_row, submitted
from support import submits

from prefect_ltx.fal import FalDownloadError, IngredientRequest
from prefect_ltx.generation import PaidVideoLost, Services, collect, wait_for
from prefect_ltx.ledger import Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import ask_in_flight, sweep_all

Make = Callable[..., IngredientRequest]


@pytest.mark.parametrize("route", ["status", "result"])
async def test_one_word_of_fals_loses_nothing(
    route: str, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """fal itself says once that it has no such request, on one route: the wait asks again, and has the video."""
    generation = await submitted(services, make_request())
    fal.faults.add("listing_forbidden")
    fal.faults.add("false_404", route=route, times=1)
    generation = await wait_for(services, generation)
    assert (generation.state, submits(fal)) == (State.COMPLETED, 1)


async def test_two_sweeps_at_once_are_one_word(services: Services, fal: LocalFal, make_request: Make) -> None:
    """Two questions in one minute are one word: the row is not lost, and the report says what fal said."""
    generation = await submitted(services, make_request())
    object.__setattr__(services.options, "gone_apart", 180.0)
    fal.faults.add("result_purged", times=-1)
    fal.wait_until_idle()
    for _ in range(2):
        report = await sweep_all(services, Owner.here(announces_posts=True))
    row = await services.ledger.get(generation.id)
    assert row.state is State.SUBMITTED
    assert "believed once fal says so again" in report.items[0].note


@pytest.mark.parametrize("by", ["sweep", "poll", "run"])
async def test_a_lost_row_is_found_again(
    by: str, services: Services, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """What was called lost and is there again is collected by a sweep, a poll or a run of the same request."""
    generation = await submitted(services, make_request())
    await wait_for(services, generation)
    rewrite_row(ltx_env / "ledger.db", generation.id, state="LOST", video_url=None)
    match by:
        case "sweep":
            await sweep_all(services, Owner.here(announces_posts=True))
        case "poll":
            await ask_in_flight(services)
        case _:
            assert (await submitted(services, make_request())).id == generation.id
    row = await services.ledger.get(generation.id)
    assert row.state in (State.COMPLETED, State.ARCHIVED)
    assert (submits(fal), len(fal.bill)) == (1, 1)


async def test_a_lost_row_is_asked_about_before_a_run_says_so(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A run of a lost request asks fal first; where fal still has nothing it says so, and buys nothing."""
    generation = await submitted(services, make_request())
    fal.faults.add("result_purged", times=-1)
    with pytest.raises(PaidVideoLost, match="more than once"):
        await wait_for(services, generation)
    asked = len(fal.log)
    with pytest.raises(PaidVideoLost):
        await submitted(services, make_request())
    assert any(generation.request_id in path for _, path, _ in fal.log[asked:])
    assert submits(fal) == 1


async def test_a_file_that_is_missing_once_is_fetched(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A 404 of the file alone leads to asking the result again, and to another try."""
    generation = await wait_for(services, await submitted(services, make_request()))
    fal.faults.add("edge_error", value=404, route="files", reply="empty", times=1)
    with_file = await collect(services, generation)
    assert with_file.delivered["num_frames"] == 9


async def test_a_file_that_a_gateway_hides_is_never_lost(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A gateway's 404 in place of the file, again and again, while the result still names it: not lost, and why."""
    generation = await wait_for(services, await submitted(services, make_request()))
    fal.faults.add("edge_error", value=404, route="files", reply="html", times=-1)
    for _ in range(2):
        with pytest.raises(FalDownloadError, match="still names that file"):
            await collect(services, await services.ledger.get(generation.id))
    fal.faults.clear()
    await collect(services, await services.ledger.get(generation.id))
    assert (await services.ledger.get(generation.id)).state is State.COLLECTED


async def test_fals_word_at_an_unknown_time_proves_nothing(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """Without a `Date` nobody knows how far apart two words are: nothing is lost, and nothing is bought again."""
    generation = await submitted(services, make_request())
    fal.faults.add("result_purged", times=-1)
    fal.faults.add("date_missing")
    fal.wait_until_idle()
    for _ in range(3):
        await sweep_all(services, Owner.here(announces_posts=True))
    assert (await services.ledger.get(generation.id)).state is State.SUBMITTED


async def test_an_end_that_fal_fails_to_say_is_shown_and_settled_from_the_listing(
    services: Services, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """A result route that answers 500 without a body, for hours, for a run that failed: never lost, shown as what fal
    fails to say, and closed by what fal's own listing says of it."""
    fal.faults.add("job_fails")
    fal.faults.add("result_500_bare", times=-1)
    generation = await submitted(services, make_request())
    fal.wait_until_idle()
    report = await sweep_all(services, Owner.here(announces_posts=True))
    assert "fails to say" in report.items[0].note
    for _ in range(3):
        await sweep_all(services, Owner.here(announces_posts=True))
    row = await services.ledger.get(generation.id)
    assert row.state is State.FAILED
    assert "listing" in (row.reason or "")
    assert (submits(fal), len(fal.bill)) == (1, 0)


async def test_a_video_whose_result_route_fails_is_taken_from_the_listing(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """The result route never answers for a finished video: the listing's payload names it."""
    fal.faults.add("result_500_bare", times=-1)
    generation = await submitted(services, make_request())
    fal.wait_until_idle()
    await sweep_all(services, Owner.here(announces_posts=True))
    assert (await services.ledger.get(generation.id)).state is State.ARCHIVED
