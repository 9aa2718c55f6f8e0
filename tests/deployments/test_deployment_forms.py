"""The run forms accept and refuse what the models do: the server's verdict on each run is that of the flow."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from deployment_server import Server
from prefect.exceptions import ParameterTypeError
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_ltx import flows
from prefect_ltx.deployments.apply import DeployOptions, deploy
from prefect_ltx.flows.forms import check_recipe

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

SHEET = {"prompt": "A harbour.", "image_url": "sheet.png", "resolution": "square"}
MOTION = {"prompt": "A harbour.", "video_url": "dance.mp4"}
FLOWS = {getattr(flows, name).name: getattr(flows, name) for name in flows.__all__}

SHARED: list[dict[str, Any]] = [
    {},
    {"num_frames": 9},
    {"num_frames": 481},
    {"num_frames": 8},
    {"num_frames": 482},
    {"num_frames": True},
    {"resolution": "auto"},
    {"resolution": "huge"},
    {"resolution": {"width": 64, "height": 64}},
    {"resolution": {"width": 0, "height": 64}},
    {"resolution": {"width": 14143, "height": 64}},
    {"resolution": {"width": 64, "height": 64, "depth": 1}},
    {"frames_per_second": 0},
    {"frames_per_second": 60},
    {"frames_per_second": 61},
    {"guidance_scale": 0.5},
    {"guidance_scale": 20},
    {"seed": None},
    {"seed": 0},
    {"seed": -1},
    {"seed": "none"},
    {"prompt": ""},
    {"prompt": " \n"},
    {"prompt": None},
    {"image_url": " "},
    {"video_quality": "best"},
    {"video_write_mode": "small"},
    {"generate_audio": "perhaps"},
    {"promt": "A harbour."},
    {"extra_arguments": {"new_knob": [1, {"a": None}]}},
    {"extra_arguments": {"seed": 1}},
    {"extra_arguments": []},
]
MOTION_ONLY: list[dict[str, Any]] = [
    {"image_url": None},
    {"video_strength": 1},
    {"video_strength": 1.1},
    {"num_inference_steps": 8},
    {"num_inference_steps": 7},
    {"num_inference_steps": 31},
    {"ingredient_strength": 1},
]
SHEET_ONLY: list[dict[str, Any]] = [
    {"ingredient_strength": 2},
    {"ingredient_strength": 2.1},
    {"reference_strength": -0.1},
    {"num_inference_steps": 15},
    {"video_strength": 0.5},
    {"video_url": "dance.mp4"},
]


def of_requests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests for every flow that takes one: each field at and beyond its bounds, and fields of the other endpoint."""
    for change in (*SHARED, *MOTION_ONLY):
        yield "reference-video-to-video", {"request": {**MOTION, **change}}
    for change in (*SHARED, *SHEET_ONLY):
        yield "ingredient-to-video", {"request": {**SHEET, **change}}
    for name in ("submit-only", "best-of-takes"):
        for request in (
            SHEET,
            MOTION,
            {**SHEET, **MOTION},
            {**SHEET, "video_strength": 0.5},
            {"prompt": "A harbour."},
        ):
            yield name, {"request": request}
    yield "reference-video-to-video", {"request": SHEET}
    yield "ingredient-to-video", {"request": MOTION}
    yield "ingredient-to-video", {}


