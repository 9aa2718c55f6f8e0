"""Storyboards: what is read, what is refused and how it is told, and what becomes of a shot."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from prefect_ltx.fal import IngredientRequest, ReferenceVideoRequest
from prefect_ltx.film import (
    Problem,
    StoryboardInvalid,
    load_storyboard,
    read_storyboard,
    sheet_plan,
    shot_request,
    shot_warnings,
    storyboard_schema,
)

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "storyboard" / "storyboard.yaml"

BOARD: dict[str, Any] = {
    "title": "Test",
    "cast": {
        "mara": {"name": "Mara", "look": "a red coat", "images": ["s3://b/mara.png"]},
        "lamp": {"kind": "prop", "look": "a brass lamp", "images": ["s3://b/lamp.png"]},
    },
    "locations": {"shore": {"look": "a grey beach", "image": "s3://b/shore.png"}},
    "shots": [
        {"id": "one", "text": "Mara runs", "location": "shore"},
        {"id": "two", "text": "the lamp burns", "transition": "cross-fade"},
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(BOARD) | changes


def shots(*entries: dict[str, Any]) -> dict[str, Any]:
    return changed(
        shots=[{"id": f"s{index}", "text": "Mara runs"} | each for index, each in enumerate(entries)]
    )


def problems(source: Any) -> list[Problem]:
    with pytest.raises(StoryboardInvalid) as caught:
        read_storyboard(source)
    return list(caught.value.problems)


def test_published_schema_is_the_models_own() -> None:
    """docs/storyboard.schema.json is what `python -m prefect_ltx.film` prints, and a valid schema."""
    published = json.loads((ROOT / "docs" / "storyboard.schema.json").read_text())
    assert published == storyboard_schema()
    jsonschema.Draft202012Validator.check_schema(published)


def test_example_fits_the_schema() -> None:
    """An editor with the published schema has nothing to say about the example; a typing mistake it sees."""
    schema = json.loads((ROOT / "docs" / "storyboard.schema.json").read_text())
    example = yaml.safe_load(EXAMPLE.read_text())
    jsonschema.validate(example, schema)
    example["shots"][0]["frame"] = 9
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(example, schema)


def test_a_shot_shows_who_it_names() -> None:
    """Without a cast of its own a shot shows whom its text names; the prompt describes just these and the place."""
    board = read_storyboard(BOARD)
    plans = [sheet_plan(board, shot) for shot in board.shots]
    assert [[source for source, _ in plan.images] for plan in plans if plan] == [
        ["s3://b/mara.png", "s3://b/shore.png"],
        ["s3://b/lamp.png"],
    ]
    request = shot_request(board, board.shots[0], "sheet.png")
    assert isinstance(request, IngredientRequest)
    assert request.prompt.startswith(
        "Reference sheet: Mara, a red coat; the location: shore, a grey beach.\n\n"
        "Generated video: Mara (a red coat) runs."
    )
    assert (request.enable_prompt_expansion, request.num_frames, request.image_url) == (
        False,
        121,
        "sheet.png",
    )


def test_shared_sheet_shows_all_of_the_cast() -> None:
    """A shared sheet is the same for every shot in one place."""
    board = read_storyboard(changed(sheet="shared"))
    assert [len(plan.elements) for shot in board.shots if (plan := sheet_plan(board, shot))] == [3, 2]


def test_a_changed_shot_changes_no_other() -> None:
    """Seeds come from the storyboard's seed and the shot's id: texts, order and new shots leave them alone."""
    before = read_storyboard(BOARD)
    new = changed(shots=[{"id": "new", "text": "Mara waits"}, *BOARD["shots"]])
    new["shots"][1] = new["shots"][1] | {"text": "Mara walks"}
    after = read_storyboard(new)
    assert [after.seed_of(shot) for shot in after.shots[1:]] == [
        before.seed_of(shot) for shot in before.shots
    ]
    assert shot_request(after, after.shots[2], "s") == shot_request(before, before.shots[1], "s")
    assert shot_request(after, after.shots[1], "s") != shot_request(before, before.shots[0], "s")
    assert len({after.seed_of(shot) for shot in after.shots}) == 3


def test_a_reference_video_shot_has_a_plain_prompt() -> None:
    """A shot with a video goes to the other endpoint, without the sheet's headings, at the film's size and rate."""
    board = read_storyboard(
        shots({"video": "s3://b/clip.mp4", "settings": {"video_strength": 0.4}}) | {"frames_per_second": 30}
    )
    request = shot_request(board, board.shots[0], None)
    assert isinstance(request, ReferenceVideoRequest)
    assert (request.prompt, request.video_strength, request.frames_per_second) == ("Mara runs.", 0.4, 30)


def test_transitions() -> None:
    """A default transition is not meant for the first shot; a number of frames may be given."""
    board = read_storyboard(
        shots({}, {}, {"transition": {"cross_fade": 5}}, {"transition": "cut"})
        | {"defaults": {"transition": "cross-fade"}}
    )
    assert [board.overlap_of(index) for index in range(4)] == [0, 12, 5, 0]


@pytest.mark.parametrize(
    ("board", "where", "field", "says"),
    [
        (shots({"frames": 500}), "shot 1 (s0)", "frames", "481"),
        (shots({}, {"transiton": "cut"}), "shot 2 (s1)", "transiton", "did you mean transition?"),
        (shots({"transition": "wipe"}), "shot 1 (s0)", "transition", "cross-fade"),
        (shots({"transition": "cross-fade"}), "shot 1 (s0)", "transition", "nothing to cross-fade from"),
        (
            shots({}, {"frames": 9, "transition": {"cross_fade": 9}}),
            "shot 2 (s1)",
            "transition",
            "stand alone",
        ),
        (shots({"cast": ["nobody"]}), "shot 1 (s0)", "cast", "'nobody'"),
        (shots({"location": "moon"}), "shot 1 (s0)", "location", "'moon'"),
        (shots({"text": "it rains"}), "shot 1 (s0)", "cast", "empty"),
        (shots({"text": "Reference sheet: Mara"}), "shot 1 (s0)", "text", "heading"),
        (shots({"endpoint": "reference-video-to-video"}), "shot 1 (s0)", "video", "needs a reference video"),
        (shots({"image": "s3://b/i.png"}), "shot 1 (s0)", "image", "belongs to"),
        (
            shots({"settings": {"ingredient_strength": 3}}),
            "shot 1 (s0)",
            "settings.ingredient_strength",
            "2",
        ),
        (shots({"settings": {"seed": 3}}), "shot 1 (s0)", "settings", "seed"),
        (shots({"takes": {"n": 3, "choose": "person"}}), "shot 1 (s0)", "takes", "stop has to be all"),
        (shots({"id": "same"}, {"id": "same"}), "shot 2 (same)", "id", "already"),
        (changed(cast={"a": {"look": "x"}}), "cast a", "images", "missing"),
        (changed(locations={"Mara": {"look": "x", "image": "s3://x"}}), "location Mara", "name", "already"),
        (
            changed(locations={"x": {"look": "x", "image": "/no/x.png"}}),
            "location x",
            "image",
            "no such file",
        ),
        (changed(shots=[]), "", "shots", "at least 1"),
        (changed(frames_per_second=0), "", "frames_per_second", "1"),
        ([1, 2], "", "", "mapping"),
    ],
)
def test_problems_are_told_by_shot_and_field(board: Any, where: str, field: str, says: str) -> None:
    """Each mistake is named where it is, in words that say what would be right."""
    # Where one mistake leads to another, the first is what is looked for.
    found = [each for each in problems(board) if (each.where, each.field) == (where, field)]
    assert len(found) == 1
    assert says in found[0].message


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    """A person reads the whole list, with line numbers, in one go; the error travels between processes."""
    text = (
        "title: Test\n"
        "cast:\n"
        "  mara: {look: a red coat, images: [/no/mara.png]}\n"
        "shots:\n"
        "  - id: one\n"
        "    text: mara runs\n"
        "    location: moon\n"
        "  - id: two\n"
        "    text: mara runs\n"
        "    settings: {guidance_scale: 99}\n"
    )
    found = problems(text)
    assert [(each.line, each.where, each.field) for each in found] == [
        (7, "shot 1 (one)", "location"),
        (10, "shot 2 (two)", "settings.guidance_scale"),
        (3, "cast mara", "images.0"),
    ]
    error = StoryboardInvalid("x.yaml", found)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems) == (str(error), error.problems)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("title: [x", "line 1: not YAML"),
        ("title: a\ntitle: b\n", "line 2: title: is there twice"),
        ("a: !!python/object/apply:os.system [ls]\n", "not YAML"),
        ("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n" + "d: [" + "*c," * 9000 + "]\n", "too many parts"),
    ],
)
def test_hostile_yaml_is_told_in_one_line(text: str, says: str) -> None:
    """No YAML makes the reader run code, unfold without end, or end in a traceback."""
    (found,) = problems(text)
    assert says in str(found)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """A path in a storyboard is looked for beside it; an address is left alone; a picture is no video."""
    board = changed()
    board["cast"]["mara"]["images"] = ["mara.png"]
    (tmp_path / "board.yaml").write_text(yaml.safe_dump(board))
    with pytest.raises(StoryboardInvalid, match=r"cast mara: images\.0: mara\.png"):
        load_storyboard(tmp_path / "board.yaml")
    (tmp_path / "mara.png").write_bytes(
        bytes.fromhex(
            "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
            "0000000c49444154789c6360606000000004000160c3d5a80000000049454e44ae426082"
        )
    )
    read = load_storyboard(tmp_path / "board.yaml")
    assert read.cast["mara"].images == [str(tmp_path / "mara.png")]
    assert read.cast["lamp"].images == ["s3://b/lamp.png"]
    with pytest.raises(StoryboardInvalid, match="video is needed"):
        read_storyboard(shots({"video": str(tmp_path / "mara.png")}))


def test_more_than_six_pictures_are_warned_of_and_nine_refused() -> None:
    """Seven pictures on a sheet are possible and told of; nine are a problem of that shot."""
    four = ["s3://b/1.png"] * 4
    board = changed()
    board["cast"]["mara"]["images"] = four
    board["cast"]["lamp"]["images"] = four[:3]
    board["shots"] = [{"id": "s", "text": "Mara and the lamp"}]
    read = read_storyboard(board)
    assert len(shot_warnings(read, read.shots[0])) == 1
    board["cast"]["lamp"]["images"] = four
    board["shots"][0]["location"] = "shore"
    (found,) = problems(board)
    assert (found.field, "too many" in found.message) == ("cast", True)


def follows(*starts: str | None, **more: Any) -> dict[str, Any]:
    """Shots a, b, c, … made from a video; each with the shot that it starts from."""
    named = {
        f"{chr(97 + place)}": {"video": "s3://b/v.mp4"} | ({"start_from": start} if start else {})
        for place, start in enumerate(starts)
    }
    return changed(shots=[{"id": name, "text": "it turns", **shot, **more} for name, shot in named.items()])


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (follows("a"), [("shot 1 (a)", "start_from", "circle")]),
        (follows("b", "a", "a"), [("shot 1 (a)", "start_from", "circle"), ("shot 2 (b)", "start_from", "circle")]),
        (follows("c", "a", "b"), [(f"shot {n + 1} ({c})", "start_from", "circle") for n, c in enumerate("abc")]),
        (follows(None, "x"), [("shot 2 (b)", "start_from", "there is no shot 'x'; there are: a, b")]),
        (follows(None, "a", image="s3://b/i.png"), [("shot 2 (b)", "image", "start_from names the first picture")]),
        (shots({"start_from": "s1"}, {}), [("shot 1 (s0)", "start_from", "made from a sheet")]),
        (shots({"end_image": "s3://b/e.png"}), [("shot 1 (s0)", "end_image", "made from a sheet")]),
        (follows(None, end_image="s3://b/e.png"), [("shot 1 (a)", "end_image", "needs image_url")]),
        (follows(None, mid_image="s3://b/e.png"), [("shot 1 (a)", "mid_image", "needs image_url")]),
    ],
)  # fmt: skip
def test_what_a_shot_cannot_start_from_is_said_in_one_line(
    source: dict[str, Any], found: list[tuple[str, str, str]]
) -> None:
    """Circles, unknown shots, two first pictures, keyframes without a first, shots of a sheet: each by its place."""
    told = problems(source)
    assert [(each.where, each.field) for each in told] == [(where, field) for where, field, _ in found]
    assert all(words in each.message for each, (_, _, words) in zip(told, found, strict=True))
    assert not any("\n" in str(each) for each in told)


def test_shots_are_made_in_waves_whatever_their_order() -> None:
    """A shot follows the one it starts from, also where that stands later in the film; the others wait for nothing."""
    board = read_storyboard(follows("c", None, "b", "a"))
    assert [[shot.id for shot in wave] for wave in board.start_order()] == [["b"], ["c"], ["a"], ["d"]]
    request = shot_request(board, board.shots[0], None, "start.png")
    assert request.media() == {"video_url": "s3://b/v.mp4", "image_url": "start.png"}
    keyed = follows(None, image="s3://b/i.png", mid_image="s3://b/m.png", end_image="s3://b/e.png")
    board = read_storyboard(keyed)
    assert shot_request(board, board.shots[0], None).media() == {
        "video_url": "s3://b/v.mp4",
        "image_url": "s3://b/i.png",
        "mid_image_url": "s3://b/m.png",
        "end_image_url": "s3://b/e.png",
    }
