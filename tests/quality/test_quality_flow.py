"""Quality control inside the flows: findings are kept, and a paid video is archived whatever they are."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.archive import Archive, Manifest, fill_media, reproduce
from prefect_ltx.fal import IngredientRequest, ReferenceVideoRequest
from prefect_ltx.flows import ingredient_to_video, reference_video_to_video
from prefect_ltx.generation.errors import QualityRejected
from prefect_ltx.local import LocalFal
from prefect_ltx.media import probe, sha256_file

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

SMALL: dict[str, Any] = {
    "num_frames": 17,
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


async def manifest_of(home: Path, folder: str) -> Manifest:
    found = await Archive(home / "archive").manifest(folder)
    assert found is not None
    return found


async def test_findings_are_told_and_kept(
    fal: LocalFal, ltx_env: Path, media_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A lead-in of the sheet is a warning in the log, and in the manifest with its picture; nothing is trimmed."""
    fal.faults.add("sheet_lead_in", value=3)
    with caplog.at_level(logging.WARNING):
        result = await ingredient_to_video(sheet_request(media_folder))
    assert any("Quality: sheet_lead_in" in each.message for each in caplog.records)
    manifest = await manifest_of(ltx_env, result.folder)
    assert manifest.quality is not None
    assert (manifest.quality.policy, manifest.quality.verdict) == ("warn", "accept")
    finding = next(each for each in manifest.quality.findings if each.kind == "sheet_lead_in")
    assert (finding.start_frame, finding.end_frame) == (0, 3)
    assert finding.picture is not None
    assert Path(result.files[finding.picture.removesuffix(".jpg")]).is_file()
    web = manifest.file("web")
    assert web is not None
    assert web.facts["frames"] == 17
    assert (await Archive(ltx_env / "archive").verify()).ok


async def test_trim_leaves_the_original_whole(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """Renditions begin with the shot; the archived video is what fal delivered, byte by byte."""
    fal.faults.add("sheet_lead_in", value=3)
    result = await ingredient_to_video(sheet_request(media_folder), quality="trim")
    manifest = await manifest_of(ltx_env, result.folder)
    assert manifest.quality is not None
    assert (manifest.quality.verdict, manifest.quality.trimmed_frames) == ("trim", 3)
    frames = {role: probe(Path(result.files[role])).frames for role in ("video", "web")}
    assert frames == {"video": 17, "web": 14}
    assert manifest.video is not None
    assert manifest.video.sha256 == sha256_file(result.video)


async def test_reject_archives_first_and_fails_the_run(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """The video is archived and marked; running again fails again and pays nothing; warn takes it as it is."""
    fal.faults.add("sheet_lead_in", value=17)
    with pytest.raises(QualityRejected, match="paid for and archived in .*whole clip.*another seed"):
        await ingredient_to_video(sheet_request(media_folder), quality="reject")
    (manifest,) = [each async for each in Archive(ltx_env / "archive").manifests()]
    assert manifest.quality is not None
    assert manifest.quality.rejected
    assert (ltx_env / "archive" / manifest.folder / "video.mp4").is_file()
    with pytest.raises(QualityRejected):
        await ingredient_to_video(sheet_request(media_folder), quality="reject")
    taken = await ingredient_to_video(sheet_request(media_folder))
    assert taken.reused
    assert len(fal.bill) == 1


async def test_switched_off_nobody_looks(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """No findings and no claim that there are none."""
    result = await ingredient_to_video(sheet_request(media_folder), quality="off", recipe="none")
    assert (await manifest_of(ltx_env, result.folder)).quality is None


async def test_a_delivery_that_does_not_decode_is_archived_with_its_finding(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Damaged bytes were paid for: kept, described, no renditions."""
    fal.faults.add("corrupted_download", times=9)
    result = await ingredient_to_video(sheet_request(media_folder))
    assert result.quality is not None
    assert [each.kind for each in result.quality.findings] == ["undecodable"]
    assert set(result.files) == {"video"}


async def test_renditions_say_how_they_were_made_and_the_original_is_untouched(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """The stand-in's clips are marked as a program's, not a model's; fal's bytes get no mark."""
    request = {"prompt": "p", "video_url": str(media_folder / "clip.mp4")} | SMALL
    result = await reference_video_to_video(ReferenceVideoRequest.model_validate(request))
    mark = b"digitalsourcetype/algorithmicMedia"
    assert mark in Path(result.files["web"]).read_bytes()
    assert mark in Path(result.files["poster"]).read_bytes()
    assert mark not in Path(result.video).read_bytes()
    manifest = await manifest_of(ltx_env, result.folder)
    assert manifest.quality is not None
    assert 0 < manifest.quality.measures["reference_ssim"] <= 1
    assert {"prefect-ltx", "av", "ffmpeg", "ffmpeg-python", "s3fs"} <= set(manifest.tools)


async def test_a_manifest_reproduces_its_video(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """Expanded prompt, seed and the same media by content give the same bytes, as a new paid generation."""
    first = await ingredient_to_video(sheet_request(media_folder, seed=None), recipe="none")
    manifest = await manifest_of(ltx_env, first.folder)
    assert manifest.prompt_expanded not in ("", manifest.prompt_sent)
    request = await fill_media(reproduce(manifest), [media_folder / "clip.mp4", media_folder / "sheet.png"])
    assert isinstance(request, IngredientRequest)
    second = await ingredient_to_video(request, recipe="none")
    assert second.generation_id != first.generation_id
    assert sha256_file(second.video) == sha256_file(first.video)
    assert json.loads(Path(second.manifest).read_text("utf-8"))["request"]["enable_prompt_expansion"] is False
