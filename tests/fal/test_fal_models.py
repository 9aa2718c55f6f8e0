import json
import re
from typing import Any

import pytest
from fal_pages import PAGES
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from prefect_ltx.fal import (
    INGREDIENT,
    REFERENCE_VIDEO,
    FalFile,
    FalRequestInvalid,
    GeneratedVideo,
    GenerationRequest,
    ImageSize,
    IngredientRequest,
    ReferenceVideoRequest,
    parse_request,
)

MODELS: dict[str, type[GenerationRequest]] = {
    REFERENCE_VIDEO: ReferenceVideoRequest,
    INGREDIENT: IngredientRequest,
}
ROWS = [
    (endpoint, *(cell.strip() for cell in line.split(" | ")))
    for endpoint, page in PAGES.items()
    for line in page.replace("| |", "| - |").strip().splitlines()
]
ids = [f"{row[0].rpartition('/')[2]}-{row[1]}" for row in ROWS]
JSON_TYPES = {"string": "string", "float": "number", "integer": "integer", "boolean": "boolean"}


def minimal(endpoint: str, **more: Any) -> GenerationRequest:
    media = "video_url" if endpoint == REFERENCE_VIDEO else "image_url"
    return parse_request({"prompt": "a fox", media: "https://files.example/in"} | more, endpoint)


def schema_of(endpoint: str, name: str) -> dict[str, Any]:
    field: dict[str, Any] = MODELS[endpoint].model_json_schema()["properties"][name]
    return field


@pytest.mark.parametrize("endpoint", PAGES)
def test_fields_are_the_pages_own_in_its_order(endpoint: str) -> None:
    """No field of the page is missing, none is invented, and a form shows them in the page's order, before those that
    only the sibling's page documents."""
    page = [row[1] for row in ROWS if row[0] == endpoint]
    shown = list(MODELS[endpoint].model_json_schema()["properties"])
    assert shown == [*page, *MODELS[endpoint].ADDED_FIELDS, "extra_arguments"]


@pytest.mark.parametrize(("endpoint", "name", "kind", "default", "span", "words"), ROWS, ids=ids)
def test_field_is_as_on_the_page(
    endpoint: str, name: str, kind: str, default: str, span: str, words: str
) -> None:
    """Default, range, options, type and description are the page's, as the form and as the body show them."""
    model = MODELS[endpoint].model_json_schema()
    shown = schema_of(endpoint, name)
    assert shown["description"].startswith(words)
    assert shown["title"]
    assert (name in model["required"]) == (default == "required")
    body = minimal(endpoint).body()
    if default == "none":
        assert shown["default"] is None
        assert name not in body
        shown = shown["anyOf"][0]
    elif default != "required":
        assert shown["default"] == body[name] == json.loads(default)
    if kind in JSON_TYPES:
        assert shown["type"] == JSON_TYPES[kind]
    if " to " in span:
        low, high = (float(end) for end in span.split(" to "))
        assert (shown["minimum"], shown["maximum"]) == (low, high)
        for good in (low, high):
            assert minimal(endpoint, **{name: good}).body()[name] == good
        for bad in (low - 1, high + 1):
            with pytest.raises(FalRequestInvalid, match=name):
                minimal(endpoint, **{name: bad})
    elif span != "-":
        assert shown["enum"] == span.split(", ")


@pytest.mark.parametrize("endpoint", PAGES)
def test_resolution_is_a_size_or_a_preset(endpoint: str) -> None:
    """fal's six presets and auto are choices, and a size has fal's limits and its default of 512."""
    size, preset = schema_of(endpoint, "resolution")["anyOf"]
    assert size == {"$ref": "#/$defs/ImageSize"}
    assert set(preset["enum"]) == {
        "auto",
        *("square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"),
    }
    assert minimal(endpoint, resolution={"width": 1280}).body()["resolution"] == {
        "height": 512,
        "width": 1280,
    }
    for wrong in ({"width": 0}, {"height": 14143}, {"width": 1, "depth": 1}, "huge", 512):
        with pytest.raises(FalRequestInvalid, match="resolution"):
            minimal(endpoint, resolution=wrong)


