"""Words on pictures, drawn by Pillow: text of users never becomes an option or a filter of ffmpeg.

What is to be laid over a film is a strip as wide as the film, one PNG after the other in one file, as many as the film
has frames: what is on frame n is drawn on picture n, so it appears and vanishes on the frame.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import ffmpeg
from PIL import Image, ImageDraw, ImageFont

from prefect_ltx.film.errors import FilmInvalid
from prefect_ltx.film.webvtt import Cue
from prefect_ltx.media import source

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_WHITE: Final = (255, 255, 255, 255)
_SHADE: Final = (0, 0, 0, 160)
_MOST_LINES: Final = 3
_NO_GLYPH: Final = "\U0010fffd"


def font_for(height: int, share: float, file: Path | None = None) -> Font:
    """A font for a picture of this height; the letters are about `share` of it high.

    Raises:
        FilmInvalid: the file is no font.
    """
    size = max(9, round(height * share))
    if file is not None:
        try:
            return ImageFont.truetype(str(file), size)
        except OSError:
            raise FilmInvalid(f"{file.name} is not a TrueType or OpenType font") from None
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def missing_letters(font: Font, text: str) -> str:
    """The characters of a text that the font has no picture of."""
    if not isinstance(font, ImageFont.FreeTypeFont):
        return ""
    none = bytes(font.getmask(_NO_GLYPH))
    return "".join(
        sorted({each for each in text if not each.isspace() and bytes(font.getmask(each)) == none})
    )


def wrapped(font: Font, text: str, width: int, most: int = _MOST_LINES) -> list[str]:
    """The text in lines that fit; what does not fit into `most` of them ends in an ellipsis."""
    lines: list[str] = []
    rest = text.split()
    while rest and len(lines) < most:
        count = 1
        while count < len(rest) and font.getlength(" ".join(rest[: count + 1])) <= width:
            count += 1
        lines.append(fitted(font, " ".join(rest[:count]), width))
        rest = rest[count:]
    if rest and lines:
        lines[-1] = fitted(font, f"{lines[-1]} …", width)
    return lines


def fitted(font: Font, line: str, width: int) -> str:
    """A line cut to a width, with an ellipsis where something is missing."""
    if font.getlength(line) <= width:
        return line
    shorter = line.removesuffix("…").rstrip()
    while shorter and font.getlength(f"{shorter}…") > width:
        shorter = shorter[:-1]
    return f"{shorter}…"


def line_height(font: Font) -> int:
    """Pixels from one line to the next."""
    _, top, _, bottom = font.getbbox("Ågjpqy|")
    return int(bottom - top) + max(2, int((bottom - top) * 0.25))


def subtitle_strips(
    cues: Sequence[Cue], frames: int, width: int, height: int, font: Font
) -> Iterator[tuple[Image.Image, int]]:
    """The strips of a film's subtitles, each with how many frames it is shown; all of one size."""
    step = line_height(font)
    inside = width - 2 * max(4, width // 20)
    rows = max(
        (sum(len(wrapped(font, cue.text, inside)) for cue in each) for each in _together(cues)), default=1
    )
    high = min(_even(rows * step + step // 2), _even(height))

    def on(frame: int) -> tuple[str, ...]:
        return tuple(cue.text for cue in cues if cue.start <= frame < cue.end)

    for texts, group in groupby(map(on, range(frames))):
        strip = Image.new("RGBA", (width, high))
        lines = [line for text in texts for line in wrapped(font, text, inside)]
        pen = ImageDraw.Draw(strip)
        for number, line in enumerate(lines):
            across = font.getlength(line)
            left, top = (width - across) / 2, high - step // 4 - (len(lines) - number) * step
            pen.rectangle((left - step // 4, top, left + across + step // 4, top + step), fill=_SHADE)
            pen.text((left, top + step // 10), line, font=font, fill=_WHITE)
        yield strip, sum(1 for _ in group)


def write_strips(path: Path, strips: Iterable[tuple[Image.Image, int]]) -> Path:
    """Write pictures one after the other into one file, each as often as it is shown."""
    with path.open("wb") as file:
        for picture, count in strips:
            data = io.BytesIO()
            picture.save(data, "PNG", compress_level=1)
            for _ in range(count):
                file.write(data.getvalue())
    return path


def laid_over(picture: Any, strips: Path, fps: Fraction, *, top: bool = False) -> Any:
    """A stream with the strips on it, frame by frame, at its lower or upper edge."""
    words = source(strips, framerate=f"{fps.numerator}/{fps.denominator}").video
    words = words.filter("settb", f"{fps.denominator}/{fps.numerator}").filter("setpts", "N")
    return ffmpeg.overlay(picture, words, x=0, y=0 if top else "H-h", eof_action="pass", format="yuv420")


def _together(cues: Sequence[Cue]) -> Iterator[list[Cue]]:
    for one in cues:
        yield [cue for cue in cues if cue.start <= one.start < cue.end]


def _even(number: int) -> int:
    return number + number % 2
