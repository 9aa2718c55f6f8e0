from pathlib import Path

import pytest

from prefect_ltx.media import (
    make_reference_clip,
    make_reference_sheet,
    probe,
    sha256_file,
    verify_image,
    verify_video,
)


async def test_a_reference_clip_is_exactly_as_asked(tmp_path: Path) -> None:
    """Size, frames and rate are those asked for, fractional rates too, with sound."""
    path = await make_reference_clip(tmp_path / "clip.mp4", width=256, height=144, frames=9, fps=29.97)
    found = await verify_video(path, width=256, height=144, frames=9, fps=29.97, audio=True)
    assert found.audio is not None
    assert found.audio.duration == pytest.approx(found.duration, abs=0.01)


async def test_a_reference_sheet_is_exactly_as_asked(tmp_path: Path) -> None:
    """A picture of the size asked for, on the black ground the endpoint was trained with."""
    path = await make_reference_sheet(tmp_path / "sheet.png", width=768, height=448)
    await verify_image(path, width=768, height=448)
    assert (
        probe(await make_reference_sheet(tmp_path / "sheet.jpg", width=256, height=256)).container == "jpeg"
    )


async def test_demo_material_depends_on_its_seed_only(tmp_path: Path) -> None:
    """The same seed gives the same bytes, so a demo run twice is a cache hit; another seed gives others."""
    small = {"width": 256, "height": 144, "frames": 9}
    clips = [
        sha256_file(await make_reference_clip(tmp_path / f"{place}.mp4", seed=seed, **small))
        for place, seed in enumerate((1, 1, 2))
    ]
    sheets = [
        sha256_file(await make_reference_sheet(tmp_path / f"{place}.png", width=256, height=256, seed=seed))
        for place, seed in enumerate((1, 1, 2))
    ]
    for first, again, other in (clips, sheets):
        assert first == again
        assert first != other


async def test_sizes_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    """Nothing is started for a size, count or name that would only fail inside ffmpeg."""
    with pytest.raises(ValueError, match="even width"):
        await make_reference_clip(tmp_path / "a.mp4", width=255)
    with pytest.raises(ValueError, match="even width"):
        await make_reference_sheet(tmp_path / "a.png", height=101)
    with pytest.raises(ValueError, match=r"\.png or a \.jpg"):
        await make_reference_sheet(tmp_path / "a.tiff")