@pytest.mark.parametrize("endpoint", PAGES)
def test_schema_makes_a_form_for_people(endpoint: str) -> None:
    """Prompts are text areas, and prompt and media show the page's examples."""
    assert schema_of(endpoint, "prompt")["format"] == "textarea"
    assert schema_of(endpoint, "negative_prompt")["format"] == "textarea"
    assert schema_of(endpoint, "prompt")["examples"]
    assert schema_of(endpoint, MODELS[endpoint].MEDIA_FIELDS[0])["examples"]
    assert "8k+1" in schema_of(endpoint, "num_frames")["description"]


@pytest.mark.parametrize("endpoint", PAGES)
@pytest.mark.parametrize("blank", ["", "   ", "\n\t"])
def test_prompts_and_media_are_not_blank(endpoint: str, blank: str) -> None:
    """What would be paid for without an input is refused before it is sent."""
    for name in ("prompt", MODELS[endpoint].MEDIA_FIELDS[0]):
        with pytest.raises(FalRequestInvalid, match=name):
            minimal(endpoint, **{name: blank})


@pytest.mark.parametrize("value", [-1, True, 1.5, "x", float("nan")])
def test_seeds_are_whole_numbers_from_zero(value: object) -> None:
    """A seed that fal would read otherwise than it was meant is refused."""
    with pytest.raises(FalRequestInvalid, match="seed"):
        minimal(INGREDIENT, seed=value)


@pytest.mark.parametrize("name", ["video_strength", "frames_per_second", "guidance_scale", "num_frames"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, None, "much"])
def test_numbers_are_finite_numbers(name: str, value: object) -> None:
    """Neither NaN nor infinity nor a truth value passes for a number."""
    with pytest.raises(FalRequestInvalid, match=name):
        minimal(REFERENCE_VIDEO, **{name: value})


@pytest.mark.parametrize(
    ("data", "endpoint"),
    [
        ({"prompt": "p", "video_url": "v"}, REFERENCE_VIDEO),
        ({"prompt": "p", "video_url": "v", "image_url": "i"}, REFERENCE_VIDEO),
        ({"prompt": "p", "image_url": "i"}, INGREDIENT),
        ({"prompt": "p", "image_url": "i", "video_url": None}, INGREDIENT),
    ],
)
def test_the_endpoint_is_told_from_the_fields(data: dict[str, object], endpoint: str) -> None:
    """A reference video means one endpoint, a sheet alone the other; naming it gives the same."""
    request = parse_request(data)
    assert endpoint == request.ENDPOINT
    for name in (endpoint, endpoint.rpartition("/")[2]):
        assert parse_request(data, name) == request


def test_what_cannot_be_told_is_refused() -> None:
    """Without an input, or with an unknown endpoint, the message names the choices."""
    with pytest.raises(FalRequestInvalid, match=r"video_url .* image_url"):
        parse_request({"prompt": "p"})
    with pytest.raises(FalRequestInvalid, match="ingredient"):
        parse_request({"prompt": "p", "image_url": "i"}, "fal-ai/flux")


def test_bad_fields_are_listed_one_by_one() -> None:
    """Each bad field has one readable entry, and the whole message is one line."""
    with pytest.raises(FalRequestInvalid) as caught:
        parse_request(
            {"prompt": " ", "video_url": "v", "num_frames": 7, "promt": "x", "resolution": {"width": 0}}
        )
    lines = [str(problem) for problem in caught.value.fields]
    assert lines == [
        "prompt: must not be blank (value_error)",
        "num_frames: Input should be greater than or equal to 9 (greater_than_equal)",
        "resolution.width: Input should be greater than 0 (greater_than)",
        "promt: no such field; did you mean prompt? (extra_forbidden)",
    ]
    assert "\n" not in str(caught.value)
    assert caught.value.billed == "no"


def test_fields_that_fal_has_added_since_travel_beside_the_others() -> None:
    """Extra arguments stand at the top of the body, and None-free defaults stay as they were."""
    request = minimal(REFERENCE_VIDEO, extra_arguments={"cfg_scale": 0.5, "loras": [{"path": "x"}]})
    body = request.body()
    assert body["cfg_scale"] == 0.5
    assert body["loras"] == [{"path": "x"}]
    assert "extra_arguments" not in body
    assert body["num_frames"] == 121


