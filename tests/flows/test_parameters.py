"""Parameters of any size: put aside and named before a run is made, or refused in one line."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from s3_servers import S3Server
from support import submits

from prefect_ltx.archive import Archive
from prefect_ltx.batch import BatchInvalid, read_batch
from prefect_ltx.fal import IngredientRequest, ReferenceVideoRequest
from prefect_ltx.film import StoryboardInvalid, load_storyboard, read_storyboard
from prefect_ltx.flows import (
    best_of_takes,
    generate_batch,
    ingredient_to_video,
    reference_video_to_video,
    storyboard_film,
    submit_only,
)
from prefect_ltx.flows.parameters import ParametersInvalid, ParametersTooLarge, fitted
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import SettingsError

MOST = 524_288


def uri(path: Path, media_type: str, more: int = 0) -> str:
    """A file as a data URI; `more` bytes after its end, which its format does not mind."""
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes() + bytes(more)).decode()}"


@pytest.fixture
def sheet(media_folder: Path) -> str:
    return uri(media_folder / "sheet.png", "image/png", 600_000)


def size(flow: Any, parameters: dict[str, Any]) -> int:
    return len(json.dumps(flow.serialize_parameters(parameters)))


async def test_a_data_uri_becomes_a_file_for_every_flow_that_takes_a_request(
    ltx_env: Path, media_folder: Path, sheet: str
) -> None:
    """The same bytes under a name in the work folder; small parameters stay as they are."""
    request = IngredientRequest(prompt="a", image_url=sheet, num_frames=9)
    clip = uri(media_folder / "clip.mp4", "video/mp4", 600_000)
    video = ReferenceVideoRequest(
        prompt="a", video_url=clip, image_url=sheet, extra_arguments={"pose_url": sheet}
    )
    for flow, given in (
        (ingredient_to_video, request),
        (best_of_takes, request),
        (submit_only, request),
        (reference_video_to_video, video),
        (best_of_takes, video),
        (submit_only, video),
    ):
        found = await fitted(flow, {"request": given, "tags": None})
        assert size(flow, found) < 5000
        for field, source in given.media().items():
            path = Path(found["request"].media()[field])
            assert path.is_relative_to(ltx_env / "home" / "work")
            assert uri(path, "image/png" if source == sheet else "video/mp4") == source
    small = {"request": request.with_media({"image_url": uri(media_folder / "sheet.png", "image/png")})}
    assert await fitted(ingredient_to_video, small) == small


async def test_a_list_of_requests_becomes_a_file_with_the_same_requests(
    ltx_env: Path, media_folder: Path, sheet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, mappings, iterators, large defaults and matrices: the same rows, the same name, relative paths kept."""
    monkeypatch.chdir(media_folder)
    rows = [{"prompt": f"{number} " + "ä" * 900, "image_url": "sheet.png"} for number in range(100)]
    models = [
        IngredientRequest(prompt="x" * 6000, image_url=str(media_folder / "sheet.png"), seed=n)
        for n in range(100)
    ]
    for source, parts in (
        (rows, {}),
        (iter(rows), {}),
        (models, {}),
        ({"rows": rows, "defaults": {"num_frames": 9}}, {"overrides": {"seed": 3}}),
        ([{"prompt": "a", "image_url": sheet, "seed": seed} for seed in range(3)], {}),
        ([{"image_url": "sheet.png"}], {"matrix": {"prompts": [f"{n} " + "p" * 6000 for n in range(100)]}}),
        ([{"prompt": "a"}], {"defaults": {"image_url": "sheet.png", "negative_prompt": "n" * 600_000}}),
    ):
        wanted_of = rows if hasattr(source, "__next__") else source
        given = {"defaults": None, "overrides": None, "matrix": None, "name": "", "source": source} | parts
        found = await fitted(generate_batch, given)
        assert size(generate_batch, found) < 5000
        assert found["name"] == "batch"
        path = found["source"]
        assert Path(path).is_relative_to(ltx_env / "home" / "work")
        wanted = read_batch(wanted_of, **parts)
        monkeypatch.chdir(ltx_env)
        again = read_batch(path, name=found["name"])
        monkeypatch.chdir(media_folder)
        assert again.name == wanted.name
        assert [row.where for row in again.rows] == [row.where for row in wanted.rows]
        assert [row.request.prompt for row in again.rows] == [row.request.prompt for row in wanted.rows]
        assert all(Path(row.request.media()["image_url"]).is_absolute() for row in again.rows)