def of_the_rest() -> Iterator[tuple[str, dict[str, Any]]]:
    """The flows' own parameters."""
    whole = {"request": SHEET}
    for change in (
        {"recipe": "none"},
        {"recipe": "wbe"},
        {"recipe": {"outputs": [{"kind": "poster"}]}},
        {"recipe": {"outputs": [{"kind": "postcard"}]}},
        {"frame_rule": "nearest"},
        {"frame_rule": "up"},
        {"quality": "reject"},
        {"quality": "perfect"},
        {"tags": ["a", "b"]},
        {"tags": "a"},
        {"credentials": 5},
    ):
        yield "ingredient-to-video", {**whole, **change}
    for change in (
        {"n": 1},
        {"n": 32},
        {"n": 0},
        {"n": 33},
        {"concurrency": 0},
        {"concurrency": 41},
        {"choose": "nobody"},
        {"stop": None},
        {"judge": "module:object"},
        {"judge": "no object"},
        {"choice_timeout_seconds": 0},
    ):
        yield "best-of-takes", {**whole, **change}
    for change in (
        {},
        {"source": "shots.csv"},
        {"concurrency": 40},
        {"concurrency": 41},
        {"max_requests": 0},
    ):
        yield "generate-batch", {"source": [SHEET], **change}
    yield "generate-batch", {}
    for storyboard in ("film.yaml", "title: A film\nshots: []", {"title": "A film"}, 5):
        yield "storyboard-film", {"storyboard": storyboard}
    yield "storyboard-film", {"storyboard": "film.yaml", "concurrency": 0}
    for generation in ("abc", "", 5):
        yield "finish-generation", {"generation": generation}
    yield "sweep", {}
    yield "sweep", {"recipe": "wbe"}
    for change in ({}, {"inbox": ""}, {"settle_seconds": 601}, {"most": 0}):
        yield "watch-inbox", {"inbox": "requests", **change}
    yield "watch-inbox", {}
    for change in ({}, {"concurrency": 41}, {"quality": "perfect"}):
        yield "nightly-batch", {"inbox": "requests", **change}
    yield "nightly-batch", {}
    for change in ({}, {"days": 0}, {"until": None}, {"until": "2026-11-01"}):
        yield "spend-report", change
    for change in ({}, {"recipe": "wbe"}, {"tags": ["client:acme"]}, {"tags": 7}):
        yield "render-archive", change
    for generation, decision in (
        ("abc", "absent"),
        ("abc", "adopt"),
        ("", "absent"),
        ("abc", "perhaps"),
        (5, "absent"),
    ):
        yield "decide-generation", {"generation": generation, "decision": decision}
    yield "decide-generation", {"generation": "abc"}
    yield "poll-in-flight", {}
    yield "poll-in-flight", {"again_after_seconds": "soon"}


def the_flow_takes(name: str, parameters: dict[str, Any]) -> bool:
    """What the flow says of parameters that a form would send: pydantic, and the name of a recipe."""
    flow = FLOWS[name]
    try:
        flow.validate_parameters(flow_defaults(flow) | parameters)
        check_recipe(parameters.get("recipe", "web"))
    except (ParameterTypeError, ValueError, TypeError):
        return False
    return True


def flow_defaults(flow: Any) -> dict[str, Any]:
    import inspect

    return {
        name: each.default
        for name, each in inspect.signature(flow.fn).parameters.items()
        if each.default is not inspect.Parameter.empty
    }


async def test_the_server_refuses_what_the_flow_refuses(fresh: Server) -> None:
    """For every deployment: a run is made where the flow takes its parameters, and is refused with a reason else."""
    with temporary_settings({PREFECT_API_URL: fresh.url}):
        await deploy(DeployOptions())
    ids = {name: each["id"] for name, each in fresh.deployments().items()}
    wrong: list[str] = []
    made: list[str] = []
    seen: dict[str, set[bool]] = {}
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
    for name, parameters in (*of_requests(), *of_the_rest()):
        answer = fresh.api.post(
            f"/deployments/{ids[name]}/create_flow_run", json={"parameters": parameters, "state": later}
        )
        taken = answer.status_code == 201
        if taken:
            made.append(answer.json()["id"])
        else:
            assert answer.status_code == 409, answer.text
            assert "Validation failed" in answer.text
        expected = the_flow_takes(name, parameters)
        seen.setdefault(name, set()).add(expected)
        if taken is not expected:
            wrong.append(f"{name} {parameters}: server {taken}, flow {expected}")
    for first in range(0, len(made), 50):  # as many as the server deletes at once
        some = {"flow_runs": {"id": {"any_": made[first : first + 50]}}}
        fresh.api.post("/flow_runs/bulk_delete", json=some).raise_for_status()
    assert wrong == []
    assert set(seen) == set(FLOWS)
    assert all(verdicts == {True, False} for verdicts in seen.values()), seen


