"""The policy that buys another take: after the refused one is archived, within bounds, and never twice."""

from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.archive import Archive
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.film import take_seeds
from prefect_ltx.flows import finish_generation, generate_batch, ingredient_to_video, submit_only
from prefect_ltx.generation import Progress, observe
from prefect_ltx.generation.errors import QualityRejected
from prefect_ltx.local import LocalFal
from prefect_ltx.media import Poster, ProxyVideo, Recipe

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

FRAMES = 9


class Killed(Exception):
    """What the test stops a run with."""


def sheet_request(media: Path, **changes: Any) -> IngredientRequest:
    data = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media / "sheet.png"),
        "num_frames": FRAMES,
        "resolution": {"width": 256, "height": 128},
        "video_write_mode": "fast",
        "seed": 7,
    }
    return IngredientRequest.model_validate(data | changes)


async def test_a_refused_take_is_archived_before_the_next_is_bought(
    fal: LocalFal, ltx_env: Path, media_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The result says what was refused and what it cost; the same run again finds both and pays nothing."""
    fal.faults.add("sheet_lead_in", value=FRAMES)
    archived: list[str] = []

    def note(step: Progress) -> None:
        if step.stage in ("after-intent", "after-manifest"):
            archived.append(step.stage)

    with observe(note):
        made = await ingredient_to_video(sheet_request(media_folder), recipe="none", quality="next_seed")
    assert archived == ["after-intent", "after-manifest"] * 2
    assert made.seed == take_seeds(7, 2)[1]
    (refused,) = made.refused
    assert refused.seed == 7
    assert not refused.reused
    assert refused.price_usd > 0
    assert "Take 1 of at most 3 (seed 7, paid: $" in caplog.text
    manifests = {each.seed: each async for each in Archive(ltx_env / "archive").manifests()}
    assert {seed: each.quality and each.quality.verdict for seed, each in manifests.items()} == {
        7: "next_seed",
        made.seed: "accept",
    }
    again = await ingredient_to_video(sheet_request(media_folder), recipe="none", quality="next_seed")
    assert again.reused
    assert (again.folder, again.refused[0].reused) == (made.folder, True)
    assert len(fal.bill) == 2


async def test_when_every_seed_is_refused_the_run_says_what_was_tried(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Bounded: two takes asked, two bought, both archived."""
    fal.faults.add("sheet_lead_in", times=9, value=FRAMES)
    with pytest.raises(QualityRejected, match=r"2 seeds were tried and refused \(7, \d+\), \$") as caught:
        await ingredient_to_video(
            sheet_request(media_folder), recipe="none", quality="next_seed", max_seeds=2
        )
    assert caught.value.place in str(caught.value)
    assert len(fal.bill) == len([each async for each in Archive(ltx_env / "archive").manifests()]) == 2


async def test_a_lead_in_is_cut_and_buys_nothing(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """What can be mended for nothing is no reason for another take."""
    fal.faults.add("sheet_lead_in", value=3)
    made = await ingredient_to_video(sheet_request(media_folder), recipe="none", quality="next_seed")
    assert made.quality is not None
    assert (made.quality.verdict, made.quality.trimmed_frames) == ("trim", 3)
    assert (made.refused, len(fal.bill)) == ([], 1)


async def test_a_run_that_dies_in_a_later_take_is_gone_on_with(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Without a seed of its own the next run takes over the take that the dead one bought, and its row of seeds."""
    fal.faults.add("sheet_lead_in", times=2, value=FRAMES)
    replies = 0

    def die(step: Progress) -> None:
        nonlocal replies
        replies += step.stage == "after-reply"
        if replies == 2:
            raise Killed

    request = sheet_request(media_folder, seed=None)
    with pytest.raises(Killed), observe(die):
        await ingredient_to_video(request, recipe="none", quality="next_seed")
    made = await ingredient_to_video(request, recipe="none", quality="next_seed")
    seeds = [charge.seed for charge in fal.bill.charges]
    assert len(seeds) == 3
    assert seeds == take_seeds(seeds[0] or 0, 3)
    assert made.seed == seeds[2]
    assert [each.seed for each in made.refused] == [seeds[1]]


async def test_finishing_later_looks_for_the_sheet_too(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """The flow that collects has no inputs of its own: it fetches them from where fal has them."""
    fal.faults.add("sheet_lead_in", value=3)
    handle = await submit_only(sheet_request(media_folder))
    made = await finish_generation(handle.generation_id, recipe="none")
    assert made.quality is not None
    assert [each.kind for each in made.quality.findings] == ["sheet_lead_in"]


async def test_a_recipe_may_be_written_out(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """A flow takes a recipe as an object, or as the JSON that a form or an event gives it."""
    mine = Recipe(outputs=(Poster(), ProxyVideo(height=64)))
    made = await ingredient_to_video(sheet_request(media_folder), recipe=mine, quality="off")
    assert set(made.files) == {"video", "poster", "proxy_64p"}
    as_json: Any = {"outputs": [{"kind": "poster", "name": "still"}]}
    request = sheet_request(media_folder, seed=8)
    other = await ingredient_to_video(request, recipe=as_json, quality="off")
    assert set(other.files) == {"video", "still"}


async def test_an_unknown_recipe_costs_a_batch_nothing(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """It is refused before a row is sent, and not when its video is paid for."""
    rows = [sheet_request(media_folder).model_dump(mode="json", exclude_none=True)]
    with pytest.raises(ValueError, match="no recipe is called 'wbe'.*Nothing was sent"):
        await generate_batch(rows, recipe="wbe")
    assert len(fal.bill) == 0
