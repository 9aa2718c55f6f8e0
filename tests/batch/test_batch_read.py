"""A batch as somebody wrote it: every form gives the same requests, and every mistake is found before money."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.batch import BatchInvalid, read_batch
from prefect_ltx.fal import ImageSize, IngredientRequest, ReferenceVideoRequest

Write = Callable[[str, str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "sheet.png").touch()
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Write:
    def written(name: str, text: str) -> Path:
        (folder / name).write_text(text, encoding="utf-8")
        return folder / name

    return written


def problems(source: Any, **how: Any) -> list[tuple[str, str]]:
    """Where and in which column every problem of a batch is."""
    with pytest.raises(BatchInvalid) as found:
        read_batch(source, **how)
    assert "nothing was sent or spent" in str(found.value)
    assert "\n" not in str(found.value)
    return [(each.where, each.column) for each in found.value.problems]


def test_csv_jsonl_yaml_and_list_give_the_same_requests(folder: Path, write: Write) -> None:
    """The form of the file changes nothing about what is asked for."""
    wanted = [
        {"prompt": "a dancer, in red", "video_url": "clip.mp4", "seed": 3, "generate_audio": False},
        {"prompt": "a cup", "image_url": "sheet.png", "resolution": {"width": 640, "height": 384}},
    ]
    table = write(
        "b.csv",
        "\ufeffprompt,video_url,image_url,seed,generate_audio,resolution\n"
        '"a dancer, in red",clip.mp4,,3,no,\n'
        "\n"
        "a cup,,sheet.png,,,640x384\n",
    )
    lines = write("b.jsonl", "\n\n".join(json.dumps(each) for each in wanted))
    yaml = write("b.yaml", json.dumps({"rows": wanted}))
    absolute = [
        {name: str(folder / value) if name.endswith("_url") else value for name, value in each.items()}
        for each in wanted
    ]
    requests = [[row.request for row in read_batch(each).rows] for each in (table, lines, yaml, absolute)]
    assert requests[0] == requests[1] == requests[2] == requests[3]
    video, sheet = requests[0]
    assert isinstance(video, ReferenceVideoRequest)
    assert (video.video_url, video.seed, video.generate_audio) == (str(folder / "clip.mp4"), 3, False)
    assert isinstance(sheet, IngredientRequest)
    assert (sheet.resolution, sheet.seed) == (ImageSize(width=640, height=384), None)
    assert [row.where for row in read_batch(table).rows] == ["line 2", "line 4"]


def test_table_of_a_spreadsheet_with_semicolons(write: Write) -> None:
    """What a spreadsheet writes where the comma is the decimal sign is read as well."""
    (row,) = read_batch(write("b.csv", "prompt;image_url;id;tags\na, b;sheet.png;first;x y\n")).rows
    assert (row.request.prompt, row.id, row.tags) == ("a, b", "first", ("x", "y"))


def test_defaults_then_row_then_matrix_then_overrides(write: Write) -> None:
    """A value comes from the nearest place; what the caller gives goes before what the file says."""
    file = write(
        "b.yaml",
        """
        defaults: {image_url: sheet.png, num_frames: 25, guidance_scale: 2, seed: 5}
        overrides: {video_quality: low}
        matrix: {prompts: [a, b]}
        rows: [{num_frames: 33}, {guidance_scale: 3}]
        """,
    )
    rows = read_batch(file, defaults={"guidance_scale": 4}, overrides={"video_quality": "high"}).rows
    assert [(r.request.prompt, r.request.num_frames, r.request.guidance_scale) for r in rows] == [
        ("a", 33, 4),
        ("b", 33, 4),
        ("a", 25, 3),
        ("b", 25, 3),
    ]
    assert {(r.request.seed, r.request.video_quality) for r in rows} == {(5, "high")}
    assert [r.place for r in rows] == [1, 2, 3, 4]


def test_both_endpoints_mixed_share_their_defaults(write: Write) -> None:
    """A default that only one endpoint has is left out for the other; a strength has the name it has there."""
    file = write(
        "b.yaml",
        """
        defaults: {prompt: x, num_inference_steps: 20}
        matrix: {strengths: [0.2, 0.4]}
        rows: [{video_url: clip.mp4}, {image_url: sheet.png}]
        """,
    )
    first, _, third, fourth = (row.request for row in read_batch(file).rows)
    assert isinstance(first, ReferenceVideoRequest)
    assert (first.video_strength, first.num_inference_steps) == (0.2, 20)
    assert isinstance(third, IngredientRequest)
    assert isinstance(fourth, IngredientRequest)
    assert (third.ingredient_strength, fourth.ingredient_strength) == (0.2, 0.4)


@given(
    st.lists(st.text("abc", min_size=1), min_size=1, max_size=4),
    st.integers(1, 5),
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_matrix_is_every_combination_once(prompts: list[str], seeds: int, strengths: list[float]) -> None:
    """Prompts x seeds x strengths, in their order, no more and no less."""
    matrix = {"prompts": prompts, "seeds": f"1..{seeds}", "strengths": strengths}
    rows = read_batch({"matrix": matrix, "defaults": {"video_url": "https://h/v.mp4"}}).rows
    found = [(r.request.prompt, r.request.seed, getattr(r.request, "video_strength", None)) for r in rows]
    assert found == [(p, s, x) for p in prompts for s in range(1, seeds + 1) for x in strengths]


def test_matrix_of_a_million_is_refused_before_it_is_made() -> None:
    """The product is computed, not built: even 10 to the 36 rows end in one line at once."""
    base = {"rows": [{"prompt": "x", "image_url": "https://h/s.png"}]}
    for top in (1_000_000, 10**18):
        matrix = {"seeds": f"1..{top}", "ingredient_strength": [0.1, 0.2]}
        with pytest.raises(BatchInvalid, match=r"10,000 is the ceiling"):
            read_batch(base, matrix=matrix)
    assert len(read_batch(base, matrix={"seeds": "1..20000"}, most=20_000).rows) == 20_000


def test_more_rows_than_the_ceiling_are_refused(write: Write) -> None:
    """A file of rows has the same ceiling as a matrix."""
    file = write("b.jsonl", '{"prompt": "x", "image_url": "sheet.png"}\n' * 4)
    assert problems(file, most=3) == [("file", "")]


def test_every_bad_row_is_reported_by_row_and_column(write: Write) -> None:
    """One reading finds all of it: cells, ranges, missing fields, missing files, unknown columns."""
    file = write(
        "b.csv",
        "prompt,image_url,num_frames,generate_audio,promt,extra_arguments\n"
        "ok,sheet.png,9,yes,,\n"
        "x,nowhere.png,500,maybe,,\n"
        ",sheet.png,nine,,,{not json\n"
        "x,sheet.png,9,yes,,,one too many\n",
    )
    assert problems(file) == [
        ("line 5", ""),
        ("header", "promt"),
        ("line 3", "generate_audio"),
        ("line 3", "num_frames"),
        ("line 3", "image_url"),
        ("line 4", "extra_arguments"),
        ("line 4", "prompt"),
        ("line 4", "num_frames"),
    ]


def test_malformed_lines_and_rows_are_reported_in_their_place(write: Write) -> None:
    """Broken JSON, a row that is no mapping, an unknown endpoint: each with its place, and the rest is read."""
    good = '{"prompt": "x", "image_url": "sheet.png"}'
    file = write(
        "b.jsonl",
        f'{good}\n{{"prompt": \n[1]\n{{"prompt": "x"}}\n'
        f'{{"prompt": "x", "image_url": "sheet.png", "endpoint": "video"}}\n{good}\n',
    )
    assert problems(file) == [("line 2", ""), ("line 3", ""), ("line 4", ""), ("line 5", "endpoint")]


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("b.yaml", "rows: [", "file"),
        ("b.yaml", "rows: 3", "rows"),
        ("b.yaml", "matrix: [1]", "matrix"),
        ("b.yaml", "rows: []\nshots: []", "file"),
        ("b.json", "{", "file"),
        ("b.jsonl", "", "file"),
        ("b.csv", "prompt,image_url\n", "file"),
        ("b.csv", 'prompt,image_url\n"x,sheet.png\n', "line 2"),
        ("b.csv", "prompt,prompt,image_url\nx,y,sheet.png\n", "header"),
        ("b.txt", "x", "file"),
        ("b.yaml", "matrix: {seeds: []}\nrows: [{prompt: x, image_url: sheet.png}]", "matrix"),
        ("b.yaml", "matrix: {seeds: 9..1}\nrows: [{prompt: x, image_url: sheet.png}]", "matrix"),
        ("b.yaml", "matrix: {sead: [1]}\nrows: [{prompt: x, image_url: sheet.png}]", "matrix"),
        ("b.yaml", "defaults: {sead: 1}\nrows: [{prompt: x, image_url: sheet.png}]", "defaults"),
        ("b.yaml", "matrix: {seed: [1]}\nrows: [{prompt: x, image_url: sheet.png, seed: 2}]", "row 1"),
    ],
)
def test_a_file_that_cannot_be_a_batch_says_why(name: str, text: str, where: str, write: Write) -> None:
    """Not parsable, nothing in it, parts that are not what they should be: a report and no traceback."""
    assert where in {found for found, _ in problems(write(name, text))}


def test_no_file_binary_file_and_folder_are_reported(folder: Path) -> None:
    """What cannot be read at all is a report like any other."""
    (folder / "b.csv").write_bytes(b"\xff\xfe\x00binary")
    for source in (folder / "b.csv", folder / "none.csv", folder):
        assert problems(source) == [("file", "")]


def test_requests_as_models_are_rows_too(folder: Path) -> None:
    """A list may hold request models; only the fields that were set count as given."""
    request = IngredientRequest(prompt="x", image_url=str(folder / "sheet.png"), num_frames=9)
    (row,) = read_batch([request], defaults={"num_frames": 17, "guidance_scale": 2}).rows
    assert (row.request.num_frames, row.request.guidance_scale) == (9, 2)


def test_message_holds_no_query_of_a_url() -> None:
    """A signed address in a row that is wrong does not get into the report."""
    with pytest.raises(BatchInvalid) as found:
        read_batch([{"video_url": "https://h/v.mp4?sig=SECRET", "num_frames": 1}])
    assert "SECRET" not in str(found.value)


def test_strength_is_fals_own_where_it_has_a_meaning() -> None:
    """Beside preserve_original_video a column `strength` is fal's field; elsewhere the endpoint's usual strength."""
    row = {"prompt": "p", "video_url": "https://a.example/v.mp4", "strength": 0.3, "seed": 1}
    control = {
        "control_video_url": "https://a.example/c.mp4",
        "skip_control_preprocess": True,
        "preserve_original_video": True,
    }
    first, second, third = (
        each.request for each in read_batch([row, row | control, row | {"video_strength": 0.7}]).rows
    )
    assert isinstance(first, ReferenceVideoRequest)
    assert isinstance(second, ReferenceVideoRequest)
    assert isinstance(third, ReferenceVideoRequest)
    assert (first.video_strength, first.strength) == (0.3, 1)
    assert (second.video_strength, second.strength) == (0.6, 0.3)
    assert (third.video_strength, third.strength) == (0.7, 0.3)
