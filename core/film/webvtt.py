"""Subtitles as WebVTT, beside the film and in its HLS. Times are the frames', cut to the millisecond before.

A frame is shown from its own time on, so a cue that begins a part of a millisecond earlier begins with that frame, and
one that ends so is gone with the next.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple


class Cue(NamedTuple):
    """Words that are shown from frame `start` of the film on, and are gone at frame `end`."""

    start: int
    end: int
    text: str


def webvtt(cues: Sequence[Cue], fps: Fraction) -> str:
    """The file's text."""
    parts = ["WEBVTT\n"]
    parts += [
        f"{number}\n{_time(cue.start, fps)} --> {_time(cue.end, fps)}\n{_escaped(cue.text)}\n"
        for number, cue in enumerate(cues, 1)
    ]
    return "\n".join(parts)


def hls_subtitles(file: str, seconds: Fraction) -> str:
    """The media playlist of a WebVTT file: one segment, the whole film."""
    whole = math.ceil(seconds)
    return (
        f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{whole}\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        f"#EXTINF:{float(seconds):.6f},\n{file}\n#EXT-X-ENDLIST\n"
    )


def hls_with_subtitles(
    video: str, subtitles: str, language: str, *, bits_a_second: int, size: tuple[int, int]
) -> str:
    """The multivariant playlist that puts a film's HLS and its subtitles together."""
    return (
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="{language}",LANGUAGE="{language}",'
        f'DEFAULT=YES,AUTOSELECT=YES,FORCED=NO,URI="{subtitles}"\n'
        f"#EXT-X-STREAM-INF:BANDWIDTH={bits_a_second},RESOLUTION={size[0]}x{size[1]},"
        f'SUBTITLES="subs"\n{video}\n'
    )


def _time(frame: int, fps: Fraction) -> str:
    milliseconds = math.floor(frame / fps * 1000)
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


def _escaped(text: str) -> str:
    # "-->" cannot stand in a cue; neither can a blank line, and the text is one line already.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
