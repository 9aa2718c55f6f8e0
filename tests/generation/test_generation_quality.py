"""Quality control where no Prefect is: rows of a batch, and what a sweep brings home."""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from generation_parts import submitted
from support import submits

from prefect_ltx.archive import Archive, Manifest
from prefect_ltx.batch import BatchReport, BatchRun, plan_rows, read_batch
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.film import take_seeds
from prefect_ltx.generation import Run, Services, observe
from prefect_ltx.generation.progress import Progress
from prefect_ltx.ledger import BudgetLimit, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.media import probe
from prefect_ltx.recovery import sweep_all

Make = Callable[..., IngredientRequest]
FOR_EVER = 9
"""As many frames as a request of these tests has."""


@pytest.fixture
async def run(services: Services) -> AsyncIterator[Run]:
    found = Run.begin(services, at_fal=1)
    yield found
    await found.aclose()


async def made(run: Run, requests: list[IngredientRequest], **how: Any) -> BatchReport:
    rows = await plan_rows(run, read_batch(requests), flow_run_id=None)
    batch = BatchRun(run, "batch", rows, at_fal=1, **{"recipe": "none", **how})
    await asyncio.gather(*(batch.do(each) for each in rows))
    return batch.report()


async def manifest_of(services: Services, folder: str | None) -> Manifest:
    found = await services.archive.manifest(folder or "")
    assert found is not None
    assert found.quality is not None
    return found


async def test_a_rows_findings_are_in_its_manifest_and_its_result(
    run: Run, fal: LocalFal, make_request: Make
) -> None:
    """The batch looks at every row; `warn` tells and lets every row pass."""
    fal.faults.add("sheet_lead_in", value=3)
    report = await made(run, [make_request(seed=1), make_request(seed=2)], quality="warn")
    assert report.counts == {"archived": 2}
    assert ["sheet_lead_in" in str(row.findings) for row in report.rows] == [True, False]
    manifest = await manifest_of(run.services, report.rows[0].folder)
    assert manifest.quality is not None
    finding = next(each for each in manifest.quality.findings if each.kind == "sheet_lead_in")
    assert (finding.start_frame, finding.end_frame) == (0, 3)
    assert finding.picture in {each.name for each in manifest.files}


async def test_trim_cuts_a_rows_renditions(run: Run, fal: LocalFal, make_request: Make) -> None:
    """The renditions begin with the shot, the archived video is whole."""
    fal.faults.add("sheet_lead_in", value=3)
    report = await made(run, [make_request()], quality="trim", recipe="web")
    folder = Path(run.services.archive.location) / (report.rows[0].folder or "")
    assert (probe(folder / "video.mp4").frames, probe(folder / "web.mp4").frames) == (9, 6)


async def test_a_refused_row_fails_with_its_finding_and_its_video_is_archived(
    run: Run, fal: LocalFal, make_request: Make
) -> None:
    """`reject` marks the manifest and fails the row alone; running it again says the same and pays nothing."""
    fal.faults.add("sheet_lead_in", value=FOR_EVER)
    requests = [make_request(seed=1), make_request(seed=2)]
    report = await made(run, requests, quality="reject")
    assert [row.status for row in report.rows] == ["rejected", "archived"]
    refused = report.rows[0]
    assert "whole clip" in refused.reason
    assert not report.ok
    assert report.spent_usd == fal.bill.total_usd
    manifest = await manifest_of(run.services, refused.folder)
    assert manifest.quality is not None
    assert manifest.quality.rejected
    assert (Path(run.services.archive.location) / manifest.folder / "video.mp4").is_file()
    again = await made(run, requests, quality="reject")
    assert again.counts == {"rejected": 1, "reused": 1}
    assert again.spent_usd == 0
    assert (submits(fal), len(fal.bill)) == (2, 2)


async def test_the_next_seed_is_bought_once_and_found_again(
    run: Run, fal: LocalFal, make_request: Make
) -> None:
    """A refused row buys the seed that follows from its own; the same batch again finds both and pays nothing."""
    fal.faults.add("sheet_lead_in", value=FOR_EVER)
    told: list[str] = []

    def note(step: Progress) -> None:
        if step.stage == "retake":
            told.append(step.message)

    with observe(note):
        report = await made(run, [make_request(seed=5)], quality="next_seed")
    (row,) = report.rows
    assert (row.status, row.seed) == ("archived", take_seeds(5, 2)[1])
    assert [each.seed for each in row.refused] == [5]
    assert "whole clip" in row.refused[0].reasons[0]
    assert row.spent_usd == report.spent_usd == fal.bill.total_usd
    assert "Take 1 of at most 3 (seed 5, paid: $" in told[0]
    assert (await manifest_of(run.services, row.refused[0].folder)).quality.verdict == "next_seed"  # type: ignore[union-attr]
    again = (await made(run, [make_request(seed=5)], quality="next_seed")).rows[0]
    assert (again.status, again.folder, again.spent_usd) == ("reused", row.folder, Decimal(0))
    assert len(fal.bill) == submits(fal) == 2


async def test_no_more_seeds_than_allowed_are_bought(run: Run, fal: LocalFal, make_request: Make) -> None:
    """Where every take is refused the row is, with what all of them cost."""
    fal.faults.add("sheet_lead_in", times=9, value=FOR_EVER)
    report = await made(run, [make_request(seed=5)], quality="next_seed", max_seeds=2)
    (row,) = report.rows
    assert (row.status, len(row.refused), len(fal.bill)) == ("rejected", 1, 2)
    assert row.spent_usd == fal.bill.total_usd


async def test_a_budget_that_does_not_cover_another_seed_stops_the_row(
    run: Run, fal: LocalFal, make_request: Make
) -> None:
    """Each take asks the budget for itself: what is archived stays, and nothing beyond is sent."""
    fal.faults.add("sheet_lead_in", times=9, value=FOR_EVER)
    request = make_request(seed=5)
    (planned,) = await plan_rows(run, read_batch([request]))
    limit = planned.plan.estimate.price_upper_usd * Decimal("1.5")
    run.services.limits = (BudgetLimit(usd=limit, period="day", tag=None, name="day"),)
    (row,) = (await made(run, [request], quality="next_seed")).rows
    assert (row.status, len(row.refused), len(fal.bill)) == ("failed", 1, 1)
    assert "budget" in row.reason.lower()
    assert row.spent_usd == fal.bill.total_usd


@pytest.mark.parametrize("quality", ["warn", "reject"])
async def test_a_sweep_looks_at_what_it_brings_home(
    services: Services, fal: LocalFal, make_request: Make, quality: Any
) -> None:
    """It fetches the sheet again from where fal has it; what it refuses is archived, marked, and said."""
    fal.faults.add("sheet_lead_in", value=3)
    await submitted(services, make_request())
    async with asyncio.timeout(60):
        while not len(fal.bill):
            await asyncio.sleep(0.05)
    report = await sweep_all(services, Owner.here(), recipe="none", quality=quality)
    (item,) = report.items
    assert item.after == State.ARCHIVED
    assert item.rejected == (quality == "reject")
    assert bool(report.needs_a_person) == (quality == "reject")
    (manifest,) = [each async for each in Archive(services.archive.location).manifests()]
    assert manifest.quality is not None
    assert "sheet_lead_in" in {each.kind for each in manifest.quality.findings}
    assert manifest.quality.rejected == (quality == "reject")
    assert len(fal.bill) == 1
