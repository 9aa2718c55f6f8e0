"""Every media input is brought to fal by its content, whatever its field is called."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from generation_parts import planned
from PIL import Image
from s3_servers import S3Server

from prefect_ltx.fal import FalRequestInvalid, parse_request
from prefect_ltx.generation import Services, plan_request, prepare
from prefect_ltx.ledger import Owner
from prefect_ltx.media import sha256_file


@pytest.fixture
def document(media_folder: Path) -> dict[str, Any]:
    return {
        "prompt": "It turns.",
        "video_url": str(media_folder / "clip.mp4"),
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "seed": 7,
    }


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("control_video_url", "clip.mp4"),
        ("mid_image_url", "sheet.png"),
        ("end_image_url", "sheet.png"),
        ("style_image_url", "sheet.png"),
    ],
)
async def test_a_media_field_is_its_content(
    services: Services, document: dict[str, Any], media_folder: Path, tmp_path: Path, field: str, name: str
) -> None:
    """Another path to the same bytes is the same key; other bytes at the same path are another one; fal gets a URL."""
    copied = tmp_path / name
    shutil.copy(media_folder / name, copied)

    async def key(source: Path) -> tuple[str, dict[str, Any]]:
        named = {field: str(source)}
        whole = document | (named if field != "style_image_url" else {"extra_arguments": named})
        plan, ledger_plan = await planned(services, parse_request(whole), Owner.here())  # type: ignore[arg-type]
        return plan.key, dict(ledger_plan.body)

    first, body = await key(media_folder / name)
    again, _ = await key(copied)
    assert first == again
    assert body[field].startswith("http")
    assert str(tmp_path) not in json.dumps(body)
    with copied.open("ab") as file:
        file.write(b"\0" * 16)
    assert (await key(copied))[0] != first


async def test_inputs_in_a_bucket_are_their_content(
    services: Services,
    document: dict[str, Any],
    media_folder: Path,
    moto: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`s3://` for each of the media inputs: the key is that of the same files on this machine, and fal gets URLs."""
    for name, value in moto.environ.items():
        monkeypatch.setenv(name, value)
    bucket = moto.new_bucket()
    for name in ("clip.mp4", "sheet.png"):
        moto.client().upload_file(str(media_folder / name), bucket, f"in/{name}")
    more = {"control_video_url": "clip.mp4", "mid_image_url": "sheet.png", "end_image_url": "sheet.png"}
    local = document | {field: str(media_folder / name) for field, name in more.items()}
    remote = {
        field: f"s3://{bucket}/in/{Path(value).name}" if field.endswith("_url") else value
        for field, value in local.items()
    }
    here, _ = await planned(services, parse_request(local), Owner.here())
    there, ledger_plan = await planned(services, parse_request(remote), Owner.here())
    assert there.key == here.key
    sent = {name: value for name, value in dict(ledger_plan.body).items() if name.endswith("_url")}
    assert len(sent) == 5
    assert all(str(value).startswith("http") and bucket not in str(value) for value in sent.values())


@pytest.mark.parametrize(
    ("field", "name", "kind"),
    [("control_video_url", "sheet.png", "video"), ("end_image_url", "clip.mp4", "image")],
)
async def test_a_media_field_of_the_wrong_kind_is_refused(
    services: Services, document: dict[str, Any], media_folder: Path, field: str, name: str, kind: str
) -> None:
    """A picture is no control video, and a clip no keyframe: said by field, before anything is sent."""
    request = parse_request(document | {field: str(media_folder / name)})
    with pytest.raises(FalRequestInvalid, match=f"{field}: .* not {kind}"):
        await prepare(services, request, owner=Owner.here())


async def test_what_fal_does_not_take_is_converted_and_the_plan_says_so(
    services: Services, document: dict[str, Any], tmp_path: Path
) -> None:
    """An animated GIF and an AVIF go to fal as MP4 and PNG; the key is that of the user's own files."""
    frames = [Image.new("RGB", (96, 64), (10 * number, 60, 90)) for number in range(12)]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:], duration=40)
    frames[0].save(tmp_path / "place.avif")
    whole = document | {"video_url": str(tmp_path / "moves.gif"), "image_url": str(tmp_path / "place.avif")}
    request = parse_request(whole)
    report = await plan_request(services, request)
    assert set(report.warnings) >= {
        "moves.gif (GIF) is converted to MP4 before it is sent",
        "place.avif (AVIF) is converted to PNG before it is sent",
    }
    assert [*(services.options.work_dir / "inputs").iterdir()] == []
    plan, ledger_plan = await planned(services, request, Owner.here())
    assert plan.key == report.key
    originals = {each.original for each in plan.media.values()}
    assert originals == {sha256_file(tmp_path / "moves.gif"), sha256_file(tmp_path / "place.avif")}
    assert {each.content_type for each in plan.media.values()} == {"video/mp4", "image/png"}
    assert str(ledger_plan.body["video_url"]).endswith(".mp4")
