"""The post-process task in Prefect: recipes by name and as models, progress in the UI and on the terminal."""

import asyncio
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from prefect_ltx.generation import Progress, observe
from prefect_ltx.media import MediaInvalid, Poster, Recipe, Rendition, WebVideo
from prefect_ltx.tasks import postprocess_video

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

ONE_FILE = Recipe(name="one", outputs=(WebVideo(copy_if_fit=False, preset="ultrafast"),))


@flow
async def render(video: Path, folder: Path, recipe: str | Recipe) -> list[Rendition]:
    return await postprocess_video(video, folder=folder, recipe=recipe)


async def progress_of(key: str) -> list[object]:
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [each.data for each in found]


@pytest.mark.parametrize("recipe", ["web", ONE_FILE], ids=["name", "model"])
async def test_a_recipe_is_a_name_or_a_model(
    media_folder: Path, tmp_path: Path, recipe: str | Recipe
) -> None:
    """Both are carried out; one progress artifact ends at 100, and the terminal was told up to the end."""
    seen: list[Progress] = []
    name = f"clip-{'name' if isinstance(recipe, str) else 'model'}"
    video = tmp_path / f"{name}.mp4"
    video.write_bytes((media_folder / "clip.mp4").read_bytes())
    with observe(seen.append):
        made = await render(video, tmp_path / "out", recipe)
    expected = ["web"] if isinstance(recipe, Recipe) else ["poster", "contact_sheet", "web", "preview"]
    assert [each.name for each in made] == expected
    assert await progress_of(f"ltx-render-{name}"[:23]) == [100.0]
    told = [step.fraction for step in seen if step.stage == "render"]
    assert told == sorted(told)  # type: ignore[type-var]
    assert told[-1] == 1.0
    assert {step.generation_id for step in seen} == {name}


async def test_outside_of_a_flow_there_is_no_artifact_and_the_work_is_done(
    media_folder: Path, tmp_path: Path
) -> None:
    """The step is a function like any other: without a run there is nobody to show it to."""
    video = tmp_path / "alone.mp4"
    video.write_bytes((media_folder / "clip.mp4").read_bytes())
    made = await postprocess_video.fn(video, recipe=Recipe(outputs=(Poster(),)))
    assert [each.path for each in made] == [tmp_path / "renditions" / "poster.jpg"]
    assert await progress_of("ltx-render-alone") == []


async def test_a_lead_in_is_handed_on(media_folder: Path, tmp_path: Path) -> None:
    """What quality control found reaches the recipe."""
    found = await postprocess_video.fn(
        media_folder / "clip.mp4", folder=tmp_path, recipe=ONE_FILE, lead_in_frames=5
    )
    assert found[0].facts["frames"] == 20
    with pytest.raises(MediaInvalid, match="nothing of its 25 frames"):
        await postprocess_video.fn(media_folder / "clip.mp4", folder=tmp_path, lead_in_frames=25)


async def test_a_cancelled_step_leaves_nothing(media_folder: Path, tmp_path: Path) -> None:
    """Cancelling the task ends ffmpeg and removes what it had begun."""
    begun = asyncio.Event()
    slow = Recipe(frame_rate="240", outputs=(WebVideo(preset="slow"),))
    with observe(lambda step: begun.set()):
        work = asyncio.create_task(
            postprocess_video.fn(media_folder / "clip.mp4", folder=tmp_path / "out", recipe=slow)
        )
        await begun.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert list((tmp_path / "out").iterdir()) == []
