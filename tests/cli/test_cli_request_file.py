"""Requests in files: paths relative to the file, and one readable line for whatever is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.cli.request_file import RequestFileError, read_request
from prefect_ltx.fal import FalRequestInvalid, IngredientRequest, ReferenceVideoRequest

SHEET = {"prompt": "A cup turns.", "image_url": "media/sheet.png"}
CLIP = {"prompt": "A dancer.", "video_url": "clip.mp4"}


def written(folder: Path, *documents: Any, name: str = "request.json") -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(each) for each in documents))
    return path


def test_relative_media_path_belongs_to_the_files_folder(tmp_path: Path) -> None:
    """A media path in a request file is relative to that file, wherever the command runs."""
    request = read_request(written(tmp_path, SHEET))
    assert request.media() == {"image_url": str(tmp_path / "media/sheet.png")}


@pytest.mark.parametrize(
    "source",
    ["https://host.test/a.png", "s3://bucket/a.png", "data:image/png;base64,AAAA", "/absolute/a.png"],
)
def test_other_media_sources_stay_as_they_are(tmp_path: Path, source: str) -> None:
    """URLs, data URIs and absolute paths are not touched."""
    assert read_request(written(tmp_path, SHEET | {"image_url": source})).media() == {"image_url": source}


def test_endpoint_is_told_from_the_fields(tmp_path: Path) -> None:
    """A request with a reference video is for the one endpoint, a sheet alone for the other."""
    assert isinstance(read_request(written(tmp_path, SHEET)), IngredientRequest)
    assert isinstance(read_request(written(tmp_path, CLIP)), ReferenceVideoRequest)


def test_named_endpoint_refuses_fields_of_the_other(tmp_path: Path) -> None:
    """--endpoint decides, and what that endpoint does not take is an error."""
    with pytest.raises(FalRequestInvalid, match="video_url"):
        read_request(written(tmp_path, CLIP), "ingredient")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "one JSON object is needed, not a list"),
        ("null", "not a list of requests or nothing"),
        ("", "not JSON"),
    ],
)
def test_file_that_holds_no_request_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    """What is not one JSON object is refused with the file's name and what it is instead."""
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(RequestFileError, match=says) as caught:
        read_request(path)
    assert "bad.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_told_apart(tmp_path: Path) -> None:
    """A missing file and one that is no text are refused by name."""
    with pytest.raises(RequestFileError, match="No such file"):
        read_request(tmp_path / "absent.json")
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(RequestFileError, match="UTF-8"):
        read_request(tmp_path / "picture.json")


def test_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    """A file saved by an editor that writes a byte order mark is read."""
    path = tmp_path / "request.json"
    path.write_text(json.dumps(SHEET), encoding="utf-8-sig")
    assert read_request(path).prompt == "A cup turns."
