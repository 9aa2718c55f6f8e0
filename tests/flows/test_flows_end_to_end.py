"""Both endpoints through Prefect, the embedded fal and ffmpeg, into an archive."""

import asyncio
import json
import logging
from decimal import Decimal
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
    FlowRunFilterStartTime,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from support import SECRET, submits

from prefect_ltx.archive import Archive
from prefect_ltx.fal import (
    FalClient,
    FalRequestInvalid,
    FalValidationError,
    IngredientRequest,
    ReferenceVideoRequest,
    price_usd,
)
from prefect_ltx.flows import finish_generation, ingredient_to_video, reference_video_to_video, submit_only
from prefect_ltx.local import LocalFal
from prefect_ltx.media import probe

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

SMALL: dict[str, Any] = {
    "num_frames": 9,
    "resolution": {"width": 256, "height": 128},
    "video_write_mode": "fast",
    "seed": 7,
}


def sheet_request(media: Path, **changes: Any) -> IngredientRequest:
    data = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media / "sheet.png"),
    }
    return IngredientRequest.model_validate(data | SMALL | changes)


def clip_request(media: Path, **changes: Any) -> ReferenceVideoRequest:
    data = {"prompt": "A dancer in red.", "video_url": str(media / "clip.mp4")}
    return ReferenceVideoRequest.model_validate(data | SMALL | changes)


async def last_run() -> FlowRun:
    async with get_client() as client:
        # Runs that other tests have scheduled for later sort as the newest; they have not begun.
        begun = FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False))
        runs = await client.read_flow_runs(flow_run_filter=begun, limit=1, sort=FlowRunSort.START_TIME_DESC)
    return runs[0]


async def states_of(run_id: UUID, task: str) -> list[str | None]:
    """The states of a run's task runs of one name; the server learns of them by events, a little later."""
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    async with get_client() as client, asyncio.timeout(30):
        while True:
            found = [
                each for each in await client.read_task_runs(flow_run_filter=chosen) if task in each.name
            ]
            if found and all(each.state and each.state.is_final() for each in found):
                return [each.state_name for each in found]
            await asyncio.sleep(0.2)


