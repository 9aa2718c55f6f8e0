"""The film's title and its chapters as an ffmetadata file: text of users reaches ffmpeg in a file only."""

import re
from collections.abc import Sequence

from prefect_ltx.film.timeline import Timeline

_SPECIAL = re.compile(r"([=;#\\\n])")


def metadata_text(timeline: Timeline, titles: Sequence[str], *, title: str = "", comment: str = "") -> str:
    """A chapter for each shot, in exact frames; `titles` in the shots' order."""
    lines = [";FFMETADATA1"]
    lines += [f"{field}={_escaped(text)}" for field, text in (("title", title), ("comment", comment)) if text]
    for (_, start, end), name in zip(timeline.chapters(), titles, strict=True):
        lines += [
            "[CHAPTER]",
            f"TIMEBASE={timeline.fps.denominator}/{timeline.fps.numerator}",
            f"START={start}",
            f"END={end}",
            f"title={_escaped(name)}",
        ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    # ffmpeg takes a backslash before the end of a line for a line that goes on, even an escaped one.
    one_line = " ".join(text.replace("\0", " ").split()).rstrip("\\")
    return _SPECIAL.sub(r"\\\1", one_line)
