"""Leases belong to the process: any number of event loops, blocks in any order, and settings that hold together."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from generation_parts import planned, rewrite_row, submitted
from support import environment, submits

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Services, hold, prepare, submit_once, wait_for
from prefect_ltx.generation.collect import CollectedVideo
from prefect_ltx.generation.lease import keep, only_looker
from prefect_ltx.generation.life import Order, finish, generate
from prefect_ltx.generation.process import Leases
from prefect_ltx.generation.steps import Steps, plain_steps
from prefect_ltx.generation.store import ArchivedGeneration
from prefect_ltx.ledger import Generation, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings, SettingsError

Make = Callable[..., IngredientRequest]


def in_loop_of_its_own(work: Callable[[], object]) -> threading.Thread:
    """Run the coroutine function in another thread with another event loop, as Prefect's `.submit` does."""
    thread = threading.Thread(target=lambda: asyncio.run(work()))  # type: ignore[arg-type]
    thread.start()
    return thread


async def test_two_event_loops_hold_one_row(services: Services, make_request: Make) -> None:
    """Two loops of one process hold one row; the lease stays until the last of them is done."""
    owner = Owner.here(announces_posts=True)
    generation = await submitted(services, make_request(), owner)
    inside, leave, errors = threading.Event(), threading.Event(), []

    async def elsewhere() -> None:
        try:
            async with hold(services, generation.id, owner):
                inside.set()
                await asyncio.to_thread(leave.wait, 10)
        except BaseException as error:
            errors.append(error)

    thread = in_loop_of_its_own(elsewhere)
    await asyncio.to_thread(inside.wait, 10)
    async with hold(services, generation.id, owner):
        leave.set()
        await asyncio.to_thread(thread.join, 10)
        assert (await services.ledger.get(generation.id)).owner == owner.token
    assert (await services.ledger.get(generation.id)).owner is None
    assert errors == []


async def test_the_first_loop_may_end_while_the_other_works(services: Services, make_request: Make) -> None:
    """A loop that opened a lease and is closed takes no renewal with it."""
    services.ledger.ledger.lease_seconds = 3.0
    owner = Owner.here(announces_posts=True)
    generation = await submitted(services, make_request(), owner)
    opened, go_on = threading.Event(), threading.Event()

    async def first() -> None:
        async with hold(services, generation.id, owner):
            opened.set()
            await asyncio.to_thread(go_on.wait, 10)

    thread = in_loop_of_its_own(first)
    await asyncio.to_thread(opened.wait, 10)
    async with hold(services, generation.id, owner):
        go_on.set()
        await asyncio.to_thread(thread.join, 10)
        await asyncio.sleep(4)
        other = await services.ledger.take(generation.id, Owner.here())
        assert other.outcome == "busy"


async def test_a_blocked_event_loop_loses_no_lease(services: Services, make_request: Make) -> None:
    """A loop that stands still for longer than a lease keeps it: the renewing thread does not depend on it."""
    services.ledger.ledger.lease_seconds = 3.0
    owner = Owner.here(announces_posts=True)
    generation = await submitted(services, make_request(), owner)
    async with hold(services, generation.id, owner):
        time.sleep(4)
        assert (await services.ledger.take(generation.id, Owner.here())).outcome == "busy"


async def test_submits_from_many_loops_are_one_post(
    services: Services, ltx_env: Path, fal: LocalFal, make_request: Make
) -> None:
    """One request submitted by one owner from six event loops at once is one POST, and no loop sees an error."""
    owner = Owner.here(announces_posts=True)
    _, plan = await planned(services, make_request(), owner)
    ids, errors = set(), []

    async def submit() -> None:
        try:
            async with Services.from_settings(Settings()) as own:
                generation = await submit_once(own, plan, owner)
                ids.add((await wait_for(own, generation)).request_id)
        except BaseException as error:
            errors.append(error)

    threads = [in_loop_of_its_own(submit) for _ in range(6)]
    for thread in threads:
        await asyncio.to_thread(thread.join, 60)
    assert errors == []
    assert len(ids) == 1
    assert submits(fal) == 1


async def test_blocks_that_end_and_begin_at_once_never_lose_the_lease(
    services: Services, make_request: Make
) -> None:
    """However the blocks of one owner end and begin beside each other, whoever is inside one has the lease."""
    owner = Owner.here(announces_posts=True)
    generation = await submitted(services, make_request(), owner)

    async def in_and_out() -> None:
        for _ in range(15):
            async with hold(services, generation.id, owner):
                await asyncio.sleep(0)
                row = await services.ledger.get(generation.id)
                assert row.owner == owner.token

    await asyncio.gather(*(in_and_out() for _ in range(4)))
    assert (await services.ledger.get(generation.id)).owner is None