async def test_a_storyboard_becomes_a_file_with_the_same_shots(ltx_env: Path, media_folder: Path) -> None:
    """As a mapping and as YAML text; the run is called by its title."""
    shots = [{"id": f"s{n}", "text": "Ann walks. " + "word " * 800} for n in range(150)]
    picture = str(media_folder / "sheet.png")
    board = {"title": "A long film", "cast": {"ann": {"look": "x", "images": [picture]}}, "shots": shots}
    for source in (board, json.dumps(board, indent=1)):
        found = await fitted(storyboard_film, {"storyboard": source})
        path = Path(found["storyboard"])
        assert path.name == "A-long-film.yaml"
        assert load_storyboard(path) == read_storyboard(source)


async def test_what_cannot_be_put_aside_is_one_line_before_the_run(
    ltx_env: Path, media_folder: Path, sheet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too much in another parameter, values that no server holds, and no place for several machines."""
    request = IngredientRequest(prompt="a", image_url=str(media_folder / "sheet.png"))
    with pytest.raises(ParametersTooLarge, match=r"most of it in tags.*524,288.*nothing was sent or spent"):
        await ingredient_to_video(request, tags=["x" * MOST])
    with pytest.raises(ParametersTooLarge, match="most of it in request"):
        await submit_only(request.model_copy(update={"prompt": "p" * MOST}))
    for wrong in ({"seed": 10**30}, {"prompt": "x\ud83d"}, {"extra_arguments": {"a": float("nan")}}):
        with pytest.raises(ParametersInvalid, match=rf"source.0.{next(iter(wrong))}"):
            await generate_batch([{"prompt": "a", "image_url": "s.png"} | wrong])
    with pytest.raises(ParametersInvalid, match="tags.0"):
        await best_of_takes(request, tags=["\0"])
    with pytest.raises(BatchInvalid, match="twice|one mapping"):
        await generate_batch([["x" * MOST]])
    with pytest.raises(StoryboardInvalid, match="line 2"):
        await storyboard_film("title: T\ntitle: U\n" + "#" * MOST)
    monkeypatch.setenv("PREFECT_LTX_DISTRIBUTED", "true")
    with pytest.raises(SettingsError, match="no place for them that all machines can read"):
        await ingredient_to_video(request.with_media({"image_url": sheet}))


async def test_where_several_machines_share_the_work_it_lies_in_the_bucket(
    ltx_env: Path, moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket can be read by all of them; what lies there is no generation of the archive."""
    location = f"s3://{moto.new_bucket()}/made"
    for name, value in (
        moto.environ | {"PREFECT_LTX_ARCHIVE": location, "PREFECT_LTX_DISTRIBUTED": "1"}
    ).items():
        monkeypatch.setenv(name, value)
    rows = [{"prompt": f"{n} " + "p" * 6000, "image_url": "https://h.test/s.png"} for n in range(100)]
    parts = {"defaults": None, "overrides": None, "matrix": None, "name": ""}
    found = await fitted(generate_batch, {"source": rows} | parts)
    assert found["source"].startswith(f"{location}/.parameters/")
    assert [row.request.prompt for row in read_batch(found["source"]).rows] == [row["prompt"] for row in rows]
    async with Archive(location) as archive:
        assert (await archive.verify()).ok


async def test_the_flows_stay_prefects_own() -> None:
    """Options, names and forms are as without it."""
    renamed = generate_batch.with_options(name="another", retries=2)
    assert (renamed.name, renamed.retries, type(renamed)) == ("another", 2, type(generate_batch))
    assert "source" in generate_batch.parameters.properties
    assert generate_batch.isasync


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_runs_with_more_than_a_server_takes(
    fal: LocalFal, ltx_env: Path, media_folder: Path, sheet: str, prefect_server: None
) -> None:
    """E4: a data URI and a list of 1,500 rows are made, and paid for once each; the server holds their names."""
    size = {"width": 128, "height": 128}
    request = IngredientRequest(prompt="a cup", image_url=sheet, num_frames=9, resolution=size, seed=1)
    made = await ingredient_to_video(request, recipe="none")
    row = {"prompt": "a cup", "image_url": sheet, "num_frames": 9, "resolution": size, "seed": 1}
    same = request.with_media({"image_url": str(next(ltx_env.rglob("inline.png")))})
    report = await generate_batch([row] + [same] * 1499, recipe="none")
    assert report.name == "batch"
    assert {each.status for each in report.rows} == {"reused"}
    assert {each.generation_id for each in report.rows} == {made.generation_id}
    assert submits(fal) == len(fal.bill) == 1
