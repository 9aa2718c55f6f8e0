"""Pictures as a viewer shows them, on sheets and as references: turned, mirrored, in sRGB, and in formats of phones."""

import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from PIL import Image

from prefect_ltx.media import (
    MediaInvalid,
    as_reference,
    ffmpeg_binary,
    plain_picture,
    probe,
    read_picture,
    verify_image,
    verify_video,
)
from prefect_ltx.media.stills import read_still
from prefect_ltx.sheets import build_reference_sheet

RED, BLUE = (200, 30, 30), (30, 30, 200)
# How a picture with a red left half is shown by EXIF's eight orientations: where red is, as shares.
RED_AT = {
    **{1: (0.1, 0.5), 2: (0.9, 0.5), 3: (0.9, 0.5), 4: (0.1, 0.5)},
    **{5: (0.5, 0.1), 6: (0.5, 0.1), 7: (0.5, 0.9), 8: (0.5, 0.9)},
}


def halves(size: tuple[int, int] = (160, 64)) -> Image.Image:
    picture = Image.new("RGB", size, BLUE)
    picture.paste(RED, (0, 0, size[0] // 2, size[1]))
    return picture


def near(found: object, wanted: tuple[int, int, int], slack: int = 12) -> bool:
    assert isinstance(found, tuple)
    return all(abs(a - b) <= slack for a, b in zip(found[:3], wanted, strict=True))


def at(picture: Image.Image, spot: tuple[float, float]) -> tuple[int, ...]:
    return picture.convert("RGB").getpixel((int(spot[0] * picture.width), int(spot[1] * picture.height)))  # type: ignore[return-value]


def display_p3() -> bytes:
    """An ICC profile (version 2) with P3's primaries, D65 adapted to D50, and a gamma of 2.2."""
    colorants = {"r": (0.5151, 0.2412, -0.0011), "g": (0.2919, 0.6922, 0.0419), "b": (0.1572, 0.0666, 0.7841)}

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    text = b"Display P3 of a test\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **{f"{name}XYZ".encode(): xyz(values) for name, values in colorants.items()},
        **{f"{name}TRC".encode(): b"curv\0\0\0\0" + struct.pack(">IHH", 1, 0x0233, 0) for name in "rgb"},
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
    }
    body, table, start = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += (
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
        + b"acsp"
        + bytes(28)
        + struct.pack(">iii", 63190, 65536, 54061)
    )
    return head.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
async def test_exif_turns_and_mirrors_pictures(tmp_path: Path, suffix: str) -> None:
    """All eight orientations, in every format that has them: the size after turning, and the right way up."""
    for orientation, spot in RED_AT.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.{suffix}"
        halves().save(path, exif=exif, quality=95)
        info = await verify_image(path)
        assert (info.width, info.height) == ((64, 160) if orientation > 4 else (160, 64)), orientation
        assert info.upright == (orientation == 1)
        plain = await plain_picture(path, tmp_path)
        assert (plain == path) == (orientation == 1)
        for picture in (read_still(plain), read_still(path), read_picture(path).to_image()):
            assert near(at(picture, spot), RED), orientation
            assert near(at(picture, (1 - spot[0], 1 - spot[1])), BLUE), orientation


async def test_a_sheet_shows_pictures_upright_and_as_large_as_they_can_be(tmp_path: Path) -> None:
    """A wide JPEG that is to be turned fills its panel's height, and nothing is stretched."""
    exif = Image.Exif()
    exif[0x0112] = 6
    halves((320, 128)).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    sheet = await build_reference_sheet(
        [tmp_path / "phone.jpg"], path=tmp_path / "sheet.png", width=512, height=320
    )
    with Image.open(sheet.path) as image:
        image.load()
    lit = image.convert("L").point(lambda value: 255 if value > 24 else 0).getbbox()
    assert lit is not None
    width, height = lit[2] - lit[0], lit[3] - lit[1]
    assert height > 280
    assert height / width == pytest.approx(2.5, rel=0.02)
    assert near(at(image, (0.5, 0.15)), RED)
    assert near(at(image, (0.5, 0.85)), BLUE)
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
async def test_colour_profiles_are_brought_to_srgb(tmp_path: Path, suffix: str) -> None:
    """A colour of Display P3 is another number in sRGB; a profile that cannot be read is none."""
    picture = Image.new("RGB", (64, 64), (180, 120, 80))
    picture.save(tmp_path / f"p3.{suffix}", icc_profile=display_p3(), quality=95, lossless=True)
    picture.save(tmp_path / f"odd.{suffix}", icc_profile=b"no profile", quality=95, lossless=True)
    # (180, 120, 80) in P3 with a gamma of 2.2, by P3's and sRGB's matrices.
    assert near(at(read_still(tmp_path / f"p3.{suffix}"), (0.5, 0.5)), (192, 117, 70), 4)
    assert near(at(read_still(tmp_path / f"odd.{suffix}"), (0.5, 0.5)), (180, 120, 80), 4)
    sheet = await build_reference_sheet(
        [tmp_path / f"p3.{suffix}"], path=tmp_path / "sheet.png", width=256, height=256
    )
    with Image.open(sheet.path) as image:
        assert near(at(image, (0.5, 0.5)), (192, 117, 70), 4)


async def test_a_png_may_name_its_colours_by_number(tmp_path: Path) -> None:
    """PNG's cICP chunk says Display P3 without a profile; sRGB by number is plain."""
    Image.new("RGB", (64, 64), (180, 120, 80)).save(tmp_path / "plain.png")
    data = (tmp_path / "plain.png").read_bytes()
    for primaries, wanted in ((12, (191, 117, 72)), (1, (180, 120, 80))):
        chunk = b"cICP" + bytes((primaries, 13, 0, 1))
        path = tmp_path / f"{primaries}.png"
        path.write_bytes(
            data[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
        )
        assert near(at(read_still(path), (0.5, 0.5)), wanted, 4)
        assert (await plain_picture(path, tmp_path) == path) == (primaries == 1)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "CMYK", "I;16", "LA"])
