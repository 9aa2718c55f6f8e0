"""Another endpoint of the same contract: a file with its model, and one line that registers it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import Field, TypeAdapter, ValidationError
from support import submits

from prefect_ltx.archive import Archive
from prefect_ltx.archive.reproduce import reproduce
from prefect_ltx.batch import read_batch
from prefect_ltx.cli import plain
from prefect_ltx.fal import (
    AnyRequest,
    FalRequestInvalid,
    GenerationRequest,
    ReferenceVideoRequest,
    endpoint_models,
    media_kind,
    parse_request,
    register_endpoint,
)
from prefect_ltx.fal import fields as f
from prefect_ltx.fal.endpoints import forget_endpoint
from prefect_ltx.film import read_storyboard, shot_request
from prefect_ltx.generation import Services, plan_request
from prefect_ltx.ledger import State
from prefect_ltx.local import LocalFal


class PoseRequest(GenerationRequest):
    """A figure in the pose of a video, in the look of a picture."""

    ENDPOINT: ClassVar[str] = "fal-ai/ltx-2.3-quality/pose-to-video/lora"
    ABOUT: ClassVar[str] = "Generate video of a figure in given poses"
    MEDIA_FIELDS: ClassVar[tuple[str, ...]] = ("pose_video_url", "look_image_url")
    MEDIA_KINDS: ClassVar[Any] = {"pose_video_url": "video", "look_image_url": "image"}
    STRENGTH_FIELD: ClassVar[str] = "pose_strength"

    prompt: f.Prompt
    pose_video_url: f.MediaUrl
    look_image_url: f.MediaUrl | None = None
    pose_strength: f.UnitStrength = 0.8
    num_frames: f.NumFrames = 121
    resolution: f.Resolution = "auto"
    frames_per_second: f.FramesPerSecond = 24
    generate_audio: f.GenerateAudio = True
    seed: f.Seed = None
    enable_prompt_expansion: f.PromptExpansion = True
    video_quality: f.Quality = "high"
    video_write_mode: f.WriteMode = "fast"
    sync_mode: f.SyncMode = False
    extra_arguments: f.ExtraArguments = Field(default_factory=dict)


class LoraRequest(ReferenceVideoRequest):
    """The documented sibling: one more field than its parent."""

    ENDPOINT: ClassVar[str] = "fal-ai/ltx-2.3-quality/reference-video-to-video/lora"

    loras: list[dict[str, Any]] = Field(default_factory=list, max_length=3)


@pytest.fixture(params=[PoseRequest, LoraRequest], autouse=True)
def model(request: pytest.FixtureRequest) -> Iterator[type[GenerationRequest]]:
    register_endpoint(request.param)
    yield request.param
    forget_endpoint(request.param)


@pytest.fixture
def document(model: type[GenerationRequest], media_folder: Path) -> dict[str, Any]:
    own: dict[str, Any] = {"pose_video_url": str(media_folder / "clip.mp4")}
    if model is LoraRequest:
        own = {"video_url": own["pose_video_url"], "loras": [{"path": "a/b", "scale": 0.5}]}
    size = {"width": 256, "height": 128}
    return {"prompt": "It turns.", "num_frames": 9, "seed": 7, "resolution": size, **own}


def table(folder: Path, document: dict[str, Any], name: str) -> Path:
    """One row of a batch, as a person writes it."""
    row = {
        "endpoint": name,
        **{key: value for key, value in document.items() if key not in ("resolution", "loras")},
        "width": 256,
        "height": 128,
        "strength": 0.5,
    }
    path = folder / "rows.csv"
    path.write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    return path


async def test_it_is_made_paid_for_once_archived_and_found_again(
    fal: LocalFal,
    services: Services,
    model: type[GenerationRequest],
    document: dict[str, Any],
    ltx_env: Path,
) -> None:
    """From a file to the archive: planned, uploaded, rendered, billed within its bound, inspected; the same is free."""
    name = model.ENDPOINT.removeprefix("fal-ai/ltx-2.3-quality/")
    (ltx_env / "request.json").write_text(json.dumps(document))
    request = parse_request(json.loads((ltx_env / "request.json").read_text()), name)
    assert type(request) is model
    plan = await plan_request(services, request)
    assert (plan.endpoint, plan.status) == (model.ENDPOINT, "new")
    how: dict[str, Any] = {"recipe": "none", "tags": ["third"], "frame_rule": "as_is", "quality": "warn"}
    made = [await plain.make(request, max_seeds=1, **how) for _ in range(2)]
    assert [each.reused for each in made] == [False, True]
    assert (submits(fal), len(fal.bill)) == (1, 1)
    assert fal.bill.total_usd <= plan.price_upper_usd
    (row,) = await services.ledger.find(tag="third")
    assert (row.state, row.endpoint) == (State.ARCHIVED, model.ENDPOINT)
    assert row.key == plan.key
    manifest = await Archive(str(ltx_env / "archive")).manifest(made[0].folder)
    assert manifest is not None
    assert {each.field for each in manifest.inputs} == set(request.media())
    assert manifest.quality is not None
    assert type(reproduce(manifest)) is model


def test_it_is_in_tables_forms_storyboards_and_the_catalogue(
    fal: LocalFal,
    model: type[GenerationRequest],
    document: dict[str, Any],
    media_folder: Path,
    tmp_path: Path,
) -> None:
    """Whatever reads or lists requests knows it, by its full id and by its short name."""
    name = model.ENDPOINT.removeprefix("fal-ai/ltx-2.3-quality/")
    for endpoint in (name, model.ENDPOINT):
        (row,) = read_batch(table(tmp_path, document, endpoint)).rows
        assert type(row.request) is model
        assert row.request.resolution.width == 256  # type: ignore[union-attr]
        assert row.request.model_dump()[model.STRENGTH_FIELD] == 0.5
    adapter = TypeAdapter(AnyRequest)
    assert {each["$ref"].rpartition("/")[2] for each in adapter.json_schema()["anyOf"]} == {
        each.__name__ for each in endpoint_models()
    }
    assert type(adapter.validate_python(document)) is model
    with pytest.raises(ValidationError):
        adapter.validate_python({**document, "num_frames": 8})
    assert {media_kind(field) for field in model.MEDIA_FIELDS} <= {"video", "image"}
    listed = httpx.get(f"{fal.url}/v1/models", params={"endpoint_id": model.ENDPOINT}).json()["models"]
    assert [each["endpoint_id"] for each in listed] == [model.ENDPOINT]
    if model is LoraRequest:
        shot = {"id": "a", "text": "it turns", "endpoint": name, "video": str(media_folder / "clip.mp4")}
        board = read_storyboard({"title": "T", "shots": [shot]})
        assert type(shot_request(board, board.shots[0], None)) is model


def test_what_is_not_registered_is_refused_with_the_names_of_those_that_are(
    model: type[GenerationRequest], document: dict[str, Any]
) -> None:
    """Registering twice has no effect, and a second model under the same name is refused."""
    before = endpoint_models()
    assert register_endpoint(model) is model
    assert endpoint_models() == before
    with pytest.raises(ValueError, match="is registered as"):
        register_endpoint(type("Other", (model,), {}))
    forget_endpoint(model)
    with pytest.raises(FalRequestInvalid, match=r"choose one of .*ingredient"):
        parse_request(document, model.ENDPOINT)
