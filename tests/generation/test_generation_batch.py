"""Many generations at once without Prefect: shared parts, bounded numbers, every row with its own end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from generation_parts import submitted
from support import submits

from prefect_ltx.archive import Archive
from prefect_ltx.batch import BatchInvalid, BatchReport, BatchRun, plan_rows, read_batch, summary
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Run, Services, wait_for
from prefect_ltx.generation.poller import Pace
from prefect_ltx.generation.steps import Slots
from prefect_ltx.ledger import State
from prefect_ltx.local import LocalFal

Make = Callable[..., IngredientRequest]


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    """A fal that copies one clip, whatever is asked."""
    with LocalFal(renderer="prefect_ltx.local.stored_clip:StoredClipRenderer") as server:
        yield server


@pytest.fixture
async def run(services: Services) -> AsyncIterator[Run]:
    found = Run.begin(services, at_fal=4)
    yield found
    await found.aclose()


async def made(run: Run, requests: list[IngredientRequest], **how: Any) -> BatchReport:
    """Plan and carry out a batch of these requests."""
    fresh = how.pop("fresh", False)
    scope = how.setdefault("flow_run_id", None)
    rows = await plan_rows(run, read_batch(requests), flow_run_id=scope, fresh=fresh)
    batch = BatchRun(run, "batch", rows, at_fal=4, recipe="none", **how)
    await asyncio.gather(*(batch.do(each) for each in rows))
    return batch.report()


async def test_twenty_rows_share_one_upload_and_few_questions(
    run: Run, fal: LocalFal, make_request: Make
) -> None:
    """One upload for all, one submit a row, at most 8 requests a generation; every row archived and verified."""
    fal.faults.add("concurrency", value=4)
    report = await made(run, [make_request(seed=seed) for seed in range(20)])
    assert report.counts == {"archived": 20}
    assert (submits(fal), len(fal.bill)) == (20, 20)
    uploads = [path for method, path, _ in fal.log if method in ("POST", "PUT") and "/files" in path]
    assert len(uploads) == 1
    assert len(fal.log) <= 8 * 20
    assert report.spent_usd == fal.bill.total_usd
    verified = await run.services.archive.verify()
    assert verified.ok


async def test_no_more_at_fal_than_the_account_runs(run: Run, fal: LocalFal, make_request: Make) -> None:
    """At no moment are more requests unfinished at fal than the batch was told."""
    fal.faults.add("concurrency", value=40)
    fal.faults.add("slow_run", times=12, value=0.3)
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            rows = await run.services.ledger.find(states=[State.SUBMITTED, State.INTENDED])
            most = max(most, len(rows))
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    report = await made(run, [make_request(seed=seed) for seed in range(12)])
    looking.cancel()
    assert report.ok
    assert 2 <= most <= 4


async def test_rows_begin_in_their_order(run: Run, fal: LocalFal, make_request: Make) -> None:
    """First come, first served: what stands first in the file is bought first."""
    run.slots = Slots(1)
    await made(run, [make_request(seed=seed) for seed in range(8)])
    assert [charge.seed for charge in fal.bill.charges] == list(range(8))


async def test_duplicates_are_one_generation(run: Run, fal: LocalFal, make_request: Make) -> None:
    """Rows that ask for the very same thing share one video, also when its content comes under another name."""
    same = make_request(seed=3)
    source = Path(same.image_url)
    copy = run.services.options.work_dir.parent / "copy.png"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(source.read_bytes())
    report = await made(run, [same, make_request(seed=4), same, make_request(seed=3, image_url=str(copy))])
    assert [row.same_as for row in report.rows] == [None, None, 1, 1]
    assert report.ok
    assert len({row.folder for row in report.rows}) == len(fal.bill) == submits(fal) == 2
    assert report.spent_usd == fal.bill.total_usd


async def test_a_row_that_fails_stops_no_other(run: Run, fal: LocalFal, make_request: Make) -> None:
    """Each row ends with a status and a reason; running again does only what is missing."""
    fal.faults.add("job_422")
    requests = [make_request(seed=seed) for seed in range(5)]
    first = await made(run, requests)
    assert first.counts == {"failed": 1, "archived": 4}
    (failed,) = [row for row in first.rows if not row.ok]
    assert "422" in failed.reason
    assert failed.request_id
    again = await made(run, requests)
    assert again.counts == {"archived": 1, "reused": 4}
    assert (submits(fal), len(fal.bill)) == (6, 5)


async def test_too_many_at_once_is_waited_out(run: Run, fal: LocalFal, make_request: Make) -> None:
    """A 429 at the submit proves that nothing runs: the row comes again a little later, and is charged once."""
    fal.faults.add("reject_429", times=2)
    report = await made(run, [make_request(seed=seed) for seed in range(3)])
    assert report.ok
    assert (submits(fal), len(fal.bill)) == (5, 3)


async def test_a_locked_account_stops_what_has_not_begun(run: Run, fal: LocalFal, make_request: Make) -> None:
    """What would refuse every row is asked a few times and not a hundred; the rest says why it did not begin."""
    run.slots = Slots(1)
    fal.faults.add("account_locked", path="ltx-2.3-quality")
    report = await made(run, [make_request(seed=seed) for seed in range(60)])
    assert report.counts["failed"] + report.counts["not_started"] == 60
    assert report.counts["not_started"] >= 30
    assert all("locked" in row.reason for row in report.rows)
    assert len(fal.bill) == 0


async def test_rows_without_a_seed_are_different_videos(run: Run, fal: LocalFal, make_request: Make) -> None:
    """Two equal rows without a seed are two videos; the same run and place draw the same seeds."""
    two = [make_request(seed=None), make_request(seed=None)]
    report = await made(run, two, flow_run_id="run-1")
    seeds = [row.seed for row in report.rows]
    assert len(set(seeds)) == len(fal.bill) == 2
    retried = await made(run, two, flow_run_id="run-1")
    assert [row.seed for row in retried.rows] == seeds
    assert retried.counts == {"reused": 2}


async def test_rows_without_a_seed_are_made_once_a_batch(run: Run, fal: LocalFal, make_request: Make) -> None:
    """Another run of the same batch has what the first one made; a longer batch makes only the rest."""
    await made(run, [make_request(seed=None)], flow_run_id="run-1")
    again = await made(run, [make_request(seed=None)], flow_run_id="run-2")
    assert again.counts == {"reused": 1}
    longer = await made(run, [make_request(seed=None)] * 2, flow_run_id="run-3")
    assert longer.counts == {"reused": 1, "archived": 1}
    fresh = await made(run, [make_request(seed=None)] * 2, flow_run_id="run-4", fresh=True)
    assert fresh.counts == {"archived": 2}
    assert len(fal.bill) == 4


@pytest.mark.parametrize("same", [False, True])
async def test_two_runs_of_one_batch_at_once_are_one_purchase(
    run: Run, fal: LocalFal, make_request: Make, same: bool
) -> None:
    """Seeds come from the batch's name and the row: started twice at the same time, three rows are three POSTs."""
    requests = [
        make_request(seed=None, prompt="A cup." if same else f"A cup {number}.") for number in range(3)
    ]
    reports = await asyncio.gather(*(made(run, requests, flow_run_id=f"run-{number}") for number in range(2)))
    assert all(report.ok for report in reports)
    assert [row.folder for row in reports[0].rows] == [row.folder for row in reports[1].rows]
    assert (submits(fal), len(fal.bill)) == (3, 3)


