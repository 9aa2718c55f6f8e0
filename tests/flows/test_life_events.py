"""Each generation's life is in Prefect's event log once, whichever flow it was part of, with its lineage."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from prefect.types.names import validate_valid_asset_key
from told import told

from prefect_ltx.fal import FalValidationError, IngredientRequest
from prefect_ltx.flows import (
    finish_generation,
    generate_batch,
    ingredient_to_video,
    reference_video_to_video,
    submit_only,
    sweep,
)
from prefect_ltx.generation.inputs import MediaDigest
from prefect_ltx.ledger import Ledger
from prefect_ltx.local import LocalFal
from prefect_ltx.media import make_reference_sheet
from prefect_ltx.tasks.assets import REFERENCED, asset_key, input_key

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

SMALL: dict[str, Any] = {
    "num_frames": 9,
    "resolution": {"width": 256, "height": 128},
    "video_write_mode": "fast",
}
LIFE = ["planned", "submitted", "completed", "archived"]


def request(media: Path, **changes: Any) -> IngredientRequest:
    data = {"prompt": "a cup that turns", "image_url": str(media / "sheet.png"), "seed": 7}
    return IngredientRequest.model_validate(data | SMALL | changes)


async def life_of(generation: str, count: int = 4) -> list[str]:
    found = await told(count, id=[f"ltx.generation.{generation}"])
    return [each["event"].removeprefix("ltx.generation.") for each in found]


async def test_a_generation_and_its_asset_are_told_once(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """One run tells its life in four events and its video as an asset; the same request again tells nothing new."""
    first = await ingredient_to_video(request(media_folder), recipe="none")
    again = await ingredient_to_video(request(media_folder), recipe="none")
    assert (again.generation_id, again.reused) == (first.generation_id, True)
    assert await life_of(first.generation_id) == LIFE

    (asset,) = await told(id=[f"file://{first.video}"])
    assert asset["event"] == "prefect.asset.materialization.succeeded"
    roles = {each["prefect.resource.role"]: each["prefect.resource.id"] for each in asset["related"]}
    assert roles["asset-materialized-by"] == "fal"
    assert roles["flow-run"].startswith("prefect.flow-run.")
    payload = asset["payload"]
    assert payload["generation"] == first.generation_id
    assert payload["seed"] == 7
    assert payload["price_billed_usd"] == str(first.price_billed_usd.normalize())  # type: ignore[union-attr]
    assert len(payload["sha256"]) == 64

    referenced = [each for each in await told(id=[roles["asset"]]) if "referenced" in each["event"]]
    # Other tests of this server may have used the same sheet, by other names.
    assert "sheet.png" in {each["resource"]["prefect.resource.name"] for each in referenced}
    assert roles["asset"] == payload["inputs"]["image_url"].replace("sha256:", "sha256://")


async def test_a_refused_request_is_told_as_failed(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """A generation that fal ends in an error is told as failed, with the reason and what it means for the bill."""
    fal.faults.add("job_422")
    with pytest.raises(FalValidationError):
        await ingredient_to_video(request(media_folder))
    with Ledger(f"sqlite:///{ltx_env / 'ledger.db'}") as ledger:
        (row,) = ledger.find()
    found = await told(3, id=[f"ltx.generation.{row.id}"])
    assert [each["event"] for each in found] == [f"ltx.generation.{each}" for each in (*LIFE[:2], "failed")]
    assert found[-1]["payload"]["reason"]


async def test_submitted_now_and_finished_later_is_one_life(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Two flows, or a flow and a sweep, tell one life together; while nobody waits it is told as unattended."""
    handle = await submit_only(request(media_folder))
    await finish_generation(handle.generation_id, recipe="none")
    assert await life_of(handle.generation_id) == LIFE

    left = await submit_only(request(media_folder, seed=8))
    async with asyncio.timeout(60):
        while left.request_id not in {each.request_id for each in fal.bill.charges}:
            await asyncio.sleep(0.1)
    await sweep(recipe="none")
    assert await life_of(left.generation_id) == LIFE


