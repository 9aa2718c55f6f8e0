"""While somebody waits for a slot at fal, the end of each job is known at once, at the cost of one open connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from prefect_ltx.batch import BatchReport, BatchRun, plan_rows, read_batch
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Run, Services, poller
from prefect_ltx.local import LocalFal

Make = Callable[..., IngredientRequest]

ROWS, SLOTS = 6, 2
LARGE = {"resolution": {"width": 1280, "height": 704}, "num_frames": 121}
"""The price suggests a minute; the jobs below take a second."""


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    """A fal that copies one clip after a second, whatever is asked."""
    renderer = "prefect_ltx.local.stored_clip:StoredClipRenderer"
    with LocalFal(renderer=renderer, render_seconds=1.0, concurrency=SLOTS) as server:
        yield server


@pytest.fixture
async def run(services: Services) -> AsyncIterator[Run]:
    found = Run.begin(services, at_fal=SLOTS)
    yield found
    await found.aclose()


async def made(run: Run, make_request: Make) -> BatchReport:
    requests = [make_request(seed=seed, **LARGE) for seed in range(ROWS)]
    rows = await plan_rows(run, read_batch(requests), flow_run_id=None)
    batch = BatchRun(run, "batch", rows, at_fal=SLOTS, recipe="none")
    async with asyncio.timeout(120):
        await asyncio.gather(*(batch.do(each) for each in rows))
    return batch.report()


def asked(fal: LocalFal, end: str) -> int:
    return sum(path.endswith(end) for _, path, _ in fal.log)


async def test_a_stream_tells_the_end_and_nobody_asks(run: Run, fal: LocalFal, make_request: Make) -> None:
    """One stream for each job, and no question about its status, however wrong the expectation was."""
    assert (await made(run, make_request)).counts == {"archived": ROWS}
    assert (asked(fal, "/status/stream"), asked(fal, "/status")) == (ROWS, 0)


@pytest.mark.parametrize("reply", ["html", "json", "cut", "reset"])
async def test_without_streams_it_is_asked(run: Run, fal: LocalFal, make_request: Make, reply: str) -> None:
    """Where something between lets no stream through, that is found out once, and each job is asked about soon."""
    fal.faults.add("edge_error", path="/status/stream", route="status", reply=reply, times=-1)
    assert (await made(run, make_request)).counts == {"archived": ROWS}
    assert asked(fal, "/status/stream") <= poller.CUTS_TO_GIVE_UP + SLOTS
    assert ROWS <= asked(fal, "/status") <= 30 * ROWS
    assert len(fal.bill) == ROWS


async def test_a_stream_that_breaks_loses_nothing(run: Run, fal: LocalFal, make_request: Make) -> None:
    """One that is cut is followed by a question, and the job's end is found."""
    fal.faults.add("edge_error", path="/status/stream", route="status", reply="cut", times=2)
    assert (await made(run, make_request)).counts == {"archived": ROWS}
    assert len(fal.bill) == ROWS


async def test_many_without_a_slot_at_stake_are_asked_rarely(
    run: Run, fal: LocalFal, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a slot, and there are more than are followed for their own sake: no connection is kept."""
    monkeypatch.setattr(poller, "FOLLOWED_AT_ONCE", 0)
    many = Run.begin(run.services, at_fal=ROWS)
    try:
        requests = [make_request(seed=seed) for seed in range(ROWS)]
        rows = await plan_rows(many, read_batch(requests), flow_run_id=None)
        batch = BatchRun(many, "batch", rows, at_fal=ROWS, recipe="none")
        await asyncio.gather(*(batch.do(each) for each in rows))
    finally:
        await many.aclose()
    assert batch.report().counts == {"archived": ROWS}
    assert asked(fal, "/status/stream") == 0
