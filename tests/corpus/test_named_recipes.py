"""Whatever people film, through each recipe that has a name: its outputs, sizes, presets and loudness.

Only the quality is raised: what a lossy encoder does to a patch of 16 pixels at a recipe's own quality (up to 14 of
255, measured with the proxy's) is not what is asked here. `make corpus` takes every clip; otherwise a few do, of which
each is odd in several ways.
"""

import os
from pathlib import Path

import pytest
from clips import CLIPS, FLASH, Awkward
from measures import beeps, colours, flashes, start, still_colours
from test_corpus import FRAME, check_colours, check_sync, patches, spot

from prefect_ltx.media import RECIPES, Recipe, Rendition, SocialVideo, probe, render_renditions

ODD = ["uneven-turned.mp4", "sound-ends-early.mp4"]
TAKEN = [clip for clip in CLIPS if os.environ.get("CORPUS") or clip.name in ODD]


def cropped(clip: Awkward, at: tuple[float, float], made: Rendition) -> tuple[float, float]:
    """Where a spot of what a clip shows is in a picture that it fills, as shares."""
    width, height = made.facts["width"], made.facts["height"]
    scale = max(width / clip.size[0], height / clip.size[1])
    shown = clip.size[0] * scale / width, clip.size[1] * scale / height
    return 0.5 + (at[0] - 0.5) * shown[0], 0.5 + (at[1] - 0.5) * shown[1]


def check_video(clip: Awkward, made: Rendition, frames: int, sounds: float) -> None:
    """Its frames, the time of its first flash, its colours (those not cropped away) and its lip-sync."""
    path, begin = made.path, start(made.path)
    assert made.facts["frames"] == frames, made.name
    lit = flashes(path, cropped(clip, spot(clip, 48, 16), made))
    assert lit[0] - begin == pytest.approx(clip.first, abs=1.01 * FRAME), made.name
    check_sync(clip, lit, beeps(path), begin, begin + sounds)
    spots = [cropped(clip, each, made) for each in patches(clip)]
    if all(0.04 < share < 0.96 for each in spots for share in each):
        check_colours(clip, colours(path, spots, begin + clip.first + FLASH + 2 * FRAME))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("clip", TAKEN, ids=lambda clip: clip.name)
async def test_an_awkward_clip_through_a_named_recipe(
    corpus: Path, tmp_path: Path, clip: Awkward, recipe: Recipe
) -> None:
    """Every output is made, with the frames, aspect, colours and lip-sync that a player shows of the clip, and as loud
    as the recipe says."""
    fine = [each.model_copy(update={"crf": 8} if hasattr(each, "crf") else {}) for each in recipe.outputs]
    recipe = recipe.model_copy(update={"outputs": tuple(fine)})
    info = probe(corpus / clip.name)
    made = await render_renditions(corpus / clip.name, tmp_path, recipe=recipe)
    wanted = {each.stem for each in recipe.outputs if each.kind != "audio" or info.audio}
    assert {each.name for each in made} >= wanted
    outputs = {each.stem: each for each in recipe.outputs}
    for each in made:
        output = outputs.get(each.name.removesuffix("_media").removesuffix("_vtt"))
        assert output is not None, each.name
        if "width" in each.facts and output.kind in ("web", "proxy", "hls", "poster", "preview"):
            aspect = each.facts["height"] * clip.size[0] / clip.size[1]
            assert abs(each.facts["width"] - aspect) <= max(1.0, 0.01 * each.facts["width"]), each.name
        if isinstance(output, SocialVideo):
            assert (each.facts["width"], each.facts["height"]) == output.size
        if output.kind in ("web", "social", "proxy") or each.name == "hls_media":
            check_video(clip, each, info.frames, min(info.duration, clip.sounds) - 0.05)
        elif output.kind == "poster":
            check_colours(clip, still_colours(each.path, patches(clip)))
        if recipe.loudness and each.facts.get("audio"):
            assert each.facts["loudness_lufs"] == pytest.approx(recipe.loudness.lufs, abs=0.5), each.name
            assert each.facts["true_peak_dbtp"] <= recipe.loudness.true_peak + 1, each.name
