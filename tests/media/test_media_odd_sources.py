"""Sources that are whole and unusual: turned, with oblong pixels, uneven frames, more than eight bits, HDR."""

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from prefect_ltx.media import (
    ContactSheet,
    HlsVideo,
    Poster,
    Preview,
    Recipe,
    Rendition,
    WebVideo,
    ffmpeg_binary,
    probe,
    render_renditions,
    verify_video,
)

RECIPE = Recipe(outputs=(WebVideo(preset="ultrafast"), Poster(), Preview(), ContactSheet(frames=2)))
PLAIN = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def ffmpeg(*arguments: str | Path) -> None:
    command = [ffmpeg_binary(), "-nostdin", "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=120)


def drawn(path: Path, picture: str, *options: str) -> Path:
    """Twelve frames of a lavfi picture."""
    ffmpeg("-f", "lavfi", "-i", f"{picture}:r=24:d=0.5", *(options or PLAIN), path)
    return path


async def rendered(source: Path, recipe: Recipe = RECIPE) -> dict[str, Rendition]:
    made = await render_renditions(source, source.parent / "out", recipe=recipe)
    return {each.name: each for each in made}


def pixel(picture: Path, x: float, y: float) -> tuple[int, int, int]:
    """The colour at a place, given as shares of width and height."""
    with Image.open(picture) as image:
        found = image.convert("RGB").getpixel((int(x * image.width), int(y * image.height)))
    assert isinstance(found, tuple)
    return found[0], found[1], found[2]


def near(found: tuple[int, int, int], wanted: tuple[int, int, int], slack: int = 14) -> bool:
    return all(abs(a - b) <= slack for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("turn", "size", "red"),
    [
        (("-display_rotation", "90"), (96, 160), (0.5, 0.9)),
        (("-display_rotation", "180"), (160, 96), (0.9, 0.5)),
        (("-display_hflip",), (160, 96), (0.9, 0.5)),
    ],
    ids=["quarter", "half", "mirrored"],
)
async def test_a_turned_source_comes_out_upright(
    tmp_path: Path, turn: tuple[str, ...], size: tuple[int, int], red: tuple[float, float]
) -> None:
    """A phone's clip says in its header how it is held: every rendition is turned, and says nothing any more."""
    # Red on the left, blue elsewhere.
    flat = drawn(tmp_path / "flat.mp4", "color=blue:s=160x96", "-vf", "drawbox=w=48:c=red:t=fill", *PLAIN)
    ffmpeg(*turn, "-i", flat, "-c", "copy", tmp_path / "turned.mp4")
    info = await verify_video(tmp_path / "turned.mp4")
    assert ((info.width, info.height), info.upright) == (size, False)
    made = await rendered(tmp_path / "turned.mp4")
    web = probe(made["web"].path)
    assert ((web.width, web.height), web.upright) == (size, True)
    assert made["web"].facts["video"] == "encoded"
    r, _, b = pixel(made["poster"].path, *red)
    assert r > b + 60
    r, _, b = pixel(made["poster"].path, 1 - red[0], 1 - red[1])
    assert b > r + 60


async def test_oblong_pixels_become_square(tmp_path: Path) -> None:
    """What is shown 4:3 wider than it is stored is made that wide: players do not agree about the flag."""
    source = drawn(tmp_path / "sar.mp4", "testsrc2=s=160x96", "-vf", "setsar=4/3", *PLAIN)
    assert probe(source).shown_size == (213, 96)
    made = await rendered(source)
    web = probe(made["web"].path)
    assert ((web.width, web.height), web.square_pixels) == ((212, 96), True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
async def test_uneven_frames_keep_their_times(tmp_path: Path, suffix: str) -> None:
    """Frames that do not come evenly are all there, and last as long as before; a frame rate makes them even."""
    late = "setpts='(N+if(gt(N,5),7,0))/24/TB'"
    source = drawn(
        tmp_path / f"vfr{suffix}",
        "testsrc2=s=160x96",
        *("-vf", late, "-fps_mode", "vfr", "-enc_time_base", "1/24000", *PLAIN),
    )
    assert (await verify_video(source)).frames == 12
    kept = await rendered(source, RECIPE.model_copy(update={"outputs": (WebVideo(copy_if_fit=False),)}))
    assert kept["web"].facts["frames"] == 12
    assert kept["web"].facts["duration"] == pytest.approx(19 / 24, abs=0.07)
    even = await rendered(source, Recipe(frame_rate="24", outputs=(WebVideo(preset="ultrafast"),)))
    assert even["web"].facts["frames"] == pytest.approx(19, abs=1)


@pytest.mark.parametrize("rate", [1, 8, 60])
async def test_slow_and_fast_clips_become_hls(tmp_path: Path, rate: int) -> None:
    """fal makes 1 to 60 frames a second: fragments of few long frames are whole as well."""
    source = tmp_path / "clip.mp4"
    picture, tone = f"testsrc2=s=160x96:r={rate}:d=3", "sine=f=220:r=48000:d=3"
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, *PLAIN, "-c:a", "aac", source)
    made = await rendered(source, Recipe(outputs=(HlsVideo(), Preview())))
    assert made["hls_media"].facts["frames"] == 3 * rate
    assert made["hls"].facts["duration"] == pytest.approx(3, abs=0.1)


async def test_ten_bits_are_encoded_for_the_web(tmp_path: Path) -> None:
    """Browsers do not play H.264 with ten bits, so it is not copied."""
    ten = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le")
    made = await rendered(drawn(tmp_path / "hi10.mp4", "testsrc2=s=160x96", *ten))
    assert made["web"].facts["video"] == "encoded"
    assert probe(made["web"].path).pix_fmt == "yuv420p"


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
async def test_hdr_is_mapped_to_what_browsers_show(tmp_path: Path, transfer: str) -> None:
    """SDR's white in BT.2020 with PQ or HLG comes out bright, in BT.709 and tagged so; `keep` leaves it."""
    to_hdr = f"zscale=t=linear:npl=100,format=gbrpf32le,zscale=t={transfer}:p=bt2020:m=bt2020nc:r=limited"
    tags = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:log-level=none"
    source = drawn(
        tmp_path / "hdr.mp4",
        "color=0xc03030:s=160x96",
        *("-vf", f"format=gbrp,setparams=color_primaries=bt709:color_trc=bt709:colorspace=gbr,{to_hdr}"),
        *("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le", "-x265-params", tags),
    )
    info = probe(source)
    assert info.colour[1:] == (9, {"smpte2084": 16, "arib-std-b67": 18}[transfer], 9)
    made = await rendered(source)
    assert probe(made["web"].path).colour == (1, 1, 1, 1)
    r, g, b = pixel(made["poster"].path, 0.5, 0.5)
    assert r > 90
    assert r > 2 * g
    assert abs(g - b) < 20
    kept = await rendered(source, RECIPE.model_copy(update={"colour": "keep"}))
    assert probe(kept["web"].path).colour[2] == info.colour[2]


@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
async def test_pictures_have_the_colours_of_the_video(tmp_path: Path, matrix: str) -> None:
    """JPEG and WebP are read as BT.601: a poster's red is the video's, whatever the video is stored in."""
    tag = {"bt709": "bt709", "bt601": "smpte170m"}[matrix]
    source = drawn(
        tmp_path / "red.mp4",
        "color=0xd02040:s=160x96",
        *("-vf", f"scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p"),
        *("-color_primaries", tag, "-color_trc", tag, "-colorspace", tag, "-color_range", "tv", *PLAIN),
    )
    made = await rendered(source)
    for name in ("poster", "preview"):
        assert near(pixel(made[name].path, 0.5, 0.5), (0xD0, 0x20, 0x40)), name
    assert near(pixel(made["contact_sheet"].path, 0.25, 0.5), (0xD0, 0x20, 0x40))
