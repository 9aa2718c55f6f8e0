"""The batch flow through a real Prefect server, the embedded fal and ffmpeg."""

import asyncio
import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact, State
from prefect.exceptions import CancelledRun
from prefect.flow_engine import run_flow
from prefect.states import Cancelling
from support import environment, paused_run, submits

from prefect_ltx.archive import Archive
from prefect_ltx.batch import BatchInvalid, BatchReport
from prefect_ltx.flows import generate_batch
from prefect_ltx.flows.batch import BatchNotApproved
from prefect_ltx.ledger import Ledger
from prefect_ltx.ledger import State as LedgerState
from prefect_ltx.local import LocalFal
from prefect_ltx.table_files import TableFileInvalid

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    """A fal that copies one clip, whatever is asked."""
    with LocalFal(renderer="prefect_ltx.local.stored_clip:StoredClipRenderer") as server:
        server.faults.add("concurrency", value=8)
        yield server


def row(media: Path, **changes: Any) -> dict[str, Any]:
    base = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media / "sheet.png"),
        "num_frames": 9,
        "resolution": "256x128",
        "seed": 7,
    }
    return base | changes


async def run_of(state: State[Any]) -> UUID:
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    return run_id


async def artifacts_of(run_id: UUID) -> dict[str, Artifact]:
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=chosen)
    return {str(each.key): each for each in found}


async def task_runs_of(run_id: UUID, expected: int) -> list[tuple[str, str | None]]:
    """Names and states, once the server has learned of them all."""
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    async with get_client() as client, asyncio.timeout(30):
        while True:
            found = await client.read_task_runs(flow_run_filter=chosen)
            if len(found) >= expected and all(each.state and each.state.is_final() for each in found):
                return sorted((each.name, each.state_name) for each in found)
            await asyncio.sleep(0.2)