async def test_two_fresh_runs_at_once_share_nothing(run: Run, fal: LocalFal, make_request: Make) -> None:
    """Who asks for new videos gets videos that nobody else has, also beside a run that makes its own."""
    fal.faults.add("slow_run", times=4, value=0.3)
    requests = [make_request(seed=None)] * 2
    first = asyncio.create_task(made(run, requests, flow_run_id="run-1", fresh=True))
    while submits(fal) < 2:
        await asyncio.sleep(0.02)
    second = await made(run, requests, flow_run_id="run-2", fresh=True)
    folders = {row.folder for report in (await first, second) for row in report.rows}
    assert (len(folders), submits(fal), len(fal.bill)) == (4, 4, 4)


async def test_plan_counts_what_would_be_sent(run: Run, fal: LocalFal, make_request: Make) -> None:
    """The plan's sums are over new rows only; hits and duplicates cost nothing, and planning sends nothing."""
    await made(run, [make_request(seed=1)])
    before = submits(fal)
    batch = read_batch([make_request(seed=seed) for seed in (1, 2, 2, 3)])
    plan = await summary(run.services, "batch", await plan_rows(run, batch))
    assert (plan.requests, plan.to_send, plan.hits, plan.duplicates) == (4, 2, 1, 1)
    assert (plan.num_frames, plan.megapixels) == (18, 2)
    assert submits(fal) == before


