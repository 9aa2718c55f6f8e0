"""Flows and tasks with blocks by name, and the tasks alone in somebody's own flow."""

from pathlib import Path

import pytest
from prefect import flow
from pydantic import SecretStr
from support import SECRET

from prefect_ltx.archive import Archive
from prefect_ltx.blocks import FalCredentials, GenerationLedger, SpendingBudget, VideoArchive
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.flows import ingredient_to_video
from prefect_ltx.ledger import BudgetExceeded
from prefect_ltx.local import LocalFal
from prefect_ltx.tasks import (
    archive_video,
    await_generation,
    download_video,
    postprocess_video,
    submit_generation,
    upload_media,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]


def request(sheet: str, **changes: object) -> IngredientRequest:
    data = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": sheet,
        "num_frames": 9,
        "resolution": {"width": 256, "height": 128},
        "seed": 3,
    }
    return IngredientRequest.model_validate(data | changes)


@pytest.fixture
async def blocks(fal: LocalFal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Blocks on the server, and an environment that names nothing but the work folder."""
    monkeypatch.setenv("PREFECT_LTX_HOME", str(tmp_path / "home"))
    await FalCredentials(api_key=SecretStr(SECRET), base_url=fal.url).save("studio", overwrite=True)
    await GenerationLedger(url=SecretStr(f"sqlite:///{tmp_path / 'l.db'}")).save("studio", overwrite=True)
    await VideoArchive(location=str(tmp_path / "archive")).save("studio", overwrite=True)
    return {"credentials": "studio", "ledger": "studio", "archive": "studio"}


async def test_flow_with_blocks_by_name(blocks: dict[str, str], fal: LocalFal, media_folder: Path) -> None:
    """Named blocks give the account, the ledger, the archive and the budget, and the budget holds."""
    await SpendingBudget(per_day_usd="0.003").save("small", overwrite=True)
    sheet = str(media_folder / "sheet.png")
    result = await ingredient_to_video(request(sheet), **blocks, budget="small")
    assert result.archive.endswith("/archive")
    with pytest.raises(BudgetExceeded):
        await ingredient_to_video(request(sheet, seed=4), **blocks, budget="small")
    assert len(fal.bill) == 1


async def test_tasks_alone(blocks: dict[str, str], fal: LocalFal, media_folder: Path) -> None:
    """The six tasks make an archived video in a flow of one's own, without a plan."""
    where = {name: blocks[name] for name in ("credentials", "ledger")}

    @flow
    async def mine() -> str:
        sheet = await upload_media(str(media_folder / "sheet.png"), kind="image", **where)
        handle = await submit_generation(
            request(str(media_folder / "sheet.png"), seed=None), media={"image_url": sheet}, **where
        )
        handle = await await_generation(handle, **blocks)
        video = await download_video(handle, **blocks)
        renditions = await postprocess_video(video)
        return (await archive_video(handle, video, renditions, **blocks)).archive

    archive = await mine()
    assert len(fal.bill) == 1
    assert (await Archive(archive).verify()).ok


async def test_postprocess_takes_any_file(media_folder: Path, tmp_path: Path) -> None:
    """`postprocess_video` works on any MP4, with no account at all."""
    renditions = await postprocess_video(media_folder / "clip.mp4", folder=tmp_path)
    assert {each.name for each in renditions} == {"poster", "contact_sheet", "web", "preview"}
