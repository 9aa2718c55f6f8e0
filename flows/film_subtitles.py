"""The files of a film's subtitles: WebVTT beside it, and the playlists that bring them into its HLS."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from prefect_ltx.film import JoinedFilm
from prefect_ltx.film.webvtt import Cue, hls_subtitles, hls_with_subtitles, webvtt
from prefect_ltx.media import Rendition, sha256_file

PLAYLIST = "application/vnd.apple.mpegurl"


def subtitle_files(
    cues: Sequence[Cue], joined: JoinedFilm, made: Sequence[Rendition], language: str, folder: Path
) -> list[Rendition]:
    """`subtitles.vtt`; for each HLS among `made` also `subtitles.m3u8` and `<name>_subtitled.m3u8`."""
    fps, seconds = joined.timeline.fps, joined.timeline.duration
    facts: dict[str, object] = {"language": language, "cues": len(cues)}
    files = [_written(folder, "subtitles", ".vtt", webvtt(cues, fps), "text/vtt; charset=utf-8", facts)]
    playlists = [each for each in made if each.path.suffix == ".m3u8"]
    if playlists:
        text = hls_subtitles("subtitles.vtt", seconds)
        files.append(
            _written(folder, "subtitles_playlist", ".m3u8", text, PLAYLIST, facts, name="subtitles.m3u8")
        )
    sizes = {each.name: each.size for each in made}
    for each in playlists:
        media = sizes.get(f"{each.name}_media", each.size)
        text = hls_with_subtitles(
            each.path.name,
            "subtitles.m3u8",
            language,
            bits_a_second=_peak(media, seconds),
            size=(joined.info.width, joined.info.height),
        )
        files.append(_written(folder, f"{each.name}_subtitled", ".m3u8", text, PLAYLIST, facts))
    return files


def _peak(size: int, seconds: Fraction) -> int:
    # Of one rendition players have no other to choose: twice the mean is a peak that is not reached.
    return max(1, round(size * 8 * 2 / seconds))


def _written(
    folder: Path, role: str, suffix: str, text: str, kind: str, facts: dict[str, object], name: str = ""
) -> Rendition:
    path = folder / (name or f"{role}{suffix}")
    path.write_text(text, "utf-8", newline="\n")
    return Rendition(
        name=role,
        path=path,
        content_type=kind,
        sha256=sha256_file(path),
        size=path.stat().st_size,
        facts=dict(facts),
    )
