import json
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
from archive_parts import FOLDER, manifest, sha

from prefect_ltx.archive import InputFile, Manifest, ManifestUnreadable, manifest_schema

# As version 0.1.0 of this package wrote it; every later version has to read it.
WRITTEN_BY_0_1_0 = """{
  "schema_version": 1,
  "generation_key": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
  "generation_id": "0190c0de",
  "endpoint": "fal-ai/ltx-2.3-quality/ingredient",
  "account": "fedcba9876543210",
  "request": {"prompt": "A boat", "image_url": "sha256:aa", "num_frames": 121},
  "request_id": "11111111-2222-3333-4444-555555555555",
  "seed": 42,
  "prompt_sent": "A boat",
  "prompt_expanded": "A small boat at sea.",
  "price_expected_usd": "0.4020525",
  "price_billed_usd": null,
  "billable_units": "167",
  "inputs": [
    {"field": "image_url", "sha256": "%(sha)s", "size": 3, "content_type": "image/png", "name": "sheet.png"}
  ],
  "files": [
    {"role": "video", "name": "video.mp4", "sha256": "%(sha)s", "size": 3, "content_type": "video/mp4", "facts": {}}
  ],
  "asked": {"width": 1536},
  "delivered": {"width": 1536},
  "differences": [],
  "tools": {"ffmpeg": "9.0.2"},
  "stand_in": true,
  "created_at": "2026-11-21T12:00:00Z",
  "folder": "2026/11/21/ingredient-0123456789abcdef",
  "tags": ["launch"]
}
""".replace("%(sha)s", "a" * 64)


def test_a_manifest_comes_back_as_it_was_written() -> None:
    """Amounts stay exact, text of any script stays readable, and the bytes do not change by reading."""
    made = manifest(
        {"video.mp4": b"v"}, prompt_sent="Ein Boot, 船 ⛵", price_billed_usd=Decimal("0.40205250")
    )
    data = made.to_bytes()
    again = Manifest.from_bytes(data)
    assert again.model_dump() == made.model_dump()
    assert again.to_bytes() == data
    assert again.sha256 == made.sha256 == sha(data)
    assert "船 ⛵" in data.decode()
    assert json.loads(data)["price_billed_usd"] == "0.40205250"
    assert again.video is not None
    assert again.file("poster") is None


def test_manifests_of_earlier_releases_are_read() -> None:
    """What was archived stays readable, and its file's hash is that of the bytes on disk."""
    found = Manifest.from_bytes(WRITTEN_BY_0_1_0.encode())
    assert (found.seed, found.price_expected_usd, found.billable_units) == (
        42,
        Decimal("0.4020525"),
        Decimal(167),
    )
    assert found.folder == FOLDER
    assert found.sha256 == sha(WRITTEN_BY_0_1_0.encode())


def test_a_changed_copy_is_no_longer_the_file_that_was_read() -> None:
    """Its bytes are made anew."""
    found = Manifest.from_bytes(WRITTEN_BY_0_1_0.encode())
    assert found.model_copy().sha256 == found.sha256
    assert json.loads(found.model_copy(update={"seed": 43}).to_bytes())["seed"] == 43


def test_fields_of_a_later_release_are_kept() -> None:
    """A reader that does not know a field passes it on."""
    data = json.loads(WRITTEN_BY_0_1_0) | {"qc": {"black": []}}
    assert Manifest.from_bytes(json.dumps(data).encode()).model_dump()["qc"] == {"black": []}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "no manifest"),
        (b'{"schema_version": 2}', "schema version 2"),
        (b'{"schema_version": 1}', "generation_key"),
        (WRITTEN_BY_0_1_0.replace("a" * 64, "no hash").encode(), "no manifest"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line(data: bytes, reason: str) -> None:
    """The refusal names the file and the first thing that is wrong with it."""
    with pytest.raises(ManifestUnreadable, match=f"x/manifest.json.*{reason}") as refused:
        Manifest.from_bytes(data, name="x/manifest.json")
    assert "\n" not in str(refused.value)


def test_no_signed_address_gets_into_a_manifest() -> None:
    """Addresses lose their query and user info, data URIs their data; prompts are kept to the letter."""
    prompt = "https://example.com/?token=part-of-the-prompt"
    made = manifest(
        request={
            "prompt": prompt,
            "image_url": "https://me:pw@v3.fal.media/files/a.png?X-Amz-Signature=secret#secret",
            "video_url": "data:video/mp4;base64,c2VjcmV0",
            "loras": [{"path": "https://host/lora.safetensors?sig=secret", "scale": 1}],
            "note": "see https://example.com/?not=an-address-alone",
        }
    )
    text = made.to_bytes().decode()
    assert "secret" not in text
    assert "c2VjcmV0" not in text
    assert "pw@" not in text
    assert made.request["image_url"] == "https://v3.fal.media/files/a.png"
    assert made.request["prompt"] == prompt
    assert made.request["note"] == "see https://example.com/?not=an-address-alone"


def test_the_schema_describes_what_is_written() -> None:
    """The exported JSON schema accepts a real manifest and refuses a damaged one."""
    schema = manifest_schema()
    made = manifest(
        {"video.mp4": b"v"},
        inputs=[InputFile(field="image_url", sha256="0" * 64, size=1, content_type="image/png")],
        billable_units=Decimal(167),
    )
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(made.to_bytes()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(made.to_bytes()) | {"seed": "x"}, schema)


def test_the_packages_own_template_is_installed() -> None:
    """The gallery's template lies beside the code, as package data."""
    import prefect_ltx.archive

    assert Path(prefect_ltx.archive.__file__).with_name("gallery.html").is_file()
