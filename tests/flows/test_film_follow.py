"""Shots that follow each other: the last frame of one is the first of the next."""

import asyncio
import copy
import runpy
from decimal import Decimal
from pathlib import Path
from typing import Any

import av
import pytest
import yaml
from PIL import Image, ImageChops, ImageStat
from support import submits

from prefect_ltx.archive import Archive
from prefect_ltx.film import read_storyboard
from prefect_ltx.flows import storyboard_film
from prefect_ltx.flows.film_plan import FilmPlan, plan_film
from prefect_ltx.flows.film_shots import FilmIncomplete
from prefect_ltx.flows.sheeting import draw_sheets
from prefect_ltx.generation import Services
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "storyboard"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The six-shot example, small; its third shot starts from the second's last frame."""
    folder = tmp_path_factory.mktemp("storyboard")
    asyncio.run(runpy.run_path(str(EXAMPLE / "draw.py"))["draw"](folder / "images"))
    board: dict[str, Any] = yaml.safe_load((EXAMPLE / "storyboard.yaml").read_text())
    board["resolution"] = {"width": 256, "height": 128}
    board["defaults"]["settings"] = {"video_write_mode": "fast"}
    for shot in board["shots"]:
        shot["frames"] = 9
        shot.pop("takes", None)
        shot.pop("transition", None)
    for member in board["cast"].values():
        member["images"] = [str(folder / each) for each in member["images"]]
    for place in board["locations"].values():
        place["image"] = str(folder / place["image"])
    third = board["shots"][2]
    third |= {"video": str(folder / third["video"]), "start_from": board["shots"][1]["id"]}
    return board


def frames(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_image(src_colorspace="ITU709") for frame in container.decode(video=0)]


def off(one: Any, other: Any) -> float:
    """The mean difference of two pictures in their worst channel, of 255."""
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


async def planned(board: dict[str, Any]) -> FilmPlan:
    read = read_storyboard(board)
    async with Services.from_settings(Settings(), to_spend=False) as services:
        return await plan_film(services, read, await draw_sheets(services, read))


async def test_a_shot_starts_where_another_ends_and_hangs_on_it_alone(
    example: dict[str, Any], fal: LocalFal, ltx_env: Path
) -> None:
    """The cut is seamless; a changed second shot makes itself and the third again; the plan knows prices before."""
    before = await planned(example)
    assert [each.waits for each in before.shots] == [False, False, True, False, False, False]
    assert before.to_send == 6
    assert any("last frame of shot sail" in text for text in before.shots[2].warnings)

    film = await storyboard_film(example, recipe="none")
    assert film.price_expected_usd == before.price_expected_usd
    archive = ltx_env / "archive"
    clips = [frames(archive / each.folder / "video.mp4") for each in film.shots]
    assert off(clips[1][-1], clips[2][0]) < 6
    assert off(clips[1][0], clips[2][0]) > 6
    made = frames(Path(film.video))
    assert off(made[17], made[18]) < 6

    shot = film.shots[2]
    assert shot.start_from == "sail"
    manifest = await Archive(str(archive)).manifest(shot.folder)
    assert manifest is not None
    assert shot.start_picture_sha256 in [each.sha256 for each in manifest.inputs]
    with Image.open(next(archive.glob("frames/*.png"))) as picture:
        assert picture.size == (256, 128)
        assert off(picture, clips[1][-1]) < 3

    after = await planned(example)
    assert ({each.first.status for each in after.shots}, after.to_send) == ({"archived"}, 0)
    assert (after.price_upper_usd, after.shots[2].waits) == (Decimal(0), False)
    assert submits(fal) == 6

    changed = copy.deepcopy(example)
    changed["shots"][1]["text"] = "Mara turns round; far away the boat has gone"
    plan = await planned(changed)
    assert [each.first.status for each in plan.shots].count("new") == plan.to_send == 2
    other = await storyboard_film(changed, recipe="none")
    same = [a.generation_key == b.generation_key for a, b in zip(film.shots, other.shots, strict=True)]
    assert same == [True, False, False, True, True, True]
    assert (other.paid_now, len(fal.bill)) == (2, 8)
    assert (await Archive(str(archive)).verify()).ok


async def test_what_hangs_on_a_shot_that_failed_is_not_begun(
    example: dict[str, Any], fal: LocalFal, ltx_env: Path
) -> None:
    """The shot that starts from it is neither sent nor paid for, and the run says so; run again, both are made."""
    small = copy.deepcopy(example)
    small["shots"] = small["shots"][1:3]
    fal.faults.add("job_422", times=1)
    with pytest.raises(FilmIncomplete, match="2 of 2 shots were not made: shot sail: .*; 1 that start from"):
        await storyboard_film(small, recipe="none")
    assert (submits(fal), len(fal.bill)) == (1, 0)
    film = await storyboard_film(small, recipe="none")
    assert (film.paid_now, len(fal.bill)) == (2, 2)


async def test_a_chain_begins_and_ends_on_pictures(
    example: dict[str, Any], fal: LocalFal, ltx_env: Path, tmp_path: Path
) -> None:
    """A shot passes through a picture and ends on one; the next starts there, whatever their order in the film."""
    colours = {"first": (200, 60, 40), "mid": (40, 160, 80), "end": (60, 70, 190)}
    for name, colour in colours.items():
        Image.new("RGB", (256, 128), colour).save(tmp_path / f"{name}.png")
    video = example["shots"][2]["video"]
    shared = {"video": video, "frames": 17, "settings": {"video_quality": "maximum"}}
    board = {
        "title": "A chain",
        "resolution": example["resolution"],
        "defaults": example["defaults"],
        "shots": [
            {"id": "late", "text": "it goes on", "start_from": "early", **shared},
            {
                "id": "early",
                "text": "it begins",
                "image": str(tmp_path / "first.png"),
                "mid_image": str(tmp_path / "mid.png"),
                "end_image": str(tmp_path / "end.png"),
                **shared,
            },
        ],
    }
    film = await storyboard_film(board, recipe="none")
    late, early = (frames(ltx_env / "archive" / each.folder / "video.mp4") for each in film.shots)
    for place, name in ((0, "first"), (8, "mid"), (16, "end")):
        assert off(early[place], Image.new("RGB", (256, 128), colours[name])) < 4, name
    assert off(late[0], Image.new("RGB", (256, 128), colours["end"])) < 6
    text = (ltx_env / "archive" / film.folder / "manifest.json").read_text()
    assert str(tmp_path) not in text