async def test_small_batch_shows_a_task_run_a_row(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """Both endpoints from a CSV: a task run a row, plan, table, progress, and an outcome with posters."""
    file = media_folder / "small.csv"
    with file.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(["id", "prompt", "video_url", "image_url", "num_frames", "resolution", "seed"])
        writer.writerow(["dance", "A dancer.", "clip.mp4", "", 9, "256x128", 1])
        writer.writerow(["cup", "A cup.", "", "sheet.png", 9, "256x128", 2])
        writer.writerow(["again", "A cup.", "", "sheet.png", 9, "256x128", 2])
    state = await generate_batch(str(file), concurrency=2, return_state=True)
    report: BatchReport = await state.aresult()
    assert (report.name, report.ok, len(fal.bill)) == ("small", True, 2)
    run_id = await run_of(state)
    assert await task_runs_of(run_id, 3) == [
        ("row 1: dance", "Completed"),
        ("row 2: cup", "Completed"),
        ("row 3: again", "Cached"),
    ]
    found = await artifacts_of(run_id)
    assert set(found) == {f"ltx-batch-small{part}" for part in ("", "-plan", "-rows", "-progress")}
    page = str(found["ltx-batch-small"].data)
    assert "data:image/jpeg;base64," in page
    assert "Rehearsal" in page
    assert len(page) < 400_000
    with Ledger(environment(fal.url, ltx_env)["PREFECT_LTX_LEDGER"]) as ledger:
        assert {each.flow_run_id for each in ledger.find(tag="batch:small")} == {str(run_id)}


async def test_a_report_is_a_table_and_never_the_end_of_the_result(
    fal: LocalFal, ltx_env: Path, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written where the caller stands; refused before money where no run could leave it; a full disk is told in the
    run's end, and the rows are all there."""
    monkeypatch.chdir(ltx_env)
    rows = [row(media_folder, id="=cup")]
    for place in ("ends.txt", "gs://bucket/ends.csv"):
        with pytest.raises(TableFileInvalid, match="Nothing was sent or spent"):
            await generate_batch(rows, name="told", report=place)
    with pytest.raises(
        TableFileInvalid, match="absolute"
    ):  # as a worker runs it, in a folder that is deleted
        await run_flow(generate_batch, parameters={"source": rows, "name": "told", "report": "ends.csv"})
    assert submits(fal) == 0
    (ltx_env / "full.csv").symlink_to("/dev/full")
    state = await generate_batch(rows, name="told", recipe="none", report="full.csv", return_state=True)
    report: BatchReport = await state.aresult()
    assert (report.ok, len(report.rows), state.is_completed()) == (True, 1, True)
    assert "report could not be written: No space left on device" in str(state.message)
    await generate_batch(rows, name="told", recipe="none", report="ends.csv")
    (line,) = csv.DictReader((ltx_env / "ends.csv").read_text("utf-8-sig").splitlines())
    assert (line["id"], line["status"], line["seed"], len(fal.bill)) == ("'=cup", "reused", "7", 1)


async def test_large_batch_runs_in_chunks_and_again_does_what_is_missing(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Above the threshold one task run carries many rows; a failed row is Incomplete, and the next run's only one."""
    fal.faults.add("job_422")
    rows = [row(media_folder, seed=seed) for seed in range(12)]
    how: dict[str, Any] = {"concurrency": 8, "recipe": "none", "task_run_per_row_up_to": 5, "name": "Big One"}
    state = await generate_batch(rows, return_state=True, **how)
    report: BatchReport = await state.aresult()
    assert (state.name, report.counts) == ("Incomplete", {"archived": 11, "failed": 1})
    run_id = await run_of(state)
    assert await task_runs_of(run_id, 1) == [("rows 1 to 12", "Completed")]
    table = str((await artifacts_of(run_id))["ltx-batch-big-one-rows"].data)
    assert table.count('"archived"') == 11
    assert "content_policy_violation" in table
    again = await generate_batch(rows, **how)
    assert again.counts == {"archived": 1, "reused": 11}
    assert (submits(fal), len(fal.bill)) == (13, 12)
    archive = Archive(environment(fal.url, ltx_env)["PREFECT_LTX_ARCHIVE"])
    assert (await archive.verify()).ok


async def test_bad_rows_stop_the_run_before_money(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """One bad row among good ones: the run fails with its place, and nothing was sent."""
    rows = [
        row(media_folder),
        row(media_folder, num_frames=1000),
        row(media_folder, image_url="/nowhere.png"),
    ]
    with pytest.raises(BatchInvalid, match="row 2, num_frames") as found:
        await generate_batch(rows)
    assert len(found.value.problems) == 2
    assert submits(fal) == 0


@pytest.mark.parametrize("answer", [True, False])
async def test_approval_comes_before_money(
    answer: bool, fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """With approve, the run pauses with its plan; yes goes on, no ends it, and nothing was sent until then."""
    running = asyncio.ensure_future(
        generate_batch([row(media_folder)], name=f"ask-{answer}", recipe="none", approve=True)
    )
    run = await paused_run()
    assert submits(fal) == 0
    assert f"ltx-batch-ask-{str(answer).lower()}-plan" in await artifacts_of(run.id)
    async with get_client() as client:
        await client.resume_flow_run(run.id, run_input={"approve": answer})
    if answer:
        assert (await running).ok
    else:
        with pytest.raises(BatchNotApproved, match="Nothing was sent or spent"):
            await running
    assert len(fal.bill) == int(answer)


async def test_cancelling_the_run_cancels_its_rows(
    fal: LocalFal, ltx_env: Path, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's cancel ends the rows here and their jobs at fal; nothing more is sent, nothing is owed."""
    monkeypatch.setattr("prefect_ltx.flows.batch.CANCEL_LOOK_SECONDS", 0.5)
    fal.faults.add("stuck_queue", times=-1)
    rows = [row(media_folder, seed=seed) for seed in range(10)]
    running = asyncio.ensure_future(generate_batch(rows, concurrency=4, name="stop-me", recipe="none"))
    ledger = Ledger(environment(fal.url, ltx_env)["PREFECT_LTX_LEDGER"])
    async with asyncio.timeout(60):
        while submits(fal) < 4 or len(ledger.find(states=[LedgerState.SUBMITTED])) < 4:
            await asyncio.sleep(0.1)
    (run_id,) = {each.flow_run_id for each in ledger.find()}
    assert run_id is not None
    async with get_client() as client:
        await client.set_flow_run_state(UUID(run_id), Cancelling(), force=True)
    with pytest.raises(CancelledRun):
        await running
    assert {each.state for each in ledger.find()} == {LedgerState.CANCELLED}
    assert (submits(fal), len(fal.bill), sum(each.held_usd for each in ledger.find())) == (4, 0, 0)
    ledger.close()


async def test_examples_can_be_planned_and_run(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """The files in examples/ are valid batches."""
    examples = Path(__file__).parents[2] / "examples"
    for file in ("batch.csv", "batch.yaml"):
        shutil.copy(examples / file, media_folder / file)
    report = await generate_batch(str(media_folder / "batch.csv"), concurrency=4, recipe="none")
    assert (report.ok, len(report.rows)) == (True, 4)
    report = await generate_batch(str(media_folder / "batch.yaml"), concurrency=8, recipe="none")
    assert (report.ok, len(report.rows), len(fal.bill)) == (True, 12, 16)
