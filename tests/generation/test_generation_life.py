"""The life of a generation: waiting, collecting, archiving, cancelling, sweeping."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from generation_parts import planned, submitted
from support import submits

from prefect_ltx.archive import Archive
from prefect_ltx.fal import FalGenerationCancelled, FalValidationError, IngredientRequest, QueueStatus
from prefect_ltx.generation import (
    GenerationEnded,
    PaidVideoLost,
    Services,
    StillWaiting,
    cancel,
    collect,
    hold,
    store,
    wait_for,
)
from prefect_ltx.generation.wait import Watch
from prefect_ltx.ledger import LedgerError, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import sweep_all
from prefect_ltx.settings import Settings, SettingsError

Make = Callable[..., IngredientRequest]


async def test_result_that_expired_is_found_by_id(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """An expired result is read from fal's listing by its id, and collected."""
    generation = await submitted(services, make_request())
    fal.faults.add("result_404")
    generation = await wait_for(services, generation)
    video = await collect(services, generation)
    assert video.delivered["num_frames"] == 9
    assert len(fal.bill) == 1


async def test_result_that_is_purged_is_lost_with_its_price(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A paid video that fal no longer has is marked lost with its price, and never silently bought again."""
    generation = await submitted(services, make_request())
    fal.faults.add("result_purged")
    with pytest.raises(PaidVideoLost, match=r"\$0\.00"):
        await wait_for(services, generation)
    with pytest.raises(PaidVideoLost):
        await submitted(services, make_request())
    assert submits(fal) == 1
    lost = await services.ledger.get(generation.id)
    assert lost.state is State.LOST
    assert lost.held_usd > 0


async def test_5xx_on_the_result_is_not_a_failed_generation(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A result route that is down for a while loses nothing."""
    fal.faults.add("result_5xx", times=6)
    generation = await wait_for(services, await submitted(services, make_request()))
    assert generation.state is State.COMPLETED


async def test_failed_generation_may_be_tried_again(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A generation that fal refused after the queue is closed, and the same request may be sent anew."""
    fal.faults.add("job_422")
    with pytest.raises(FalValidationError):
        await wait_for(services, await submitted(services, make_request()))
    again = await wait_for(services, await submitted(services, make_request()))
    assert again.state is State.COMPLETED
    assert len(fal.bill) == 1


async def test_damaged_download_is_fetched_again(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A download that was cut, and one with other bytes, end in the right file."""
    generation = await wait_for(services, await submitted(services, make_request()))
    fal.faults.add("truncated_download")
    fal.faults.add("corrupted_download")
    video = await collect(services, generation)
    assert "problem" not in video.delivered
    assert video.delivered["num_frames"] == 9


async def test_delivery_that_differs_is_recorded_beside_what_was_asked(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """fal snaps sizes and frame counts: the differences are said, and the video is kept."""
    fal.faults.add("snap")
    request = make_request(resolution={"width": 300, "height": 130}, num_frames=12)
    generation = await wait_for(services, await submitted(services, request))
    video = await collect(services, generation)
    assert any("num_frames 9 instead of 12" in each for each in video.differences)


async def test_cancel_in_the_queue_costs_nothing(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A cancel while the job is queued ends it free of charge."""
    fal.faults.add("stuck_queue")
    generation = await submitted(services, make_request())
    after = await cancel(services, generation.id, Owner.here(), by="test")
    assert (after.state, after.held_usd, len(fal.bill)) == (State.CANCELLED, 0, 0)
    with pytest.raises(GenerationEnded, match="Not billed"):
        await wait_for(services, after)


async def test_cancel_while_running_is_seen_by_the_wait(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A cancel of a running job is a request; the waiting run learns how it ended."""
    fal.faults.add("slow_run", value=20)
    generation = await submitted(services, make_request())
    waiting = asyncio.ensure_future(wait_for(services, generation))
    while fal.bill is not None and not any(path.endswith("/status") for _, path, _ in fal.log):
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    await cancel(services, generation.id, Owner.here(), by="test")
    with pytest.raises((FalGenerationCancelled, GenerationEnded)):
        await waiting
    assert (await services.ledger.get(generation.id)).state is State.CANCELLED


async def test_cancel_that_is_too_late_keeps_the_video(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A cancel after completion is recorded as too late; the paid video is still collected."""
    generation = await wait_for(services, await submitted(services, make_request()))
    await cancel(services, generation.id, Owner.here(), by="test")
    report = await sweep_all(services, Owner.here())
    assert [each.after for each in report.items] == [State.ARCHIVED]
    assert len(fal.bill) == 1


async def test_queue_budget_stops_the_run_not_the_job(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A wait that outlasts its queue budget ends with what to do; the job goes on and is collected later."""
    fal.faults.add("stuck_queue")
    generation = await submitted(services, make_request())
    object.__setattr__(services.options, "queue_timeout", 0.3)
    with pytest.raises(StillWaiting, match="billed once"):
        await wait_for(services, generation)
    fal.faults.clear()
    object.__setattr__(services.options, "queue_timeout", 60)
    assert (await wait_for(services, generation)).state is State.COMPLETED
    assert submits(fal) == 1


async def test_a_job_is_asked_about_less_often_the_later_it_is(
    services: Services, make_request: Make
) -> None:
    """Every second near its expected end; after it, at the latest a quarter of the delay later, and never less often
    than in the queue."""
    watch = Watch(services, await submitted(services, make_request()))
    status = QueueStatus(status="IN_PROGRESS", request_id="x")
    watch.note(status)
    for _ in range(30):
        watch.pause(None)  # it has grown to its longest
    for late, pause in (
        (-3.0, 1.0),
        (1.0, 1.0),
        (8.0, 2.0),
        (18.0, 4.5),
        (400.0, services.options.poll_most),
    ):
        watch.expected = -late
        assert watch.pause(status) == pytest.approx(pause, rel=0.1), late


async def test_sweep_collects_what_nobody_waited_for(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """The sweep archives finished requests that nobody collected, leaves living runs alone, and is idempotent."""
    owner = Owner.here()
    held = await submitted(services, make_request(seed=1), owner)
    left = await submitted(services, make_request(seed=2))
    await wait_for(services, left)
    async with hold(services, held.id, owner):
        reports = await asyncio.gather(sweep_all(services, Owner.here()), sweep_all(services, Owner.here()))
        assert all(held.id in report.left_alone for report in reports)
    rows = {row.id: row.state for row in await services.ledger.find()}
    assert rows[left.id] is State.ARCHIVED
    await wait_for(services, held)
    await sweep_all(services, Owner.here())
    assert (await services.ledger.get(held.id)).state is State.ARCHIVED
    assert (await Archive(services.archive.location).verify()).ok
    assert len(fal.bill) == 2
    settled = sum((row.settled_usd or 0) for row in await services.ledger.find())
    assert settled == fal.bill.total_usd


async def test_sweep_reports_double_charges_and_orphans(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """A request that fal ran twice, and one that no row knows, are reported, never dropped."""
    fal.faults.add("double_accept")
    await wait_for(services, await submitted(services, make_request()))
    report = await sweep_all(services, Owner.here())
    assert len(report.orphans) == 1


async def test_sweep_releases_an_intent_that_was_never_sent(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """An intent whose run died before its POST holds no budget after a sweep, and is not sent by it."""
    owner = Owner.here(announces_posts=True)
    _, plan = await planned(services, make_request(), owner)
    claim = await services.ledger.claim(plan, owner)
    await services.ledger.release(claim.generation.id, owner)
    await sweep_all(services, Owner.here(announces_posts=True))
    row = await services.ledger.get(claim.generation.id)
    assert (row.state, row.held_usd, submits(fal)) == (State.RELEASED, 0, 0)


async def test_one_owner_twice_at_once_makes_one_post(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """Two equal items of one run are one generation, though the ledger cannot tell their owners apart."""
    owner = Owner.here(announces_posts=True)
    both = await asyncio.gather(
        submitted(services, make_request(), owner), submitted(services, make_request(), owner)
    )
    assert both[0].request_id == both[1].request_id is not None
    assert submits(fal) == 1


async def test_a_lease_is_held_until_the_last_of_equal_items_ends(
    services: Services, make_request: Make
) -> None:
    """Of two holds of one owner the first may end before the second, which then still has the lease."""
    owner = Owner.here(announces_posts=True)
    generation = await submitted(services, make_request(), owner)
    first, second = (hold(services, generation.id, owner) for _ in range(2))
    await first.__aenter__()
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    assert (await services.ledger.get(generation.id)).owner == owner.token
    await second.__aexit__(None, None, None)
    assert (await services.ledger.get(generation.id)).owner is None


async def test_sweep_clears_what_a_killed_writer_left_of_a_closed_generation(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """Its unfinished files, here and in the archive, go however young; others may be a living writer's."""
    generation = await wait_for(services, await submitted(services, make_request()))
    await sweep_all(services, Owner.here(announces_posts=True))
    row = await services.ledger.get(generation.id)
    left = Path(services.archive.location) / (row.folder or "") / ".ltx-0123456789abcdef.part"
    living = Path(services.archive.location) / "elsewhere" / left.name
    rendered = services.options.work_dir / row.id / "renditions" / "web.mp4"
    foreign = services.options.work_dir / "of-another-ledger" / "video.mp4"
    for file in (left, living, rendered, foreign):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    await sweep_all(services, Owner.here(announces_posts=True))
    assert [file.exists() for file in (left, living, rendered, foreign)] == [False, True, False, True]


async def test_archive_is_written_once(services: Services, fal: LocalFal, make_request: Make) -> None:
    """Storing again after the manifest changes nothing in the archive."""
    generation = await wait_for(services, await submitted(services, make_request()))
    video = await collect(services, generation)
    first = await store(services, generation, video)
    before = {
        path: path.read_bytes() for path in Path(services.archive.location).rglob("*") if path.is_file()
    }
    second = await store(services, await services.ledger.get(generation.id), video)
    after = {path: path.read_bytes() for path in Path(services.archive.location).rglob("*") if path.is_file()}
    assert (first.sha256, before) == (second.sha256, after)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("PREFECT_LTX_LEDGER", "postgresql://nobody:hidden@127.0.0.1:1/none", LedgerError),
        ("PREFECT_LTX_LEDGER", "nonsense", LedgerError),
        ("PREFECT_LTX_LEDGER", "sqlite:////proc/nowhere/ledger.db", LedgerError),
        ("PREFECT_LTX_LEDGER", f"sqlite:///{__file__}", LedgerError),
        ("PREFECT_LTX_FAL_URL", "", None),
    ],
)
async def test_bad_configuration_stops_before_any_post(
    name: str,
    value: str,
    error: type[Exception] | None,
    ltx_env: Path,
    fal: LocalFal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unreachable database, a wrong URL and a missing account stop in one clear line, nothing sent."""
    monkeypatch.setenv(name, value)
    if error is None:
        monkeypatch.delenv("FAL_KEY")
    with pytest.raises(error or SettingsError) as caught:
        Services.from_settings(Settings())
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert submits(fal) == 0
