"""Sheets as files."""

from pathlib import Path

import av
import pytest

from prefect_ltx.media import BITEXACT, MediaInvalid, generator, make_reference_clip, run_ffmpeg, target
from prefect_ltx.sheets import ReferenceSheet, SheetImage, SheetInvalid, build_reference_sheet


async def picture(path: Path, size: str, colour: str) -> Path:
    """A picture of one colour with a white frame, so that a crop would show."""
    node = generator(f"color=c={colour}:s={size}:r=1:d=1").video.filter("format", "rgb24")
    node = node.filter("drawbox", x=0, y=0, width="iw", height="ih", color="white", thickness=8)
    await run_ffmpeg(target(node, path=path, **BITEXACT))
    return path


@pytest.fixture
async def pictures(tmp_path: Path) -> list[SheetImage | Path]:
    return [
        await picture(tmp_path / "face.png", "120x160", "red"),
        await picture(tmp_path / "lamp-%03d.png", "80x160", "green"),
        SheetImage(path=await picture(tmp_path / "-shore.png", "320x160", "blue"), role="location"),
    ]


def pixels(sheet: ReferenceSheet) -> tuple[bytes, int]:
    with av.open(str(sheet.path)) as container:
        frame = next(container.decode(video=0)).reformat(format="rgb24")
    plane = frame.planes[0]
    return bytes(plane), plane.line_size


def colour(image: tuple[bytes, int], x: int, y: int) -> tuple[int, int, int]:
    data, stride = image
    red, green, blue = data[y * stride + 3 * x : y * stride + 3 * x + 3]
    return red, green, blue


async def test_pictures_stand_whole_on_black(pictures: list[SheetImage | Path], tmp_path: Path) -> None:
    """Each panel shows its whole picture up to the white frame; all around and between is black."""
    sheet = await build_reference_sheet(pictures, path=tmp_path / "sheet.png", width=512, height=320)
    image = pixels(sheet)
    inside = [(255, 0, 0), (0, 128, 0), (0, 0, 255)]
    covered = set()
    for box, paint in zip(sheet.panels, inside, strict=True):
        middle = colour(image, box.x + box.width // 2, box.y + box.height // 2)
        assert max(abs(a - b) for a, b in zip(middle, paint, strict=True)) <= 2
        for x in (box.x + 1, box.x + box.width - 2):
            for y in (box.y + 1, box.y + box.height - 2):
                assert min(colour(image, x, y)) > 235
        covered |= {(x, y) for x in range(box.x, box.x + box.width) for y in range(box.y, box.y + box.height)}
    black = [(x, y) for x in range(512) for y in range(320) if (x, y) not in covered]
    assert {colour(image, x, y) for x, y in black} == {(0, 0, 0)}


async def test_same_pictures_same_bytes(pictures: list[SheetImage | Path], tmp_path: Path) -> None:
    """Drawn again under another name the sheet has the same bytes; in another order it has others."""
    first = await build_reference_sheet(pictures, path=tmp_path / "a.png", width=512, height=320)
    again = await build_reference_sheet(pictures, path=tmp_path / "b" / "b.png", width=512, height=320)
    other = await build_reference_sheet(pictures[::-1], path=tmp_path / "c.png", width=512, height=320)
    assert first.path.read_bytes() == again.path.read_bytes()
    assert first.sha256 != other.sha256


async def test_one_picture_may_stand_twice_and_seven_are_told_of(
    pictures: list[SheetImage | Path], tmp_path: Path
) -> None:
    """Seven panels, one picture among them twice, are drawn with a warning; six without."""
    seven = await build_reference_sheet([pictures[0]] * 7, path=tmp_path / "7.png")
    six = await build_reference_sheet([pictures[0]] * 6, path=tmp_path / "6.png")
    assert (len(seven.panels), len(seven.warnings), six.warnings) == (7, 1, [])
    assert "7 panels" in seven.warnings[0]


async def test_what_is_no_picture_is_refused(pictures: list[SheetImage | Path], tmp_path: Path) -> None:
    """A video, a missing file, two places or a lossy sheet end in one line, and no file is left."""
    clip = await make_reference_clip(tmp_path / "clip.mp4", width=128, height=128, frames=2)
    places = [SheetImage(path=tmp_path / "face.png", role="location")] * 2
    with pytest.raises(SheetInvalid, match=r"clip\.mp4 is a video"):
        await build_reference_sheet([clip], path=tmp_path / "sheet.png")
    with pytest.raises(MediaInvalid, match="no such file"):
        await build_reference_sheet([tmp_path / "none.png"], path=tmp_path / "sheet.png")
    with pytest.raises(SheetInvalid, match="one location"):
        await build_reference_sheet([pictures[0], *places], path=tmp_path / "sheet.png")
    with pytest.raises(SheetInvalid, match="png"):
        await build_reference_sheet(pictures, path=tmp_path / "sheet.jpg")
    assert not (tmp_path / "sheet.png").exists()
