"""The six further inputs of reference-video-to-video, as the page of its sibling describes them."""

from typing import Any

import pytest
from local_fal_helpers import Caller

from prefect_ltx.local import LocalFal


@pytest.fixture
def pictures(clip_url: str, sheet_url: str) -> dict[str, str]:
    return {"CLIP": clip_url, "PICTURE": sheet_url}


@pytest.mark.parametrize(
    "fields",
    [
        {"control_video_url": "CLIP"},
        {"control_video_url": "CLIP", "skip_control_preprocess": True},
        {"skip_control_preprocess": True},
        {"strength": 0},
        {
            "control_video_url": "CLIP",
            "skip_control_preprocess": True,
            "preserve_original_video": True,
            "strength": 0.4,
        },
        {"image_url": "PICTURE", "mid_image_url": "PICTURE"},
        {"image_url": "PICTURE", "end_image_url": "PICTURE"},
    ],
)
def test_they_are_taken_and_kept(
    caller: Caller, video_body: dict[str, Any], pictures: dict[str, str], fields: dict[str, Any]
) -> None:
    """Made and billed, and in the listing's input word for word; a switch without its video is ignored."""
    body = video_body | {name: pictures.get(str(value), value) for name, value in fields.items()}
    assert caller.generate(body).status_code == 200
    assert caller.listed(expand="payloads")[0]["json_input"] == body


@pytest.mark.parametrize(
    ("fields", "field", "kind"),
    [
        ({"strength": 1.5}, "strength", "less_than_equal"),
        ({"strength": -0.1}, "strength", "greater_than_equal"),
        ({"mid_image_url": "PICTURE"}, "mid_image_url", "value_error"),
        ({"end_image_url": "PICTURE"}, "end_image_url", "value_error"),
        ({"preserve_original_video": True}, "preserve_original_video", "value_error"),
        (
            {"preserve_original_video": True, "skip_control_preprocess": True},
            "preserve_original_video",
            "value_error",
        ),
        (
            {"preserve_original_video": True, "control_video_url": "CLIP"},
            "preserve_original_video",
            "value_error",
        ),
        ({"skip_control_preprocess": "perhaps"}, "skip_control_preprocess", "bool_parsing"),
        ({"control_video_url": "PICTURE"}, "control_video_url", "unsupported_video_format"),
        ({"image_url": "PICTURE", "end_image_url": "CLIP"}, "end_image_url", "image_load_error"),
        ({"control_video_url": "/etc/passwd"}, "control_video_url", "file_download_error"),
    ],
)
def test_what_does_not_fit_is_a_422_after_the_queue(
    fal: LocalFal,
    caller: Caller,
    video_body: dict[str, Any],
    pictures: dict[str, str],
    fields: dict[str, Any],
    field: str,
    kind: str,
) -> None:
    """Accepted at submit; the result says which field, and nothing is billed."""
    body = video_body | {name: pictures.get(str(value), value) for name, value in fields.items()}
    reply = caller.generate(body)
    assert reply.status_code == 422
    (problem,) = reply.json()["detail"]
    assert (problem["loc"], problem["type"]) == (["body", field], kind)
    assert len(fal.bill) == 0