@pytest.mark.parametrize("name", ["num_frames", "seed", "prompt", "extra_arguments"])
def test_extra_arguments_cannot_get_round_a_documented_field(name: str) -> None:
    """What decides about price and identity is said once."""
    with pytest.raises(FalRequestInvalid, match=f"documented field: {name}"):
        minimal(INGREDIENT, extra_arguments={name: 1})


def test_extra_arguments_are_plain_json() -> None:
    """What cannot be written as JSON is found before it is sent."""
    for value in (float("nan"), object(), {"a": float("inf")}):
        with pytest.raises(FalRequestInvalid):
            minimal(INGREDIENT, extra_arguments={"x": value})


def test_with_methods_give_checked_copies() -> None:
    """A changed request is a new one, checked again; the old one stays."""
    request = minimal(REFERENCE_VIDEO, num_frames=124, image_url="first.png")
    changed = (
        request.with_seed(7).with_frames("nearest").with_media({"video_url": "https://cdn.example/v.mp4"})
    )
    assert (changed.seed, changed.num_frames) == (7, 121)
    assert changed.media() == {"video_url": "https://cdn.example/v.mp4", "image_url": "first.png"}
    assert request.media()["video_url"] == "https://files.example/in"
    assert type(changed) is ReferenceVideoRequest
    with pytest.raises(FalRequestInvalid, match="seed"):
        request.with_seed(-1)
    with pytest.raises(FalRequestInvalid, match="audio_url"):
        request.with_media({"audio_url": "x"})
    with pytest.raises(FalRequestInvalid, match="video_url"):
        request.with_media({"video_url": " "})


def test_media_are_only_those_that_are_set() -> None:
    """An optional input that is not given is not listed."""
    assert minimal(REFERENCE_VIDEO).media() == {"video_url": "https://files.example/in"}
    assert minimal(INGREDIENT).media() == {"image_url": "https://files.example/in"}


def test_requests_are_values() -> None:
    """Nobody changes a request behind its key's back."""
    request = minimal(INGREDIENT)
    with pytest.raises(ValidationError):
        request.seed = 5


@given(
    st.integers(9, 481),
    st.none() | st.integers(0, 2**63 - 1),
    st.floats(1, 60),
    st.sampled_from(["auto", "square"]) | st.builds(ImageSize, width=st.integers(1, 14142)),
)
def test_the_body_is_a_request_again(
    num_frames: int, seed: int | None, fps: float, resolution: object
) -> None:
    """Parsing a body gives an equal request with an equal body: nothing is lost on the wire."""
    for endpoint in PAGES:
        request = minimal(
            endpoint, num_frames=num_frames, seed=seed, frames_per_second=fps, resolution=resolution
        )
        again = parse_request(json.loads(json.dumps(request.body())))
        assert again == request
        assert again.body() == request.body()


def test_signed_urls_stay_out_of_reprs() -> None:
    """Neither a request nor a result shows a URL's query when it is printed."""
    url = "https://user:pass@files.example/v.mp4?signature=s3cr3t#frag"
    request = minimal(REFERENCE_VIDEO, video_url=url, image_url=url)
    video = GeneratedVideo(video=FalFile(url=url, thumbnail=url), seed=1, prompt="p")  # type: ignore[call-arg]
    for shown in (repr(request), str(request), repr(video), str(video), repr(video.video)):
        assert not re.search("s3cr3t|pass|frag", shown)
    with pytest.raises(FalRequestInvalid) as caught:
        minimal(REFERENCE_VIDEO, video_url=url, seed=-1)
    assert "s3cr3t" not in str(caught.value)


def test_results_keep_what_fal_adds() -> None:
    """A new key of a result is not lost, and a placeholder content type is not an error."""
    video = GeneratedVideo.model_validate(
        {
            "video": {"url": "https://x.example/a", "content_type": "image/png", "new": 1},
            "seed": 3,
            "prompt": "",
        }
    )
    assert video.video.model_dump()["new"] == 1