async def test_unusable_inputs_are_all_reported_before_money(
    run: Run, fal: LocalFal, make_request: Make, tmp_path: Path, media_folder: Path
) -> None:
    """Files that are no images are found when they are read, each with its row and field."""
    (tmp_path / "not.png").write_bytes(b"no picture")
    bad = make_request(image_url=str(tmp_path / "not.png"))
    clip = make_request(image_url=str(media_folder / "clip.mp4"))
    with pytest.raises(BatchInvalid) as found:
        await made(run, [make_request(), bad, clip])
    assert [(each.where, each.column) for each in found.value.problems] == [
        ("row 2", "image_url"),
        ("row 3", "image_url"),
    ]
    assert submits(fal) == 0


async def test_poller_sees_how_each_request_ends(run: Run, fal: LocalFal, make_request: Make) -> None:
    """A poller's waits end as `wait_for` does, and one that is cancelled leaves the others alone."""
    fal.faults.add("stuck_queue")
    stuck = await submitted(run.services, make_request(seed=1))
    good = await submitted(run.services, make_request(seed=2))
    waiting = asyncio.create_task(run.poller.wait(stuck))
    assert (await run.poller.wait(good)).state is State.COMPLETED
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    fal.faults.clear()
    assert (await wait_for(run.services, stuck)).state is State.COMPLETED


def test_pace_asks_late_and_seldom() -> None:
    """A request that takes as long as expected, half, or three times as long is asked about 5 times at most."""
    for length in (0.5, 1.0, 3.0):
        pace = Pace()
        counts = []
        for _ in range(30):
            at, asked = pace.first(60), 1
            while at < 60 * length:
                at += pace.next(60, asked, queued=False)
                asked += 1
            pace.ended(60, at, asked)
            counts.append(asked)
        assert max(counts) <= 5
        assert sum(counts) / len(counts) <= 3


def test_pace_is_patient_with_a_queue() -> None:
    """Twenty minutes in somebody's queue cost few questions, a day no error."""
    for waited, most in ((1200, 8), (24 * 3600, 300)):
        pace, at, asked = Pace(), 60.0, 1
        while at < waited:
            at += pace.next(60, asked, queued=True)
            asked += 1
        assert asked <= most


async def test_archive_of_another_place_is_said(
    run: Run, fal: LocalFal, make_request: Make, tmp_path: Path
) -> None:
    """A hit whose video is in another archive fails with where it is, and buys nothing."""
    await made(run, [make_request()])
    run.services.archive = Archive(str(tmp_path / "elsewhere"))
    report = await made(run, [make_request()])
    assert report.counts == {"failed": 1}
    assert "archived in" in report.rows[0].reason
    assert submits(fal) == 1
