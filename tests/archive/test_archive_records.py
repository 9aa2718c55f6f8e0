"""What a manifest says beside its files: quality, lineage, the published schema, and the way back to a request."""

import json
from pathlib import Path
from typing import Any

import pytest
from archive_parts import manifest, sha
from pydantic import ValidationError

from prefect_ltx.archive import (
    Ancestor,
    ArchiveNotFound,
    InputFile,
    Manifest,
    QualityRecord,
    RecordedFinding,
    fill_media,
    reproduce,
    schema_document,
)
from prefect_ltx.fal import INGREDIENT, REFERENCE_VIDEO, FalRequestInvalid, IngredientRequest

SCHEMA = Path(__file__).parents[2] / "docs" / "manifest.schema.json"


def test_the_published_schema_is_that_of_the_code() -> None:
    """docs/manifest.schema.json is written from the model: python -c 'from prefect_ltx.archive import …'."""
    assert SCHEMA.read_text("utf-8") == schema_document(), (
        'write it anew: python -c "from prefect_ltx.archive import schema_document as s; '
        "open('docs/manifest.schema.json', 'w').write(s())\""
    )


def test_quality_and_lineage_come_back_as_they_were_written() -> None:
    """A film names its shots by id and by the hash of their manifests; findings keep their place and picture."""
    finding = RecordedFinding(
        kind="sheet_lead_in",
        severity="error",
        message="m",
        start_frame=0,
        end_frame=3,
        picture="finding-1.jpg",
    )
    made = manifest(
        quality=QualityRecord(policy="trim", verdict="trim", trimmed_frames=3, findings=[finding]),
        made_of=[Ancestor(generation_id="g1", manifest_sha256="a" * 64, role="shot 1")],
    )
    again = Manifest.from_bytes(made.to_bytes())
    assert (again.quality, again.made_of) == (made.quality, made.made_of)
    assert again.quality is not None
    assert not again.quality.rejected
    assert QualityRecord(policy="reject", verdict="reject").rejected
    with pytest.raises(ValidationError):
        Ancestor(generation_id="g1", manifest_sha256="no hash", role="shot 1")


def test_a_manifest_without_quality_control_says_so() -> None:
    """None is not an empty list of findings: nobody looked."""
    assert json.loads(manifest().to_bytes())["quality"] is None


def made_ingredient(**changes: object) -> Manifest:
    body = {
        "prompt": "A boat", "image_url": "sha256:" + "b" * 64, "num_frames": 9, "enable_prompt_expansion": True,
        "resolution": {"width": 256, "height": 128}, "generate_audio": False, "seed": 1, "new_switch": 3,
    }  # fmt: skip
    sheet = InputFile(field="image_url", sha256="b" * 64, size=3, content_type="image/png", name="s.png")
    values: dict[str, Any] = {
        "endpoint": INGREDIENT,
        "request": body,
        "seed": 42,
        "prompt_sent": "A boat",
        "prompt_expanded": "A small boat.",
        "inputs": [sheet],
    }
    return manifest(**(values | changes))


def test_reproducing_takes_the_expanded_prompt_and_the_seed_that_was_used() -> None:
    """Expansion is off, so fal changes nothing; everything else is as it was asked, undocumented fields too."""
    request = reproduce(made_ingredient())
    assert isinstance(request, IngredientRequest)
    body = request.body()
    assert (body["prompt"], body["seed"], body["enable_prompt_expansion"]) == ("A small boat.", 42, False)
    assert (body["num_frames"], body["generate_audio"], body["new_switch"]) == (9, False, 3)
    assert body["resolution"] == {"width": 256, "height": 128}
    assert request.media() == {"image_url": "sha256:" + "b" * 64}


def test_without_expansion_the_sent_prompt_is_taken() -> None:
    """An empty expansion means that fal took the prompt as it was."""
    assert reproduce(made_ingredient(prompt_expanded="")).prompt == "A boat"


def test_a_request_of_no_known_endpoint_is_refused() -> None:
    """A film's manifest, or one of a later model, is no request of this version."""
    with pytest.raises(FalRequestInvalid, match="Unknown endpoint"):
        reproduce(made_ingredient(endpoint="film"))


async def test_media_are_found_by_their_content(tmp_path: Path) -> None:
    """File names do not matter; what is missing is named with its hash."""
    (tmp_path / "renamed").write_bytes(b"sheet")
    (tmp_path / "other.png").write_bytes(b"other")
    sheet = InputFile(field="image_url", sha256=sha(b"sheet"), size=5, content_type="image/png")
    request = reproduce(made_ingredient(inputs=[sheet]))
    filled = await fill_media(request, [tmp_path / "other.png", tmp_path / "renamed"])
    assert filled.media() == {"image_url": str(tmp_path / "renamed")}
    with pytest.raises(ArchiveNotFound, match=f"image_url .sha256 {sha(b'sheet')}"):
        await fill_media(request, [tmp_path / "other.png"])
    assert await fill_media(filled, []) == filled


def test_both_media_of_a_reference_video_are_placeholders() -> None:
    """The optional style image is one of the inputs too."""
    inputs = [
        InputFile(field="video_url", sha256="c" * 64, size=1, content_type="video/mp4"),
        InputFile(field="image_url", sha256="d" * 64, size=1, content_type="image/png"),
    ]
    body = {"prompt": "p", "video_url": "sha256:" + "c" * 64, "image_url": "sha256:" + "d" * 64}
    request = reproduce(made_ingredient(endpoint=REFERENCE_VIDEO, request=body, inputs=inputs))
    assert request.media() == {"video_url": "sha256:" + "c" * 64, "image_url": "sha256:" + "d" * 64}