async def test_the_rows_of_a_batch_tell_their_lives_and_the_batch_its_end(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Every row's generation is told as a single one would be; the batch adds each row's end and its own."""
    rows = [request(media_folder, seed=seed).model_dump(mode="json") for seed in (1, 2)]
    for row in rows:
        row["endpoint"] = "ingredient"
    report = await generate_batch(rows, name="Events Of Two", recipe="none")
    assert report.ok
    for row in report.rows:
        assert await life_of(str(row.generation_id)) == LIFE
    found = await told(3, id_prefix=["ltx.batch.events-of-two"])
    assert sorted(each["event"] for each in found) == [
        "ltx.batch.finished",
        "ltx.row.archived",
        "ltx.row.archived",
    ]
    (end,) = [each["payload"] for each in found if each["event"] == "ltx.batch.finished"]
    assert (end["ok"], end["rows"], end["counts"]) == (True, 2, {"archived": 2})


async def test_a_large_batch_tells_how_its_rows_end(
    fal: LocalFal, ltx_env: Path, media_folder: Path, tmp_path: Path
) -> None:
    """In chunks only the end of each row is told, and an input that all of them share is referenced once."""
    sheet = tmp_path / "shared.png"
    await make_reference_sheet(sheet, width=320, height=256)
    rows = [
        request(media_folder, seed=seed, image_url=str(sheet)).model_dump(mode="json") for seed in (31, 32)
    ]
    for row in rows:
        row["endpoint"] = "ingredient"
    report = await generate_batch(rows, name="Chunks", recipe="none", task_run_per_row_up_to=0)
    assert report.ok
    for row in report.rows:
        assert await life_of(str(row.generation_id), 1) == ["archived"]
    input_of_both = f"sha256://{hashlib.sha256(sheet.read_bytes()).hexdigest()}"
    (referenced,) = [each for each in await told(id=[input_of_both]) if each["event"] == REFERENCED]
    assert referenced["resource"]["prefect.resource.name"] == "shared.png"


async def test_a_low_budget_is_told_by_the_run_that_makes_it_low(
    fal: LocalFal, ltx_env: Path, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reservation that leaves less than a fifth of the budget is told, with what is left."""
    monkeypatch.setenv("PREFECT_LTX_BUDGET_USD", "0.0145")
    await reference_video_to_video(
        {"prompt": "a dancer", "video_url": str(media_folder / "clip.mp4"), "seed": 3} | SMALL,  # type: ignore[arg-type]
        recipe="none",
    )
    found = await told(id=["ltx.budget.PREFECT_LTX_BUDGET_USD"])
    assert found[-1]["payload"]["limit_usd"] == "0.0145"
    assert found[-1]["payload"]["left_usd"] == "0.000055"


@pytest.mark.parametrize(
    ("location", "key"),
    [
        ("s3://bucket/prefix", "s3://bucket/prefix/2026/a/video.mp4"),
        ("/videos/of [mine] & yours", "file:///videos/of__mine____yours/2026/a/video.mp4"),
        ("/" + "x" * 600, ""),
    ],
)
def test_an_asset_key_is_one_that_prefect_takes(location: str, key: str) -> None:
    """Keys have no character that Prefect refuses, and a place that is too long is not an asset."""
    assert asset_key(location, "2026/a", "video.mp4") == key
    if key:
        assert validate_valid_asset_key(key) == key


def test_an_input_is_known_by_its_place_on_s3_or_by_its_content() -> None:
    """An input's key is its S3 address, else its content: no path of a machine, and no address that may be secret."""
    media = MediaDigest(sha256="a" * 64, size=1, content_type="image/png", name="a.png", width=1, height=1)
    assert input_key(media) == validate_valid_asset_key(f"sha256://{'a' * 64}")
    placed = media.model_copy(update={"source": "s3://bucket/sheets/a b.png"})
    assert input_key(placed) == validate_valid_asset_key("s3://bucket/sheets/a_b.png")
