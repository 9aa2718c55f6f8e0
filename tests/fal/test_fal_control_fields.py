"""The six inputs that fal's sibling page documents (fal-2026-11-26 §1), and media in extra arguments."""

from typing import Any

import pytest

from prefect_ltx.fal import FalRequestInvalid, ReferenceVideoRequest, media_kind, parse_request

BASE = {"prompt": "a fox", "video_url": "clip.mp4"}
SIGNED = "https://user:pw@files.example/a.mp4?X-Amz-Signature=s3cr3t#frag"


def made(**more: Any) -> ReferenceVideoRequest:
    request = parse_request(BASE | more)
    assert isinstance(request, ReferenceVideoRequest)
    return request


def test_the_six_fields_are_sent_by_their_names() -> None:
    """What a person asks for reaches fal under fal's own name."""
    asked = {
        "image_url": "first.png",
        "control_video_url": "depth.mp4",
        "skip_control_preprocess": True,
        "preserve_original_video": True,
        "strength": 0.4,
        "mid_image_url": "mid.png",
        "end_image_url": "end.png",
    }
    body = made(**asked).body()
    assert {name: body[name] for name in asked} == asked
    assert parse_request(body) == made(**asked)


def test_a_request_without_them_has_the_body_it_always_had() -> None:
    """Fields at their default are left out, so older bodies and keys stay the same."""
    names = set(ReferenceVideoRequest.ADDED_FIELDS)
    assert not names & set(made().body())
    same = made(
        strength=1.0, skip_control_preprocess=False, preserve_original_video=False, end_image_url=None
    )
    assert same.body() == made().body()


@pytest.mark.parametrize(
    ("asked", "field", "needs"),
    [
        ({"mid_image_url": "m.png"}, "mid_image_url", "image_url"),
        ({"end_image_url": "e.png"}, "end_image_url", "image_url"),
        ({"skip_control_preprocess": True}, "skip_control_preprocess", "control_video_url"),
        ({"preserve_original_video": True}, "preserve_original_video", "skip_control_preprocess"),
        (
            {"preserve_original_video": True, "control_video_url": "c.mp4"},
            "preserve_original_video",
            "skip_control_preprocess",
        ),
        ({"strength": 1.5}, "strength", "1"),
        ({"strength": True}, "strength", "number"),
        ({"control_video_url": " "}, "control_video_url", "blank"),
    ],
)
def test_what_a_field_needs_is_said_by_field(asked: dict[str, Any], field: str, needs: str) -> None:
    """A combination that fal ignores or refuses is refused before anything is sent, one line by field."""
    with pytest.raises(FalRequestInvalid) as caught:
        made(**asked)
    assert [each.loc for each in caught.value.fields] == [(field,)]
    assert needs in caught.value.fields[0].msg


def test_media_are_known_by_field_and_kind() -> None:
    """Every media field is uploaded, hashed and probed as what it holds."""
    request = made(image_url="a.png", control_video_url="c.mp4", mid_image_url="m.png", end_image_url="e.png")
    assert {field: media_kind(field) for field in request.media()} == {
        "video_url": "video",
        "image_url": "image",
        "control_video_url": "video",
        "mid_image_url": "image",
        "end_image_url": "image",
    }


@pytest.mark.parametrize("field", ["control_video_url", "mid_image_url", "end_image_url"])
def test_no_signature_is_shown_of_a_new_field(field: str) -> None:
    """A URL's query and user info stay out of reprs."""
    shown = repr(made(image_url="a.png", **{field: SIGNED}))
    assert "files.example/a.mp4" in shown
    assert not any(secret in shown for secret in ("s3cr3t", "pw@", "frag"))


def test_older_files_with_them_in_extra_arguments_are_read() -> None:
    """What a preset or file from before says among the extras is the field now."""
    request = made(image_url="a.png", extra_arguments={"end_image_url": "e.png", "strength": 0.5, "cfg": 2})
    assert request == made(image_url="a.png", end_image_url="e.png", strength=0.5, extra_arguments={"cfg": 2})
    with pytest.raises(FalRequestInvalid, match="documented field: strength"):
        made(strength=0.5, extra_arguments={"strength": 0.4})


def test_a_url_among_the_extras_is_a_media_input() -> None:
    """A `…_url` that fal has added since is uploaded and hashed like the documented ones, and shown without query."""
    request = made(extra_arguments={"style_image_url": SIGNED, "cfg": 2})
    assert request.media()["style_image_url"] == SIGNED
    assert media_kind("style_image_url") == "any"
    assert "s3cr3t" not in repr(request)
    sent = request.with_media({"style_image_url": "https://fal.media/x.png"})
    assert sent.body()["style_image_url"] == "https://fal.media/x.png"
    assert sent.body()["cfg"] == 2


@pytest.mark.parametrize(
    "extras",
    [
        {"loras": [{"path": SIGNED}]},
        {"guides": {"depth": {"url": "https://files.example/a.mp4?token=s3cr3t"}}},
        {"image_urls": ["https://files.example/a.png?sig=s3cr3t"]},
        {"image_urls": ["./first.png"]},
        {"frames": [{"image_url": "/home/me/s3cr3t.png"}]},
        {"style": "s3://bucket/s3cr3t.png"},
        {"style": "data:image/png;base64,s3cr3t"},
    ],
)
def test_an_address_that_cannot_be_uploaded_is_refused(extras: dict[str, Any]) -> None:
    """Deeper inside, a signed URL would be another key each time and a path would be sent as text."""
    with pytest.raises(FalRequestInvalid) as caught:
        made(extra_arguments=extras)
    assert "extra_arguments." in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_plain_addresses_and_texts_among_the_extras_stay() -> None:
    """A weights file with a public address, a text with a slash or a question mark are no secrets."""
    extras = {"loras": [{"path": "https://huggingface.co/a/b.safetensors"}], "note": "either/or?", "n": None}
    assert made(extra_arguments=extras).extra_arguments == extras