async def test_one_looker_for_each_row_in_a_process(services: Services) -> None:
    """While one looks for a row's request, the next waits, in whatever loop; other rows do not."""
    inside = 0

    async def look(row: str) -> None:
        nonlocal inside
        async with only_looker(services, row):
            inside += row == "a"
            assert inside <= 1
            await asyncio.sleep(0.05)
            inside -= row == "a"

    threads = [in_loop_of_its_own(lambda: look("a")) for _ in range(3)]
    await asyncio.gather(look("a"), look("b"), look("a"))
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)


async def test_tasks_of_one_run_that_want_the_same_video_collect_it_once(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """Equal items of a run, and two that only collect: one fetches and archives, the others get what it archived."""
    fal.faults.add("slow_run", value=1)
    owner = Owner.here(announces_posts=True)
    plain, collected = plain_steps(services), []

    async def collect(generation: Generation) -> CollectedVideo:
        collected.append(generation.id)
        video = await plain.collect(generation)
        await asyncio.sleep(0)  # here the others would begin
        return video

    steps, order = replace(plain, collect=collect), Order(owner, recipe="none")

    async def late(generation: Generation) -> Generation:
        """The wait of a task that hears of the video when another one has archived it already."""
        generation = await plain.wait(generation)
        while (await services.ledger.get(generation.id)).state is not State.ARCHIVED:
            await asyncio.sleep(0.02)
        return generation

    async def made(seed: int, steps: Steps = steps) -> ArchivedGeneration:
        return await generate(steps, await prepare(services, make_request(seed=seed), owner=owner), order)

    async def finished(generation: Generation) -> ArchivedGeneration:
        async with hold(services, generation.id, owner) as row:
            return await finish(steps, row, order)

    row = await submitted(services, make_request(seed=2), owner)
    found = await asyncio.gather(
        made(1), made(1), made(1, replace(steps, wait=late)), *(finished(row) for _ in range(3))
    )
    assert len({each.video for each in found[:3]}) == len({each.video for each in found[3:]}) == 1
    assert sorted(collected) == sorted({found[0].generation_id, row.id})
    assert submits(fal) == len(fal.bill) == 2


async def test_a_cancelled_block_gives_its_lease_back(services: Services, make_request: Make) -> None:
    """A cancel inside a block ends it like anything else: nobody renews a lease for nobody."""
    owner = Owner.here(announces_posts=True)
    generation = await submitted(services, make_request(), owner)

    async def working() -> None:
        await services.ledger.take(generation.id, owner)
        async with keep(services, generation.id, owner):
            await asyncio.sleep(60)

    task = asyncio.ensure_future(working())
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.wait({task})
    row = await services.ledger.get(generation.id)
    assert (row.owner, row.state) == (None, State.SUBMITTED)


@pytest.mark.parametrize("seconds", ["2", "59"])
def test_a_lease_that_a_submit_can_outlast_is_refused(
    seconds: str, fal: LocalFal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that cannot hold together stop before anything is opened or sent, and name the variable."""
    for name, value in environment(fal.url, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_LTX_LEASE_SECONDS", seconds)
    with pytest.raises(SettingsError, match="PREFECT_LTX_LEASE_SECONDS"):
        Services.from_settings(Settings())
    assert not (tmp_path / "ledger.db").exists()
    assert submits(fal) == 0


async def test_only_a_lease_that_another_has_is_warned_about(
    services: Services, make_request: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that its own run has closed needs no renewal, and nobody is told that another has it."""
    at = 0.0
    leases = Leases(clock=lambda: at, wake=lambda: None)
    ledger, owner = services.ledger.ledger, Owner.here(announces_posts=True)
    generation = await submitted(services, make_request(), owner)
    leases.enter((ledger.id, generation.id, owner), ledger)
    generation = await wait_for(services, generation)
    change = {"state": "ARCHIVED", "owner": None, "lease_until": None}
    for values, warned in ((change, False), ({"owner": "another:1:2", "lease_until": 4e9}, True)):
        rewrite_row(Path(services.settings.ledger_url.removeprefix("sqlite:///")), generation.id, **values)
        at += ledger.lease_seconds * 2
        leases.renew_due()
        assert ("another owner's" in caplog.text) is warned
