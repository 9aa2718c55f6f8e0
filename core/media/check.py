"""Is every file of a recipe what was asked for: decoded in full and compared, before it gets its name.

ffmpeg can end well having written a damaged file, or none of the last frames.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prefect_ltx.media.errors import LoudnessMissed, MediaInvalid
from prefect_ltx.media.info import AudioInfo, MediaInfo
from prefect_ltx.media.jobs import Expected
from prefect_ltx.media.limits import Limits
from prefect_ltx.media.loudness import measure_loudness
from prefect_ltx.media.magic import M4A, WAV, MediaFormat
from prefect_ltx.media.verify import verify_audio, verify_image, verify_video

T = TypeVar("T")

LOUDNESS_SLACK_LU = 0.5
TRUE_PEAK_SLACK_DB = 1.0
_CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".vtt": "text/vtt",
    ".m4a": "audio/mp4",
    ".wav": "audio/wav",
}


async def check_file(expected: Expected, *, true_peak: float, limits: Limits) -> dict[str, Any]:
    """Decode one output in full and return what was found in it as JSON values.

    Raises:
        MediaInvalid: it is not as expected; every difference is named.
    """
    found, loudness = await together(
        [_CHECKS[expected.kind](expected, limits), _check_loudness(expected, true_peak, limits)]
    )
    return found | loudness | expected.facts


async def together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at the same time and to its end, and only then raise the first error: nothing is left running."""
    done = await asyncio.gather(*work, return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each
    return [each for each in done if not isinstance(each, BaseException)]


def content_type(path: Path) -> str:
    """The media type of an output, by its suffix."""
    return _CONTENT_TYPES[path.suffix]


async def _check_video(expected: Expected, limits: Limits) -> dict[str, Any]:
    return _facts(
        await verify_video(
            expected.path,
            width=expected.width,
            height=expected.height,
            frames=expected.frames,
            duration=expected.duration,
            audio=expected.audio,
            limits=limits,
        )
    )


async def _check_image(expected: Expected, limits: Limits) -> dict[str, Any]:
    return _facts(
        await verify_image(expected.path, width=expected.width, height=expected.height, limits=limits)
    )


async def _check_animation(expected: Expected, limits: Limits) -> dict[str, Any]:
    return _facts(
        await verify_image(
            expected.path,
            width=expected.width,
            height=expected.height,
            duration=expected.duration,
            limits=limits,
        )
    )


async def _check_audio(expected: Expected, limits: Limits) -> dict[str, Any]:
    found = await verify_audio(
        expected.path, _audio_format(expected.path), duration=expected.duration, limits=limits
    )
    return {"duration": round(found.duration, 6), "audio": _audio_facts(found)}


async def _check_cues(expected: Expected, limits: Limits) -> dict[str, Any]:
    written = await asyncio.to_thread(expected.path.read_text, "utf-8")
    if written != expected.text:
        raise MediaInvalid(expected.path.name, ["does not hold the cues that were written to it"])
    return {}


async def _check_playlist(expected: Expected, limits: Limits) -> dict[str, Any]:
    """Its ranges are the whole of the media file, one after the other, and its times the whole duration."""
    assert expected.media is not None
    name, size = expected.path.name, expected.media.stat().st_size
    text = await asyncio.to_thread(expected.path.read_text, "utf-8")
    head = re.search(r'#EXT-X-MAP:URI="([^"]+)",BYTERANGE="(\d+)@0"', text)
    parts = re.findall(r"#EXTINF:([\d.]+),\s*\n#EXT-X-BYTERANGE:(\d+)@(\d+)\n(\S+)", text)
    if not head or not parts or "#EXT-X-ENDLIST" not in text:
        raise MediaInvalid(name, ["not a complete playlist of byte ranges"])
    problems, at = [], int(head[2])
    if {head[1], *(uri for *_, uri in parts)} != {expected.media.name}:
        problems.append(f"names other files than {expected.media.name}")
    for _, length, start, _ in parts:
        if int(start) != at:
            problems.append(f"a range begins at byte {start}, expected {at}")
        at = int(start) + int(length)
    if not at <= size:
        problems.append(f"its ranges end at byte {at} of {size}")
    seconds = sum(float(duration) for duration, *_ in parts)
    if expected.duration is not None and abs(seconds - expected.duration) > 0.1:
        problems.append(f"its segments last {seconds:.3f} s, expected {expected.duration:.3f} s")
    if problems:
        raise MediaInvalid(name, problems)
    return {"segments": len(parts), "duration": round(seconds, 6)}


async def _check_loudness(expected: Expected, true_peak: float, limits: Limits) -> dict[str, Any]:
    if expected.lufs is None or not expected.audio:
        return {}
    known = _audio_format(expected.path) if expected.kind == "audio" else None
    found = await measure_loudness(expected.path, known=known, limits=limits)
    if found is None:
        raise MediaInvalid(expected.path.name, ["is silent, expected audio"])
    problems, over = [], max(0.0, found.true_peak - true_peak)
    if abs(found.integrated - expected.lufs) > LOUDNESS_SLACK_LU:
        problems.append(f"{found.integrated:.2f} LUFS, expected {expected.lufs:g}")
    if over > TRUE_PEAK_SLACK_DB:
        problems.append(f"a true peak of {found.true_peak:.2f} dBTP, expected at most {true_peak:g}")
    if problems:
        raise LoudnessMissed(expected.path.name, problems, over)
    return {"loudness_lufs": found.integrated, "true_peak_dbtp": found.true_peak}


def _audio_format(path: Path) -> MediaFormat:
    return WAV if path.suffix == ".wav" else M4A


def _facts(info: MediaInfo) -> dict[str, Any]:
    seen: dict[str, Any] = {"width": info.width, "height": info.height}
    if info.frames > 1:
        seen |= {"frames": info.frames, "fps": info.fps, "duration": round(info.duration, 6)}
    if info.audio is not None:
        seen |= {"audio": _audio_facts(info.audio)}
    return seen


def _audio_facts(info: AudioInfo) -> dict[str, Any]:
    return info.model_dump()


_CHECKS: dict[str, Callable[[Expected, Limits], Coroutine[Any, Any, dict[str, Any]]]] = {
    "video": _check_video,
    "image": _check_image,
    "animation": _check_animation,
    "audio": _check_audio,
    "cues": _check_cues,
    "playlist": _check_playlist,
}
