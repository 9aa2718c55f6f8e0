"""The last frame of a clip: exactly that one, upright, in square pixels, in the colours that are shown."""

from pathlib import Path
from typing import Any

import ffmpeg
import pytest
from PIL import Image, ImageStat

from prefect_ltx.media import BITEXACT, MediaInvalid, generator, last_frame, run_ffmpeg, source, target

COLOURS = ["0xC02828", "0x28A050", "0x2840C0"]


async def clip(path: Path, *, frames: int = 10, size: str = "96x64", **options: Any) -> Path:
    """Green, with one last frame that is red on the left and blue on the right."""
    red, green, blue = COLOURS
    rate = options.pop("rate", "24")
    picture = generator(f"color=c={green}:s={size}:r={rate}").video.filter("format", "gbrp")
    for half, colour in (("0", red), ("iw/2", blue)):
        picture = picture.filter(
            "drawbox",
            x=half,
            y=0,
            w="iw/2",
            h="ih",
            color=colour,
            t="fill",
            enable=f"eq(n,{frames - 1})",
        )
    matrix = options.pop("matrix", "bt709")
    full = options.pop("range", "tv")
    picture = picture.filter("scale", out_color_matrix=matrix, out_range=full).filter("format", "yuv420p")
    tags = {"colorspace": "bt709" if matrix == "bt709" else "smpte170m", "color_range": full}
    how = {"c:v": "libx264", "crf": 4, "frames:v": frames, **tags, **BITEXACT, **options}
    await run_ffmpeg(target(picture, path=path, **how))
    return path


def halves(path: Path) -> list[tuple[float, ...]]:
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        assert not {"icc_profile", "gamma", "chromaticity"} & set(picture.info)
        width, height = picture.size
        places = [(2, 2, width // 2 - 4, height - 2), (width // 2 + 4, 2, width - 2, height - 2)]
        return [tuple(ImageStat.Stat(picture.crop(place)).mean) for place in places]


def near(found: tuple[float, ...], colour: str) -> bool:
    wanted = [int(colour[place : place + 2], 16) for place in (2, 4, 6)]
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True)) < 5


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"frames": 2},
        {"bf": 3, "frames": 25},
        {"matrix": "bt601"},
        {"range": "pc"},
        {"rate": "30000/1001"},
        {"frames": 61, "g": 120},
    ],
)
async def test_it_is_the_last_one_in_its_colours(tmp_path: Path, how: dict[str, Any]) -> None:
    """Whatever the order in the file, the matrix and the range: red and blue, not the green before."""
    video = await clip(tmp_path / "clip.mp4", **how)
    picture = await last_frame(video, tmp_path / "last.png")
    left, right = halves(picture)
    assert near(left, COLOURS[0]), left
    assert near(right, COLOURS[2]), right
    again = await last_frame(video, tmp_path / "again.png")
    assert again.read_bytes() == picture.read_bytes()


async def test_it_is_upright_and_in_square_pixels(tmp_path: Path) -> None:
    """A clip that a player turns is turned, and one with wide pixels is widened."""
    video = await clip(tmp_path / "clip.mp4")
    turned = tmp_path / "turned.mp4"
    stream = ffmpeg.output(
        source(video, display_rotation=90).video, f"file:{turned}", format="mp4", **{"c:v": "copy"}
    )
    await run_ffmpeg(stream)
    picture = await last_frame(turned, tmp_path / "turned.png")
    with Image.open(picture) as image:
        assert image.size == (64, 96)
        top, bottom = image.getpixel((32, 4)), image.getpixel((32, 90))
    assert near(top, COLOURS[2])  # type: ignore[arg-type]
    assert near(bottom, COLOURS[0])  # type: ignore[arg-type]
    wide = tmp_path / "wide.mp4"
    await run_ffmpeg(
        target(source(video).video.filter("setsar", "2/1"), path=wide, **{"c:v": "libx264", **BITEXACT})
    )
    with Image.open(await last_frame(wide, tmp_path / "wide.png")) as image:
        assert image.size == (192, 64)


async def test_a_still_has_none(tmp_path: Path) -> None:
    """A picture is no clip, and says so."""
    Image.new("RGB", (16, 16)).save(tmp_path / "still.png")
    with pytest.raises(MediaInvalid, match="no frames"):
        await last_frame(tmp_path / "still.png", tmp_path / "last.png")