async def test_reference_video_becomes_an_archived_video(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """A reference video becomes one paid, verified, archived video with exactly what was asked for."""
    result = await reference_video_to_video(clip_request(media_folder))
    info = probe(Path(result.video))
    assert (info.width, info.height, info.frames, info.audio is not None) == (256, 128, 9, True)
    assert [charge.request_id for charge in fal.bill.charges] == [result.request_id]
    assert result.price_billed_usd == result.price_expected_usd == price_usd(256, 128, 9)
    assert {"video", "poster", "contact_sheet", "web", "preview"} <= set(result.files)
    assert all(Path(path).is_file() for path in result.files.values())
    report = await Archive(str(ltx_env / "archive")).verify()
    assert report.ok


async def test_reference_sheet_without_audio_and_with_fractional_rate(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """A sheet's video has no audio stream and the fractional frame rate where that was asked for."""
    request = sheet_request(media_folder, generate_audio=False, frames_per_second=23.976)
    result = await ingredient_to_video(request)
    info = probe(Path(result.video))
    assert (info.frames, info.fps, info.audio) == (9, "24000/1001", None)


async def test_second_run_is_cached_and_pays_nothing(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """The same seeded request again shows Cached, makes no POST and gives the same video."""
    first = await ingredient_to_video(sheet_request(media_folder))
    before = submits(fal)
    second = await ingredient_to_video(sheet_request(media_folder))
    assert await states_of((await last_run()).id, "submit generation") == ["Cached"]
    assert (submits(fal), len(fal.bill)) == (before, 1)
    assert second.reused
    assert not first.reused
    assert second.video == first.video


async def test_another_account_does_not_share_a_video(
    fal: LocalFal, ltx_env: Path, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache key contains the account: a run on another one, which is named, is a generation of its own."""
    first = await ingredient_to_video(sheet_request(media_folder))
    monkeypatch.setenv("FAL_KEY", "another:account")
    monkeypatch.setenv("PREFECT_LTX_ACCOUNT", "somebody else")
    second = await ingredient_to_video(sheet_request(media_folder))
    assert first.key != second.key
    assert len(fal.bill) == 2


async def test_two_runs_at_once_make_one_payment(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """Two runs of one request at the same time share one generation."""
    both = await asyncio.gather(
        ingredient_to_video(sheet_request(media_folder)), ingredient_to_video(sheet_request(media_folder))
    )
    assert len(fal.bill) == 1
    assert both[0].generation_id == both[1].generation_id


async def test_a_422_fails_the_run_with_field_message_and_money(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """A 422 ends the flow as failed, readable by field, with what it means for the bill; nothing is retried."""
    fal.faults.add("job_422")
    with pytest.raises(FalValidationError) as caught:
        await reference_video_to_video(clip_request(media_folder))
    run = await last_run()
    message = (run.state.message if run.state else "") or ""
    assert run.state_type is not None
    assert run.state_type.value == "FAILED"
    assert caught.value.fields
    assert str(caught.value.fields[0].loc[-1]) in message
    assert "billed" in message.lower()
    assert submits(fal) == 1


async def test_bad_media_stops_before_anything_is_sent(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """A missing file, or an image where a video is needed, is one clear line and no request to fal."""
    with pytest.raises(FalRequestInvalid, match="no such file"):
        await reference_video_to_video(clip_request(media_folder, video_url="/nowhere/clip.mp4"))
    with pytest.raises(FalRequestInvalid, match="video_url.*image"):
        await reference_video_to_video(clip_request(media_folder, video_url=str(media_folder / "sheet.png")))
    assert submits(fal) == 0


async def test_lost_reply_is_adopted_not_repeated(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """fal accepts, the reply is lost: the request is found in the listing; one POST, one charge, one video."""
    fal.faults.add("lost_reply", times=1)
    result = await ingredient_to_video(sheet_request(media_folder))
    assert submits(fal) == 1
    assert [charge.request_id for charge in fal.bill.charges] == [result.request_id]


async def test_submitted_now_and_finished_later(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """One flow submits, another collects by the ledger's id or fal's: one charge, and finishing again is free."""
    handle = await submit_only(sheet_request(media_folder))
    first = await finish_generation(handle.generation_id)
    again = await finish_generation(handle.request_id or "")
    assert (submits(fal), len(fal.bill)) == (1, 1)
    assert (first.video, again.reused) == (again.video, True)


async def test_unknown_recipe_stops_before_anything_is_sent(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """A recipe that does not exist is refused while nothing is paid for."""
    with pytest.raises(ValueError, match="there are web"):
        await ingredient_to_video(sheet_request(media_folder), recipe="webb")
    assert submits(fal) == 0


async def test_an_input_is_uploaded_once(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """The same bytes are uploaded once for any number of requests."""
    await ingredient_to_video(sheet_request(media_folder, seed=1))
    await ingredient_to_video(sheet_request(media_folder, seed=2))
    assert sum(1 for method, path, _ in fal.log if method == "POST" and "/files/upload" in path) == 1
    assert len(fal.bill) == 2


async def test_budget_stops_before_the_post(
    fal: LocalFal, ltx_env: Path, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A price that does not fit the budget fails the run before any POST, with the amount missing."""
    from prefect_ltx.ledger import BudgetExceeded

    monkeypatch.setenv("PREFECT_LTX_BUDGET_USD", "0.001")
    with pytest.raises(BudgetExceeded) as caught:
        await ingredient_to_video(sheet_request(media_folder))
    assert caught.value.missing_usd == price_usd(256, 128, 9) - Decimal("0.001")
    assert submits(fal) == 0


async def test_no_secret_and_no_signed_url_anywhere(
    fal: LocalFal,
    ltx_env: Path,
    media_folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the key nor a source's signature is in any log, artifact, parameter, result or archived file."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("FAL_KEY", "kid-in-the-open:needle-in-haystack")
    result = await ingredient_to_video(sheet_request(media_folder))
    haystack = [caplog.text, result.model_dump_json()]
    run = await last_run()
    async with get_client() as client:
        haystack.append(json.dumps(run.parameters, default=str))
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        )
        assert found
        haystack += [str(each.data) for each in found]
    haystack += [
        path.read_text(errors="ignore")
        for path in (ltx_env / "archive").rglob("*")
        if path.suffix in (".json", ".html")
    ]
    assert not [text for text in haystack if "needle-in-haystack" in text]


async def test_a_signed_source_leaves_no_trace_of_its_signature(
    fal: LocalFal, ltx_env: Path, media_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A presigned input's signature is in no log, artifact, archived file, ledger or error of ours."""
    caplog.set_level(logging.DEBUG, logger="prefect_ltx")
    async with FalClient(SECRET, base_url=fal.url) as client:
        url = await client.upload(media_folder / "sheet.png", content_type="image/png", file_name="sheet.png")
    signed = f"{url}?X-Amz-Signature=needle-in-haystack"
    result = await ingredient_to_video(sheet_request(media_folder, image_url=signed))
    with pytest.raises(FalRequestInvalid) as caught:
        await ingredient_to_video(
            sheet_request(media_folder, image_url=signed.replace("/files/", "/files/no"))
        )
    run = await last_run()
    haystack = [caplog.text, str(caught.value), (run.state.message if run.state else "") or ""]
    haystack.append(result.model_dump_json())
    async with get_client() as client_of_prefect:
        haystack += [str(each.data) for each in await client_of_prefect.read_artifacts()]
    files = [*(ltx_env / "archive").rglob("*"), *ltx_env.glob("ledger.db*")]
    haystack += [path.read_bytes().decode(errors="ignore") for path in files if path.is_file()]
    assert not [text[:200] for text in haystack if "needle-in-haystack" in text]
    assert len(fal.bill) == 1