async def test_pictures_of_every_kind_are_read(tmp_path: Path, mode: str) -> None:
    """Transparency, palettes, gray, ink and sixteen bits: a viewer's picture, and a sheet of it."""
    path = tmp_path / ("ink.jpg" if mode == "CMYK" else f"{mode.replace(';', '')}.png")
    gray = Image.new("RGB", (64, 64), (153, 153, 153))
    if mode == "I;16":
        gray.convert("L").convert("I").point(lambda value: value * 257).convert(mode).save(path)
    else:
        gray.convert(mode).save(path)
    assert near(at(read_still(path), (0.5, 0.5)), (153, 153, 153), 6)
    sheet = await build_reference_sheet([path], path=tmp_path / "sheet.png", width=256, height=256)
    with Image.open(sheet.path) as image:
        assert near(at(image, (0.5, 0.5)), (153, 153, 153), 6)


@pytest.mark.parametrize("suffix", ["webp", "gif", "avif"])
async def test_of_an_animation_the_first_frame_is_on_a_sheet(tmp_path: Path, suffix: str) -> None:
    """Nobody sees a raw error of ffmpeg."""
    first, second = Image.new("RGB", (64, 64), RED), Image.new("RGB", (64, 64), BLUE)
    first.save(tmp_path / f"moving.{suffix}", save_all=True, append_images=[second], duration=200)
    sheet = await build_reference_sheet(
        [tmp_path / f"moving.{suffix}"], path=tmp_path / "sheet.png", width=256, height=256
    )
    with Image.open(sheet.path) as image:
        assert near(at(image, (0.5, 0.5)), RED)


async def test_phones_pictures_become_png(tmp_path: Path) -> None:
    """AVIF and HEIC are converted, upright, and said so; what cannot be read has its remedy in one line."""
    pillow_heif = pytest.importorskip("pillow_heif")

    exif = Image.Exif()
    exif[0x0112] = 6
    halves().save(tmp_path / "a.avif", quality=95, exif=exif)
    pillow_heif.from_pillow(halves()).save(tmp_path / "b.heic", quality=95)
    for name, red in (("a.avif", RED_AT[6]), ("b.heic", RED_AT[1])):
        converted = await as_reference(tmp_path / name, tmp_path, kind="image")
        assert converted is not None
        assert converted.what == f"{name} ({name[2:].upper()}) is converted to PNG before it is sent"
        info = probe(converted.path)
        assert info.container == "png"
        with Image.open(converted.path) as image:
            assert near(at(image, red), RED)
    broken = tmp_path / "c.heic"
    broken.write_bytes((tmp_path / "b.heic").read_bytes()[:300])
    with pytest.raises(MediaInvalid, match="heic"):
        await as_reference(broken, tmp_path, kind="image")


async def test_other_videos_become_mp4(tmp_path: Path) -> None:
    """TS, AVI and GIF are converted with their size and length, and said so; MP4 stays as it is."""
    made = {
        "t.ts": ("-c:v", "mpeg2video", "-c:a", "mp2"),
        "a.avi": ("-c:v", "mpeg4", "-c:a", "mp3"),
        "m.mp4": ("-c:v", "libx264"),
    }
    picture, tone = "testsrc2=s=96x64:r=25:d=1", "sine=r=48000:d=1"
    for name, codecs in made.items():
        ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, *codecs, tmp_path / name)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=95x63:r=10:d=1", tmp_path / "g.gif")
    for name, size in (("t.ts", (96, 64)), ("a.avi", (96, 64)), ("g.gif", (94, 62))):
        converted = await as_reference(tmp_path / name, tmp_path, kind="video")
        assert converted is not None
        assert converted.what.startswith(name)
        assert "converted to MP4" in converted.what
        info = await verify_video(
            converted.path, width=size[0], height=size[1], frames=25, audio=name != "g.gif"
        )
        assert (info.container, info.codec) == ("mp4", "h264")
    assert await as_reference(tmp_path / "m.mp4", tmp_path, kind="video") is None
    Image.new("RGB", (64, 64)).save(tmp_path / "one.gif")
    assert await as_reference(tmp_path / "one.gif", tmp_path, kind="video") is None


def ffmpeg(*arguments: str | Path) -> None:
    command = [ffmpeg_binary(), "-nostdin", "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)
