"""Every media input is brought to fal by its content, whatever its field is called."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from generation_parts import planned

from prefect_ltx.fal import FalRequestInvalid, parse_request
from prefect_ltx.generation import Services, prepare
from prefect_ltx.ledger import Owner


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