UNSIZED = {name: value for name, value in SHEET.items() if name != "resolution"}
IN_WORDS: list[tuple[dict[str, Any], str]] = [
    # H13: the list of sizes opened and nothing chosen sends no size at all.
    (UNSIZED, "'request'. Failure reason: 'resolution' is a required property"),
    # H18.
    (
        {"prompt": "A harbour.", "resolution": "auto", "ingredient_strength": 1},
        "'image_url' is a required property",
    ),
    (
        {"prompt": "A harbour.", "resolution": "auto", "video_strength": 0.6},
        "'video_url' is a required property",
    ),
    ({**SHEET, "prompt": " "}, "'request.prompt'. Failure reason: ' ' does not match '(?!)must not be blank"),
    (
        {**SHEET, "image_url": " "},
        "'request.image_url'. Failure reason: ' ' does not match '(?!)must not be blank",
    ),
    (
        {**MOTION, "video_url": " "},
        "'request.video_url'. Failure reason: ' ' does not match '(?!)must not be blank",
    ),
    ({**SHEET, "resolution": {"width": 0, "height": 64}}, "is less than the minimum of 1"),
    ({**MOTION, "resolution": {"width": 64, "height": 0}}, "is less than the minimum of 1"),
    ({**SHEET, "num_frames": 8}, "'request.num_frames'. Failure reason: 8 is less than the minimum of 9"),
    ({**MOTION, "seed": -1}, "-1 "),
    ({**MOTION, "promt": "x"}, "'promt' was unexpected"),
]


async def test_what_is_wrong_in_a_form_is_one_field_in_words(fresh: Server) -> None:
    """A form refuses by naming the field, never with a page of schema, also where either kind of request may stand; and
    a size that was not chosen is not the dearest one."""
    with temporary_settings({PREFECT_API_URL: fresh.url}):
        await deploy(DeployOptions())
    ids = {name: each["id"] for name, each in fresh.deployments().items()}
    for request, words in IN_WORDS:
        own = (
            "reference-video-to-video"
            if {"video_url", "video_strength"} & request.keys()
            else "ingredient-to-video"
        )
        for name in (own, "submit-only", "best-of-takes"):
            answer = fresh.api.post(
                f"/deployments/{ids[name]}/create_flow_run", json={"parameters": {"request": request}}
            )
            assert answer.status_code == 409, (name, request)
            assert words in answer.json()["detail"], (name, request, answer.text)
            assert len(answer.text) < 300, (name, answer.text)


def test_a_form_names_every_size_with_its_price() -> None:
    """What is chosen is seen before: the named sizes in pixels and dollars, the tabs by words."""
    from prefect.utilities.callables import parameter_schema

    for name in ("ingredient-to-video", "reference-video-to-video", "submit-only", "best-of-takes"):
        text = json.dumps(parameter_schema(FLOWS[name]).model_dump(exclude_unset=True))
        assert "square (512x512) $0.08" in text
        assert "1536x896 $0.41" in text
        assert '"title": "Named size"' in text
        assert "the worker's" in text


def test_prompts_are_text_areas_and_choices_are_lists() -> None:
    """What a person sees: text areas for prompts and storyboards, lists for choices, a sentence for every field."""
    from prefect.utilities.callables import parameter_schema

    for flow in FLOWS.values():
        schema = parameter_schema(flow).model_dump(exclude_unset=True)
        models = schema.get("definitions", {})
        for each in schema["properties"].values():
            assert each["description"], flow.name
        for title in ("ReferenceVideoRequest", "IngredientRequest"):
            if title in models:
                fields = models[title]["properties"]
                assert fields["prompt"]["format"] == fields["negative_prompt"]["format"] == "textarea"
                assert fields["video_quality"]["enum"] == ["low", "medium", "high", "maximum"]
                assert all(each.get("description") for each in fields.values())
        if "recipe" in schema["properties"]:
            assert schema["properties"]["recipe"]["anyOf"][0]["enum"] == [
                "web",
                "social",
                "broadcast",
                "review",
                "none",
            ]
