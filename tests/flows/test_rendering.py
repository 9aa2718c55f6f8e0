"""The flow that renders what is archived again, through a real Prefect server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import submits
from told import told

from prefect_ltx.archive import Archive
from prefect_ltx.flows import generate_batch, render_archive
from prefect_ltx.local import LocalFal
from prefect_ltx.media import ContactSheet, Recipe

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    with LocalFal(renderer="prefect_ltx.local.stored_clip:StoredClipRenderer") as server:
        yield server


async def test_a_run_renders_what_is_missing_and_buys_nothing(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """By tag, with a recipe of one's own; a clip that fails is in the run's end, and the others are made."""
    base: dict[str, Any] = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": "256x128",
    }
    rows = [base | {"seed": seed, "tags": ["client:acme"]} for seed in range(3)]
    made = await generate_batch(rows, name="cups", recipe="none")
    sent = submits(fal)
    archive = Archive(ltx_env / "archive")
    damaged = ltx_env / "archive" / str(made.rows[0].folder) / "video.mp4"
    good = damaged.read_bytes()
    damaged.write_bytes(b"no video")
    recipe = Recipe(name="sheet", outputs=(ContactSheet(frames=2, columns=2),))
    state = await render_archive(recipe, tags=["client:acme"], return_state=True)  # type: ignore[call-overload]
    report = await state.aresult()
    assert (state.name, len(report.rendered), len(report.failed)) == ("Incomplete", 2, 1)
    assert "2 clips rendered" in str(state.message)
    clip = report.rendered[0]
    place = f"file://{ltx_env / 'archive' / clip.folder}"
    (address,) = clip.files.values()
    (rendered,) = await told(id=[f"{place}/{address.rpartition(f'{clip.folder}/')[2]}"])
    assert rendered["payload"]["generation_id"] == clip.generation_id
    sources = [each for each in rendered["related"] if each["prefect.resource.role"] == "asset"]
    assert [each["prefect.resource.id"] for each in sources] == [f"{place}/video.mp4"]
    damaged.write_bytes(good)
    again = await render_archive(recipe, tags=["client:acme"])
    assert (len(again.rendered), len(again.known), again.failed) == (1, 2, [])
    verified = await archive.verify()
    assert (verified.ok, verified.additions, submits(fal), len(fal.bill)) == (True, 3, sent, 3)
    with pytest.raises(ValueError, match="no renditions"):
        await render_archive("none")
