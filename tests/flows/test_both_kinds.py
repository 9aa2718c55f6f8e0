"""Tasks, flows and presets in a plain synchronous flow: the same ones, called without `await`."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from support import submits

from prefect_ltx.blocks import GenerationPreset
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.flows import ingredient_to_video, spend_report, sweep
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
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

SMALL = {"num_frames": 9, "resolution": {"width": 256, "height": 128}, "video_write_mode": "fast"}


def test_everything_can_be_called_in_a_synchronous_flow(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Each gives its result at once, none an un-awaited coroutine: flows, every task, a task of one's own, presets."""
    sheet = str(media_folder / "sheet.png")
    any_: Any = None  # the types say what asynchronous code gets

    @task
    def by_a_task(request: IngredientRequest) -> Any:
        any_ = ingredient_to_video
        return any_(request, recipe="none")

    @flow
    def plain() -> dict[str, Any]:
        request = IngredientRequest.model_validate(
            {"prompt": "A cup turns.", "image_url": sheet, "seed": 1, **SMALL}
        )
        made: Any = ingredient_to_video(request, recipe="none")
        media: Any = upload_media(sheet)
        handle: Any = submit_generation(request.with_seed(2), media={"image_url": media})
        finished: Any = await_generation(handle)
        video: Any = download_video(finished)
        renditions: Any = postprocess_video(video, recipe="none")
        archived: Any = archive_video(finished, video, renditions)
        preset = GenerationPreset.model_validate({"defaults": SMALL, "recipe": "none"})
        run: Any = preset.trigger(prompt="A cup falls.", image_url=sheet, seed=3)
        run.wait_for_completion()
        swept: Any = sweep(recipe="none")
        spent: Any = spend_report(days=1)
        return {
            "flow": made.folder,
            "tasks": archived.folder,
            "in a task": by_a_task(request).reused,
            "preset": run.fetch_result().folder,
            "with options": any_
            or ingredient_to_video.with_options(retries=1)(request, recipe="none").reused,
            "swept": len(swept.broken),
            "spent": spent.generations,
        }

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*never awaited")
        found = plain()
    assert len({found["flow"], found["tasks"], found["preset"]}) == 3
    assert (found["in a task"], found["with options"], found["swept"]) == (True, True, 0)
    assert submits(fal) == len(fal.bill) == 3
